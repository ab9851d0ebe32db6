//! Opening a file: the lock, the settings that durability rests on, and whether it is ours.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection};

use super::{OpenError, Opened, READER_WAIT, READERS, Way, fault, migration_fault};
use crate::authz::{Pepper, Timestamp};
use crate::control::store::lock::{Lock, LockError};
use crate::control::store::sql::{self, Conn, Connection, Pool};
use crate::control::store::witness::{self, Incarnation, Witness};
use crate::control::store::{StoreError, epoch, primary_code, read, row};

/// The schema, as steps from an empty file.
static MIGRATIONS: Migrator = sqlx::migrate!("src/control/migrations/sqlite");

/// Marks a file as ours among SQLite's: `KEYW` in ASCII.
const APPLICATION_ID: i64 = 1_262_836_055;
/// How long a statement waits for another process, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
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
/// SQLite's code for a database that cannot be written to.
const READ_ONLY: i64 = 8;
/// SQLite's code for a file that cannot be opened.
const CANNOT_OPEN: i64 = 14;

/// Opens a file for serving from it, made where there is none.
pub(super) async fn open(
    path: &Path,
    pepper: Option<&Pepper>,
    purpose: &str,
    now: Timestamp,
) -> Result<Opened, OpenError> {
    let path = prepare(path)?;
    let name = path.display().to_string();
    let lock = take_lock(&path, purpose)?;
    let fault = |source: sqlx::Error| fault(&name, source.into());
    let options = options(&path).synchronous(SqliteSynchronous::Full);
    let writing = options
        .clone()
        .pragma("cache_size", WRITER_CACHE)
        .pragma("wal_autocheckpoint", LOG_PAGES);
    let mut writer = writing.connect().await.map_err(fault)?;
    if check_owner(&mut writer, &name).await? == Owned::Empty {
        sqlx::query("PRAGMA application_id = 1262836055")
            .execute(&mut writer)
            .await
            .map_err(fault)?;
    }
    make_durable(&mut writer, &name).await?;
    MIGRATIONS
        .run_direct(None, &mut writer, false)
        .await
        .map_err(|error| migration_fault(&name, error))?;
    super::identify(&mut Conn::Sqlite(&mut writer), pepper, &name).await?;
    let mut conn = Conn::Sqlite(&mut writer);
    let witness = recognise(&mut conn, &path, now).await;
    let witness = witness.map_err(|fault| fault.named(&path))?;
    let readers = readers(options.read_only(true)).await.map_err(fault)?;
    Ok(Opened {
        way: Way::Sqlite(Box::new(writing)),
        writer: Connection::Sqlite(writer),
        readers: Pool::Sqlite(readers),
        lock: Some(lock),
        witness: Some(witness),
        name,
    })
}

/// Why a file could not be recognised.
enum Unrecognised {
    /// The database failed.
    Store(StoreError),
    /// The file beside it did.
    Witness(io::Error),
}

impl Unrecognised {
    fn named(self, path: &Path) -> OpenError {
        match self {
            Self::Store(source) => fault(&path.display().to_string(), source),
            Self::Witness(source) => OpenError::Unwritable {
                path: path.to_owned(),
                source,
            },
        }
    }
}

impl<E: Into<StoreError>> From<E> for Unrecognised {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// Sees whether the file goes on where it was left here, else gives it another history; and remembers that it is
/// served from here now.
async fn recognise(
    conn: &mut Conn<'_>,
    path: &Path,
    now: Timestamp,
) -> Result<Witness, Unrecognised> {
    let row = sql::query("SELECT revision, incarnation FROM meta")
        .fetch_one(conn)
        .await?;
    let revision = row::revision(row.try_get(0)?)?;
    let former: Option<Vec<u8>> = row.try_get(1)?;
    let former = former.and_then(|bytes| bytes.try_into().ok().map(Incarnation));
    let is_new = former.is_none() && read::count(conn).await? == 0;
    if !is_new && !witness::goes_on(path, former, revision) {
        epoch::renew(conn, now).await?;
    }
    let incarnation = Incarnation::fresh().map_err(StoreError::from)?;
    let witness = Witness::begin(path, incarnation, former, revision);
    let witness = witness.map_err(Unrecognised::Witness)?;
    let Incarnation(bytes) = incarnation;
    sql::query("UPDATE meta SET incarnation = $1")
        .bind(bytes.as_slice())
        .execute(conn)
        .await?;
    Ok(witness)
}

async fn readers(options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(READER_WAIT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
}

/// Opens a file to look at it.
pub(super) async fn look_into(
    path: PathBuf,
    pepper: Option<&Pepper>,
) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing(path));
    }
    let name = path.display().to_string();
    let connected = options(&path).read_only(true).connect().await;
    let mut connection = connected.map_err(|source| fault(&name, source.into()))?;
    check_owner(&mut connection, &name).await?;
    if !has_migrations(&mut connection, &name).await? {
        return Err(OpenError::Older(name));
    }
    let mut conn = Conn::Sqlite(&mut connection);
    super::check_version(&mut conn, &MIGRATIONS, &name).await?;
    if super::has_identity(&mut conn, pepper, &name).await? {
        Ok(Connection::Sqlite(connection))
    } else {
        Err(OpenError::Older(name))
    }
}

fn take_lock(path: &Path, purpose: &str) -> Result<Lock, OpenError> {
    let who = format!("process {}, {purpose}", std::process::id());
    Lock::take(path, &who).map_err(|error| match error {
        LockError::Held(holder) => OpenError::InUse {
            database: path.display().to_string(),
            holder,
        },
        LockError::Io(source) => OpenError::Unwritable {
            path: path.to_owned(),
            source,
        },
    })
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
async fn check_owner(connection: &mut SqliteConnection, name: &str) -> Result<Owned, OpenError> {
    let fault = |source: sqlx::Error| fault(name, source.into());
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
        return Err(OpenError::Foreign(name.to_owned()));
    }
    Ok(Owned::Empty)
}

async fn has_migrations(connection: &mut SqliteConnection, name: &str) -> Result<bool, OpenError> {
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
            .fetch_one(connection)
            .await
            .map_err(|source| fault(name, source.into()))?;
    Ok(tables != 0)
}

/// Sets what durability rests on, and asks SQLite whether it took it: some file systems cannot.
async fn make_durable(connection: &mut SqliteConnection, name: &str) -> Result<(), OpenError> {
    let fault = |source: sqlx::Error| fault(name, source.into());
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
        Err(OpenError::NotDurable(name.to_owned()))
    }
}

/// What it is when SQLite says that it cannot write, or what it was.
pub(super) fn unwritable(name: &str, error: sqlx::Error) -> Result<OpenError, sqlx::Error> {
    match primary_code(&error) {
        Some(READ_ONLY | CANNOT_OPEN) => Ok(OpenError::Unwritable {
            path: PathBuf::from(name),
            source: io::Error::other(error),
        }),
        Some(_) | None => Err(error),
    }
}
