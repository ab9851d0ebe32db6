//! A snapshot that comes piece by piece, loaded on a thread of its own while it comes: never all of it in memory, and
//! in nobody's way.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::disk::Disk;
use crate::authz::Revision;
use crate::wire::sync::Position;
use crate::wire::{ChangeSink, Epoch, Incomplete, KeySource, SecretEntry};

/// Pieces that wait to be loaded; then the control plane has to.
const PIECES_WAITING_MAX: usize = 8;

/// A load under way. Dropped, it changes nothing.
#[derive(Debug)]
pub(super) struct Load {
    pieces: mpsc::Sender<Vec<SecretEntry>>,
    loading: JoinHandle<Result<(), Incomplete>>,
}

impl Load {
    /// Begins to load the state at `position`, of about so many keys, into `sink`.
    pub(super) fn begin(
        position: Position,
        keys: u64,
        sink: Arc<dyn ChangeSink>,
        disk: Disk,
    ) -> Self {
        let (pieces, come) = mpsc::channel(PIECES_WAITING_MAX);
        let mut coming = Coming {
            position,
            keys: usize::try_from(keys).unwrap_or(0),
            pieces: come,
            is_whole: false,
        };
        let loading = spawn_blocking(move || sink.load(&mut disk.burying(&mut coming)));
        Self { pieces, loading }
    }

    /// Loads keys, when those before are loaded.
    pub(super) async fn take(&self, entries: Vec<SecretEntry>) {
        // An empty piece is the end. Where nobody takes any, that is said at the end.
        if !entries.is_empty() {
            let _ = self.pieces.send(entries).await;
        }
    }

    /// Puts the state in place. Gives whether it is.
    pub(super) async fn finish(self) -> bool {
        let _ = self.pieces.send(Vec::new()).await;
        drop(self.pieces);
        matches!(self.loading.await, Ok(Ok(())))
    }
}

/// What is loaded from.
struct Coming {
    position: Position,
    keys: usize,
    pieces: mpsc::Receiver<Vec<SecretEntry>>,
    is_whole: bool,
}

impl KeySource for Coming {
    fn epoch(&self) -> Epoch {
        self.position.epoch
    }

    fn revision(&self) -> Revision {
        self.position.revision
    }

    fn entries(&mut self) -> Box<dyn Iterator<Item = SecretEntry> + '_> {
        let keys = self.keys;
        let pieces = std::iter::from_fn(|| {
            let piece = self.pieces.blocking_recv()?;
            self.is_whole |= piece.is_empty();
            Some(piece)
        });
        Box::new(Announced {
            entries: pieces.flatten(),
            keys,
        })
    }

    fn is_whole(&self) -> bool {
        self.is_whole
    }
}

/// Keys of which it was said how many they are, so that room can be made for them.
struct Announced<I> {
    entries: I,
    keys: usize,
}

impl<I: Iterator<Item = SecretEntry>> Iterator for Announced<I> {
    type Item = SecretEntry;

    fn next(&mut self) -> Option<SecretEntry> {
        self.entries.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.keys, None)
    }
}
