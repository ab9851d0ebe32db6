//! The quickstart as people and programs meet it: what it prints, what its routes let through, what they
//! refuse and why.

use serde_json::{Value, json};

use crate::e2e_support::{Answer, Quickstart, exchange, run, send};

/// The sample upstream's account of a request that was let through.
fn seen(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn api_key(key: &str) -> [(&str, &str); 1] {
    [("x-prismeai-api-key", key)]
}

#[test]
fn the_line_of_json_says_where_everything_is() {
    let quickstart = Quickstart::start();
    for name in ["gateway", "control", "ops"] {
        let url = quickstart.ready()[name].as_str().unwrap();
        assert!(
            url.starts_with("http://127.0.0.1:") && !url.ends_with('/'),
            "{name}: {url}"
        );
    }
    assert!(quickstart.admin_token().len() >= 32);
    assert!(quickstart.key("org").starts_with("iak_acme_"));
    assert_eq!(quickstart.key("workspace").len(), 36);
    assert!(quickstart.key("access").starts_with("sk-orq-"));
    assert_eq!(
        send(quickstart.ops(), "GET", "/readyz", &[], "").status,
        200
    );
    assert_eq!(
        send(quickstart.ops(), "GET", "/healthz", &[], "").status,
        200
    );
    let status = send(quickstart.ops(), "GET", "/status", &[], "").json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let token_file = std::fs::read_to_string(quickstart.dir().join("admin-token")).unwrap();
    assert_eq!(token_file.trim(), quickstart.admin_token());
}

/// Method, path, the header that shows the key and what stands before it there, and whose key it is.
#[rustfmt::skip]
const PASSES: [(&str, &str, &str, &str, &str); 6] = [
    ("GET", "/v2/orgs/acme/api-keys", "x-prismeai-api-key", "", "org"),
    ("GET", "/v2/orgs/acme/api-keys", "Authorization", "Bearer ", "org"),
    ("GET", "/v1/agents/a1", "x-prismeai-api-key", "", "org"),
    ("GET", "/v1/agents/%611?x=1", "x-prismeai-api-key", "", "org"),
    ("GET", "/v2/workspaces/w1/pages/p1", "x-prismeai-api-key", "", "workspace"),
    ("POST", "/v2/deployments/invoke", "x-prismeai-api-key", "", "access"),
];

#[test]
fn each_family_is_let_through_where_its_grants_suffice() {
    let quickstart = Quickstart::start();
    for (method, path, header, before, family) in PASSES {
        let key = quickstart.key(family);
        let answer = send(
            quickstart.gateway(),
            method,
            path,
            &[(header, &format!("{before}{key}"))],
            "",
        );
        let seen = seen(&answer);
        assert_eq!(seen["method"], method);
        assert_eq!(seen["headers"]["x-keyward-family"], family, "{path}");
        assert!(seen["headers"]["x-keyward-key-id"].is_string(), "{path}");
        assert_eq!(seen["headers"].get("x-prismeai-api-key"), None, "{path}");
        assert_eq!(seen["headers"].get("authorization"), None, "{path}");
        assert!(!answer.body.contains(key), "{path}: the key went upstream");
    }
}

#[test]
fn the_canonical_request_is_what_is_forwarded() {
    let quickstart = Quickstart::start();
    let seen = seen(&quickstart.get("/v1/agents/%611?x=%61", &api_key(quickstart.key("org"))));
    assert_eq!(
        (&seen["path"], &seen["query"]),
        (&json!("/v1/agents/a1"), &json!("x=%61"))
    );
    assert_eq!(seen["headers"]["x-keyward-org"], "acme");
    assert_eq!(
        seen["headers"]["x-keyward-owner"],
        "keyward-sample/quickstart"
    );
}

#[test]
fn a_body_arrives_as_it_was_sent() {
    let quickstart = Quickstart::start();
    let key = quickstart.key("access");
    let seen = seen(&send(
        quickstart.gateway(),
        "POST",
        "/v2/deployments/invoke",
        &api_key(key),
        "{\"a\":1}",
    ));
    assert_eq!(seen["body"], "{\"a\":1}");
    let authority = quickstart.gateway().strip_prefix("http://").unwrap();
    let chunked = format!(
        "POST /v2/deployments/invoke HTTP/1.1\r\nHost: x\r\nx-prismeai-api-key: {key}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    );
    let answer = String::from_utf8(exchange(authority, chunked.as_bytes())).unwrap();
    assert!(answer.contains("\"body\":\"abcde\""), "{answer}");
}

/// Method, path, whose key is shown, status and reason.
type Refusal = (&'static str, &'static str, &'static str, u16, &'static str);

const UNKNOWN: &str = "iak_acme_00000000-0000-4000-8000-000000000000";

#[rustfmt::skip]
const REFUSALS: [Refusal; 15] = [
    ("GET", "/v1/agents/a1", "", 401, "missing_credential"),
    ("GET", "/v1/agents/a1", "nonsense", 401, "malformed_credential"),
    ("GET", "/v1/agents/a1", UNKNOWN, 401, "unknown_key"),
    ("GET", "/v2/orgs/other/api-keys", "org", 403, "org_mismatch"),
    ("POST", "/v1/agents/a1", "org", 403, "missing_permission"),
    ("GET", "/v1/agents/a2", "org", 403, "out_of_scope"),
    ("GET", "/v1/agents/a1", "workspace", 403, "family_not_accepted"),
    ("GET", "/v2/workspaces/w1/pages/p2", "workspace", 403, "no_matching_rule"),
    ("GET", "/v2/workspaces/w2/pages/p1", "workspace", 403, "workspace_mismatch"),
    ("POST", "/v2/deployments/invoke", "workspace", 403, "family_not_accepted"),
    ("GET", "/v1/agents/a1", "access", 403, "family_not_accepted"),
    ("GET", "/nowhere", "org", 404, "no_route"),
    ("DELETE", "/public/ping", "", 405, "method_not_allowed"),
    ("GET", "/v1/agents/../agents/a1", "org", 400, "malformed_request"),
    ("GET", "/v1/agents/a1%2Fb", "org", 400, "malformed_request"),
];

#[test]
fn what_is_not_allowed_is_refused_with_its_reason() {
    let quickstart = Quickstart::start();
    for (method, path, shown, status, reason) in REFUSALS {
        let key = match shown {
            "org" | "workspace" | "access" => quickstart.key(shown),
            other => other,
        };
        let headers = api_key(key);
        let headers = if key.is_empty() {
            &[][..]
        } else {
            &headers[..]
        };
        let answer = send(quickstart.gateway(), method, path, headers, "");
        let refused = (answer.status, answer.reason());
        assert_eq!(
            refused,
            (status, Some(reason.to_owned())),
            "{method} {path}"
        );
        assert_eq!(
            answer.header("cache-control"),
            Some("no-store"),
            "{method} {path}"
        );
        assert_eq!(
            answer.header("www-authenticate").is_some(),
            status == 401,
            "{method} {path}"
        );
        let repeated = !key.is_empty() && answer.body.contains(key);
        assert!(!repeated, "{method} {path}: the answer repeats the key");
    }
}

#[test]
fn two_keys_are_never_chosen_between() {
    let quickstart = Quickstart::start();
    let headers = [
        ("x-prismeai-api-key", quickstart.key("org")),
        ("x-prismeai-api-key", quickstart.key("access")),
    ];
    let answer = quickstart.get("/v1/agents/a1", &headers);
    assert_eq!(
        (answer.status, answer.reason().as_deref()),
        (400, Some("ambiguous_credential"))
    );
}

#[test]
fn the_open_route_takes_everyone_and_passes_no_key_or_identity_on() {
    let quickstart = Quickstart::start();
    let headers = [
        ("x-prismeai-api-key", quickstart.key("org")),
        ("X_Keyward_Org", "forged"),
        ("x-keyward-key-id", "forged"),
        ("x-prismeai-user-id", "forged"),
    ];
    let answer = quickstart.get("/public/ping", &headers);
    let seen = seen(&answer);
    assert!(!answer.body.contains("forged"), "{seen}");
    assert!(!answer.body.contains(quickstart.key("org")), "{seen}");
    assert_eq!(quickstart.get("/public/ping", &[]).status, 200);
}

#[test]
fn every_start_makes_fresh_keys_and_ends_the_former_ones() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("data");
    let first = Quickstart::start_in(&dir, &[]);
    let keys: Vec<String> = ["org", "workspace", "access"]
        .map(|family| first.key(family).to_owned())
        .to_vec();
    let token = first.admin_token().to_owned();
    assert!(first.stop().0.success());
    let second = Quickstart::start_in(&dir, &[]);
    assert_eq!(second.admin_token(), token, "the admin token stays");
    let targets = [
        "/v1/agents/a1",
        "/v2/workspaces/w1/pages/p1",
        "/v2/deployments/invoke",
    ];
    for ((family, old), target) in ["org", "workspace", "access"]
        .iter()
        .zip(&keys)
        .zip(targets)
    {
        let method = if *family == "access" { "POST" } else { "GET" };
        let answer = send(second.gateway(), method, target, &api_key(old), "");
        assert_eq!(answer.status, 401, "{family}: {answer:?}");
        let answer = send(
            second.gateway(),
            method,
            target,
            &api_key(second.key(family)),
            "",
        );
        assert_eq!(answer.status, 200, "{family}: {answer:?}");
    }
    let list = second
        .administer("GET", "/v2/orgs/acme/api-keys", &Value::Null)
        .json();
    let alive = list["results"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["disabled"] == json!(false));
    assert_eq!(alive.count(), 1, "{list}");
}

#[test]
fn the_admin_token_may_come_from_the_environment() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("data");
    let token = "an-admin-token-from-the-environment";
    let mut command = crate::e2e_support::keyward();
    command
        .args(["quickstart", "--json", "--listen", "127.0.0.1:0", "--dir"])
        .arg(&dir);
    let quickstart = Quickstart::spawn(command.env("KEYWARD_ADMIN_TOKEN", token), &dir);
    assert_eq!(quickstart.admin_token(), token);
    assert_eq!(
        quickstart
            .administer("GET", "/v2/orgs/acme/api-keys", &Value::Null)
            .status,
        200
    );
    assert!(!dir.join("admin-token").exists());
}

#[test]
fn a_short_admin_token_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = crate::e2e_support::keyward();
    command
        .args(["quickstart", "--json", "--listen", "127.0.0.1:0", "--dir"])
        .arg(temporary.path());
    let ended = crate::e2e_support::finish(command.env("KEYWARD_ADMIN_TOKEN", "short"), "");
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.is_empty());
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("KEYWARD_ADMIN_TOKEN") && !ended.stderr.contains("\"short\""),
        "{}",
        ended.stderr
    );
}

#[test]
fn nonsense_addresses_are_usage_errors() {
    assert_eq!(
        run(&["quickstart", "--listen", "nonsense"], "").code,
        Some(2)
    );
}
