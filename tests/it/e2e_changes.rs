//! A change that was answered is what the very next request meets: 1,000 changes, each followed by one request.

use std::io::{Read, Write};
use std::net::TcpStream;

use keyward::app::clock;
use keyward::authz::Timestamp;
use keyward::wire::time::format_rfc3339;
use serde_json::{Value, json};

use crate::e2e_support::Quickstart;

/// Changes in all; every kind of change gets its share.
const CHANGES: usize = 1_000;
const PATH: &str = "/v2/orgs/acme/api-keys";
const FAR: &str = "2099-01-01T00:00:00Z";
/// `null`: let through. Otherwise why not.
const THROUGH: Option<&str> = None;

/// One who changes keys and looks at once what became of it.
struct Changer {
    quickstart: Quickstart,
    revision: u64,
    changes: usize,
}

impl Changer {
    fn new() -> Self {
        Self {
            quickstart: Quickstart::start(),
            revision: 0,
            changes: 0,
        }
    }

    /// Makes a change and checks that its revision is higher than any before.
    fn change(&mut self, method: &str, below: &str, body: &Value, status: u16) -> Value {
        let answer = self
            .quickstart
            .administer(method, &format!("{PATH}{below}"), body);
        assert_eq!(answer.status, status, "{method} {below} {body}: {answer:?}");
        let revision = answer
            .header("keyward-revision")
            .and_then(|text| text.parse().ok());
        let revision: u64 = revision.expect("a change says its revision");
        assert!(
            revision > self.revision,
            "{} is followed by {revision}",
            self.revision
        );
        self.revision = revision;
        self.changes += 1;
        answer.json()
    }

    /// Sends the one request after a change, and checks how it fares.
    fn meets(&self, secret: &str, expected: Option<&str>, what: &str) {
        let answer = self
            .quickstart
            .get("/v1/agents/a1", &[("x-prismeai-api-key", secret)]);
        assert_eq!(answer.reason().as_deref(), expected, "{what}: {answer:?}");
        assert_eq!(
            answer.status == 200,
            expected.is_none(),
            "{what}: {answer:?}"
        );
    }

    /// Takes a key through all that can happen to it.
    fn one_life(&mut self, round: usize) {
        let body = json!({
            "slug": format!("life-{round}"), "name": "A life", "expiresAt": FAR,
            "permissions": ["agent-factory:agents:read"], "scopes": ["agents:a1"],
        });
        let made = self.change("POST", "", &body, 201);
        let key = format!("/{}", text(&made, "id"));
        let first = text(&made, "apiKey");
        self.meets(&first, THROUGH, "created");
        self.patches(&key, &first);

        let second = text(
            &self.change("POST", &format!("{key}/rotate"), &Value::Null, 200),
            "apiKey",
        );
        self.meets(&first, Some("revoked_key"), "the rotated secret");
        self.meets(&second, THROUGH, "the second secret");

        let grace = json!({ "gracePeriodSeconds": 3600 });
        let third = text(
            &self.change("POST", &format!("{key}/rotate"), &grace, 200),
            "apiKey",
        );
        self.meets(&second, THROUGH, "the second secret in its grace");
        self.meets(&third, THROUGH, "the third secret");

        self.change("DELETE", &key, &Value::Null, 200);
        for (secret, what) in [(&first, "first"), (&second, "second"), (&third, "third")] {
            self.meets(
                secret,
                Some("unknown_key"),
                &format!("deleted, {what} secret"),
            );
        }
    }

    fn patches(&mut self, key: &str, secret: &str) {
        for (patch, expected) in [
            (json!({ "permissions": [] }), Some("missing_permission")),
            (json!({ "permissions": ["agent-factory:*"] }), THROUGH),
            (json!({ "scopes": ["agents:a2"] }), Some("out_of_scope")),
            (json!({ "scopes": ["*"] }), THROUGH),
            (json!({ "disabled": true }), Some("disabled_key")),
            (json!({ "disabled": false }), THROUGH),
            (
                json!({ "expiresAt": "2001-01-01T00:00:00Z" }),
                Some("expired_key"),
            ),
            (json!({ "expiresAt": FAR }), THROUGH),
        ] {
            self.change("PATCH", key, &patch, 200);
            self.meets(secret, expected, &patch.to_string());
        }
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().expect("a text").to_owned()
}

#[test]
fn a_thousand_changes_take_effect_on_the_next_request() {
    let mut changer = Changer::new();
    let mut lives = 0;
    while changer.changes < CHANGES {
        changer.one_life(lives);
        lives += 1;
    }
    println!(
        "{} changes in {lives} lives, up to revision {}",
        changer.changes, changer.revision
    );
}

/// The clock alone ends a key, to the moment: until then it is let through, and from then on it never is.
#[test]
fn a_key_expires_by_itself() {
    let mut changer = Changer::new();
    let end = clock::now().as_millis() + 1_500;
    let body = json!({
        "slug": "brief", "name": "Brief", "expiresAt": format_rfc3339(Timestamp::from_millis(end)),
        "permissions": ["agent-factory:agents:read"], "scopes": ["agents:a1"],
    });
    let secret = text(&changer.change("POST", "", &body, 201), "apiKey");
    let headers = [("x-prismeai-api-key", secret.as_str())];
    loop {
        let before = clock::now().as_millis();
        let answer = changer.quickstart.get("/v1/agents/a1", &headers);
        if answer.reason().as_deref() == Some("expired_key") {
            assert!(clock::now().as_millis() >= end, "it ended too early");
            break;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(before < end, "it was let through after its end");
    }
    changer.meets(&secret, Some("expired_key"), "after its end");
}

/// What was let through before is over as well by the time that a key's end is answered.
#[test]
fn a_request_under_way_has_ended_when_its_key_was_switched_off() {
    let mut changer = Changer::new();
    let body = json!({
        "slug": "slow", "name": "Slow", "expiresAt": FAR,
        "permissions": ["agent-factory:agents:write"], "scopes": ["agents:a1"],
    });
    let made = changer.change("POST", "", &body, 201);
    let gateway = changer.quickstart.gateway().trim_start_matches("http://");
    let mut client = TcpStream::connect(gateway).expect("the gateway listens");
    let head = format!(
        "POST /v1/agents/a1 HTTP/1.1\r\nhost: gw.test\r\nx-prismeai-api-key: {}\r\n\
         content-length: 5\r\nexpect: 100-continue\r\n\r\n",
        text(&made, "apiKey"),
    );
    client.write_all(head.as_bytes()).expect("it is taken");
    let mut go_on = Vec::new();
    while !go_on.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client
            .read_exact(&mut byte)
            .expect("the upstream wants the body");
        go_on.extend(byte);
    }
    assert!(go_on.starts_with(b"HTTP/1.1 100 "), "{go_on:?}");

    let key = format!("/{}", text(&made, "id"));
    changer.change("PATCH", &key, &json!({ "disabled": true }), 200);
    // The body comes too late, if it still finds anybody.
    let _late = client.write_all(b"hello");
    let mut answer = Vec::new();
    let ended = client.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{ended:?} {answer}");
    assert!(answer.contains("revoked_key"), "{answer}");
}
