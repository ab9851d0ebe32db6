//! Base, overlay and rebuilds against a plain map.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::Keys;
use crate::authz::{
    KeyDigest, KeyId, KeyRecord, KeyStatus, RawGrants, Revision, Sha256Digest, Tenant, Timestamp,
};
use crate::replica::current::{Applied, Current, Rebuild};
use crate::replica::snapshot::Snapshot;
use crate::wire::{Change, Epoch, Secret, SecretDigest, SecretEntry};

/// Digests that crowd: half of them differ in their last byte only.
fn digest(number: u8) -> SecretDigest {
    let mut bytes = if number.is_multiple_of(2) {
        *blake3::hash(&[number]).as_bytes()
    } else {
        [7; 32]
    };
    bytes[31] = number;
    if number.is_multiple_of(5) {
        SecretDigest::Sha256(Sha256Digest(bytes))
    } else {
        SecretDigest::Blake3(KeyDigest::from_bytes(bytes))
    }
}

fn entry(id: u8, revision: u64, secrets: &BTreeMap<u8, Option<i64>>) -> SecretEntry {
    SecretEntry {
        record: Arc::new(KeyRecord {
            id: KeyId::new(format!("k{id}")),
            tenant: match id % 3 {
                0 => Tenant::Org("acme".to_owned()),
                1 => Tenant::Workspace(format!("w{}", id % 2)),
                _ => Tenant::Access,
            },
            name: format!("key {id} of {revision}"),
            owner: None,
            status: KeyStatus::Active,
            expires_at: None,
            grants: RawGrants::Org {
                permissions: vec![format!("a:b{}", revision % 3)],
                scopes: Vec::new(),
            },
            revision: Revision(revision),
        }),
        secrets: secrets
            .iter()
            .map(|(number, retired_at)| Secret {
                digest: digest(*number),
                retired_at: retired_at.map(Timestamp::from_millis),
            })
            .collect(),
    }
}

/// What a test does to the keys.
#[derive(Debug, Clone)]
enum Step {
    /// One change: each key gets these secrets, or goes.
    Change(BTreeMap<u8, Option<BTreeMap<u8, Option<i64>>>>),
    /// A rebuild begins, if none is under way.
    Begin,
    /// The rebuild that is under way is put in place.
    Install,
    /// What is there is loaded anew, as another epoch.
    Reload,
}

const KEYS: u8 = 12;
const DIGESTS: u8 = 24;

fn step() -> impl Strategy<Value = Step> {
    let secrets = btree_map(0..DIGESTS, proptest::option::of(any::<i64>()), 0..4);
    let change = btree_map(0..KEYS, proptest::option::weighted(0.7, secrets), 0..4);
    prop_oneof![
        8 => change.prop_map(Step::Change),
        2 => Just(Step::Begin),
        2 => Just(Step::Install),
        1 => Just(Step::Reload),
    ]
}

/// The keys as a plain map, which frees a digest of its former key before another gets it.
#[derive(Default)]
struct Model {
    entries: BTreeMap<u8, SecretEntry>,
    revision: u64,
}

impl Model {
    fn change(&mut self, keys: &BTreeMap<u8, Option<BTreeMap<u8, Option<i64>>>>) -> Change {
        self.revision += 1;
        let revision = self.revision;
        let mut change = Change {
            previous: Revision(revision - 1),
            revision: Revision(revision),
            put: Vec::new(),
            removed: Vec::new(),
        };
        let mut touched: BTreeMap<u8, Option<SecretEntry>> = BTreeMap::new();
        for (id, secrets) in keys {
            let entry = secrets
                .as_ref()
                .map(|secrets| entry(*id, revision, secrets));
            touched.insert(*id, entry);
        }
        // No digest is two keys': the last one in this change has it, and a key outside of it loses it.
        let mut taken: HashMap<SecretDigest, u8> = HashMap::new();
        for (id, entry) in &touched {
            for secret in entry.iter().flat_map(|entry| &entry.secrets) {
                taken.insert(secret.digest, *id);
            }
        }
        for (id, entry) in &self.entries {
            if !touched.contains_key(id)
                && entry
                    .secrets
                    .iter()
                    .any(|secret| taken.contains_key(&secret.digest))
            {
                let mut entry = entry.clone();
                Arc::make_mut(&mut entry.record).revision = Revision(revision);
                touched.insert(*id, Some(entry));
            }
        }
        for (id, entry) in touched {
            match entry {
                Some(mut entry) => {
                    entry.secrets.retain(|secret| {
                        taken.get(&secret.digest).is_none_or(|owner| *owner == id)
                    });
                    self.entries.insert(id, entry.clone());
                    change.put.push(entry);
                }
                None => {
                    self.entries.remove(&id);
                    change.removed.push(KeyId::new(format!("k{id}")));
                }
            }
        }
        change
    }

    fn source(&self, epoch: u128) -> Keys {
        Keys {
            epoch,
            revision: self.revision,
            entries: self.entries.values().cloned().collect(),
        }
    }

    fn check(&self, snapshot: &Snapshot) {
        snapshot.check_invariants();
        assert_eq!(snapshot.revision(), Revision(self.revision));
        assert_eq!(snapshot.keys(), self.entries.len() as u64);
        let by_digest: HashMap<SecretDigest, (&SecretEntry, Option<Timestamp>)> = self
            .entries
            .values()
            .flat_map(|entry| {
                entry
                    .secrets
                    .iter()
                    .map(move |secret| (secret.digest, (entry, secret.retired_at)))
            })
            .collect();
        for number in 0..DIGESTS {
            let digest = digest(number);
            let found = snapshot.find(&digest);
            let expected = by_digest.get(&digest);
            assert_eq!(found.is_some(), expected.is_some(), "digest {number}");
            if let (Some(found), Some((entry, retired_at))) = (found, expected) {
                assert_eq!(found.record().as_deref(), Some(&*entry.record));
                assert_eq!(found.revision(), entry.record.revision);
                assert_eq!(found.retired_at(), *retired_at);
                let sha256 = matches!(digest, SecretDigest::Sha256(_));
                assert!(!sha256 || snapshot.has_sha256(entry.record.family()));
            }
        }
        for id in 0..KEYS {
            let record = snapshot.record(&KeyId::new(format!("k{id}")));
            let expected = self.entries.get(&id).map(|entry| &*entry.record);
            assert_eq!(record.as_deref(), expected, "key {id}");
        }
    }
}

proptest! {
    #[test]
    fn any_changes_and_rebuilds_equal_a_plain_map(
        start in vec(btree_map(0..KEYS, proptest::option::of(btree_map(0..DIGESTS, Just(None), 0..3)), 0..9), 0..2),
        steps in vec(step(), 0..24),
    ) {
        let mut model = Model::default();
        for keys in &start {
            model.change(keys);
        }
        let mut epoch = 0;
        let mut under_way: Option<Rebuild> = None;
        let current = Current::with_overlay(usize::MAX);
        current.load(&mut model.source(epoch)).unwrap();
        for step in steps {
            match step {
                Step::Change(keys) => {
                    let change = model.change(&keys);
                    prop_assert!(matches!(current.apply(&change), Applied::Now(None)));
                    prop_assert!(matches!(current.apply(&change), Applied::Already));
                }
                Step::Begin => under_way = under_way.or_else(|| current.begin_rebuild_now()),
                Step::Install => {
                    if let Some(rebuild) = under_way.take() {
                        prop_assert!(current.install(&rebuild, rebuild.build()).is_none());
                    }
                }
                Step::Reload => {
                    epoch += 1;
                    current.load(&mut model.source(epoch)).unwrap();
                    // One that was under way must do no harm when it is finished.
                    if let Some(rebuild) = under_way.take() {
                        prop_assert!(current.install(&rebuild, rebuild.build()).is_none());
                    }
                }
            }
            let snapshot = current.pin().unwrap();
            prop_assert_eq!(snapshot.epoch(), Epoch(epoch));
            model.check(&snapshot);
        }
    }
}
