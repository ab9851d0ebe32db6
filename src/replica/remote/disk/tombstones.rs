//! The secrets that this gateway knows to have died. When a control plane comes back with an older database, under
//! another epoch, they stay dead until somebody puts their keys anew.
//!
//! Bounded in number and age. It knows no file.

use std::collections::HashMap;

use super::record::Tombstone;
use crate::authz::{KeyStatus, Rulebook, Timestamp};
use crate::replica::Snapshot;
use crate::replica::digests::DigestHashing;
use crate::wire::{Change, Epoch, Secret, SecretDigest, SecretEntry};

/// Tombstones that are kept: the latest.
const TOMBSTONES_MAX: usize = 100_000;
/// How many more there may be before the oldest are dropped, so that dropping costs each little.
const TOMBSTONES_OVER: usize = TOMBSTONES_MAX / 8;
/// How long one is kept: as long as a store knows a secret as revoked.
const TOMBSTONE_SECONDS: i64 = Rulebook::TOMBSTONE_DAYS * 24 * 60 * 60;

/// See the head of this file.
#[derive(Clone, Default)]
pub(super) struct Tombstones {
    by_digest: HashMap<SecretDigest, (Epoch, Timestamp), DigestHashing>,
}

impl Tombstones {
    pub(super) fn insert(&mut self, tombstone: Tombstone) {
        let Tombstone { digest, epoch, at } = tombstone;
        // Who has been dead longer stays so.
        let (known_epoch, known_at) = self.by_digest.entry(digest).or_insert((epoch, at));
        (*known_epoch, *known_at) = (epoch, at.min(*known_at));
        if self.by_digest.len() > TOMBSTONES_MAX + TOMBSTONES_OVER {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let mut times: Vec<Timestamp> = self.by_digest.values().map(|(_, at)| *at).collect();
        let excess = times.len().saturating_sub(TOMBSTONES_MAX);
        let (_, oldest_kept, _) = times.select_nth_unstable(excess);
        let oldest_kept = *oldest_kept;
        self.by_digest.retain(|_, (_, at)| *at >= oldest_kept);
        tracing::warn!(
            "more than {TOMBSTONES_MAX} secrets have died: the oldest would be believed again if an older database came back"
        );
    }

    /// All of them that are not too old.
    pub(super) fn all(&self, now: Option<Timestamp>) -> Vec<Tombstone> {
        let oldest = now.map(|now| now.plus_seconds(-TOMBSTONE_SECONDS));
        let all = self.by_digest.iter();
        let all = all.map(|(digest, (epoch, at))| Tombstone {
            digest: *digest,
            epoch: *epoch,
            at: *at,
        });
        all.filter(|tombstone| oldest.is_none_or(|oldest| tombstone.at >= oldest))
            .collect()
    }

    /// Takes note of a change of `epoch`: what it puts lives again. Gives the secrets that it put an end to, where
    /// `before` is the state before it.
    pub(super) fn changed(
        &mut self,
        before: &Snapshot,
        change: &Change,
        now: Timestamp,
    ) -> Vec<Tombstone> {
        let epoch = before.epoch();
        let mut died = Vec::new();
        let mut note = |digest, at| died.push(Tombstone { digest, epoch, at });
        for id in &change.removed {
            for secret in before.secrets(id) {
                note(secret.digest, secret.retired_at.unwrap_or(now).min(now));
            }
        }
        for entry in &change.put {
            for secret in before.secrets(&entry.record.id) {
                if !entry
                    .secrets
                    .iter()
                    .any(|kept| kept.digest == secret.digest)
                {
                    note(secret.digest, secret.retired_at.unwrap_or(now).min(now));
                }
            }
            for secret in &entry.secrets {
                if let Some(at) = death(entry, secret, now) {
                    note(secret.digest, at);
                }
            }
        }
        self.revive(change);
        died.iter().for_each(|tombstone| self.insert(*tombstone));
        died
    }

    /// What a change puts alive is dead no longer.
    pub(super) fn revive(&mut self, change: &Change) {
        for entry in &change.put {
            for secret in &entry.secrets {
                if is_live(entry, secret) {
                    self.by_digest.remove(&secret.digest);
                }
            }
        }
    }

    /// Takes note of what is dead in `before`, which a state of the history `to` takes the place of. What died in that
    /// one before it was left may live there by now, because the state is older: it has died here as well.
    pub(super) fn leave(&mut self, before: &Snapshot, to: Epoch, now: Timestamp) {
        let epoch = before.epoch();
        for (died_in, _) in self.by_digest.values_mut().filter(|(of, _)| *of == to) {
            *died_in = epoch;
        }
        for entry in before.entries() {
            for secret in &entry.secrets {
                if let Some(at) = death(&entry, secret, now) {
                    let digest = secret.digest;
                    self.insert(Tombstone { digest, epoch, at });
                }
            }
        }
    }

    /// Takes note of a whole state that came after `before`.
    pub(super) fn replaced(&mut self, before: &Snapshot, after: &Snapshot, now: Timestamp) {
        let epoch = after.epoch();
        if before.epoch() != epoch {
            return self.leave(before, epoch, now);
        }
        self.by_digest.retain(|digest, (died_in, _)| {
            let lives = || after.find(digest).is_some_and(|found| found.is_live());
            *died_in != epoch || !lives()
        });
        for entry in before.entries() {
            for secret in &entry.secrets {
                let digest = secret.digest;
                let known = self.by_digest.get(&digest);
                let found = after.find(&digest);
                // What died in another history was buried in this one, and did not die in it.
                if known.is_some_and(|(died_in, _)| *died_in != epoch)
                    || found.is_some_and(|found| found.is_live())
                {
                    continue;
                }
                let at = match found {
                    Some(found) => found.retired_at().unwrap_or(now),
                    None => secret.retired_at.unwrap_or(now).min(now),
                };
                self.insert(Tombstone { digest, epoch, at });
            }
        }
    }

    /// Retires those secrets of a key, as a snapshot of `epoch` has it, that died in another history.
    pub(super) fn bury(&self, epoch: Epoch, entry: &mut SecretEntry) {
        for secret in &mut entry.secrets {
            if let Some((died_in, at)) = self.by_digest.get(&secret.digest)
                && *died_in != epoch
            {
                secret.retired_at = Some(secret.retired_at.map_or(*at, |own| own.min(*at)));
            }
        }
    }
}

/// Whether a secret is its key's current one, and the key is not switched off.
fn is_live(entry: &SecretEntry, secret: &Secret) -> bool {
    entry.record.status == KeyStatus::Active && secret.retired_at.is_none()
}

/// When a secret has died, or will have; `None`: it lives.
fn death(entry: &SecretEntry, secret: &Secret, now: Timestamp) -> Option<Timestamp> {
    match (entry.record.status, secret.retired_at) {
        (KeyStatus::Active, retired_at) => retired_at,
        (KeyStatus::Disabled | KeyStatus::Revoked, retired_at) => {
            Some(retired_at.map_or(now, |retired_at| retired_at.min(now)))
        }
    }
}
