//! The habits that a machine can hold, held: floors, confined crates, sizes, heads of files, words
//! that have no place in what is shipped.
//!
//! Reads the source as text and needs nothing of the library, so it also runs when nothing compiles.
//! The guard is guarded: the second half feeds it small bad files and looks at what it says.
#![cfg(test)]
#![expect(
    clippy::string_slice,
    reason = "offsets come from searching the same text for ASCII"
)]

#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use source::{
    blank_comments_and_literals, functions, names, numbered, path_heads, supers, without_tests,
};

/// Each module and its floor. A module imports from lower floors only; siblings never import each other.
const FLOORS: &[(&str, u8)] = &[
    ("authz", 0),
    ("wire", 1),
    ("telemetry", 1),
    ("replica", 2),
    ("proxy", 3),
    ("control", 3),
    ("app", 4),
    ("config", 4),
    ("cli", 5),
    ("main", 6),
];

/// Crates that only some modules may name. A crate that is not listed is free.
const CONFINED: &[(&str, &[&str])] = &[
    ("pingora", &["proxy"]),
    ("h2", &["proxy"]),
    ("httparse", &["proxy"]),
    ("memchr", &["proxy"]),
    ("async_trait", &["proxy"]),
    ("axum", &["control"]),
    ("sqlx", &["control"]),
    ("utoipa", &["control"]),
    ("governor", &["proxy", "control"]),
    ("moka", &["replica"]),
    ("dashmap", &["replica", "proxy"]),
    ("arc_swap", &["replica", "proxy"]),
    ("tokio", &["replica", "proxy", "control", "app", "cli"]),
    ("prometheus", &["telemetry"]),
    ("jiff", &["telemetry", "wire"]),
    ("saphyr", &["cli"]),
    ("saphyr_parser", &["config"]),
    ("schemars", &["config"]),
    ("jsonschema", &["config"]),
    ("clap", &["cli", "main"]),
    ("clap_complete", &["cli"]),
    ("indicatif", &["cli"]),
    ("reqwest", &["replica", "cli"]),
    ("rustix", &["replica", "app"]),
    ("rustls", &["replica", "control"]),
    ("backon", &["replica"]),
    ("hyper", &["cli", "control"]),
    ("socket2", &["proxy"]),
    ("mimalloc", &["main"]),
];

/// What the pure floor must not even name.
const NOT_IN_AUTHZ: &[&str] = &[
    "serde",
    "serde_json",
    "tokio",
    "tracing",
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::time",
    "std::thread",
    "std::process",
    "getrandom",
    "println",
    "eprintln",
];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// One broken habit.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    line: usize,
    what: String,
}

/// Everything that is wrong with one source file; `path` is relative to the repository.
fn inspect(path: &str, source: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut report = |line: usize, what: String| {
        found.push(Finding {
            file: path.to_owned(),
            line,
            what,
        });
    };
    let code = blank_comments_and_literals(source);
    if !source.starts_with("//!") {
        report(
            1,
            "begins without `//!`: what it is, what it refuses to know".to_owned(),
        );
    }
    for (line, text) in numbered(&code) {
        if text.contains("#[allow(") || text.contains("#![allow(") {
            report(
                line,
                "`allow`: use `#[expect(lint, reason = \"…\")]`".to_owned(),
            );
        }
        if text.trim() == "#[ignore]" {
            report(line, "`#[ignore]` without a reason".to_owned());
        }
    }
    if let Some(module) = module_of(path) {
        let shipped = without_tests(&code);
        imports(module, path, &shipped, &mut report);
        sizes(&shipped, &mut report);
    }
    for (line, length) in functions(&code)
        .into_iter()
        .filter(|(_, lines)| *lines > FUNCTION_LINES_MAX)
    {
        report(
            line,
            format!("a function of {length} lines, of which {FUNCTION_LINES_MAX} are allowed"),
        );
    }
    found
}

/// Who names whom: floors, confined crates, the clock.
fn imports(module: &str, path: &str, code: &str, report: &mut impl FnMut(usize, String)) {
    let Some(own) = floor(module) else {
        return report(
            1,
            format!("module `{module}` has no floor: give it one in tests/tidy.rs"),
        );
    };
    for (line, root, head) in path_heads(code) {
        if (root == "crate" || root == "keyward")
            && head != module
            && floor(&head).is_none_or(|theirs| theirs >= own)
        {
            report(
                line,
                format!("`{module}` (floor {own}) imports `{head}`, which is not below it"),
            );
        }
        let confined = CONFINED.iter().find(|(name, _)| {
            root == *name || root.starts_with(&format!("{name}_")) && *name == "pingora"
        });
        if let Some((name, places)) = confined
            && !places.contains(&module)
        {
            report(
                line,
                format!("`{name}` is confined to {}", places.join(", ")),
            );
        }
    }
    let depth = path.matches('/').count() - usize::from(path.ends_with("/mod.rs"));
    for (line, count) in supers(code)
        .into_iter()
        .filter(|(_, count)| *count >= depth)
    {
        report(
            line,
            format!("`super` {count} times leaves the module: use a path from `crate`"),
        );
    }
    for (line, text) in numbered(code) {
        if text.contains("SystemTime::now") && path != "src/app/clock.rs" {
            report(
                line,
                "the only clock is src/app/clock.rs: pass `now` in".to_owned(),
            );
        }
        if names(text, "unsafe") {
            report(
                line,
                "`unsafe`: there is none, and SECURITY.md says so".to_owned(),
            );
        }
        if module == "authz" {
            for word in NOT_IN_AUTHZ.iter().filter(|word| names(text, word)) {
                report(line, format!("`authz` is pure and must not name `{word}`"));
            }
        }
    }
}

fn sizes(code: &str, report: &mut impl FnMut(usize, String)) {
    let lines = code.lines().count();
    if lines > FILE_LINES_MAX {
        report(
            1,
            format!("{lines} lines without tests, of which {FILE_LINES_MAX} are allowed"),
        );
    }
}

/// The module (floor) that a shipped source file belongs to; `None` for tests and benches.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    if inside == "lib.rs" || inside.ends_with("/tests.rs") || inside.contains("/tests/") {
        return None;
    }
    inside
        .split('/')
        .next()
        .map(|first| first.trim_end_matches(".rs"))
}

fn floor(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

/// What no shipped text may hold: notes to self, and places that exist on one machine only.
fn words(path: &str, text: &str) -> Vec<Finding> {
    let forbidden = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("/wo", "rk/"),
        concat!("../sha", "red"),
    ];
    let mut found = Vec::new();
    for (line, content) in numbered(text) {
        for word in forbidden.iter().filter(|word| content.contains(**word)) {
            found.push(Finding {
                file: path.to_owned(),
                line,
                what: format!("holds `{word}`"),
            });
        }
    }
    found
}

/// Relative links of a Markdown text that lead nowhere. `here` is the directory of the text.
fn dead_links(path: &str, text: &str, here: &Path) -> Vec<Finding> {
    let mut found = Vec::new();
    for (line, content) in numbered(text) {
        for (at, _) in content.match_indices("](") {
            let target = content[at + 2..]
                .split([')', '#'])
                .next()
                .unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://");
            if !elsewhere && !here.join(target).exists() {
                found.push(Finding {
                    file: path.to_owned(),
                    line,
                    what: format!("links to `{target}`, which is not there"),
                });
            }
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of the repository below `directory`, without what is built, fetched or hidden by git.
fn files_below(directory: &Path, into: &mut Vec<PathBuf>) {
    let skipped = ["target", ".git", "keyward-data", "results", "corpus"];
    for entry in fs::read_dir(directory)
        .expect("a readable directory")
        .flatten()
    {
        let path = entry.path();
        let name = entry.file_name();
        if skipped.iter().any(|skipped| name == *skipped) {
            continue;
        }
        if path.is_dir() {
            files_below(&path, into);
        } else {
            into.push(path);
        }
    }
}

fn repository() -> Vec<(String, PathBuf, String)> {
    let mut paths = Vec::new();
    files_below(root(), &mut paths);
    let mut files: Vec<_> = paths
        .into_iter()
        .filter_map(|path| {
            let name = path.strip_prefix(root()).ok()?.to_str()?.to_owned();
            let text = fs::read_to_string(&path).ok()?;
            Some((name, path, text))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_repository_is_tidy() {
    let mut found = BTreeSet::new();
    for (name, path, text) in repository() {
        if name.ends_with(".rs") {
            found.extend(inspect(&name, &text));
        }
        if name.ends_with(".md") {
            found.extend(dead_links(&name, &text, path.parent().unwrap_or(root())));
        }
        if name != "Cargo.lock" {
            found.extend(words(&name, &text));
        }
    }
    let mut report = String::new();
    for Finding { file, line, what } in &found {
        writeln!(report, "{file}:{line}: {what}").expect("writing to a string");
    }
    assert!(found.is_empty(), "{} untidy places\n{report}", found.len());
}

#[test]
fn nothing_is_retried() {
    let nextest =
        fs::read_to_string(root().join(".config/nextest.toml")).expect("nextest's settings");
    assert!(
        nextest.contains("\nretries = 0"),
        "a flaky pass is a failure"
    );
}

/// What the guard says of a file, without places.
fn said(path: &str, source: &str) -> Vec<String> {
    inspect(path, source)
        .into_iter()
        .map(|finding| format!("{}: {}", finding.line, finding.what))
        .collect()
}

#[test]
fn a_good_file_passes() {
    let good = "//! Good.\n\nuse crate::authz::{KeyId, Reason};\nuse crate::wire::Change;\n\nfn f<'a>(text: &'a str) -> char { '\\'' }\n";
    assert_eq!(said("src/replica/good.rs", good), Vec::<String>::new());
    assert_eq!(
        said(
            "src/main.rs",
            "//! M.\nfn main() { keyward::cli::main() }\n"
        ),
        Vec::<String>::new()
    );
}

#[test]
fn imports_from_above_and_beside_are_seen() {
    for (path, import) in [
        ("src/authz/a.rs", "use crate::wire::Change;"),
        ("src/proxy/a.rs", "use crate::control::Store;"),
        ("src/proxy/a.rs", "fn f() { crate::config::load(); }"),
        (
            "src/app/a.rs",
            "use crate::{authz::KeyId, config::Resolved};",
        ),
        (
            "src/wire/a.rs",
            "use crate::{\n    authz::{KeyId, Reason},\n    telemetry::Metrics,\n};",
        ),
        ("src/wire/a.rs", "use crate::*;"),
    ] {
        let said = said(path, &format!("//! A.\n{import}\n"));
        assert_eq!(said.len(), 1, "{path}: {import}: {said:?}");
        assert!(said[0].contains("not below it"), "{said:?}");
    }
}

#[test]
fn super_does_not_leave_the_module() {
    assert_eq!(
        said("src/proxy/a.rs", "//! A.\nuse super::door::Door;\n"),
        Vec::<String>::new()
    );
    assert_eq!(
        said(
            "src/proxy/a/b.rs",
            "//! A.\nuse super::super::door::Door;\n"
        ),
        Vec::<String>::new()
    );
    assert!(
        said("src/proxy/a.rs", "//! A.\nuse super::super::cli::Args;\n")[0]
            .contains("leaves the module")
    );
    assert!(
        said("src/proxy/mod.rs", "//! A.\nuse super::cli::Args;\n")[0]
            .contains("leaves the module")
    );
}

#[test]
fn confined_crates_and_clocks_are_seen() {
    for (path, code, needle) in [
        (
            "src/control/a.rs",
            "use pingora_proxy::Session;",
            "`pingora` is confined",
        ),
        ("src/app/a.rs", "use axum::Router;", "`axum` is confined"),
        (
            "src/authz/a.rs",
            "#[derive(serde::Serialize)] struct A;",
            "must not name `serde`",
        ),
        (
            "src/authz/a.rs",
            "use std::time::Instant;",
            "must not name `std::time`",
        ),
        (
            "src/proxy/a.rs",
            "fn f() { std::time::SystemTime::now(); }",
            "the only clock",
        ),
        ("src/nowhere/a.rs", "", "has no floor"),
        (
            "src/proxy/a.rs",
            "fn f(p: *const u8) -> u8 { unsafe { *p } }",
            "there is none",
        ),
    ] {
        let said = said(path, &format!("//! A.\n{code}\n"));
        assert_eq!(said.len(), 1, "{path}: {code}: {said:?}");
        assert!(said[0].contains(needle), "{said:?}");
    }
}

#[test]
fn what_is_no_code_is_not_read() {
    let quiet = "//! `crate::control` is spoken of.\n/* use axum::A; */\nconst A: &str = \"use sqlx::B; \\\" use sqlx::C;\";\nconst B: &str = r#\"crate::cli::x \" \"#;\nfn f(a: &'static str) -> u8 { b'\"' }\n// use axum::D;\n#[cfg(test)]\nmod tests {\n    use crate::control::Store;\n}\n";
    assert_eq!(said("src/proxy/quiet.rs", quiet), Vec::<String>::new());
}

#[test]
fn sizes_heads_and_words_are_seen() {
    let long = format!(
        "//! A.\nfn f() {{\n{}}}\n",
        "    g();\n".repeat(FUNCTION_LINES_MAX)
    );
    assert_eq!(
        said("src/wire/a.rs", &long),
        ["2: a function of 72 lines, of which 70 are allowed"]
    );
    let large = format!("//! A.\n{}", "const A: u8 = 1;\n".repeat(FILE_LINES_MAX));
    assert_eq!(
        said("src/wire/a.rs", &large),
        ["1: 501 lines without tests, of which 500 are allowed"]
    );
    assert!(said("tests/it/a.rs", "use std::fs;\n")[0].contains("begins without"));
    assert!(
        said("src/wire/a.rs", "//! A.\n#[allow(dead_code)]\nfn f() {}\n")[0].contains("2: `allow`")
    );
    let note = format!("fine\n{} later\n", concat!("TO", "DO"));
    assert_eq!(words("README.md", &note).len(), 1);
}

#[test]
fn dead_links_are_seen() {
    let text = "[a](Cargo.toml) [b](https://example.com) [c](nowhere.md#x) [d](#here)";
    let found = dead_links("README.md", text, root());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].what.contains("nowhere.md"));
}
