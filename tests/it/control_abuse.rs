//! Every operation that the control plane serves, with every credential but the right one, with ids of others, and with
//! values that mean something to a database.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::plane;
use crate::authz_properties::{SEED, setting};
use crate::control_gateway::Gateway;
use crate::control_support::{ADMIN, Answer, GATEWAY, Plane};
use crate::generate::{Gen, grants};
use crate::model;

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Anybody: nothing secret is behind it.
    Open,
    /// Whoever shows a live key of the organisation, to be told about that key.
    OwnKey,
    /// Gateways.
    Gateway,
    /// Administrators.
    Admin,
    /// Administrators, and keys of the organisation that may manage keys.
    Org,
}

/// Everything that is served; what ends something comes last.
const OPERATIONS: &[(&str, &str, Door)] = &[
    ("GET", "/healthz", Door::Open),
    ("GET", "/readyz", Door::Open),
    ("GET", "/metrics", Door::Open),
    ("GET", "/openapi.json", Door::Open),
    ("POST", "/v2/orgs/{orgSlug}/api-keys/validate", Door::OwnKey),
    ("GET", "/sync/v1/snapshot", Door::Gateway),
    ("GET", "/sync/v1/changes", Door::Gateway),
    ("POST", "/sync/v1/ack", Door::Gateway),
    ("POST", "/sync/v1/usage", Door::Gateway),
    ("POST", "/sync/v1/leave", Door::Gateway),
    ("GET", "/v1/export", Door::Admin),
    ("GET", "/v1/audit", Door::Admin),
    ("GET", "/v1/gateways", Door::Admin),
    ("GET", "/v1/gateway-tokens", Door::Admin),
    ("GET", "/v2/api-keys", Door::Admin),
    ("GET", "/v2/api-keys/capabilities", Door::Admin),
    ("GET", "/v2/api-keys/{api_key_id}", Door::Admin),
    (
        "GET",
        "/v2/workspaces/{workspaceId}/security/apikeys",
        Door::Admin,
    ),
    (
        "GET",
        "/v2/workspaces/{workspaceId}/security/apikeys/{apiKey}",
        Door::Admin,
    ),
    ("GET", "/v2/orgs/{orgSlug}/api-keys", Door::Org),
    ("GET", "/v2/orgs/{orgSlug}/api-keys/{keyId}", Door::Org),
    ("POST", "/v1/import", Door::Admin),
    ("POST", "/v1/gateway-tokens", Door::Admin),
    ("POST", "/v2/api-keys", Door::Admin),
    (
        "POST",
        "/v2/workspaces/{workspaceId}/security/apikeys",
        Door::Admin,
    ),
    ("POST", "/v2/orgs/{orgSlug}/api-keys", Door::Org),
    ("PATCH", "/v2/api-keys/{api_key_id}", Door::Admin),
    (
        "PUT",
        "/v2/workspaces/{workspaceId}/security/apikeys/{apiKey}",
        Door::Admin,
    ),
    ("PATCH", "/v2/orgs/{orgSlug}/api-keys/{keyId}", Door::Org),
    (
        "POST",
        "/v2/orgs/{orgSlug}/api-keys/{keyId}/rotate",
        Door::Org,
    ),
    ("DELETE", "/v1/gateways/{id}", Door::Admin),
    ("DELETE", "/v1/gateway-tokens/{name}", Door::Admin),
    ("DELETE", "/v2/api-keys/{api_key_id}", Door::Admin),
    (
        "DELETE",
        "/v2/workspaces/{workspaceId}/security/apikeys/{apiKey}",
        Door::Admin,
    ),
    ("DELETE", "/v2/orgs/{orgSlug}/api-keys/{keyId}", Door::Org),
];

/// The words in the paths for what is there. None of them may stand in a refusal.
#[derive(Clone)]
struct Ids {
    org: String,
    workspace: String,
    of_org: String,
    of_workspace: String,
    of_access: String,
    gateway: String,
    token: String,
}

impl Ids {
    fn fill(&self, pattern: &str) -> String {
        pattern
            .replace("{orgSlug}", &self.org)
            .replace("{workspaceId}", &self.workspace)
            .replace("{keyId}", &self.of_org)
            .replace("{apiKey}", &self.of_workspace)
            .replace("{api_key_id}", &self.of_access)
            .replace("{id}", &self.gateway)
            .replace("{name}", &self.token)
    }
}

/// What an operation would do if it were let.
fn body(method: &str, pattern: &str) -> Option<Value> {
    let rules = json!([{"action": "read", "subject": "pages"}]);
    let body = match (method, pattern) {
        ("POST", "/v1/gateway-tokens") => json!({"name": "mine"}),
        ("POST" | "PATCH", path) if path.starts_with("/v2/api-keys") => json!({"name": "mine"}),
        ("POST" | "PUT", path) if path.starts_with("/v2/workspaces") => {
            json!({"name": "mine", "rules": rules})
        }
        ("POST", "/v2/orgs/{orgSlug}/api-keys") => org_key("mine", &["a:b"], &[]),
        ("PATCH", _) => json!({"name": "mine"}),
        ("POST", "/v1/import") => {
            json!({"family": "access", "name": "mine", "permission_mode": "ALL", "digest": format!("blake3:{}", "0".repeat(64))})
        }
        _ => return None,
    };
    Some(body)
}

fn org_key(slug: &str, permissions: &[&str], scopes: &[&str]) -> Value {
    json!({"slug": slug, "name": format!("name-of-{slug}"), "permissions": permissions, "scopes": scopes, "expiresAt": "2030-01-01T00:00:00Z"})
}

/// A control plane with keys of everybody.
struct World {
    plane: Plane,
    there: Ids,
    nowhere: Ids,
    /// Each with its headers.
    strangers: Vec<Stranger>,
    /// What no refusal may hold.
    secrets: Vec<String>,
}

/// Somebody who may not, and what is answered at each door but the open ones.
struct Stranger {
    what: &'static str,
    headers: Vec<(&'static str, String)>,
    own_key: u16,
    gateway: u16,
    admin: u16,
    org: u16,
}

impl Stranger {
    fn unknown(what: &'static str, headers: Vec<(&'static str, String)>) -> Self {
        Self {
            what,
            headers,
            own_key: 401,
            gateway: 401,
            admin: 401,
            org: 401,
        }
    }

    fn with_key(what: &'static str, key: &str, own_key: u16, admin: u16, org: u16) -> Self {
        let headers = vec![("x-prismeai-api-key", key.to_owned())];
        Self {
            own_key,
            admin,
            org,
            ..Self::unknown(what, headers)
        }
    }

    fn at(&self, door: Door) -> u16 {
        match door {
            Door::Open => 200,
            Door::OwnKey => self.own_key,
            Door::Gateway => self.gateway,
            Door::Admin => self.admin,
            Door::Org => self.org,
        }
    }

    fn call(&self, plane: &Plane, method: &str, path: &str, body: Option<Value>) -> Answer {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        plane.call(method, path, &headers, body)
    }
}

const MANAGE: &[&str] = &["orgs:apikeys:manage"];

/// Keys of the organisation that are dead, each in its way.
fn dead_keys(plane: &Plane) -> Vec<(&'static str, String)> {
    let keys = "/v2/orgs/acme/api-keys";
    let create = |slug: &str, body: Value| {
        let made = plane.admin("POST", keys, Some(body));
        assert_eq!(made.status, 201, "{slug}: {}", made.raw);
        made.text("apiKey")
    };
    let [disabled, rotated, deleted] =
        ["disabled", "rotated", "deleted"].map(|slug| create(slug, org_key(slug, MANAGE, &[])));
    let off = json!({"disabled": true});
    plane.admin("PATCH", &format!("{keys}/disabled"), Some(off));
    plane.admin("POST", &format!("{keys}/rotated/rotate"), None);
    plane.admin("DELETE", &format!("{keys}/deleted"), None);
    let mut soon = org_key("expired", MANAGE, &[]);
    soon["expiresAt"] = json!("2026-11-20T00:00:01Z");
    let expired = create("expired", soon);
    plane.clock.advance(1);
    vec![
        ("a disabled key", disabled),
        ("a rotated key", rotated),
        ("a deleted key", deleted),
        ("an expired key", expired),
    ]
}

fn bearer(token: &str) -> Vec<(&'static str, String)> {
    vec![("authorization", format!("Bearer {token}"))]
}

/// Whoever shows nothing, or what is none of anybody's.
fn without_credential() -> Vec<Stranger> {
    let unknown = "iak_acme_00000000-0000-4000-8000-000000000000";
    // `:` and the admin token in base64.
    let basic = "Basic OmFkbWluLXRva2VuLW9mLXRoZS10ZXN0cy0wMTIzNDU2Nzg5";
    [
        ("nothing", vec![]),
        ("Basic", vec![("authorization", "Basic YTpi".to_owned())]),
        (
            "Basic with the admin token",
            vec![("authorization", basic.to_owned())],
        ),
        (
            "the admin token as a scheme",
            vec![("authorization", ADMIN.to_owned())],
        ),
        (
            "the admin token as a cookie",
            vec![("cookie", format!("token={ADMIN}"))],
        ),
        (
            "the admin token as a key",
            vec![("x-prismeai-api-key", ADMIN.to_owned())],
        ),
        ("an empty token", bearer("")),
        (
            "a part of the admin token",
            bearer(ADMIN.trim_end_matches('9')),
        ),
        ("more than the admin token", bearer(&format!("{ADMIN}0"))),
        ("the admin token in capitals", bearer(&ADMIN.to_uppercase())),
        (
            "part of the gateway token",
            bearer(GATEWAY.trim_start_matches('g')),
        ),
        (
            "an unknown key",
            vec![("x-prismeai-api-key", unknown.to_owned())],
        ),
        ("an unknown key as a token", bearer(unknown)),
        ("a user's token", bearer("at:opaque")),
        ("another user's token", bearer("eyJhbGciOiJub25lIn0.e30.x")),
    ]
    .into_iter()
    .map(|(what, headers)| Stranger::unknown(what, headers))
    .collect()
}

/// Live keys of all kinds and a token of gateways.
struct Made {
    of_org: String,
    weak: String,
    foreign: String,
    workspace_id: String,
    workspace: String,
    access_id: String,
    access: String,
    token: String,
}

fn make(plane: &Plane) -> Made {
    let org = |org: &str, slug: &str, permissions: &[&str], scopes: &[&str]| {
        plane.create(org, org_key(slug, permissions, scopes)).1
    };
    let of_workspace = "/v2/workspaces/w1/security/apikeys";
    let rules = json!([{"action": "manage", "subject": "all"}]);
    let body = json!({"name": "name-of-workspace", "rules": rules});
    let workspace = plane.admin("POST", of_workspace, Some(body));
    let listed = plane.admin("GET", of_workspace, None);
    let named = |name: &str| Some(json!({"name": name}));
    let access = plane.admin("POST", "/v2/api-keys", named("name-of-access"));
    let token = plane.admin("POST", "/v1/gateway-tokens", named("name-of-token"));
    Made {
        of_org: org("acme", "victim", &["a:secret"], &[]),
        weak: org(
            "acme",
            "weak",
            &["orgs:apikeys:create", "orgs:members:*"],
            &["*"],
        ),
        foreign: org("globex", "foreign", &["*"], &["*"]),
        workspace_id: listed.body[0]["apiKey"].as_str().unwrap().to_owned(),
        workspace: workspace.text("apiKey"),
        access_id: access.text("id"),
        access: access.text("token"),
        token: token.text("token"),
    }
}

/// Keys that are known, and open little or nothing.
fn with_known_key(made: &Made, dead: &[(&'static str, String)]) -> Vec<Stranger> {
    let dead = dead
        .iter()
        .map(|(what, key)| Stranger::with_key(what, key, 401, 401, 401));
    let live = [
        ("a key that manages nothing", &made.weak, 200, 403, 403),
        ("another organisation's key", &made.foreign, 401, 403, 404),
        ("a workspace's key", &made.workspace, 401, 403, 403),
        ("an access key", &made.access, 401, 403, 403),
    ];
    let live = live
        .into_iter()
        .map(|(what, key, own_key, admin, org)| Stranger::with_key(what, key, own_key, admin, org));
    dead.chain(live).collect()
}

/// Right at one door, and nowhere else; or right twice, which is wrong.
fn at_another_door(made: &Made) -> Vec<Stranger> {
    let as_key = |token: &str| vec![("x-prismeai-api-key", token.to_owned())];
    let gateway = |what, token: &str| Stranger {
        gateway: 0,
        ..Stranger::unknown(what, bearer(token))
    };
    let administrator = |what, headers, status| Stranger {
        admin: status,
        org: status,
        ..Stranger::unknown(what, headers)
    };
    let both = [bearer(ADMIN), as_key(&made.weak)].concat();
    vec![
        Stranger::unknown("the gateway token as a key", as_key(GATEWAY)),
        gateway("a gateway", GATEWAY),
        gateway("another gateway", &made.token),
        administrator("an administrator", bearer(ADMIN), 0),
        administrator("two tokens", [bearer(ADMIN), bearer(ADMIN)].concat(), 400),
        Stranger {
            own_key: 200,
            ..administrator("two credentials", both, 400)
        },
    ]
}

impl World {
    /// Somebody with the right credential.
    fn whom_it_opens_to(&self, door: Door) -> &Stranger {
        let what = match door {
            Door::Gateway => "a gateway",
            Door::OwnKey => "a key that manages nothing",
            Door::Open | Door::Admin | Door::Org => "an administrator",
        };
        let mut all = self.strangers.iter();
        all.find(|stranger| stranger.what == what).unwrap()
    }
}

fn world() -> World {
    let plane = plane();
    let made = make(&plane);
    let follower = Gateway::new(plane.address, 7);
    follower.snapshot();
    let dead = dead_keys(&plane);
    let strangers = [
        without_credential(),
        with_known_key(&made, &dead),
        at_another_door(&made),
    ];
    let ids = |names: [&str; 5]| {
        let [of_org, of_workspace, of_access, gateway, token] = names.map(str::to_owned);
        Ids {
            org: "acme".to_owned(),
            workspace: "w1".to_owned(),
            of_org,
            of_workspace,
            of_access,
            gateway,
            token,
        }
    };
    let there = ids([
        "victim",
        &made.workspace_id,
        &made.access_id,
        "00000000000000000000000000000007",
        "name-of-token",
    ]);
    let nowhere = ids([
        "nobody",
        "01hzxw2k7y8q9m0n1p2r3s4t5v",
        "01HZXW2K7Y8Q9M0N1P2R3S4T5V",
        "00000000000000000000000000000008",
        "none",
    ]);
    let Made {
        of_org,
        weak,
        foreign,
        workspace,
        access,
        token,
        ..
    } = made;
    let mut secrets = vec![of_org, weak, foreign, workspace, access, token];
    secrets.extend(dead.into_iter().map(|(_, key)| key));
    let words = [
        ADMIN,
        GATEWAY,
        "name-of-",
        "a:secret",
        "keyward.db",
        "sqlite",
        "postgres",
        "panicked",
    ];
    secrets.extend(words.map(str::to_owned));
    World {
        plane,
        there,
        nowhere,
        strangers: strangers.into_iter().flatten().collect(),
        secrets,
    }
}

#[test]
fn every_operation_of_the_router_is_in_the_list() {
    let source = include_str!("../../src/control/api/mod.rs");
    let (_, router) = source.split_once("fn router(").expect("the router");
    let served: usize = ["get(", "post(", "put(", "patch(", "delete("]
        .map(|word| router.matches(word).count())
        .iter()
        .sum();
    assert_eq!(
        served,
        OPERATIONS.len(),
        "an operation is missing in OPERATIONS, or one is gone"
    );
    let described: Value =
        serde_json::from_str(&keyward::control::openapi_json().unwrap()).unwrap();
    let described: BTreeSet<(String, &str)> = described["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, operations)| {
            operations
                .as_object()
                .unwrap()
                .keys()
                .map(move |method| (method.to_uppercase(), path.as_str()))
        })
        .collect();
    let listed: BTreeSet<(String, &str)> = OPERATIONS
        .iter()
        .filter(|(_, _, door)| !matches!(door, Door::Open | Door::Gateway))
        .map(|(method, path, _)| ((*method).to_owned(), *path))
        .collect();
    assert_eq!(listed, described);
}

#[test]
fn no_credential_but_the_right_one_opens_anything() {
    let world = world();
    let (plane, before) = (&world.plane, world.plane.audit());
    for stranger in &world.strangers {
        for (method, pattern, door) in OPERATIONS {
            let expected = stranger.at(*door);
            if expected == 0 {
                continue;
            }
            let at =
                |ids: &Ids| stranger.call(plane, method, &ids.fill(pattern), body(method, pattern));
            let (answer, what) = (
                at(&world.there),
                format!("{}: {method} {pattern}", stranger.what),
            );
            assert_eq!(answer.status, expected, "{what}: {}", answer.raw);
            if *door == Door::Open || expected == 200 {
                continue;
            }
            for secret in &world.secrets {
                assert!(
                    !answer.raw.contains(secret),
                    "{what}: {secret} in {}",
                    answer.raw
                );
            }
            assert!(answer.header("keyward-revision").is_none(), "{what}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
            assert_eq!(
                answer.header("www-authenticate").is_some(),
                expected == 401,
                "{what}"
            );
            // Nobody learns what there is.
            let other = at(&world.nowhere);
            assert_eq!(
                (other.status, &other.body),
                (answer.status, &answer.body),
                "{what}"
            );
            if *method == "GET" {
                let head = stranger.call(plane, "HEAD", &world.there.fill(pattern), None);
                assert_eq!(head.status, expected, "{what}");
            }
        }
    }
    assert_eq!(plane.audit(), before, "nothing was done");
    let (_, weak) = plane.create("acme", org_key("after", &[], &[]));
    assert_eq!(
        plane
            .with_key(&weak, "GET", "/v2/orgs/acme/api-keys", None)
            .status,
        403
    );
}

#[test]
fn the_right_credential_opens_everything() {
    let world = world();
    for (method, pattern, door) in OPERATIONS {
        let path = world.there.fill(pattern);
        let caller = world.whom_it_opens_to(*door);
        let answer = caller.call(&world.plane, method, &path, body(method, pattern));
        // A gateway has more to say than this, and is told so.
        let expected = match (door, *pattern) {
            (Door::Gateway, _) => answer.status == 400,
            // It has just been heard.
            (_, "/v1/gateways/{id}") => answer.status == 409,
            _ => (200..300).contains(&answer.status),
        };
        assert!(expected, "{method} {path}: {}", answer.raw);
    }
    // Each was met where the router has it, and is counted there.
    let metrics = world.plane.call("GET", "/metrics", &[], None).raw;
    for (method, pattern, _) in OPERATIONS {
        let labels = format!("method=\"{method}\",route=\"{pattern}\"");
        assert!(metrics.contains(&labels), "{labels}");
    }
}

#[test]
fn what_stands_in_a_query_and_means_nothing_is_refused_by_name() {
    let world = world();
    let revision = world.plane.sink.revision();
    for (method, pattern, door) in OPERATIONS {
        if *door == Door::Open {
            continue;
        }
        let path = format!("{}?gracePeriodSeconds=60", world.there.fill(pattern));
        let caller = world.whom_it_opens_to(*door);
        let answer = caller.call(&world.plane, method, &path, body(method, pattern));
        assert_eq!(answer.status, 400, "{method} {path}: {}", answer.raw);
        assert!(answer.raw.contains("gracePeriodSeconds"), "{}", answer.raw);
    }
    assert_eq!(world.plane.sink.revision(), revision);
}

#[test]
fn what_no_operation_takes_is_refused_whoever_asks() {
    let world = world();
    for (_, pattern, _) in OPERATIONS {
        for method in ["TRACE", "OPTIONS", "PROPFIND", "get"] {
            let path = world.there.fill(pattern);
            let answer = world.plane.call(method, &path, &[], None);
            assert_eq!(answer.status, 405, "{method} {path}: {}", answer.raw);
        }
    }
    for path in [
        "/v1/export/",
        "//v1/export",
        "/v1/./export",
        "/v1/x/../export",
        "/V1/export",
        "/v1%2Fexport",
        "/sync/v1/snapshot/",
        "/v2/api-keys/a/b",
        "/",
    ] {
        let answer = world.plane.admin("GET", path, None);
        assert_eq!(answer.status, 404, "{path}: {}", answer.raw);
    }
}

/// Values that mean something to a database, a path or a parser, as they stand in a URL.
const ODD: &[&str] = &[
    "%00",
    "a%00b",
    "%27%3B%20DROP%20TABLE%20keys%3B--",
    "%25",
    "%5F%25",
    "..",
    "%2e%2e%2fetc",
    "%ff",
    "%ED%A0%80",
    "%F0%9F%92%A9",
    "-1",
    "1e308",
    "18446744073709551616",
    "NaN",
    "true",
    "null",
    "%7B%7D",
    "%5B%5D",
    "%0d%0aSet-Cookie:%20a=b",
    "%E2%80%AE",
];

#[test]
fn no_value_in_a_path_or_query_is_more_than_a_value() {
    let world = world();
    let long = "x".repeat(4000);
    let names = [
        "limit",
        "page",
        "sort",
        "ownerType",
        "ownerId",
        "keyId",
        "org",
        "workspace",
        "before",
        "since",
        "until",
        "starting_after",
        "status",
        "search",
        "gateway",
        "epoch",
        "revision",
    ];
    for (method, pattern, door) in OPERATIONS {
        let (token, path) = (
            if *door == Door::Gateway {
                GATEWAY
            } else {
                ADMIN
            },
            world.there.fill(pattern),
        );
        let call = |path: &str| {
            let bearer = format!("Bearer {token}");
            let answer = world.plane.call(
                method,
                path,
                &[("authorization", &bearer)],
                body(method, pattern),
            );
            assert!(answer.status < 500, "{method} {path}: {}", answer.raw);
            assert!(answer.header("set-cookie").is_none(), "{method} {path}");
            answer.status
        };
        for odd in ODD.iter().copied().chain([long.as_str()]) {
            for parameter in [
                "{orgSlug}",
                "{workspaceId}",
                "{keyId}",
                "{apiKey}",
                "{api_key_id}",
                "{id}",
                "{name}",
            ] {
                if pattern.contains(parameter) {
                    call(&world.there.fill(&pattern.replace(parameter, odd)));
                }
            }
            if *method == "GET" {
                for name in names {
                    call(&format!("{path}?{name}={odd}"));
                }
            }
        }
    }
}

/// The body with one of its texts replaced, for each of them.
fn with_text(body: &Value, text: &str) -> Vec<Value> {
    let mut bodies = Vec::new();
    for (name, value) in body.as_object().unwrap() {
        let mut replaced = body.clone();
        if value.is_string() {
            replaced[name] = json!(text);
        } else if value.is_array() {
            replaced[name] = json!([text]);
        }
        if replaced != *body {
            bodies.push(replaced);
        }
    }
    bodies
}

#[test]
fn no_value_in_a_body_is_more_than_a_value() {
    let world = world();
    for (method, pattern, _) in OPERATIONS {
        let Some(good) = body(method, pattern) else {
            continue;
        };
        let path = world.there.fill(pattern);
        for text in ["nul\u{0}", "\u{0}", "line\nline", "\u{1b}[31m", "\u{7f}"] {
            for body in with_text(&good, text) {
                let answer = world.plane.admin(method, &path, Some(body.clone()));
                let refused = if path == "/v1/import" {
                    answer.body["refusals"][0].is_object()
                } else {
                    answer.status == 400
                };
                assert!(refused, "{method} {path} {body}: {}", answer.raw);
            }
        }
        for text in [
            "'; DROP TABLE keys; --",
            "%_\\",
            "${jndi:ldap://x}",
            "\u{202e}",
            &"x".repeat(100_000),
        ] {
            for body in with_text(&good, text) {
                let answer = world.plane.admin(method, &path, Some(body.clone()));
                assert!(answer.status < 500, "{method} {path}: {}", answer.raw);
            }
        }
        for deep in [
            "[".repeat(200),
            "{\"a\":".repeat(200),
            format!("{{\"name\":{}", "[".repeat(100_000)),
        ] {
            let headers = [("authorization", &*format!("Bearer {ADMIN}"))];
            let answer = crate::control_support::call(
                world.plane.address,
                method,
                &path,
                &headers,
                deep.as_bytes(),
            );
            assert!(answer.status < 500, "{method} {path}: {}", answer.raw);
        }
    }
    let keys = world
        .plane
        .admin("GET", "/v2/orgs/acme/api-keys/victim", None);
    assert_eq!(keys.status, 200, "{}", keys.raw);
}

/// A permission or scope that only a grant as wide as this one covers.
fn just_covered(grant: &str, is_permission: bool) -> String {
    let above = match grant.strip_suffix('*') {
        None if is_permission => grant.strip_suffix("manage"),
        above => above,
    };
    match above {
        Some("") => "fresh:fresh".to_owned(),
        Some(above) if above.ends_with(':') => format!("{above}fresh"),
        Some(_) | None => grant.to_owned(),
    }
}

/// Grants that are good, with the permission to manage keys among them.
fn some_grants(g: &mut Gen, manages: bool) -> (Vec<String>, Vec<String>) {
    let mut permissions = g.list(0, 3, grants::permission_grant);
    permissions.retain(|grant| model::grants::is_permission_grant(grant));
    if manages {
        permissions.push(MANAGE[0].to_owned());
    }
    let mut scopes = g.list(0, 2, grants::scope_grant);
    scopes.retain(|grant| model::grants::is_scope_grant(grant));
    (permissions, scopes)
}

type Pair<'a> = (&'a [String], &'a [String]);

/// Whether one key covers another, tried out by what the other could just do.
fn covers((my_permissions, my_scopes): Pair<'_>, (permissions, scopes): Pair<'_>) -> bool {
    let permitted = permissions.iter().all(|grant| {
        let probe = just_covered(grant, true);
        model::grants::first(my_permissions, &probe, model::grants::permission_covers).is_some()
    });
    let within = scopes.iter().all(|grant| {
        let probe = just_covered(grant, false);
        model::grants::first(my_scopes, &probe, model::grants::scope_covers).is_some()
    });
    permitted && within && (my_scopes.is_empty() || !scopes.is_empty())
}

#[test]
fn nobody_gives_more_than_they_have_by_any_way() {
    const OTHERS: u64 = 10;
    let plane = plane();
    let keys = "/v2/orgs/acme/api-keys";
    let pairs = setting("KEYWARD_CHECKS", 100_000) / 500;
    let mut allowed = 0;
    for number in 0..pairs.div_ceil(OTHERS) {
        let g = &mut Gen::new(setting("KEYWARD_SEED", SEED) + number);
        let mine = some_grants(g, true);
        let texts =
            |grants: &[String]| -> Vec<Value> { grants.iter().map(|grant| json!(grant)).collect() };
        let key = |slug: String, (permissions, scopes): Pair<'_>| {
            let mut key = org_key(&slug, &[], &[]);
            (key["permissions"], key["scopes"]) = (texts(permissions).into(), texts(scopes).into());
            key
        };
        let mine: Pair<'_> = (&mine.0, &mine.1);
        let (_, secret) = plane.create("acme", key(format!("creator-{number}"), mine));
        for other in 0..OTHERS {
            let theirs = some_grants(g, false);
            let theirs: Pair<'_> = (&theirs.0, &theirs.1);
            let is_covered = covers(mine, theirs);
            let slug = |kind: &str| format!("{kind}-{number}-{other}");
            let told = format!("{mine:?} and {theirs:?}");
            let made = plane.with_key(&secret, "POST", keys, Some(key(slug("made"), theirs)));
            assert_eq!(
                made.status,
                if is_covered { 201 } else { 403 },
                "create: {told}: {}",
                made.raw
            );
            plane.create("acme", key(slug("small"), (&[], mine.1)));
            let patch = json!({"permissions": texts(theirs.0), "scopes": texts(theirs.1)});
            let patched = plane.with_key(
                &secret,
                "PATCH",
                &format!("{keys}/{}", slug("small")),
                Some(patch),
            );
            assert_eq!(
                patched.status,
                if is_covered { 200 } else { 403 },
                "patch: {told}: {}",
                patched.raw
            );
            plane.create("acme", key(slug("theirs"), theirs));
            let path = format!("{keys}/{}/rotate", slug("theirs"));
            let rotated = plane.with_key(&secret, "POST", &path, None);
            assert_eq!(
                rotated.status,
                if is_covered { 200 } else { 403 },
                "rotate: {told}: {}",
                rotated.raw
            );
            allowed += u64::from(is_covered);
        }
        let mut line = key("imported".to_owned(), mine);
        line["family"] = json!("org");
        line["org"] = json!("acme");
        let imported = plane.with_key(&secret, "POST", "/v1/import", Some(line));
        imported.refused(403, "ForbiddenError");
    }
    assert!(
        pairs < 100 || allowed * 10 >= pairs,
        "only {allowed} of {pairs} are covered"
    );
}
