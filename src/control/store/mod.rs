//! Where keys are kept: SQLite, one file, one process; or PostgreSQL, which several control planes share.
//!
//! It knows nothing of who may do what. It sees to it that a change and its record in the log are one
//! transaction, that what was committed is on disk, and that nobody else serves from the same file.
//! The statements are the same for both: [`sql`] is what they have in common, [`open`] most of what they have not.

pub(super) mod batch;
pub(super) mod changes;
mod epoch;
pub(super) mod fleet;
pub(super) mod load;
mod lock;
pub(super) mod log;
mod notes;
mod open;
pub(super) mod page;
pub(super) mod read;
mod retention;
mod row;
pub(super) mod sql;
pub(super) mod tokens;
mod witness;
mod write;
mod writer;

use sqlx::error::DatabaseError as _;
use sqlx::sqlite::SqliteError;
use tokio::sync::Mutex;

use super::token::NoRandomness;
use crate::authz::{KeyId, KeyRecord, Timestamp};

pub use open::OpenError;
pub(super) use read::{Shown, Wanted};
pub(super) use sql::Lent;
use sql::{Connection, Pool};

pub(super) use write::{Audited, CHANNEL, Rotation, SECRETS_IN_GRACE_MAX, WriteTransaction};
pub(super) use writer::Writer;

/// A key with what only the control plane knows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredKey {
    /// What gateways know too.
    pub record: KeyRecord,
    /// Its name for machines, where its family has one.
    pub slug: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// When it was used last, as far as gateways have reported.
    pub last_used_at: Option<Timestamp>,
}

/// That and how often a key was used, as gateways count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Which key.
    pub id: KeyId,
    /// When last.
    pub last_used: Timestamp,
    /// How often since the last report.
    pub count: u64,
}

/// The database did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It refused or failed, or did not answer.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// SQLite found the file broken, or none of its own.
    #[error(
        "the database is damaged: restore it from a backup, or move it away to start with an empty one"
    )]
    Damaged(#[source] sqlx::Error),
    /// A row holds what this program never writes.
    #[error("the database holds an unreadable `{0}`")]
    Unreadable(&'static str),
    /// There is a receiver of changes already.
    #[error("a gateway is attached already")]
    AlreadyAttached,
    /// The task that wrote was ended.
    #[error("the write was interrupted")]
    Interrupted,
    /// The system gave no random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// Another write that was to share its commit failed.
    #[error("a write of the same moment failed, and this one with it")]
    Shared,
    /// The database did not answer in time.
    #[error("the database did not answer in time")]
    TimedOut,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(CORRUPT | NOT_A_DATABASE) => Self::Damaged(error),
            Some(_) | None => Self::Database(error),
        }
    }
}

/// SQLite's code for what went wrong, without its finer distinctions; `None`: it was not SQLite.
fn primary_code(error: &sqlx::Error) -> Option<i64> {
    let error = error.as_database_error()?;
    let code = error.try_downcast_ref::<SqliteError>()?.code()?;
    code.parse().ok().map(|code: i64| code & 0xff)
}

/// SQLite's code for a file whose pages contradict each other.
const CORRUPT: i64 = 11;
/// SQLite's code for a file that is none of its own.
const NOT_A_DATABASE: i64 = 26;

/// An open database.
#[derive(Debug)]
pub(super) struct Store {
    readers: Pool,
    /// INVARIANT: what alone writes. Whoever holds it makes, commits and hands on one change before the next, so that
    /// changes leave in the order of their revisions.
    pub(super) writer: Mutex<Writer>,
    /// What remembers how far a file has come.
    witness: Option<std::sync::Mutex<witness::Witness>>,
    /// Held as long as the store is open; the file system gives the lock up when the process ends. A server needs none.
    _lock: Option<lock::Lock>,
}

/// A database that is only looked at.
#[derive(Debug)]
pub(super) struct ReadOnlyStore {
    connection: Mutex<Connection>,
}
