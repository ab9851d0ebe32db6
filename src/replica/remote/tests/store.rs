//! A store as simple as can be: every state that it ever had, so that any copy can be held against the one it claims
//! to be.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::authz::{KeyDigest, KeyId, KeyRecord, KeyStatus, RawGrants, Revision, Tenant};
use crate::wire::sync::Position;
use crate::wire::{Change, Epoch, Secret, SecretDigest, SecretEntry};

/// Keys by id.
pub(super) type Keys = BTreeMap<KeyId, SecretEntry>;

/// What looks like chance, from a seed.
#[derive(Debug, Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the numbers below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// In so many of a thousand cases.
    pub(super) fn happens(&mut self, of_thousand: u64) -> bool {
        self.below(1000) < of_thousand
    }

    pub(super) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from * 1000 + self.below((to - from) * 1000))
    }
}

struct History {
    epoch: Epoch,
    first: u64,
    states: Vec<Rc<Keys>>,
}

/// A store with its past.
pub(super) struct Store {
    histories: Vec<History>,
    pub(super) head: Position,
    /// What the head became, and when.
    heads: Vec<(Duration, Position)>,
    /// Whether it was put back to an older state that nobody noticed yet: until then nobody writes.
    pub(super) put_back: bool,
    next_epoch: u128,
    next_key: u32,
}

impl Store {
    pub(super) fn new(first_epoch: u128) -> Self {
        let mut store = Self {
            histories: Vec::new(),
            head: Position {
                epoch: Epoch(0),
                revision: Revision(0),
            },
            heads: Vec::new(),
            put_back: false,
            next_epoch: first_epoch,
            next_key: 0,
        };
        store.begin_epoch(Rc::default(), Revision(0), Duration::ZERO);
        store
    }

    fn begin_epoch(&mut self, state: Rc<Keys>, revision: Revision, now: Duration) {
        let epoch = Epoch(self.next_epoch);
        self.next_epoch += 1;
        self.histories.push(History {
            epoch,
            first: revision.0,
            states: vec![state],
        });
        self.put_back = false;
        self.set_head(Position { epoch, revision }, now);
    }

    fn set_head(&mut self, head: Position, now: Duration) {
        self.head = head;
        self.heads.push((now, head));
    }

    /// The keys that were there at a position; `None`: there was no such position.
    pub(super) fn state(&self, at: Position) -> Option<&Rc<Keys>> {
        let history = self
            .histories
            .iter()
            .find(|history| history.epoch == at.epoch)?;
        let index = at.revision.0.checked_sub(history.first)?;
        history.states.get(usize::try_from(index).unwrap())
    }

    /// Whether a copy at `copy` has everything that the store had at `then`.
    pub(super) fn covers(&self, copy: Position, then: Duration) -> bool {
        let number = |epoch: Epoch| {
            self.histories
                .iter()
                .position(|history| history.epoch == epoch)
        };
        let Some((_, head)) = self.heads.iter().rev().find(|(at, _)| *at <= then) else {
            return true;
        };
        match number(copy.epoch).cmp(&number(head.epoch)) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => copy.revision >= head.revision,
            std::cmp::Ordering::Greater => true,
        }
    }

    /// Whether an epoch is one of this store.
    pub(super) fn knows(&self, epoch: Epoch) -> bool {
        self.histories.iter().any(|history| history.epoch == epoch)
    }

    /// Somebody makes, changes, revokes or removes a key.
    pub(super) fn write(&mut self, dice: &mut Dice, now: Duration) {
        let mut keys = Keys::clone(self.state(self.head).unwrap());
        let revision = Revision(self.head.revision.0 + 1);
        let count = keys.len() as u64;
        let one = |dice: &mut Dice| {
            let at = usize::try_from(dice.below(count)).unwrap();
            keys.keys().nth(at).cloned()
        };
        let what = if count < 3 {
            0
        } else {
            dice.below(if count > 9 { 3 } else { 4 })
        };
        match (what, one(dice)) {
            (1, Some(id)) => {
                keys.remove(&id);
            }
            (2, Some(id)) => {
                let entry = keys[&id].clone();
                keys.insert(id, renewed(&entry, KeyStatus::Revoked, revision));
            }
            (3, Some(id)) => {
                let entry = keys[&id].clone();
                keys.insert(id, renewed(&entry, KeyStatus::Active, revision));
            }
            _ => {
                self.next_key += 1;
                let entry = entry(self.next_key, revision);
                keys.insert(entry.record.id.clone(), entry);
            }
        }
        let history = self.histories.last_mut().unwrap();
        history.states.push(Rc::new(keys));
        let epoch = self.head.epoch;
        self.set_head(Position { epoch, revision }, now);
    }

    /// A backup takes its place. Whoever does that with care begins a new epoch; else a gateway will tell.
    pub(super) fn restore(&mut self, dice: &mut Dice, now: Duration) {
        let history = self.histories.last().unwrap();
        let back = dice.below(self.head.revision.0 - history.first + 1).min(6);
        let revision = Revision(self.head.revision.0 - back);
        let at = Position {
            revision,
            ..self.head
        };
        let state = Rc::clone(self.state(at).unwrap());
        if dice.happens(500) || back == 0 {
            self.begin_epoch(state, revision, now);
        } else {
            self.put_back = true;
            self.set_head(at, now);
        }
    }

    /// It has come out that the store was put back.
    pub(super) fn notice(&mut self, now: Duration) {
        let state = Rc::clone(self.state(self.head).unwrap());
        self.begin_epoch(state, self.head.revision, now);
    }

    /// What leads from one revision of the present epoch to a later one, in one change.
    pub(super) fn change(&self, previous: Revision, revision: Revision) -> Option<Change> {
        let epoch = self.head.epoch;
        let at = |revision| self.state(Position { epoch, revision });
        let (before, after) = (at(previous)?, at(revision)?);
        let is_new = |entry: &&SecretEntry| before.get(&entry.record.id) != Some(*entry);
        Some(Change {
            previous,
            revision,
            put: after.values().filter(is_new).cloned().collect(),
            removed: before
                .keys()
                .filter(|id| !after.contains_key(*id))
                .cloned()
                .collect(),
        })
    }
}

fn entry(number: u32, revision: Revision) -> SecretEntry {
    let digest = KeyDigest::of(&number.to_le_bytes(), None);
    SecretEntry {
        record: Arc::new(KeyRecord {
            id: KeyId::new(format!("k{number}")),
            tenant: Tenant::Org("acme".to_owned()),
            name: String::new(),
            owner: None,
            status: KeyStatus::Active,
            expires_at: None,
            grants: RawGrants::Org {
                permissions: Vec::new(),
                scopes: Vec::new(),
            },
            revision,
        }),
        secrets: vec![Secret {
            digest: SecretDigest::Blake3(digest),
            retired_at: None,
        }],
    }
}

fn renewed(entry: &SecretEntry, status: KeyStatus, revision: Revision) -> SecretEntry {
    SecretEntry {
        record: Arc::new(KeyRecord {
            status,
            revision,
            ..KeyRecord::clone(&entry.record)
        }),
        secrets: entry.secrets.clone(),
    }
}

/// Applies a change to keys.
pub(super) fn apply(keys: &mut Keys, change: &Change) {
    for id in &change.removed {
        keys.remove(id);
    }
    for entry in &change.put {
        keys.insert(entry.record.id.clone(), entry.clone());
    }
}
