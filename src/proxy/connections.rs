//! The open connections: how many there are, which wait between requests, and how to be rid of them.
//!
//! Knows no bytes. A drain tells those that wait, which then close by themselves, and waits for the rest.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::live::{InUse, Marks, Seat, Told, word_of};
use crate::authz::{KeyId, Reason};
use crate::telemetry::Metrics;

/// Seats whose marks are side by side.
const SEATS_TOGETHER: usize = 1024;

/// All open connections.
#[derive(Debug)]
pub struct Connections {
    draining: AtomicBool,
    cut: AtomicBool,
    open: Mutex<Open>,
    empty: Notify,
    metrics: Arc<Metrics>,
}

/// Which connection: its place, and its number, because others come to sit there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionId {
    place: usize,
    number: u64,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// `None`: the place is free.
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// How many of the entries are streams.
    streams: usize,
    /// Of the places, [`SEATS_TOGETHER`] each.
    marks: Vec<Arc<Marks>>,
}

impl Open {
    /// How many are connections.
    fn count(&self) -> usize {
        self.entries.len() - self.free.len() - self.streams
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.entries().filter_map(|entry| entry.connection.as_ref())
    }

    /// Takes one in, and says where it sits.
    fn enter(&mut self, connection: Option<Connection>) -> (ConnectionId, Arc<Seat>) {
        let (place, seat) = self.place();
        let number = self.next;
        self.next = number.wrapping_add(1);
        if let Some(free) = self.entries.get_mut(place) {
            *free = Some(Entry {
                number,
                seat: Arc::clone(&seat),
                connection,
            });
        }
        (ConnectionId { place, number }, seat)
    }

    fn leave(&mut self, place: usize) {
        if let Some(taken) = self.entries.get_mut(place) {
            *taken = None;
            self.free.push(place);
        }
    }

    /// A free place and a seat for it. There are never more places than connections and streams were open at a time.
    fn place(&mut self) -> (usize, Arc<Seat>) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        let (of, within) = (place / SEATS_TOGETHER, place % SEATS_TOGETHER);
        while self.marks.len() <= of {
            self.marks.push(Arc::new(Marks::new(SEATS_TOGETHER)));
        }
        let seat = match self.marks.get(of) {
            Some(marks) => Seat::marked(Arc::clone(marks), within),
            None => Seat::default(),
        };
        (place, Arc::new(seat))
    }
}

/// A connection, or a stream of HTTP/2, which is an exchange beside that of its connection.
#[derive(Debug)]
struct Entry {
    number: u64,
    seat: Arc<Seat>,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    closing: Arc<Notify>,
    task: Option<AbortHandle>,
}

/// One open stream; over when it is dropped.
#[derive(Debug)]
pub struct StreamPlace {
    place: usize,
    seat: Arc<Seat>,
    connections: Arc<Connections>,
}

/// One open connection; closed when it is dropped.
#[derive(Debug)]
pub struct Presence {
    id: ConnectionId,
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
        if open.count() >= limit {
            return None;
        }
        let closing = Arc::<Notify>::default();
        let (id, seat) = open.enter(Some(Connection {
            closing: Arc::clone(&closing),
            task: None,
        }));
        drop(open);
        self.metrics.connections().inc();
        Some(Presence {
            id,
            closing,
            seat,
            connections: Arc::clone(self),
        })
    }

    /// Takes a stream in, unless there are `limit` already: an exchange costs the same wherever it comes from.
    pub fn begin_stream(self: &Arc<Self>, limit: usize) -> Option<StreamPlace> {
        let mut open = self.lock();
        if open.streams >= limit {
            return None;
        }
        open.streams = open.streams.saturating_add(1);
        let (id, seat) = open.enter(None);
        drop(open);
        Some(StreamPlace {
            place: id.place,
            seat,
            connections: Arc::clone(self),
        })
    }

    /// Says which task serves a connection, so that it can be ended from outside.
    pub fn serve_by(&self, id: ConnectionId, task: AbortHandle) {
        let mut open = self.lock();
        let entry = open.entries.get_mut(id.place).and_then(Option::as_mut);
        // It may be over by now.
        let entry = entry.filter(|entry| entry.number == id.number);
        let Some(connection) = entry.and_then(|entry| entry.connection.as_mut()) else {
            return;
        };
        if self.cut.load(Ordering::SeqCst) {
            task.abort();
        }
        connection.task = Some(task);
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.lock().count()
    }

    /// Whether connections are to close after what they are doing.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Tells those that wait for a request, and from now on all, that there is to be no further one.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        for connection in self.lock().connections() {
            connection.closing.notify_one();
        }
    }

    /// Ends all of them.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        let open = self.lock();
        for task in open.connections().filter_map(|one| one.task.as_ref()) {
            task.abort();
        }
    }

    /// Tells every exchange to end for which `why` gives a reason. It ends soon; what is returned tells when.
    pub fn tell(&self, why: impl Fn(&mut InUse) -> Option<Reason>) -> Vec<Told> {
        // Connections come and go meanwhile.
        let seats: Vec<Arc<Seat>> = {
            let open = self.lock();
            let seats = open.entries().map(|entry| Arc::clone(&entry.seat));
            seats.collect()
        };
        seats.iter().filter_map(|seat| seat.tell(&why)).collect()
    }

    /// The same for the exchanges under these keys, without a look at the others.
    pub fn tell_of(
        &self,
        keys: &HashSet<&KeyId>,
        why: impl Fn(&mut InUse) -> Option<Reason>,
    ) -> Vec<Told> {
        fence(Ordering::SeqCst);
        let mut words: Vec<u64> = keys.iter().map(|id| word_of(id)).collect();
        words.sort_unstable();
        let marks = self.lock().marks.clone();
        let marked = marks.iter().flat_map(|marks| marks.words()).enumerate();
        let marked = marked.filter(|(_, word)| *word != 0 && words.binary_search(word).is_ok());
        let places: Vec<usize> = marked.map(|(place, _)| place).collect();
        let mut told = Vec::new();
        for place in places {
            let seat = self.seat_at(place);
            told.extend(seat.and_then(|seat| {
                seat.tell(|used| {
                    let is_concerned = keys.contains(&used.principal.id);
                    is_concerned.then(|| why(used)).flatten()
                })
            }));
        }
        told
    }

    fn seat_at(&self, place: usize) -> Option<Arc<Seat>> {
        let open = self.lock();
        let entry = open.entries.get(place)?.as_ref()?;
        Some(Arc::clone(&entry.seat))
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
    pub fn id(&self) -> ConnectionId {
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

impl StreamPlace {
    /// The place of its exchange among those in flight.
    pub fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        self.seat.leave();
        open.leave(self.place);
        open.streams = open.streams.saturating_sub(1);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        self.seat.leave();
        open.leave(self.id.place);
        let empty = open.count() == 0;
        drop(open);
        self.connections.metrics.connections().dec();
        if empty {
            self.connections.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::authz::{
        KeyRecord, KeyStatus, Principal, RawGrants, Revision, Sha256Digest, Tenant,
    };
    use crate::wire::SecretDigest;

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

    #[test]
    fn streams_have_a_limit_of_their_own_and_are_told_as_well() {
        let connections = connections();
        let _connection = connections.enter(1);
        let one = connections.begin_stream(1).unwrap();
        assert!(connections.begin_stream(1).is_none());
        assert_eq!(connections.count(), 1);
        one.seat().take(used("k"));
        let id = KeyId::new("k");
        let why = |_: &mut InUse| Some(Reason::RevokedKey);
        assert_eq!(connections.tell_of(&HashSet::from([&id]), why).len(), 1);
        assert_eq!(connections.tell(why).len(), 1);
        drop(one);
        assert!(connections.tell(why).is_empty());
        assert!(connections.begin_stream(1).is_some());
    }

    fn used(id: &str) -> InUse {
        let secret = SecretDigest::Sha256(Sha256Digest([0; 32]));
        InUse {
            principal: Arc::new(Principal::compile(&KeyRecord {
                id: KeyId::new(id),
                tenant: Tenant::Org("acme".to_owned()),
                name: String::new(),
                owner: None,
                status: KeyStatus::Active,
                expires_at: None,
                grants: RawGrants::Org {
                    permissions: Vec::new(),
                    scopes: Vec::new(),
                },
                revision: Revision(1),
            })),
            secret,
            other: secret,
            ends: None,
        }
    }

    #[test]
    fn only_those_under_a_key_are_asked_wherever_they_sit() {
        let connections = connections();
        let count = SEATS_TOGETHER + 10;
        let mut open: Vec<Presence> = (0..count)
            .map(|_| connections.enter(usize::MAX).unwrap())
            .collect();
        // Places that were left are taken again.
        let left = open.split_off(5);
        drop(left);
        open.extend((5..count).map(|_| connections.enter(usize::MAX).unwrap()));
        assert_eq!(connections.count(), count);
        for (number, presence) in open.iter().enumerate() {
            presence.seat().take(used(&format!("k{}", number % 10)));
        }
        open[3].seat().give_up();
        open[13].seat().leave();
        let asked = AtomicUsize::new(0);
        let (id, other) = (KeyId::new("k3"), KeyId::new("nobody"));
        let told = connections.tell_of(&HashSet::from([&id, &other]), |used| {
            assert_eq!(used.principal.id, id);
            asked.fetch_add(1, Ordering::Relaxed);
            Some(Reason::RevokedKey)
        });
        let under_it = (0..count).filter(|number| number % 10 == 3).count() - 2;
        assert_eq!((told.len(), asked.into_inner()), (under_it, under_it));
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
