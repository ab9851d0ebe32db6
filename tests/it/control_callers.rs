//! Who may do what at the control plane: admin tokens, organisation keys without escalation, and nobody else.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use keyward::control::Control;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{directory, plane};
use crate::control_gateway::{Gateway, at};
use crate::control_support::{ADMIN, Answer, Clock, Plane, config};

const KEYS: &str = "/v2/orgs/acme/api-keys";
const EXPIRY: &str = "2030-01-01T00:00:00Z";

fn key(slug: &str, permissions: &[&str], scopes: &[&str]) -> Value {
    json!({"slug": slug, "name": slug, "permissions": permissions, "scopes": scopes, "expiresAt": EXPIRY})
}

/// A key that manages its organisation, and reads agents within a scope.
fn manager(plane: &Plane, org: &str) -> String {
    let held = ["orgs:apikeys:manage", "agent-factory:agents:read"];
    plane.create(org, key("manager", &held, &["agents:a1"])).1
}

/// Every operation that needs a credential, on a key of this slug.
fn operations(org: &str, slug: &str) -> Vec<(&'static str, String, Option<Value>)> {
    let keys = format!("/v2/orgs/{org}/api-keys");
    vec![
        ("GET", keys.clone(), None),
        ("POST", keys.clone(), Some(key("new", &[], &["agents:a1"]))),
        ("GET", format!("{keys}/{slug}"), None),
        (
            "PATCH",
            format!("{keys}/{slug}"),
            Some(json!({"name": "x"})),
        ),
        ("POST", format!("{keys}/{slug}/rotate"), None),
        ("DELETE", format!("{keys}/{slug}"), None),
    ]
}

#[test]
fn without_a_live_credential_nothing_is_done() {
    let plane = plane();
    plane.create("acme", key("ci", &[], &[]));
    let bearer = |token: &str| format!("Bearer {token}");
    let almost = bearer(&ADMIN.replacen('a', "", 1));
    let longer = bearer(&format!("{ADMIN}x"));
    let unknown = "iak_acme_00000000-0000-4000-8000-000000000000";
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[], "missing_credential"),
        (&[("authorization", &almost)], "malformed_credential"),
        (&[("authorization", &longer)], "malformed_credential"),
        (&[("authorization", "Basic YTpi")], "missing_credential"),
        (&[("x-prismeai-api-key", ADMIN)], "malformed_credential"),
        (&[("x-prismeai-api-key", unknown)], "unknown_key"),
        (&[("authorization", &bearer(unknown))], "unknown_key"),
        (
            &[("authorization", "Bearer at:opaque")],
            "user_token_rejected",
        ),
    ];
    for (headers, reason) in cases {
        for (method, path, body) in operations("acme", "ci") {
            let refused = plane.call(method, &path, headers, body);
            let details = refused.refused(401, "AuthenticationError");
            assert_eq!(details["reason"], json!(reason), "{headers:?}");
            let challenge = refused.header("www-authenticate").unwrap();
            assert_eq!(
                challenge.contains("invalid_token"),
                reason != "missing_credential"
            );
        }
    }
    assert_eq!(plane.sink.changes.lock().unwrap().len(), 1);
}

#[test]
fn a_dead_key_is_refused_with_its_reason() {
    let plane = plane();
    let held = ["orgs:apikeys:manage"];
    let (_, disabled) = plane.create("acme", key("disabled", &held, &[]));
    plane.admin(
        "PATCH",
        &format!("{KEYS}/disabled"),
        Some(json!({"disabled": true})),
    );
    let (_, rotated) = plane.create("acme", key("rotated", &held, &[]));
    plane.admin("POST", &format!("{KEYS}/rotated/rotate"), None);
    let (_, deleted) = plane.create("acme", key("deleted", &held, &[]));
    plane.admin("DELETE", &format!("{KEYS}/deleted"), None);
    let (_, expired) = plane.create("acme", key("expired", &held, &[]));
    plane.admin(
        "PATCH",
        &format!("{KEYS}/expired"),
        Some(json!({"expiresAt": "2026-11-20T00:00:01Z"})),
    );
    assert_eq!(plane.with_key(&expired, "GET", KEYS, None).status, 200);
    plane.clock.advance(1);
    for (key, reason) in [
        (&disabled, "disabled_key"),
        (&rotated, "revoked_key"),
        (&deleted, "unknown_key"),
        (&expired, "expired_key"),
    ] {
        let refused = plane.with_key(key, "GET", KEYS, None);
        assert_eq!(
            refused.refused(401, "AuthenticationError")["reason"],
            json!(reason)
        );
    }
    plane.clock.advance(31 * 24 * 60 * 60);
    let refused = plane.with_key(&rotated, "GET", KEYS, None);
    assert_eq!(
        refused.refused(401, "AuthenticationError")["reason"],
        json!("unknown_key")
    );
}

#[test]
fn more_than_one_credential_is_ambiguous() {
    let plane = plane();
    let manager = manager(&plane, "acme");
    let admin = format!("Bearer {ADMIN}");
    let other = "Bearer iak_acme_00000000-0000-4000-8000-000000000000";
    for headers in [
        [
            ("authorization", admin.as_str()),
            ("x-prismeai-api-key", manager.as_str()),
        ],
        [
            ("authorization", other),
            ("x-prismeai-api-key", manager.as_str()),
        ],
        [
            ("authorization", admin.as_str()),
            ("authorization", admin.as_str()),
        ],
    ] {
        let refused = plane.call("GET", KEYS, &headers, None);
        let details = refused.refused(400, "BadParameters");
        assert_eq!(details["reason"], json!("ambiguous_credential"));
    }
}

#[test]
fn a_key_is_taken_from_either_header() {
    let plane = plane();
    let manager = manager(&plane, "acme");
    assert_eq!(plane.with_key(&manager, "GET", KEYS, None).status, 200);
    let bearer = format!("Bearer {manager}");
    assert_eq!(
        plane
            .call("GET", KEYS, &[("authorization", &bearer)], None)
            .status,
        200
    );
}

#[test]
fn another_organisation_does_not_exist_for_a_key() {
    let plane = plane();
    let manager = manager(&plane, "acme");
    let (id, _) = plane.create("globex", key("ci", &[], &["agents:a1"]));
    let shape = |answer: &Answer| (answer.status, answer.body.clone());
    for slug in ["ci", id.as_str()] {
        let there = operations("globex", slug);
        let nowhere = operations("nobody", slug);
        for ((method, path, body), (_, absent, _)) in there.into_iter().zip(nowhere) {
            let refused = plane.with_key(&manager, method, &path, body.clone());
            refused.refused(404, "ObjectNotFound");
            let absent = plane.with_key(&manager, method, &absent, body);
            assert_eq!(shape(&refused), shape(&absent), "{method} {path}");
        }
        for (method, path, body) in operations("acme", slug).into_iter().skip(2) {
            let refused = plane.with_key(&manager, method, &path, body);
            refused.refused(404, "ObjectNotFound");
        }
    }
    for tricky in [
        "/v2/orgs/glob%65x/api-keys",
        "/v2/orgs/globex%2F/api-keys",
        "/v2/orgs/acme%2F..%2Fglobex/api-keys",
    ] {
        let refused = plane.with_key(&manager, "GET", tricky, None);
        assert!(
            [400, 404].contains(&refused.status),
            "{tricky}: {}",
            refused.raw
        );
    }
    assert_eq!(
        plane
            .with_key(&manager, "GET", "/v2/orgs/ac%6De/api-keys", None)
            .status,
        200
    );
    plane
        .with_key(&manager, "GET", "/v2/orgs/ACME/api-keys", None)
        .refused(400, "BadParameters");
    let globex = plane.admin("GET", "/v2/orgs/globex/api-keys", None);
    assert_eq!(globex.body["total"], json!(1));
}

#[test]
fn without_the_permission_a_key_manages_nothing() {
    let plane = plane();
    plane.create("acme", key("ci", &[], &[]));
    for (slug, permissions) in [
        ("none", &[][..]),
        ("create", &["orgs:apikeys:create"][..]),
        ("sibling", &["orgs:members:*", "orgs:apikeysmanage:x"][..]),
    ] {
        let (_, weak) = plane.create("acme", key(slug, permissions, &["*"]));
        for (method, path, body) in operations("acme", "ci") {
            let refused = plane.with_key(&weak, method, &path, body);
            let details = refused.refused(403, "ForbiddenError");
            assert_eq!(details["reason"], json!("missing_permission"));
            assert_eq!(
                details["needed"],
                json!({"permission": "orgs:apikeys:manage"})
            );
        }
    }
    for (slug, permission) in [("star", "*"), ("orgs", "orgs:*"), ("up", "orgs:manage")] {
        let (_, strong) = plane.create("acme", key(slug, &[permission], &[]));
        assert_eq!(
            plane.with_key(&strong, "GET", KEYS, None).status,
            200,
            "{permission}"
        );
    }
}

#[test]
fn a_stranger_learns_nothing_from_the_faults_of_a_body() {
    let plane = plane();
    let (_, weak) = plane.create("acme", key("weak", &[], &[]));
    let nonsense = Some(json!({"surprise": 1}));
    plane
        .call("POST", KEYS, &[], nonsense.clone())
        .refused(401, "AuthenticationError");
    plane
        .with_key(&weak, "POST", KEYS, nonsense.clone())
        .refused(403, "ForbiddenError");
    plane
        .with_key(&weak, "POST", "/v2/orgs/globex/api-keys", nonsense)
        .refused(404, "ObjectNotFound");
}

#[test]
fn a_key_makes_only_keys_that_it_covers() {
    let plane = plane();
    let manager = manager(&plane, "acme");
    let read = "agent-factory:agents:read";
    let refused: [(&[&str], &[&str]); 8] = [
        (&["*"], &["agents:a1"]),
        (&["orgs:*"], &["agents:a1"]),
        (&["orgs:manage"], &["agents:a1"]),
        (&["agent-factory:agents:write"], &["agents:a1"]),
        (&[read, "agent-factory:agents:*"], &["agents:a1"]),
        (&[read], &[]),
        (&[read], &["*"]),
        (&[read], &["agents:a1", "agents:a2"]),
    ];
    for (permissions, scopes) in refused {
        let made = plane.with_key(
            &manager,
            "POST",
            KEYS,
            Some(key("new", permissions, scopes)),
        );
        let details = made.refused(403, "ForbiddenError");
        assert_eq!(
            details["reason"],
            json!("escalation"),
            "{permissions:?} {scopes:?}"
        );
    }
    let mut longer = key("new", &[read], &["agents:a1"]);
    longer["expiresAt"] = json!("2030-01-01T00:00:00.001Z");
    plane
        .with_key(&manager, "POST", KEYS, Some(longer))
        .refused(403, "ForbiddenError");
    let total = plane.admin("GET", KEYS, None).body["total"].clone();
    assert_eq!(total, json!(1));

    let covered: [(&[&str], &[&str]); 4] = [
        (&[], &["agents:a1"]),
        (&[read], &["agents:a1"]),
        (&["orgs:apikeys:*"], &["agents:a1"]),
        (
            &["orgs:apikeys:create", "orgs:apikeys:manage"],
            &["agents:a1"],
        ),
    ];
    for (index, (permissions, scopes)) in covered.into_iter().enumerate() {
        let body = key(&format!("new{index}"), permissions, scopes);
        let made = plane.with_key(&manager, "POST", KEYS, Some(body));
        assert_eq!(made.status, 201, "{}", made.raw);
    }
}

#[test]
fn a_key_without_scopes_makes_no_key_with_scopes() {
    let plane = plane();
    let (_, manager) = plane.create("acme", key("manager", &["*"], &[]));
    plane
        .with_key(
            &manager,
            "POST",
            KEYS,
            Some(key("new", &[], &["agents:a1"])),
        )
        .refused(403, "ForbiddenError");
    assert_eq!(
        plane
            .with_key(&manager, "POST", KEYS, Some(key("new", &["*"], &[])))
            .status,
        201
    );
}

#[test]
fn a_key_patches_and_rotates_only_keys_that_it_covers() {
    let plane = plane();
    let manager = manager(&plane, "acme");
    plane.create(
        "acme",
        key("below", &["agent-factory:agents:read"], &["agents:a1"]),
    );
    plane.create("acme", key("above", &["orgs:*"], &["agents:a1"]));
    plane.create("acme", key("beside", &[], &["agents:a2"]));
    plane.create("acme", key("unlimited", &[], &[]));
    let mut later = key("later", &[], &["agents:a1"]);
    later["expiresAt"] = json!("2031-01-01T00:00:00Z");
    plane.create("acme", later);
    let patch =
        |slug: &str, body| plane.with_key(&manager, "PATCH", &format!("{KEYS}/{slug}"), Some(body));
    let rotate =
        |slug: &str, body| plane.with_key(&manager, "POST", &format!("{KEYS}/{slug}/rotate"), body);

    for slug in ["above", "beside", "unlimited", "later"] {
        for body in [
            json!({"name": "x"}),
            json!({"disabled": false}),
            json!({"disabled": true, "name": "x"}),
        ] {
            let refused = patch(slug, body.clone());
            assert_eq!(
                refused.refused(403, "ForbiddenError")["reason"],
                json!("escalation"),
                "{slug} {body}"
            );
        }
        rotate(slug, None).refused(403, "ForbiddenError");
        rotate(slug, Some(json!({"gracePeriodSeconds": 60}))).refused(403, "ForbiddenError");
    }
    patch("above", json!({"permissions": []})).refused(403, "ForbiddenError");
    for body in [
        json!({"permissions": ["*"]}),
        json!({"scopes": []}),
        json!({"scopes": ["agents:*"]}),
        json!({"expiresAt": "2031-01-01T00:00:00Z"}),
    ] {
        patch("below", body).refused(403, "ForbiddenError");
    }
    let beyond = Some(json!({"expiresAt": "2031-01-01T00:00:00Z"}));
    rotate("below", beyond).refused(403, "ForbiddenError");
    assert_eq!(plane.sink.changes.lock().unwrap().len(), 6);

    assert_eq!(
        patch("below", json!({"name": "x", "permissions": []})).status,
        200
    );
    assert_eq!(rotate("below", None).status, 200);
    assert_eq!(patch("later", json!({"expiresAt": EXPIRY})).status, 200);
    assert_eq!(patch("manager", json!({"name": "self"})).status, 200);
    for slug in ["above", "beside", "unlimited"] {
        let disabled = patch(slug, json!({"disabled": true}));
        assert_eq!(
            (disabled.status, &disabled.body["disabled"]),
            (200, &json!(true))
        );
        patch(slug, json!({"disabled": false})).refused(403, "ForbiddenError");
        let deleted = plane.with_key(&manager, "DELETE", &format!("{KEYS}/{slug}"), None);
        assert_eq!(deleted.status, 200);
    }
}

#[test]
fn a_key_of_another_family_manages_nothing() {
    use keyward::authz::{RawAccess, RawGrants, Tenant};
    use keyward::control::{Caller, KeyName, NewKey};

    let plane = plane();
    let new = NewKey {
        tenant: Tenant::Access,
        slug: None,
        name: KeyName::parse("everything").unwrap(),
        owner: None,
        status: keyward::authz::KeyStatus::Active,
        expires_at: None,
        grants: RawGrants::Access(RawAccess {
            permission_mode: "ALL".to_owned(),
            ..RawAccess::default()
        }),
    };
    let made = plane
        .control
        .keys()
        .create_key(Caller::program("test"), new);
    let raw = plane.runtime.block_on(made).unwrap().value.raw;
    for org in ["acme", "nobody"] {
        let refused = plane.with_key(
            raw.expose(),
            "GET",
            &format!("/v2/orgs/{org}/api-keys"),
            None,
        );
        let details = refused.refused(403, "ForbiddenError");
        assert_eq!(details["reason"], json!("family_not_accepted"));
    }
}

#[test]
fn a_key_that_is_deleted_while_it_works_does_nothing_more() {
    let plane = plane();
    let made: Vec<u16> = std::thread::scope(|scope| {
        let manager = manager(&plane, "acme");
        let work = scope.spawn({
            let plane = &plane;
            move || {
                (0..100)
                    .map(|n| {
                        let body = key(&format!("k{n}"), &[], &["agents:a1"]);
                        plane.with_key(&manager, "POST", KEYS, Some(body)).status
                    })
                    .collect()
            }
        });
        assert_eq!(
            plane
                .admin("DELETE", &format!("{KEYS}/manager"), None)
                .status,
            200
        );
        work.join().unwrap()
    });
    let alive = made.iter().take_while(|status| **status == 201).count();
    assert!(
        made[alive..].iter().all(|status| *status == 401),
        "{made:?}"
    );
    let changes = plane.sink.changes.lock().unwrap();
    let deletion = changes
        .iter()
        .position(|change| !change.removed.is_empty())
        .unwrap();
    assert_eq!(
        deletion,
        changes.len() - 1,
        "nothing was made after the deletion"
    );
    assert_eq!(changes.len(), 2 + alive);
}

#[test]
fn a_key_gives_others_no_owner_but_its_own() {
    let plane = plane();
    let owned = |mut key: Value, kind: &str, id: &str| {
        key["ownerType"] = json!(kind);
        key["ownerId"] = json!(id);
        key
    };
    let held = ["orgs:apikeys:manage"];
    let (_, ann) = plane.create("acme", owned(key("ann", &held, &[]), "user", "ann"));
    let (_, nobody) = plane.create("acme", key("nobody", &held, &[]));
    plane.create("acme", owned(key("bob", &[], &[]), "user", "bob"));
    plane.create("acme", key("free", &[], &[]));

    let make = |by: &str, key: Value| plane.with_key(by, "POST", KEYS, Some(key));
    let change = |by: &str, slug: &str, patch: Value| {
        plane.with_key(by, "PATCH", &format!("{KEYS}/{slug}"), Some(patch))
    };
    let rotate =
        |by: &str, slug: &str| plane.with_key(by, "POST", &format!("{KEYS}/{slug}/rotate"), None);
    let bob = |key| owned(key, "user", "bob");
    for refused in [
        make(&ann, bob(key("a", &[], &[]))),
        make(&ann, owned(key("a", &[], &[]), "app", "ann")),
        make(&nobody, bob(key("a", &[], &[]))),
        change(&ann, "free", bob(json!({}))),
        change(&nobody, "free", json!({"ownerType": "user"})),
        change(&nobody, "bob", json!({"ownerId": "ann"})),
        rotate(&ann, "bob"),
        rotate(&nobody, "bob"),
        rotate(&nobody, "ann"),
    ] {
        let details = refused.refused(403, "ForbiddenError");
        assert_eq!(details["reason"], json!("escalation"));
    }
    let ann_s = |key| owned(key, "user", "ann");
    for (made, status) in [
        (make(&ann, ann_s(key("a", &[], &[]))), 201),
        (make(&ann, key("b", &[], &[])), 201),
        (rotate(&ann, "a"), 200),
        (rotate(&ann, "free"), 200),
        (rotate(&nobody, "b"), 200),
        (change(&ann, "free", ann_s(json!({}))), 200),
        // Who does not state the owner leaves it, and who may change the key may take it away.
        (change(&ann, "bob", json!({"name": "renamed"})), 200),
        (change(&ann, "bob", bob(json!({}))), 200),
        (change(&nobody, "bob", json!({"ownerType": null})), 200),
        (
            plane.admin("PATCH", &format!("{KEYS}/free"), Some(bob(json!({})))),
            200,
        ),
    ] {
        assert_eq!(made.status, status, "{}", made.raw);
    }
}

/// Connections that the control plane has at a time.
const CONNECTIONS_MAX: usize = 1024;

fn connect(plane: &Plane) -> TcpStream {
    let stream = TcpStream::connect(plane.address).unwrap();
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).unwrap();
    stream
}

/// What is answered to these bytes, after which nothing is sent.
fn answer_to(plane: &Plane, bytes: &[u8]) -> String {
    let mut stream = connect(plane);
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn head(method: &str, path: &str, lines: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: control\r\n{lines}\r\n")
}

#[test]
fn a_stranger_is_refused_before_the_body_is_asked_for() {
    let plane = plane();
    let lines = "content-length: 1000\r\nexpect: 100-continue\r\nconnection: close\r\n";
    let known = format!("authorization: Bearer {ADMIN}\r\n");
    let large = lines.replace("1000", "1048577");
    let validate = format!("{KEYS}/validate");
    let of_workspace = "/v2/workspaces/w1/security/apikeys";
    for (path, lines, status) in [
        (KEYS, lines.to_owned(), "401"),
        (of_workspace, lines.to_owned(), "401"),
        ("/v2/api-keys", lines.to_owned(), "401"),
        (KEYS, format!("{known}{large}"), "413"),
        (&validate, lines.replace("1000", "4097"), "413"),
    ] {
        let answer = answer_to(&plane, head("POST", path, &lines).as_bytes());
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{path}: {answer}");
    }
    let mut asked = connect(&plane);
    let accepted = head("POST", KEYS, &format!("{known}{lines}"));
    asked.write_all(accepted.as_bytes()).unwrap();
    let mut interim = [0; 12];
    asked.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100");
}

/// Imports that may be under way at a time.
const IMPORTS_MAX: usize = 4;

#[test]
fn no_more_is_imported_at_a_time_than_there_is_memory_for() {
    let plane = plane();
    let lines = format!(
        "authorization: Bearer {ADMIN}\r\ncontent-length: 1000\r\nexpect: 100-continue\r\nconnection: close\r\n"
    );
    let import = head("POST", "/v1/import", &lines);
    let begin = || {
        let mut stream = connect(&plane);
        stream.write_all(import.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (stream, String::from_utf8(status.to_vec()).unwrap())
    };
    let under_way: Vec<_> = (0..IMPORTS_MAX).map(|_| begin()).collect();
    assert!(under_way.iter().all(|(_, status)| status == "HTTP/1.1 100"));
    assert_eq!(begin().1, "HTTP/1.1 429");
}

#[test]
fn too_many_validations_are_refused_before_the_body_is_asked_for() {
    let plane = plane();
    let lines = "content-length: 2\r\nexpect: 100-continue\r\nconnection: close\r\n";
    let request = head("POST", &format!("{KEYS}/validate"), lines) + "{}";
    // Of those that are let through the body is asked for.
    let mut answers = (0..10_000).map(|_| answer_to(&plane, request.as_bytes()));
    let refused = answers.find(|answer| !answer.starts_with("HTTP/1.1 100 "));
    let refused = refused.expect("one that is too much");
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
}

#[test]
fn a_body_that_is_refused_does_not_keep_its_sender_from_reading_why() {
    let plane = plane();
    let length = 10_000_000;
    for (lines, status) in [
        (String::new(), "401"),
        (format!("authorization: Bearer {ADMIN}\r\n"), "413"),
    ] {
        let lines = format!("{lines}content-length: {length}\r\nconnection: close\r\n");
        let mut request = head("POST", KEYS, &lines).into_bytes();
        request.resize(request.len() + length, b' ');
        let answer = answer_to(&plane, &request);
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{answer}");
    }
}

#[test]
fn strangers_take_all_connections_and_administration_goes_on() {
    let plane = plane();
    let (_, manager) = plane.create("acme", key("manager", &["orgs:apikeys:manage"], &[]));
    plane.create("acme", key("ci", &[], &[]));
    // Somebody who was admitted, and takes long to send a body.
    let mut slow = connect(&plane);
    let body = json!({"name": "slow"}).to_string();
    let lines = format!(
        "x-prismeai-api-key: {manager}\r\ncontent-length: {}\r\nconnection: close\r\nexpect: 100-continue\r\n",
        body.len()
    );
    let patch = head("PATCH", &format!("{KEYS}/ci"), &lines);
    slow.write_all(patch.as_bytes()).unwrap();
    let mut interim = [0; 25];
    slow.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    // And a gateway that follows, to which there is nothing to say yet.
    let gateway = Gateway::new(plane.address, 1);
    let mut stream = gateway.follow(at(plane.control.keys().epoch(), 2));

    let validate = head(
        "POST",
        &format!("{KEYS}/validate"),
        "content-length: 100\r\n",
    );
    let strangers: Vec<_> = (0..CONNECTIONS_MAX + 100)
        .map(|n| {
            let mut stranger = connect(&plane);
            let sent = match n % 3 {
                0 => "",
                1 => "GET / HTTP/1.1\r\nhost: con",
                _ => validate.as_str(),
            };
            // One that had to leave already cannot be written to.
            _ = stranger.write_all(sent.as_bytes());
            stranger
        })
        .collect();
    for n in 0..10 {
        let patch = Some(json!({"name": format!("name {n}")}));
        let patched = plane.admin("PATCH", &format!("{KEYS}/ci"), patch);
        assert_eq!(patched.status, 200, "{}", patched.raw);
    }
    slow.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(stream.change(), (2, 3, 1));
    drop(strangers);
}

#[test]
fn a_request_names_one_host() {
    let plane = plane();
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n", 400),
        (
            "GET /healthz HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
            400,
        ),
        (
            "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            200,
        ),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
    ] {
        let answer = answer_to(&plane, head.as_bytes());
        assert_eq!(
            answer.get(9..12),
            Some(status.to_string().as_str()),
            "{head}: {answer}"
        );
        assert!(answer.contains("content-type: application/json\r\n"));
    }
}

/// What `ask` makes of a control plane on a clock that runs ahead whenever nothing else can happen.
fn on_a_quick_clock<T>(ask: impl AsyncFnOnce(SocketAddr) -> T) -> T {
    let directory = directory();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(async {
        let config = config(directory.path());
        let control = Control::open(&config, "a test", Clock::new().shared());
        let control = control.await.unwrap();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::time::pause();
        let served = control.serve(listener, std::future::pending(), Duration::ZERO);
        tokio::select! {
            asked = ask(address) => asked,
            served = served => panic!("it ended: {served:?}"),
        }
    })
}

/// Longer than anybody is waited for, by the clock of [`on_a_quick_clock`].
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn whoever_dawdles_is_not_waited_for() {
    let half_a_body = "content-length: 100\r\n";
    let validate = format!("{KEYS}/validate");
    let cases = [
        (String::new(), ""),
        ("GET /healthz HTTP/1.1\r\nhost: con".to_owned(), ""),
        (head("GET", "/healthz", "").trim_end().to_owned(), ""),
        (head("POST", &validate, half_a_body) + "{", "HTTP/1.1 408 "),
        (head("GET", "/healthz", ""), "HTTP/1.1 200 "),
    ];
    on_a_quick_clock(async |address| {
        for (sent, expected) in cases {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            // It ends although this end keeps it open.
            let mut answer = String::new();
            let ended = stream.read_to_string(&mut answer);
            tokio::time::timeout(PATIENCE, ended)
                .await
                .unwrap()
                .unwrap();
            assert!(answer.starts_with(expected), "{sent:?}: {answer}");
            assert_eq!(answer.is_empty(), expected.is_empty(), "{sent:?}: {answer}");
        }
    });
}

#[test]
fn nor_is_an_administrator_whose_body_stops() {
    let lines =
        format!("authorization: Bearer {ADMIN}\r\nexpect: 100-continue\r\ncontent-length: 100\r\n");
    on_a_quick_clock(async |address| {
        for path in [KEYS, "/v1/import"] {
            // Whose token it is takes the store the time that it takes.
            tokio::time::resume();
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let asked = head("POST", path, &lines);
            stream.write_all(asked.as_bytes()).await.unwrap();
            let mut interim = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
            stream.read_exact(&mut interim).await.unwrap();
            assert!(interim.starts_with(b"HTTP/1.1 100 "), "{interim:?}");
            stream.write_all(b"{").await.unwrap();
            tokio::time::pause();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 408 "), "{path}: {answer}");
        }
    });
}
