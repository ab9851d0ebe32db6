//! What gateways that follow over the network are given and asked, over real HTTP.

use std::time::Duration;

use keyward::authz::{KeyDigest, Pepper, PresentedKey};
use keyward::control::{GatewayToken, OpenError};
use keyward::wire::sync::{Message, OnStale};
use keyward::wire::{Epoch, SecretDigest};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{directory, plane};
use crate::control_gateway::{Gateway, at};
use crate::control_support::{
    ADMIN, Answer, Clock, GATEWAY, Plane, directory_at_server, look_into,
};

const KEYS: &str = "/v2/orgs/acme/api-keys";

fn key(slug: &str) -> Value {
    json!({"slug": slug, "name": slug, "permissions": [], "scopes": [], "expiresAt": "2030-01-01T00:00:00Z"})
}

/// A control plane that no gateway is in, and its epoch.
fn alone() -> (Plane, Epoch, TempDir) {
    let directory = directory();
    let plane = Plane::start_alone(directory.path());
    let epoch = plane.control.keys().epoch();
    (plane, epoch, directory)
}

/// A change that waits for gateways.
fn wait(plane: &Plane, seconds: u32, method: &str, path: &str, body: Option<Value>) -> Answer {
    let bearer = format!("Bearer {ADMIN}");
    let prefer = format!("wait={seconds}");
    let headers = [("authorization", bearer.as_str()), ("prefer", &prefer)];
    let answer = plane.call(method, path, &headers, body);
    assert_eq!(answer.header("preference-applied"), Some(prefer.as_str()));
    answer
}

#[test]
fn a_gateway_takes_a_snapshot_and_then_every_change() {
    let (plane, epoch, _directory) = alone();
    let (_, raw) = plane.create("acme", key("one"));
    let mut gateway = Gateway::new(plane.address, 1);
    let (position, messages) = gateway.snapshot();
    assert_eq!(position, at(epoch, 1));
    let [Message::Put(entries)] = &messages[..] else {
        panic!("{messages:?}");
    };
    let pepper = keyward::authz::Pepper::derive("the pepper of the tests");
    let digest = PresentedKey::parse(raw.as_bytes())
        .unwrap()
        .digest(pepper.as_ref());
    assert_eq!(entries.len(), 1);
    let secrets: Vec<SecretDigest> = entries[0]
        .secrets
        .iter()
        .map(|secret| secret.digest)
        .collect();
    assert_eq!(
        secrets,
        [SecretDigest::Blake3(KeyDigest::from_bytes(
            *digest.as_bytes()
        ))]
    );

    let mut stream = gateway.follow(position);
    assert_eq!(stream.heartbeat(), (1, 0));
    plane.create("acme", key("two"));
    assert_eq!(stream.change(), (1, 2, 1));
    let tag = gateway.ack(at(epoch, 2));
    plane.admin("DELETE", &format!("{KEYS}/one"), None);
    assert_eq!(stream.change(), (2, 3, 1));
    while stream.heartbeat() != (3, tag) {}
}

#[test]
fn a_change_is_its_keys_and_then_its_end() {
    let (plane, epoch, _directory) = alone();
    plane.create("acme", key("one"));
    let mut stream = Gateway::new(plane.address, 1).follow(at(epoch, 0));
    assert_eq!(stream.change(), (0, 1, 1));
    plane.admin("DELETE", &format!("{KEYS}/one"), None);
    assert_eq!(stream.change(), (1, 2, 1));
    let kinds = stream.payloads.iter().map(|payload| payload[0]);
    let kinds: Vec<u8> = kinds.filter(|kind| *kind != 5).collect();
    assert_eq!(kinds, [1, 4, 2, 4]);
}

#[test]
fn a_token_of_gateways_is_no_admin_token_and_there_are_at_most_two_of_the_environment() {
    let directory = directory();
    let runtime = crate::control_support::runtime();
    let mut config = crate::control_support::config(directory.path());
    config.gateway_tokens = vec![GatewayToken::new(ADMIN).unwrap()];
    let open = |config: &_| crate::control_support::open(&runtime, config, &Clock::new());
    assert!(matches!(open(&config), Err(OpenError::SameToken)));
    config.gateway_tokens = vec![GatewayToken::new(GATEWAY).unwrap(); 3];
    assert!(matches!(open(&config), Err(OpenError::GatewayTokens(3))));
    config.gateway_tokens.clear();
    assert!(open(&config).is_ok());
}

#[test]
fn whoever_stands_somewhere_goes_on_from_there_also_after_a_restart() {
    let directory = directory();
    let mut plane = Plane::start_alone(directory.path());
    let epoch = plane.control.keys().epoch();
    for slug in ["one", "two", "three"] {
        plane.create("acme", key(slug));
    }
    plane.admin("DELETE", &format!("{KEYS}/one"), None);
    let mut stream = Gateway::new(plane.address, 1).follow(at(epoch, 2));
    assert_eq!(stream.change(), (2, 3, 1));
    assert_eq!(stream.change(), (3, 4, 1));
    plane.stop();
    drop(plane);

    let plane = Plane::start_alone(directory.path());
    let mut stream = Gateway::new(plane.address, 1).follow(at(epoch, 1));
    // One change for many: two keys that are there, one that is gone.
    assert_eq!(stream.change(), (1, 4, 2));
    assert_eq!(stream.heartbeat().0, 4);
    let metrics = plane.call("GET", "/metrics", &[], None).raw;
    assert!(
        metrics.contains("\nkeyward_sync_catch_ups_total 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("\nkeyward_gateways_connected 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("\nkeyward_gateways_live 1\n"), "{metrics}");
}

#[test]
fn who_cannot_go_on_from_there_is_told_to_take_a_snapshot() {
    let (plane, epoch, directory) = alone();
    for slug in ["one", "two", "three"] {
        plane.create("acme", key(slug));
    }
    let gateway = Gateway::new(plane.address, 1);
    let path = gateway.path("changes", Some(at(Epoch(epoch.0 ^ 1), 1)));
    gateway
        .call("GET", &path, None)
        .refused(409, "SnapshotNeeded");
    drop(plane);
    look_into(directory.path()).execute("DELETE FROM changes WHERE revision <= 2");
    let plane = Plane::start_alone(directory.path());
    let gateway = Gateway::new(plane.address, 1);
    let path = gateway.path("changes", Some(at(epoch, 1)));
    gateway
        .call("GET", &path, None)
        .refused(409, "SnapshotNeeded");
    assert_eq!(gateway.follow(at(epoch, 2)).change(), (2, 3, 1));
}

#[test]
fn who_is_ahead_of_the_store_makes_it_begin_another_history_and_others_are_told() {
    let (plane, epoch, _directory) = alone();
    plane.create("acme", key("one"));
    let [ahead, behind] = [1, 2].map(|id| Gateway::new(plane.address, id));
    let mut stream = behind.follow(at(epoch, 1));
    assert_eq!(stream.heartbeat().0, 1);
    let path = ahead.path("changes", Some(at(epoch, 2)));
    ahead
        .call("GET", &path, None)
        .refused(409, "SnapshotNeeded");
    let begun = plane.control.keys().epoch();
    assert_ne!(begun, epoch);
    let mut last = None;
    while let Some(message) = stream.next() {
        last = Some(message);
    }
    assert_eq!(last, Some(Message::Resync));
    let (position, _) = ahead.snapshot();
    assert_eq!(position, at(begun, 1));
    // Whatever is said now, it was only a moment ago.
    let path = ahead.path("changes", Some(at(begun, 9)));
    ahead
        .call("GET", &path, None)
        .refused(409, "SnapshotNeeded");
    assert_eq!(plane.control.keys().epoch(), begun);
    let metrics = plane.call("GET", "/metrics", &[], None).raw;
    assert!(
        metrics.contains("\nkeyward_sync_resyncs_total 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("\nkeyward_sync_snapshots_total 1\n"),
        "{metrics}"
    );
}

#[test]
fn a_change_waits_for_those_that_follow() {
    let (plane, epoch, _directory) = alone();
    let none = wait(&plane, 5, "POST", KEYS, Some(key("one")));
    assert_eq!(none.header("keyward-acknowledged"), Some("0/0"));
    assert_eq!(none.header("keyward-silent"), None);

    let [mut fast, mut slow] = [1, 2].map(|id| Gateway::new(plane.address, id));
    for gateway in [&mut fast, &mut slow] {
        let (position, _) = gateway.snapshot();
        gateway.ack(position);
    }
    let mut stream = fast.follow(at(epoch, 1));
    let acking = std::thread::spawn(move || {
        let (_, revision, _) = stream.change();
        fast.ack(at(epoch, revision));
        (stream, fast)
    });
    let some = wait(
        &plane,
        1,
        "PATCH",
        &format!("{KEYS}/one"),
        Some(json!({"disabled": true})),
    );
    assert_eq!(some.header("keyward-acknowledged"), Some("1/2"));
    let (mut stream, mut fast) = acking.join().unwrap();

    let mut behind = slow.follow(at(epoch, 1));
    assert_eq!(behind.change(), (1, 2, 1));
    let acking = std::thread::spawn(move || {
        for (stream, gateway) in [(&mut stream, &mut fast), (&mut behind, &mut slow)] {
            let (_, revision, _) = stream.change();
            gateway.ack(at(epoch, revision));
        }
    });
    let all = wait(&plane, 60, "DELETE", &format!("{KEYS}/one"), None);
    assert_eq!(all.header("keyward-acknowledged"), Some("2/2"));
    acking.join().unwrap();
    let list = plane.admin("GET", "/v1/gateways", None);
    let lags: Vec<&Value> = list.body["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["lag"])
        .collect();
    assert_eq!(lags, [&json!(0), &json!(0)]);
}

#[test]
fn every_kind_of_change_waits_and_the_gateway_of_the_process_counts() {
    let plane = plane();
    let epoch = plane.control.keys().epoch();
    let gateway = Gateway::new(plane.address, 1);
    let (position, _) = gateway.snapshot();
    let mut stream = gateway.follow(position);
    let access = json!({"name": "a", "permission_mode": "restricted", "access": {"deployment": "read"}, "owner": {"type": "user", "user_id": "u1"}, "project_scope": {"mode": "single", "project_id": "p1"}});
    let workspace = "/v2/workspaces/w1/security/apikeys";
    let changes: Vec<(&str, String, Option<Value>)> = vec![
        ("POST", KEYS.to_owned(), Some(key("one"))),
        ("PATCH", format!("{KEYS}/one"), Some(json!({"name": "1"}))),
        ("POST", format!("{KEYS}/one/rotate"), None),
        ("DELETE", format!("{KEYS}/one"), None),
        (
            "POST",
            workspace.to_owned(),
            Some(json!({"name": "w", "rules": []})),
        ),
        ("POST", "/v2/api-keys".to_owned(), Some(access)),
    ];
    for (number, (method, path, body)) in (1..).zip(changes) {
        let acking = std::thread::spawn({
            let mut gateway = gateway.clone();
            move || {
                let (_, revision, _) = stream.change();
                gateway.ack(at(epoch, revision));
                stream
            }
        });
        let answer = wait(&plane, 60, method, &path, body);
        assert!(answer.status < 300, "{method} {path}: {}", answer.raw);
        assert_eq!(
            answer.header("keyward-acknowledged"),
            Some("2/2"),
            "{method} {path}"
        );
        stream = acking.join().unwrap();
        assert_eq!(plane.control.keys().revision().0, number);
    }
}

#[test]
fn who_is_silent_until_its_lease_is_over_is_not_waited_for_and_the_answer_says_so() {
    let (plane, _, _directory) = alone();
    for (id, on_stale) in [(1, OnStale::Deny), (2, OnStale::Serve), (3, OnStale::Serve)] {
        let mut gateway = Gateway::new(plane.address, id);
        gateway.info.on_stale = on_stale;
        gateway.info.max_staleness = Duration::from_millis(100);
        gateway.snapshot();
    }
    let answer = wait(&plane, 60, "POST", KEYS, Some(key("one")));
    assert_eq!(answer.header("keyward-acknowledged"), Some("0/0"));
    assert_eq!(answer.header("keyward-silent"), Some("deny=1, serve=2"));
    let list = plane.admin("GET", "/v1/gateways", None);
    for one in list.body["results"].as_array().unwrap() {
        assert_eq!(one["state"], json!("silent"));
        assert_eq!(one["acknowledged"], json!(false));
    }
}

#[test]
fn who_says_goodbye_is_waited_for_no_more() {
    let (plane, epoch, _directory) = alone();
    let gateway = Gateway::new(plane.address, 1);
    let mut stream = gateway.follow(at(epoch, 0));
    let gone = gateway.call("POST", &gateway.path("leave", None), None);
    assert_eq!(gone.status, 204, "{}", gone.raw);
    let alone = wait(&plane, 0, "POST", KEYS, Some(key("one")));
    assert_eq!(alone.header("keyward-acknowledged"), Some("0/0"));
    assert_eq!(alone.header("keyward-silent"), None);
    stream.read_to_end();
}

#[test]
fn who_runs_no_more_is_forgotten_when_an_administrator_says_so() {
    let directory = directory();
    let mut plane = Plane::start_alone(directory.path());
    let epoch = plane.control.keys().epoch();
    let gateway = Gateway::new(plane.address, 1);
    drop(gateway.follow(at(epoch, 0)));
    let path = format!("/v1/gateways/{}", gateway.info.id);
    let forget = |plane: &Plane| plane.admin("DELETE", &path, None);
    forget(&plane).refused(409, "Conflict");
    plane.stop();
    drop(plane);
    let mut database = look_into(directory.path());
    database.execute("UPDATE gateways SET contact_at = contact_at - 20000");
    let plane = Plane::start_alone(directory.path());
    let there = wait(&plane, 0, "POST", KEYS, Some(key("one")));
    assert_eq!(there.header("keyward-acknowledged"), Some("0/1"));
    let forgotten = forget(&plane);
    assert_eq!(forgotten.status, 204, "{}", forgotten.raw);
    assert_eq!(forgotten.revision(), 1);
    let gone = wait(&plane, 0, "POST", KEYS, Some(key("two")));
    assert_eq!(gone.header("keyward-acknowledged"), Some("0/0"));
    forget(&plane).refused(404, "ObjectNotFound");
    let [_, entry, _] = &plane.audit()[..] else {
        panic!("{:?}", plane.audit());
    };
    assert_eq!(entry["action"], json!("gateway.forget"));
    assert!(
        entry["before_state"]
            .as_str()
            .unwrap()
            .contains("gateway-1")
    );
}

#[test]
fn a_restarted_control_plane_still_waits_for_who_followed_before() {
    let directory = directory();
    let mut plane = Plane::start_alone(directory.path());
    let mut gateway = Gateway::new(plane.address, 1);
    let (position, _) = gateway.snapshot();
    gateway.ack(position);
    plane.stop();
    drop(plane);
    let plane = Plane::start_alone(directory.path());
    let answer = wait(&plane, 0, "POST", KEYS, Some(key("one")));
    assert_eq!(answer.header("keyward-acknowledged"), Some("0/1"));
    gateway.address = plane.address;
    gateway.ack(at(position.epoch, 1));
    let answer = wait(
        &plane,
        0,
        "PATCH",
        &format!("{KEYS}/one"),
        Some(json!({"name": "one"})),
    );
    assert_eq!(
        answer.header("keyward-acknowledged"),
        Some("1/1"),
        "{}",
        answer.raw
    );
}

#[test]
fn what_a_gateway_says_it_has_lost_is_not_acknowledged_any_more() {
    let (plane, epoch, _directory) = alone();
    plane.create("acme", key("one"));
    let mut gateway = Gateway::new(plane.address, 1);
    let (position, _) = gateway.snapshot();
    gateway.ack(position);
    let path = format!("{KEYS}/one");
    let nothing = || wait(&plane, 0, "PATCH", &path, Some(json!({"name": "one"})));
    assert_eq!(nothing().header("keyward-acknowledged"), Some("1/1"));
    let mut stream = gateway.follow(at(epoch, 0));
    assert_eq!(nothing().header("keyward-acknowledged"), Some("0/1"));
    stream.change();
    gateway.ack(at(epoch, 1));
    assert_eq!(nothing().header("keyward-acknowledged"), Some("1/1"));
}

#[test]
fn tokens_are_made_named_and_revoked_and_streams_end_with_them() {
    let (plane, epoch, _directory) = alone();
    let made = plane.admin("POST", "/v1/gateway-tokens", Some(json!({"name": "eu"})));
    assert_eq!(made.status, 201, "{}", made.raw);
    let taken = plane.admin("POST", "/v1/gateway-tokens", Some(json!({"name": "eu"})));
    assert_eq!(taken.refused(409, "Conflict")["field"], json!("name"));
    let list = plane.admin("GET", "/v1/gateway-tokens", None);
    let names: Vec<&Value> = list.body["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, [&json!("environment"), &json!("eu")]);
    assert!(!list.raw.contains(&made.text("token")));

    let of_environment = Gateway::new(plane.address, 1);
    let mut gateway = Gateway::new(plane.address, 2);
    gateway.token = made.text("token");
    let mut stays = of_environment.follow(at(epoch, 0));
    let mut ends = gateway.follow(at(epoch, 0));
    let seen = plane.admin("GET", "/v1/gateways", None);
    assert_eq!(seen.body["results"][1]["token"], json!("eu"));
    let revoked = plane.admin("DELETE", "/v1/gateway-tokens/eu", None);
    assert_eq!(revoked.status, 204, "{}", revoked.raw);
    ends.read_to_end();
    let path = gateway.path("snapshot", None);
    gateway
        .call("GET", &path, None)
        .refused(401, "AuthenticationError");
    plane.create("acme", key("one"));
    assert_eq!(stays.change(), (0, 1, 1));
    plane
        .admin("DELETE", "/v1/gateway-tokens/eu", None)
        .refused(404, "ObjectNotFound");
    let actions: Vec<Value> = plane
        .audit()
        .iter()
        .map(|entry| entry["action"].clone())
        .collect();
    assert_eq!(
        actions,
        [
            json!("gateway-token.create"),
            json!("gateway-token.revoke"),
            json!("create")
        ]
    );
}

#[test]
fn a_token_that_is_gone_from_the_store_is_valid_no_more_whoever_was_told() {
    let (plane, epoch, directory) = alone();
    let made = plane.admin("POST", "/v1/gateway-tokens", Some(json!({"name": "eu"})));
    let mut gateway = Gateway::new(plane.address, 1);
    gateway.token = made.text("token");
    let mut stream = gateway.follow(at(epoch, 0));
    // As where whoever revokes it goes away before the answer.
    look_into(directory.path()).execute("DELETE FROM gateway_tokens");
    stream.read_to_end();
    gateway
        .call("GET", &gateway.path("snapshot", None), None)
        .refused(401, "AuthenticationError");
}

#[test]
fn a_snapshot_that_is_being_sent_ends_with_its_token() {
    let (plane, _, _directory) = alone();
    let scopes: Vec<String> = (0..20).map(|n| format!("{n}:{}", "s".repeat(70))).collect();
    let line = |n: u32| {
        let digest = format!("sha256:{n:064x}");
        json!({"family": "org", "org": "acme", "slug": format!("k{n}"), "name": "k", "permissions": [], "scopes": scopes, "expiresAt": "2030-01-01T00:00:00Z", "digest": digest})
    };
    // More than sockets hold.
    let lines: Vec<String> = (0..16_000).map(|n| line(n).to_string()).collect();
    let bearer = format!("Bearer {ADMIN}");
    let headers = [("authorization", bearer.as_str())];
    let body = lines.join("\n");
    let address = plane.address;
    let imported =
        crate::control_support::call(address, "POST", "/v1/import", &headers, body.as_bytes());
    assert_eq!(imported.body["created"], json!(16_000), "{}", imported.raw);
    let made = plane.admin("POST", "/v1/gateway-tokens", Some(json!({"name": "eu"})));
    let mut gateway = Gateway::new(address, 1);
    gateway.token = made.text("token");
    let mut snapshot = gateway.open(&gateway.path("snapshot", None));
    let revoked = plane.admin("DELETE", "/v1/gateway-tokens/eu", None);
    assert_eq!(revoked.status, 204, "{}", revoked.raw);
    while let Some(message) = snapshot.next() {
        assert!(!matches!(message, Message::End { .. }), "it came whole");
    }
}

#[test]
fn uses_beyond_what_a_number_holds_stop_nobody_from_writing() {
    let (plane, _, directory) = alone();
    let (id, _) = plane.create("acme", key("one"));
    plane.create("acme", key("two"));
    let mut database = look_into(directory.path());
    database.execute("UPDATE keys SET uses = 9223372036854775800 WHERE slug = 'one'");
    let gateway = Gateway::new(plane.address, 1);
    for sequence in 1..3 {
        let used = json!({"id": id, "lastUsed": 7, "count": 5});
        let body =
            json!({"incarnation": "a".repeat(32), "sequence": sequence, "uses": [used, used]});
        let answer = gateway.call("POST", &gateway.path("usage", None), Some(body));
        assert_eq!(answer.status, 204, "{}", answer.raw);
    }
    let uses = database.number("SELECT uses FROM keys WHERE slug = 'one'");
    assert_eq!(uses, i64::MAX);
    assert_eq!(
        database.number("SELECT uses FROM keys WHERE slug = 'two'"),
        0
    );
    let used = database.number("SELECT last_used_at FROM keys WHERE slug = 'one'");
    assert_eq!(used, 7);
}

#[test]
fn only_a_gateways_token_opens_what_is_for_gateways_and_it_opens_nothing_else() {
    let (plane, epoch, _directory) = alone();
    let (_, raw) = plane.create("acme", key("one"));
    let gateway = Gateway::new(plane.address, 1);
    let requests = [
        ("GET", gateway.path("snapshot", None)),
        ("GET", gateway.path("changes", Some(at(epoch, 0)))),
        ("POST", gateway.path("ack", None)),
        ("POST", gateway.path("usage", None)),
    ];
    let almost = gateway.token.replacen('g', "", 1);
    for (method, path) in &requests {
        for token in [ADMIN, &raw, &almost, ""] {
            let bearer = format!("Bearer {token}");
            let headers = [("authorization", bearer.as_str())];
            let refused = plane.call(method, path, &headers, Some(json!({})));
            refused.refused(401, "AuthenticationError");
            assert!(refused.header("www-authenticate").is_some());
        }
        plane
            .call(method, path, &[], None)
            .refused(401, "AuthenticationError");
        plane
            .with_key(&raw, method, path, None)
            .refused(401, "AuthenticationError");
    }
    for path in [KEYS, "/v1/gateways", "/v1/gateway-tokens", "/v1/export"] {
        gateway
            .call("GET", path, None)
            .refused(401, "AuthenticationError");
    }
    for path in ["/v1/gateways", "/v1/gateway-tokens"] {
        plane
            .with_key(&raw, "GET", path, None)
            .refused(403, "ForbiddenError");
    }
}

#[test]
fn a_gateway_that_hashes_keys_with_another_pepper_is_told_so() {
    let (plane, _, _directory) = alone();
    let gateway = Gateway::new(plane.address, 1);
    let snapshot = |pepper: Option<Pepper>| {
        let check = Pepper::check_value(pepper.as_ref());
        let check: String = check.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}&pepper={check}", gateway.path("snapshot", None))
    };
    gateway.open(&snapshot(Pepper::derive("the pepper of the tests")));
    for pepper in [Pepper::derive("other"), None] {
        let answer = gateway.call("GET", &snapshot(pepper), None);
        answer.refused(412, "OtherPepper");
    }
}

#[test]
fn what_a_gateway_says_wrongly_is_refused_by_name() {
    let (plane, epoch, _directory) = alone();
    let gateway = Gateway::new(plane.address, 1);
    let of_query = |what: &str, change: (&str, &str)| {
        let path = gateway.path(what, (what == "changes").then(|| at(epoch, 0)));
        let method = if what == "ack" || what == "usage" {
            "POST"
        } else {
            "GET"
        };
        let answer = gateway.call(method, &path.replace(change.0, change.1), Some(json!({})));
        answer.refused(400, "BadParameters")["field"].clone()
    };
    for what in ["snapshot", "changes", "ack", "usage"] {
        assert_eq!(of_query(what, ("gateway=0", "gateway=x")), json!("gateway"));
        assert_eq!(
            of_query(what, ("on_stale=serve", "on_stale=maybe")),
            json!("on_stale")
        );
        assert_eq!(
            of_query(what, ("max_staleness_ms=60000", "max_staleness_ms=0")),
            json!("max_staleness_ms")
        );
        assert_eq!(
            of_query(what, ("&on_stale", "&surprise=1&on_stale")),
            json!("surprise")
        );
        assert_eq!(of_query(what, ("name=", "name=a&name=")), json!("name"));
    }
    assert_eq!(of_query("snapshot", ("?", "?after=1&")), json!("epoch"));
    assert_eq!(of_query("changes", ("&after=0", "")), json!("after"));
}

#[test]
fn what_a_gateway_reports_wrongly_is_refused_by_name() {
    let (plane, epoch, _directory) = alone();
    let gateway = Gateway::new(plane.address, 1);
    let of_body = |what: &str, body: Value| {
        let answer = gateway.call("POST", &gateway.path(what, None), Some(body));
        answer.refused(400, "BadParameters")["field"].clone()
    };
    assert_eq!(
        of_body("ack", json!({"epoch": "x", "revision": 1, "tag": 1})),
        json!("epoch")
    );
    assert_eq!(
        of_body(
            "ack",
            json!({"epoch": epoch.to_string(), "revision": -1, "tag": 1})
        ),
        json!("revision")
    );
    assert_eq!(
        of_body("ack", json!({"epoch": epoch.to_string(), "revision": 1})),
        json!("tag")
    );
    let report = |change: Value| {
        let mut report = json!({"incarnation": "0".repeat(32), "sequence": 1, "uses": []});
        report
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        of_body("usage", report)
    };
    assert_eq!(report(json!({"incarnation": "x"})), json!("incarnation"));
    assert_eq!(report(json!({"sequence": 0})), json!("sequence"));
    let one = |id: &str, last_used: i64, count: u64| {
        report(json!({"uses": [{"id": id, "lastUsed": last_used, "count": count}]}))
    };
    assert_eq!(one("", 0, 1), json!("uses[0].id"));
    assert_eq!(one("k", -1, 1), json!("uses[0].lastUsed"));
    assert_eq!(one("k", 0, 1 << 54), json!("uses[0].count"));
    let used = json!({"id": "k", "lastUsed": 0, "count": 1});
    assert_eq!(report(json!({"uses": vec![used; 1001]})), json!("uses"));
    let unnamed = plane.admin("POST", "/v1/gateway-tokens", Some(json!({"name": "A"})));
    assert_eq!(
        unnamed.refused(400, "BadParameters")["field"],
        json!("name")
    );
}

#[test]
fn a_report_of_uses_counts_once_however_often_it_comes() {
    let (plane, _, directory) = alone();
    let (id, _) = plane.create("acme", key("one"));
    let gateway = Gateway::new(plane.address, 1);
    let report = |gateway: &Gateway, life: char, sequence: u64| {
        let body = json!({
            "incarnation": life.to_string().repeat(32), "sequence": sequence,
            "uses": [{"id": id, "lastUsed": 4_000_000_000_000_u64, "count": 5}, {"id": "gone", "lastUsed": 1, "count": 1}],
        });
        let answer = gateway.call("POST", &gateway.path("usage", None), Some(body));
        assert_eq!(answer.status, 204, "{}", answer.raw);
    };
    for _ in 0..3 {
        report(&gateway, 'a', 1);
    }
    report(&gateway, 'a', 2);
    report(&gateway, 'a', 1);
    report(&gateway, 'b', 1);
    report(&Gateway::new(plane.address, 2), 'a', 1);
    let mut database = look_into(directory.path());
    assert_eq!(database.number("SELECT uses FROM keys"), 20);
    // A gateway whose clock is ahead has used nothing in the future.
    let last_used = database.number("SELECT last_used_at FROM keys");
    assert_eq!(last_used, plane.clock.now().as_millis());
}

#[test]
fn at_the_end_streams_end_and_nobody_waits_any_longer() {
    let (mut plane, epoch, _directory) = alone();
    let gateway = Gateway::new(plane.address, 1);
    let mut stream = gateway.follow(at(epoch, 0));
    let address = plane.address;
    let waiting = std::thread::spawn(move || {
        let bearer = format!("Bearer {ADMIN}");
        let headers = [("authorization", bearer.as_str()), ("prefer", "wait=60")];
        let body = key("one").to_string();
        crate::control_support::call(address, "POST", KEYS, &headers, body.as_bytes())
    });
    // The change is on its way, and so its answer is being waited for.
    assert_eq!(stream.change(), (0, 1, 1));
    plane.stop();
    stream.read_to_end();
    let answer = waiting.join().unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("keyward-acknowledged"), Some("0/1"));
}

#[test]
fn a_snapshot_of_many_keys_comes_whole() {
    let (plane, epoch, _directory) = alone();
    let line = |n: u32| {
        let digest = format!("sha256:{n:064x}");
        json!({"family": "access", "name": "k", "permission_mode": "restricted", "access": {"deployment": "read"}, "owner": {"type": "user", "user_id": "u1"}, "project_scope": {"mode": "single", "project_id": "p1"}, "digest": digest})
    };
    let lines: Vec<String> = (0..5_000).map(|n| line(n).to_string()).collect();
    let bearer = format!("Bearer {ADMIN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/x-ndjson"),
    ];
    let imported = crate::control_support::call(
        plane.address,
        "POST",
        "/v1/import",
        &headers,
        lines.join("\n").as_bytes(),
    );
    assert_eq!(imported.body["created"], json!(5_000), "{}", imported.raw);
    let gateway = Gateway::new(plane.address, 1);
    let (position, messages) = gateway.snapshot();
    assert_eq!(position.epoch, epoch);
    let put = messages.iter().map(|message| {
        let Message::Put(entries) = message else {
            panic!("{message:?}");
        };
        entries.len()
    });
    let keys: usize = put.sum();
    assert_eq!(keys, 5_000);
    // From before all of it, it is one change.
    let mut stream = gateway.follow(at(epoch, 0));
    assert_eq!(stream.heartbeat().0, position.revision.0);
}

#[test]
fn what_a_gateway_says_to_one_control_plane_another_answers() {
    let directory = directory_at_server();
    let [first, second] = [0, 1].map(|_| Plane::start_alone(directory.path()));
    let epoch = first.control.keys().epoch();
    let mut gateway = Gateway::new(first.address, 1);
    let (position, _) = gateway.snapshot();
    let mut stream = gateway.follow(position);
    let acking = std::thread::spawn(move || {
        let (_, revision, _) = stream.change();
        gateway.ack(at(epoch, revision));
        (stream, gateway)
    });
    let answer = wait(&second, 60, "POST", KEYS, Some(key("one")));
    assert_eq!(answer.header("keyward-acknowledged"), Some("1/1"));
    let (stream, mut gateway) = acking.join().unwrap();
    drop(stream);

    // It moves on, stands where it stood, and the first one asks the second.
    gateway.address = second.address;
    let mut stream = gateway.follow(at(epoch, 1));
    let path = format!("{KEYS}/one");
    let behind = wait(&first, 0, "PATCH", &path, Some(json!({"disabled": true})));
    assert_eq!(behind.header("keyward-acknowledged"), Some("0/1"));
    assert_eq!(stream.change(), (1, 2, 1));
    gateway.ack(at(epoch, 2));
    let there = wait(&first, 60, "PATCH", &path, Some(json!({"disabled": true})));
    assert_eq!(there.header("keyward-acknowledged"), Some("1/1"));
    let list = first.admin("GET", "/v1/gateways", None);
    assert_eq!(list.body["results"][0]["revision"], json!(2));

    // A token that one revokes is none for the other either.
    let made = first.admin("POST", "/v1/gateway-tokens", Some(json!({"name": "eu"})));
    let mut named = Gateway::new(second.address, 2);
    named.token = made.text("token");
    let mut stream = named.follow(at(epoch, 2));
    first.admin("DELETE", "/v1/gateway-tokens/eu", None);
    stream.read_to_end();
}

#[test]
fn control_planes_whose_clocks_disagree_count_on_the_same_gateways() {
    let directory = directory_at_server();
    let ahead = Clock::new();
    ahead.advance(3600);
    let first = Plane::start_alone(directory.path());
    let second = Plane::start_alone_at(directory.path(), ahead);
    let epoch = first.control.keys().epoch();
    let follow = |plane: &Plane, id| {
        let mut gateway = Gateway::new(plane.address, id);
        gateway.info.on_stale = OnStale::Deny;
        gateway.follow(at(epoch, 0))
    };
    let _streams = [follow(&first, 1), follow(&second, 2)];
    for (plane, slug, hour) in [(&first, "one", "00"), (&second, "two", "01")] {
        let counted = wait(plane, 0, "POST", KEYS, Some(key(slug)));
        assert_eq!(counted.header("keyward-acknowledged"), Some("0/2"));
        assert_eq!(counted.header("keyward-silent"), None);
        // Each says it by its own clock.
        let list = plane.admin("GET", "/v1/gateways", None);
        let expected = format!("2026-11-20T{hour}:0");
        for gateway in list.body["results"].as_array().unwrap() {
            for moment in ["lastContact", "leaseEnds"] {
                let told = gateway[moment].as_str().unwrap();
                assert!(told.starts_with(&expected), "{moment} {told}");
            }
        }
    }
}

#[test]
fn who_is_forgotten_at_one_control_plane_is_waited_for_at_none() {
    let directory = directory_at_server();
    let [first, second] = [0, 1].map(|_| Plane::start_alone(directory.path()));
    let epoch = first.control.keys().epoch();
    let gateway = Gateway::new(first.address, 1);
    let mut stream = gateway.follow(at(epoch, 0));
    let mut elsewhere = gateway.clone();
    elsewhere.address = second.address;
    let gone = elsewhere.call("POST", &gateway.path("leave", None), None);
    assert_eq!(gone.status, 204, "{}", gone.raw);
    for (plane, slug) in [(&first, "one"), (&second, "two")] {
        let alone = wait(plane, 0, "POST", KEYS, Some(key(slug)));
        assert_eq!(alone.header("keyward-acknowledged"), Some("0/0"));
    }
    stream.read_to_end();
}

#[test]
fn the_gateways_of_other_processes_are_waited_for_until_they_end() {
    let directory = directory_at_server();
    let first = Plane::start_in(directory.path(), Clock::new());
    let mut second = Plane::start_in(directory.path(), Clock::new());
    first.create("acme", key("one"));
    let path = format!("{KEYS}/one");
    let waited = wait(&first, 60, "PATCH", &path, Some(json!({"name": "two"})));
    assert_eq!(waited.header("keyward-acknowledged"), Some("2/2"));
    second.admin("PATCH", &path, Some(json!({"name": "three"})));
    second.stop();
    let alone = wait(&first, 60, "PATCH", &path, Some(json!({"name": "four"})));
    assert_eq!(alone.header("keyward-acknowledged"), Some("1/1"));
    assert_eq!(alone.header("keyward-silent"), None);
}
