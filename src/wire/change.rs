//! The messages by which a gateway's copy of the keys is kept current, and the trait that an embedded
//! control plane hands them to.

use std::pin::Pin;
use std::sync::Arc;

use crate::authz::{KeyDigest, KeyId, KeyRecord, Revision, Sha256Digest, Timestamp};

/// Identity of a store's history; another epoch means that a whole new snapshot is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub u128);

/// A digest in the table that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretDigest {
    /// BLAKE3, peppered where there is a pepper.
    Blake3(KeyDigest),
    /// Plain SHA-256, imported.
    Sha256(Sha256Digest),
}

/// One secret of a key. A key has several while a rotation's grace runs, and tombstones of former ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secret {
    /// What it is looked up by.
    pub digest: SecretDigest,
    /// When it was, or will be, rotated away; `None`: it is the current one.
    pub retired_at: Option<Timestamp>,
}

/// One key with all its secrets, as a snapshot or a change carries it.
#[derive(Debug, Clone, PartialEq)]
pub struct SecretEntry {
    /// The facts.
    pub record: Arc<KeyRecord>,
    /// The secrets, all of them: what is absent here is gone.
    pub secrets: Vec<Secret>,
}

/// What became of the keys between two revisions: one recorded mutation, or several in one.
///
/// It has the whole of each key that was touched, as it is at the end, so that it leads there from any state that is not
/// older than `previous`. It is applied whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The oldest revision that it may be applied to.
    pub previous: Revision,
    /// The revision that it leads to.
    pub revision: Revision,
    /// Keys that are new or different, each whole.
    pub put: Vec<SecretEntry>,
    /// Keys that are gone.
    pub removed: Vec<KeyId>,
}

/// Where a whole state is read from, key by key, so that no second copy of it is in memory.
pub trait KeySource {
    /// The history that it belongs to.
    fn epoch(&self) -> Epoch;
    /// The last change contained.
    fn revision(&self) -> Revision;
    /// The keys, in any order.
    fn entries(&mut self) -> Box<dyn Iterator<Item = SecretEntry> + '_>;
    /// Whether `entries`, having come to its end, has given every key: a source that fails half-way ends as well.
    fn is_whole(&self) -> bool {
        true
    }
}

/// A source ended before it had given every key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keys broke off half-way")]
pub struct Incomplete;

/// See [`ChangeSink::settle`].
pub type Settling<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The receiving end of an embedded control plane: the replica.
///
/// `apply` returns when the change is what the next request sees, `settle` when it holds for those before it, too: then
/// the change can be answered.
pub trait ChangeSink: Send + Sync {
    /// Takes a whole state in place of whatever was there.
    ///
    /// # Errors
    /// The source broke off: what was there still is.
    fn load(&self, source: &mut dyn KeySource) -> Result<(), Incomplete>;
    /// Applies one change. Changes come in the order of their revisions.
    fn apply(&self, change: &Change);
    /// Returns when nothing goes on any more that a change put an end to. It was applied before.
    fn settle<'a>(&'a self, _change: &'a Change) -> Settling<'a> {
        Box::pin(std::future::ready(()))
    }
    /// Returns when nothing goes on any more that a whole state, which was loaded before, put an end to.
    fn settle_all(&self) -> Settling<'_> {
        Box::pin(std::future::ready(()))
    }
}
