//! What an administrator is told about gateways: whether a change is in force at each, who they are, by which token they follow.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::e2e_control::Alone;
use crate::e2e_support::{Ended, Quickstart, finish, keyward, send, signal};

const ADMIN: &str = "admin-token-of-the-tests-0123456789";
const NEW_KEY: [&str; 8] = [
    "keys",
    "create",
    "--org",
    "acme",
    "--slug",
    "ci",
    "--expires-in",
    "90d",
];

fn administer(place: &str, token: &str, words: &[&str]) -> Ended {
    let mut command = keyward();
    command.args(words).args(["--control", place]);
    finish(command.env("KEYWARD_ADMIN_TOKEN", token), "")
}

/// A gateway that has asked for the keys once, and has acknowledged nothing.
fn arrive(alone: &Alone, token: &str, name: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let id = format!("{:0>32}", name.len());
    let target =
        format!("/sync/v1/snapshot?gateway={id}&name={name}&on_stale=serve&max_staleness_ms=60000");
    let base = format!("http://{}", alone.address);
    let headers = [("authorization", bearer.as_str())];
    send(&base, "GET", &target, &headers, "").status
}

#[test]
fn a_change_that_all_have_is_said_to_be_in_force() {
    let quickstart = Quickstart::start();
    let words = [&NEW_KEY[..], &["--wait"]].concat();
    let ended = administer(quickstart.control(), quickstart.admin_token(), &words);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let last = ended.stdout.lines().last();
    assert_eq!(
        last,
        Some("in force at 1 of 1 gateways"),
        "{}",
        ended.stdout
    );
}

#[test]
fn where_nobody_follows_that_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let alone = Alone::start(directory.path(), &[]);
    let place = format!("http://{}", alone.address);
    let words = [&NEW_KEY[..], &["--wait=1", "--json"]].concat();
    let ended = administer(&place, ADMIN, &words);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(
        ended.stdout.lines().count(),
        1,
        "only the answer: {}",
        ended.stdout
    );
    let words = ["keys", "revoke", "--org", "acme", "ci", "--wait"];
    let ended = administer(&place, ADMIN, &words);
    assert_eq!(
        ended.stdout,
        "deleted\nno gateway follows this control plane\n"
    );
}

#[test]
fn a_gateway_that_lags_is_named_and_the_command_fails() {
    let directory = tempfile::tempdir().unwrap();
    let alone = Alone::start(directory.path(), &[]);
    let place = format!("http://{}", alone.address);
    let made = administer(
        &place,
        ADMIN,
        &["gateways", "token", "create", "site", "--json"],
    );
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    let token = made["token"].as_str().unwrap();
    assert_eq!(arrive(&alone, token, "edge-1"), 200);

    let words = [&NEW_KEY[..], &["--wait=1"]].concat();
    let ended = administer(&place, ADMIN, &words);
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    for word in ["0 of 1", "edge-1", "keyward gateways list"] {
        assert!(ended.stderr.contains(word), "{}", ended.stderr);
    }
    assert!(
        ended.stdout.contains("iak_acme_"),
        "the key is made: {}",
        ended.stdout
    );

    let listed = administer(&place, ADMIN, &["gateways", "list"]);
    let row = listed
        .stdout
        .lines()
        .find(|line| line.starts_with("edge-1"));
    assert!(
        row.is_some_and(|row| row.contains("live")),
        "{}",
        listed.stdout
    );
}

#[test]
fn a_gateway_that_ends_in_good_order_is_waited_for_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let alone = Alone::start(directory.path(), &[]);
    let made = alone.administer("POST", "/v1/gateway-tokens", &json!({"name": "site"}));
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let file = directory.path().join("keyward.yaml");
    let configuration = format!(
        "listen: [ {{ address: 127.0.0.1:0 }} ]
server: {{ threads: 1 }}
keys: {{ remote: {{ url: http://{}, token: {token}, state: {}/state }} }}
upstreams: {{ nobody: {{ endpoints: [ 127.0.0.1:1 ] }} }}
routes: [ {{ name: ping, path: /ping, require: anonymous, upstream: nobody }} ]
",
        alone.address,
        directory.path().display()
    );
    std::fs::write(&file, configuration).unwrap();
    let mut command = keyward();
    command.arg("run").arg("--config").arg(&file);
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut gateway = quiet.stderr(Stdio::null()).spawn().unwrap();
    let known = || {
        let list = alone.administer("GET", "/v1/gateways", &Value::Null).json();
        list["results"].as_array().unwrap().clone()
    };
    loop {
        assert_eq!(gateway.try_wait().unwrap(), None);
        if known().iter().any(|one| one["acknowledged"] == json!(true)) {
            break;
        }
    }
    signal(gateway.id(), "TERM");
    assert_eq!(gateway.wait().unwrap().code(), Some(0));
    assert_eq!(known(), [Value::Null; 0]);
    // One that has said nothing is forgotten when an administrator says so, and not while it was heard a moment ago.
    assert_eq!(arrive(&alone, &token, "edge"), 200);
    let place = format!("http://{}", alone.address);
    let forget = |id: &str| administer(&place, ADMIN, &["gateways", "forget", id]);
    let lives = forget(&format!("{:0>32}", 4));
    assert_eq!(lives.code, Some(1));
    assert!(lives.stderr.contains("a moment ago"), "{}", lives.stderr);
    let unknown = forget(&format!("{:0>32}", 7));
    assert!(
        unknown.stderr.contains("no such gateway"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn a_token_is_made_listed_and_ended() {
    let directory = tempfile::tempdir().unwrap();
    let alone = Alone::start(directory.path(), &[]);
    let place = format!("http://{}", alone.address);
    let made = administer(&place, ADMIN, &["gateways", "token", "create", "site"]);
    let token = made
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("token    "));
    let token = token.expect("it is shown this once").to_owned();
    let list = || administer(&place, ADMIN, &["gateways", "token", "list"]).stdout;
    assert!(list().contains("site") && !list().contains(&token));
    assert_eq!(arrive(&alone, &token, "edge"), 200);

    let ended = administer(&place, ADMIN, &["gateways", "token", "revoke", "site"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "revoked\n"));
    assert!(!list().contains("site"));
    assert_eq!(arrive(&alone, &token, "edge"), 401);
    let again = administer(&place, ADMIN, &["gateways", "token", "revoke", "site"]);
    assert_eq!(again.code, Some(1));
}
