//! Commands as people type them: help, exit codes, `decide`, `keys`, completions, the committed reference.

use serde_json::{Value, json};

use crate::e2e_support::{Quickstart, finish, keyward, run};

const COMMANDS: [&[&str]; 18] = [
    &[],
    &["quickstart"],
    &["run"],
    &["check"],
    &["explain"],
    &["decide"],
    &["schema"],
    &["completions"],
    &["keys"],
    &["keys", "create"],
    &["keys", "list"],
    &["keys", "get"],
    &["keys", "update"],
    &["keys", "rotate"],
    &["keys", "disable"],
    &["keys", "revoke"],
    &["keys", "delete"],
    &["help"],
];

#[test]
fn every_command_has_help_without_colour_in_a_pipe() {
    for command in COMMANDS {
        let ended = run(&[command, &["--help"]].concat(), "");
        assert_eq!(ended.code, Some(0), "{command:?}");
        assert!(
            ended.stdout.contains("Usage:"),
            "{command:?}: {}",
            ended.stdout
        );
        assert!(
            !ended.stdout.contains('\u{1b}'),
            "{command:?}: colour in a pipe"
        );
    }
}

#[test]
fn what_is_typed_wrongly_or_does_not_exist_is_a_usage_error() {
    for args in [
        &["nonsense"][..],
        &["control", "--listen", "127.0.0.1:0"],
        &["keys", "import", "x"],
        &["keys", "export"],
        &["check", "--config", "x", "--openapi", "y"],
        &["run"],
        &["explain", "GET"],
        &["keys", "get", "--org", "acme"],
        &["decide", "--nonsense"],
    ] {
        let ended = run(args, "");
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(
        run(&["--version"], "").stdout.trim(),
        concat!("keyward ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn completions_exist_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&["completions", shell], "");
        assert_eq!(ended.code, Some(0));
        assert!(ended.stdout.contains("quickstart"), "{shell}");
    }
}

#[test]
fn the_reference_of_the_commands_is_current() {
    crate::golden::assert_committed("docs/cli.md", &keyward::cli::markdown());
}

/// The three lines of the documentation, one for each family, and what each comes to.
#[test]
fn decide_answers_line_by_line() {
    let lines = r#"
{"grants":{"permissions":["orgs:*"],"scopes":["agents:a1"]},"check":{"permissions":["orgs:members:read"],"scopes":["agents:a1"]}}
{"grants":{"rules":[{"action":"read","subject":"pages","conditions":{"id":"p1"}}]},"check":{"action":"read","subject":"pages","resource":{"id":"p1"},"complete":true,"field":null,"any_field":false}}
{"grants":{"permission_mode":"RESTRICTED","access":{"deployment":"write"},"project_scope":{"all":{}}},"check":{"domain":"deployment","level":"read","project":null}}
{"grants":{"permissions":["orgs:*"],"scopes":[]},"check":{"permissions":["orgs:members:read"],"scopes":["agents:a1"]}}
{"grants":{"permissions":["a:*:b"],"scopes":[]},"check":{"permissions":["a:x:b"],"scopes":[]}}
nonsense
"#;
    let ended = run(&["decide"], lines.trim_start());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let answers: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 6, "{answers:?}");
    assert_eq!(
        answers[0],
        json!({ "decision": "allow", "reason": null, "determined_by": { "grants": ["orgs:*"] } })
    );
    assert_eq!(
        answers[1],
        json!({ "decision": "allow", "reason": null, "determined_by": { "rule": 0 } })
    );
    assert_eq!(
        answers[2],
        json!({ "decision": "allow", "reason": null, "determined_by": { "domain": "deployment", "level": "write" } })
    );
    assert_eq!(
        (&answers[3]["decision"], &answers[3]["reason"]),
        (&json!("deny"), &json!("out_of_scope"))
    );
    assert!(answers[4]["refused"].is_string(), "{}", answers[4]);
    assert!(answers[5]["error"].is_string(), "{}", answers[5]);
}

/// A terminal session with `keyward keys`, from the making of a key to its end.
#[test]
fn keys_are_managed_from_a_terminal() {
    let quickstart = Quickstart::start();
    let token_file = quickstart.dir().join("admin-token");
    let keys = |args: &[&str]| {
        let mut command = keyward();
        command
            .args(["keys", "--control", quickstart.control(), "--token-file"])
            .arg(&token_file);
        finish(command.args(args), "")
    };
    let json = |args: &[&str]| -> Value {
        let ended = keys(&[args, &["--json"]].concat());
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    };
    let status = |key: &str| {
        quickstart
            .get("/v1/agents/a1", &[("x-prismeai-api-key", key)])
            .status
    };

    let made = json(&[
        "create",
        "--org",
        "acme",
        "--slug",
        "ci",
        "--expires-in",
        "90d",
        "--permission",
        "agent-factory:agents:read",
        "--scope",
        "agents:a1",
    ]);
    let first = made["apiKey"].as_str().unwrap();
    assert_eq!(status(first), 200);

    let shown = keys(&["get", "--org", "acme", "ci"]);
    assert!(
        shown.stdout.contains("agent-factory:agents:read") && !shown.stdout.contains(first),
        "{shown:?}"
    );
    let listed = keys(&["list", "--org", "acme", "--sort", "-createdAt"]);
    assert!(
        listed
            .stdout
            .lines()
            .any(|line| line.contains(" ci ") && line.contains("active")),
        "{}",
        listed.stdout
    );

    assert_eq!(
        json(&["update", "--org", "acme", "ci", "--no-permissions"])["permissions"],
        json!([])
    );
    assert_eq!(status(first), 403);
    json(&[
        "update",
        "--org",
        "acme",
        "ci",
        "--permission",
        "agent-factory:*",
    ]);
    assert_eq!(status(first), 200);
    assert_eq!(
        json(&["disable", "--org", "acme", "ci"])["disabled"],
        json!(true)
    );
    assert_eq!(status(first), 401);
    json(&["update", "--org", "acme", "ci", "--disabled", "false"]);

    let rotated = json(&["rotate", "--org", "acme", "ci", "--grace-period", "1h"]);
    let second = rotated["apiKey"].as_str().unwrap();
    assert_eq!((status(first), status(second)), (200, 200));
    assert_eq!(keys(&["revoke", "--org", "acme", "ci"]).code, Some(0));
    assert_eq!((status(first), status(second)), (401, 401));

    let gone = keys(&["get", "--org", "acme", "ci"]);
    assert_eq!(gone.code, Some(1));
    assert_eq!(gone.stderr.lines().count(), 1, "{}", gone.stderr);
}

#[test]
fn keys_say_what_to_do_when_they_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let no_token = run(
        &[
            "keys",
            "--token-file",
            dir.path().join("none").to_str().unwrap(),
            "list",
            "--org",
            "acme",
        ],
        "",
    );
    assert_eq!(no_token.code, Some(1));
    assert!(
        no_token.stderr.contains("KEYWARD_ADMIN_TOKEN"),
        "{}",
        no_token.stderr
    );

    // A port that was free a moment ago and that nobody listens at.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let token = "0123456789abcdef0123456789abcdef";
    let mut command = keyward();
    command.env("KEYWARD_ADMIN_TOKEN", token).args([
        "keys",
        "--control",
        &format!("http://{free}"),
        "list",
        "--org",
        "acme",
    ]);
    let nobody = finish(&mut command, "");
    assert_eq!(nobody.code, Some(1));
    assert!(
        nobody.stderr.contains("--control") && nobody.stderr.lines().count() == 1,
        "{}",
        nobody.stderr
    );
    assert!(!nobody.stderr.contains(token));

    let quickstart = Quickstart::start();
    let mut command = keyward();
    command.env("KEYWARD_ADMIN_TOKEN", token).args([
        "keys",
        "--control",
        quickstart.control(),
        "list",
        "--org",
        "acme",
    ]);
    let stranger = finish(&mut command, "");
    assert_eq!(stranger.code, Some(1));
    assert!(
        stranger.stderr.contains("401") && stranger.stderr.contains("KEYWARD_ADMIN_TOKEN"),
        "{}",
        stranger.stderr
    );
}
