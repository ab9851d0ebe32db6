//! Commands as people type them: help, exit codes, `decide`, `keys`, completions, the committed reference.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::e2e_support::{Ended, Quickstart, finish, keyward, run, send};

const COMMANDS: [&[&str]; 17] = [
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
        &["control", "--tls-certificate", "x"],
        &["keys", "import"],
        &["keys", "export", "x"],
        &["check", "--config", "x", "--host", "y"],
        &["run"],
        &["explain", "GET"],
        &["keys", "get", "--org", "acme"],
        &["keys", "list"],
        &["keys", "list", "--org", "acme", "--workspace", "w1"],
        &["keys", "list", "--workspace", "w1", "--page", "1"],
        &[
            "keys",
            "create",
            "--workspace",
            "w1",
            "--name",
            "n",
            "--slug",
            "s",
        ],
        &[
            "keys",
            "create",
            "--workspace",
            "w1",
            "--name",
            "n",
            "--rule",
            "{",
        ],
        &["keys", "create", "--workspace", "w1", "--rule", "{}"],
        &[
            "keys", "create", "--org", "acme", "--slug", "s", "--rule", "{}",
        ],
        &["keys", "list", "--access", "--org", "acme"],
        &["keys", "list", "--access", "--page", "1"],
        &["keys", "list", "--org", "acme", "--search", "x"],
        &["keys", "create", "--access"],
        &[
            "keys", "create", "--access", "--name", "n", "--level", "file",
        ],
        &[
            "keys", "create", "--access", "--name", "n", "--scope", "a:b",
        ],
        &[
            "keys",
            "update",
            "--access",
            "k",
            "--expires-in",
            "1d",
            "--never-expires",
        ],
        &["decide", "--nonsense"],
    ] {
        let ended = run(args, "");
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stdout.is_empty(), "{args:?}");
    }
}

/// What depends on more than one argument, and what would name something else in a URL. No control plane is asked for
/// it, and no token is missed.
#[test]
fn what_no_control_plane_could_be_asked_is_a_usage_error() {
    for line in [
        "create --org acme --slug s",
        "create --workspace w1 --name n",
        "update --org acme ci",
        "update --workspace w1 k",
        "update --access k",
        "rotate --workspace w1 k",
        "rotate --access k",
        "list --org acme --control xyz",
        "get --org acme ",
        "get --org acme .",
        "get --org acme ..",
        "get --org acme .\t.",
        "list --org ..",
        "delete --workspace w1 ..",
        "delete --workspace .. k",
        "delete --access .",
    ] {
        let none = ["keys", "--token-file", "/nonexistent"];
        let args: Vec<&str> = none.into_iter().chain(line.split(' ')).collect();
        let ended = run(&args, "");
        assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{line}: {ended:?}");
    }
}

#[test]
fn a_password_in_an_address_is_not_repeated() {
    for address in [
        "http://user:hunter2@127.0.0.1:1",
        "user:hunter2@[",
        "https://:hunter2@h",
    ] {
        let ended = run(&["keys", "list", "--org", "acme", "--control", address], "");
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
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

/// A terminal beside a quickstart.
struct Terminal(Quickstart);

impl Terminal {
    /// Types `keyward keys` and `line`.
    fn keys(&self, line: &str) -> Ended {
        let mut command = keyward();
        command.args(["keys", "--control", self.0.control(), "--token-file"]);
        command.arg(self.0.dir().join("admin-token"));
        finish(command.args(line.split(' ')), "")
    }

    /// The same, for a program to read.
    fn json(&self, line: &str) -> Value {
        let ended = self.keys(&format!("{line} --json"));
        assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
        serde_json::from_str(&ended.stdout).expect("JSON")
    }

    /// The status of a request with a key.
    fn status(&self, key: &str) -> u16 {
        self.0
            .get("/v1/agents/a1", &[("x-prismeai-api-key", key)])
            .status
    }
}

fn secret(answer: &Value) -> String {
    answer["apiKey"].as_str().expect("a raw key").to_owned()
}

#[test]
fn keys_are_made_and_shown_from_a_terminal() {
    let terminal = Terminal(Quickstart::start());
    let made = terminal.keys(
        "create --org acme --slug ci --expires-in 90d --permission agent-factory:agents:read --scope agents:a1",
    );
    let key = made
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("key "))
        .expect("the key")
        .trim();
    assert_eq!(terminal.status(key), 200);
    let shown = terminal.keys("get --org acme ci").stdout;
    assert!(
        shown.contains("agent-factory:agents:read") && !shown.contains(key),
        "{shown}"
    );
    let listed = terminal.keys("list --org acme --sort -createdAt").stdout;
    assert!(
        listed
            .lines()
            .any(|line| line.contains(" ci ") && line.contains("active")),
        "{listed}"
    );
    let none = terminal.keys("create --org acme --slug ci2");
    assert!(
        none.code == Some(2) && none.stderr.contains("--expires-in"),
        "{none:?}"
    );
    let taken = terminal.keys("create --org acme --slug ci --expires-in 1d");
    assert!(
        taken.code == Some(1) && taken.stderr.contains("409"),
        "{taken:?}"
    );
}

#[test]
fn keys_are_changed_and_ended_from_a_terminal() {
    let terminal = Terminal(Quickstart::start());
    let first =
        secret(&terminal.json("create --org acme --slug ci --expires-in 90d --scope agents:a1"));
    assert_eq!(terminal.status(&first), 403);
    terminal.json("update --org acme ci --permission agent-factory:*");
    assert_eq!(terminal.status(&first), 200);
    assert_eq!(
        terminal.json("update --org acme ci --no-permissions")["permissions"],
        json!([])
    );
    assert_eq!(terminal.status(&first), 403);
    assert_eq!(
        terminal.json("disable --org acme ci")["disabled"],
        json!(true)
    );
    assert_eq!(terminal.status(&first), 401);
    terminal.json("update --org acme ci --disabled false --permission agent-factory:*");

    let second = secret(&terminal.json("rotate --org acme ci --grace-period 1h"));
    assert_eq!(
        (terminal.status(&first), terminal.status(&second)),
        (200, 200)
    );
    assert_eq!(terminal.keys("revoke --org acme ci").code, Some(0));
    assert_eq!(
        (terminal.status(&first), terminal.status(&second)),
        (401, 401)
    );
    let gone = terminal.keys("get --org acme ci");
    assert_eq!(
        (gone.code, gone.stderr.lines().count()),
        (Some(1), 1),
        "{gone:?}"
    );
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

#[test]
fn rules_that_are_too_long_are_told_so() {
    let terminal = Terminal(Quickstart::start());
    let file = terminal.0.dir().join("rules.json");
    // Two bytes each: the limit falls within a character too.
    for blank in [" ", "é"] {
        std::fs::write(&file, format!("[{}]", blank.repeat(1024 * 1024))).unwrap();
        let line = format!("create --workspace w1 --name n --rules {}", file.display());
        let ended = terminal.keys(&line);
        assert!(
            ended.code == Some(1) && ended.stderr.contains("1 MiB"),
            "{ended:?}"
        );
    }
}

/// With a key that leaked, the key itself is all that one has.
#[test]
fn a_key_of_a_workspace_may_be_named_by_itself() {
    let terminal = Terminal(Quickstart::start());
    let rule = r#"{"action":"read","subject":"pages"}"#;
    let made = terminal.json(&format!("create --workspace w1 --name ci --rule {rule}"));
    let key = secret(&made);
    let id = terminal.json(&format!("get --workspace w1 {key}"))["apiKey"].clone();
    assert!(id.is_string() && id != json!(key), "{id}");
    terminal.json(&format!("update --workspace w1 {key} --name leaked"));
    let disabled = terminal.json(&format!("disable --workspace w1 {key}"));
    assert_eq!(
        (
            &disabled["apiKey"],
            &disabled["name"],
            &disabled["disabled"]
        ),
        (&id, &json!("leaked"), &json!(true))
    );
    let renamed = terminal.json(&format!("update --workspace w1 {key} --name renamed"));
    assert_eq!(renamed["disabled"], json!(true));
}

/// A control plane that answers each request in turn, and what it was asked.
fn control_plane(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = move |answer: &str| {
        let mut stream = listener.accept().unwrap().0;
        let mut asked = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
            asked.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        asked.push_str(&String::from_utf8(body).unwrap());
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json";
        let length = answer.len();
        write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{answer}").unwrap();
        asked
    };
    let serving = std::thread::spawn(move || answers.into_iter().map(asked).collect());
    (address, serving)
}

#[test]
fn a_change_says_nothing_of_what_it_does_not_change() {
    let key = r#"{"apiKey":"k","name":"old","rules":[{"action":["read"]}],"disabled":false}"#;
    for (line, sent) in [
        (
            "update --name new",
            json!({"name": "new", "rules": [{"action": ["read"]}]}),
        ),
        (
            "disable",
            json!({"name": "old", "rules": [{"action": ["read"]}], "disabled": true}),
        ),
    ] {
        let (address, serving) = control_plane(vec![key, key]);
        let mut command = keyward();
        command.env("KEYWARD_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef");
        command.args(["keys", "--control", &address]);
        command
            .args(line.split(' '))
            .args(["--workspace", "w1", "k"]);
        let ended = finish(&mut command, "");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let asked = serving.join().unwrap();
        assert!(asked[0].starts_with("GET /v2/workspaces/w1/security/apikeys/k "));
        let body = asked[1].lines().last().unwrap();
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), sent, "{line}");
    }
}

#[test]
fn keys_of_workspaces_are_managed_from_a_terminal() {
    let terminal = Terminal(Quickstart::start());
    let page = |key: &str| {
        let headers = [("x-prismeai-api-key", key)];
        terminal
            .0
            .get("/v2/workspaces/w1/pages/p2", &headers)
            .status
    };
    let rule = |id: &str| {
        format!(r#"{{"action":"read","subject":["pages","files"],"conditions":{{"id":"{id}"}}}}"#)
    };
    let made = terminal.keys(&format!(
        "create --workspace w1 --name reader --rule {}",
        rule("p2")
    ));
    let key = made
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("key "));
    let key = key.unwrap_or_else(|| panic!("{made:?}")).trim();
    assert_eq!(page(key), 200);

    let listed = terminal.json("list --workspace w1");
    let own = |key: &&Value| key["name"] == json!("reader");
    let listed = listed.as_array().unwrap().iter().find(own).unwrap();
    let id = listed["apiKey"].as_str().unwrap();
    assert_eq!(listed["rules"].as_array().unwrap().len(), 2);
    let shown = terminal.keys(&format!("get --workspace w1 {id}")).stdout;
    assert!(
        shown.contains("reader") && shown.contains("active") && !shown.contains(key),
        "{shown}"
    );

    let update = |what: &str| terminal.json(&format!("update --workspace w1 {id} {what}"));
    let renamed = update("--name renamed");
    assert_eq!(
        (&renamed["name"], &renamed["rules"]),
        (&json!("renamed"), &listed["rules"])
    );
    update(&format!("--rule {}", rule("p3")));
    assert_eq!(page(key), 403);
    let rules = terminal.0.dir().join("rules.json");
    std::fs::write(&rules, format!("[{}]", rule("p2"))).unwrap();
    update(&format!("--rules {}", rules.display()));
    assert_eq!(page(key), 200);

    assert_eq!(
        terminal.json(&format!("disable --workspace w1 {id}"))["disabled"],
        json!(true)
    );
    assert_eq!(page(key), 401);
    update("--disabled false");
    assert_eq!(page(key), 200);
    let rotated = terminal.keys(&format!("rotate --workspace w1 {id}"));
    assert!(
        rotated.code == Some(2) && rotated.stderr.contains("create another"),
        "{rotated:?}"
    );
    assert_eq!(
        terminal.keys(&format!("delete --workspace w1 {id}")).code,
        Some(0)
    );
    assert_eq!(page(key), 401);
    let gone = terminal.keys(&format!("get --workspace w1 {id}"));
    assert!(
        gone.code == Some(1) && gone.stderr.contains("no such API key"),
        "{gone:?}"
    );
}

/// The status that a call of a deployment with this key is answered with.
fn invoke(terminal: &Terminal, key: &str) -> u16 {
    let headers = [("x-prismeai-api-key", key)];
    let path = "/v2/deployments/invoke";
    send(terminal.0.gateway(), "POST", path, &headers, "{}").status
}

#[test]
fn access_keys_are_managed_from_a_terminal() {
    let terminal = Terminal(Quickstart::start());
    let invoke = |key: &str| invoke(&terminal, key);
    let create = "create --access --name models --mode restricted --expires-in 90d";
    let made = terminal.keys(&format!(
        "{create} --level deployment=read --level agents=read"
    ));
    let key = made
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("key "));
    let key = key.unwrap_or_else(|| panic!("{made:?}")).trim();
    assert!(
        made.stdout.contains("not in the capability catalogue"),
        "{made:?}"
    );
    assert_eq!(invoke(key), 200);

    let listed =
        terminal.json("list --access --search MODEL --mode restricted --status active --limit 5");
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 1);
    let id = listed[0]["id"].as_str().unwrap();
    let after = terminal.json(&format!(
        "list --access --after {id} --owner-type service_account"
    ));
    assert_eq!(after.as_array().unwrap().len(), 1);
    let shown = terminal.keys(&format!("get --access {id}")).stdout;
    assert!(
        shown.contains("models") && shown.contains("active") && !shown.contains(key),
        "{shown}"
    );
    let table = terminal.keys("list --access").stdout;
    assert!(
        table.contains("restricted") && table.contains("2 of 2"),
        "{table}"
    );

    let update = |what: &str| terminal.json(&format!("update --access {id} {what}"));
    assert_eq!(update("--no-levels")["access"], json!({}));
    assert_eq!(invoke(key), 403);
    let changed = update("--mode all --name renamed --project p1 --never-expires");
    assert_eq!(changed["projects"], json!(["p1"]));
    assert_eq!(changed.get("expiration"), None);
    assert_eq!(update("--all-projects")["projects"], json!([]));
    assert_eq!(invoke(key), 200);
}

#[test]
fn access_keys_are_ended_from_a_terminal() {
    let terminal = Terminal(Quickstart::start());
    let made = terminal.json("create --access --name models");
    let (id, key) = (
        made["id"].as_str().unwrap(),
        made["token"].as_str().unwrap(),
    );
    let invoke = |key: &str| invoke(&terminal, key);
    let update = |what: &str| terminal.json(&format!("update --access {id} {what}"));
    assert_eq!(invoke(key), 200);
    assert_eq!(
        terminal.json(&format!("disable --access {id}"))["status"],
        json!("disabled")
    );
    assert_eq!(invoke(key), 401);
    assert_eq!(update("--disabled false")["status"], json!("active"));
    assert_eq!(invoke(key), 200);
    assert_eq!(
        terminal.json(&format!("revoke --access {id}"))["status"],
        json!("revoked")
    );
    assert_eq!(invoke(key), 401);
    let revived = terminal.keys(&format!("update --access {id} --disabled false"));
    assert!(
        revived.code == Some(1)
            && revived.stderr.contains("final")
            && !revived.stderr.contains("slug"),
        "{revived:?}"
    );
    let rotated = terminal.keys(&format!("rotate --access {id}"));
    assert!(
        rotated.code == Some(2) && rotated.stderr.contains("create another"),
        "{rotated:?}"
    );
    assert_eq!(
        terminal.keys(&format!("delete --access {id}")).code,
        Some(0)
    );
    assert_eq!(terminal.keys(&format!("get --access {id}")).code, Some(1));
}

/// A key of each family that was made elsewhere, as a line of an import.
fn moved() -> [Value; 3] {
    let uuid = "0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";
    [
        json!({
            "family": "org", "org": "acme", "slug": "moved", "name": "Moved", "token": format!("iak_acme_{uuid}"),
            "permissions": ["agent-factory:agents:read"], "scopes": ["agents:a1"], "expiresAt": "2099-01-01T00:00:00Z",
        }),
        json!({
            "family": "workspace", "workspace": "w1", "name": "Moved", "token": uuid,
            "rules": [{"action": "read", "subject": "pages", "conditions": {"id": "p1"}}],
        }),
        json!({
            "family": "access", "name": "Moved", "token": "sk-orq-01HZXK3QW8Y5T2R9V7B6N4M1PC-0123456789abcdef",
            "permission_mode": "restricted", "access": {"deployment": "read"},
        }),
    ]
}

#[test]
fn keys_of_all_families_are_imported_and_used_and_exported() {
    let terminal = Terminal(Quickstart::start());
    let lines = moved();
    let tokens = lines.each_ref().map(|line| line["token"].as_str().unwrap());
    let file = terminal.0.dir().join("keys.ndjson");
    let write = |lines: &[Value]| {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&file, text).unwrap();
    };
    let import = |more: &str| terminal.keys(&format!("import {}{more}", file.display()));
    write(&lines);
    let imported = import("");
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert!(
        imported
            .stdout
            .starts_with("3 created, 0 unchanged, 0 refused"),
        "{imported:?}"
    );
    assert_eq!(imported.stderr, "", "no progress beside a terminal");

    let status = |method: &str, path: &str, key: &str| {
        let headers = [("authorization", format!("Bearer {key}"))];
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        send(terminal.0.gateway(), method, path, &headers, "").status
    };
    assert_eq!(status("GET", "/v1/agents/a1", tokens[0]), 200);
    assert_eq!(status("GET", "/v1/agents/a2", tokens[0]), 403);
    assert_eq!(status("GET", "/v2/workspaces/w1/pages/p1", tokens[1]), 200);
    assert_eq!(status("GET", "/v2/workspaces/w1/pages/p2", tokens[1]), 403);
    assert_eq!(status("POST", "/v2/deployments/invoke", tokens[2]), 200);

    let mut bad = lines[0].clone();
    bad["slug"] = json!("no slug");
    write(&[lines[0].clone(), bad]);
    let stopped = import("");
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    assert!(stopped.stderr.contains("line 2: `slug`"), "{stopped:?}");
    let skipped = import(" --skip-refused --json");
    let report: Value = serde_json::from_str(&skipped.stdout).unwrap();
    assert_eq!(
        (skipped.code, &report["refused"]),
        (Some(0), &json!(1)),
        "{skipped:?}"
    );
    assert_eq!(terminal.keys("import /nowhere").code, Some(1));

    let exported = terminal.keys("export");
    assert_eq!(exported.code, Some(0), "{exported:?}");
    assert!(
        exported.stdout.contains(r#""slug":"moved""#),
        "{exported:?}"
    );
    for token in tokens {
        assert!(!exported.stdout.contains(token), "{exported:?}");
    }
}
