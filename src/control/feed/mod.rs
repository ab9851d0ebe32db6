//! Changes on their way to the gateways that follow over the network.
//!
//! A gateway has no queue here: it stands at a revision, and what follows is read from the [`log`] that all share, or,
//! where it fell behind that, from the store as one change. It knows no HTTP.

mod log;
mod snapshot;
mod stream;
mod streams;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::authz::Revision;
use crate::wire::sync::Position;
use crate::wire::{Change, Epoch};
use log::{BYTES_MAX, CHANGES_MAX, Following, Log};

pub(super) use snapshot::{SNAPSHOTS_MAX, SnapshotBody};
pub(super) use stream::{Beat, Pieces, Store as FollowedStore, StreamEnd, run};
pub(super) use streams::{STREAMS_MAX, Streams};

/// What has happened since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Whole snapshots sent.
    pub(super) snapshots: AtomicU64,
    /// Times that somebody who had fallen behind was given one change for many.
    pub(super) catch_ups: AtomicU64,
    /// Times that somebody was told to take a snapshot.
    pub(super) resyncs: AtomicU64,
}

impl Counters {
    /// One more.
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Feed {
    log: Mutex<Log>,
    head: watch::Sender<Position>,
    counters: Counters,
}

impl Feed {
    /// One that goes on from what the store holds.
    pub(super) fn new(head: Position) -> Self {
        Self::with_limits(head, CHANGES_MAX, BYTES_MAX)
    }

    fn with_limits(head: Position, changes_max: usize, bytes_max: usize) -> Self {
        Self {
            log: Mutex::new(Log::new(head, changes_max, bytes_max)),
            head: watch::Sender::new(head),
            counters: Counters::default(),
        }
    }

    /// Goes on by a change. Changes come in the order of their revisions.
    pub(super) fn push(&self, change: &Change) {
        self.log().push(change);
        self.announce();
    }

    /// Begins anew with another history: who follows needs a snapshot.
    pub(super) fn begin(&self, epoch: Epoch, revision: Revision) {
        self.log().begin(epoch, revision);
        self.announce();
    }

    /// The history, and how far it has come.
    pub(super) fn head(&self) -> Position {
        *self.head.borrow()
    }

    /// What has happened since the start.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    fn subscribe(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    /// Whether it goes back to where somebody stands.
    pub(super) fn reaches(&self, position: Position) -> bool {
        match self.after(position) {
            Following::Nothing | Following::Change(..) => true,
            Following::Gone | Following::OtherEpoch => false,
        }
    }

    fn after(&self, position: Position) -> Following {
        self.log().after(position)
    }

    fn announce(&self) {
        let head = self.log().head();
        self.head.send_replace(head);
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
