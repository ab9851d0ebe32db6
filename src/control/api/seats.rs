//! Seats for connections: so many and no more, and who gives one up when none is free.
//!
//! A connection that does nothing for somebody who was admitted makes room for the next, the one that has asked for
//! nothing for the longest time first. So strangers can take all seats and keep none. It knows no bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// All seats.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    table: Mutex<Table>,
    /// Somebody left, or may be asked to.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    taken: usize,
    /// Those who can be asked to leave, in the order of their last requests.
    movable: BTreeMap<u64, Arc<Notify>>,
    next: u64,
}

/// A seat, taken until the last of its clones is dropped.
#[derive(Debug, Clone)]
pub(super) struct Seat(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    seats: Arc<Seats>,
    /// Its place in the order; `None`: it stays.
    place: Mutex<Option<u64>>,
    asked_to_leave: Arc<Notify>,
}

impl Seats {
    /// So many.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            table: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Waits until a seat is free or somebody can be asked to leave.
    pub(super) async fn room(&self) {
        loop {
            let changed = self.changed.notified();
            {
                let table = self.table();
                if table.taken < self.most || !table.movable.is_empty() {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Takes a seat. Where all are taken, somebody is asked to leave.
    pub(super) fn sit(self: &Arc<Self>) -> Seat {
        let mut table = self.table();
        if table.taken >= self.most
            && let Some((_, longest_quiet)) = table.movable.pop_first()
        {
            longest_quiet.notify_one();
        }
        table.taken += 1;
        drop(table);
        let seat = Seat(Arc::new(Taken {
            seats: Arc::clone(self),
            place: Mutex::new(None),
            asked_to_leave: Arc::default(),
        }));
        seat.give_way();
        seat
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// It stays, because it works for somebody who was admitted.
    pub(super) fn stay(&self) {
        let mut place = self.0.place();
        if let Some(place) = place.take() {
            self.0.seats.table().movable.remove(&place);
        }
    }

    /// It can be asked to leave, but after all others that can.
    pub(super) fn give_way(&self) {
        let mut place = self.0.place();
        let mut table = self.0.seats.table();
        if let Some(former) = place.take() {
            table.movable.remove(&former);
        }
        let last = table.next;
        table.next += 1;
        let asked_to_leave = Arc::clone(&self.0.asked_to_leave);
        table.movable.insert(last, asked_to_leave);
        *place = Some(last);
        drop(table);
        self.0.seats.changed.notify_one();
    }

    /// Returns when somebody else needs the seat.
    pub(super) async fn needed(&self) {
        self.0.asked_to_leave.notified().await;
    }
}

impl Taken {
    fn place(&self) -> MutexGuard<'_, Option<u64>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let place = self.place().take();
        let mut table = self.seats.table();
        if let Some(place) = place {
            table.movable.remove(&place);
        }
        table.taken -= 1;
        drop(table);
        self.seats.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn is_over(future: impl Future<Output = ()>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(future).poll(&mut context) == Poll::Ready(())
    }

    #[test]
    fn whoever_asked_for_nothing_longest_leaves_first() {
        let seats = Seats::new(3);
        let [first, second, third] = [seats.sit(), seats.sit(), seats.sit()];
        assert!(
            ![&first, &second, &third]
                .iter()
                .any(|seat| is_over(seat.needed()))
        );
        first.give_way();
        let fourth = seats.sit();
        assert!(is_over(second.needed()));
        second.stay();
        drop(second);
        third.stay();
        let fifth = seats.sit();
        assert!(is_over(first.needed()));
        drop(first);
        let others = [&third, &fourth, &fifth];
        assert!(!others.iter().any(|seat| is_over(seat.needed())));
    }

    #[test]
    fn nobody_comes_where_all_stay_until_one_goes_or_gives_way() {
        let seats = Seats::new(2);
        let (first, second) = (seats.sit(), seats.sit());
        assert!(is_over(seats.room()));
        first.stay();
        second.stay();
        assert!(!is_over(seats.room()));
        first.give_way();
        assert!(is_over(seats.room()));
        first.stay();
        drop(second);
        assert!(is_over(seats.room()));
    }
}
