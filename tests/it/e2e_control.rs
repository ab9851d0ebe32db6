//! `keyward control`: a control plane that is a process of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::e2e_support::{Answer, Collected, Ended, finish, keyward, send, signal};

const ADMIN: &str = "admin-token-of-the-tests-0123456789";

/// A running `keyward control` on a free port, killed when the test ends however it ends.
pub struct Alone {
    child: Child,
    stderr: Option<Collected>,
    /// Where it listens.
    pub address: String,
}

/// The command, on a database in this directory, on a free port where no other is given.
pub fn command(directory: &Path, more: &[&str]) -> Command {
    let mut command = keyward();
    let database = format!("sqlite://{}/data/keyward.db", directory.display());
    command
        .args(["control", "--database", &database])
        .args(more);
    if !more.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command
}

impl Alone {
    /// Starts one on the database in this directory.
    pub fn start(directory: &Path, more: &[&str]) -> Self {
        Self::spawn(command(directory, more).env("KEYWARD_ADMIN_TOKEN", ADMIN))
    }

    /// Starts a prepared command and waits until it is ready.
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("it starts");
        let stderr = Some(Collected::from(child.stderr.take().expect("a pipe")));
        let mut alone = Self {
            child,
            stderr,
            address: String::new(),
        };
        alone.address = alone.event("ready")["control"]
            .as_str()
            .expect("an address")
            .to_owned();
        alone
    }

    /// The fields of the first event whose message begins so, waited for.
    pub fn event(&mut self, message: &str) -> Value {
        let stderr = self.stderr.as_ref().expect("it runs");
        stderr.event(&mut self.child, |text| text.starts_with(message))
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A request of its administrator, in clear text.
    pub fn administer(&self, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {ADMIN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let body = Some(body).filter(|body| !body.is_null());
        let body = body.map(Value::to_string).unwrap_or_default();
        let base = format!("http://{}", self.address);
        send(&base, method, path, &headers, &body)
    }

    /// Waits until it ends by itself; its code, and everything it said.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().expect("it ends").code();
        (code, self.stderr.take().expect("it ran").whole())
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn new_key(slug: &str) -> Value {
    json!({ "name": "CI", "slug": slug, "expiresAt": "2090-01-01T00:00:00Z" })
}

const KEYS: &str = "/v2/orgs/acme/api-keys";

#[test]
fn it_serves_keys_without_a_gateway_and_keeps_them() {
    let directory = tempfile::tempdir().unwrap();
    let alone = Alone::start(directory.path(), &[]);
    let made = alone.administer("POST", KEYS, &new_key("ci"));
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(alone.administer("GET", "/readyz", &Value::Null).status, 200);
    signal(alone.id(), "TERM");
    let (code, said) = alone.wait();
    assert_eq!(code, Some(0), "{said}");

    let again = Alone::start(directory.path(), &[]);
    let found = again.administer("GET", &format!("{KEYS}/ci"), &Value::Null);
    assert_eq!(found.status, 200, "{}", found.body);
}

#[test]
fn without_an_admin_token_it_makes_one_beside_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let alone = Alone::spawn(&mut command(directory.path(), &[]));
    let token = std::fs::read_to_string(directory.path().join("data/admin-token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let base = format!("http://{}", alone.address);
    let list = send(&base, "GET", KEYS, &[("authorization", &bearer)], "");
    assert_eq!(list.status, 200, "{}", list.body);
}

/// A request whose body is still to come.
fn half_a_request(alone: &Alone) -> TcpStream {
    let mut stream = TcpStream::connect(&alone.address).unwrap();
    let head = format!(
        "POST {KEYS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\nContent-Type: application/json\r\nContent-Length: 200\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Told to go on: the request is in flight from here.
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert!(told.starts_with(b"HTTP/1.1 100 Continue"));
    stream
}

#[test]
fn what_is_in_flight_is_finished_before_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(directory.path(), &[]);
    let mut stream = half_a_request(&alone);
    signal(alone.id(), "TERM");
    alone.event("ending");
    let body = format!("{:<200}", new_key("late").to_string());
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(alone.wait().0, Some(0));
}

#[test]
fn a_second_signal_ends_it_where_it_stands() {
    let directory = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(directory.path(), &["--graceful-shutdown", "1d"]);
    let _stream = half_a_request(&alone);
    signal(alone.id(), "TERM");
    alone.event("ending");
    signal(alone.id(), "TERM");
    assert_eq!(alone.wait().0, Some(0));
}

fn refused(command: &mut Command) -> Ended {
    let ended = finish(command.env("KEYWARD_ADMIN_TOKEN", ADMIN), "");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    ended
}

#[test]
fn what_is_in_the_way_is_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let mut beyond = keyward();
    beyond.args(["control", "--listen", "0.0.0.0:0", "--database"]);
    beyond.arg(format!("sqlite://{}/k.db", directory.path().display()));
    let ended = refused(&mut beyond);
    assert!(ended.stderr.contains("--insecure"), "{}", ended.stderr);

    let first = Alone::start(directory.path(), &[]);
    let ended = refused(&mut command(directory.path(), &[]));
    assert!(ended.stderr.contains("keyward control"), "{}", ended.stderr);
    drop(first);
}

/// The database can be given where nobody on the machine reads it.
#[test]
fn the_database_may_come_from_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}/e.db", directory.path().display());
    let mut command = keyward();
    command
        .args(["control", "--listen", "127.0.0.1:0"])
        .env("KEYWARD_DATABASE", database)
        .env("KEYWARD_ADMIN_TOKEN", ADMIN);
    let _alone = Alone::spawn(&mut command);
    assert!(directory.path().join("e.db").exists());
}
