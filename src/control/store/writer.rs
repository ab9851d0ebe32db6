//! The one connection that writes, given up and opened anew whenever it failed.
//!
//! SQLite ends a transaction by itself when the disk is full or does not answer. Who counts transactions beside it, as
//! the driver does, is wrong from then on: every later write would be refused. PostgreSQL may be restarted.

use super::StoreError;
use super::open::Way;
use super::sql::Connection;
use crate::authz::Timestamp;

/// The connection that writes.
#[derive(Debug)]
pub(in crate::control) struct Writer {
    way: Way,
    connection: Option<Connection>,
}

impl Writer {
    pub(super) fn new(way: Way, connection: Connection) -> Self {
        Self {
            way,
            connection: Some(connection),
        }
    }

    /// The connection, opened anew if the former one was given up or its server is gone.
    pub(in crate::control) async fn connection(
        &mut self,
        now: Timestamp,
    ) -> Result<&mut Connection, StoreError> {
        let former = match self.connection.take() {
            Some(mut former) => former.is_alive().await.then_some(former),
            None => None,
        };
        let connection = match former {
            Some(connection) => connection,
            None => self.way.connect_again(now).await?,
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
