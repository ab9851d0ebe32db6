//! A PostgreSQL for tests: one server that all tests of a run share, and a schema of its own for each that asks.
//!
//! Without one a test fails: that nothing was tested must not look as if all were well.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;

use crate::control_support::{runtime, use_server};

/// A server that is somebody else's: the URL of a database in which schemas can be made.
const VARIABLE: &str = "KEYWARD_TEST_POSTGRES";

/// The server, and the lock that says that somebody uses it.
struct Server {
    url: String,
    _user: Option<File>,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// The URL of an empty schema at the server of this run.
pub fn schema() -> String {
    schema_at(&SERVER.get_or_init(start).url)
}

fn schema_at(server: &str) -> String {
    let number = SCHEMAS.fetch_add(1, Ordering::Relaxed);
    let name = format!("test_{}_{number}", std::process::id());
    runtime().block_on(async {
        let mut connection = PgConnection::connect(server).await.unwrap();
        // A process of an earlier run may have had this id.
        let sql = format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}");
        let made = sqlx::raw_sql(AssertSqlSafe(sql));
        made.execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
    let mark = if server.contains('?') { '&' } else { '?' };
    format!("{server}{mark}options=-csearch_path%3D{name}")
}

fn start() -> Server {
    if let Ok(url) = std::env::var(VARIABLE) {
        return Server { url, _user: None };
    }
    let directory = directory();
    let user = open(&directory.join("users"));
    user.lock_shared().unwrap();
    let starting = open(&directory.join("start"));
    starting.lock().unwrap();
    let url = url_at(&directory);
    let is_there = runtime().block_on(async { PgConnection::connect(&url).await.is_ok() });
    if !is_there {
        run(&directory);
    }
    Server {
        url,
        _user: Some(user),
    }
}

fn url_at(directory: &Path) -> String {
    let socket = directory.join("socket");
    let socket = socket.to_str().unwrap().replace('/', "%2F");
    format!("postgres://keyward@{socket}/postgres")
}

/// A directory of this user that all runs on this machine share. Its name is short: a socket's path has 107 bytes.
fn directory() -> PathBuf {
    let home = fs::metadata("/proc/self").unwrap();
    let user = std::os::unix::fs::MetadataExt::uid(&home);
    let path = std::env::temp_dir().join(format!("keyward-test-postgres-{user}"));
    let mut made = DirBuilder::new();
    _ = made.mode(0o711).create(&path);
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&path).unwrap());
    assert_eq!(owner, user, "{} is somebody else's", path.display());
    path
}

fn open(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    options.open(path).unwrap()
}

/// A server of one test, which it may stop.
pub struct OwnServer {
    directory: TempDir,
    process: Mutex<Child>,
}

impl OwnServer {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = script().arg(directory.path()).arg("init").status();
        assert!(
            made.unwrap().success(),
            "`make test` installs what it needs"
        );
        let process = Mutex::new(postgres(directory.path()));
        Self { directory, process }
    }

    /// A directory for control planes on a schema of this server.
    pub fn directory(&self) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        use_server(directory.path(), &schema_at(&url_at(self.directory.path())));
        directory
    }

    /// Stops it as if it had crashed: no transaction ends, nobody is told.
    pub fn stop_at_once(&self) {
        let mut process = self.process.lock().unwrap();
        let told = Command::new("kill")
            .args(["-QUIT", &process.id().to_string()])
            .status();
        assert!(told.unwrap().success());
        process.wait().unwrap();
    }

    /// Starts it again.
    pub fn run_again(&self) {
        *self.process.lock().unwrap() = postgres(self.directory.path());
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            _ = self.process.lock().map(|mut process| process.kill());
        } else {
            self.stop_at_once();
        }
    }
}

/// Starts a server and waits until it says that it takes connections.
fn postgres(directory: &Path) -> Child {
    let mut child = script()
        .arg(directory)
        .arg("run")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let is_ready = lines.any(|line| line.contains("ready to accept connections"));
    assert!(is_ready, "PostgreSQL does not start");
    // Whatever else it says must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn script() -> Command {
    let mut script =
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-postgres"));
    script.stdin(Stdio::null());
    script
}

/// Starts the server, which ends by itself when nobody holds the lock any more.
#[expect(clippy::zombie_processes, reason = "it outlives this process")]
fn run(directory: &Path) {
    let mut child = script()
        .arg(directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut said).unwrap();
    assert_eq!(said.trim(), "ready", "`make test` installs what it needs");
}
