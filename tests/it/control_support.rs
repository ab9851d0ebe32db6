//! A control plane for tests: in a directory of its own, on a free port, with a clock that tests turn.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyward::authz::{Pepper, Revision, Timestamp};
use keyward::control::{AdminToken, Config, Control, GatewayToken, OpenError};
use keyward::wire::{Change, ChangeSink, Epoch, Incomplete, KeySource, SecretEntry};
use serde_json::Value;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

use crate::support_postgres;

/// The admin token of every test.
pub const ADMIN: &str = "admin-token-of-the-tests-0123456789";
/// The gateway token of every test.
pub const GATEWAY: &str = "gateway-token-of-the-tests-0123456789";
/// The moment at which every test begins: 2026-11-20T00:00:00Z.
pub const START: i64 = 1_795_132_800_000;

/// What was given to a gateway.
#[derive(Debug, Default)]
pub struct Sink {
    /// Epoch and revision of the last whole state.
    pub loaded: Mutex<Option<(Epoch, Revision)>>,
    /// The keys of the last whole state.
    pub entries: Mutex<Vec<SecretEntry>>,
    /// The changes since.
    pub changes: Mutex<Vec<Change>>,
    /// Tells that there is something new.
    pub changed: watch::Sender<()>,
}

impl Sink {
    /// How far it has come.
    pub fn revision(&self) -> Revision {
        let last = self
            .changes
            .lock()
            .unwrap()
            .last()
            .map(|change| change.revision);
        let loaded = *self.loaded.lock().unwrap();
        last.or(loaded.map(|(_, revision)| revision))
            .unwrap_or(Revision(0))
    }
}

impl ChangeSink for Sink {
    fn load(&self, source: &mut dyn KeySource) -> Result<(), Incomplete> {
        let entries = source.entries().collect();
        source.is_whole().then_some(()).ok_or(Incomplete)?;
        self.changes.lock().unwrap().clear();
        *self.loaded.lock().unwrap() = Some((source.epoch(), source.revision()));
        *self.entries.lock().unwrap() = entries;
        self.changed.send_replace(());
        Ok(())
    }

    fn apply(&self, change: &Change) {
        self.changes.lock().unwrap().push(change.clone());
        self.changed.send_replace(());
    }
}

/// The file in a test's directory that names the database at a server that the test uses instead of a file.
const AT_SERVER: &str = "postgres-url";

/// A directory for a test whose database is a file in it.
pub fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A directory for a test whose database is a schema of its own at the server of this run.
pub fn directory_at_server() -> TempDir {
    let directory = directory();
    use_server(directory.path(), &support_postgres::schema());
    directory
}

/// Makes a directory's database one at a server.
pub fn use_server(directory: &Path, url: &str) {
    fs::write(directory.join(AT_SERVER), url).unwrap();
}

/// A control plane whose database is a file that goes with it.
pub fn plane() -> Plane {
    Plane::start_with(directory())
}

/// Where the database of this directory is.
fn database_of(directory: &Path) -> String {
    let file = directory.join("keyward.db");
    fs::read_to_string(directory.join(AT_SERVER))
        .unwrap_or_else(|_| format!("sqlite://{}", file.display()))
}

/// Settings on a database in this directory.
pub fn config(directory: &Path) -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        database: database_of(directory),
        admin_tokens: vec![AdminToken::new(ADMIN).unwrap()],
        gateway_tokens: vec![GatewayToken::new(GATEWAY).unwrap()],
        pepper: Pepper::derive("the pepper of the tests"),
        tls: None,
        insecure: false,
    }
}

/// A clock that stands at [`START`] until somebody moves it.
#[derive(Debug, Clone)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    pub fn new() -> Self {
        Self(Arc::new(AtomicI64::new(START)))
    }

    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    pub fn shared(&self) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

/// The file of a directory, to look into it past the control plane.
pub fn look_into_file(directory: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(directory.join("keyward.db"));
    runtime()
        .block_on(SqliteConnection::connect_with(&options))
        .unwrap()
}

/// The database of a directory, to look into it past the control plane.
pub fn look_into(directory: &Path) -> Database {
    let runtime = runtime();
    let Ok(url) = fs::read_to_string(directory.join(AT_SERVER)) else {
        return Database::File(look_into_file(directory));
    };
    let connection = runtime.block_on(PgConnection::connect(&url)).unwrap();
    Database::Server(Box::new((runtime, connection)))
}

/// A database past the control plane.
pub enum Database {
    File(SqliteConnection),
    /// Its connection lives on a runtime of its own.
    Server(Box<(Runtime, PgConnection)>),
}

impl Database {
    /// Carries statements out.
    pub fn execute(&mut self, sql: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        match self {
            Self::File(file) => _ = runtime().block_on(sql.execute(file)).unwrap(),
            Self::Server(server) => {
                let (runtime, connection) = &mut **server;
                _ = runtime.block_on(sql.execute(connection)).unwrap();
            }
        }
    }

    /// The one number that is asked for.
    pub fn number(&mut self, sql: &'static str) -> i64 {
        match self {
            Self::File(file) => runtime()
                .block_on(sqlx::query_scalar(sql).fetch_one(file))
                .unwrap(),
            Self::Server(server) => {
                let (runtime, connection) = &mut **server;
                runtime
                    .block_on(sqlx::query_scalar(sql).fetch_one(connection))
                    .unwrap()
            }
        }
    }

    /// The texts of the columns of all rows.
    pub fn texts(&mut self, sql: &'static str, columns: usize) -> Vec<Vec<Option<String>>> {
        match self {
            Self::File(file) => {
                let rows = runtime()
                    .block_on(sqlx::query(sql).fetch_all(file))
                    .unwrap();
                let read = |row: &SqliteRow| (0..columns).map(|column| row.get(column)).collect();
                rows.iter().map(read).collect()
            }
            Self::Server(server) => {
                let (runtime, connection) = &mut **server;
                let rows = runtime
                    .block_on(sqlx::query(sql).fetch_all(connection))
                    .unwrap();
                let read = |row: &PgRow| (0..columns).map(|column| row.get(column)).collect();
                rows.iter().map(read).collect()
            }
        }
    }
}

/// Opens a control plane on a runtime.
pub fn open(runtime: &Runtime, config: &Config, clock: &Clock) -> Result<Control, OpenError> {
    runtime.block_on(Control::open(config, "a test", clock.shared()))
}

/// A runtime for one test.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// A control plane that serves.
pub struct Plane {
    pub address: SocketAddr,
    pub clock: Clock,
    pub sink: Arc<Sink>,
    pub control: Arc<Control>,
    pub runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    stopped: Option<tokio::task::JoinHandle<()>>,
    directory: PathBuf,
    _temporary: Option<TempDir>,
}

impl Plane {
    /// One with a database of its own, a file that goes with it.
    pub fn start() -> Self {
        Self::start_with(directory())
    }

    /// One on the database in a directory that goes with it.
    pub fn start_with(temporary: TempDir) -> Self {
        let mut plane = Self::start_in(temporary.path(), Clock::new());
        plane._temporary = Some(temporary);
        plane
    }

    /// One on the database in this directory, with a gateway attached.
    pub fn start_in(directory: &Path, clock: Clock) -> Self {
        Self::serve(directory, clock, true)
    }

    /// One on the database in this directory that no gateway follows.
    pub fn start_alone(directory: &Path) -> Self {
        Self::start_alone_at(directory, Clock::new())
    }

    /// The same by another clock.
    pub fn start_alone_at(directory: &Path, clock: Clock) -> Self {
        Self::serve(directory, clock, false)
    }

    fn serve(directory: &Path, clock: Clock, with_gateway: bool) -> Self {
        let runtime = runtime();
        let control = Arc::new(open(&runtime, &config(directory), &clock).unwrap());
        let sink = Arc::new(Sink::default());
        if with_gateway {
            let attached = control.attach(Arc::clone(&sink) as Arc<dyn ChangeSink>);
            runtime.block_on(attached).unwrap();
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = oneshot::channel::<()>();
        let serving = Arc::clone(&control);
        let stopped = runtime.spawn(async move {
            let shutdown = async {
                _ = stopping.await;
            };
            serving
                .serve(listener, shutdown, Duration::from_secs(10))
                .await
                .unwrap();
        });
        Self {
            address,
            clock,
            sink,
            control,
            runtime,
            stop: Some(stop),
            stopped: Some(stopped),
            directory: directory.to_owned(),
            _temporary: None,
        }
    }

    /// The directory of the database.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Ends serving, as a signal would, and waits for it.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(stopped) = self.stopped.take() {
            self.runtime.block_on(stopped).unwrap();
        }
    }

    /// A request with the admin token.
    pub fn admin(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call(
            method,
            path,
            &[("authorization", &format!("Bearer {ADMIN}"))],
            body,
        )
    }

    /// A request with an API key.
    pub fn with_key(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call(method, path, &[("x-prismeai-api-key", key)], body)
    }

    /// A request with these headers.
    pub fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        call(self.address, method, path, headers, body.as_bytes())
    }

    /// The entries of the audit log, past the control plane.
    pub fn audit(&self) -> Vec<Value> {
        const COLUMNS: [&str; 9] = [
            "revision",
            "at",
            "actor",
            "action",
            "family",
            "tenant",
            "key_id",
            "before_state",
            "after_state",
        ];
        const QUERY: &str = "SELECT CAST(revision AS TEXT), CAST(at AS TEXT), actor, action, family, tenant, key_id, before_state, after_state \
             FROM audit ORDER BY seq";
        let entries = look_into(&self.directory).texts(QUERY, COLUMNS.len());
        let named = |values: Vec<_>| COLUMNS.iter().map(|name| (*name).to_owned()).zip(values);
        let entries = entries.into_iter().map(named);
        entries
            .map(|entry| {
                entry
                    .map(|(name, text)| (name, Value::from(text)))
                    .collect()
            })
            .collect()
    }

    /// Makes a key and gives its id and its secret.
    pub fn create(&self, org: &str, body: Value) -> (String, String) {
        let made = self.admin("POST", &format!("/v2/orgs/{org}/api-keys"), Some(body));
        assert_eq!(made.status, 201, "{:?}", made.body);
        (made.text("id"), made.text("apiKey"))
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Value,
    pub raw: String,
}

impl Answer {
    /// The one header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(own, _)| own == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "two headers `{name}`");
        value
    }

    /// A string member of the body.
    pub fn text(&self, member: &str) -> String {
        self.body[member]
            .as_str()
            .unwrap_or_else(|| panic!("no `{member}` in {}", self.raw))
            .to_owned()
    }

    /// The revision that it carries.
    pub fn revision(&self) -> u64 {
        self.header("keyward-revision")
            .expect("a revision")
            .parse()
            .unwrap()
    }

    /// Asserts a refusal of this status and name, and gives its `details`.
    #[track_caller]
    pub fn refused(&self, status: u16, error: &str) -> &Value {
        assert_eq!(
            (self.status, self.body["error"].as_str()),
            (status, Some(error)),
            "{}",
            self.raw
        );
        assert!(self.body["message"].is_string());
        assert_eq!(self.header("cache-control"), Some("no-store"));
        &self.body["details"]
    }
}

/// One request on a connection of its own.
pub fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: control\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    // A refusal may come, and the connection close, before the body is written.
    _ = stream.write_all(body);
    let mut raw = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut chunk) {
        raw.extend_from_slice(&chunk[..length]);
    }
    parse(&String::from_utf8(raw).expect("an answer in UTF-8"))
}

fn parse(raw: &str) -> Answer {
    let (head, body) = raw
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer in {raw:?}"));
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap_or((line, "")))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Answer {
        status,
        headers,
        body: serde_json::from_str(body).unwrap_or_default(),
        raw: raw.to_owned(),
    }
}
