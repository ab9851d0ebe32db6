//! The lines that people are told to paste, pasted: those of the README and those that the quickstart prints.

use std::process::Command;

use crate::e2e_support::{Quickstart, keyward, wait_for_line};

/// What came of a pasted line.
struct Pasted {
    status: String,
    output: String,
}

/// Runs a line in a shell, as it is but for the addresses.
fn paste(line: &str, variables: &[(&str, String)]) -> Pasted {
    let output = Command::new("sh")
        .args(["-c", line])
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .output()
        .expect("a shell");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = output.split(' ').nth(1).unwrap_or_default().to_owned();
    Pasted { status, output }
}

/// Checks what a comment says to expect: a status, then a reason where it is a refusal by the gateway.
fn check(line: &str, expected: &str, pasted: &Pasted) {
    let mut words = expected.split([' ', ':']);
    let status = words.next().unwrap_or_default();
    assert_eq!(pasted.status, status, "{line}\n{}", pasted.output);
    if status.starts_with('4') {
        let reason = words.next().unwrap_or_default();
        assert!(
            pasted.output.contains(&format!("\"{reason}\"")),
            "{reason}: {line}\n{}",
            pasted.output
        );
    }
}

fn new_key(output: &str) -> String {
    let after = output
        .split("\"apiKey\":\"")
        .nth(1)
        .expect("an answer with a key");
    after.split('"').next().unwrap_or_default().to_owned()
}

#[test]
fn the_readmes_tour_does_what_it_says() {
    let quickstart = Quickstart::start();
    let readme = include_str!("../../README.md");
    let mut variables = vec![
        ("ORG_KEY", quickstart.key("org").to_owned()),
        ("WORKSPACE_KEY", quickstart.key("workspace").to_owned()),
        ("ACCESS_KEY", quickstart.key("access").to_owned()),
        ("ADMIN_TOKEN", quickstart.admin_token().to_owned()),
    ];
    let mut last = String::new();
    let mut lines = 0;
    for line in readme.lines() {
        if line.starts_with("export NEW_KEY=") {
            variables.push(("NEW_KEY", new_key(&last)));
        }
        if !line.starts_with("curl ") {
            continue;
        }
        let (command, expected) = line
            .rsplit_once("# ")
            .expect("each line says what to expect");
        let command = command
            .replace("http://127.0.0.1:8080", quickstart.gateway())
            .replace("http://127.0.0.1:8081", quickstart.control())
            .replace("http://127.0.0.1:9900", quickstart.ops());
        let pasted = paste(&command, &variables);
        check(line, expected, &pasted);
        if expected == "200" && command.contains(quickstart.gateway()) && command.contains("_KEY") {
            assert!(
                pasted.output.contains("x-keyward-key-id"),
                "{line}\n{}",
                pasted.output
            );
            assert!(
                !variables
                    .iter()
                    .any(|(_, secret)| pasted.output.contains(secret.as_str())),
                "{line}"
            );
        }
        last = pasted.output;
        lines += 1;
    }
    assert!(lines >= 20, "only {lines} lines were found");
}

#[test]
fn the_printed_tour_does_what_it_says() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let mut command = keyward();
    command
        .args(["quickstart", "--listen", "127.0.0.1:0", "--dir"])
        .arg(temporary.path().join("data"));
    let (child, printed) = wait_for_line(&mut command, "The keys are fresh at every start");
    let lines: Vec<&str> = printed.lines().map(str::trim).collect();
    let steps: Vec<_> = lines
        .windows(2)
        .filter(|pair| pair[1].starts_with("curl "))
        .collect();
    assert!(steps.len() >= 13, "{printed}");
    for step in steps {
        let expected = step[0]
            .strip_prefix("# ")
            .expect("each line says what to expect");
        check(step[1], expected, &paste(step[1], &[]));
    }
    drop(child);
}
