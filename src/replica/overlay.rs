//! What has changed since a base was built, laid over it.
//!
//! It is split into many small maps, so that a change copies the few that it touches and shares the others with
//! the overlay that it came from. An entry that says "gone" hides what the base has.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use super::base::{Base, FamilySet};
use super::digests::DigestHashing;
use crate::authz::{KeyId, Timestamp};
use crate::wire::{Change, SecretDigest, SecretEntry};

/// See the head of this file.
#[derive(Clone, Default)]
pub(super) struct Overlay {
    /// `None`: no key has this digest any more.
    by_digest: Shards<SecretDigest, Option<Live>, DigestHashing>,
    /// `None`: the key is gone.
    by_id: Shards<KeyId, Option<Arc<SecretEntry>>, RandomState>,
    sha256: FamilySet,
}

/// A secret with its key.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) entry: Arc<SecretEntry>,
    pub(super) retired_at: Option<Timestamp>,
}

/// What an overlay says of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overlaid<T> {
    /// It is this.
    Is(T),
    /// It is gone, whatever the base has.
    Gone,
    /// It is what the base has.
    AsInBase,
}

impl<'o, T> From<Option<&'o Option<T>>> for Overlaid<&'o T> {
    fn from(entry: Option<&'o Option<T>>) -> Self {
        match entry {
            Some(Some(value)) => Self::Is(value),
            Some(None) => Self::Gone,
            None => Self::AsInBase,
        }
    }
}

impl Overlay {
    /// How many keys differ from the base.
    pub(super) fn len(&self) -> usize {
        self.by_id.len
    }

    /// The families of the keys here that were imported as SHA-256 (or were, since the base was built).
    pub(super) fn sha256(&self) -> FamilySet {
        self.sha256
    }

    /// What it says of a digest.
    pub(super) fn secret(&self, digest: &SecretDigest) -> Overlaid<&Live> {
        self.by_digest.get(digest).into()
    }

    /// What it says of a key.
    pub(super) fn key(&self, id: &str) -> Overlaid<&Arc<SecretEntry>> {
        self.by_id.get(id).into()
    }

    /// The keys that are here.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<SecretEntry>> {
        self.by_id.values().flatten()
    }

    /// Applies a change, given the base that this lies over. Gives by how much the number of keys grew.
    pub(super) fn apply(&mut self, change: &Change, base: &Base) -> i64 {
        let removed: i64 = change.removed.iter().map(|id| self.remove(id, base)).sum();
        let put: i64 = change.put.iter().map(|entry| self.put(entry, base)).sum();
        removed + put
    }

    fn put(&mut self, entry: &SecretEntry, base: &Base) -> i64 {
        let id = &entry.record.id;
        let was_there = self.hide_secrets(id, base);
        let entry = Arc::new(entry.clone());
        for secret in &entry.secrets {
            if matches!(secret.digest, SecretDigest::Sha256(_)) {
                self.sha256.insert(entry.record.family());
            }
            let live = Live {
                entry: Arc::clone(&entry),
                retired_at: secret.retired_at,
            };
            self.by_digest.insert(secret.digest, Some(live));
        }
        self.by_id.insert(id.clone(), Some(entry));
        i64::from(!was_there)
    }

    fn remove(&mut self, id: &KeyId, base: &Base) -> i64 {
        let was_there = self.hide_secrets(id, base);
        if base.contains(id) {
            self.by_id.insert(id.clone(), None);
        } else {
            self.by_id.remove(id);
        }
        -i64::from(was_there)
    }

    /// Makes the present secrets of a key unknown. Says whether there is such a key.
    fn hide_secrets(&mut self, id: &KeyId, base: &Base) -> bool {
        match self.key(id.as_str()) {
            Overlaid::Is(entry) => {
                let entry = Arc::clone(entry);
                for secret in &entry.secrets {
                    self.hide(&secret.digest, id, base);
                }
                true
            }
            Overlaid::Gone => false,
            Overlaid::AsInBase => {
                for secret in base.secrets(id) {
                    self.hide(&secret.digest, id, base);
                }
                base.contains(id)
            }
        }
    }

    /// Makes a digest unknown, unless it has become another key's.
    fn hide(&mut self, digest: &SecretDigest, id: &KeyId, base: &Base) {
        let in_base = base.find(digest);
        let is_its_own = match self.secret(digest) {
            Overlaid::Is(live) => live.entry.record.id == *id,
            Overlaid::Gone => false,
            Overlaid::AsInBase => in_base.is_some_and(|found| found.is_of(id)),
        };
        if !is_its_own {
            return;
        }
        if in_base.is_some() {
            self.by_digest.insert(*digest, None);
        } else {
            self.by_digest.remove(digest);
        }
    }

    /// Checks what look-ups rely on.
    #[cfg(test)]
    pub(super) fn check_invariants(&self, base: &Base) {
        for (digest, live) in self.by_digest.iter() {
            match live {
                None => assert!(base.find(digest).is_some(), "only what is there is hidden"),
                Some(live) => {
                    let by_id = self.key(live.entry.record.id.as_str());
                    let same =
                        matches!(by_id, Overlaid::Is(entry) if Arc::ptr_eq(entry, &live.entry));
                    assert!(same, "a secret is of the present version of its key");
                }
            }
        }
        for (id, entry) in self.by_id.iter() {
            assert!(
                entry.is_some() || base.contains(id),
                "only what is there is hidden"
            );
        }
        assert_eq!(self.by_id.len, self.by_id.iter().count());
        assert_eq!(self.by_digest.len, self.by_digest.iter().count());
    }
}

/// So that a snapshot can be printed without its keys.
impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay")
            .field("keys", &self.len())
            .finish_non_exhaustive()
    }
}

/// Maps into which the entries of one map are spread; enough that one is copied in microseconds.
const SHARDS: usize = 256;

/// A map whose clones share what neither has changed.
#[derive(Clone)]
struct Shards<K, V, S> {
    maps: Box<[Arc<HashMap<K, V, S>>]>,
    hashing: S,
    len: usize,
}

impl<K, V, S: Default + Clone> Default for Shards<K, V, S> {
    fn default() -> Self {
        let hashing = S::default();
        let empty = Arc::new(HashMap::with_hasher(hashing.clone()));
        Self {
            maps: vec![empty; SHARDS].into_boxed_slice(),
            hashing,
            len: 0,
        }
    }
}

impl<K: Eq + Hash + Clone, V: Clone, S: BuildHasher + Clone> Shards<K, V, S> {
    fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if self.len == 0 {
            return None;
        }
        self.maps.get(self.shard(key))?.get(key)
    }

    fn insert(&mut self, key: K, value: V) {
        let shard = self.shard(&key);
        if let Some(map) = self.maps.get_mut(shard)
            && Arc::make_mut(map).insert(key, value).is_none()
        {
            self.len += 1;
        }
    }

    fn remove(&mut self, key: &K) {
        let shard = self.shard(key);
        if let Some(map) = self.maps.get_mut(shard)
            && Arc::make_mut(map).remove(key).is_some()
        {
            self.len -= 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.maps.iter().flat_map(|map| map.iter())
    }

    fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// By bits of the hash that a map of this size does not go by.
    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        let [_, _, _, _, byte, ..] = self.hashing.hash_one(key).to_le_bytes();
        usize::from(byte) % SHARDS
    }
}
