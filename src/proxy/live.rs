//! Which secrets the exchanges in flight were permitted by, and how an exchange whose secret has died is ended.
//!
//! A connection has one seat, for one exchange at a time. It knows no bytes and no keys: whether a secret still
//! lives is for the caller to say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::authz::{Principal, Reason, Timestamp};
use crate::wire::SecretDigest;

/// What an exchange was permitted by.
#[derive(Debug, Clone)]
pub struct InUse {
    /// The key.
    pub principal: Arc<Principal>,
    /// Which of its secrets was shown.
    pub secret: SecretDigest,
    /// When that one was, or will be, rotated away.
    pub retired_at: Option<Timestamp>,
}

impl InUse {
    /// Whether its time is over: the key has expired, or the grace of its secret.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        over(self.principal.expires_at) || over(self.retired_at)
    }
}

/// The place of an exchange in the table of those in flight.
///
/// INVARIANT: who takes it looks at the snapshot *again* afterwards, and who swaps the snapshot looks at the seats
/// afterwards. Both do so under the lock, so that one of the two sees the other.
#[derive(Debug, Default)]
pub struct Seat {
    taken: Mutex<Taken>,
    told: Notify,
    left: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    by: Option<InUse>,
    /// Why the exchange is to end.
    ending: Option<Reason>,
    /// Exchanges that have sat here.
    turn: u64,
}

/// An exchange that was told to end.
#[derive(Debug)]
pub struct Told {
    seat: Arc<Seat>,
    turn: u64,
}

impl Seat {
    /// Says by what the exchange was permitted.
    pub fn take(&self, used: InUse) {
        self.lock().by = Some(used);
    }

    /// The exchange goes on, but not because of what it showed.
    pub fn give_up(&self) {
        self.lock().by = None;
    }

    /// The exchange has ended, and with it all that it could still send.
    pub fn leave(&self) {
        let mut taken = self.lock();
        let turn = taken.turn.wrapping_add(1);
        *taken = Taken {
            turn,
            ..Taken::default()
        };
        drop(taken);
        self.left.notify_waiters();
    }

    /// Tells the exchange to end if `why` gives a reason in what it uses.
    pub fn tell(self: &Arc<Self>, why: impl FnOnce(&InUse) -> Option<Reason>) -> Option<Told> {
        let mut taken = self.lock();
        taken.ending = Some(taken.by.as_ref().and_then(why)?);
        let turn = taken.turn;
        drop(taken);
        self.told.notify_one();
        Some(Told {
            seat: Arc::clone(self),
            turn,
        })
    }

    /// Returns when the exchange is told to end, and why.
    pub async fn until_told(&self) -> Reason {
        loop {
            if let Some(reason) = self.lock().ending {
                return reason;
            }
            // A notice for an exchange that has ended meanwhile wakes the next one, which looks and waits on.
            self.told.notified().await;
        }
    }

    fn turn(&self) -> u64 {
        self.lock().turn
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Returns when that exchange has ended.
    pub async fn until_left(self) {
        loop {
            let left = self.seat.left.notified();
            if self.seat.turn() != self.turn {
                return;
            }
            left.await;
        }
    }
}
