//! Ends the exchanges in flight whose secret has died: at once when a change says so, soon when time does. And all of
//! them when the copy of the keys is too old to say what lives.
//!
//! It asks the replica what lives, and tells the connections. A key that may merely do less goes on with what it began.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::connections::Connections;
use super::live::{InUse, Told, end_of};
use super::regime::Commons;
use crate::authz::{KeyId, KeyLookup, Reason, Revision, Timestamp};

/// Between two looks at all that is in flight: how long an expired key may go on.
const SWEEP: Duration = Duration::from_millis(500);

/// How long those that were told may take to end. Only threads that hang take longer than a moment.
const END_TIME: Duration = Duration::from_secs(5);

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct Reaper {
    connections: Arc<Connections>,
    commons: Arc<Commons>,
}

impl Reaper {
    pub(super) fn new(connections: Arc<Connections>, commons: Arc<Commons>) -> Self {
        Self {
            connections,
            commons,
        }
    }

    /// Ends what uses a secret of one of `keys` that is dead by now. No byte of it passes once this has returned.
    pub async fn end_dead_of(&self, keys: &HashSet<&KeyId>) {
        let now = self.commons.now();
        let cause_of_death = |used: &mut InUse| self.cause_of_death(used, now);
        end(self.connections.tell_of(keys, cause_of_death)).await;
    }

    /// The same, whichever key it is a secret of.
    pub async fn end_dead(&self) {
        let now = self.commons.now();
        let cause_of_death = |used: &mut InUse| self.cause_of_death(used, now);
        end(self.connections.tell(cause_of_death)).await;
    }

    /// Ends what outlives its key, until the task is dropped.
    pub(super) async fn sweep(self) {
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            let lasts = self.commons.source.lasts();
            tokio::select! {
                _ = ticks.tick() => {}
                () = sleep(lasts), if !lasts.is_zero() => {}
            }
            if self.commons.source.lasts().is_zero() {
                self.connections.tell(|_| Some(Reason::KeysUnavailable));
                continue;
            }
            let revision = self.revision();
            let changed = seen.replace(revision) != Some(revision);
            self.connections.tell(|used| {
                let now = self.commons.now();
                (changed || used.is_over(now))
                    .then(|| self.cause_of_death(used, now))
                    .flatten()
            });
        }
    }

    fn revision(&self) -> Option<Revision> {
        let snapshot = self.commons.replica.pin()?;
        Some(snapshot.revision())
    }

    /// Why a secret no longer lives; `None`: it does, until the end that is noted, or nobody can say.
    fn cause_of_death(&self, used: &mut InUse, now: Timestamp) -> Option<Reason> {
        let replica = &self.commons.replica;
        let snapshot = replica.pin()?;
        let lookup = replica.look_up_used(&snapshot, &used.secret, &used.other);
        if let KeyLookup::Found {
            principal,
            retired_at,
        } = &lookup
        {
            if principal.id != used.principal.id {
                return Some(Reason::RevokedKey);
            }
            used.ends = end_of(principal, *retired_at);
        }
        match lookup.live(now) {
            Ok(_) | Err((Reason::KeysUnavailable, _)) => None,
            Err((Reason::ExpiredKey, _)) => Some(Reason::ExpiredKey),
            Err(_) => Some(Reason::RevokedKey),
        }
    }
}

/// Returns when those that were told have ended.
async fn end(told: Vec<Told>) {
    let ended = async {
        for told in told {
            told.until_left().await;
        }
    };
    if timeout(END_TIME, ended).await.is_err() {
        tracing::error!("exchanges of a key that was ended have not ended in time");
    }
}
