//! Opening a database, whichever it is: its place, migrations, and whose it is.
//!
//! Whatever is in the way becomes one line that says what to do.

mod error;
mod postgres;
mod sqlite;

use std::path::PathBuf;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::sync::Mutex;

use super::sql::{self, Conn, Connection, Pool};
use super::witness::Witness;
use super::{ReadOnlyStore, Store, StoreError, Writer, lock};
use crate::authz::{Pepper, Timestamp};
use crate::control::config::{is_at_server, sqlite_path, without_password};
use crate::control::token;

pub use error::OpenError;
pub(super) use postgres::answers;

/// Connections that answer reads while the writer writes.
const READERS: u32 = 4;
/// How long a read waits for a connection.
const READER_WAIT: Duration = Duration::from_secs(10);

/// Where a database is.
enum Place {
    /// In a file.
    File(PathBuf),
    /// At a server.
    Server(Box<PgConnectOptions>),
}

/// How a connection that writes is made.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// To a file.
    Sqlite(Box<SqliteConnectOptions>),
    /// To a server.
    Postgres(Box<PgConnectOptions>),
}

impl Way {
    /// Makes another one, after the former failed. Behind the name of a server may be another one by now.
    pub(super) async fn connect_again(&self, now: Timestamp) -> Result<Connection, StoreError> {
        match self {
            Self::Sqlite(options) => Ok(Connection::Sqlite(options.connect().await?)),
            Self::Postgres(options) => {
                let mut connection = postgres::connect(options).await?;
                postgres::recognise(&mut connection, now).await?;
                Ok(Connection::Postgres(Box::new(connection)))
            }
        }
    }
}

/// What is there when a database was opened for serving from it.
struct Opened {
    /// What errors call it.
    name: String,
    way: Way,
    writer: Connection,
    readers: Pool,
    lock: Option<lock::Lock>,
    witness: Option<Witness>,
}

impl Store {
    /// Opens a database for serving from it, made where there is none.
    pub(in crate::control) async fn open(
        url: &str,
        pepper: Option<&Pepper>,
        purpose: &str,
        now: Timestamp,
    ) -> Result<Self, OpenError> {
        let mut opened = match place(url)? {
            Place::File(path) => sqlite::open(&path, pepper, purpose, now).await?,
            Place::Server(options) => postgres::open(*options, pepper, now).await?,
        };
        super::retention::forget_all_tombstones(&mut opened.writer.conn(), now)
            .await
            .map_err(|source| fault(&opened.name, source))?;
        Ok(Self {
            readers: opened.readers,
            writer: Mutex::new(Writer::new(opened.way, opened.writer)),
            witness: opened.witness.map(std::sync::Mutex::new),
            _lock: opened.lock,
        })
    }
}

impl ReadOnlyStore {
    /// Opens a database to look at it, also while a process serves from it.
    pub(in crate::control) async fn open(
        url: &str,
        pepper: Option<&Pepper>,
    ) -> Result<Self, OpenError> {
        let connection = match place(url)? {
            Place::File(path) => sqlite::look_into(path, pepper).await?,
            Place::Server(options) => postgres::look_into(*options, pepper).await?,
        };
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }
}

fn place(url: &str) -> Result<Place, OpenError> {
    let options = if is_at_server(url) {
        url.parse()
            .ok()
            .map(|options| Place::Server(Box::new(options)))
    } else {
        sqlite_path(url).map(Place::File)
    };
    options.ok_or_else(|| OpenError::Url(without_password(url)))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of the migrator, not of ours, that may grow"
)]
fn migration_fault(name: &str, error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => {
            OpenError::Newer(name.to_owned())
        }
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
            fault(name, source.into())
        }
        other => fault(name, sqlx::Error::Migrate(Box::new(other)).into()),
    }
}

/// What migrating would find, for a database that must not be written to. It has a table of its migrations.
async fn check_version(
    conn: &mut Conn<'_>,
    migrations: &Migrator,
    name: &str,
) -> Result<(), OpenError> {
    let latest = migrations.iter().map(|step| step.version).max();
    let applied: Option<i64> =
        sql::query("SELECT max(version) FROM _sqlx_migrations WHERE success")
            .fetch_scalar(conn)
            .await
            .map_err(|source| fault(name, source.into()))?;
    match applied.cmp(&latest) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(OpenError::Older(name.to_owned())),
        std::cmp::Ordering::Greater => Err(OpenError::Newer(name.to_owned())),
    }
}

/// Gives a new database its identity, or checks the one it has.
async fn identify(
    conn: &mut Conn<'_>,
    pepper: Option<&Pepper>,
    name: &str,
) -> Result<(), OpenError> {
    if has_identity(conn, pepper, name).await? {
        return Ok(());
    }
    let epoch: [u8; 16] = token::random()?;
    let pepper_check = Pepper::check_value(pepper);
    // Another control plane may open the same server's database at the same time; one of them comes first.
    sql::query(
        "INSERT INTO meta (only_row, epoch, revision, pepper) VALUES (1, $1, 0, $2) ON CONFLICT DO NOTHING",
    )
    .bind(epoch.as_slice())
    .bind(pepper_check.as_slice())
    .execute(conn)
    .await
    .map_err(|source| fault(name, source.into()))?;
    if has_identity(conn, pepper, name).await? {
        Ok(())
    } else {
        Err(fault(name, StoreError::Unreadable("meta")))
    }
}

/// Whether a database has an identity; the pepper must be the one that it was made with.
async fn has_identity(
    conn: &mut Conn<'_>,
    pepper: Option<&Pepper>,
    name: &str,
) -> Result<bool, OpenError> {
    let fault = |source: sqlx::Error| fault(name, source.into());
    let row = sql::query("SELECT epoch, pepper FROM meta")
        .fetch_optional(conn)
        .await
        .map_err(fault)?;
    let Some(row) = row else {
        return Ok(false);
    };
    let check_value: &[u8] = row.try_get(1).map_err(fault)?;
    if check_value != Pepper::check_value(pepper) {
        return Err(OpenError::Pepper(name.to_owned()));
    }
    match super::row::epoch(&row, 0) {
        Ok(_) => Ok(true),
        Err(source) => Err(self::fault(name, source)),
    }
}

/// What a refusal of the database means to whoever starts the program.
fn fault(name: &str, source: StoreError) -> OpenError {
    let database = name.to_owned();
    match source {
        // Without its own words, which are the same.
        StoreError::Damaged(source) => OpenError::Damaged {
            database,
            source: source.into(),
        },
        StoreError::Unreadable(_) => OpenError::Damaged {
            database,
            source: source.into(),
        },
        StoreError::Database(error) => match sqlite::unwritable(name, error) {
            Ok(unwritable) => unwritable,
            Err(error) => postgres::fault(database, error),
        },
        StoreError::Randomness(source) => OpenError::Randomness(source),
        StoreError::AlreadyAttached
        | StoreError::Interrupted
        | StoreError::Shared
        | StoreError::TimedOut => OpenError::Failed { database, source },
    }
}
