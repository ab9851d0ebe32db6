//! The gateway's copy of the keys on disk: it starts from it when no control plane can be reached.
//!
//! A snapshot, and a journal of what changed since, both believed only with the gateway token. Nothing here makes
//! serving wait or end: what the disk does not take is said, counted and tried again.

mod journal;
mod keeper;
mod place;
mod record;
mod replay;
mod restored;
#[cfg(test)]
mod tests;
mod tombstones;
mod written;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use self::keeper::Keeper;
use self::place::{Place, Steps, log_refused};
use self::record::Keys;
use self::restored::Restored;
use self::tombstones::Tombstones;
use crate::authz::{Pepper, Revision, Timestamp};
use crate::replica::{Replica, Snapshot, StateError};
use crate::wire::sync::{GatewayId, Position};
use crate::wire::{Change, ChangeSink, Epoch, Incomplete, KeySource, SecretEntry};

/// Why there is no copy on disk to work with.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The machine gives no random numbers.
    #[error("the machine gives no random numbers")]
    Randomness(#[source] getrandom::Error),
}

/// Where a copy was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The last change in it.
    pub at: Position,
    /// When it was last known to be current, by the calendar; `None`: that cannot be told any more.
    pub confirmed: Option<Timestamp>,
}

/// See the head of this file. Its clones are the same one.
#[derive(Clone)]
pub struct Disk {
    id: GatewayId,
    keeper: Arc<Keeper>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Disk {
    /// The copy in `directory`, which is made where it is not there; `None`: nothing is kept beyond this process. Any of
    /// the tokens is believed, the first is written with. What is written is the state of `replica`.
    ///
    /// Where another process writes in the directory, this one waits for its end, and is another gateway.
    ///
    /// # Errors
    /// The directory cannot be made, or is not ours alone to write in.
    pub fn open(
        directory: Option<&Path>,
        tokens: &[String],
        replica: &Arc<Replica>,
    ) -> Result<Self, OpenError> {
        let place = directory.map(|directory| Place::make(directory, Steps::default()));
        Self::in_place(place.transpose()?, tokens, replica)
    }

    fn in_place(
        place: Option<Place>,
        tokens: &[String],
        replica: &Arc<Replica>,
    ) -> Result<Self, OpenError> {
        let (id, lock) = match &place {
            None => (place::random_id()?, None),
            Some(place) => match place.lock() {
                Ok(Some(lock)) => (place.gateway_id()?, Some(lock)),
                Ok(None) => {
                    let directory = place.directory.display();
                    tracing::warn!(%directory, "another process keeps its keys here: this one keeps none until that one ends");
                    (place::random_id()?, None)
                }
                Err(source) => {
                    let path = place.path("lock");
                    let error = StateError::Unwritable { path, source };
                    log_refused(&error, "no keys are kept until it can be");
                    (place::random_id()?, None)
                }
            },
        };
        let keys = Keys::new(tokens, replica.pepper.as_ref());
        let keeper = Keeper::new(place, lock, keys, Arc::clone(replica));
        let keeper = Arc::new(keeper);
        Ok(Self { id, keeper })
    }

    /// Who this gateway is.
    pub fn gateway_id(&self) -> GatewayId {
        self.id
    }

    /// Loads what was kept into `sink`; `None`: nothing was, or it cannot be believed, which is said by its name. From
    /// then on what is handed over is kept.
    pub fn restore(&self, sink: &dyn ChangeSink) -> Option<Kept> {
        let kept = self.keeper.restore(sink);
        keeper::begin(&self.keeper);
        kept
    }

    /// `source`, in which those secrets are dead that this gateway knows to have died in another history than its.
    pub fn burying<'s>(&self, source: &'s mut dyn KeySource) -> Burying<'s> {
        let tombstones = self.keeper.tombstones(source.epoch());
        Burying { source, tombstones }
    }

    /// A whole state was loaded into the replica, in place of `before`. It is written beside.
    pub fn loaded(&self, before: Option<&Snapshot>, now: Timestamp) {
        self.keeper.loaded(before, now);
    }

    /// A change was applied to the replica, which was `before`. It has been handed to the system when this returns,
    /// unless the disk does not take it.
    pub fn append(&self, before: &Snapshot, change: &Change, now: Timestamp) {
        self.keeper.append(before, change, now);
    }

    /// All of it was current at this time, by the calendar.
    pub fn confirmed(&self, at: Timestamp) {
        self.keeper.confirmed(at);
    }

    /// Whether a whole state was loaded that is not on disk and will be, unless the disk refuses it.
    pub fn is_behind(&self) -> bool {
        *self.keeper.behind().borrow()
    }

    /// Returns when that is not so.
    pub async fn caught_up(&self) {
        let mut behind = self.keeper.behind();
        // The sender lives as long as this.
        let _caught_up = behind.wait_for(|is_behind| !is_behind).await;
    }

    /// Steps that the disk has refused since the start.
    pub fn errors(&self) -> u64 {
        self.keeper.errors()
    }

    /// Writes what waits, and lets another process write. It may wait for the disk.
    pub fn end(&self) {
        keeper::end(&self.keeper);
    }
}

/// Loads what a gateway has kept in `directory` into `sink`, changing nothing there; `None`: nothing was kept.
///
/// # Errors
/// What is there cannot be believed.
pub fn look(
    directory: &Path,
    tokens: &[String],
    pepper: Option<&Pepper>,
    sink: &dyn ChangeSink,
) -> Result<Option<Kept>, StateError> {
    let Some(place) = Place::at(directory, Steps::default())? else {
        return Ok(None);
    };
    let Some(mut restored) = Restored::open(&place, &Keys::new(tokens, pepper))? else {
        return Ok(None);
    };
    let confirmed = restored.rest.as_ref().and_then(|rest| rest.confirmed);
    load(&mut restored, sink).map(|at| Some(Kept { at, confirmed }))
}

/// Loads what was read, all of it or nothing.
fn load(restored: &mut Restored, sink: &dyn ChangeSink) -> Result<Position, StateError> {
    match sink.load(restored) {
        Ok(()) => Ok(restored.at()),
        Err(Incomplete) => Err(restored.refusal()),
    }
}

/// A source of keys with tombstones laid over it.
pub struct Burying<'s> {
    source: &'s mut dyn KeySource,
    tombstones: Tombstones,
}

impl fmt::Debug for Burying<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Burying").finish_non_exhaustive()
    }
}

impl KeySource for Burying<'_> {
    fn epoch(&self) -> Epoch {
        self.source.epoch()
    }

    fn revision(&self) -> Revision {
        self.source.revision()
    }

    fn entries(&mut self) -> Box<dyn Iterator<Item = SecretEntry> + '_> {
        let (epoch, tombstones) = (self.source.epoch(), &self.tombstones);
        let entries = self.source.entries();
        Box::new(entries.map(move |mut entry| {
            tombstones.bury(epoch, &mut entry);
            entry
        }))
    }

    fn is_whole(&self) -> bool {
        self.source.is_whole()
    }
}
