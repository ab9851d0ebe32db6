//! Any text as a configuration: it is taken, or every mistake in it is named with its place.

use keyward::config::{Flags, load_text};

pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let variable = |name: &str| (name == "SET").then(|| "set".to_owned());
    let mistakes = match load_text("keyward.yaml", text, &variable, Flags::default()) {
        Ok(resolved) => resolved.warnings,
        Err(mistakes) => {
            assert!(!mistakes.list().is_empty());
            mistakes.list().to_vec()
        }
    };
    let lines = text
        .split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
        .count();
    for mistake in mistakes {
        assert!(!mistake.message.is_empty() && !mistake.file.is_empty());
        assert!(
            mistake.mark.is_some() || mistake.key.is_empty(),
            "a key without a place: {mistake}"
        );
        if let Some(mark) = mistake.mark {
            let within = (1..=lines).contains(&mark.line) && mark.column >= 1;
            assert!(within, "of {lines} lines: {mistake}");
        }
    }
}
