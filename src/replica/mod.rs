//! The gateway's copy of the keys: a snapshot that is swapped whole, the compiled principals of the keys in
//! use, and what is counted per key.
//!
//! It is told of changes and answers look-ups. It knows no request, no store and no clock, and it never waits:
//! a look-up is a few reads of memory.

mod base;
mod current;
mod denied;
mod digests;
#[cfg(any(feature = "prisme", feature = "remote"))]
mod http;
mod moment;
mod overlay;
mod principals;
#[cfg(feature = "prisme")]
pub mod prisme;
#[cfg(feature = "remote")]
pub mod remote;
mod snapshot;
mod source;
mod state_file;
#[cfg(test)]
mod tests;
mod usage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use self::current::{Applied, Current, Rebuild};
use self::principals::Principals;
use self::usage::UsageCounts;
use crate::authz::{
    KeyDigest, KeyId, KeyLookup, KeyStatus, Pepper, PresentedKey, Principal, Revision, Timestamp,
};
use crate::wire::{Change, ChangeSink, Epoch, Incomplete, KeySource, SecretDigest};

pub use self::denied::{BadLine, DENIED_BYTES_MAX, DENIED_MAX, DeniedAt, DenyList};
#[cfg(any(feature = "prisme", feature = "remote"))]
pub use self::http::{http_client, http_client_without_tls};
pub use self::moment::{Moment, MomentClock};
pub use self::snapshot::{Found, Snapshot};
pub use self::source::{Asked, Asking, Settled, Source, SourceFigures, SourceStatus};
pub use self::state_file::{StateError, StateFile};
pub use self::usage::Usage;

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

/// What there is to say about a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// The history that the copy belongs to; `None`: nothing is loaded yet.
    pub epoch: Option<Epoch>,
    /// The last change in it.
    pub revision: Revision,
    /// Keys in it.
    pub keys: u64,
    /// Keys of it that are kept apart as changed since its base was built.
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
    pepper: Option<Pepper>,
    current: Arc<Current>,
    principals: Principals,
    usage: UsageCounts,
    changes: AtomicU64,
    unknown: AtomicU64,
}

impl Replica {
    /// An empty one, which has no snapshot until it is loaded.
    pub fn new(config: Config) -> Arc<Self> {
        Arc::new(Self {
            pepper: config.pepper,
            current: Arc::default(),
            principals: Principals::new(config.principals),
            usage: UsageCounts::default(),
            changes: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        })
    }

    /// Whether a snapshot is the present one still.
    pub fn is_present(&self, snapshot: &Arc<Snapshot>) -> bool {
        self.current.is_present(snapshot)
    }

    /// The snapshot as it is now, to be kept for one request. `None`: nothing is loaded yet.
    pub fn pin(&self) -> Option<Arc<Snapshot>> {
        self.current.pin()
    }

    /// Has the keys on a list refused from now on, whatever else is said of them; `None`: no others. Says whether that
    /// is another list than before.
    pub fn deny(&self, denied: Option<Arc<DenyList>>) -> bool {
        self.current.deny(denied.filter(|list| !list.is_empty()))
    }

    /// Finds a key that was presented, compiled. The snapshot decides what exists; a key that it does not have
    /// is unknown, and one whose record cannot be read is unavailable.
    pub fn look_up(&self, snapshot: &Snapshot, key: &PresentedKey<'_>) -> KeyLookup {
        self.find(snapshot, key).1
    }

    /// The same with the secret that it is found by.
    pub fn find(&self, snapshot: &Snapshot, key: &PresentedKey<'_>) -> (SecretDigest, KeyLookup) {
        let secret = self.secret(snapshot, key);
        let found = self.look_up_secret(snapshot, &secret);
        let names_other = |denied: &DenyList| {
            denied.names_other_than(&secret) && denied.has(&self.other(key, &secret))
        };
        match snapshot.denied().is_some_and(names_other) {
            true => (secret, revoked(found)),
            false => (secret, found),
        }
    }

    /// The digest of a presented key that is not of the same kind as `secret`, by which it is found. A list of keys that
    /// are refused may name it by either.
    pub fn other(&self, key: &PresentedKey<'_>, secret: &SecretDigest) -> SecretDigest {
        match secret {
            SecretDigest::Blake3(_) => SecretDigest::Sha256(key.sha256()),
            SecretDigest::Sha256(_) => SecretDigest::Blake3(key.digest(self.pepper.as_ref())),
        }
    }

    /// Finds the key of a secret of which both digests are known, as [`Replica::find`] did.
    pub fn look_up_used(
        &self,
        snapshot: &Snapshot,
        secret: &SecretDigest,
        other: &SecretDigest,
    ) -> KeyLookup {
        let found = self.look_up_secret(snapshot, secret);
        match snapshot.denied().is_some_and(|denied| denied.has(other)) {
            true => revoked(found),
            false => found,
        }
    }

    /// Where the list of keys that are refused names this one, by its id, its secret or as it was presented.
    pub fn denied_at<'s>(
        &self,
        snapshot: &'s Snapshot,
        id: &KeyId,
        key: Option<&PresentedKey<'_>>,
    ) -> Option<DeniedAt<'s>> {
        let denied = snapshot.denied()?;
        denied.find_id(id).or_else(|| {
            let secret = self.secret(snapshot, key?);
            let found = denied.find(id, &secret);
            found.or_else(|| denied.find(id, &self.other(key?, &secret)))
        })
    }

    /// The secret that a presented key is, as the snapshot has it: by its BLAKE3, unless only its SHA-256 is there.
    pub fn secret(&self, snapshot: &Snapshot, key: &PresentedKey<'_>) -> SecretDigest {
        let secret = SecretDigest::Blake3(key.digest(self.pepper.as_ref()));
        if !snapshot.has_sha256(key.family()) || snapshot.find(&secret).is_some() {
            return secret;
        }
        SecretDigest::Sha256(key.sha256())
    }

    /// Finds the key of a secret, as [`Replica::look_up`] does.
    pub fn look_up_secret(&self, snapshot: &Snapshot, secret: &SecretDigest) -> KeyLookup {
        // Digests of both kinds are keys of one cache: they do not meet by chance, and it is no authority.
        let digest = match secret {
            SecretDigest::Blake3(digest) => *digest,
            SecretDigest::Sha256(digest) => KeyDigest::from_bytes(digest.0),
        };
        let Some(found) = snapshot.find(secret) else {
            self.unknown.fetch_add(1, Ordering::Relaxed);
            return KeyLookup::Unknown;
        };
        let Some(principal) = self.principals.of(&digest, &found, snapshot) else {
            return KeyLookup::Unavailable;
        };
        let denied = snapshot.denied();
        let is_denied = denied.is_some_and(|denied| denied.find(&principal.id, secret).is_some());
        let found = KeyLookup::Found {
            principal,
            retired_at: found.retired_at(),
        };
        if is_denied { revoked(found) } else { found }
    }

    /// Finds a key by its public name and compiles it, for people who ask why.
    pub fn by_id(&self, snapshot: &Snapshot, id: &KeyId) -> Option<Arc<Principal>> {
        let record = snapshot.record(id)?;
        let mut principal = Principal::compile(&record);
        if snapshot
            .denied()
            .is_some_and(|denied| denied.find_id(id).is_some())
        {
            principal.status = KeyStatus::Revoked;
        }
        Some(Arc::new(principal))
    }

    /// Counts a use of a key.
    pub fn record_use(&self, id: &KeyId, now: Timestamp) {
        self.usage.record(id, now);
    }

    /// Takes what was counted since the last time, for the store.
    pub fn take_usage(&self) -> Vec<Usage> {
        self.usage.take()
    }

    /// What there is to say.
    pub fn status(&self) -> Status {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counted = Status {
            changes: count(&self.changes),
            cache_hits: count(&self.principals.hits),
            cache_stale: count(&self.principals.stale),
            cache_misses: count(&self.principals.misses),
            cache_unknown: count(&self.unknown),
            usage_dropped: count(&self.usage.dropped),
            ..Status::default()
        };
        match self.pin() {
            None => counted,
            Some(snapshot) => Status {
                epoch: Some(snapshot.epoch()),
                revision: snapshot.revision(),
                keys: snapshot.keys(),
                changed_keys: snapshot.changed_keys() as u64,
                ..counted
            },
        }
    }
}

impl ChangeSink for Replica {
    fn load(&self, source: &mut dyn KeySource) -> Result<(), Incomplete> {
        self.current.load(source)
    }

    fn apply(&self, change: &Change) {
        match self.current.apply(change) {
            Applied::Now(rebuild) => {
                self.changes.fetch_add(1, Ordering::Relaxed);
                if let Some(rebuild) = rebuild {
                    rebuild_beside(Arc::clone(&self.current), rebuild);
                }
            }
            Applied::Already | Applied::NothingLoaded => {
                tracing::debug!(revision = change.revision.0, "a change was not needed");
            }
            // Whoever follows a source asks for what is missing before it comes to this.
            Applied::Gap => {
                tracing::error!(
                    revision = change.revision.0,
                    "a change was not applied: others before it are missing"
                );
            }
        }
    }
}

/// A key that is there, as one that was switched off for ever.
fn revoked(found: KeyLookup) -> KeyLookup {
    match found {
        KeyLookup::Found { principal, .. } => {
            let mut principal = Principal::clone(&principal);
            principal.status = KeyStatus::Revoked;
            KeyLookup::Found {
                principal: Arc::new(principal),
                retired_at: None,
            }
        }
        other @ (KeyLookup::Unknown | KeyLookup::Unavailable) => other,
    }
}

/// Builds new bases on a thread of its own for as long as they are due.
fn rebuild_beside(current: Arc<Current>, rebuild: Rebuild) {
    let rebuild = Arc::new(rebuild);
    let spawned = thread::Builder::new()
        .name("rebuild-keys".to_owned())
        .spawn({
            let (current, rebuild) = (Arc::clone(&current), Arc::clone(&rebuild));
            move || {
                let mut due = current.install(&rebuild, rebuild.build());
                while let Some(next) = due {
                    due = current.install(&next, next.build());
                }
            }
        });
    if let Err(error) = spawned {
        // The overlay serves as well, only not for ever.
        tracing::warn!(%error, "no thread for rebuilding the keys; the next change tries again");
        current.abandon(&rebuild);
    }
}
