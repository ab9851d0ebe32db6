//! Opening a database: the lock, the settings that durability rests on, migrations, and whose it is.
//!
//! Whatever is in the way becomes one line that says what to do.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection};
use tokio::sync::Mutex;

use super::lock::{Lock, LockError};
use super::{ReadOnlyStore, Store, StoreError, Writer};
use crate::authz::{Pepper, Timestamp};
use crate::control::config::sqlite_path;
use crate::control::tls::TlsError;
use crate::control::token;
use crate::wire::Epoch;

/// The schema, as steps from an empty file.
static MIGRATIONS: Migrator = sqlx::migrate!("src/control/migrations");

/// Marks a file as ours among SQLite's: `KEYW` in ASCII.
const APPLICATION_ID: i64 = 1_262_836_055;
/// Connections that answer reads while the writer writes.
const READERS: u32 = 4;
/// How long a statement waits for another process, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a read waits for a connection.
const READER_WAIT: Duration = Duration::from_secs(10);
/// Rows that a connection reads ahead.
const ROWS_AHEAD: usize = 1024;
/// What the writer keeps of the file in memory, as SQLite has it: 64 MiB. Digests fall anywhere, and so the pages that a
/// thousand new keys touch are as many.
const WRITER_CACHE: &str = "-65536";
/// Pages of the log after which it is carried over into the file: 128 MiB, so that a page that many transactions touch
/// is carried over once.
const LOG_PAGES: &str = "32768";
/// SQLite's code for `synchronous=FULL`.
const SYNCHRONOUS_FULL: i64 = 2;

/// Why a control plane cannot be opened: one line that says what is in the way and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The listener would be reachable from elsewhere, in clear text.
    #[error(
        "the control plane listens on {0}, which is not loopback: give it a certificate, use a loopback address, or `--insecure` to send tokens in clear text"
    )]
    NotLoopback(SocketAddr),
    /// The listener cannot have the TLS that it is to have.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody could administer it, or too many could.
    #[error(
        "the control plane needs one admin token, or two while they are being changed; it has {0}"
    )]
    AdminTokens(usize),
    /// The text is no place of a database.
    #[error("`{0}` is no database: write `sqlite://PATH`")]
    Url(String),
    /// It is read only, and there is nothing to read.
    #[error("there is no database at {path}: start `keyward run` once to make it", path = .0.display())]
    Missing(PathBuf),
    /// Directory or file cannot be written.
    #[error("{path} cannot be written: give this user write access, or choose another place", path = path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process serves from it.
    #[error(
        "the database {path} is in use by {holder}: stop that process, or give this one another database",
        path = path.display()
    )]
    InUse {
        /// Which.
        path: PathBuf,
        /// What that process said of itself.
        holder: String,
    },
    /// The file is none of SQLite's, or broken.
    #[error("the database {path} is damaged: restore it from a backup, or move it away to start with an empty one", path = path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What SQLite says, or what is in a row.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Somebody else's database.
    #[error("{path} is the database of another program: choose another place", path = .0.display())]
    Foreign(PathBuf),
    /// A newer version of Keyward made it.
    #[error("the database {path} was made by a newer version of Keyward: run that version", path = .0.display())]
    Newer(PathBuf),
    /// An older version of Keyward made it, and it must not be written to.
    #[error("the database {path} was made by an older version of Keyward: start `keyward run` once to bring it up to date", path = .0.display())]
    Older(PathBuf),
    /// Its digests were made with another pepper.
    #[error("the database {path} was made with another pepper: set `credentials.pepper` to the one it was made with", path = .0.display())]
    Pepper(PathBuf),
    /// SQLite would not promise to keep what was answered.
    #[error("the database {path} does not take the settings that durability rests on: choose a local file system", path = .0.display())]
    NotDurable(PathBuf),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Randomness(#[from] token::NoRandomness),
    /// It opened, but could not be read.
    #[error("the database cannot be read")]
    Unreadable(#[source] StoreError),
    /// Anything else that SQLite says.
    #[error("the database {path} cannot be opened", path = path.display())]
    Failed {
        /// Which.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: StoreError,
    },
}

impl Store {
    /// Opens a database for serving from it, made where there is none.
    pub(in crate::control) async fn open(
        url: &str,
        pepper: Option<&Pepper>,
        purpose: &str,
        now: Timestamp,
    ) -> Result<Self, OpenError> {
        let path = prepare(&path_of(url)?)?;
        let who = format!("process {}, {purpose}", std::process::id());
        let lock = Lock::take(&path, &who).map_err(|error| match error {
            LockError::Held(holder) => OpenError::InUse {
                path: path.clone(),
                holder,
            },
            LockError::Io(source) => OpenError::Unwritable {
                path: path.clone(),
                source,
            },
        })?;
        let fault = |source: sqlx::Error| fault(&path, source.into());
        let options = options(&path).synchronous(SqliteSynchronous::Full);
        let writing = options
            .clone()
            .pragma("cache_size", WRITER_CACHE)
            .pragma("wal_autocheckpoint", LOG_PAGES);
        let mut writer = writing.connect().await.map_err(fault)?;
        if check_owner(&mut writer, &path).await? == Owned::Empty {
            sqlx::query("PRAGMA application_id = 1262836055")
                .execute(&mut writer)
                .await
                .map_err(fault)?;
        }
        make_durable(&mut writer, &path).await?;
        migrate(&mut writer, &path).await?;
        let epoch = identify(&mut writer, pepper, &path).await?;
        super::write::forget_tombstones(&mut writer, now)
            .await
            .map_err(|source| self::fault(&path, source))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READER_WAIT)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone().read_only(true))
            .await
            .map_err(fault)?;
        Ok(Self {
            readers,
            writer: Mutex::new(Writer::new(options, writer)),
            epoch,
            _lock: lock,
        })
    }
}

impl ReadOnlyStore {
    /// Opens a database to look at it, also while a process serves from it.
    pub(in crate::control) async fn open(
        url: &str,
        pepper: Option<&Pepper>,
    ) -> Result<Self, OpenError> {
        let path = path_of(url)?;
        if !path.exists() {
            return Err(OpenError::Missing(path));
        }
        let mut connection = options(&path)
            .read_only(true)
            .connect()
            .await
            .map_err(|source| fault(&path, source.into()))?;
        check_owner(&mut connection, &path).await?;
        check_version(&mut connection, &path).await?;
        let epoch = check_identity(&mut connection, pepper, &path)
            .await?
            .ok_or_else(|| OpenError::Older(path.clone()))?;
        Ok(Self {
            connection: Mutex::new(connection),
            epoch,
        })
    }
}

/// The file that a database URL names.
fn path_of(url: &str) -> Result<PathBuf, OpenError> {
    sqlite_path(url).ok_or_else(|| OpenError::Url(without_password(url)))
}

/// A database URL without what stands between `//` and `@`.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://…@{place}"),
        _ => url.to_owned(),
    }
}

/// Makes directory and file where they are missing, for this user only, and gives the one name that the file has.
fn prepare(path: &Path) -> Result<PathBuf, OpenError> {
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Unwritable { path, source }
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    fs::create_dir_all(directory).map_err(unwritable(directory))?;
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(unwritable(path))?;
    fs::canonicalize(path).map_err(unwritable(path))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(ROWS_AHEAD)
        .disable_statement_logging()
}

/// What a database that may be used is.
#[derive(Debug, PartialEq, Eq)]
enum Owned {
    /// Ours.
    Ours,
    /// Nobody's yet.
    Empty,
}

/// Refuses a database that holds something but is not ours.
async fn check_owner(connection: &mut SqliteConnection, path: &Path) -> Result<Owned, OpenError> {
    let fault = |source: sqlx::Error| fault(path, source.into());
    let id: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *connection)
        .await
        .map_err(fault)?;
    if id == APPLICATION_ID {
        return Ok(Owned::Ours);
    }
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *connection)
        .await
        .map_err(fault)?;
    if id != 0 || tables != 0 {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    Ok(Owned::Empty)
}

async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    MIGRATIONS
        .run_direct(None, connection, false)
        .await
        .map_err(|error| migration_fault(path, error))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of the migrator, not of ours, that may grow"
)]
fn migration_fault(path: &Path, error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => {
            OpenError::Newer(path.to_owned())
        }
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
            fault(path, source.into())
        }
        other => fault(path, sqlx::Error::Migrate(Box::new(other)).into()),
    }
}

/// What `migrate` would find, for a database that must not be written to.
async fn check_version(connection: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let fault = |source: sqlx::Error| fault(path, source.into());
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
            .fetch_one(&mut *connection)
            .await
            .map_err(fault)?;
    if tables == 0 {
        return Err(OpenError::Older(path.to_owned()));
    }
    let latest = MIGRATIONS.iter().map(|step| step.version).max();
    let applied: Option<i64> =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(connection)
            .await
            .map_err(fault)?;
    match applied.cmp(&latest) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(OpenError::Older(path.to_owned())),
        std::cmp::Ordering::Greater => Err(OpenError::Newer(path.to_owned())),
    }
}

/// Sets what durability rests on, and asks SQLite whether it took it: some file systems cannot.
async fn make_durable(connection: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let fault = |source: sqlx::Error| fault(path, source.into());
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode = WAL")
        .fetch_one(&mut *connection)
        .await
        .map_err(fault)?;
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(&mut *connection)
        .await
        .map_err(fault)?;
    if journal.eq_ignore_ascii_case("wal") && synchronous == SYNCHRONOUS_FULL {
        Ok(())
    } else {
        Err(OpenError::NotDurable(path.to_owned()))
    }
}

/// Gives a new database its identity, or checks the one it has.
async fn identify(
    connection: &mut SqliteConnection,
    pepper: Option<&Pepper>,
    path: &Path,
) -> Result<Epoch, OpenError> {
    if let Some(epoch) = check_identity(connection, pepper, path).await? {
        return Ok(epoch);
    }
    let epoch: [u8; 16] = token::random()?;
    sqlx::query("INSERT INTO meta (only_row, epoch, revision, pepper) VALUES (1, ?, 0, ?)")
        .bind(epoch.as_slice())
        .bind(Pepper::check_value(pepper).as_slice())
        .execute(connection)
        .await
        .map_err(|source| fault(path, source.into()))?;
    Ok(Epoch(u128::from_be_bytes(epoch)))
}

/// The identity of a database, if it has one; the pepper must be the one that it was made with.
async fn check_identity(
    connection: &mut SqliteConnection,
    pepper: Option<&Pepper>,
    path: &Path,
) -> Result<Option<Epoch>, OpenError> {
    let row: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as("SELECT epoch, pepper FROM meta")
        .fetch_optional(connection)
        .await
        .map_err(|source| fault(path, source.into()))?;
    let Some((epoch, check_value)) = row else {
        return Ok(None);
    };
    if check_value != Pepper::check_value(pepper) {
        return Err(OpenError::Pepper(path.to_owned()));
    }
    let epoch: [u8; 16] = epoch
        .try_into()
        .map_err(|_| fault(path, StoreError::Unreadable("epoch")))?;
    Ok(Some(Epoch(u128::from_be_bytes(epoch))))
}

/// What a refusal of SQLite means to whoever starts the program.
fn fault(path: &Path, source: StoreError) -> OpenError {
    let path = path.to_owned();
    match source {
        // Without its own words, which are the same.
        StoreError::Damaged(source) => OpenError::Damaged {
            path,
            source: source.into(),
        },
        StoreError::Unreadable(_) => OpenError::Damaged {
            path,
            source: source.into(),
        },
        StoreError::Database(error)
            if matches!(super::primary_code(&error), Some(READ_ONLY | CANNOT_OPEN)) =>
        {
            let source = io::Error::other(error);
            OpenError::Unwritable { path, source }
        }
        StoreError::Database(_) | StoreError::AlreadyAttached | StoreError::Interrupted => {
            OpenError::Failed { path, source }
        }
    }
}

/// SQLite's code for a database that cannot be written to.
const READ_ONLY: i64 = 8;
/// SQLite's code for a file that cannot be opened.
const CANNOT_OPEN: i64 = 14;
