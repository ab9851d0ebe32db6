//! The gateway's copy of the keys: a snapshot that is swapped whole, the compiled principals of the keys in
//! use, and what is counted per key.
//!
//! It is told of changes and answers look-ups. It knows no request, no store and no clock, and it never waits:
//! a look-up is a few reads of memory.

use std::sync::Arc;
use std::time::Duration;

use crate::authz::{KeyId, KeyLookup, Pepper, PresentedKey, Principal, Revision, Timestamp};
use crate::wire::{Change, ChangeSink, Epoch, KeySource};

/// How a replica is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// What digests are peppered with; the same as the store's.
    pub pepper: Option<Pepper>,
    /// Compiled principals that are kept.
    pub principals: u64,
    /// Keys that a source which validates one by one has called unknown, and that are remembered as such. An
    /// embedded source needs none: its snapshot says what exists.
    pub negative: u64,
    /// How long they are remembered.
    pub negative_ttl: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pepper: None,
            principals: 100_000,
            negative: 10_000,
            negative_ttl: Duration::from_secs(5),
        }
    }
}

/// A whole state of the keys at one revision. Immutable; a request pins one and reads everything from it.
#[derive(Debug)]
pub struct Snapshot {}

/// What was counted of one key since the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The key.
    pub id: KeyId,
    /// When it was last used.
    pub last_used: Timestamp,
    /// How often it was used since the last time that usage was taken.
    pub count: u64,
}

/// What there is to say about a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// The history that the copy belongs to; `None`: nothing is loaded yet.
    pub epoch: Option<Epoch>,
    /// The last change in it.
    pub revision: Revision,
    /// Keys in it.
    pub keys: u64,
    /// Keys of it that are kept apart as changed since it was last rebuilt.
    pub changed_keys: u64,
    /// Changes applied since the start.
    pub changes: u64,
    /// Look-ups that found the key compiled.
    pub cache_hits: u64,
    /// Look-ups that found another version of it compiled.
    pub cache_stale: u64,
    /// Look-ups that had to compile it.
    pub cache_misses: u64,
    /// Look-ups of keys that do not exist.
    pub cache_unknown: u64,
    /// Uses that were not counted because too many keys were in use.
    pub usage_dropped: u64,
}

/// The gateway's copy of the keys.
#[derive(Debug)]
pub struct Replica {
    config: Config,
}

impl Replica {
    /// An empty one, which has no snapshot until it is loaded.
    pub fn new(config: Config) -> Arc<Self> {
        Arc::new(Self { config })
    }

    /// The snapshot as it is now, to be kept for one request. `None`: nothing is loaded yet.
    pub fn pin(&self) -> Option<Arc<Snapshot>> {
        unimplemented!()
    }

    /// Finds a key that was presented, compiled.
    pub fn look_up(&self, snapshot: &Snapshot, key: &PresentedKey<'_>) -> KeyLookup {
        let _ = (snapshot, key.digest(self.config.pepper.as_ref()));
        unimplemented!()
    }

    /// Finds a key by its public name, for people.
    pub fn by_id(&self, snapshot: &Snapshot, id: &KeyId) -> Option<Arc<Principal>> {
        let _ = (snapshot, id);
        unimplemented!()
    }

    /// Counts a use of a key.
    pub fn record_use(&self, id: &KeyId, now: Timestamp) {
        let _ = (id, now);
        unimplemented!()
    }

    /// Takes what was counted since the last time, for the store.
    pub fn take_usage(&self) -> Vec<Usage> {
        unimplemented!()
    }

    /// What there is to say.
    pub fn status(&self) -> Status {
        unimplemented!()
    }
}

impl ChangeSink for Replica {
    fn load(&self, source: &mut dyn KeySource) {
        let _ = source;
        unimplemented!()
    }

    fn apply(&self, change: &Change) {
        let _ = change;
        unimplemented!()
    }
}
