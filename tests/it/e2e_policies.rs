//! The shipped configurations in service: a key of each family, made through its own API, on routes that it may use and
//! on routes that it may not.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::e2e_support::{Answer, Collected, keyward, send};

const ADMIN_TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A gateway that runs a shipped configuration, in front of an upstream that answers with the head that reached it.
struct Served {
    child: Child,
    ready: Value,
    _stderr: Collected,
    _data: TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers every request with its head, on a thread that ends with the process.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    match stream.read(&mut byte) {
                        Ok(1) => head.push(byte[0]),
                        _ => return,
                    }
                }
                let length = head.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                let _ = stream.write_all(&[answer.as_bytes(), &head].concat());
            });
        }
    });
    address
}

impl Served {
    fn start(config: &str, upstreams: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let echo = echo();
        let mut command = keyward();
        command
            .args(["run", "--config"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(config))
            .env("KEYWARD_ADMIN_TOKEN", ADMIN_TOKEN)
            .env("KEYWARD_DATA", data.path())
            .envs(
                [
                    "KEYWARD_LISTEN",
                    "KEYWARD_OPS_LISTEN",
                    "KEYWARD_CONTROL_LISTEN",
                ]
                .map(|name| (name, "127.0.0.1:0")),
            )
            .envs(upstreams.iter().map(|name| (name, &echo)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let ready = loop {
            let mut line = String::new();
            let read = stderr.read_line(&mut line).expect("it says something");
            assert_ne!(read, 0, "it ended before it was ready");
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            let message = event["fields"]["message"].as_str().unwrap_or_default();
            if message.starts_with("ready") {
                break event["fields"].clone();
            }
        };
        Self {
            child,
            ready,
            _stderr: Collected::from(stderr),
            _data: data,
        }
    }

    fn base(&self, which: &str) -> String {
        format!("http://{}", self.ready[which].as_str().expect("an address"))
    }

    /// Makes a key through the control plane.
    fn make(&self, path: &str, body: &Value, token: &str) -> String {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let answer = send(
            &self.base("control"),
            "POST",
            path,
            &headers,
            &body.to_string(),
        );
        let made = answer.json()[token].as_str().map(str::to_owned);
        made.unwrap_or_else(|| panic!("{path}: {answer:?}"))
    }

    fn org(&self, permissions: &[&str], scopes: &[&str]) -> String {
        let body = json!({ "slug": "test", "name": "Test", "permissions": permissions, "scopes": scopes, "expiresAt": "2099-01-01T00:00:00Z" });
        self.make("/v2/orgs/acme/api-keys", &body, "apiKey")
    }

    fn workspace(&self, rules: &Value) -> String {
        let body = json!({ "name": "Test", "rules": rules });
        self.make("/v2/workspaces/w1/security/apikeys", &body, "apiKey")
    }

    fn access(&self, mode: &str, access: &Value) -> String {
        let mut body = json!({ "name": "Test", "permission_mode": mode });
        if access.is_object() {
            body["access"] = access.clone();
        }
        self.make("/v2/api-keys", &body, "token")
    }

    fn ask(&self, line: &str, headers: &[(&str, &str)]) -> Answer {
        let (method, target) = line.split_once(' ').expect("method and target");
        send(&self.base("gateway"), method, target, headers, "")
    }

    /// Holds each request with this header against `allowed` or the reason of a refusal.
    #[track_caller]
    fn expect(&self, header: &str, value: &str, outcomes: &[(&str, &str)]) {
        for (line, expected) in outcomes {
            let headers = [(header, value)];
            let headers = if header.is_empty() {
                &[][..]
            } else {
                &headers[..]
            };
            let answer = self.ask(line, headers);
            let outcome = match answer.status {
                200 => "allowed".to_owned(),
                _ => answer.reason().unwrap_or_default(),
            };
            assert_eq!(outcome, *expected, "{line}: {answer:?}");
        }
    }
}

const KEY: &str = "x-prismeai-api-key";
const PRISME: [&str; 5] = [
    "PRISME_GATEWAY",
    "PRISME_WORKSPACES",
    "PRISME_RUNTIME",
    "PRISME_EVENTS",
    "PRISME_CONSOLE",
];

#[test]
fn organisation_keys_at_the_ingress() {
    let served = Served::start("config/ingress.yaml", &PRISME);
    let org = served.org(
        &["orgs:apikeys:manage", "agent-factory:agents:read"],
        &["agents:a1"],
    );
    let agents = "/v2/workspaces/slug:agent-factory/webhooks/v1/agents";
    served.expect(
        KEY,
        &org,
        &[
            ("GET /v2/orgs/acme/api-keys", "allowed"),
            ("GET /V2/Orgs/acme/API-Keys/", "allowed"),
            ("POST /v2/orgs/acme/api-keys/k1/rotate", "allowed"),
            ("GET /v2/orgs/other/api-keys", "org_mismatch"),
            ("GET /v2/orgs/acme/members", "missing_permission"),
            (&format!("GET {agents}/a1"), "allowed"),
            (&format!("GET {agents}/a2"), "out_of_scope"),
            (&format!("DELETE {agents}/a1"), "missing_permission"),
            ("GET /v2/workspaces/w1/pages/p1", "family_not_accepted"),
            (
                "POST /v2/workspaces/platform/versions",
                "family_not_accepted",
            ),
            ("GET /sys/metrics", "no_route"),
        ],
    );
    // The platform resolves the key itself, so it arrives.
    let answer = served.ask(
        "GET /v2/orgs/acme/api-keys",
        &[(KEY, &org), ("x-prismeai-user-id", "u1")],
    );
    assert!(
        answer.body.contains(&org) && !answer.body.contains("u1"),
        "{answer:?}"
    );
}

#[test]
fn workspace_and_access_keys_at_the_ingress() {
    let served = Served::start("config/ingress.yaml", &PRISME);
    let workspace = served.workspace(&json!([
        { "action": ["read", "update"], "subject": "pages" },
        { "action": "update", "subject": "pages", "conditions": { "slug": "fixed" }, "inverted": true },
        { "action": "execute", "subject": "automations", "conditions": { "slug": "hook" } },
    ]));
    served.expect(
        KEY,
        &workspace,
        &[
            ("GET /v2/workspaces/w1/pages", "allowed"),
            ("PATCH /v2/workspaces/w1/pages/p1", "allowed"),
            ("PATCH /v2/workspaces/w1/pages/fixed", "rule_denied"),
            ("DELETE /v2/workspaces/w1/pages/p1", "no_matching_rule"),
            ("GET /v2/workspaces/w2/pages", "workspace_mismatch"),
            ("POST /v2/workspaces/w1/webhooks/hook", "allowed"),
            ("POST /v2/workspaces/w1/webhooks/other", "no_matching_rule"),
            ("PUT /v2/workspaces/w1/security", "no_matching_rule"),
            ("GET /v2/orgs/acme/api-keys", "family_not_accepted"),
        ],
    );

    let access = served.access("ALL", &Value::Null);
    served.expect(
        KEY,
        &access,
        &[
            ("GET /v2/workspaces/w1/pages", "family_not_accepted"),
            ("GET /v2/orgs/acme/api-keys", "family_not_accepted"),
            ("GET /v2/me", "allowed"),
        ],
    );
}

#[test]
fn requests_without_a_key_at_the_ingress() {
    let served = Served::start("config/ingress.yaml", &PRISME);
    served.expect(
        "",
        "",
        &[
            ("GET /v2/workspaces/w1/pages", "missing_credential"),
            ("POST /v2/workspaces/w1/webhooks/hook", "allowed"),
            ("GET /socket.io/?EIO=4", "allowed"),
            ("OPTIONS /v2/orgs/acme/api-keys", "allowed"),
            ("OPTIONS /socket.io/", "allowed"),
            ("GET /sys/healthcheck", "allowed"),
            ("GET /v2/nothing", "method_not_allowed"),
        ],
    );
    served.expect(
        "cookie",
        "access-token=at:0f1e2d3c4b5a",
        &[("GET /v2/me", "allowed")],
    );
}

#[test]
fn keys_of_each_family_at_orq() {
    let served = Served::start("config/orq.yaml", &["ORQ_API"]);
    let bearer = |token: &str| format!("Bearer {token}");
    let some = served.access(
        "RESTRICTED",
        &json!({ "deployment": "read", "prompt": "write", "chat_completions": "write" }),
    );
    served.expect(
        "authorization",
        &bearer(&some),
        &[
            ("POST /v2/deployments/invoke", "allowed"),
            ("POST /v2/router/chat/completions", "allowed"),
            ("PATCH /v2/prompts/p1", "allowed"),
            ("POST /v2/router/embeddings", "insufficient_access"),
            ("GET /v2/datasets", "insufficient_access"),
            (
                "POST /v2/traces/insights/i1/runs/r1:cancel",
                "insufficient_access",
            ),
            ("OPTIONS /v2/prompts", "method_not_allowed"),
            ("GET /v2/unheard-of", "no_route"),
        ],
    );
    let answer = served.ask("GET /v2/prompts", &[("authorization", &bearer(&some))]);
    assert!(answer.body.contains(&some), "the key arrives: {answer:?}");
    let reader = served.access("READ_ONLY", &Value::Null);
    served.expect(
        "authorization",
        &bearer(&reader),
        &[
            ("GET /v2/datasets/d1", "allowed"),
            ("POST /v2/knowledge/k1/search", "allowed"),
            ("POST /v2/datasets", "insufficient_access"),
        ],
    );
    let all = served.access("ALL", &Value::Null);
    served.expect(
        "authorization",
        &bearer(&all),
        &[
            ("DELETE /v2/datasets/d1", "allowed"),
            // Open questions are refused to every key.
            ("POST /v3/traces/search", "family_not_accepted"),
        ],
    );
    let org = served.org(&["*"], &["*"]);
    served.expect(
        "authorization",
        &bearer(&org),
        &[("GET /v2/datasets", "family_not_accepted")],
    );
    let workspace = served.workspace(&json!([{ "action": "manage", "subject": "workspaces" }]));
    served.expect(
        "authorization",
        &bearer(&workspace),
        &[("GET /v2/datasets", "family_not_accepted")],
    );
    served.expect("", "", &[("GET /v2/datasets", "missing_credential")]);
}

#[test]
fn the_sidecar_believes_the_gateway_and_judges_keys() {
    let served = Served::start("config/sidecar.yaml", &["PRISME_SERVICE"]);
    let workspace = served.workspace(&json!([{ "action": "read", "subject": "pages" }]));
    let user = ("x-prismeai-user-id", "u1");
    let answer = served.ask("GET /v2/workspaces/w1/pages", &[user]);
    assert!(
        answer.status == 200 && answer.body.contains("x-prismeai-user-id: u1"),
        "{answer:?}"
    );
    served.expect(
        user.0,
        user.1,
        &[
            ("GET /v2/workspaces", "allowed"),
            ("POST /v2/workspaces/platform/versions", "allowed"),
        ],
    );
    served.expect(
        KEY,
        &workspace,
        &[
            ("GET /v2/workspaces/w1/pages", "allowed"),
            ("POST /v2/workspaces/w1/pages", "no_matching_rule"),
            ("GET /v2/workspaces", "family_not_accepted"),
        ],
    );
    let both = served.ask(
        "DELETE /v2/workspaces/w1/pages/p1",
        &[user, (KEY, &workspace)],
    );
    assert_eq!(both.reason().as_deref(), Some("no_matching_rule"));
    served.expect(
        "",
        "",
        &[
            ("GET /v2/workspaces/w1/pages", "missing_credential"),
            ("GET /v2/files/f1", "allowed"),
        ],
    );
    // Nobody turns a bearer into a user here, so it is none.
    served.expect(
        "authorization",
        "Bearer at:0f1e2d3c4b5a",
        &[("GET /v2/workspaces", "missing_credential")],
    );
}
