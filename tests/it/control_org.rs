//! Organisation keys over HTTP: what each operation does, and what it refuses.

use serde_json::{Value, json};

use super::{directory, plane};
use crate::control_support::{ADMIN, Plane, look_into};

const KEYS: &str = "/v2/orgs/acme/api-keys";

fn new_key(slug: &str) -> Value {
    json!({
        "slug": slug,
        "name": "Continuous integration",
        "permissions": ["agent-factory:agents:read"],
        "scopes": ["agents:a1"],
        "ownerType": "agent",
        "ownerId": "a1",
        "expiresAt": "2030-01-01T00:00:00Z",
    })
}

#[test]
fn a_key_is_created_and_its_secret_shown_once() {
    let plane = plane();
    let made = plane.admin("POST", KEYS, Some(new_key("ci")));
    assert_eq!(made.status, 201, "{}", made.raw);
    assert_eq!(made.header("content-type"), Some("application/json"));
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert_eq!(made.revision(), 1);
    let mut body = made.body.clone();
    let body = body.as_object_mut().unwrap();
    let id = body.remove("id").unwrap();
    let raw = body.remove("apiKey").unwrap();
    let mut expected = new_key("ci");
    expected["expiresAt"] = json!("2030-01-01T00:00:00.000Z");
    assert_eq!(Value::Object(body.clone()), expected);
    let uuid = raw
        .as_str()
        .unwrap()
        .strip_prefix("iak_acme_")
        .expect("the form of a key");
    assert_eq!(uuid.len(), 36);

    let got = plane.admin("GET", &format!("{KEYS}/{}", id.as_str().unwrap()), None);
    assert_eq!(got.status, 200);
    expected["id"] = id;
    expected["disabled"] = json!(false);
    expected["createdAt"] = json!("2026-11-20T00:00:00.000Z");
    expected["updatedAt"] = expected["createdAt"].clone();
    assert_eq!(got.body, expected);
    assert_eq!(
        plane.admin("GET", &format!("{KEYS}/ci"), None).body,
        expected
    );
    assert!(!got.raw.contains(uuid));
    assert!(!plane.admin("GET", KEYS, None).raw.contains(uuid));
}

#[test]
fn only_what_is_stated_is_answered() {
    let plane = plane();
    let made = plane.admin(
        "POST",
        KEYS,
        Some(json!({"slug": "bare", "name": "n", "expiresAt": "2030-01-01T01:00:00+01:00"})),
    );
    assert_eq!(made.status, 201);
    let members: Vec<_> = made.body.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        [
            "id",
            "slug",
            "apiKey",
            "name",
            "permissions",
            "scopes",
            "expiresAt"
        ]
    );
    assert_eq!(made.text("expiresAt"), "2030-01-01T00:00:00.000Z");
}

#[test]
fn what_is_wrong_with_a_new_key_is_named() {
    let plane = plane();
    let cases = [
        ("slug", json!(null)),
        ("slug", json!("")),
        ("slug", json!("with space")),
        ("slug", json!("a/b")),
        ("slug", json!("..")),
        ("slug", json!("validate")),
        ("slug", json!("x".repeat(129))),
        ("slug", json!("nul\u{0}")),
        ("name", json!("")),
        ("name", json!("x".repeat(257))),
        ("name", json!("line\nbreak")),
        ("name", json!("nul\u{0}")),
        ("name", json!(7)),
        ("permissions", json!("orgs:*")),
        ("permissions", json!(["orgs:*:read"])),
        ("permissions", json!(["single"])),
        ("permissions", json!(vec!["orgs:read"; 1025])),
        ("scopes", json!(["agents:*:x"])),
        ("scopes", json!(["agents:a\u{0}"])),
        ("scopes", json!({})),
        ("ownerType", json!("")),
        ("ownerType", json!(["agent"])),
        ("ownerId", json!("\u{7}")),
        ("expiresAt", json!("2026-11-20T00:00:00Z")),
        ("expiresAt", json!("1970-01-01T00:00:00Z")),
        ("expiresAt", json!("2030-01-01")),
        ("expiresAt", json!("2030-01-01T00:00:00")),
        ("expiresAt", json!("2030-02-30T00:00:00Z")),
        ("expiresAt", json!("soon")),
        ("expiresAt", json!(1_900_000_000)),
        ("expiresAt", json!(null)),
        ("id", json!("mine")),
        ("orgSlug", json!("acme")),
        ("hash", json!("00")),
        (
            "apiKey",
            json!("iak_acme_00000000-0000-0000-0000-000000000000"),
        ),
        ("createdAt", json!("2020-01-01T00:00:00Z")),
        ("revision", json!(9)),
        ("isSystem", json!(true)),
        ("disabled", json!(false)),
        ("__proto__", json!({})),
    ];
    for (field, value) in cases {
        let mut body = new_key("ci");
        body[field] = value.clone();
        let refused = plane.admin("POST", KEYS, Some(body));
        let details = refused.refused(400, "BadParameters");
        let named = details["field"].as_str().unwrap();
        assert!(named.starts_with(field), "{field} = {value}: {named}");
        assert!(refused.text("message").contains(named));
    }
    assert_eq!(plane.admin("GET", KEYS, None).body["total"], json!(0));
    assert!(plane.sink.changes.lock().unwrap().is_empty());
}

#[test]
fn what_a_new_key_lacks_is_named() {
    let plane = plane();
    for missing in ["slug", "name", "expiresAt"] {
        let mut body = new_key("ci");
        body.as_object_mut().unwrap().remove(missing);
        let refused = plane.admin("POST", KEYS, Some(body));
        assert_eq!(
            refused.refused(400, "BadParameters")["field"],
            json!(missing)
        );
    }
    let mut body = new_key("ci");
    body.as_object_mut().unwrap().remove("ownerType");
    let refused = plane.admin("POST", KEYS, Some(body));
    assert_eq!(
        refused.refused(400, "BadParameters")["field"],
        json!("ownerId")
    );
}

#[test]
fn a_body_that_is_no_object_or_holds_a_name_twice_is_refused() {
    let plane = plane();
    let twice = r#"{"slug":"a","slug":"b","name":"n","expiresAt":"2030-01-01T00:00:00Z"}"#;
    for (text, field) in [
        (twice, "slug"),
        ("", "body"),
        ("[]", "body"),
        ("\"x\"", "body"),
        ("{", "body"),
        ("\u{feff}{}", "body"),
        (
            r#"{"slug":"\ud800","name":"n","expiresAt":"2030-01-01T00:00:00Z"}"#,
            "slug",
        ),
    ] {
        let authorization = format!("Bearer {ADMIN}");
        let refused = crate::control_support::call(
            plane.address,
            "POST",
            KEYS,
            &[("authorization", &authorization)],
            text.as_bytes(),
        );
        assert_eq!(
            refused.refused(400, "BadParameters")["field"],
            json!(field),
            "{text}"
        );
    }
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let plane = plane();
    let mut body = new_key("ci");
    body["name"] = json!("x".repeat(1024 * 1024));
    plane
        .admin("POST", KEYS, Some(body))
        .refused(413, "PayloadTooLarge");
    body = new_key("ci");
    body["name"] = json!("x".repeat(1024 * 1023));
    plane
        .admin("POST", KEYS, Some(body))
        .refused(400, "BadParameters");
}

#[test]
fn an_organisation_without_a_possible_name_is_refused() {
    let plane = plane();
    for org in [
        "ACME",
        "-acme",
        "a_b",
        "a.b",
        &"x".repeat(64),
        "%00",
        "%C3%A9",
    ] {
        let path = format!("/v2/orgs/{org}/api-keys");
        let refused = plane.admin("POST", &path, Some(new_key("ci")));
        assert_eq!(
            refused.refused(400, "BadParameters")["field"],
            json!("orgSlug"),
            "{org}"
        );
    }
    plane
        .admin("GET", "/v2/orgs/%FF/api-keys", None)
        .refused(400, "BadParameters");
}

#[test]
fn a_slug_is_unique_within_its_organisation() {
    let plane = plane();
    plane.create("acme", new_key("ci"));
    let taken = plane.admin("POST", KEYS, Some(new_key("ci")));
    assert_eq!(taken.refused(409, "Conflict")["field"], json!("slug"));
    plane.create("other", new_key("ci"));
    plane.create("acme", new_key("CI"));
}

#[test]
fn of_a_hundred_creations_of_one_slug_at_once_one_succeeds() {
    let plane = plane();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..100)
            .map(|_| scope.spawn(|| plane.admin("POST", KEYS, Some(new_key("ci"))).status))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1);
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 99);
    assert_eq!(plane.sink.changes.lock().unwrap().len(), 1);
}

#[test]
fn lists_are_filtered_sorted_and_cut_into_pages() {
    let plane = plane();
    for (slug, name, owner) in [("c", "Anna", "x"), ("a", "Carl", "y"), ("b", "Berta", "x")] {
        let body = json!({
            "slug": slug, "name": name, "ownerType": "agent", "ownerId": owner,
            "expiresAt": format!("203{}-01-01T00:00:00Z", slug.len() + usize::from(slug.as_bytes()[0] - b'a')),
        });
        plane.create("acme", body);
        plane.clock.advance(1);
    }
    plane.create("other", new_key("z"));
    let slugs = |query: &str| -> Vec<String> {
        let list = plane.admin("GET", &format!("{KEYS}{query}"), None);
        assert_eq!(list.status, 200, "{}", list.raw);
        let results = list.body["results"].as_array().unwrap();
        results
            .iter()
            .map(|key| key["slug"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(slugs(""), ["b", "a", "c"]);
    assert_eq!(slugs("?sort=createdAt"), ["c", "a", "b"]);
    assert_eq!(slugs("?sort=-slug"), ["c", "b", "a"]);
    assert_eq!(slugs("?sort=name"), ["c", "b", "a"]);
    assert_eq!(slugs("?sort=expiresAt"), ["a", "b", "c"]);
    assert_eq!(slugs("?sort=-updatedAt&limit=1"), ["b"]);
    assert_eq!(slugs("?sort=slug&limit=2&page=2"), ["c"]);
    assert_eq!(slugs("?page=4294967295"), [""; 0]);
    assert_eq!(slugs("?ownerType=agent&ownerId=x"), ["b", "c"]);
    assert_eq!(slugs("?ownerId=y"), ["a"]);
    assert_eq!(
        slugs("?ownerType=%27%3B%20DROP%20TABLE%20keys%3B--"),
        [""; 0]
    );
    let page = plane.admin("GET", &format!("{KEYS}?limit=1"), None);
    assert_eq!(page.body["total"], json!(3));
}

#[test]
fn what_is_wrong_with_a_list_is_named() {
    let plane = plane();
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=1e308", "page"),
        ("page=99999999999999999999", "page"),
        ("sort=digest", "sort"),
        ("sort=--name", "sort"),
        ("sort=", "sort"),
        ("order=name", "order"),
    ] {
        let refused = plane.admin("GET", &format!("{KEYS}?{query}"), None);
        assert_eq!(
            refused.refused(400, "BadParameters")["field"],
            json!(field),
            "{query}"
        );
    }
}

#[test]
fn a_patch_changes_what_it_states_and_nothing_else() {
    let plane = plane();
    let (id, _) = plane.create("acme", new_key("ci"));
    let before = plane.admin("GET", &format!("{KEYS}/{id}"), None).body;
    plane.clock.advance(5);
    let cases = [
        (json!({"name": "New"}), json!({"name": "New"})),
        (
            json!({"permissions": ["orgs:*"]}),
            json!({"permissions": ["orgs:*"]}),
        ),
        (json!({"scopes": []}), json!({"scopes": []})),
        (json!({"disabled": true}), json!({"disabled": true})),
        (json!({"disabled": false}), json!({"disabled": false})),
        (
            json!({"expiresAt": "2031-01-01T00:00:00.5Z"}),
            json!({"expiresAt": "2031-01-01T00:00:00.500Z"}),
        ),
        (
            json!({"expiresAt": "2020-01-01T00:00:00Z"}),
            json!({"expiresAt": "2020-01-01T00:00:00.000Z"}),
        ),
        (json!({"ownerType": "user"}), json!({"ownerType": "user"})),
        (json!({"ownerId": "u1"}), json!({"ownerId": "u1"})),
        (json!({"ownerId": null}), json!({"ownerId": null})),
        (json!({"ownerType": null}), json!({"ownerType": null})),
        (
            json!({"ownerType": "app", "ownerId": "b2"}),
            json!({"ownerType": "app", "ownerId": "b2"}),
        ),
    ];
    let mut expected = before;
    expected["updatedAt"] = json!("2026-11-20T00:00:05.000Z");
    for (revision, (patch, difference)) in (2..).zip(cases) {
        for (member, value) in difference.as_object().unwrap() {
            if value.is_null() {
                expected.as_object_mut().unwrap().remove(member);
            } else {
                expected[member] = value.clone();
            }
        }
        let patched = plane.admin("PATCH", &format!("{KEYS}/ci"), Some(patch.clone()));
        assert_eq!(patched.status, 200, "{patch}: {}", patched.raw);
        assert_eq!(patched.body, expected, "{patch}");
        assert_eq!(patched.revision(), revision);
        assert_eq!(
            plane.admin("GET", &format!("{KEYS}/{id}"), None).body,
            expected
        );
    }
}

#[test]
fn a_patch_that_changes_nothing_makes_no_revision() {
    let plane = plane();
    plane.create("acme", new_key("ci"));
    for body in [
        json!({}),
        json!({"name": "Continuous integration", "disabled": false}),
    ] {
        let patched = plane.admin("PATCH", &format!("{KEYS}/ci"), Some(body));
        assert_eq!((patched.status, patched.revision()), (200, 1));
        assert_eq!(patched.text("updatedAt"), "2026-11-20T00:00:00.000Z");
    }
    assert_eq!(plane.sink.changes.lock().unwrap().len(), 1);
}

#[test]
fn what_is_wrong_with_a_patch_is_named() {
    let plane = plane();
    plane.create("acme", new_key("ci"));
    plane.create(
        "acme",
        json!({"slug": "bare", "name": "n", "expiresAt": "2030-01-01T00:00:00Z"}),
    );
    for (key, body, field) in [
        ("ci", json!({"name": null}), "name"),
        ("ci", json!({"permissions": null}), "permissions"),
        ("ci", json!({"scopes": null}), "scopes"),
        ("ci", json!({"expiresAt": null}), "expiresAt"),
        ("ci", json!({"disabled": null}), "disabled"),
        ("ci", json!({"disabled": "yes"}), "disabled"),
        ("ci", json!({"slug": "other"}), "slug"),
        ("ci", json!({"id": "x"}), "id"),
        ("ci", json!({"permissions": ["*:*"]}), "permissions"),
        ("ci", json!({"ownerType": null, "ownerId": "x"}), "ownerId"),
        ("bare", json!({"ownerId": "x"}), "ownerId"),
    ] {
        let refused = plane.admin("PATCH", &format!("{KEYS}/{key}"), Some(body.clone()));
        assert_eq!(
            refused.refused(400, "BadParameters")["field"],
            json!(field),
            "{body}"
        );
    }
}

#[test]
fn what_is_not_there_is_404_for_every_operation() {
    let plane = plane();
    plane.create("other", new_key("ci"));
    for (method, path, body) in [
        ("GET", "/v2/orgs/acme/api-keys/ci", None),
        (
            "PATCH",
            "/v2/orgs/acme/api-keys/ci",
            Some(json!({"name": "n"})),
        ),
        ("DELETE", "/v2/orgs/acme/api-keys/ci", None),
        ("POST", "/v2/orgs/acme/api-keys/ci/rotate", None),
        ("GET", "/v2/orgs/acme", None),
        ("GET", "/", None),
        ("GET", "/v2/orgs/acme/api-keys/ci/", None),
        ("GET", "/v1/gateways/one/two", None),
        ("GET", "/sync/v1/", None),
        ("GET", "/sync/v2/snapshot", None),
    ] {
        plane
            .admin(method, path, body)
            .refused(404, "ObjectNotFound");
    }
}

#[test]
fn another_method_is_405_and_the_right_ones_are_named() {
    let plane = plane();
    let refused = plane.admin("PUT", KEYS, None);
    refused.refused(405, "MethodNotAllowed");
    let mut allowed: Vec<_> = refused.header("allow").unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    plane
        .admin("GET", &format!("{KEYS}/validate"), None)
        .refused(405, "MethodNotAllowed");
}

#[test]
fn a_deleted_key_is_gone() {
    let plane = plane();
    let (id, _) = plane.create("acme", new_key("ci"));
    let deleted = plane.admin("DELETE", &format!("{KEYS}/ci"), None);
    assert_eq!((deleted.status, deleted.revision()), (200, 2));
    assert_eq!(deleted.body, json!({"success": true}));
    plane
        .admin("GET", &format!("{KEYS}/{id}"), None)
        .refused(404, "ObjectNotFound");
    plane
        .admin("DELETE", &format!("{KEYS}/{id}"), None)
        .refused(404, "ObjectNotFound");
    let changes = plane.sink.changes.lock().unwrap();
    assert_eq!(changes[1].removed[0].as_str(), id);
    drop(changes);
    plane.create("acme", new_key("ci"));
}

#[test]
fn a_rotation_ends_the_former_secret_at_once_or_after_its_grace() {
    let plane = plane();
    let (id, first) = plane.create("acme", new_key("ci"));
    let rotate = |body| plane.admin("POST", &format!("{KEYS}/ci/rotate"), body);
    let works = |key: &str| {
        plane
            .with_key(key, "POST", &format!("{KEYS}/validate"), None)
            .status
            == 200
    };

    let second = rotate(None);
    assert_eq!(second.status, 200, "{}", second.raw);
    assert_eq!(second.text("id"), id);
    assert_eq!(second.text("expiresAt"), "2030-01-01T00:00:00.000Z");
    let second = second.text("apiKey");
    assert!(!works(&first) && works(&second));

    let third = rotate(Some(json!({"gracePeriodSeconds": 60}))).text("apiKey");
    assert!(works(&second) && works(&third));
    plane.clock.advance(59);
    assert!(works(&second));
    plane.clock.advance(1);
    assert!(!works(&second) && works(&third));

    rotate(Some(json!({"gracePeriodSeconds": 1000})));
    rotate(Some(json!({})));
    assert!(
        !works(&third),
        "a rotation at once ends every former secret"
    );

    assert_eq!(
        rotate(Some(json!(null))).status,
        200,
        "no body in other words"
    );
    let renewed = rotate(Some(json!({"expiresAt": "2031-01-01T00:00:00Z"})));
    assert_eq!(renewed.text("expiresAt"), "2031-01-01T00:00:00.000Z");
}

#[test]
fn what_is_wrong_with_a_rotation_is_named() {
    let plane = plane();
    plane.create("acme", new_key("ci"));
    for (body, field) in [
        (json!({"gracePeriodSeconds": -1}), "gracePeriodSeconds"),
        (
            json!({"gracePeriodSeconds": 2_592_001}),
            "gracePeriodSeconds",
        ),
        (json!({"gracePeriodSeconds": 1.5}), "gracePeriodSeconds"),
        (json!({"gracePeriodSeconds": null}), "gracePeriodSeconds"),
        (json!({"expiresAt": "2020-01-01T00:00:00Z"}), "expiresAt"),
        (json!({"expiresAt": null}), "expiresAt"),
        (json!({"apiKey": "mine"}), "apiKey"),
    ] {
        let refused = plane.admin("POST", &format!("{KEYS}/ci/rotate"), Some(body.clone()));
        assert_eq!(
            refused.refused(400, "BadParameters")["field"],
            json!(field),
            "{body}"
        );
    }
    let longest = json!({"gracePeriodSeconds": 2_592_000});
    assert_eq!(
        plane
            .admin("POST", &format!("{KEYS}/ci/rotate"), Some(longest))
            .status,
        200
    );
}

#[test]
fn validation_needs_no_token_and_tells_strangers_nothing() {
    let plane = plane();
    let (_, live) = plane.create("acme", new_key("live"));
    let (_, disabled) = plane.create("acme", new_key("disabled"));
    plane.admin(
        "PATCH",
        &format!("{KEYS}/disabled"),
        Some(json!({"disabled": true})),
    );
    let (_, rotated) = plane.create("acme", new_key("rotated"));
    plane.admin("POST", &format!("{KEYS}/rotated/rotate"), None);
    let mut short = new_key("short");
    short["expiresAt"] = json!("2026-11-20T00:00:01Z");
    let (_, expired) = plane.create("acme", short);
    let (_, foreign) = plane.create("other", new_key("foreign"));
    plane.clock.advance(1);
    let path = format!("{KEYS}/validate");
    let in_body = |key: &str| Some(json!({"apiKey": key}));

    let valid = plane.call("POST", &path, &[], in_body(&live));
    assert_eq!(valid.status, 200, "{}", valid.raw);
    assert_eq!(valid.text("slug"), "live");
    assert!(!valid.raw.contains(&live));
    assert_eq!(plane.with_key(&live, "POST", &path, None).body, valid.body);
    assert_eq!(
        plane.with_key(&live, "POST", &path, in_body(&live)).body,
        valid.body
    );

    let unknown = "iak_acme_00000000-0000-4000-8000-000000000000";
    let mut refusals: Vec<_> = [
        unknown, &disabled, &rotated, &expired, &foreign, "nonsense", "", ADMIN,
    ]
    .into_iter()
    .map(|key| plane.call("POST", &path, &[], in_body(key)))
    .collect();
    refusals.push(plane.call("POST", &path, &[], None));
    refusals.push(plane.with_key(&live, "POST", &path, in_body(unknown)));
    refusals.push(plane.call(
        "POST",
        "/v2/orgs/nobody/api-keys/validate",
        &[],
        in_body(&live),
    ));
    refusals.push(plane.call(
        "POST",
        "/v2/orgs/NOBODY/api-keys/validate",
        &[],
        in_body(&live),
    ));
    for refused in &refusals {
        refused.refused(401, "AuthenticationError");
        assert_eq!(refused.body, refusals[0].body);
        assert_eq!(
            refused.header("www-authenticate"),
            refusals[0].header("www-authenticate")
        );
    }
    let refused = plane.call("POST", &path, &[], Some(json!({"key": live})));
    assert_eq!(refused.refused(400, "BadParameters")["field"], json!("key"));
}

#[test]
fn validation_is_limited_in_its_rate() {
    let plane = plane();
    let path = format!("{KEYS}/validate");
    let statuses: Vec<_> = (0..400)
        .map(|_| plane.call("POST", &path, &[], None).status)
        .collect();
    assert!(statuses[..100].iter().all(|status| *status == 401));
    assert!(statuses.contains(&429));
    assert_eq!(plane.admin("GET", KEYS, None).status, 200);
}

#[test]
fn a_change_says_who_has_applied_it() {
    let plane = plane();
    let bearer = format!("Bearer {ADMIN}");
    let headers = [("authorization", bearer.as_str()), ("prefer", "wait=10")];
    let made = plane.call("POST", KEYS, &headers, Some(new_key("ci")));
    assert_eq!(made.status, 201);
    assert_eq!(made.header("preference-applied"), Some("wait=10"));
    assert_eq!(made.header("keyward-acknowledged"), Some("1/1"));
    let quiet = plane.admin("PATCH", &format!("{KEYS}/ci"), Some(json!({"name": "n"})));
    assert_eq!(quiet.header("preference-applied"), None);
    assert_eq!(quiet.header("keyward-acknowledged"), None);
    assert_eq!(plane.admin("GET", KEYS, None).revision(), 2);
}

#[test]
fn without_a_gateway_nobody_has_to_apply_a_change() {
    let directory = directory();
    let plane = Plane::start_alone(directory.path());
    let bearer = format!("Bearer {ADMIN}");
    let headers = [("authorization", bearer.as_str()), ("prefer", "wait=10")];
    let made = plane.call("POST", KEYS, &headers, Some(new_key("ci")));
    assert_eq!(made.header("keyward-acknowledged"), Some("0/0"));
    assert_eq!(made.revision(), 1);
}

#[test]
fn of_rotations_patches_and_a_deletion_at_once_nothing_outlives_the_deletion() {
    let plane = plane();
    plane.create("acme", new_key("ci"));
    let path = format!("{KEYS}/ci");
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (plane, path) = (&plane, &path);
            scope.spawn(move || {
                for n in 0..10 {
                    let name = json!({"name": format!("{worker}-{n}")});
                    let answers = [
                        plane.admin("PATCH", path, Some(name)),
                        plane.admin("POST", &format!("{path}/rotate"), None),
                    ];
                    assert!(
                        answers
                            .iter()
                            .all(|answer| [200, 404].contains(&answer.status))
                    );
                }
            });
        }
        scope.spawn(|| {
            while plane.control.keys().revision().0 < 10 {
                std::thread::yield_now();
            }
            assert_eq!(plane.admin("DELETE", &path, None).status, 200);
        });
    });
    let changes = plane.sink.changes.lock().unwrap();
    // Where control planes share a store, one change may lead over several revisions.
    let led: Vec<_> = changes.iter().map(|change| change.previous.0).collect();
    let to: Vec<_> = changes.iter().map(|change| change.revision.0).collect();
    assert_eq!((led.first(), &led[1..]), (Some(&0), &to[..to.len() - 1]));
    let (last, earlier) = changes.split_last().unwrap();
    assert_eq!((last.removed.len(), last.put.len()), (1, 0));
    assert!(earlier.iter().all(|change| change.removed.is_empty()));
    plane
        .admin("GET", &path, None)
        .refused(404, "ObjectNotFound");
}

#[test]
fn what_is_no_http_is_refused_and_the_next_is_served() {
    use std::io::{Read as _, Write as _};
    let plane = plane();
    for (request, status) in [
        ("nonsense\r\n\r\n".to_owned(), "400"),
        (
            format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(70_000)),
            "431",
        ),
        (
            format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101)),
            "431",
        ),
        (
            "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(),
            "400",
        ),
    ] {
        let mut stream = std::net::TcpStream::connect(plane.address).unwrap();
        _ = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        _ = stream.read_to_string(&mut answer);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer:?}"
        );
    }
    assert_eq!(plane.call("GET", "/healthz", &[], None).status, 200);
}

#[test]
fn operators_see_health_readiness_and_figures() {
    let plane = plane();
    plane.create("acme", new_key("ci"));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(plane.call("GET", path, &[], None).status, 200);
    }
    let metrics = plane.call("GET", "/metrics", &[], None);
    for line in [
        "keyward_keys 1\n",
        "keyward_revision 1\n",
        r#"keyward_control_requests_total{method="POST",route="/v2/orgs/{orgSlug}/api-keys",status="201"} 1"#,
    ] {
        assert!(metrics.raw.contains(line), "{line} in {}", metrics.raw);
    }
}

#[test]
fn a_key_in_the_wrong_place_is_not_repeated() {
    let plane = plane();
    let (_, raw) = plane.create("acme", new_key("ci"));
    let mut permitted = new_key("two");
    permitted["permissions"] = json!([raw]);
    for refused in [
        plane.admin("POST", KEYS, Some(permitted)),
        plane.admin("POST", KEYS, Some(json!({raw.as_str(): 1}))),
        plane.admin("GET", &format!("{KEYS}?{raw}=1"), None),
    ] {
        assert_eq!(refused.status, 400, "{}", refused.raw);
        assert!(!refused.raw.contains(&raw), "{}", refused.raw);
    }
}

#[test]
fn strangers_who_ask_for_figures_make_nobody_count_the_keys_again() {
    let plane = plane();
    let keys = || {
        let metrics = plane.call("GET", "/metrics", &[], None).raw;
        let mut lines = metrics.lines();
        let line = lines.find_map(|line| line.strip_prefix("keyward_keys "));
        line.unwrap().to_owned()
    };
    plane.create("acme", new_key("one"));
    plane.create("acme", new_key("two"));
    assert_eq!(keys(), "2");
    // Past the control plane, so that it shows when it looks.
    let mut database = look_into(plane.directory());
    database.execute("DELETE FROM secrets");
    database.execute("DELETE FROM keys");
    assert_eq!(keys(), "2");
    plane.create("acme", new_key("three"));
    assert_eq!(keys(), "1");
}

#[test]
fn no_slug_passes_for_the_id_of_another_key() {
    let plane = plane();
    let keys = "/v2/orgs/acme/api-keys";
    let key = |slug: &str| json!({"slug": slug, "name": "n", "expiresAt": "2030-01-01T00:00:00Z"});
    let (id, _) = plane.create("acme", key("first"));
    for slug in [id.clone(), id.to_uppercase()] {
        let refused = plane.admin("POST", keys, Some(key(&slug)));
        let details = refused.refused(400, "BadParameters");
        assert_eq!(details["field"], json!("slug"));
    }
    plane.create("acme", key(id.strip_prefix('0').unwrap()));
    plane.create("acme", key(&format!("{id}x")));
}

#[test]
fn what_cannot_be_meant_is_refused_by_name_and_not_echoed_whole() {
    let plane = plane();
    let keys = "/v2/orgs/acme/api-keys";
    let key = json!({"slug": "ci", "name": "n", "expiresAt": "2030-01-01T00:00:00Z"});
    plane.create("acme", key.clone());
    let of_workspace = "/v2/workspaces/w1/security/apikeys";
    for (path, field) in [
        (format!("{keys}?limit="), "limit"),
        (format!("{keys}?page="), "page"),
        (format!("{keys}?sort="), "sort"),
        (format!("{keys}?ownerType="), "ownerType"),
        (format!("{keys}?ownerType=%ff"), "ownerType"),
        (format!("{keys}/ci?verbose=1"), "verbose"),
        (format!("{of_workspace}?limit=1"), "limit"),
        ("/v2/api-keys?limit=".to_owned(), "limit"),
    ] {
        let refused = plane.admin("GET", &path, None);
        assert_eq!(refused.status, 400, "{path}: {}", refused.raw);
        assert!(
            refused.raw.contains(&format!(r#""field":"{field}""#)),
            "{}",
            refused.raw
        );
    }
    for field in ["ownerType", "ownerId"] {
        let mut null = key.clone();
        null[field] = Value::Null;
        let refused = plane.admin("POST", keys, Some(null));
        assert_eq!(refused.refused(400, "BadParameters")["field"], json!(field));
    }
    let mut unknown = key;
    unknown["x".repeat(100_000)] = json!(1);
    let refused = plane.admin("POST", keys, Some(unknown));
    let details = refused.refused(400, "BadParameters");
    assert_eq!(
        details["field"].as_str().unwrap(),
        format!("{}…", "x".repeat(256))
    );
    assert!(refused.raw.len() < 4_096, "{}", refused.raw.len());
}
