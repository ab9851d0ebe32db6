//! Access keys over HTTP: what each operation does, and what it refuses, in the form of the platform.

use std::sync::Arc;

use keyward::authz::{
    KeyId, KeyLookup, KeyStatus, PresentedKey, RawAccess, RawGrants, Revision, Tenant,
};
use keyward::control::{Caller, GivenSecret, KeyName, NewKey, RawKey, ReadOnly, Usage};
use keyward::replica::{self, Replica};
use serde_json::{Value, json};

use super::plane;
use crate::control_support::{ADMIN, Answer, Plane, call, config};

const KEYS: &str = "/v2/api-keys";

fn create(plane: &Plane, body: Value) -> Answer {
    let made = plane.admin("POST", KEYS, Some(body));
    assert_eq!(made.status, 200, "{}", made.raw);
    made
}

fn patch(plane: &Plane, id: &str, body: Value) -> Answer {
    plane.admin("PATCH", &format!("{KEYS}/{id}"), Some(body))
}

fn get(plane: &Plane, id: &str) -> Value {
    let got = plane.admin("GET", &format!("{KEYS}/{id}"), None);
    assert_eq!(got.status, 200, "{}", got.raw);
    got.body
}

/// Asserts a refusal in the platform's form, and gives its details.
#[track_caller]
fn refused<'a>(answer: &'a Answer, status: u16, code: &str) -> &'a Value {
    let error = &answer.body["error"];
    assert_eq!(
        (answer.status, error["code"].as_str()),
        (status, Some(code)),
        "{}",
        answer.raw
    );
    assert!(error["message"].is_string() && error["doc_url"].is_string());
    assert_eq!(answer.body["message"], error["message"]);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    &error["details"]
}

#[test]
fn a_key_is_answered_in_both_published_shapes_and_its_secret_once() {
    let plane = plane();
    let made = create(
        &plane,
        json!({
            "name": "Support",
            "owner": {"user": {"user_id": "u1"}},
            "project_scope": {"single": {"project_id": "p1"}},
            "permission_mode": "PERMISSION_MODE_RESTRICTED",
            "access": {"deployment": "ACCESS_LEVEL_READ", "agent": "write"},
            "expires_at": "2030-01-01T00:00:00Z",
        }),
    );
    assert_eq!(made.revision(), 1);
    let (id, token) = (made.text("id"), made.text("token"));
    let prefix = format!("sk-orq-{id}");
    assert_eq!(id.len(), 26);
    assert_eq!(id, id.to_uppercase());
    let secret = token.strip_prefix(&format!("{prefix}-")).expect("its id");
    assert_eq!(secret.len(), 64);
    let now = "2026-11-20T00:00:00.000Z";
    let end = "2030-01-01T00:00:00.000Z";
    let mut expected = json!({
        "api_key": {
            "api_key_id": id,
            "name": "Support",
            "owner": {"user": {"user_id": "u1"}},
            "project_scope": {"single": {"project_id": "p1"}},
            "token_prefix": prefix,
            "status": "API_KEY_STATUS_ACTIVE",
            "permission_mode": "PERMISSION_MODE_RESTRICTED",
            "access": {"deployment": "ACCESS_LEVEL_READ", "agent": "ACCESS_LEVEL_WRITE"},
            "created_at": now,
            "updated_at": now,
            "expires_at": end,
            "legacy_key_id": "",
        },
        "id": id,
        "name": "Support",
        "workspace_id": "keyward",
        "token": token,
        "token_prefix": prefix,
        "active": true,
        "is_legacy": false,
        "source": "workspace",
        "expiration": end,
        "projects": ["p1"],
        "created": now,
        "updated": now,
        "owner": {"type": "user", "user_id": "u1"},
        "project_scope": {"mode": "single", "project_id": "p1"},
        "permission_mode": "restricted",
        "access": {"deployment": "read", "agent": "write"},
        "status": "active",
        "constraints": {"expires_at": end},
    });
    assert_eq!(made.body, expected);

    expected["token"] = json!(prefix);
    assert_eq!(get(&plane, &id), expected);
    assert_eq!(patch(&plane, &id, json!({})).body, expected);
    expected["token"] = json!(format!("{prefix}-********"));
    let listed = plane.admin("GET", KEYS, None);
    assert_eq!(listed.body, json!([expected]));
    for path in [KEYS.to_owned(), format!("{KEYS}/{id}")] {
        assert!(!plane.admin("GET", &path, None).raw.contains(secret));
    }
}

#[test]
fn a_key_of_which_nothing_is_said_may_do_everything_for_ever() {
    let plane = plane();
    let made = create(&plane, json!({"name": "n"})).body;
    assert_eq!(made["permission_mode"], json!("all"));
    assert_eq!(made["owner"], json!({"type": "service_account"}));
    assert_eq!(made["api_key"]["owner"], json!({"service_account": {}}));
    assert_eq!(made["api_key"]["project_scope"], json!({"all": {}}));
    assert_eq!(made["constraints"], json!({}));
    assert_eq!(made["projects"], json!([]));
    for absent in ["expiration", "warnings", "last_used_at"] {
        assert_eq!(made.get(absent), None);
    }
}

#[test]
fn both_spellings_and_all_places_mean_the_same() {
    let plane = plane();
    let sketch = |body: Value| {
        let made = create(&plane, body).body;
        json!([
            made["owner"],
            made["project_scope"],
            made["permission_mode"],
            made["access"],
            made["expiration"]
        ])
    };
    let long = sketch(json!({
        "name": "n",
        "owner": {"service_account": {}},
        "project_scope": {"single": {"project_id": "p"}},
        "permission_mode": "PERMISSION_MODE_RESTRICTED",
        "access": {"file": "ACCESS_LEVEL_NONE"},
        "expires_at": "2030-01-01T00:00:00Z",
    }));
    let flat = sketch(json!({
        "name": "n",
        "owner": {"type": "service_account"},
        "project_scope": {"mode": "single", "project_id": "p"},
        "permission_mode": "restricted",
        "access": {"file": "none"},
        "constraints": {"expires_at": "2030-01-01T00:00:00Z"},
        "mcp_access": {},
    }));
    let old = sketch(json!({
        "name": "n",
        "owner": {"type": "OWNER_TYPE_SERVICE_ACCOUNT"},
        "projects": ["p"],
        "permission_mode": "RESTRICTED",
        "access": {"file": "NONE"},
        "expiration": "2030-01-01T00:00:00Z",
        "mcp_access": {"deny_all": false, "allowed_mcp_gateway_ids": [], "toolset_ids": []},
    }));
    assert_eq!(long, flat);
    assert_eq!(long, old);
    for all in [json!(null), json!([])] {
        let made = create(&plane, json!({"name": "n", "projects": all}));
        assert_eq!(made.body["project_scope"], json!({"mode": "all"}));
    }
}

/// What is wrong, and what stands beside a name.
#[rustfmt::skip]
const BAD_NEW_KEYS: [(&str, &str); 47] = [
    ("name", r#"{"name": null}"#),
    ("name", r#"{"name": ""}"#),
    ("name", r#"{"name": "nul\u0000"}"#),
    ("name", r#"{"name": 7}"#),
    ("owner", r#"{"owner": null}"#),
    ("owner", r#"{"owner": []}"#),
    ("owner", r#"{"owner": {}}"#),
    ("owner", r#"{"owner": {"user": {"user_id": "u"}, "service_account": {}}}"#),
    ("owner", r#"{"owner": {"type": "user"}}"#),
    ("owner", r#"{"owner": {"type": "service_account", "user_id": "u"}}"#),
    ("owner.type", r#"{"owner": {"type": "OWNER_TYPE_UNSPECIFIED"}}"#),
    ("owner.user", r#"{"owner": {"user": ["u"]}}"#),
    ("owner.user", r#"{"owner": {"user": {"user_id": ""}}}"#),
    ("owner.service_account", r#"{"owner": {"service_account": []}}"#),
    ("project_scope", r#"{"project_scope": {}}"#),
    ("project_scope", r#"{"project_scope": {"all": {}, "single": {"project_id": "p"}}}"#),
    ("project_scope", r#"{"project_scope": {"mode": "single"}}"#),
    ("project_scope", r#"{"project_scope": {"mode": "all", "project_id": "p"}}"#),
    ("project_scope", r#"{"project_scope": {"single": {"project_id": ""}}}"#),
    ("project_scope", r#"{"project_scope": {"single": {"project_id": "a\u0007"}}}"#),
    ("project_scope", r#"{"project_scope": "all"}"#),
    ("projects", r#"{"projects": ["a", "b"]}"#),
    ("projects", r#"{"projects": ["a"], "project_scope": {"all": {}}}"#),
    ("permission_mode", r#"{"permission_mode": "PERMISSION_MODE_UNSPECIFIED"}"#),
    ("permission_mode", r#"{"permission_mode": "Restricted"}"#),
    ("permission_mode", r#"{"permission_mode": 2}"#),
    ("access", r#"{"permission_mode": "restricted"}"#),
    ("access", r#"{"access": {"file": "read"}}"#),
    ("access", r#"{"permission_mode": "restricted", "access": ["file"]}"#),
    ("access", r#"{"permission_mode": "restricted", "access": null}"#),
    ("access.file", r#"{"permission_mode": "restricted", "access": {"file": "3"}}"#),
    ("access.file", r#"{"permission_mode": "restricted", "access": {"file": 2}}"#),
    ("access.file", r#"{"permission_mode": "restricted", "access": {"file": "ACCESS_LEVEL_UNSPECIFIED"}}"#),
    ("access.", r#"{"permission_mode": "restricted", "access": {"": "read"}}"#),
    ("access.a", r#"{"permission_mode": "restricted", "access": {"a\u0000": "read"}}"#),
    ("expires_at", r#"{"expires_at": "2026-11-20T00:00:00Z"}"#),
    ("expires_at", r#"{"expires_at": "2030-01-01"}"#),
    ("expires_at", r#"{"expires_at": null}"#),
    ("expires_at", r#"{"expires_at": 1900000000}"#),
    ("expiration", r#"{"expires_at": "2030-01-01T00:00:00Z", "expiration": "2030-01-01T00:00:00Z"}"#),
    ("constraints.expires_at", r#"{"expires_at": "2030-01-01T00:00:00Z", "constraints": {"expires_at": "2030-01-01T00:00:00Z"}}"#),
    ("budget", r#"{"constraints": {"budget": 1}}"#),
    ("mcp_access", r#"{"mcp_access": {"deny_all": true}}"#),
    ("mcp_access", r#"{"mcp_access": {"toolset_ids": ["t"]}}"#),
    ("mcp_access", r#"{"mcp_access": {"allowed_mcp_gateway_ids": ["g"]}}"#),
    ("token", r#"{"token": "sk-orq-x"}"#),
    ("__proto__", r#"{"__proto__": {}}"#),
];

#[test]
fn what_is_wrong_with_a_new_key_is_named_and_nothing_is_written() {
    let plane = plane();
    let restricted = |access: Value| json!({"permission_mode": "restricted", "access": access});
    let many: Value = (0..257).map(|n| (n.to_string(), json!("read"))).collect();
    let stated = BAD_NEW_KEYS.iter().map(|(field, text)| {
        let change: Value = serde_json::from_str(text).unwrap();
        (*field, change)
    });
    let computed = [
        ("name", json!({"name": "x".repeat(129)})),
        ("access", restricted(many)),
        ("access.x", restricted(json!({"x".repeat(257): "read"}))),
        ("id", json!({"id": "01HZXW2K7Y8Q9M0N1P2R3S4T5V"})),
        ("status", json!({"status": "active"})),
        ("workspace_id", json!({"workspace_id": "w"})),
    ];
    for (field, change) in stated.chain(computed) {
        let mut body = json!({"name": "n"});
        let members = body.as_object_mut().unwrap();
        members.extend(change.as_object().unwrap().clone());
        let answer = plane.admin("POST", KEYS, Some(body.clone()));
        let details = refused(&answer, 400, "invalid_request_body");
        let named = details["field"].as_str().unwrap();
        assert!(named.starts_with(field), "{body}: {named}");
    }
    assert_eq!(plane.admin("GET", KEYS, None).body, json!([]));
    assert_eq!(plane.control.keys().revision(), Revision(0));
}

#[test]
fn bodies_that_are_no_object_of_the_shape_are_refused() {
    let plane = plane();
    let id = create(&plane, json!({"name": "n"})).text("id");
    let nested = format!(
        "{{\"access\":{}{}}}",
        "{\"a\":".repeat(200),
        "}".repeat(200)
    );
    let send = |method: &str, path: &str, body: &str| {
        let token = format!("Bearer {ADMIN}");
        call(
            plane.address,
            method,
            path,
            &[("authorization", &token)],
            body.as_bytes(),
        )
    };
    for body in [
        "",
        "null",
        "[]",
        r#"["n"]"#,
        "{",
        "{} {}",
        r#"{"name":"a","name":"b"}"#,
        r#"{"name":"a","permission_mode":"restricted","access":{"file":"read","file":"write"}}"#,
        r#"{"name":"\ud800"}"#,
        nested.as_str(),
    ] {
        for (method, path) in [("POST", KEYS.to_owned()), ("PATCH", format!("{KEYS}/{id}"))] {
            refused(&send(method, &path, body), 400, "invalid_request_body");
        }
    }
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(10 * 1024 * 1024));
    refused(&send("POST", KEYS, &large), 413, "request_too_large");
    refused(&send("PUT", KEYS, "{}"), 405, "method_not_allowed");
    refused(
        &send("GET", &format!("{KEYS}/{id}/rotate"), ""),
        404,
        "not_found",
    );
    assert_eq!(plane.control.keys().revision(), Revision(1));
}

#[test]
fn a_patch_changes_what_it_states() {
    let plane = plane();
    let made = create(
        &plane,
        json!({"name": "n", "permission_mode": "restricted", "access": {"file": "read", "tool": "write"}}),
    );
    let id = made.text("id");
    plane.clock.advance(60);
    let answer = patch(
        &plane,
        &id,
        json!({
            "name": "renamed",
            "status": "API_KEY_STATUS_DISABLED",
            "access": {"agent": "ACCESS_LEVEL_WRITE"},
            "project_scope": {"single": {"project_id": "p"}},
            "expires_at": "2030-01-01T00:00:00+01:00",
        }),
    );
    assert_eq!(
        (answer.status, answer.revision()),
        (200, 2),
        "{}",
        answer.raw
    );
    let key = &answer.body;
    assert_eq!(
        key["api_key"]["access"],
        json!({"agent": "ACCESS_LEVEL_WRITE"})
    );
    assert_eq!(key["api_key"]["status"], json!("API_KEY_STATUS_DISABLED"));
    assert_eq!(key["active"], json!(false));
    assert_eq!(key["name"], json!("renamed"));
    assert_eq!(key["projects"], json!(["p"]));
    assert_eq!(key["expiration"], json!("2029-12-31T23:00:00.000Z"));
    assert_eq!(key["updated"], json!("2026-11-20T00:01:00.000Z"));
    assert_eq!(get(&plane, &id), *key);

    let answer = patch(
        &plane,
        &id,
        json!({"active": true, "access": {}, "clear_expires_at": true, "project_scope": {"mode": "all"}}),
    );
    assert_eq!(answer.body["status"], json!("active"));
    assert_eq!(answer.body["access"], json!({}));
    assert_eq!(answer.body["permission_mode"], json!("restricted"));
    assert_eq!(answer.body.get("expiration"), None);
    assert_eq!(answer.body["projects"], json!([]));

    let end =
        json!({"constraints": {"expires_at": "2031-01-01T00:00:00Z"}, "clear_expires_at": false});
    let answer = patch(&plane, &id, end);
    assert_eq!(answer.body["expiration"], json!("2031-01-01T00:00:00.000Z"));
    let unchanged = patch(&plane, &id, json!({"name": "renamed"}));
    assert_eq!(unchanged.revision(), answer.revision());
}

#[test]
fn the_map_is_that_of_a_restricted_key() {
    let plane = plane();
    let id = create(&plane, json!({"name": "n"})).text("id");
    let answer = patch(&plane, &id, json!({"permission_mode": "restricted"}));
    assert_eq!(
        refused(&answer, 400, "invalid_request_body")["field"],
        json!("access")
    );
    let ignored = patch(&plane, &id, json!({"access": {"file": "write"}}));
    assert_eq!(ignored.body["access"], json!({}));
    let warnings = ignored.body["warnings"].as_array().unwrap();
    assert!(warnings[0].as_str().unwrap().contains("no effect"));
    let restricted = patch(
        &plane,
        &id,
        json!({"permission_mode": "restricted", "access": {"file": "write"}}),
    );
    assert_eq!(restricted.body["access"], json!({"file": "write"}));
    assert_eq!(restricted.body.get("warnings"), None);
    let wide = patch(
        &plane,
        &id,
        json!({"permission_mode": "PERMISSION_MODE_READ_ONLY"}),
    );
    assert_eq!(wide.body["access"], json!({}));
    let made = create(
        &plane,
        json!({"name": "n", "permission_mode": "all", "access": {"file": "read"}}),
    );
    assert_eq!(made.body["access"], json!({}));
    assert_eq!(made.body["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn a_domain_that_is_not_known_is_accepted_with_a_warning() {
    let plane = plane();
    let made = create(
        &plane,
        json!({"name": "n", "permission_mode": "restricted", "access": {"agents": "write", "agent": "read"}}),
    );
    let warned = |body: &Value| {
        let warnings = body["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].as_str().unwrap().contains("`agents`"),
            "{warnings:?}"
        );
    };
    warned(&made.body);
    assert_eq!(
        made.body["access"],
        json!({"agents": "write", "agent": "read"})
    );
    warned(&patch(&plane, &made.text("id"), json!({"name": "other"})).body);
    assert_eq!(plane.admin("GET", KEYS, None).body[0].get("warnings"), None);
}

#[test]
fn contradictions_in_a_patch_are_refused_and_nothing_is_written() {
    let plane = plane();
    let id = create(&plane, json!({"name": "n"})).text("id");
    let before = get(&plane, &id);
    let end = "2030-01-01T00:00:00Z";
    for (field, body) in [
        (
            "clear_expires_at",
            json!({"expires_at": end, "clear_expires_at": true}),
        ),
        (
            "clear_expires_at",
            json!({"constraints": {"expires_at": end}, "clear_expires_at": true}),
        ),
        (
            "constraints.expires_at",
            json!({"expires_at": end, "constraints": {"expires_at": end}}),
        ),
        ("clear_expires_at", json!({"clear_expires_at": "yes"})),
        ("active", json!({"status": "active", "active": false})),
        ("status", json!({"status": "API_KEY_STATUS_UNSPECIFIED"})),
        ("status", json!({"status": "Active"})),
        ("status", json!({"status": 1})),
        ("owner", json!({"owner": {"service_account": {}}})),
        ("token", json!({"name": "x", "token": "t"})),
        (
            "name",
            json!({"name": "x".repeat(129), "status": "disabled"}),
        ),
        ("mcp_access", json!({"mcp_access": {"deny_all": true}})),
    ] {
        let answer = patch(&plane, &id, body.clone());
        let details = refused(&answer, 400, "invalid_request_body");
        assert_eq!(details["field"], json!(field), "{body}");
    }
    assert_eq!(get(&plane, &id), before);
    assert_eq!(plane.control.keys().revision(), Revision(1));
}

#[test]
fn a_key_that_was_revoked_stays_so() {
    let plane = plane();
    let id = create(&plane, json!({"name": "n"})).text("id");
    let revoked = patch(&plane, &id, json!({"status": "API_KEY_STATUS_REVOKED"}));
    assert_eq!(revoked.body["status"], json!("revoked"));
    for body in [
        json!({"status": "API_KEY_STATUS_ACTIVE"}),
        json!({"status": "disabled"}),
        json!({"active": true}),
        json!({"name": "alive", "active": false}),
    ] {
        refused(&patch(&plane, &id, body), 409, "conflict");
    }
    let again = patch(&plane, &id, json!({"status": "revoked"}));
    assert_eq!((again.status, again.revision()), (200, 2));
    assert_eq!(get(&plane, &id), revoked.body);
}

#[test]
fn a_deleted_key_is_gone() {
    let plane = plane();
    let id = create(&plane, json!({"name": "n"})).text("id");
    let path = format!("{KEYS}/{id}");
    let token = format!("Bearer {ADMIN}");
    let headers = [("authorization", token.as_str()), ("prefer", "wait=5")];
    let deleted = plane.call("DELETE", &path, &headers, None);
    assert_eq!((deleted.status, deleted.revision()), (204, 2));
    assert!(deleted.raw.ends_with("\r\n\r\n"), "{}", deleted.raw);
    assert_eq!(deleted.header("keyward-acknowledged"), Some("1/1"));
    for (method, body) in [("GET", None), ("DELETE", None), ("PATCH", Some(json!({})))] {
        refused(&plane.admin(method, &path, body), 404, "not_found");
    }
}

#[test]
fn keys_of_other_families_are_not_there() {
    let plane = plane();
    let org = json!({"slug": "ci", "name": "n", "expiresAt": "2030-01-01T00:00:00Z"});
    let (org, _) = plane.create("acme", org);
    let access = create(&plane, json!({"name": "n"})).text("id");
    for (method, body) in [("GET", None), ("DELETE", None), ("PATCH", Some(json!({})))] {
        for id in [
            org.as_str(),
            "ci",
            "01HZXW2K7Y8Q9M0N1P2R3S4T5V",
            "%00",
            "%27%3B--",
        ] {
            let answer = plane.admin(method, &format!("{KEYS}/{id}"), body.clone());
            refused(&answer, 404, "not_found");
        }
        let other = format!("/v2/orgs/acme/api-keys/{access}");
        plane
            .admin(method, &other, body)
            .refused(404, "ObjectNotFound");
    }
    let after = plane.admin("GET", &format!("{KEYS}?starting_after={org}"), None);
    refused(&after, 400, "invalid_request");
    assert_eq!(
        plane
            .admin("GET", KEYS, None)
            .body
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn only_an_admin_token_manages_access_keys() {
    let plane = plane();
    let made = create(&plane, json!({"name": "n"}));
    let (id, access) = (made.text("id"), made.text("token"));
    let org = json!({"slug": "all", "name": "n", "permissions": ["*"], "expiresAt": "2030-01-01T00:00:00Z"});
    let (_, org) = plane.create("acme", org);
    let mine = format!("{KEYS}/{id}");
    for (method, path, body) in [
        ("GET", KEYS, None),
        ("POST", KEYS, Some(json!({"name": 7}))),
        ("GET", "/v2/api-keys/capabilities", None),
        ("GET", mine.as_str(), None),
        ("GET", "/v2/api-keys/01HZXW2K7Y8Q9M0N1P2R3S4T5V", None),
        ("PATCH", mine.as_str(), Some(json!({"status": "revoked"}))),
        ("DELETE", mine.as_str(), None),
    ] {
        for key in [&access, &org] {
            let answer = plane.with_key(key, method, path, body.clone());
            let details = refused(&answer, 403, "insufficient_scope");
            assert_eq!(details["reason"], json!("family_not_accepted"));
        }
        let bearer = |token: &str| {
            plane.call(
                method,
                path,
                &[("authorization", &format!("Bearer {token}"))],
                body.clone(),
            )
        };
        refused(&bearer(&format!("{access}x")), 401, "invalid_api_key");
        let nobody = plane.call(method, path, &[], body.clone());
        refused(&nobody, 401, "authentication_required");
        assert!(nobody.header("www-authenticate").is_some());
        refused(&bearer(&access), 403, "insufficient_scope");
    }
    let ended = json!({"expires_at": "2026-11-20T00:00:00Z"});
    assert_eq!(patch(&plane, &id, ended).status, 200);
    let expired = plane.with_key(&access, "GET", KEYS, None);
    refused(&expired, 401, "expired_api_key");
}

/// Names of the keys that a list shows.
fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.raw);
    let keys = answer.body.as_array().unwrap().iter();
    keys.map(|key| key["name"].as_str().unwrap().to_owned())
        .collect()
}

fn listed(plane: &Plane, query: &str) -> Vec<String> {
    names(&plane.admin("GET", &format!("{KEYS}?{query}"), None))
}

#[test]
fn pages_go_from_key_to_key_the_newest_first() {
    let plane = plane();
    let ids: Vec<String> = (0..30)
        .map(|n| {
            // Several in one moment, and one moment before the last.
            plane.clock.advance(i64::from(n % 3 == 0));
            create(&plane, json!({"name": format!("{n:02}")})).text("id")
        })
        .collect();
    let newest: Vec<String> = (0..30).rev().map(|n| format!("{n:02}")).collect();
    assert_eq!(listed(&plane, ""), newest[..25]);
    assert_eq!(listed(&plane, "limit=200"), newest);
    let mut seen = Vec::new();
    let mut last = String::new();
    while seen.len() < newest.len() {
        let page = plane.admin(
            "GET",
            &format!("{KEYS}?limit=7&starting_after={last}"),
            None,
        );
        seen.extend(names(&page));
        last = page.body.as_array().unwrap().last().unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        // What comes meanwhile is on no later page.
        plane.clock.advance(1);
        create(&plane, json!({"name": "later"}));
    }
    assert_eq!(seen, newest);
    assert_eq!(
        listed(&plane, &format!("starting_after={}", ids[0])),
        [""; 0]
    );
    assert_eq!(
        listed(&plane, &format!("limit=3&ending_before={}", ids[10])),
        newest[16..19]
    );
    assert_eq!(
        listed(&plane, &format!("limit=1&ending_before={}", ids[28])),
        newest[..1]
    );
}

/// A query, and the names that it finds.
#[rustfmt::skip]
const FILTERS: [(&str, &[&str]); 19] = [
    ("project_id=p1", &["pinned"]),
    ("project_id=p3", &[]),
    ("status=API_KEY_STATUS_DISABLED", &["pinned"]),
    ("status=active", &["narrow", "Équipe 100%"]),
    ("status=revoked", &[]),
    ("search=%C3%A9QUIPE", &["Équipe 100%"]),
    ("search=100%25", &["Équipe 100%"]),
    ("search=_", &[]),
    ("search=%27%20OR%201%3D1", &[]),
    ("search=&project_id=&status=&starting_after=", &["narrow", "pinned", "Équipe 100%"]),
    ("owner_type=OWNER_TYPE_USER", &["Équipe 100%"]),
    ("owner_type[]=service_account", &["narrow", "pinned"]),
    ("owner_type=user&owner_type=service_account&limit=2", &["narrow", "pinned"]),
    ("permission_mode=PERMISSION_MODE_ALL", &["pinned"]),
    ("permission_mode[]=all&permission_mode[]=read_only", &["pinned", "Équipe 100%"]),
    ("permission_mode=restricted,read_only", &["narrow", "Équipe 100%"]),
    ("source=workspace&include_budget=true", &["narrow", "pinned", "Équipe 100%"]),
    ("source=router", &[]),
    ("owner_type=service_account&status=active&permission_mode=restricted", &["narrow"]),
];

/// A parameter that is refused, and a query with it.
#[rustfmt::skip]
const BAD_FILTERS: [(&str, &str); 15] = [
    ("limit", "limit=0"),
    ("limit", "limit=201"),
    ("limit", "limit=-1"),
    ("limit", "limit=1e308"),
    ("limit", "limit=1&limit=2"),
    ("ending_before", "starting_after=a&ending_before=b"),
    ("starting_after", "starting_after=nobody"),
    ("ending_before", "ending_before=nobody"),
    ("status", "status=API_KEY_STATUS_UNSPECIFIED"),
    ("status", "status=active&status=disabled"),
    ("owner_type", "owner_type=robot"),
    ("permission_mode", "permission_mode=1"),
    ("source", "source=elsewhere"),
    ("include_budget", "include_budget=maybe"),
    ("page", "page=1"),
];

#[test]
fn lists_are_filtered_by_everything_that_is_published() {
    let plane = plane();
    let key = |body: Value| create(&plane, body).text("id");
    key(
        json!({"name": "Équipe 100%", "owner": {"user": {"user_id": "u"}}, "permission_mode": "read_only"}),
    );
    let id = key(json!({"name": "pinned", "project_scope": {"single": {"project_id": "p1"}}}));
    key(
        json!({"name": "narrow", "permission_mode": "restricted", "access": {}, "projects": ["p2"]}),
    );
    patch(&plane, &id, json!({"status": "disabled"}));
    for (query, expected) in FILTERS {
        assert_eq!(listed(&plane, query), expected, "{query}");
    }
    for (field, query) in BAD_FILTERS {
        let answer = plane.admin("GET", &format!("{KEYS}?{query}"), None);
        let details = refused(&answer, 400, "invalid_request");
        assert_eq!(details["field"], json!(field), "{query}");
    }
    let one = |query: &str| plane.admin("GET", &format!("{KEYS}/{id}?{query}"), None);
    refused(&one("surprise=1"), 400, "invalid_request");
    assert_eq!(one("include_budget=true").status, 200);
}

#[test]
fn a_filter_finds_what_is_far_down_the_list() {
    let plane = plane();
    let keys = plane.control.keys();
    let raws: Vec<RawKey> = (0..600)
        .map(|_| RawKey::of(&Tenant::Access, plane.clock.now()).unwrap())
        .collect();
    let new = raws.iter().enumerate().map(|(n, raw)| {
        let name = if n % 256 == 0 { "rare" } else { "common" };
        (access_key(name), GivenSecret::Raw(raw))
    });
    let inserted = keys.insert_keys(Caller::program("test"), new.collect());
    plane.runtime.block_on(inserted).unwrap();
    assert_eq!(listed(&plane, "search=RARE"), ["rare"; 3]);
    assert_eq!(listed(&plane, "search=rare&limit=1"), ["rare"]);
    assert_eq!(listed(&plane, "limit=200").len(), 200);
}

fn access_key(name: &str) -> NewKey {
    NewKey {
        tenant: Tenant::Access,
        slug: None,
        name: KeyName::parse(name).unwrap(),
        owner: None,
        status: KeyStatus::Active,
        expires_at: None,
        grants: RawGrants::Access(RawAccess {
            permission_mode: "PERMISSION_MODE_ALL".to_owned(),
            ..RawAccess::default()
        }),
    }
}

#[test]
fn the_catalogue_names_domains_in_the_order_of_their_groups() {
    let plane = plane();
    let answer = plane.admin("GET", "/v2/api-keys/capabilities", None);
    assert_eq!(answer.status, 200);
    let domains = answer.body["domains"].as_array().unwrap();
    let groups: Vec<_> = domains
        .iter()
        .map(|domain| domain["group"].as_str().unwrap())
        .collect();
    let mut runs = groups.clone();
    runs.dedup();
    assert_eq!(
        runs,
        [
            "DOMAIN_GROUP_WORKSPACE_ADMIN",
            "DOMAIN_GROUP_PLATFORM",
            "DOMAIN_GROUP_GATEWAY"
        ]
    );
    let one = |id: &str| domains.iter().find(|domain| domain["id"] == *id).unwrap();
    assert_eq!(
        *one("deployment"),
        json!({
            "id": "deployment",
            "display_name": "Deployments",
            "group": "DOMAIN_GROUP_PLATFORM",
            "allowed_scopes": ["SCOPE_MODE_ALL", "SCOPE_MODE_SINGLE"],
            "readable": true,
            "writable": true,
            "extra_write_verbs": [],
        })
    );
    assert_eq!(one("member")["allowed_scopes"], json!(["SCOPE_MODE_ALL"]));
    assert_eq!(
        one("insights")["extra_write_verbs"],
        json!(["insights.run"])
    );
}

#[test]
fn use_is_shown() {
    let plane = plane();
    let id = create(&plane, json!({"name": "n"})).text("id");
    let usage = Usage {
        id: KeyId::new(id.as_str()),
        last_used: plane.clock.now().plus_seconds(5),
        count: 3,
    };
    let recorded = plane.control.keys().record_usage(vec![usage]);
    plane.runtime.block_on(recorded).unwrap();
    let key = get(&plane, &id);
    assert_eq!(key["last_used_at"], json!("2026-11-20T00:00:05.000Z"));
    assert_eq!(key["api_key"]["last_used_at"], key["last_used_at"]);
}

#[test]
fn keys_are_found_by_imported_digests_and_only_by_the_right_token() {
    let plane = plane();
    let [first, second, third] =
        ["A", "B", "C"].map(|end| format!("sk-orq-01HZXW2K7Y8Q9M0N1P2R3S4T5{end}-c2VjcmV0"));
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let presented = |token: &str| PresentedKey::parse(token.as_bytes()).unwrap().sha256().0;
    let sha256 = format!("sha256:{}", hex(&presented(&first)));
    let plain = PresentedKey::parse(second.as_bytes()).unwrap().digest(None);
    let blake3 = format!("blake3:{}", hex(plain.as_bytes()));
    let new = vec![
        (access_key("sha256"), GivenSecret::parse(&sha256).unwrap()),
        (access_key("blake3"), GivenSecret::parse(&blake3).unwrap()),
    ];
    let keys = plane.control.keys();
    plane
        .runtime
        .block_on(keys.insert_keys(Caller::program("test"), new))
        .unwrap();
    // Over HTTP, where a key that is known is refused otherwise than one that is not.
    for (token, status) in [(&first, 403), (&second, 403), (&third, 401)] {
        assert_eq!(plane.with_key(token, "GET", KEYS, None).status, status);
    }
    assert_eq!(listed(&plane, ""), ["blake3", "sha256"]);
    // And in a gateway.
    let replica = Replica::new(replica::Config {
        pepper: config(plane.directory()).pepper,
        ..replica::Config::default()
    });
    let load = async {
        let database = ReadOnly::open(&config(plane.directory())).await.unwrap();
        database.load_into(Arc::clone(&replica) as _).await.unwrap();
    };
    plane.runtime.block_on(load);
    let snapshot = replica.pin().unwrap();
    for (token, is_known) in [(&first, true), (&second, true), (&third, false)] {
        let key = PresentedKey::parse(token.as_bytes()).unwrap();
        let found = replica.look_up(&snapshot, &key);
        assert_eq!(matches!(found, KeyLookup::Found { .. }), is_known);
    }
}

#[test]
fn every_change_is_in_the_audit_log_without_secrets() {
    let plane = plane();
    let made = create(&plane, json!({"name": "n"}));
    let (id, token) = (made.text("id"), made.text("token"));
    patch(&plane, &id, json!({"status": "revoked"}));
    patch(&plane, &id, json!({"status": "active"}));
    plane.admin("DELETE", &format!("{KEYS}/{id}"), None);
    let entries = plane.audit();
    let members = ["revision", "actor", "action", "key_id"];
    let act = |entry: &Value| members.map(|member| entry[member].as_str().unwrap().to_owned());
    let acts: Vec<_> = entries.iter().map(act).collect();
    let id = id.as_str();
    assert_eq!(
        acts,
        [
            ["1", "admin", "create", id],
            ["2", "admin", "update", id],
            ["3", "admin", "delete", id]
        ]
    );
    let after: Value = serde_json::from_str(entries[1]["after_state"].as_str().unwrap()).unwrap();
    assert_eq!(after["status"], json!("revoked"));
    assert!(!format!("{entries:?}").contains(token.rsplit('-').next().unwrap()));
}
