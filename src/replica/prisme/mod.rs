//! A Prisme.ai platform as the source of the keys: its lists are polled into the copy, and whose a presented
//! organisation key is, is asked of it once and then known by the key's digest.
//!
//! It decides nothing about requests. What it does not know it says it does not know: an outage makes no key unknown.

mod ask;
mod backoff;
mod follower;
mod platform;
mod poll;
mod saved;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use self::ask::Asker;
use self::backoff::Backoff;
use self::follower::Follower;
use self::platform::Platform;
use super::moment::{Moment, MomentClock};
use super::source::{Settled, Source, SourceStatus};
use super::{Replica, StateError};
use crate::authz::{
    Family, KeyDigest, KeyLookup, KeyStatus, Pepper, PresentedKey, Principal, Tenant,
};
use crate::wire::sync::OnStale;
use crate::wire::{Epoch, SecretDigest};

pub use self::platform::{Access, InvalidAccess};

/// Lists that are read at a time.
const LISTS_AT_ONCE: usize = 4;
/// First delay after a list could not be read.
const LIST_DELAY_MIN: Duration = Duration::from_millis(500);

/// How a platform is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How it is reached.
    pub access: Access,
    /// Organisations whose keys are taken, by slug.
    pub orgs: Vec<String>,
    /// Workspaces whose keys are taken, by id.
    pub workspaces: Vec<String>,
    /// From the end of one poll of a list to the next.
    pub poll: Duration,
    /// How long a secret is used without being validated again.
    pub validate_cache: Duration,
    /// Where all of this is kept over a restart; `None`: nowhere.
    pub state: Option<PathBuf>,
    /// From this age on a copy is stale.
    pub max_staleness: Duration,
    /// What becomes of known keys then.
    pub on_stale: OnStale,
    /// How long a request waits at most until a key that is known already has been validated again.
    pub known_patience: Duration,
    /// How long a request waits at most for the validation of an unknown key.
    pub unknown_patience: Duration,
}

/// Why a platform cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be asked.
    #[error(transparent)]
    Access(#[from] InvalidAccess),
    /// What was kept was made with another pepper.
    #[error(
        "the state file {} was made with another pepper: restore that pepper, or delete the file", .0.display()
    )]
    Pepper(PathBuf),
    /// The machine gives no random numbers.
    #[error("the machine gives no random numbers")]
    Randomness(#[source] getrandom::Error),
}

/// A platform that is followed. Its clones are the same one.
#[derive(Clone)]
pub struct Prisme(Arc<Shared>);

impl fmt::Debug for Prisme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prisme").finish_non_exhaustive()
    }
}

struct Shared {
    config: Config,
    pepper: Option<Pepper>,
    replica: Arc<Replica>,
    clock: MomentClock,
    runtime: Handle,
    platform: Platform,
    started: Duration,
    follower: Mutex<Follower>,
    followed: Vec<Followed>,
    orgs: HashMap<String, usize>,
    workspaces: HashMap<String, usize>,
    lists: Semaphore,
    asker: Asker,
    changed: Notify,
}

/// How current the list of one tenant is.
struct Followed {
    tenant: Tenant,
    /// When the last list that was read was asked for, in milliseconds of the steady clock; before the beginning of
    /// time: never.
    confirmed: AtomicI64,
    /// When it had been read.
    read: AtomicI64,
    failing: AtomicBool,
    polling: tokio::sync::Mutex<Backoff>,
}

const NEVER: i64 = i64::MIN;

impl Followed {
    fn new(tenant: Tenant, config: &Config) -> Self {
        let backoff = Backoff::new(LIST_DELAY_MIN, config.poll);
        Self {
            tenant,
            confirmed: AtomicI64::new(NEVER),
            read: AtomicI64::new(NEVER),
            failing: AtomicBool::new(false),
            polling: tokio::sync::Mutex::new(backoff),
        }
    }

    /// How old the list is; `None`: there is none.
    fn age(&self, now: Moment) -> Option<Duration> {
        age(self.confirmed.load(Ordering::Relaxed), now)
    }

    /// Whether the last poll succeeded and the next is not overdue, so that a key which is not listed is none.
    fn is_current(&self, now: Moment, poll: Duration) -> bool {
        let read = age(self.read.load(Ordering::Relaxed), now);
        !self.failing.load(Ordering::Relaxed) && read.is_some_and(|age| age <= 2 * poll)
    }
}

fn age(since: i64, now: Moment) -> Option<Duration> {
    let millis = (since != NEVER).then(|| millis(now.steady).saturating_sub(since))?;
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Prisme {
    /// Prepares to follow a platform, with what was kept of it. Nothing is asked yet.
    ///
    /// # Errors
    /// The platform cannot be asked, or what was kept was made with another pepper.
    pub fn open(
        config: Config,
        of_replica: &super::Config,
        replica: Arc<Replica>,
        clock: MomentClock,
        runtime: Handle,
    ) -> Result<Self, OpenError> {
        let orgs = config.orgs.iter().cloned().map(Tenant::Org);
        let workspaces = config.workspaces.iter().cloned().map(Tenant::Workspace);
        let tenants: Vec<Tenant> = orgs.chain(workspaces).collect();
        let mut epoch = [0; 16];
        getrandom::fill(&mut epoch).map_err(OpenError::Randomness)?;
        let epoch = Epoch(u128::from_le_bytes(epoch));
        let numbers = |names: &[String], first: usize| {
            let numbered = names.iter().cloned().zip(first..);
            numbered.collect::<HashMap<_, _>>()
        };
        let shared = Shared {
            platform: Platform::new(&config.access, ask::AT_ONCE)?,
            started: clock().steady,
            follower: Mutex::new(Follower::new(epoch, tenants.len())),
            followed: tenants
                .into_iter()
                .map(|tenant| Followed::new(tenant, &config))
                .collect(),
            orgs: numbers(&config.orgs, 0),
            workspaces: numbers(&config.workspaces, config.orgs.len()),
            lists: Semaphore::new(LISTS_AT_ONCE),
            asker: Asker::new(of_replica),
            changed: Notify::new(),
            pepper: of_replica.pepper.clone(),
            config,
            replica,
            clock,
            runtime,
        };
        shared.restore()?;
        Ok(Self(Arc::new(shared)))
    }

    /// Polls each list from now on, and keeps on disk what comes of it, until the runtime ends.
    pub fn follow(&self) {
        for tenant in 0..self.0.followed.len() {
            self.0
                .runtime
                .spawn(Arc::clone(&self.0).poll_regularly(tenant));
        }
        self.0
            .runtime
            .spawn(Arc::clone(&self.0).save_when_changed());
    }

    /// Polls each list once, now.
    pub async fn poll(&self) {
        for tenant in 0..self.0.followed.len() {
            self.0.poll(tenant).await;
        }
    }

    /// Writes to disk what is known now.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn save(&self) -> Result<(), StateError> {
        self.0.save()
    }
}

impl Source for Prisme {
    fn status(&self) -> SourceStatus {
        self.0.status()
    }

    fn settle(&self, key: &PresentedKey<'_>, secret: &SecretDigest, found: KeyLookup) -> Settled {
        let now = (self.0.clock)();
        match (key.family(), secret) {
            (Family::Org, SecretDigest::Blake3(digest)) => {
                self.0.settle_org(key, *digest, found, now)
            }
            (Family::Workspace, _) => Settled::Now(self.0.settle_workspace(found, now)),
            // The platform has none.
            (Family::Access, _) | (Family::Org, SecretDigest::Sha256(_)) => Settled::Now(found),
        }
    }
}

impl Shared {
    fn follower(&self) -> MutexGuard<'_, Follower> {
        // Each of its methods leaves it whole.
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> SourceStatus {
        let now = (self.clock)();
        let ages: Option<Vec<Duration>> = self.followed.iter().map(|f| f.age(now)).collect();
        let Some(ages) = ages else {
            return SourceStatus {
                state: "starting",
                staleness: now.steady.saturating_sub(self.started),
                usable: false,
            };
        };
        let staleness = ages.into_iter().max().unwrap_or_default();
        let is_stale = staleness > self.config.max_staleness;
        let is_failing = self
            .followed
            .iter()
            .any(|f| f.failing.load(Ordering::Relaxed));
        SourceStatus {
            state: match (is_stale, is_failing) {
                (true, _) => "stale",
                (false, true) => "retrying",
                (false, false) => "current",
            },
            staleness,
            usable: !is_stale || self.config.on_stale == OnStale::Serve,
        }
    }

    /// Whether nothing may be decided by the list of a tenant: there is none, or too old a one.
    fn is_unusable(&self, tenant: usize, now: Moment) -> bool {
        let age = self.followed.get(tenant).and_then(|f| f.age(now));
        age.is_none_or(|age| {
            self.config.on_stale == OnStale::Deny && age > self.config.max_staleness
        })
    }

    fn settle_workspace(&self, found: KeyLookup, now: Moment) -> KeyLookup {
        let tenant = match &found {
            KeyLookup::Found { principal, .. } => match &principal.tenant {
                Tenant::Workspace(id) => self.workspaces.get(id),
                Tenant::Org(_) | Tenant::Access => None,
            },
            KeyLookup::Unknown => {
                let mut tenants = self.workspaces.values();
                let poll = self.config.poll;
                let is_current = |f: &Followed| f.is_current(now, poll);
                let current =
                    tenants.all(|tenant| self.followed.get(*tenant).is_some_and(is_current));
                return if current {
                    found
                } else {
                    KeyLookup::Unavailable
                };
            }
            KeyLookup::Unavailable => return found,
        };
        match tenant {
            Some(tenant) if !self.is_unusable(*tenant, now) => found,
            Some(_) | None => KeyLookup::Unavailable,
        }
    }

    fn settle_org(
        self: &Arc<Self>,
        key: &PresentedKey<'_>,
        digest: KeyDigest,
        found: KeyLookup,
        now: Moment,
    ) -> Settled {
        let Some(tenant) = key.org().and_then(|org| self.orgs.get(org)).copied() else {
            // Of an organisation that is not followed: nobody's here.
            return Settled::Now(KeyLookup::Unknown);
        };
        if self.is_unusable(tenant, now) {
            return Settled::Now(KeyLookup::Unavailable);
        }
        match &found {
            KeyLookup::Unavailable => Settled::Now(found),
            KeyLookup::Found { principal, .. } if !is_live(principal, now) => Settled::Now(found),
            KeyLookup::Found { .. } => self.settle_known(key, (tenant, digest), found, now),
            KeyLookup::Unknown => self.settle_unknown(key, (tenant, digest), now),
        }
    }
}

/// Whether the key may be used at all. If not, that is the answer, and nobody need be asked.
fn is_live(principal: &Principal, now: Moment) -> bool {
    let expired = principal.expires_at.is_some_and(|at| now.time >= at);
    principal.status == KeyStatus::Active && !expired
}
