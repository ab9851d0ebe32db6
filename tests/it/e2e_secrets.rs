//! What is written while keys are shown in every place and form: logs at their most talkative, metrics, databases, state
//! files, answers. No key is in any of it, however it was put there.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::e2e_support::{Answer, Collected, Quickstart, exchange, keyward, send, signal};

const GATEWAY_TOKEN: &str = "gateway-token-of-the-tests-0123456789";

/// Everything that was written, by what it is.
#[derive(Default)]
struct Written(Vec<(String, Vec<u8>)>);

impl Written {
    fn add(&mut self, what: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((what.into(), bytes.into()));
    }

    /// The files of a directory, and of those in it.
    fn add_files(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.add_files(&path);
            } else if entry.file_name() != "admin-token" {
                self.add(path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }

    /// Where any form of a secret is, if anywhere.
    fn with(&self, secret: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (form, text) in forms(secret) {
            for (what, bytes) in &self.0 {
                if bytes.windows(text.len()).any(|window| window == text) {
                    found.push(format!("{what} has it {form}"));
                }
            }
        }
        found
    }
}

/// A secret in all forms in which it can be written down.
fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = secret.as_bytes();
    let hex = |upper: bool, before: &str| -> String {
        let digits = |byte: &u8| {
            if upper {
                format!("{before}{byte:02X}")
            } else {
                format!("{before}{byte:02x}")
            }
        };
        bytes.iter().map(digits).collect()
    };
    let mut forms = vec![
        ("as it is", secret.to_owned()),
        ("in upper case", secret.to_uppercase()),
        ("in lower case", secret.to_lowercase()),
        ("reversed", secret.chars().rev().collect()),
        ("percent-encoded", hex(true, "%")),
        ("percent-encoded in lower case", hex(false, "%")),
        ("in hexadecimal", hex(false, "")),
        ("in upper hexadecimal", hex(true, "")),
        (
            "as bytes in a list",
            bytes
                .iter()
                .map(u8::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        ),
        ("hashed", blake3::hash(bytes).to_hex().to_string()),
    ];
    // The part of a key that is secret, without the organisation or id before it.
    let parts = secret.rsplit_once('_').or_else(|| secret.rsplit_once('-'));
    let is_prefixed = secret.starts_with("iak_") || secret.starts_with("sk-");
    forms.extend(
        parts
            .filter(|_| is_prefixed)
            .map(|(_, rest)| ("without its beginning", rest.to_owned())),
    );
    let mut forms: Vec<_> = forms
        .into_iter()
        .map(|(form, text)| (form, text.into_bytes()))
        .collect();
    for alphabet in ["+/", "-_"] {
        forms.extend((0..3).map(|skipped| ("in base64", base64_within(bytes, skipped, alphabet))));
    }
    forms
}

/// What base64 makes of bytes of which so many of the first belong to what was before: the part that is always there.
fn base64_within(bytes: &[u8], skipped: usize, last: &str) -> Vec<u8> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letters = [LETTERS, last.as_bytes()].concat();
    let threes = bytes[skipped..].chunks_exact(3);
    threes
        .flat_map(|three| {
            let number = three
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte));
            [18, 12, 6, 0].map(|shift| letters[number >> shift & 63])
        })
        .collect()
}

#[test]
fn a_secret_is_found_in_every_form() {
    let secret = "iak_acme_11111111-2222-4333-8444-555555555555";
    for (form, text) in forms(secret) {
        let mut written = Written::default();
        written.add("a log", [b"x ", &text[..], b" y"].concat());
        assert!(!written.with(secret).is_empty(), "{form}");
    }
    // `a:` and the secret, as in `Authorization: Basic`.
    let mut written = Written::default();
    written.add(
        "a log",
        "Basic YTppYWtfYWNtZV8xMTExMTExMS0yMjIyLTQzMzMtODQ0NC01NTU1NTU1NTU1NTU=",
    );
    assert!(!written.with(secret).is_empty());
}

/// The same text with every byte percent-encoded.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// A request of this line, with these lines more.
fn wrapped(line: &str, lines: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{lines}\r\n")
}

/// Raw requests with a key wherever a client may have put it, well formed and not.
fn requests(key: &str) -> Vec<String> {
    [in_headers(key), in_targets(key), out_of_place(key)].concat()
}

fn in_headers(key: &str) -> Vec<String> {
    [
        format!("x-prismeai-api-key: {key}\r\n"),
        format!("x-prismeai-api-key: {key}\r\nx-prismeai-api-key: {key}x\r\n"),
        format!("x_prismeai_api_key: {key}\r\n"),
        format!("authorization: Bearer {key}\r\n"),
        format!("authorization: Token {key}\r\n"),
        format!("authorization: {key}\r\n"),
        format!("cookie: a={key}; access-token={key}\r\n"),
        format!(
            "sec-websocket-protocol: bearer, {key}\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        ),
        format!("x-correlation-id: {key}\r\n"),
        format!("traceparent: 00-{key}-01\r\ntracestate: {key}\r\n"),
        format!("user-agent: {key}\r\nreferer: http://h/?k={key}\r\n"),
        format!("x-forwarded-for: {key}\r\nforwarded: for={key}\r\n"),
        format!("content-type: {key}\r\ncontent-length: {key}\r\n"),
        format!("transfer-encoding: {key}\r\n"),
        format!("connection: {key}\r\n"),
        format!("expect: {key}\r\n"),
        format!("{key}: a\r\n"),
    ]
    .iter()
    .map(|lines| wrapped("GET /v1/agents/a1", lines))
    .collect()
}

fn in_targets(key: &str) -> Vec<String> {
    let hidden = encoded(key);
    let twice = hidden.replace('%', "%25");
    let targets = [
        format!("/v1/agents/{key}"),
        format!("/nowhere/{key}/x;k={key}"),
        format!("/public/ping?api_key={key}&{key}=1&k=a{key}b"),
        format!("/{hidden}?k={hidden}"),
        format!("/{twice}?{twice}"),
        format!("/{}", key.to_uppercase()),
        format!("http://{key}:{key}@h/public/ping"),
        format!("http://{key}/public/ping"),
        key.to_owned(),
        format!("/public/ping#{key}"),
        format!("/../{key}\\"),
    ];
    let requests = targets.iter().flat_map(|target| {
        ["GET", "BREW"].map(|method| wrapped(&format!("{method} {target}"), ""))
    });
    requests.collect()
}

fn out_of_place(key: &str) -> Vec<String> {
    let body = json!({ "apiKey": key, key: key }).to_string();
    let length = format!("content-length: {}\r\n", body.len());
    vec![
        format!("{key} /public/ping HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        format!("GET /public/ping {key}\r\nHost: h\r\nConnection: close\r\n\r\n"),
        format!(
            "GET /public/ping HTTP/1.1\r\nHost: {key}\r\nHost: {key}\r\nConnection: close\r\n\r\n"
        ),
        format!(
            "GET /public/ping HTTP/1.1\r\nHost: h\r\nConnection: close\r\nno colon {key}\r\n\r\n"
        ),
        wrapped("POST /v2/orgs/acme/api-keys/validate", &length) + &body,
        wrapped(
            "POST /v2/deployments/invoke",
            "transfer-encoding: chunked\r\n",
        ) + &format!("2;{key}\r\nab\r\n0\r\nx: {key}\r\n\r\n"),
    ]
}

/// An answer without what is repeated to whoever said it: the name that a request came with, and all that reached the
/// sample upstream.
fn without_echo(answer: &[u8]) -> Option<Vec<u8>> {
    let is_of_upstream = answer.starts_with(b"HTTP/1.1 200");
    let lines = answer.split_inclusive(|byte| *byte == b'\n');
    let said = lines.filter(|line| !line.starts_with(b"x-correlation-id: "));
    (!is_of_upstream).then(|| said.flatten().copied().collect())
}

/// Sends all of it to a listener. What comes back is written too.
fn show_everywhere(place: &str, key: &str, written: &mut Written) {
    let authority = place.strip_prefix("http://").unwrap();
    for request in requests(key) {
        let answer = exchange(authority, request.as_bytes());
        if let Some(answer) = without_echo(&answer) {
            let line = request.lines().next().unwrap_or_default();
            written.add(format!("the answer to {line:?} at {place}"), answer);
        }
    }
}

/// A key made through the API and a second secret of it.
fn two_secrets(quickstart: &Quickstart) -> [String; 2] {
    let body = json!({
        "slug": "quiet", "name": "Quiet", "expiresAt": "2099-01-01T00:00:00Z",
        "permissions": ["agent-factory:agents:read"], "scopes": ["agents:a1"],
    });
    let secret = |answer: &Value| answer["apiKey"].as_str().unwrap().to_owned();
    let made = quickstart
        .administer("POST", "/v2/orgs/acme/api-keys", &body)
        .json();
    let path = format!(
        "/v2/orgs/acme/api-keys/{}/rotate",
        made["id"].as_str().unwrap()
    );
    let rotated = quickstart.administer("POST", &path, &Value::Null).json();
    [secret(&made), secret(&rotated)]
}

/// Two keys of a workspace whose secrets were in paths at the control plane, one of which is gone.
fn two_secrets_in_paths(quickstart: &Quickstart) -> [String; 2] {
    let keys = "/v2/workspaces/w1/security/apikeys";
    let body = json!({ "name": "n", "rules": [{ "action": "read", "subject": "pages" }] });
    [("PUT", &body), ("DELETE", &Value::Null)].map(|(method, sent)| {
        let made = quickstart.administer("POST", keys, &body).json();
        let secret = made["apiKey"].as_str().unwrap().to_owned();
        let path = format!("{keys}/{secret}");
        let answer = quickstart.administer(method, &path, sent);
        assert_eq!(answer.status, 200, "{answer:?}");
        secret
    })
}

/// A token of gateways that the control plane made, and a key that was imported with its secret.
fn made_otherwise(quickstart: &Quickstart) -> [String; 2] {
    let made = quickstart.administer("POST", "/v1/gateway-tokens", &json!({ "name": "quiet" }));
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let imported = "sk-orq-01HZXW2K7Y8Q9M0N1P2R3S4T5V-0123456789abcdefghij0123456789ab";
    let line =
        json!({ "family": "access", "name": "n", "permission_mode": "ALL", "token": imported });
    let answer = quickstart.administer("POST", "/v1/import", &line);
    assert_eq!(answer.status, 200, "{answer:?}");
    [token, imported.to_owned()]
}

/// Shows tokens where they belong, and what is counted. What is no key has no form to be known by elsewhere.
fn show_tokens(quickstart: &Quickstart, tokens: &[String], written: &mut Written) {
    for token in tokens {
        let bearer = format!("Bearer {token}");
        for path in [
            "/v2/orgs/acme/api-keys",
            "/v1/export",
            "/v1/audit",
            "/v1/gateways",
            "/sync/v1/snapshot",
        ] {
            let answer: Answer = send(
                quickstart.control(),
                "GET",
                path,
                &[("authorization", &bearer)],
                "",
            );
            written.add(format!("the answer to {path}"), answer.body);
        }
    }
    for (what, base) in [
        ("the gateway", quickstart.ops()),
        ("the control plane", quickstart.control()),
    ] {
        let metrics = send(base, "GET", "/metrics", &[], "").body;
        assert!(metrics.contains("keyward_keys"));
        written.add(format!("metrics of {what}"), metrics);
    }
}

/// A gateway that follows the quickstart's control plane, and keeps its copy.
struct Follower {
    child: Child,
    directory: TempDir,
    stdout: Collected,
    stderr: Collected,
    address: String,
    ops: String,
}

impl Follower {
    fn start(control: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let file = directory.path().join("keyward.yaml");
        let text = format!(
            "listen: [ {{ address: 127.0.0.1:0 }} ]
ops: {{ listen: 127.0.0.1:0 }}
server: {{ threads: 1 }}
credentials: {{ sources: [ {{ header: x-prismeai-api-key }}, bearer, {{ query: api_key }}, websocket_protocol ] }}
keys: {{ remote: {{ url: '{control}', token: '${{KEYWARD_GATEWAY_TOKEN}}', state: {} }} }}
upstreams: {{ nobody: {{ endpoints: [ 127.0.0.1:1 ] }} }}
routes:
  - {{ name: agents, path: '/v1/agents/{{agentId}}', methods: [ GET ], require: {{ permissions: [ 'agent-factory:agents:read' ], scopes: [ 'agents:{{agentId}}' ] }}, upstream: nobody }}
",
            state.display()
        );
        fs::write(&file, text).unwrap();
        let mut child = keyward()
            .args(["run", "--config"])
            .arg(&file)
            .env("KEYWARD_GATEWAY_TOKEN", GATEWAY_TOKEN)
            .env("KEYWARD_LOG", "trace")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Collected::from(child.stdout.take().unwrap());
        let stderr = Collected::from(child.stderr.take().unwrap());
        let ready = stderr.event(&mut child, |message| message == "ready");
        let base = |which: &str| format!("http://{}", ready[which].as_str().unwrap());
        let (address, ops) = (base("gateway"), base("ops"));
        let follower = Self {
            child,
            directory,
            stdout,
            stderr,
            address,
            ops,
        };
        while send(&follower.ops, "GET", "/readyz", &[], "").status != 200 {
            std::thread::yield_now();
        }
        follower
    }

    fn stop(mut self, written: &mut Written) {
        for path in ["/metrics", "/status"] {
            written.add(
                format!("{path} of the follower"),
                send(&self.ops, "GET", path, &[], "").body,
            );
        }
        signal(self.child.id(), "TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let stderr = self.stderr.whole();
        assert!(stderr.contains("TRACE"), "nothing is left unsaid: {stderr}");
        written.add("standard output of the follower", self.stdout.whole());
        written.add("standard error of the follower", stderr);
        fs::remove_file(self.directory.path().join("keyward.yaml")).unwrap();
        assert!(self.directory.path().join("state/keys.snapshot").exists());
        written.add_files(self.directory.path());
    }
}

#[test]
fn no_secret_is_ever_written_where_it_does_not_belong() {
    let temporary = tempfile::tempdir().unwrap();
    let data = temporary.path().join("data");
    let mut command = keyward();
    command
        .args(["quickstart", "--json", "--listen", "127.0.0.1:0", "--dir"])
        .arg(&data)
        .env("KEYWARD_GATEWAY_TOKEN", GATEWAY_TOKEN)
        .env("KEYWARD_LOG", "trace");
    let quickstart = Quickstart::spawn(&mut command, &data);
    let follower = Follower::start(quickstart.control());
    let mut keys: Vec<String> = ["org", "workspace", "access"]
        .map(|family| quickstart.key(family).to_owned())
        .to_vec();
    keys.extend(two_secrets(&quickstart));
    keys.extend(two_secrets_in_paths(&quickstart));
    let [token, imported] = made_otherwise(&quickstart);
    keys.push(imported);
    let mut written = Written::default();
    for key in &keys {
        for place in [
            quickstart.gateway(),
            &follower.address,
            quickstart.control(),
            quickstart.ops(),
        ] {
            show_everywhere(place, key, &mut written);
        }
    }
    let tokens = [
        quickstart.admin_token().to_owned(),
        GATEWAY_TOKEN.to_owned(),
        token,
    ];
    show_tokens(&quickstart, &tokens, &mut written);
    written.add_files(quickstart.dir());
    let has_journal = |(what, _): &(String, _)| what.ends_with("keyward.db-wal");
    assert!(
        written.0.iter().any(has_journal),
        "the journal of the database is looked at"
    );
    follower.stop(&mut written);
    let (status, stdout, stderr) = quickstart.stop();
    assert!(status.success());
    assert!(
        stderr.contains("/v1/agents/a1"),
        "there is an access log to look at"
    );
    written.add("standard output", stdout);
    written.add("standard error", stderr);
    written.add_files(&data);
    let found: Vec<String> = keys
        .iter()
        .chain(&tokens)
        .flat_map(|secret| written.with(secret))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// How a gateway of a quickstart ends by a fault, with cores allowed by the system. Says whether it wrote one.
fn crashed(allowed: bool) -> bool {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = keyward();
    let program = command.get_program().to_owned();
    command = std::process::Command::new("sh");
    command
        .args(["-c", "ulimit -c unlimited 2>/dev/null; exec \"$0\" quickstart --json --listen 127.0.0.1:0 --dir data"])
        .arg(program)
        .current_dir(temporary.path());
    if allowed {
        command.env("KEYWARD_CORE_DUMPS", "allow");
    }
    let quickstart = Quickstart::spawn(&mut command, &temporary.path().join("data"));
    quickstart.signal("ABRT");
    quickstart.wait().0.core_dumped()
}

#[test]
fn a_crash_leaves_no_memory_behind() {
    if !crashed(true) {
        println!("not tried: no process leaves a core here");
        return;
    }
    assert!(!crashed(false));
}

#[test]
fn what_allows_cores_is_said_exactly() {
    let mut command = keyward();
    command.arg("schema").env("KEYWARD_CORE_DUMPS", "yes");
    let ended = crate::e2e_support::finish(&mut command, "");
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("KEYWARD_CORE_DUMPS"),
        "{}",
        ended.stderr
    );
}
