//! The one connection that writes, given up and opened anew whenever it failed.
//!
//! SQLite ends a transaction by itself when the disk is full or does not answer. Who counts transactions beside it, as
//! the driver does, is wrong from then on: every later write would be refused.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::StoreError;

/// The connection that writes.
#[derive(Debug)]
pub(in crate::control) struct Writer {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
}

impl Writer {
    pub(super) fn new(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        Self {
            options,
            connection: Some(connection),
        }
    }

    /// The connection, opened anew if the former one was given up.
    pub(in crate::control) async fn connection(
        &mut self,
    ) -> Result<&mut SqliteConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Gives the connection up, and with it whatever it had begun.
    pub(in crate::control) async fn give_up(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the connection that writes was not closed in order");
        }
    }
}
