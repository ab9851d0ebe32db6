//! What became of the keys since the snapshot on disk, appended as it happens.
//!
//! What the disk does not take is kept, up to a limit, and tried again: frames are written at their places, so that one
//! that was torn is written over. It decides nothing about when.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::place::{Place, Steps};
use super::record::{self, Keys, Kind, Tombstone};
use crate::authz::Timestamp;
use crate::wire::sync::{FrameWriter, Message, Position, encode_change};
use crate::wire::{Change, Epoch};

/// Bytes that wait for the disk at most; then only a new snapshot helps.
const PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// See the head of this file.
pub(super) struct Journal {
    file: Arc<File>,
    frames: FrameWriter,
    epoch: Epoch,
    /// Bytes that are in the file.
    length: u64,
    pending: Vec<u8>,
    /// Whether changes were written that may not be on disk yet.
    pub(super) is_unsynced: bool,
}

/// No more can be kept for a disk that takes nothing.
#[derive(Debug)]
pub(super) struct TooMuchPending;

impl Journal {
    /// A new one, under the name that it has until it is needed, for the time after `since`.
    pub(super) fn create(place: &Place, keys: &Keys, since: Position) -> io::Result<Self> {
        let file = place.create(Kind::Journal.beside())?;
        let mut journal = Self {
            file: Arc::new(file),
            frames: keys.writer(Kind::Journal),
            epoch: since.epoch,
            length: 0,
            pending: Kind::Journal.head(),
            is_unsynced: true,
        };
        let begin = Message::Begin {
            epoch: since.epoch,
            revision: since.revision,
            keys: 0,
        };
        // A frame of a few bytes, before which nothing waits.
        let _ = journal.frame(&[begin.encode()]);
        journal.write(&place.steps)?;
        Ok(journal)
    }

    /// The one that was read, to be written on from there.
    pub(super) fn resume(
        place: &Place,
        frames: FrameWriter,
        epoch: Epoch,
        length: u64,
    ) -> io::Result<Self> {
        let file = place.reopen(Kind::Journal.file())?;
        // What is torn behind it would be written over anyway.
        file.set_len(length)?;
        Ok(Self {
            file: Arc::new(file),
            frames,
            epoch,
            length,
            pending: Vec::new(),
            is_unsynced: false,
        })
    }

    /// The history that it is of.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Bytes that it has, or will have.
    pub(super) fn length(&self) -> u64 {
        self.length.saturating_add(self.pending.len() as u64)
    }

    /// What has to be synced.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Takes a change, with the secrets that it put an end to.
    pub(super) fn change(
        &mut self,
        change: &Change,
        died: &[Tombstone],
    ) -> Result<(), TooMuchPending> {
        let mut payloads: Vec<Vec<u8>> = record::died(died).collect();
        payloads.extend(encode_change(change));
        self.is_unsynced = true;
        self.frame(&payloads)
    }

    /// Takes a moment at which all of it was current.
    pub(super) fn confirmed(&mut self, at: Timestamp) -> Result<(), TooMuchPending> {
        self.frame(&[record::confirmed(at)])
    }

    fn frame(&mut self, payloads: &[Vec<u8>]) -> Result<(), TooMuchPending> {
        let bytes: usize = payloads.iter().map(Vec::len).sum();
        if self.pending.len().saturating_add(bytes) > PENDING_BYTES_MAX {
            return Err(TooMuchPending);
        }
        for payload in payloads {
            let framed = self.frames.frame(payload, &mut self.pending);
            framed.map_err(|_| TooMuchPending)?;
        }
        Ok(())
    }

    /// Hands what waits to the disk.
    pub(super) fn write(&mut self, steps: &Steps) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        steps.step("append")?;
        self.file.write_all_at(&self.pending, self.length)?;
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}
