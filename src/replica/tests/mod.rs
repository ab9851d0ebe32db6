//! The replica as a whole, and its parts against simpler ones.

mod look_up;
mod model;
mod rebuild;

use std::sync::Arc;

use super::{Config, Replica};
use crate::authz::{
    KeyDigest, KeyId, KeyRecord, KeyStatus, Pepper, PresentedKey, RawGrants, Revision, Tenant,
    Timestamp,
};
use crate::wire::{Change, ChangeSink, Epoch, KeySource, Secret, SecretDigest, SecretEntry};

/// A source that a test makes up.
struct Keys {
    epoch: u128,
    revision: u64,
    entries: Vec<SecretEntry>,
}

/// One that breaks off after what it has.
struct Broken(Keys);

impl KeySource for Broken {
    fn epoch(&self) -> Epoch {
        self.0.epoch()
    }

    fn revision(&self) -> Revision {
        self.0.revision()
    }

    fn entries(&mut self) -> Box<dyn Iterator<Item = SecretEntry> + '_> {
        self.0.entries()
    }

    fn is_whole(&self) -> bool {
        false
    }
}

impl KeySource for Keys {
    fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    fn entries(&mut self) -> Box<dyn Iterator<Item = SecretEntry> + '_> {
        Box::new(self.entries.iter().cloned())
    }
}

/// The token of an organisation key.
fn token(number: u32) -> String {
    format!("iak_acme_00000000-0000-4000-8000-{number:012}")
}

fn presented(token: &str) -> PresentedKey<'_> {
    PresentedKey::parse(token.as_bytes()).expect("a token of a known form")
}

fn digest(token: &str, pepper: Option<&Pepper>) -> SecretDigest {
    SecretDigest::Blake3(KeyDigest::of(token.as_bytes(), pepper))
}

/// An organisation key with these digests, as of `revision`.
fn entry(number: u32, revision: u64, digests: &[(SecretDigest, Option<i64>)]) -> SecretEntry {
    SecretEntry {
        record: Arc::new(KeyRecord {
            id: KeyId::new(format!("k{number}")),
            tenant: Tenant::Org("acme".to_owned()),
            name: format!("key {number}"),
            owner: None,
            status: KeyStatus::Active,
            expires_at: None,
            grants: RawGrants::Org {
                permissions: vec![format!("agents:r{revision}")],
                scopes: Vec::new(),
            },
            revision: Revision(revision),
        }),
        secrets: digests
            .iter()
            .map(|(digest, retired_at)| Secret {
                digest: *digest,
                retired_at: retired_at.map(Timestamp::from_millis),
            })
            .collect(),
    }
}

/// The organisation key of this number, with its one token.
fn plain(number: u32, revision: u64) -> SecretEntry {
    entry(number, revision, &[(digest(&token(number), None), None)])
}

fn put(revision: u64, put: Vec<SecretEntry>) -> Change {
    Change {
        previous: Revision(revision - 1),
        revision: Revision(revision),
        put,
        removed: Vec::new(),
    }
}

fn removal(revision: u64, number: u32) -> Change {
    Change {
        previous: Revision(revision - 1),
        revision: Revision(revision),
        put: Vec::new(),
        removed: vec![KeyId::new(format!("k{number}"))],
    }
}

/// A replica that has these keys.
fn replica(entries: Vec<SecretEntry>) -> Arc<Replica> {
    let replica = Replica::new(Config::default());
    replica
        .load(&mut Keys {
            epoch: 1,
            revision: 1,
            entries,
        })
        .unwrap();
    replica
}
