//! A whole state of the keys at one revision: an immutable base with the changes since laid over it.

use std::borrow::Cow;
use std::sync::Arc;

use super::base::{Base, BaseFound, Builder};
use super::denied::DenyList;
use super::overlay::{Live, Overlaid, Overlay};
use crate::authz::{Family, KeyId, KeyRecord, KeyStatus, Revision, Timestamp};
use crate::wire::{Change, Epoch, Incomplete, KeySource, Secret, SecretDigest, SecretEntry};

/// Keys that a base is prepared for at most on the word of its source; more are taken, at the price of growing.
const EXPECTED_KEYS_MAX: usize = 16 * 1024 * 1024;

/// A whole state of the keys at one revision. Immutable: a request pins one and reads everything from it.
#[derive(Debug)]
pub struct Snapshot {
    /// Distinguishes what was loaded at different times, because another epoch counts its revisions anew.
    pub(super) generation: u64,
    pub(super) epoch: Epoch,
    pub(super) revision: Revision,
    keys: u64,
    base: Arc<Base>,
    overlay: Overlay,
    /// Keys that are refused all the same.
    pub(super) denied: Option<Arc<DenyList>>,
}

impl Snapshot {
    /// The state that a source has, all of it, before it is put in place.
    pub(super) fn load(source: &mut dyn KeySource) -> Result<Self, Incomplete> {
        let (epoch, revision) = (source.epoch(), source.revision());
        let entries = source.entries();
        let mut builder = Builder::with_capacity(entries.size_hint().0.min(EXPECTED_KEYS_MAX));
        entries.for_each(|entry| builder.push(&entry));
        if !source.is_whole() {
            return Err(Incomplete);
        }
        let base = Arc::new(builder.finish());
        Ok(Self {
            generation: 0,
            epoch,
            revision,
            keys: base.len() as u64,
            base,
            overlay: Overlay::default(),
            denied: None,
        })
    }

    /// This state after a change.
    pub(super) fn with(&self, change: &Change) -> Self {
        let mut overlay = self.overlay.clone();
        let growth = overlay.apply(change, &self.base);
        Self {
            generation: self.generation,
            epoch: self.epoch,
            revision: change.revision,
            keys: self.keys.saturating_add_signed(growth),
            base: Arc::clone(&self.base),
            overlay,
            denied: self.denied.clone(),
        }
    }

    /// This state with another list of keys that are refused.
    pub(super) fn denying(&self, denied: Option<Arc<DenyList>>) -> Self {
        Self {
            generation: self.generation,
            epoch: self.epoch,
            revision: self.revision,
            keys: self.keys,
            base: Arc::clone(&self.base),
            overlay: self.overlay.clone(),
            denied,
        }
    }

    /// A base that has all of this state.
    pub(super) fn compact(&self) -> Base {
        let mut builder = Builder::with_capacity(usize::try_from(self.keys).unwrap_or(0));
        builder.push_all(&self.base, |id| {
            !matches!(self.overlay.key(id), Overlaid::AsInBase)
        });
        self.overlay.entries().for_each(|entry| builder.push(entry));
        builder.finish()
    }

    /// This very state on a new base that has it up to some revision, and the changes since.
    pub(super) fn rebased<'c>(
        &self,
        base: Base,
        since: impl IntoIterator<Item = &'c Change>,
    ) -> Self {
        let mut overlay = Overlay::default();
        for change in since {
            overlay.apply(change, &base);
        }
        Self {
            generation: self.generation,
            epoch: self.epoch,
            revision: self.revision,
            keys: self.keys,
            base: Arc::new(base),
            overlay,
            denied: self.denied.clone(),
        }
    }

    /// The history that this belongs to.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last change contained.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many keys there are.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// The keys that are refused all the same, where there are any.
    pub(super) fn denied(&self) -> Option<&DenyList> {
        self.denied.as_deref()
    }

    /// How many keys differ from the base.
    pub fn changed_keys(&self) -> usize {
        self.overlay.len()
    }

    /// How many keys the base has.
    pub(super) fn base_keys(&self) -> usize {
        self.base.len()
    }

    /// Whether a key of this family may have to be looked up as SHA-256.
    pub fn has_sha256(&self, family: Family) -> bool {
        self.base.sha256().contains(family) || self.overlay.sha256().contains(family)
    }

    /// The secret of this digest, with its key.
    pub fn find(&self, digest: &SecretDigest) -> Option<Found<'_>> {
        match self.overlay.secret(digest) {
            Overlaid::Is(live) => Some(Found(Place::Overlay(live))),
            Overlaid::Gone => None,
            Overlaid::AsInBase => Some(Found(Place::Base(self.base.find(digest)?))),
        }
    }

    /// The record of this key.
    pub fn record(&self, id: &KeyId) -> Option<Cow<'_, KeyRecord>> {
        match self.overlay.key(id.as_str()) {
            Overlaid::Is(entry) => Some(Cow::Borrowed(&entry.record)),
            Overlaid::Gone => None,
            Overlaid::AsInBase => self.base.record(id).map(Cow::Owned),
        }
    }

    /// The secrets of this key; none when there is no such key.
    pub fn secrets(&self, id: &KeyId) -> Vec<Secret> {
        match self.overlay.key(id.as_str()) {
            Overlaid::Is(entry) => entry.secrets.clone(),
            Overlaid::Gone => Vec::new(),
            Overlaid::AsInBase => self.base.secrets(id).collect(),
        }
    }

    /// Every key with its secrets, made one after another.
    pub fn entries(&self) -> impl Iterator<Item = SecretEntry> {
        let in_base = self
            .base
            .entries(|id| !matches!(self.overlay.key(id), Overlaid::AsInBase));
        let changed = self
            .overlay
            .entries()
            .map(|entry| SecretEntry::clone(entry));
        in_base.chain(changed)
    }

    /// Checks what look-ups rely on.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        self.base.check_invariants();
        self.overlay.check_invariants(&self.base);
    }
}

/// A secret that was found. Costs nothing to make; the record is read when asked for.
#[derive(Clone, Copy)]
pub struct Found<'s>(Place<'s>);

#[derive(Clone, Copy)]
enum Place<'s> {
    Base(BaseFound<'s>),
    Overlay(&'s Live),
}

impl<'s> Found<'s> {
    /// The revision of the key's record.
    pub fn revision(&self) -> Revision {
        match self.0 {
            Place::Base(found) => found.revision(),
            Place::Overlay(live) => live.entry.record.revision,
        }
    }

    /// When this secret was, or will be, rotated away.
    pub fn retired_at(&self) -> Option<Timestamp> {
        match self.0 {
            Place::Base(found) => found.retired_at(),
            Place::Overlay(live) => live.retired_at,
        }
    }

    /// Whether it is its key's current secret, and the key is not switched off.
    pub fn is_live(&self) -> bool {
        let status = match self.0 {
            Place::Base(found) => found.status(),
            Place::Overlay(live) => Some(live.entry.record.status),
        };
        status == Some(KeyStatus::Active) && self.retired_at().is_none()
    }

    /// The key's record. `None` would mean that the snapshot is damaged: nothing can be said of the key.
    pub fn record(&self) -> Option<Cow<'s, KeyRecord>> {
        match self.0 {
            Place::Base(found) => found.record().map(Cow::Owned),
            Place::Overlay(live) => Some(Cow::Borrowed(&live.entry.record)),
        }
    }
}
