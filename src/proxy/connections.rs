//! The open connections: how many there are, which wait between requests, and how to be rid of them.
//!
//! Knows no bytes. A drain tells those that wait, which then close by themselves, and waits for the rest.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::live::{InUse, Seat, Told};
use crate::authz::Reason;
use crate::telemetry::Metrics;

/// All open connections.
#[derive(Debug)]
pub struct Connections {
    draining: AtomicBool,
    cut: AtomicBool,
    open: Mutex<Open>,
    empty: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    entries: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    closing: Arc<Notify>,
    seat: Arc<Seat>,
    task: Option<AbortHandle>,
}

/// One open connection; closed when it is dropped.
#[derive(Debug)]
pub struct Presence {
    id: u64,
    closing: Arc<Notify>,
    seat: Arc<Seat>,
    connections: Arc<Connections>,
}

impl Connections {
    /// None yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            draining: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            open: Mutex::default(),
            empty: Notify::new(),
            metrics,
        }
    }

    /// Takes a connection in, idle at first, unless there are `limit` already.
    pub fn enter(self: &Arc<Self>, limit: usize) -> Option<Presence> {
        let mut open = self.lock();
        if open.entries.len() >= limit {
            return None;
        }
        let id = open.next;
        open.next = open.next.wrapping_add(1);
        let (closing, seat) = (Arc::<Notify>::default(), Arc::<Seat>::default());
        let entry = Entry {
            closing: Arc::clone(&closing),
            seat: Arc::clone(&seat),
            task: None,
        };
        open.entries.insert(id, entry);
        drop(open);
        self.metrics.connections().inc();
        Some(Presence {
            id,
            closing,
            seat,
            connections: Arc::clone(self),
        })
    }

    /// Says which task serves a connection, so that it can be ended from outside.
    pub fn serve_by(&self, id: u64, task: AbortHandle) {
        let mut open = self.lock();
        let Some(entry) = open.entries.get_mut(&id) else {
            return;
        };
        if self.cut.load(Ordering::SeqCst) {
            task.abort();
        }
        entry.task = Some(task);
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether connections are to close after what they are doing.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Tells those that wait for a request, and from now on all, that there is to be no further one.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        for entry in self.lock().entries.values() {
            entry.closing.notify_one();
        }
    }

    /// Ends all of them.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for task in self
            .lock()
            .entries
            .values()
            .filter_map(|entry| entry.task.as_ref())
        {
            task.abort();
        }
    }

    /// Tells every exchange to end for which `why` gives a reason. It ends soon; what is returned tells when.
    pub fn tell(&self, why: impl Fn(&InUse) -> Option<Reason>) -> Vec<Told> {
        let open = self.lock();
        let seats = open.entries.values().map(|entry| &entry.seat);
        seats.filter_map(|seat| seat.tell(&why)).collect()
    }

    /// Returns when none is open.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.empty.notified();
            if self.count() == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Presence {
    /// What it is called in [`Connections::serve_by`].
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The place of its exchange among those in flight.
    pub fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// Returns when connections are to close.
    pub async fn until_draining(&self) {
        while !self.connections.is_draining() {
            self.closing.notified().await;
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.entries.remove(&self.id);
        self.seat.leave();
        let empty = open.entries.is_empty();
        drop(open);
        self.connections.metrics.connections().dec();
        if empty {
            self.connections.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections() -> Arc<Connections> {
        Arc::new(Connections::new(Arc::new(Metrics::new())))
    }

    #[test]
    fn the_limit_holds_and_closing_makes_room() {
        let connections = connections();
        let one = connections.enter(1);
        assert!(one.is_some());
        assert!(connections.enter(1).is_none());
        drop(one);
        assert!(connections.enter(1).is_some());
    }

    #[tokio::test]
    async fn a_drain_tells_those_that_wait_and_those_that_come() {
        let connections = connections();
        let waiting = connections.enter(9).unwrap();
        connections.drain();
        waiting.until_draining().await;
        connections.enter(9).unwrap().until_draining().await;
    }
}
