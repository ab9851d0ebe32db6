//! The compiled principals of the keys in use.
//!
//! It is a cache and never the authority: what it holds counts only while the snapshot that a request has
//! pinned holds the very version that it was compiled from. So nothing need be removed when a key changes, and
//! an insertion that comes late does no harm.
//!
//! Which principals are kept is moka's to decide. Before it lies a plain table with one place for each digest,
//! because a hit in moka, with the accounts that it keeps of hits, costs several times the rest of a look-up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::digests::DigestHashing;
use super::snapshot::{Found, Snapshot};
use crate::authz::{KeyDigest, Principal, Revision};

/// Places in the table before the cache at most: four megabytes of them.
const PLACES_MAX: u64 = 1 << 16;
/// One hit in so many is told to moka, and takes a place from another digest. A prime, so that no regular
/// order of requests keeps a key from being told.
const TOLD_HITS: u64 = 17;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Principals {
    // INVARIANT: as many as a power of two, so that a mask finds one.
    places: Box<[Place]>,
    cache: Cache<KeyDigest, Compiled, DigestHashing>,
    pub(super) hits: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) misses: AtomicU64,
}

/// A place for one digest, with all that tells whether its principal counts: one cache line.
///
/// Nobody waits for its lock. Who does not get it at once asks the cache.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Place(Mutex<Option<(KeyDigest, Compiled)>>);

const _: () = assert!(size_of::<Place>() == 64);

/// A principal, with what tells its version.
#[derive(Debug, Clone)]
struct Compiled {
    version: Version,
    principal: Arc<Principal>,
}

/// The state that was loaded, and the revision of the record within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    generation: u64,
    revision: Revision,
}

impl Principals {
    /// Keeps at most this many, and in their places before the cache at most as many again.
    pub(super) fn new(capacity: u64) -> Self {
        let places = capacity.clamp(1, PLACES_MAX).next_power_of_two();
        Self {
            places: (0..places).map(|_| Place::default()).collect(),
            cache: Cache::builder()
                .max_capacity(capacity)
                .eviction_policy(EvictionPolicy::tiny_lfu())
                .build_with_hasher(DigestHashing),
            hits: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The principal of a secret that was found in `snapshot`, compiled from that version of its key. `None`
    /// would mean that the snapshot is damaged.
    pub(super) fn of(
        &self,
        digest: &KeyDigest,
        found: &Found<'_>,
        snapshot: &Snapshot,
    ) -> Option<Arc<Principal>> {
        let version = Version {
            generation: snapshot.generation,
            revision: found.revision(),
        };
        let in_place = self.in_place(digest, version);
        let principal = match in_place {
            Some(principal) => principal,
            None => self.cached(digest, version, found)?,
        };
        debug_assert_eq!(principal.revision, version.revision);
        Some(principal)
    }

    fn in_place(&self, digest: &KeyDigest, version: Version) -> Option<Arc<Principal>> {
        let principal = {
            let place = self.place(digest)?.0.try_lock().ok()?;
            let (of, compiled) = place.as_ref()?;
            if compiled.version != version || of != digest {
                return None;
            }
            Arc::clone(&compiled.principal)
        };
        if self.count_hit() {
            self.cache.get(digest);
        }
        Some(principal)
    }

    fn cached(
        &self,
        digest: &KeyDigest,
        version: Version,
        found: &Found<'_>,
    ) -> Option<Arc<Principal>> {
        let cached = self.cache.get(digest);
        let counter = match cached {
            Some(compiled) if compiled.version == version => {
                let insist = self.count_hit();
                self.put_in_place(digest, &compiled, insist);
                return Some(compiled.principal);
            }
            Some(_) => &self.stale,
            None => &self.misses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let compiled = Compiled {
            version,
            principal: Arc::new(Principal::compile(&*found.record()?)),
        };
        self.cache.insert(*digest, compiled.clone());
        self.put_in_place(digest, &compiled, false);
        Some(compiled.principal)
    }

    /// Puts a principal in its place, unless another digest's is there and this one does not `insist`: were
    /// more keys in use than there are places, they would only drive each other out.
    fn put_in_place(&self, digest: &KeyDigest, compiled: &Compiled, insist: bool) {
        let Some(Ok(mut place)) = self.place(digest).map(|place| place.0.try_lock()) else {
            return;
        };
        let is_anothers = place.as_ref().is_some_and(|(of, _)| of != digest);
        if insist || !is_anothers {
            *place = Some((*digest, compiled.clone()));
        }
    }

    fn place(&self, digest: &KeyDigest) -> Option<&Place> {
        let [.., a, b] = *digest.as_bytes();
        let mask = self.places.len().checked_sub(1)?;
        self.places
            .get(usize::from(u16::from_le_bytes([a, b])) & mask)
    }

    /// Has `work` done while somebody else has every place.
    #[cfg(test)]
    pub(super) fn while_places_are_taken(&self, work: impl FnOnce()) {
        let taken: Vec<_> = self
            .places
            .iter()
            .map(|place| place.0.lock().expect("nobody panics"))
            .collect();
        work();
        drop(taken);
    }

    /// Counts a hit. Says whether it is one of those that are told.
    fn count_hit(&self) -> bool {
        self.hits
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(TOLD_HITS)
    }
}
