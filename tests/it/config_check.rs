//! `keyward check` and `keyward schema`, as people and programs call them.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn keyward(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args(arguments)
        .env_clear()
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_loads_exits_0_and_warnings_fail_only_when_strict() {
    let file = "config/quickstart.yaml";
    let done = keyward(&["check", "--config", file]);
    let out = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(out.contains("warning: config/quickstart.yaml:"), "{out}");
    assert!(out.contains("route `ping`: everyone passes"), "{out}");
    assert!(out.contains("6 routes"), "{out}");

    let done = keyward(&["check", "--config", file, "--strict"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("--strict"));
}

#[test]
fn mistakes_exit_1_with_file_line_and_key() {
    let file = "tests/data/config/broken.yaml";
    let done = keyward(&["check", "--config", file]);
    assert_eq!(done.status.code(), Some(1));
    let said = text(&done.stderr);
    assert!(said.starts_with(&format!("keyward: {file}: ")), "{said}");
    assert!(
        said.contains(&format!("\n{file}:9:20: server.threads: ")),
        "{said}"
    );
    assert_eq!(text(&done.stdout), "");

    let missing = keyward(&["check", "--config", "no-such.yaml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("no-such.yaml: cannot be read"));

    let usage = keyward(&["check"]);
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn programs_read_one_line_of_json() {
    let done = keyward(&[
        "check",
        "--config",
        "tests/data/config/broken.yaml",
        "--json",
    ]);
    assert_eq!(done.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&done.stdout).expect("one JSON value");
    assert_eq!(report["ok"], false);
    let mistakes = report["mistakes"].as_array().expect("a list");
    assert!(mistakes.len() > 70);
    let first = &mistakes[0];
    assert_eq!(first["file"], "tests/data/config/broken.yaml");
    assert_eq!((&first["line"], &first["column"]), (&3.into(), &14.into()));
    assert_eq!(first["key"], "listen[0].address");

    let done = keyward(&["check", "--config", "config/quickstart.yaml", "--json"]);
    assert_eq!(done.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&done.stdout).expect("one JSON value");
    assert_eq!(report["ok"], true);
    let agent = &report["routes"][1];
    assert_eq!(agent["path"], "/v1/agents/{agentId}");
    assert_eq!(
        agent["require"]["permissions"][0],
        "agent-factory:agents:read"
    );
    assert_eq!(report["routes"][5]["require"], "anonymous");
    assert_eq!(report["routes"][5]["passes_without_key"][0], "anonymous");
    assert!(report["warnings"].as_array().is_some_and(|w| !w.is_empty()));
}

#[test]
fn the_schema_is_printed_as_committed() {
    let done = keyward(&["schema"]);
    assert_eq!(done.status.code(), Some(0));
    let committed = include_str!("../../docs/config.schema.json");
    assert_eq!(text(&done.stdout), committed);
}
