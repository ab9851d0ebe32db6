//! A control plane elsewhere as the source of the keys: a whole snapshot, then every change as it is made, each
//! acknowledged when it holds.
//!
//! It decides nothing about requests but whether the copy is too old for them. An outage makes no key unknown, and no
//! revision of one history is ever gone back from.

pub mod disk;
mod driver;
mod endpoints;
mod event;
mod exchange;
mod follower;
mod freshness;
mod link;
mod loading;
#[cfg(test)]
mod tests;
mod usage;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use self::disk::Disk;
use self::driver::Driver;
use self::follower::Follower;
use self::link::{Link, Reported};
use self::usage::Reports;
use super::moment::{Moment, MomentClock};
use super::source::{Settled, Source, SourceFigures, SourceStatus};
use super::{Replica, Usage};
use crate::authz::{KeyLookup, PresentedKey};
use crate::wire::sync::{GatewayId, GatewayInfo, OnStale};
use crate::wire::{ChangeSink, SecretDigest};

pub use self::event::Counted;
pub use self::link::{Access, InvalidAccess};

/// Between two reports of uses: what a crash may lose of the counts (never of the keys).
const USAGE_INTERVAL: Duration = Duration::from_secs(10);
/// A copy that is refused when it is stale is refused so much before: what goes on under it has to be over by then.
const CUT_TIME: Duration = Duration::from_millis(50);
/// No moment: nothing is known of how current the copy is.
const NEVER: i64 = i64::MIN;

/// How control planes are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How they are reached.
    pub access: Access,
    /// What people call this gateway.
    pub name: String,
    /// The directory that the copy is kept in over a restart; `None`: it is not kept.
    pub state: Option<PathBuf>,
    /// From this age on the copy is stale.
    pub max_staleness: Duration,
    /// What becomes of known keys then.
    pub on_stale: OnStale,
}

/// Why control planes cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// They cannot be asked.
    #[error(transparent)]
    Access(#[from] InvalidAccess),
    /// The copy cannot be kept.
    #[error(transparent)]
    Disk(#[from] disk::OpenError),
    /// The machine gives no random numbers.
    #[error("the machine gives no random numbers")]
    Randomness(#[source] getrandom::Error),
}

/// Control planes that are followed. Its clones are the same one.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

struct Shared {
    config: Config,
    replica: Arc<Replica>,
    clock: MomentClock,
    link: Link,
    disk: Disk,
    began: Duration,
    seed: u64,
    view: Mutex<View>,
    /// A follower that does not follow yet.
    restored: Mutex<Option<Follower>>,
    /// What follows.
    following: Mutex<Option<JoinHandle<()>>>,
    /// See [`Follower::confirmed`].
    confirmed: AtomicI64,
    endpoint: AtomicUsize,
    reports: tokio::sync::Mutex<Reports>,
}

/// What is told of the follower.
#[derive(Debug, Clone, Copy, Default)]
struct View {
    is_following: bool,
    counted: Counted,
}

impl Remote {
    /// Prepares to follow control planes. Nothing is asked and nothing read yet.
    ///
    /// # Errors
    /// They cannot be asked, or the directory cannot be used.
    pub fn open(
        config: Config,
        replica: Arc<Replica>,
        clock: MomentClock,
    ) -> Result<Self, OpenError> {
        let disk = Disk::open(config.state.as_deref(), &config.access.tokens, &replica)?;
        let gateway = GatewayInfo {
            id: disk.gateway_id(),
            name: config.name.clone(),
            on_stale: config.on_stale,
            max_staleness: config.max_staleness,
        };
        let link = Link::new(&config.access, gateway, replica.pepper.as_ref())?;
        let seed = u64::from_le_bytes(random()?);
        let incarnation = u128::from_le_bytes(random()?);
        let began = clock().steady;
        Ok(Self(Arc::new(Shared {
            config,
            replica,
            clock,
            link,
            disk,
            began,
            seed,
            view: Mutex::default(),
            restored: Mutex::default(),
            following: Mutex::default(),
            confirmed: AtomicI64::new(NEVER),
            endpoint: AtomicUsize::new(0),
            reports: tokio::sync::Mutex::new(Reports::new(incarnation)),
        })))
    }

    /// Loads what was kept into `sink`, so that the gateway serves from it at once.
    pub fn restore(&self, sink: &dyn ChangeSink) {
        let shared = &self.0;
        let kept = shared.disk.restore(sink);
        let follower = Follower::new(
            shared.link.endpoints(),
            shared.config.max_staleness,
            kept.map(|kept| (kept.at, kept.confirmed)),
            shared.seed,
            (shared.clock)(),
        );
        shared.publish(&follower);
        *shared.restored() = Some(follower);
    }

    /// Follows from now on, until the runtime ends. What was kept is loaded first, unless it was.
    pub fn follow(&self, sink: Arc<dyn ChangeSink>, runtime: &Handle) {
        if self.0.restored().is_none() {
            self.restore(&*sink);
        }
        let Some(follower) = self.0.restored().take() else {
            return;
        };
        let driver = Driver::new(Arc::clone(&self.0), sink, follower);
        let following = runtime.spawn(driver.run());
        *self.0.following() = Some(following);
        runtime.spawn(Arc::clone(&self.0).report_regularly());
    }

    /// Reports what was counted until now.
    pub async fn report(&self) {
        self.0.report().await;
    }

    /// Follows no more, writes what waits for the disk, reports what was counted until now, and says goodbye: nothing
    /// must be judged by the copy any more.
    pub async fn end(&self) {
        let following = self.0.following().take();
        if let Some(following) = following {
            following.abort();
            // It has ended, whatever it says.
            let _ = following.await;
        }
        let disk = self.0.disk.clone();
        let ended = tokio::task::spawn_blocking(move || disk.end());
        self.0.report().await;
        if ended.await.is_err() {
            tracing::error!("the keys may not be there after the restart");
        }
        let endpoint = self.0.endpoint.load(Ordering::Relaxed);
        self.0.link.leave(endpoint).await;
    }

    /// Who this gateway is to control planes.
    pub fn gateway_id(&self) -> GatewayId {
        self.0.disk.gateway_id()
    }

    /// What has happened since the start, in numbers.
    pub fn counted(&self) -> Counted {
        self.0.view().counted
    }

    /// How often the disk did not take what should be kept.
    pub fn disk_errors(&self) -> u64 {
        self.0.disk.errors()
    }
}

impl Source for Remote {
    fn status(&self) -> SourceStatus {
        self.0.status()
    }

    fn figures(&self) -> SourceFigures {
        let Counted {
            streams,
            snapshots,
            refused,
            repeated,
            flaws,
        } = self.counted();
        SourceFigures {
            streams,
            snapshots,
            refused,
            repeated,
            flaws,
            state_errors: self.disk_errors(),
        }
    }

    fn lasts(&self) -> Duration {
        match self.0.config.on_stale {
            OnStale::Serve => Duration::MAX,
            OnStale::Deny => self.0.lasts((self.0.clock)()),
        }
    }

    fn settle(&self, _key: &PresentedKey<'_>, _secret: &SecretDigest, found: KeyLookup) -> Settled {
        let holds = match (self.0.config.on_stale, &found) {
            (OnStale::Deny, _) => !self.lasts().is_zero(),
            // It may have been made since.
            (OnStale::Serve, KeyLookup::Unknown) => !self.0.is_stale((self.0.clock)()),
            (OnStale::Serve, KeyLookup::Found { .. } | KeyLookup::Unavailable) => true,
        };
        Settled::Now(if holds { found } else { KeyLookup::Unavailable })
    }
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, View> {
        // It is copied as a whole.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn restored(&self) -> MutexGuard<'_, Option<Follower>> {
        // It is put there and taken away as a whole.
        self.restored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn following(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        // It is put there and taken away as a whole.
        self.following
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, follower: &Follower) {
        let confirmed = follower.confirmed().unwrap_or(NEVER);
        self.confirmed.store(confirmed, Ordering::Release);
        self.endpoint.store(follower.endpoint(), Ordering::Relaxed);
        *self.view() = View {
            is_following: follower.is_following(),
            counted: follower.counted(),
        };
    }

    /// How old the copy is at most; `None`: that is not known.
    fn staleness(&self, now: Moment) -> Option<Duration> {
        let confirmed = self.confirmed.load(Ordering::Acquire);
        (confirmed != NEVER).then(|| freshness::staleness(confirmed, now.steady))
    }

    fn is_stale(&self, now: Moment) -> bool {
        let staleness = self.staleness(now);
        staleness.is_none_or(|staleness| staleness > self.config.max_staleness)
    }

    /// How long a copy that is refused when it is stale may still be acted on.
    fn lasts(&self, now: Moment) -> Duration {
        let most = self.config.max_staleness.saturating_sub(CUT_TIME);
        let staleness = self.staleness(now);
        staleness.map_or(Duration::ZERO, |staleness| most.saturating_sub(staleness))
    }

    fn status(&self) -> SourceStatus {
        let now = (self.clock)();
        let runs = now.steady.saturating_sub(self.began);
        if self.replica.pin().is_none() {
            return SourceStatus {
                state: "starting",
                staleness: runs,
                usable: false,
            };
        }
        let is_stale = self.is_stale(now);
        // Of a copy whose age nobody knows, it is at least this.
        let unknown = self.config.max_staleness.saturating_add(runs);
        SourceStatus {
            state: match (is_stale, self.view().is_following) {
                (true, _) => "stale",
                (false, true) => "current",
                (false, false) => "retrying",
            },
            staleness: self.staleness(now).unwrap_or(unknown),
            usable: match self.config.on_stale {
                OnStale::Serve => true,
                OnStale::Deny => !self.lasts(now).is_zero(),
            },
        }
    }

    async fn report_regularly(self: Arc<Self>) {
        let first = tokio::time::Instant::now() + USAGE_INTERVAL;
        let mut ticks = tokio::time::interval_at(first, USAGE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.report().await;
        }
    }

    /// Reports what was counted, for as long as that is answered.
    async fn report(&self) {
        let mut reports = self.reports.lock().await;
        let counted: Vec<Usage> = self.replica.take_usage();
        reports.count(counted);
        loop {
            let reported = match reports.next() {
                None => break,
                Some(report) => {
                    let endpoint = self.endpoint.load(Ordering::Relaxed);
                    self.link.report(endpoint, report).await
                }
            };
            if reported == Reported::Refused {
                tracing::error!("a control plane refuses a report of uses");
            }
            if !reports.answered(reported) {
                break;
            }
        }
        let dropped = reports.take_dropped();
        if dropped > 0 {
            tracing::warn!(dropped, "uses of keys were counted and not reported");
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], OpenError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(OpenError::Randomness)?;
    Ok(bytes)
}
