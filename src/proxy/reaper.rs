//! Ends the exchanges in flight whose secret has died: at once when a change says so, soon when time does.
//!
//! It asks the replica what lives, and tells the connections. A key that may merely do less goes on with what it began.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::connections::Connections;
use super::live::InUse;
use super::regime::Commons;
use crate::authz::{KeyId, Reason, Revision, Timestamp};

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
    pub async fn end_dead(&self, is_concerned: impl Fn(&KeyId) -> bool) {
        let now = self.commons.now();
        let told = self.connections.tell(|used| {
            is_concerned(&used.principal.id)
                .then(|| self.cause_of_death(used, now))
                .flatten()
        });
        let ended = async {
            for told in told {
                told.until_left().await;
            }
        };
        if timeout(END_TIME, ended).await.is_err() {
            tracing::error!("exchanges of a key that was ended have not ended in time");
        }
    }

    /// Ends what outlives its key, until the task is dropped.
    pub(super) async fn sweep(self) {
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            ticks.tick().await;
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

    /// Why a secret no longer lives; `None`: it does, or nobody can say.
    fn cause_of_death(&self, used: &InUse, now: Timestamp) -> Option<Reason> {
        let snapshot = self.commons.replica.pin()?;
        let lookup = self.commons.replica.look_up_secret(&snapshot, &used.secret);
        match lookup.live(now) {
            Ok(_) | Err((Reason::KeysUnavailable, _)) => None,
            Err((Reason::ExpiredKey, _)) => Some(Reason::ExpiredKey),
            Err(_) => Some(Reason::RevokedKey),
        }
    }
}
