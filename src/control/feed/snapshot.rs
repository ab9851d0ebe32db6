//! A whole state on its way to a gateway, piece by piece, as fast as the gateway takes it.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::stream::{Pieces, StreamEnd};
use crate::wire::SecretEntry;
use crate::wire::sync::{FrameWriter, Message, Position, encode_entries};

/// Snapshots under way at a time: each keeps a connection to the database.
pub(in crate::control) const SNAPSHOTS_MAX: usize = 2;
/// How long a gateway may take no further piece before its snapshot is broken off.
const STALL_MAX: Duration = Duration::from_secs(10);

/// A snapshot that is being sent.
pub(in crate::control) struct SnapshotBody<'p> {
    frames: FrameWriter,
    keys: u64,
    to: &'p Pieces,
}

impl<'p> SnapshotBody<'p> {
    /// Begins one of so many keys.
    ///
    /// # Errors
    /// The gateway takes nothing more.
    pub(in crate::control) async fn begin(
        at: Position,
        keys: u64,
        to: &'p Pieces,
    ) -> Result<Self, StreamEnd> {
        let mut body = Self {
            frames: FrameWriter::new(None),
            keys: 0,
            to,
        };
        let begin = Message::Begin {
            epoch: at.epoch,
            revision: at.revision,
            keys,
        };
        body.send([begin.encode()]).await?;
        Ok(body)
    }

    /// Sends keys for as long as some come.
    ///
    /// # Errors
    /// The gateway takes nothing more.
    pub(in crate::control) async fn put_all(
        &mut self,
        mut batches: mpsc::Receiver<Vec<SecretEntry>>,
    ) -> Result<(), StreamEnd> {
        while let Some(batch) = batches.recv().await {
            self.keys += batch.len() as u64;
            self.send(encode_entries(&batch)).await?;
        }
        Ok(())
    }

    /// Ends it: nothing is missing.
    ///
    /// # Errors
    /// The gateway takes nothing more.
    pub(in crate::control) async fn end(mut self) -> Result<(), StreamEnd> {
        let end = Message::End { keys: self.keys };
        self.send([end.encode()]).await
    }

    async fn send(&mut self, payloads: impl IntoIterator<Item = Vec<u8>>) -> Result<(), StreamEnd> {
        let mut piece = Vec::new();
        for payload in payloads {
            if let Err(error) = self.frames.frame(&payload, &mut piece) {
                tracing::error!(%error, "a snapshot cannot be sent");
                return Err(StreamEnd);
            }
        }
        match timeout(STALL_MAX, self.to.send(Ok(Bytes::from(piece)))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(StreamEnd),
        }
    }
}
