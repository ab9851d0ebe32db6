//! What is known of the platform's keys, and what an answer of the platform makes of it: the part without I/O.
//!
//! Answers overtake each other. Each request to the platform is given a tick when it begins, and what an answer says
//! counts only against what is no newer than that. No clock, no lock, no network.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::authz::{KeyDigest, KeyId, KeyRecord, KeyStatus, Revision};
use crate::wire::prisme::PlatformKey;
use crate::wire::{Change, Epoch, KeySource, Secret, SecretDigest, SecretEntry};

/// Keys of one tenant that are remembered as gone.
const GONE_MAX: usize = 10_000;

/// Orders requests and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Tick(u64);

/// One key.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) record: Arc<KeyRecord>,
    pub(super) updated_at: Option<Box<str>>,
    /// What the key is looked up by, once that is known.
    pub(super) digest: Option<KeyDigest>,
    /// When the request began that told the digest.
    learned: Tick,
    /// When the last answer came that named the key.
    named: Tick,
    /// Whether the key was changed since the digest was learned, so that it may have been rotated.
    moved: bool,
}

/// What of a key outlives a restart.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) entry: SecretEntry,
    pub(super) updated_at: Option<Box<str>>,
    pub(super) moved: bool,
}

impl Known {
    fn kept(&self) -> Kept {
        Kept {
            entry: self.entry(),
            updated_at: self.updated_at.clone(),
            moved: self.moved,
        }
    }

    fn entry(&self) -> SecretEntry {
        let secret = self.digest.map(|digest| Secret {
            digest: SecretDigest::Blake3(digest),
            retired_at: None,
        });
        SecretEntry {
            record: Arc::clone(&self.record),
            secrets: secret.into_iter().collect(),
        }
    }
}

/// The keys of one organisation or workspace.
#[derive(Debug, Default)]
struct Followed {
    keys: HashMap<KeyId, Known>,
    by_digest: HashMap<KeyDigest, KeyId>,
    /// When the last list was taken over; `None`: there was none yet.
    listed: Option<Tick>,
    /// What lists have ceased to name. Whatever else is said of these keys, they are not let in until one names them.
    gone: Gone,
}

#[derive(Debug, Default)]
struct Gone {
    ids: HashSet<KeyId>,
    order: VecDeque<KeyId>,
}

impl Gone {
    fn insert(&mut self, id: &KeyId) {
        if self.ids.insert(id.clone()) {
            self.order.push_back(id.clone());
        }
        while self.order.len() > GONE_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.ids.remove(&oldest);
            }
        }
    }

    fn remove(&mut self, id: &KeyId) {
        if self.ids.remove(id) {
            self.order.retain(|other| other != id);
        }
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Follower {
    epoch: Epoch,
    revision: Revision,
    tick: Tick,
    followed: Vec<Followed>,
}

/// What a list makes of the copy.
#[derive(Debug)]
pub(super) struct Taken {
    /// What has changed; `None`: nothing.
    pub(super) change: Option<Change>,
    /// What keys are known by that were changed: they may have been rotated, so that each must be validated again.
    pub(super) moved: Vec<KeyDigest>,
}

/// What an answer about one key makes of the copy.
#[derive(Debug)]
pub(super) enum Learned {
    /// The digest is bound to its key.
    Bound(Option<Change>),
    /// Something newer is known meanwhile: the platform must be asked again.
    Outdated,
    /// The answer contradicts the lists.
    Contradicted,
}

/// A key is another tenant's, or is named more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Foreign;

impl Follower {
    /// Follows the lists of so many tenants, of which nothing is known yet.
    pub(super) fn new(epoch: Epoch, tenants: usize) -> Self {
        Self {
            epoch,
            revision: Revision(0),
            tick: Tick(0),
            followed: (0..tenants).map(|_| Followed::default()).collect(),
        }
    }

    /// Takes up what was known before a restart: the keys of `tenant`, as of some list. Keys of others are left out.
    pub(super) fn restore(
        &mut self,
        tenant: usize,
        revision: Revision,
        keys: impl Iterator<Item = Kept>,
    ) {
        self.revision = self.revision.max(revision);
        let Some(followed) = self.followed.get_mut(tenant) else {
            return;
        };
        followed.listed = Some(Tick(0));
        for Kept {
            entry,
            updated_at,
            moved,
        } in keys
        {
            let digest = entry.secrets.iter().find_map(|secret| match secret.digest {
                SecretDigest::Blake3(digest) => Some(digest),
                SecretDigest::Sha256(_) => None,
            });
            let known = Known {
                updated_at,
                digest,
                learned: Tick(0),
                named: Tick(0),
                moved,
                record: entry.record,
            };
            followed.set(known);
        }
    }

    /// Begins a request to the platform.
    pub(super) fn begin(&mut self) -> Tick {
        self.tick.0 += 1;
        self.tick
    }

    /// Takes the whole list of a tenant's keys, asked for at `began`.
    ///
    /// # Errors
    /// The list cannot be that tenant's; nothing of it was taken.
    pub(super) fn listed(
        &mut self,
        tenant: usize,
        began: Tick,
        keys: Vec<PlatformKey>,
    ) -> Result<Taken, Foreign> {
        let ids: HashSet<KeyId> = keys.iter().map(|key| key.record.id.clone()).collect();
        let digests: HashSet<KeyDigest> = keys.iter().filter_map(|key| key.digest).collect();
        let hashed = keys.iter().filter(|key| key.digest.is_some()).count();
        let named_twice = ids.len() < keys.len() || digests.len() < hashed;
        let own = self.followed.get(tenant).ok_or(Foreign)?;
        let mut new = ids.iter().filter(|id| !own.keys.contains_key(*id));
        if named_twice || new.any(|id| self.is_anothers(tenant, id)) {
            return Err(Foreign);
        }
        let ended = self.begin();
        let next = Revision(self.revision.0 + 1);
        let followed = self.followed.get_mut(tenant).ok_or(Foreign)?;
        followed.listed = Some(ended);
        let mut change = Change {
            previous: self.revision,
            revision: next,
            put: Vec::new(),
            removed: followed.drop_unlisted(&ids, began),
        };
        let mut moved = Vec::new();
        for key in keys {
            let put = followed.take_listed(key, ended, next, &mut moved);
            change.put.extend(put);
        }
        let changed = !(change.put.is_empty() && change.removed.is_empty());
        Ok(Taken {
            change: changed.then(|| self.step(change)),
            moved,
        })
    }

    /// Takes it that a key with this digest, of which the platform was asked at `began`, is `key`.
    pub(super) fn validated(
        &mut self,
        tenant: usize,
        began: Tick,
        digest: KeyDigest,
        key: PlatformKey,
    ) -> Learned {
        if self.is_anothers(tenant, &key.record.id) {
            return Learned::Contradicted;
        }
        let (next, named) = (Revision(self.revision.0 + 1), self.begin());
        let Some(followed) = self.followed.get_mut(tenant) else {
            return Learned::Contradicted;
        };
        let id = &key.record.id;
        let known = followed.keys.get(id);
        if followed.listed.is_none_or(|listed| began < listed) && !is_same_version(known, &key) {
            return Learned::Outdated;
        }
        if followed.gone.ids.contains(id) {
            return Learned::Contradicted;
        }
        let newer = |known: &&Known| known.digest != Some(digest) && known.learned > began;
        if known.filter(newer).is_some() {
            return Learned::Outdated;
        }
        let mut change = Change {
            previous: self.revision,
            revision: next,
            put: followed.unbind_from_others(digest, &key.record.id, next),
            removed: Vec::new(),
        };
        let put = followed.bind(key, digest, (began, named), next);
        change.put.extend(put);
        let change = (!change.put.is_empty()).then_some(change);
        Learned::Bound(change.map(|change| self.step(change)))
    }

    /// Takes it that no key with this digest may be used, of which the platform was asked at `began`.
    pub(super) fn refused(
        &mut self,
        tenant: usize,
        began: Tick,
        digest: KeyDigest,
    ) -> Option<Change> {
        let next = Revision(self.revision.0 + 1);
        let followed = self.followed.get_mut(tenant)?;
        let id = followed.by_digest.get(&digest)?;
        let mut known = followed.keys.get(id)?.clone();
        if known.learned > began {
            return None;
        }
        // A key that is switched off is refused for that, and says so itself; if it was rotated as well, it has moved,
        // and is asked about before it is used again.
        if known.record.status != KeyStatus::Active && known.moved {
            return None;
        }
        known.digest = None;
        let put = vec![followed.renew(known, next)];
        Some(self.step(Change {
            previous: self.revision,
            revision: next,
            put,
            removed: Vec::new(),
        }))
    }

    fn step(&mut self, change: Change) -> Change {
        self.revision = change.revision;
        change
    }

    fn is_anothers(&self, tenant: usize, id: &KeyId) -> bool {
        let mut others = self.followed.iter().enumerate();
        others.any(|(index, followed)| index != tenant && followed.keys.contains_key(id))
    }

    /// Whether the key of this digest was changed since the digest was learned.
    pub(super) fn is_moved(&self, tenant: usize, digest: &KeyDigest) -> bool {
        let known = self.followed.get(tenant).and_then(|followed| {
            let id = followed.by_digest.get(digest)?;
            followed.keys.get(id)
        });
        known.is_none_or(|known| known.moved)
    }

    /// The last change.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// Every key, with the number of its tenant.
    pub(super) fn keys(&self) -> impl Iterator<Item = (usize, Kept)> {
        let numbered = self.followed.iter().enumerate();
        numbered.flat_map(|(number, followed)| {
            let keys = followed.keys.values();
            keys.map(move |known| (number, known.kept()))
        })
    }
}

/// The whole state, for a copy that has none yet.
impl KeySource for &Follower {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn revision(&self) -> Revision {
        self.revision
    }

    fn entries(&mut self) -> Box<dyn Iterator<Item = SecretEntry> + '_> {
        Box::new(self.keys().map(|(_, kept)| kept.entry))
    }
}

/// Whether an answer is of the very version of a key that is known, so that it is not too old.
fn is_same_version(known: Option<&Known>, key: &PlatformKey) -> bool {
    let told = key.updated_at.is_some();
    told && known.is_some_and(|known| known.updated_at == key.updated_at)
}

impl Followed {
    fn set(&mut self, known: Known) {
        let id = known.record.id.clone();
        let digest = known.digest;
        let former = self.keys.insert(id.clone(), known);
        self.forget_digest(&id, former.and_then(|former| former.digest));
        if let Some(digest) = digest {
            self.by_digest.insert(digest, id);
        }
    }

    fn forget_digest(&mut self, id: &KeyId, digest: Option<KeyDigest>) {
        if let Some(digest) = digest
            && self.by_digest.get(&digest) == Some(id)
        {
            self.by_digest.remove(&digest);
        }
    }

    /// Sets `known` as a new version of its key.
    fn renew(&mut self, mut known: Known, revision: Revision) -> SecretEntry {
        known.record = Arc::new(KeyRecord {
            revision,
            ..KeyRecord::clone(&known.record)
        });
        let entry = known.entry();
        self.set(known);
        entry
    }

    /// Drops the keys that a list does not name.
    fn drop_unlisted(&mut self, listed: &HashSet<KeyId>, began: Tick) -> Vec<KeyId> {
        let unlisted = self.keys.keys().filter(|id| !listed.contains(*id));
        let removed: Vec<KeyId> = unlisted.cloned().collect();
        for id in &removed {
            let Some(former) = self.keys.remove(id) else {
                continue;
            };
            self.forget_digest(id, former.digest);
            // One that was named while the list was being made may have come too late for it.
            if former.named <= began {
                self.gone.insert(id);
            }
        }
        removed
    }

    /// Takes a key of a list. Gives it where it has become another one.
    fn take_listed(
        &mut self,
        key: PlatformKey,
        named: Tick,
        revision: Revision,
        moved: &mut Vec<KeyDigest>,
    ) -> Option<SecretEntry> {
        self.gone.remove(&key.record.id);
        let Some(known) = self.keys.get_mut(&key.record.id) else {
            let known = Known {
                record: Arc::new(key.record),
                updated_at: key.updated_at,
                digest: key.digest,
                learned: Tick(0),
                named,
                moved: false,
            };
            return Some(self.renew(known, revision));
        };
        known.named = named;
        if key.updated_at.is_some() && key.updated_at != known.updated_at {
            known.updated_at = key.updated_at;
            known.moved = true;
            moved.extend(known.digest);
        }
        let digest = key.digest.or(known.digest);
        if is_same(&known.record, &key.record) && digest == known.digest {
            return None;
        }
        let known = Known {
            record: Arc::new(key.record),
            digest,
            ..known.clone()
        };
        Some(self.renew(known, revision))
    }

    /// Takes a digest from a key that it turns out not to be of.
    fn unbind_from_others(
        &mut self,
        digest: KeyDigest,
        id: &KeyId,
        revision: Revision,
    ) -> Vec<SecretEntry> {
        let other = self.by_digest.get(&digest).filter(|other| *other != id);
        let Some(mut known) = other.and_then(|other| self.keys.get(other)).cloned() else {
            return Vec::new();
        };
        known.digest = None;
        vec![self.renew(known, revision)]
    }

    /// Binds a digest, the only one from now on, to a key that was validated. Gives the key where that is news.
    fn bind(
        &mut self,
        key: PlatformKey,
        digest: KeyDigest,
        (learned, named): (Tick, Tick),
        revision: Revision,
    ) -> Option<SecretEntry> {
        let former = self.keys.get(&key.record.id).cloned();
        let former_update = former.as_ref().and_then(|known| known.updated_at.clone());
        let mut known = Known {
            record: Arc::new(key.record),
            updated_at: key.updated_at.or(former_update),
            digest: Some(digest),
            learned,
            named,
            moved: false,
        };
        if let Some(former) = former
            && former.digest == known.digest
            && is_same(&former.record, &known.record)
        {
            known.record = former.record;
            self.set(known);
            return None;
        }
        Some(self.renew(known, revision))
    }
}

/// Whether two records say the same, whatever their revisions are.
fn is_same(one: &KeyRecord, other: &KeyRecord) -> bool {
    let KeyRecord {
        id,
        tenant,
        name,
        owner,
        status,
        expires_at,
        grants,
        revision: _,
    } = one;
    *id == other.id
        && *tenant == other.tenant
        && *name == other.name
        && *owner == other.owner
        && *status == other.status
        && *expires_at == other.expires_at
        && *grants == other.grants
}

#[cfg(test)]
mod tests;
