//! Which secrets the exchanges in flight were permitted by, and how an exchange whose secret has died is ended.
//!
//! A connection has one seat, for one exchange at a time. It knows no bytes and no keys: whether a secret still
//! lives, and until when, is for the caller to say.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::authz::{KeyId, Principal, Reason, Timestamp};
use crate::wire::SecretDigest;

/// What an exchange was permitted by.
#[derive(Debug, Clone)]
pub struct InUse {
    /// The key.
    pub principal: Arc<Principal>,
    /// Which of its secrets was shown.
    pub secret: SecretDigest,
    /// The digest of that one of the other kind.
    pub other: SecretDigest,
    /// When its time is over, as far as is known.
    pub ends: Option<Timestamp>,
}

/// When the time of a secret is over: its key expires, or the grace after a rotation.
pub fn end_of(principal: &Principal, retired_at: Option<Timestamp>) -> Option<Timestamp> {
    let ends = [principal.expires_at, retired_at].into_iter();
    ends.flatten().min()
}

impl InUse {
    /// Whether its time is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }
}

/// A word for a key, in which seats that are used under it are marked. Another key may have the same one.
pub fn word_of(id: &KeyId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish().max(1)
}

/// The marks of many seats side by side, so that all of them are looked through in a moment: 0 is nobody's.
#[derive(Debug)]
pub struct Marks(Box<[AtomicU64]>);

impl Marks {
    /// For so many seats.
    pub fn new(seats: usize) -> Self {
        Self((0..seats).map(|_| AtomicU64::new(0)).collect())
    }

    /// The words there, in order.
    pub fn words(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|word| word.load(Ordering::Relaxed))
    }

    fn set(&self, seat: usize, word: u64) {
        if let Some(mark) = self.0.get(seat) {
            mark.store(word, Ordering::Relaxed);
        }
    }
}

/// The place of an exchange in the table of those in flight.
///
/// INVARIANT: who takes it looks at the snapshot *again* afterwards, and who swaps the snapshot looks at the marks
/// afterwards. There is a fence between each one's two steps, so that one of the two sees the other.
#[derive(Debug, Default)]
pub struct Seat {
    mark: Option<(Arc<Marks>, usize)>,
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
    /// One that is marked there, at this place.
    pub fn marked(marks: Arc<Marks>, place: usize) -> Self {
        Self {
            mark: Some((marks, place)),
            ..Self::default()
        }
    }

    /// Says by what the exchange was permitted.
    pub fn take(&self, used: InUse) {
        let word = word_of(&used.principal.id);
        self.lock().by = Some(used);
        self.mark(word);
        fence(Ordering::SeqCst);
    }

    /// The exchange goes on, but not because of what it showed.
    pub fn give_up(&self) {
        self.mark(0);
        self.lock().by = None;
    }

    fn mark(&self, word: u64) {
        if let Some((marks, place)) = &self.mark {
            marks.set(*place, word);
        }
    }

    /// The exchange has ended, and with it all that it could still send.
    pub fn leave(&self) {
        self.mark(0);
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
    pub fn tell(self: &Arc<Self>, why: impl FnOnce(&mut InUse) -> Option<Reason>) -> Option<Told> {
        let mut taken = self.lock();
        taken.ending = Some(taken.by.as_mut().and_then(why)?);
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
