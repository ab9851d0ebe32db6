//! Why a control plane cannot be opened: one line that says what is in the way and what to do.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::control::store::StoreError;
use crate::control::tls::TlsError;
use crate::control::token;

/// Why a control plane cannot be opened: one line that says what is in the way and what to do.
///
/// A database is named by its path, or by its URL without user and password.
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
    /// More than the present gateway token and its successor.
    #[error(
        "the environment has one gateway token, or two while they are being changed; it has {0}: make more with `keyward gateways token create`"
    )]
    GatewayTokens(usize),
    /// Who has the one could do what only who has the other may.
    #[error("a gateway token is an admin token as well: choose another")]
    SameToken,
    /// The text is no place of a database.
    #[error("`{0}` is no database: write `sqlite://PATH` or `postgres://USER@HOST/NAME`")]
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
    /// The server takes no connection, or not in time.
    #[error("the database {database} cannot be reached: start PostgreSQL, or correct the URL")]
    Unreachable {
        /// Which.
        database: String,
        /// What the driver says.
        #[source]
        source: sqlx::Error,
    },
    /// The server does not let this user at this database.
    #[error(
        "the database {database} does not let this user in: correct user, password or name in the URL, or create them"
    )]
    Refused {
        /// Which.
        database: String,
        /// What PostgreSQL says.
        #[source]
        source: sqlx::Error,
    },
    /// The server is a copy.
    #[error("the database {0} takes no writes: give the address of the primary server")]
    Standby(String),
    /// Another process serves from it.
    #[error(
        "the database {database} is in use by {holder}: stop that process, or give this one another database"
    )]
    InUse {
        /// Which.
        database: String,
        /// What that process said of itself.
        holder: String,
    },
    /// The file is none of SQLite's, or broken.
    #[error(
        "the database {database} is damaged: restore it from a backup, or move it away to start with an empty one"
    )]
    Damaged {
        /// Which.
        database: String,
        /// What the database says, or what is in a row.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Somebody else's database.
    #[error("{0} is the database of another program: choose another place")]
    Foreign(String),
    /// A newer version of Keyward made it.
    #[error("the database {0} was made by a newer version of Keyward: run that version")]
    Newer(String),
    /// An older version of Keyward made it, and it must not be written to.
    #[error(
        "the database {0} was made by an older version of Keyward: start `keyward run` once to bring it up to date"
    )]
    Older(String),
    /// Its digests were made with another pepper.
    #[error(
        "the database {0} was made with another pepper: set `credentials.pepper` to the one it was made with"
    )]
    Pepper(String),
    /// SQLite would not promise to keep what was answered.
    #[error(
        "the database {0} does not take the settings that durability rests on: choose a local file system"
    )]
    NotDurable(String),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Randomness(#[from] token::NoRandomness),
    /// It opened, but could not be read.
    #[error("the database cannot be read")]
    Unreadable(#[source] StoreError),
    /// Anything else that the database says.
    #[error("the database {database} cannot be opened")]
    Failed {
        /// Which.
        database: String,
        /// What it says.
        #[source]
        source: StoreError,
    },
}
