//! What the documents say about the code, held against it.

use keyward::authz::Reason;

/// Each reason has one row in the list of failure modes, with its status in the title above it or in the row.
#[test]
fn every_reason_is_explained_once() {
    let text = include_str!("../../docs/failure-modes.md");
    for reason in Reason::ALL {
        let rows: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with(&format!("| `{}` |", reason.as_str())))
            .collect();
        assert_eq!(
            rows.len(),
            1,
            "{}: {} rows in docs/failure-modes.md",
            reason.as_str(),
            rows.len()
        );
        assert!(
            rows[0].contains(&reason.status().to_string()),
            "{} is answered {}",
            reason.as_str(),
            reason.status()
        );
        assert_eq!(
            rows[0].matches(" | ").count(),
            3,
            "cause, client, operator: {}",
            rows[0]
        );
    }
    let rows = text.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(
        rows,
        Reason::ALL.len(),
        "a row for something that is no reason"
    );
}

/// The norm names every reason beside its status.
#[test]
fn the_norm_names_every_reason() {
    let text = include_str!("../../docs/spec/authorization.md");
    for reason in Reason::ALL {
        let row = text.lines().find(|line| {
            line.starts_with("| ")
                && line.contains(&format!("`{}`", reason.as_str()))
                && line.contains(&reason.status().to_string())
        });
        assert!(row.is_some(), "{} {}", reason.status(), reason.as_str());
    }
}

/// The names of tests in a text: words in quotes with so many `_` and more.
fn named_tests(text: &str, underscores: usize) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_name = |word: &&str| {
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        word.bytes().all(lower) && word.matches('_').count() >= underscores
    };
    quoted.filter(is_name).collect()
}

/// The last cells of all tables with a heading over them, which say what holds or tests something.
fn last_cells<'a>(text: &'a str, heading: &'a str) -> impl Iterator<Item = &'a str> {
    let tables = text.split("\n\n").filter(move |table| {
        let first = table.lines().next().unwrap_or_default();
        first.ends_with(&format!("| {heading} |"))
    });
    let rows = tables.flat_map(|table| table.lines().skip(2));
    rows.map(|row| {
        row.trim_end_matches(" |")
            .rsplit(" | ")
            .next()
            .unwrap_or_default()
    })
}

/// All Rust source below a directory, in one text.
fn source_below(directory: &std::path::Path, into: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            source_below(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// A promise names the tests that hold it, and they are there.
#[test]
fn every_test_that_a_promise_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut source = String::new();
    for directory in ["src", "tests"] {
        source_below(&root.join(directory), &mut source);
    }
    let security = include_str!("../../SECURITY.md");
    let threats = include_str!("../../docs/threat-model.md");
    let mut names = [named_tests(security, 3), named_tests(threats, 3)].concat();
    let cells = last_cells(security, "Held by").chain(last_cells(threats, "Tested by"));
    for cell in cells {
        let held_by = named_tests(cell, 0);
        assert!(
            !held_by.is_empty(),
            "nothing holds what {cell:?} is to hold"
        );
        names.extend(held_by);
    }
    assert!(names.len() > 100, "only {} names were found", names.len());
    for name in names {
        let is_there = source.contains(&format!("fn {name}("));
        assert!(
            is_there,
            "a document names the test `{name}`, which is not there"
        );
    }
}
