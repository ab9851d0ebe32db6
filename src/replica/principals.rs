//! The compiled principals of the keys in use.
//!
//! It is a cache and never the authority: what it holds counts only while the snapshot that a request has
//! pinned holds the very version that it was compiled from. So nothing need be removed when a key changes, and
//! an insertion that comes late does no harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::digests::DigestHashing;
use super::snapshot::{Found, Snapshot};
use crate::authz::{KeyDigest, Principal};

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Principals {
    cache: Cache<KeyDigest, Compiled, DigestHashing>,
    pub(super) hits: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) misses: AtomicU64,
}

/// A principal, with what tells its version: the state that was loaded, and the revision within.
#[derive(Debug, Clone)]
struct Compiled {
    generation: u64,
    principal: Arc<Principal>,
}

impl Principals {
    /// A cache of at most this many.
    pub(super) fn new(capacity: u64) -> Self {
        Self {
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
        let version = (snapshot.generation, found.revision());
        let cached = self.cache.get(digest);
        let counter = match cached {
            Some(cached) if (cached.generation, cached.principal.revision) == version => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Some(cached.principal);
            }
            Some(_) => &self.stale,
            None => &self.misses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let principal = Arc::new(Principal::compile(&*found.record()?));
        debug_assert_eq!(principal.revision, found.revision());
        let compiled = Compiled {
            generation: snapshot.generation,
            principal: Arc::clone(&principal),
        };
        self.cache.insert(*digest, compiled);
        Some(principal)
    }
}
