//! Keys of workspaces over HTTP: their shapes, their rules, and what is refused.

use serde_json::{Value, json};

use keyward::authz::{KeyStatus, PresentedKey, RawGrants};
use keyward::control::CommandError;

use super::plane;
use crate::control_support::{Answer, Plane, call};

const KEYS: &str = "/v2/workspaces/w1/security/apikeys";

fn rule(subject: &str, conditions: Value) -> Value {
    json!({"action": ["read"], "subject": subject, "conditions": conditions})
}

fn save(name: &str, rules: Value) -> Option<Value> {
    Some(json!({"name": name, "rules": rules}))
}

/// Makes a key that may read pages, and gives its id and its secret.
fn made(plane: &Plane, workspace: &str) -> (String, String) {
    let keys = format!("/v2/workspaces/{workspace}/security/apikeys");
    let rules = json!([{"action": "read", "subject": "pages"}]);
    let made = plane.admin("POST", &keys, save("pages", rules));
    assert_eq!(made.status, 200, "{}", made.raw);
    let listed = plane.admin("GET", &keys, None);
    let newest = listed.body.as_array().unwrap().last().unwrap();
    let id = newest["apiKey"].as_str().unwrap().to_owned();
    (id, made.text("apiKey"))
}

fn revisions(plane: &Plane) -> usize {
    plane.sink.changes.lock().unwrap().len()
}

#[test]
fn a_key_is_created_and_its_secret_shown_once() {
    let plane = plane();
    let rules = json!([
        {"action": "read", "subject": ["pages", "workspaces"], "conditions": {"slug": "home"}, "reason": "r"},
        {"action": ["update"], "subject": "files", "fields": ["name"], "role": "editor", "priority": 2, "inverted": true},
    ]);
    let made = plane.admin("POST", KEYS, save("CI", rules));
    assert_eq!((made.status, made.revision()), (200, 1));
    let raw = made.text("apiKey");
    let shown = PresentedKey::parse(raw.as_bytes()).unwrap();
    assert_eq!(shown.family(), keyward::authz::Family::Workspace);
    let as_judged = json!([
        {"action": ["read"], "subject": "pages", "conditions": {"slug": "home", "workspaceId": "w1"}, "reason": "r"},
        {"action": ["read"], "subject": "workspaces", "conditions": {"slug": "home", "id": "w1"}, "reason": "r"},
        {"action": ["update"], "subject": "files", "conditions": {"workspaceId": "w1"}, "fields": ["name"],
         "role": ["editor"], "priority": 2, "inverted": true},
    ]);
    let mut expected = json!({
        "apiKey": raw, "name": "CI", "subjectType": "workspaces", "subjectId": "w1", "rules": as_judged,
        "disabled": false,
    });
    assert_eq!(made.body, expected);

    let listed = plane.admin("GET", KEYS, None);
    assert_eq!((listed.status, listed.revision()), (200, 1));
    assert!(!listed.raw.contains(&raw));
    let id = listed.body[0]["apiKey"].clone();
    assert_eq!(id.as_str().unwrap().len(), 26, "{id}");
    expected["apiKey"] = id;
    assert_eq!(listed.body, json!([expected]));

    let changes = plane.sink.changes.lock().unwrap();
    let record = &changes[0].put[0].record;
    assert_eq!((record.name.as_str(), record.expires_at), ("CI", None));
    assert!(matches!(&record.grants, RawGrants::Workspace { rules } if rules.len() == 3));
}

#[test]
fn a_workspace_without_keys_has_an_empty_list() {
    let plane = plane();
    let listed = plane.admin("GET", KEYS, None);
    assert_eq!((listed.status, listed.body), (200, json!([])));
}

#[test]
fn lists_show_the_keys_of_one_workspace_the_oldest_first() {
    let plane = plane();
    for name in ["a", "b", "c"] {
        plane.admin("POST", KEYS, save(name, json!([])));
        plane.clock.advance(1);
    }
    made(&plane, "w2");
    let listed = plane.admin("GET", KEYS, None);
    let names: Vec<_> = listed
        .body
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["name"])
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn one_key_is_shown_whether_by_id_or_by_secret() {
    let plane = plane();
    let (id, raw) = made(&plane, "w1");
    let listed = plane.admin("GET", KEYS, None);
    for name in [&id, &raw] {
        let shown = plane.admin("GET", &format!("{KEYS}/{name}"), None);
        assert_eq!((shown.status, shown.revision()), (200, 1));
        assert_eq!(shown.body, listed.body[0]);
        assert!(!shown.raw.contains(&raw));
    }
}

#[test]
fn a_put_replaces_name_and_rules_whether_by_id_or_by_secret() {
    let plane = plane();
    let (id, raw) = made(&plane, "w1");
    for (nth, name) in [&id, &raw].into_iter().enumerate() {
        let key = format!("{KEYS}/{name}");
        let file = format!("f{nth}");
        let body = save(&file, json!([rule("files", json!({"id": file}))]));
        let put = plane.admin("PUT", &key, body.clone());
        let expected = json!({
            "apiKey": id, "name": file, "subjectType": "workspaces", "subjectId": "w1", "disabled": false,
            "rules": [rule("files", json!({"id": file, "workspaceId": "w1"}))],
        });
        assert_eq!((put.status, &put.body), (200, &expected));
        assert!(!put.raw.contains(&raw));
        let revision = put.revision();
        assert_eq!(plane.admin("GET", KEYS, None).body, json!([expected]));
        // The same once more is no change.
        assert_eq!(plane.admin("PUT", &key, body).revision(), revision);
    }
    let changes = plane.sink.changes.lock().unwrap();
    assert_eq!(changes.len(), 3);
    let digests: Vec<_> = changes
        .iter()
        .map(|change| &change.put[0].secrets)
        .collect();
    assert_eq!(digests[0], digests[2], "the secret stays");
}

#[test]
fn a_key_is_switched_off_and_on_and_stays_as_it_is_where_nothing_is_said() {
    let plane = plane();
    let (id, _) = made(&plane, "w1");
    let key = format!("{KEYS}/{id}");
    for (said, disabled) in [
        (Some(true), true),
        (None, true),
        (Some(false), false),
        (None, false),
    ] {
        let mut body = json!({"name": "n", "rules": []});
        if let Some(said) = said {
            body["disabled"] = said.into();
        }
        let put = plane.admin("PUT", &key, Some(body));
        assert_eq!(put.body["disabled"], json!(disabled), "{said:?}");
    }
    let off = json!({"name": "off", "rules": [], "disabled": true});
    assert_eq!(
        plane.admin("POST", KEYS, Some(off)).body["disabled"],
        json!(true)
    );
    let changes = plane.sink.changes.lock().unwrap();
    let status = |change: usize| changes[change].put[0].record.status;
    assert_eq!(
        (status(1), status(2)),
        (KeyStatus::Disabled, KeyStatus::Active)
    );
}

#[test]
fn a_deleted_key_is_gone() {
    let plane = plane();
    for by_secret in [false, true] {
        let (id, raw) = made(&plane, "w1");
        let key = format!("{KEYS}/{}", if by_secret { &raw } else { &id });
        let deleted = plane.admin("DELETE", &key, None);
        assert_eq!(
            (deleted.status, &deleted.body),
            (200, &json!({"apiKey": id}))
        );
        assert!(!deleted.raw.contains(&raw));
        plane
            .admin("DELETE", &key, None)
            .refused(404, "ObjectNotFound");
        assert_eq!(plane.admin("GET", KEYS, None).body, json!([]));
        let changes = plane.sink.changes.lock().unwrap();
        assert_eq!(changes.last().unwrap().removed[0].as_str(), id);
    }
}

#[test]
fn what_is_not_there_is_404_whatever_there_is_elsewhere() {
    let plane = plane();
    let (other_id, other_raw) = made(&plane, "w2");
    let (org_id, org_raw) = plane.create(
        "acme",
        json!({"slug": "ci", "name": "n", "expiresAt": "2030-01-01T00:00:00Z"}),
    );
    let before = revisions(&plane);
    let nobody = "00000000-0000-4000-8000-000000000000";
    let body = |answer: &Answer| answer.body.to_string();
    let mut seen = Vec::new();
    for name in [
        nobody,
        "no-such-key",
        &other_id,
        &other_raw,
        &org_id,
        &org_raw,
        "ci",
        "%00",
        "a%2Fb",
    ] {
        let put = save("n", json!([]));
        for (method, sent) in [("GET", None), ("PUT", put), ("DELETE", None)] {
            let answer = plane.admin(method, &format!("{KEYS}/{name}"), sent);
            answer.refused(404, "ObjectNotFound");
            seen.push(body(&answer));
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "nothing tells what is elsewhere: {seen:?}");
    assert_eq!(revisions(&plane), before, "no key was made or changed");
}

/// Asserts that neither a new nor an old key may become this, and that nothing is written.
fn assert_refused(plane: &Plane, id: &str, body: &Value, field: &str) {
    let before = revisions(plane);
    for (method, path) in [("POST", KEYS.to_owned()), ("PUT", format!("{KEYS}/{id}"))] {
        let refused = plane.admin(method, &path, Some(body.clone()));
        let named = &refused.refused(400, "BadParameters")["field"];
        assert_eq!(named, &json!(field), "{body}");
    }
    assert_eq!(revisions(plane), before);
}

#[test]
fn what_is_wrong_with_a_key_is_named_and_nothing_is_written() {
    let plane = plane();
    let (id, _) = made(&plane, "w1");
    let long = "x".repeat(257);
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": "n"}), "rules"),
        (json!({"rules": []}), "name"),
        (json!({"name": "", "rules": []}), "name"),
        (json!({"name": long, "rules": []}), "name"),
        (json!({"name": "a\u{0}b", "rules": []}), "name"),
        (json!({"name": null, "rules": []}), "name"),
        (json!({"name": "n", "rules": null}), "rules"),
        (json!({"name": "n", "rules": {}}), "rules"),
        (
            json!({"name": "n", "rules": [], "disabled": null}),
            "disabled",
        ),
        (
            json!({"name": "n", "rules": [], "disabled": "no"}),
            "disabled",
        ),
        (json!({"name": "n", "rules": [], "apiKey": id}), "apiKey"),
        (
            json!({"name": "n", "rules": [], "subjectId": "w2"}),
            "subjectId",
        ),
        (
            json!({"name": "n", "rules": [], "__proto__": {}}),
            "__proto__",
        ),
        (
            json!({"name": "n", "rules": vec![rule("pages", json!({})); 257]}),
            "rules",
        ),
    ] {
        assert_refused(&plane, &id, &body, field);
    }
}

#[test]
fn what_is_wrong_with_a_rule_is_named_by_its_place() {
    let plane = plane();
    let (id, _) = made(&plane, "w1");
    for (rule, place) in [
        (json!(1), ""),
        (json!({"subject": "pages"}), ".action"),
        (json!({"action": "read"}), ".subject"),
        (json!({"action": [], "subject": "pages"}), ""),
        (
            json!({"action": "read", "subject": "pages", "allow": 1}),
            "",
        ),
        (
            json!({"action": "read", "subject": "pages", "fields": []}),
            ".fields",
        ),
        (
            json!({"action": "read", "subject": "pages", "priority": "1"}),
            "",
        ),
        (
            json!({"action": "read", "subject": ["files", "workspaces"], "conditions": {"id": "f1"}}),
            ".conditions.id",
        ),
    ] {
        let body = json!({"name": "n", "rules": [rule]});
        assert_refused(&plane, &id, &body, &format!("rules[0]{place}"));
    }
}

/// Among them what CASL would silently take for nothing, or for everything.
#[test]
fn what_is_wrong_with_conditions_is_named_by_its_place() {
    let plane = plane();
    let (id, _) = made(&plane, "w1");
    let deep = (0..8).fold(
        json!({"a": 1}),
        |inner, _| json!({"a": {"$elemMatch": inner}}),
    );
    for (conditions, place) in [
        (
            json!({"$or": [{"id": "a"}, {"id": "b"}]}),
            ".$or".to_owned(),
        ),
        (json!({"$and": []}), ".$and".to_owned()),
        (json!({"id": {"$not": "a"}}), ".id.$not".to_owned()),
        (
            json!({"id": {"$startsWith": "a"}}),
            ".id.$startsWith".to_owned(),
        ),
        (json!({"id": {"a": 1}}), ".id".to_owned()),
        (json!({"id": {"$in": "a"}}), ".id.$in".to_owned()),
        (json!({"id": {"$lt": true}}), ".id.$lt".to_owned()),
        (
            json!({"id": {"$regex": "(a+)+\\1"}}),
            ".id.$regex".to_owned(),
        ),
        (
            json!({"constructor.name": "a"}),
            ".constructor.name".to_owned(),
        ),
        (json!({"workspaceId": "w2"}), ".workspaceId".to_owned()),
        (deep, ".a.$elemMatch".repeat(8)),
    ] {
        let body = json!({"name": "n", "rules": [rule("pages", conditions)]});
        assert_refused(&plane, &id, &body, &format!("rules[0].conditions{place}"));
    }
    for conditions in [
        json!(null),
        json!([]),
        json!({"n": 9_007_199_254_740_993_u64}),
    ] {
        let body = json!({"name": "n", "rules": [rule("pages", conditions)]});
        assert_refused(&plane, &id, &body, "rules[0]");
    }
}

#[test]
fn a_body_that_is_no_object_or_holds_a_name_twice_is_refused() {
    let plane = plane();
    let admin = format!("Bearer {}", crate::control_support::ADMIN);
    let headers = [("authorization", admin.as_str())];
    let nested = format!(
        r#"{{"name":"n","rules":[{{"action":"read","subject":"pages","conditions":{}{}}}]}}"#,
        r#"{"a":"#.repeat(5000),
        "}".repeat(5000)
    );
    for (body, field) in [
        ("", "body"),
        ("[]", "body"),
        ("{", "body"),
        (r#"{"name":"n","rules":[]} {}"#, "body"),
        (r#"{"name":"n","name":"m","rules":[]}"#, "name"),
        (r#"{"name":"\ud800","rules":[]}"#, "name"),
        (r#"{"name":"n","rules":[],"rules":[{}]}"#, "rules"),
        (
            r#"{"name":"n","rules":[{"action":"read","subject":"pages","action":"manage"}]}"#,
            "rules[0]",
        ),
        (
            r#"{"name":"n","rules":[{"action":"read","subject":"pages","conditions":{"id":"a","\u0069d":"b"}}]}"#,
            "rules[0].conditions",
        ),
        (&nested, "rules[0].conditions"),
    ] {
        let refused = call(plane.address, "POST", KEYS, &headers, body.as_bytes());
        let named = refused.refused(400, "BadParameters")["field"]
            .as_str()
            .unwrap();
        assert!(named.starts_with(field), "{named} is not {field}");
    }
    let big = format!(
        r#"{{"name":"n","rules":[],"x":"{}"}}"#,
        "x".repeat(2 * 1024 * 1024)
    );
    call(plane.address, "POST", KEYS, &headers, big.as_bytes()).refused(413, "PayloadTooLarge");
    assert_eq!(revisions(&plane), 0);
}

#[test]
fn a_workspace_without_a_possible_id_is_refused() {
    let plane = plane();
    let long = "w".repeat(129);
    for id in [
        "%20",
        "w%2F1",
        "w%001",
        "*",
        "$%7Buser.id%7D",
        "w:1",
        &long,
        "%2e%2e",
    ] {
        let path = format!("/v2/workspaces/{id}/security/apikeys");
        let refused = plane.admin("GET", &path, None);
        assert_eq!(
            refused.refused(400, "BadParameters")["field"],
            json!("workspaceId"),
            "{id}"
        );
    }
}

#[test]
fn only_an_admin_token_manages_keys_of_workspaces() {
    let plane = plane();
    let everything = json!({
        "slug": "all", "name": "n", "permissions": ["*"], "scopes": ["*"], "expiresAt": "2030-01-01T00:00:00Z",
    });
    let (_, org) = plane.create("acme", everything);
    let rules = json!([{"action": "manage", "subject": "all"}]);
    let own = plane.admin("POST", KEYS, save("all", rules)).text("apiKey");
    let (id, _) = made(&plane, "w1");
    let before = revisions(&plane);
    let operations = |id: &str| {
        [
            ("GET", KEYS.to_owned(), None),
            ("POST", KEYS.to_owned(), save("n", json!([]))),
            ("GET", format!("{KEYS}/{id}"), None),
            ("PUT", format!("{KEYS}/{id}"), save("n", json!([]))),
            ("DELETE", format!("{KEYS}/{id}"), None),
        ]
    };
    // For those who may not, keys that exist and keys that do not are alike.
    for id in [id.as_str(), "no-such-key"] {
        for (method, path, body) in operations(id) {
            let missing = plane.call(method, &path, &[], body.clone());
            missing.refused(401, "AuthenticationError");
            for key in [&org, &own] {
                let refused = plane.with_key(key, method, &path, body.clone());
                let details = refused.refused(403, "ForbiddenError");
                assert_eq!(details["reason"], json!("family_not_accepted"));
            }
        }
    }
    assert_eq!(revisions(&plane), before);
}

#[test]
fn another_method_is_405() {
    let plane = plane();
    for (method, path) in [
        ("PATCH", format!("{KEYS}/x")),
        ("POST", format!("{KEYS}/x")),
        ("PUT", KEYS.to_owned()),
    ] {
        plane
            .admin(method, &path, None)
            .refused(405, "MethodNotAllowed");
    }
}

#[test]
fn the_audit_log_says_what_was_done_and_holds_no_secret() {
    let plane = plane();
    let (id, raw) = made(&plane, "w1");
    let key = format!("{KEYS}/{raw}");
    plane.admin("PUT", &key, save("renamed", json!([])));
    plane.admin("DELETE", &key, None);
    let log = plane.audit();
    let actions: Vec<_> = log
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["create", "update", "delete"]);
    for entry in &log {
        assert_eq!(
            (&entry["family"], &entry["tenant"], &entry["key_id"]),
            (&json!("workspace"), &json!("w1"), &json!(id))
        );
        assert!(!entry.to_string().contains(&raw));
    }
    assert!(log[1]["after_state"].as_str().unwrap().contains("renamed"));
}

#[test]
fn a_change_says_who_has_applied_it() {
    let plane = plane();
    let headers = [
        (
            "authorization",
            format!("Bearer {}", crate::control_support::ADMIN),
        ),
        ("prefer", "wait=5".to_owned()),
    ];
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let made = plane.call("POST", KEYS, &headers, save("n", json!([])));
    assert_eq!(made.header("keyward-acknowledged"), Some("1/1"));
}

#[test]
fn a_workspace_has_no_more_keys_than_its_list_shows() {
    use keyward::authz::Tenant;
    use keyward::control::{Caller, GivenSecret, KeyName, NewKey, RawKey};

    let plane = plane();
    let tenant = Tenant::Workspace("w1".to_owned());
    let raws: Vec<_> = (0..10_001)
        .map(|_| RawKey::of(&tenant, plane.clock.now()).unwrap())
        .collect();
    let key = NewKey {
        tenant: tenant.clone(),
        slug: None,
        name: KeyName::parse("n").unwrap(),
        owner: None,
        status: KeyStatus::Active,
        expires_at: None,
        grants: RawGrants::Workspace { rules: vec![] },
    };
    let insert = |raws: &[RawKey]| {
        let keys = raws
            .iter()
            .map(|raw| (key.clone(), GivenSecret::Raw(raw)))
            .collect();
        let inserted = plane
            .control
            .keys()
            .insert_keys(Caller::program("test"), keys);
        plane.runtime.block_on(inserted)
    };
    assert!(matches!(insert(&raws), Err(CommandError::Invalid(_))));
    insert(&raws[1..]).unwrap();
    assert_eq!(
        plane
            .admin("GET", KEYS, None)
            .body
            .as_array()
            .unwrap()
            .len(),
        10_000
    );
    let refused = plane.admin("POST", KEYS, save("n", json!([])));
    assert_eq!(
        refused.refused(400, "BadParameters")["field"],
        json!("workspaceId")
    );
    made(&plane, "w2");
}
