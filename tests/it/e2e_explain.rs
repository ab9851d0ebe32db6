//! `keyward explain`: what it says of a request is what the gateway does with it.

use serde_json::{Value, json};

use crate::e2e_support::{Ended, Quickstart, finish, keyward, run, send};

const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/quickstart.yaml");

/// Explains a request beside a running quickstart, from its database.
fn explain(quickstart: &Quickstart, args: &[&str], input: &str) -> Ended {
    let mut command = keyward();
    command.env("KEYWARD_DATA", quickstart.dir());
    finish(
        command
            .args(["explain", "--config", CONFIGURATION])
            .args(args),
        input,
    )
}

fn as_json(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.stdout).expect("one JSON object")
}

#[test]
fn it_says_what_the_gateway_does() {
    let quickstart = Quickstart::start();
    let requests = [
        ("GET", "/v1/agents/a1", "org"),
        ("GET", "/v1/agents/a2", "org"),
        ("POST", "/v1/agents/a1", "org"),
        ("GET", "/v2/orgs/other/api-keys", "org"),
        ("GET", "/v2/workspaces/w1/pages/p1", "workspace"),
        ("GET", "/v2/workspaces/w1/pages/p2", "workspace"),
        ("POST", "/v2/deployments/invoke", "access"),
        ("GET", "/v1/agents/a1", "access"),
        ("GET", "/public/ping", "org"),
        ("GET", "/nowhere", "org"),
        ("DELETE", "/public/ping", "org"),
        ("GET", "/v1/agents/../a1", "org"),
    ];
    for (method, path, family) in requests {
        let key = quickstart.key(family);
        let answer = send(
            quickstart.gateway(),
            method,
            path,
            &[("x-prismeai-api-key", key)],
            "",
        );
        let said = as_json(&explain(
            &quickstart,
            &["--json", "--key", "-", method, path],
            key,
        ));
        assert_eq!(said["status"], answer.status, "{method} {path}: {said}");
        assert_eq!(said["reason"], json!(answer.reason()), "{method} {path}");
        assert!(!said.to_string().contains(key), "the key is repeated");
    }
}

#[test]
fn a_key_can_be_named_by_its_id() {
    let quickstart = Quickstart::start();
    let keys = quickstart
        .administer("GET", "/v2/orgs/acme/api-keys", &Value::Null)
        .json();
    let id = keys["results"][0]["id"].as_str().expect("an id");
    let said = as_json(&explain(
        &quickstart,
        &["--json", "--key-id", id, "GET", "/v1/agents/a1"],
        "",
    ));
    assert_eq!(said["decision"], "allow");
    assert_eq!(said["route"], "read-agent");
    assert_eq!(said["key_id"], id);
    assert_eq!(
        said["determined_by"],
        json!({ "permissions": ["agent-factory:agents:read"], "scope": "agents:a1" })
    );
    let said = as_json(&explain(
        &quickstart,
        &["--json", "--key-id", id, "POST", "/v1/agents/a1"],
        "",
    ));
    assert_eq!(
        (&said["decision"], &said["reason"]),
        (&json!("deny"), &json!("missing_permission"))
    );
    assert_eq!(
        said["needed"],
        json!({ "permission": "agent-factory:agents:write" })
    );
    let nobody = explain(
        &quickstart,
        &["--key-id", "nobody", "GET", "/v1/agents/a1"],
        "",
    );
    assert_eq!(
        (nobody.code, nobody.stderr.lines().count()),
        (Some(1), 1),
        "{nobody:?}"
    );
}

#[test]
fn people_are_told_step_by_step() {
    let quickstart = Quickstart::start();
    let ended = explain(
        &quickstart,
        &["--key", "-", "GET", "http://any.example.com/v1/agents/a2"],
        quickstart.key("org"),
    );
    let steps: Vec<&str> = ended
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        steps,
        [
            "request",
            "route",
            "credential",
            "key",
            "determined",
            "needed",
            "decision"
        ],
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("deny 403 out_of_scope"),
        "{}",
        ended.stdout
    );
    assert!(!ended.stdout.contains('\u{1b}'), "colour in a pipe");
}

#[test]
fn a_key_that_stands_in_the_request_is_not_repeated() {
    let quickstart = Quickstart::start();
    let key = quickstart.key("org");
    let shown = quickstart.key("org");
    for url in [
        format!("/a/{key}"),
        format!("/v2/orgs/{key}/api-keys"),
        format!("http://{key}.example.com/a"),
        format!("/v1/agents/{key}"),
        format!("/v1/agents/a1?x={key}"),
        format!("/a/../{key}"),
        key.to_owned(),
    ] {
        for json in [&[][..], &["--json"]] {
            let args = [json, &["--key", shown, "GET", &url]].concat();
            let said = explain(&quickstart, &args, "");
            let said = format!("{}{}", said.stdout, said.stderr);
            assert!(!said.is_empty() && !said.contains(key), "{url}: {said}");
        }
    }
    let said = explain(&quickstart, &["GET", &format!("/a/{key}")], "");
    assert!(
        said.stdout.contains("GET /a/[redacted] on localhost"),
        "{said:?}"
    );
    let named = explain(&quickstart, &["--key-id", key, "GET", "/a"], "");
    assert!(
        named.code == Some(1) && !named.stderr.contains(key),
        "{named:?}"
    );
}

#[test]
fn white_space_around_a_key_is_nobodys_and_no_key_is_a_usage_error() {
    let quickstart = Quickstart::start();
    let key = format!(" \t{}\r\n\n", quickstart.key("org"));
    let args = ["--json", "--key", "-", "GET", "/v1/agents/a1"];
    assert_eq!(
        as_json(&explain(&quickstart, &args, &key))["decision"],
        "allow"
    );
    for input in ["", "\n", "  \n", &"x".repeat(5_000)] {
        let ended = explain(&quickstart, &args, input);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
    let empty = explain(&quickstart, &["--key", "", "GET", "/v1/agents/a1"], "");
    assert_eq!(empty.code, Some(2), "{empty:?}");
}

#[test]
fn what_is_no_request_is_a_usage_error() {
    for args in [
        &["G T", "/a"][..],
        &["PUT", "a"],
        &["-H", "bad", "GET", "/a"],
    ] {
        let ended = run(
            &[&["explain", "--config", CONFIGURATION], args].concat(),
            "",
        );
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
    }
}

/// A configuration on the database of a quickstart, with a list of refused keys.
fn denying(quickstart: &Quickstart, list: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let denied = directory.path().join("denied");
    std::fs::write(&denied, list).expect("a file");
    let text = std::fs::read_to_string(CONFIGURATION).expect("the configuration");
    let text = text.replace(
        "credentials:\n",
        &format!("credentials:\n  deny: {}\n", denied.display()),
    );
    let file = directory.path().join("keyward.yaml");
    std::fs::write(&file, text).expect("a file");
    let file = file.display().to_string();
    assert!(quickstart.dir().exists());
    (directory, file)
}

#[test]
fn a_key_on_the_list_of_refused_keys_is_told_with_its_line() {
    let quickstart = Quickstart::start();
    let key = quickstart.key("org");
    let digest = blake3::hash(key.as_bytes()).to_hex();
    let (_directory, file) = denying(&quickstart, &format!("# lost\nblake3:{digest}\n"));
    let mut command = keyward();
    command.env("KEYWARD_DATA", quickstart.dir()).args([
        "explain",
        "--config",
        &file,
        "--json",
        "--key",
        "-",
        "GET",
        "/v1/agents/a1",
    ]);
    let said = as_json(&finish(&mut command, key));
    assert_eq!(
        (&said["status"], &said["reason"]),
        (&json!(401), &json!("revoked_key"))
    );
    let steps = said["steps"].to_string();
    assert!(steps.contains("denied:2"), "{steps}");
}

#[test]
fn every_bad_line_of_the_list_is_a_mistake_of_the_configuration() {
    let quickstart = Quickstart::start();
    let key = quickstart.key("org");
    let (_directory, file) = denying(&quickstart, &format!("fine\ntwo words\n{key}\n"));
    let checked = run(&["check", "--config", &file], "");
    assert_eq!(checked.code, Some(1));
    for place in ["denied:2:1:", "denied:3:1:"] {
        assert!(checked.stderr.contains(place), "{}", checked.stderr);
    }
    assert!(!checked.stderr.contains(key));
    std::fs::remove_file(file.replace("keyward.yaml", "denied")).expect("it is there");
    let checked = run(&["check", "--config", &file], "");
    assert!(
        checked.stderr.contains("credentials.deny: "),
        "{}",
        checked.stderr
    );
}

/// The rate of a route is told of what is permitted, and of nothing else: what is left of it only gateways know.
#[test]
fn the_rate_of_a_route_is_told() {
    let quickstart = Quickstart::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keyward.yaml");
    let text = std::fs::read_to_string(CONFIGURATION).expect("the configuration");
    let rated = text.replace(
        "  - name: read-agent\n",
        "  - name: read-agent\n    rate: { requests: 100, per: 1m, by: key }\n",
    );
    assert_ne!(rated, text);
    std::fs::write(&file, rated).expect("written");
    let steps = |path: &str| {
        let mut command = keyward();
        command.env("KEYWARD_DATA", quickstart.dir());
        command.args(["explain", "--json", "--key", "-", "--config"]);
        let said = as_json(&finish(
            command.arg(&file).args(["GET", path]),
            quickstart.key("org"),
        ));
        said["steps"].as_array().expect("steps").clone()
    };
    let step = json!({
        "step": "rate",
        "outcome": "100 requests per 60s for each key, counted by each gateway for itself",
    });
    assert_eq!(steps("/v1/agents/a1").last(), Some(&step));
    assert!(!steps("/v1/agents/a2").contains(&step));
}
