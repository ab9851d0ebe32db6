//! The gateway under attack: the real binary with `hostile.yaml`, its keys, and everything that it wrote.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::upstream::Upstream;
use super::wire::Client;

/// A key of `acme` that may read agent `a1`.
pub const KEY: &str = "iak_acme_0b8f2c1e-5a4d-4c3b-9e2f-1a2b3c4d5e6f";
/// Another one of `acme`, which may do nothing.
pub const OTHER_KEY: &str = "iak_acme_1c8f2c1e-5a4d-4c3b-9e2f-1a2b3c4d5e6f";
/// A key of workspace `w1` that may read page `p1`.
pub const WORKSPACE_KEY: &str = "2d8f2c1e-5a4d-4c3b-9e2f-1a2b3c4d5e6f";
/// Well-formed, and nobody's.
pub const UNKNOWN_KEY: &str = "iak_acme_99999999-2222-4333-8444-555555555555";
/// What a user token looks like.
pub const USER_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln";

const ADMIN_TOKEN: &str = "hostile-0123456789abcdef0123456789abcdef";

/// Whoever listens, in the order of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listener {
    /// Trusts nobody.
    Plain = 0,
    /// Trusts proxies, of which the tests are one.
    Trusting,
    /// Those have to introduce each connection.
    Preamble,
    /// Others have to.
    Distrusting,
    /// Takes HTTP/2 as well.
    Http2,
}

/// What is attacked.
pub struct World {
    child: Child,
    listeners: Vec<SocketAddr>,
    output: Vec<Collected>,
    pub upstream: Upstream,
    /// What the gateway calls [`KEY`] and [`WORKSPACE_KEY`], by what stands for it in a row.
    pub key_ids: [(&'static str, String); 2],
    _data: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl World {
    pub fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let upstream = Upstream::start();
        let mut child = command(&upstream, data.path()).spawn().unwrap();
        let stdout = Collected::from(child.stdout.take().unwrap());
        let stderr = Collected::from(child.stderr.take().unwrap());
        let ready = stderr.ready(&mut child);
        let listeners = ready["gateway"].as_str().unwrap().split(", ");
        let mut world = Self {
            child,
            listeners: listeners.map(|address| address.parse().unwrap()).collect(),
            output: vec![stdout, stderr],
            upstream,
            key_ids: Default::default(),
            _data: data,
        };
        let control = ready["control"].as_str().unwrap().parse().unwrap();
        world.key_ids = make_keys(control);
        world
    }

    pub fn address(&self, listener: Listener) -> SocketAddr {
        self.listeners[listener as usize]
    }

    /// Ends the gateway, and looks for raw keys in all that it wrote, which is a line for each of so many requests at least.
    pub fn stop_without_keys_in_output(mut self, requests: usize) {
        let stop = format!("kill -TERM {}", self.child.id());
        let told = Command::new("sh").args(["-c", &stop]).status().unwrap();
        assert!(told.success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let wrote: Vec<String> = self.output.drain(..).map(Collected::whole).collect();
        assert!(wrote[0].lines().count() > requests, "one line a request");
        for text in wrote {
            for key in [KEY, OTHER_KEY, WORKSPACE_KEY, UNKNOWN_KEY, USER_TOKEN] {
                // Halves too: what is cut off is as bad.
                for part in [key, key.split_at(key.len() / 2).1] {
                    assert!(!text.contains(part), "{part} in the output");
                }
            }
        }
    }
}

fn command(upstream: &Upstream, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KEYWARD_")) {
        command.env_remove(name);
    }
    command
        .args(["run", "--config"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/hostile.yaml"))
        .env("KEYWARD_ADMIN_TOKEN", ADMIN_TOKEN)
        .env("HOSTILE_UPSTREAM", upstream.address.to_string())
        .env("HOSTILE_DATA", data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Makes the keys, and says what those are called that the upstream is told of.
fn make_keys(control: SocketAddr) -> [(&'static str, String); 2] {
    let rule = json!([{ "action": "read", "subject": "pages", "conditions": { "id": "p1" } }]);
    let lines = [
        json!({ "family": "org", "org": "acme", "slug": "one", "name": "One", "token": KEY,
            "permissions": ["agents:read"], "scopes": ["agents:a1"], "expiresAt": "2099-01-01T00:00:00Z" }),
        json!({ "family": "org", "org": "acme", "slug": "two", "name": "Two", "token": OTHER_KEY,
            "permissions": ["nothing:read"], "scopes": ["nothing:x"], "expiresAt": "2099-01-01T00:00:00Z" }),
        json!({ "family": "workspace", "workspace": "w1", "name": "Three", "token": WORKSPACE_KEY, "rules": rule }),
    ];
    let body = lines.map(|line| line.to_string()).join("\n");
    let made = administer(control, "POST", "/v1/import", &body);
    assert_eq!(made["created"], 3, "{made}");
    let id = |target: &str, place: &str| {
        let keys = administer(control, "GET", target, "");
        let id = keys.pointer(place).and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("{keys}")).to_owned()
    };
    let org = id("/v2/orgs/acme/api-keys?sort=slug", "/results/0/id");
    let workspace = id("/v2/workspaces/w1/security/apikeys", "/0/apiKey");
    [("{key_id}", org), ("{workspace_key_id}", workspace)]
}

fn administer(control: SocketAddr, method: &str, target: &str, body: &str) -> Value {
    let mut client = Client::connect(control);
    let length = body.len();
    client.send(
        format!(
            "{method} {target} HTTP/1.1\r\nHost: control\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .as_bytes(),
    ).unwrap();
    let answer = client.answer(false).unwrap();
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

/// Text that a process goes on writing, collected by a thread.
struct Collected {
    text: Arc<Mutex<String>>,
    thread: JoinHandle<()>,
}

impl Collected {
    fn from(source: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&text);
        let thread = std::thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                let mut text = into.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { text, thread }
    }

    fn whole(self) -> String {
        self.thread.join().unwrap();
        self.text.lock().unwrap().clone()
    }

    /// What the process says when it is ready.
    fn ready(&self, child: &mut Child) -> Value {
        loop {
            let text = self.text.lock().unwrap().clone();
            let events = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            let fields = events.map(|event: Value| event["fields"].clone());
            if let Some(ready) = { fields }.find(|fields| fields["message"] == "ready") {
                return ready;
            }
            assert_eq!(child.try_wait().unwrap(), None, "it ended:\n{text}");
            std::thread::yield_now();
        }
    }
}
