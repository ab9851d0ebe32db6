//! The gateways that follow this store, as this control plane knows them, and those who wait for what they say.
//!
//! [`registry`] decides; here are its lock, its clock and whoever is told. It knows no store.

mod registry;
mod tokens;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::authz::Timestamp;
use crate::wire::sync::{GatewayId, GatewayInfo, OnStale, Position};

pub(super) use registry::{Count, GatewayRow, Pulse, Registry, Seen, between, later};
pub(super) use tokens::{NamedToken, TOKENS_MAX, TokenName, Tokens};

/// Gateways known at a time.
pub(super) const GATEWAYS_MAX: usize = 1_000;

/// A gateway that was heard within so long is not one that is gone.
pub(super) const HEARD_LATELY: Duration = Duration::from_secs(15);

/// How long the gateway of a process is waited for that was killed.
const OWN_LEASE: Duration = Duration::from_secs(10);
/// Between two histories that begin because of what gateways say.
const EPOCH_PAUSE: Duration = Duration::from_secs(60);

/// A clock that nobody sets: what the machine's said at the start, and the time that went by since.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaseClock {
    started: Timestamp,
    since: Instant,
}

impl LeaseClock {
    /// One that goes on from a moment.
    pub(super) fn starting(started: Timestamp) -> Self {
        let since = Instant::now();
        Self { started, since }
    }

    /// The present moment.
    pub(super) fn now(&self) -> Timestamp {
        later(self.started, self.since.elapsed())
    }
}

/// See the module.
pub(super) struct Fleet {
    registry: Mutex<Registry>,
    /// Counts what may be of interest to those who wait.
    news: watch::Sender<u64>,
    /// Something is to be written down soon.
    unwritten: Notify,
    /// The life of this control plane, and of the gateway in its process.
    plane: u128,
    clock: LeaseClock,
    tokens: Tokens,
    /// When another history was begun because of what a gateway said.
    epoch_begun: Mutex<Option<Instant>>,
    /// Whether other control planes may read what is written down.
    is_shared: bool,
}

impl Fleet {
    /// The fleet as it was written down before; `plane` is a name that no other life of a control plane has.
    pub(super) fn new(
        rows: Vec<GatewayRow>,
        tokens: Tokens,
        plane: u128,
        is_shared: bool,
        clock: LeaseClock,
    ) -> Self {
        Self {
            registry: Mutex::new(Registry::restored(rows)),
            news: watch::Sender::new(0),
            unwritten: Notify::new(),
            plane,
            clock,
            tokens,
            epoch_begun: Mutex::default(),
            is_shared,
        }
    }

    /// The moment by which leases are reckoned.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The clock that says it.
    pub(super) fn clock(&self) -> LeaseClock {
        self.clock
    }

    /// By which gateways are known.
    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Whether one more gateway may arrive.
    pub(super) fn has_room_for(&self, id: GatewayId) -> bool {
        let registry = self.registry();
        registry.knows(id) || registry.len() < GATEWAYS_MAX
    }

    /// A gateway that arrives, for writing it down.
    pub(super) fn arriving(
        &self,
        info: GatewayInfo,
        token: &str,
        at: Option<Position>,
    ) -> GatewayRow {
        let now = self.now();
        GatewayRow {
            lease_until: Registry::bound_of_arrival(&info, now),
            info,
            token: token.to_owned(),
            plane: format!("{:032x}", self.plane),
            session: 0,
            acked: at,
            contact: now,
        }
    }

    /// A gateway has arrived, and is written down; before, its lease was bounded by `before`.
    pub(super) fn arrived(&self, row: GatewayRow, before: Option<Timestamp>) {
        let now = self.now();
        self.registry().arrived(row, before, now);
        self.tell();
    }

    /// A gateway says what it has applied. `false`: it has not arrived here.
    pub(super) fn acked(&self, info: &GatewayInfo, position: Position, tag: u64) -> bool {
        let now = self.now();
        let mut registry = self.registry();
        let was_twice = registry.is_twice(info.id, now);
        let is_here = registry.acked(info, position, tag, now);
        let is_twice = registry.is_twice(info.id, now);
        let is_urgent = registry.is_urgent(self.is_shared);
        drop(registry);
        if is_twice && !was_twice {
            let (id, name) = (info.id, &*info.name);
            tracing::error!(
                %id,
                name,
                "two gateways show one id, so that nobody can say what both have applied: the state directory of one is \
                 a copy of the other's, and has to be removed"
            );
        }
        self.tell();
        if is_urgent {
            self.unwritten.notify_one();
        }
        is_here
    }

    /// The gateway in the process of this control plane, as others know it.
    pub(super) fn own_gateway(&self) -> GatewayInfo {
        GatewayInfo {
            id: GatewayId(self.plane),
            name: "embedded".to_owned(),
            on_stale: OnStale::Serve,
            max_staleness: OWN_LEASE,
        }
    }

    /// Returns when something is to be written down without delay.
    pub(super) async fn unwritten(&self) {
        self.unwritten.notified().await;
    }

    /// For those who wait: changes with whatever gateways say.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Says that something may be of interest to those who wait.
    pub(super) fn tell(&self) {
        self.news
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The gateway that may make room for another: the one whose lease is over for the longest time.
    pub(super) fn longest_silent(&self) -> Option<GatewayId> {
        self.registry().longest_silent(self.now())
    }

    /// What a heartbeat needs to know; `None`: the gateway has gone on to another control plane.
    pub(super) fn pulse(&self, id: GatewayId) -> Option<(Pulse, Duration)> {
        let pulse = self.registry().pulse(id)?;
        Some((pulse, between(pulse.contact, self.now())))
    }

    /// All gateways, in the order of their names.
    pub(super) fn list(&self) -> Vec<Seen> {
        self.registry().list(self.now())
    }

    /// Whether another history may begin because of what a gateway says, which is not often.
    pub(super) fn may_begin_epoch(&self) -> bool {
        let begun = self.epoch_begun.lock();
        let mut begun = begun.unwrap_or_else(PoisonError::into_inner);
        if begun.is_some_and(|begun| begun.elapsed() < EPOCH_PAUSE) {
            return false;
        }
        *begun = Some(Instant::now());
        true
    }

    /// What is known, to be asked or told several things at one moment.
    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}
