//! Asking the platform whose a presented key is: once per key at a time, of few keys at a time, and not again until
//! it is time.
//!
//! The question lives on when the request that asked it does not: others may wait for the same answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::Shared;
use super::backoff::{Backoff, Pause};
use super::follower::{Learned, Tick};
use super::platform::{Fault, Validity};
use crate::authz::{KeyDigest, KeyLookup, PresentedKey, RawKey, Tenant};
use crate::replica::digests::DigestHashing;
use crate::replica::moment::Moment;
use crate::replica::source::{Asked, Settled};
use crate::wire::prisme::PlatformKey;
use crate::wire::{ChangeSink as _, SecretDigest};

/// Validations at a time: of unknown keys, and of known ones, which those must not keep from being validated.
const UNKNOWN_AT_ONCE: usize = 24;
const KNOWN_AT_ONCE: usize = 8;
/// Both together.
pub(super) const AT_ONCE: usize = UNKNOWN_AT_ONCE + KNOWN_AT_ONCE;
/// Keys that are being asked about or wait for their turn. Known ones, of which there are only so many, wait beyond it.
const WAITING_MAX: usize = 1024;
/// How often an answer may be outdated by the time it comes, before that is no answer.
const TRIES_MAX: usize = 3;
/// Shortest and longest pause after the platform failed.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A question that is under way.
type Question = watch::Receiver<Option<Asked>>;

/// What was asked, and is being asked.
pub(super) struct Asker {
    /// When a secret was last validated, by the steady clock. One that is missing here is validated again.
    validated: Cache<KeyDigest, Duration, DigestHashing>,
    /// When a key was last called unknown.
    unknown: Cache<KeyDigest, Duration, DigestHashing>,
    unknown_for: Duration,
    under_way: Mutex<HashMap<KeyDigest, Question>>,
    known_places: Semaphore,
    unknown_places: Semaphore,
    pause: Pause,
}

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// A key that the copy has.
    Known,
    /// One that it does not have.
    Unknown,
}

impl Asker {
    pub(super) fn new(config: &crate::replica::Config) -> Self {
        let cache = |capacity| {
            Cache::builder()
                .max_capacity(capacity)
                .build_with_hasher(DigestHashing)
        };
        Self {
            validated: cache(config.principals),
            unknown: cache(config.negative),
            unknown_for: config.negative_ttl,
            under_way: Mutex::default(),
            known_places: Semaphore::new(KNOWN_AT_ONCE),
            unknown_places: Semaphore::new(UNKNOWN_AT_ONCE),
            pause: Pause::new(Backoff::new(PAUSE_MIN, PAUSE_MAX)),
        }
    }

    /// These have been changed since they were validated.
    pub(super) fn forget_validated(&self, digests: &[KeyDigest]) {
        for digest in digests {
            self.validated.invalidate(digest);
        }
    }

    /// Whatever was called unknown may have been made since.
    pub(super) fn forget_unknown(&self) {
        self.unknown.invalidate_all();
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<KeyDigest, Question>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a question however it ends.
struct UnderWay<'s>(&'s Asker, KeyDigest);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way().remove(&self.1);
    }
}

impl Shared {
    /// A key that the copy has. Until half of its time is over it is used; then it is validated beside the request;
    /// and when its time is over, before the request, unless the platform is not to be had. One that was changed since
    /// it was validated has no time, and is not used before.
    pub(super) fn settle_known(
        self: &Arc<Self>,
        key: &PresentedKey<'_>,
        (tenant, digest): (usize, KeyDigest),
        found: KeyLookup,
        now: Moment,
    ) -> Settled {
        let cache = self.config.validate_cache;
        let validated = self.asker.validated.get(&digest);
        let age = validated.map(|at| now.steady.saturating_sub(at));
        if age.is_some_and(|age| age < cache / 2) {
            return Settled::Now(found);
        }
        let moved = age.is_none() && self.follower().is_moved(tenant, &digest);
        let otherwise = if moved { KeyLookup::Unavailable } else { found };
        if self.asker.pause.holds(now.steady) {
            return Settled::Now(otherwise);
        }
        let question = self.ask(key, tenant, digest, Of::Known);
        let must_wait = age.is_none_or(|age| age >= cache);
        let Some(question) = question.filter(|_| must_wait) else {
            return Settled::Now(otherwise);
        };
        let patience = if moved {
            self.config.unknown_patience
        } else {
            self.config.known_patience
        };
        Settled::Ask(Box::pin(async move {
            match answer(question, patience).await {
                // It lives on while the platform is down.
                Asked::Unavailable if !moved => Asked::Known,
                asked @ (Asked::Known | Asked::Unknown | Asked::Unavailable) => asked,
            }
        }))
    }

    /// A key that the copy does not have.
    pub(super) fn settle_unknown(
        self: &Arc<Self>,
        key: &PresentedKey<'_>,
        (tenant, digest): (usize, KeyDigest),
        now: Moment,
    ) -> Settled {
        let asker = &self.asker;
        let called_unknown = asker.unknown.get(&digest);
        let age = called_unknown.map(|at| now.steady.saturating_sub(at));
        if age.is_some_and(|age| age < asker.unknown_for) {
            return Settled::Now(KeyLookup::Unknown);
        }
        if asker.pause.holds(now.steady) {
            return Settled::Now(KeyLookup::Unavailable);
        }
        match self.ask(key, tenant, digest, Of::Unknown) {
            Some(question) => {
                Settled::Ask(Box::pin(answer(question, self.config.unknown_patience)))
            }
            None => Settled::Now(KeyLookup::Unavailable),
        }
    }

    /// Joins the question about a key, or begins it. `None`: too many are under way.
    fn ask(
        self: &Arc<Self>,
        key: &PresentedKey<'_>,
        tenant: usize,
        digest: KeyDigest,
        of: Of,
    ) -> Option<Question> {
        let mut under_way = self.asker.under_way();
        if let Some(question) = under_way.get(&digest) {
            return Some(question.clone());
        }
        if let Some(asked) = self.answered_meanwhile(&digest, of) {
            return Some(watch::channel(Some(asked)).1);
        }
        if of == Of::Unknown && under_way.len() >= WAITING_MAX {
            return None;
        }
        let (answer, question) = watch::channel(None);
        under_way.insert(digest, question.clone());
        let (shared, key) = (Arc::clone(self), key.to_raw());
        self.runtime.spawn(async move {
            let under_way = UnderWay(&shared.asker, digest);
            let places = match of {
                Of::Known => &shared.asker.known_places,
                Of::Unknown => &shared.asker.unknown_places,
            };
            let asked = match places.acquire().await {
                Ok(_place) => shared.validate(tenant, digest, key).await,
                Err(_) => Asked::Unavailable,
            };
            // First this, so that whoever is told may ask again.
            drop(under_way);
            answer.send_replace(Some(asked));
        });
        Some(question)
    }

    /// Whether somebody else's question was answered between a look-up and this moment, in which no answer comes: the
    /// lock of the questions is held, and an answer is taken over before its question is removed.
    fn answered_meanwhile(&self, digest: &KeyDigest, of: Of) -> Option<Asked> {
        let now = (self.clock)().steady;
        let is_newer = |cache: &Cache<KeyDigest, Duration, DigestHashing>, than: Duration| {
            let at = cache.get(digest);
            at.is_some_and(|at| now.saturating_sub(at) < than)
        };
        let is_known = || {
            let snapshot = self.replica.pin();
            snapshot.is_some_and(|copy| copy.find(&SecretDigest::Blake3(*digest)).is_some())
        };
        if is_newer(&self.asker.unknown, self.asker.unknown_for) {
            return Some(Asked::Unknown);
        }
        let validated = is_newer(&self.asker.validated, self.config.validate_cache / 2);
        ((of == Of::Known || is_known()) && validated).then_some(Asked::Known)
    }

    async fn validate(&self, tenant: usize, digest: KeyDigest, key: RawKey) -> Asked {
        let Some(Tenant::Org(org)) = self.followed.get(tenant).map(|f| &f.tenant) else {
            return Asked::Unavailable;
        };
        for _ in 0..TRIES_MAX {
            let (began, at) = (self.follower().begin(), (self.clock)().steady);
            match self.platform.validate(org, &key).await {
                Ok(Validity::Valid(found)) => {
                    self.asker.pause.end();
                    match self.take_valid(tenant, (began, at), digest, *found) {
                        Learned::Bound(_) => return Asked::Known,
                        Learned::Outdated => {}
                        Learned::Contradicted => {
                            tracing::warn!(
                                org,
                                "the platform validates a key that it does not list"
                            );
                            return Asked::Unavailable;
                        }
                    }
                }
                Ok(Validity::Invalid) => {
                    self.asker.pause.end();
                    self.take_invalid(tenant, (began, at), digest);
                    return Asked::Unknown;
                }
                Err(fault) => {
                    self.failed(&fault);
                    return Asked::Unavailable;
                }
            }
        }
        Asked::Unavailable
    }

    // Within the lock of the follower, so that changes are applied in their order, and what is remembered of a digest
    // is as old as what is known of its key.

    fn take_valid(
        &self,
        tenant: usize,
        (began, at): (Tick, Duration),
        digest: KeyDigest,
        key: PlatformKey,
    ) -> Learned {
        let mut follower = self.follower();
        let learned = follower.validated(tenant, began, digest, key);
        if let Learned::Bound(change) = &learned {
            self.asker.unknown.invalidate(&digest);
            self.asker.validated.insert(digest, at);
            if let Some(change) = change {
                self.replica.apply(change);
            }
            self.changed.notify_one();
        }
        learned
    }

    fn take_invalid(&self, tenant: usize, (began, at): (Tick, Duration), digest: KeyDigest) {
        let mut follower = self.follower();
        self.asker.validated.invalidate(&digest);
        self.asker.unknown.insert(digest, at);
        if let Some(change) = follower.refused(tenant, began, digest) {
            self.replica.apply(&change);
            self.changed.notify_one();
        }
    }

    fn failed(&self, fault: &Fault) {
        if !self.asker.pause.is_set() {
            let cause = std::error::Error::source(fault).map(tracing::field::display);
            tracing::warn!(%fault, cause, "the platform does not validate keys");
        }
        let now = (self.clock)().steady;
        self.asker.pause.begin(now, fault.retry_after());
    }
}

async fn answer(mut question: Question, patience: Duration) -> Asked {
    match timeout(patience, question.wait_for(Option::is_some)).await {
        Ok(Ok(asked)) => asked.unwrap_or(Asked::Unavailable),
        // Nobody is left who could answer, or it takes too long.
        Ok(Err(_)) | Err(_) => Asked::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_keys_is_remembered_up_to_a_bound() {
        let asker = Asker::new(&crate::replica::Config {
            principals: 20,
            negative: 10,
            ..crate::replica::Config::default()
        });
        for (cache, bound) in [(&asker.unknown, 10), (&asker.validated, 20)] {
            for number in 0..10_000_u32 {
                let digest = KeyDigest::of(&number.to_be_bytes(), None);
                cache.insert(digest, Duration::ZERO);
            }
            cache.run_pending_tasks();
            assert_eq!(cache.entry_count(), bound);
        }
    }
}
