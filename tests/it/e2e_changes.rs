//! A change that was answered is what the very next request meets: 1,000 changes, each followed by one request.

use serde_json::{Value, json};

use crate::e2e_support::{Answer, Quickstart};

/// Changes in all; every kind of change gets its share.
const CHANGES: usize = 1_000;
const PATH: &str = "/v2/orgs/acme/api-keys";
const FAR: &str = "2099-01-01T00:00:00Z";

/// A key as this test knows it.
struct Key {
    id: String,
    secret: String,
}

/// What the next request with a secret is answered.
fn outcome(quickstart: &Quickstart, secret: &str) -> (u16, Option<String>) {
    let answer = quickstart.get("/v1/agents/a1", &[("x-prismeai-api-key", secret)]);
    (answer.status, answer.reason())
}

fn refused(status: u16, reason: &str) -> (u16, Option<String>) {
    (status, Some(reason.to_owned()))
}

fn changed(answer: Answer, status: u16, last_revision: &mut u64) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    let revision = answer
        .header("keyward-revision")
        .and_then(|text| text.parse().ok());
    let revision: u64 = revision.expect("a change says its revision");
    assert!(
        revision > *last_revision,
        "revisions grow: {last_revision}, then {revision}"
    );
    *last_revision = revision;
    answer.json()
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().expect("a text").to_owned()
}

#[test]
fn a_thousand_changes_take_effect_on_the_next_request() {
    let quickstart = Quickstart::start();
    let mut revision = 0;
    let mut done = 0;
    let mut round = 0;
    while done < CHANGES {
        done += one_life(&quickstart, round, &mut revision);
        round += 1;
    }
    println!("{done} changes in {round} lives, up to revision {revision}");
}

/// Takes a key through all that can happen to it, and returns the number of changes.
fn one_life(quickstart: &Quickstart, round: usize, revision: &mut u64) -> usize {
    let body = json!({
        "slug": format!("life-{round}"), "name": "A life", "expiresAt": FAR,
        "permissions": ["agent-factory:agents:read"], "scopes": ["agents:a1"],
    });
    let made = changed(quickstart.administer("POST", PATH, &body), 201, revision);
    let mut key = Key {
        id: text(&made, "id"),
        secret: text(&made, "apiKey"),
    };
    assert_eq!(outcome(quickstart, &key.secret), (200, None), "created");

    let steps: [(Value, (u16, Option<String>)); 8] = [
        (
            json!({ "permissions": [] }),
            refused(403, "missing_permission"),
        ),
        (json!({ "permissions": ["agent-factory:*"] }), (200, None)),
        (
            json!({ "scopes": ["agents:a2"] }),
            refused(403, "out_of_scope"),
        ),
        (json!({ "scopes": ["*"] }), (200, None)),
        (json!({ "disabled": true }), refused(401, "disabled_key")),
        (json!({ "disabled": false }), (200, None)),
        (
            json!({ "expiresAt": "2001-01-01T00:00:00Z" }),
            refused(401, "expired_key"),
        ),
        (json!({ "expiresAt": FAR }), (200, None)),
    ];
    for (patch, expected) in &steps {
        let path = format!("{PATH}/{}", key.id);
        changed(quickstart.administer("PATCH", &path, patch), 200, revision);
        assert_eq!(&outcome(quickstart, &key.secret), expected, "{patch}");
    }

    let rotated = changed(
        quickstart.administer("POST", &format!("{PATH}/{}/rotate", key.id), &Value::Null),
        200,
        revision,
    );
    let old = std::mem::replace(&mut key.secret, text(&rotated, "apiKey"));
    assert_eq!(
        outcome(quickstart, &old),
        refused(401, "revoked_key"),
        "the old secret"
    );
    assert_eq!(
        outcome(quickstart, &key.secret),
        (200, None),
        "the new secret"
    );

    let grace = json!({ "gracePeriodSeconds": 3600 });
    let rotated = changed(
        quickstart.administer("POST", &format!("{PATH}/{}/rotate", key.id), &grace),
        200,
        revision,
    );
    let old = std::mem::replace(&mut key.secret, text(&rotated, "apiKey"));
    assert_eq!(
        outcome(quickstart, &old),
        (200, None),
        "the old secret in its grace"
    );
    assert_eq!(
        outcome(quickstart, &key.secret),
        (200, None),
        "the new secret"
    );

    changed(
        quickstart.administer("DELETE", &format!("{PATH}/{}", key.id), &Value::Null),
        200,
        revision,
    );
    assert_eq!(
        outcome(quickstart, &key.secret),
        refused(401, "unknown_key"),
        "deleted"
    );
    assert_eq!(
        outcome(quickstart, &old),
        refused(401, "unknown_key"),
        "deleted with its old secret"
    );
    1 + steps.len() + 3
}

/// The clock alone ends a key, to the moment: until then it is let through, and from then on it never is.
#[test]
fn a_key_expires_by_itself() {
    let quickstart = Quickstart::start();
    let moment = now() + 1_500;
    let body = json!({
        "slug": "brief", "name": "Brief", "expiresAt": keyward::wire::time::format_rfc3339(keyward::authz::Timestamp::from_millis(moment)),
        "permissions": ["agent-factory:agents:read"], "scopes": ["agents:a1"],
    });
    let made = quickstart.administer("POST", PATH, &body);
    assert_eq!(made.status, 201, "{made:?}");
    let secret = text(&made.json(), "apiKey");
    loop {
        let before = now();
        let found = outcome(&quickstart, &secret);
        if found == refused(401, "expired_key") {
            assert!(now() >= moment, "expired too early");
            break;
        }
        assert_eq!(found, (200, None));
        assert!(before < moment, "let through after its end");
    }
    assert_eq!(outcome(&quickstart, &secret), refused(401, "expired_key"));
}

fn now() -> i64 {
    keyward::app::clock::now().as_millis()
}
