//! What the client of a connection was given and has not taken: on how many streams, and whether it takes anything; and
//! how many requests at a time a client has that has not taken anything yet.
//!
//! It begins and ends nothing itself. Knows no frame and no request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::line::deadline_after;

/// Streams of a connection of which a client may leave something for as long as each stream's own limits say. Whoever
/// leaves more of them has to take something of one of them within the time for a head.
pub const UNREAD_STREAMS: usize = 16;

/// Requests at a time of a client that has not taken a byte of any answer yet, and of which so many are not left either.
/// An exchange costs twenty times as much as what is kept of a small answer.
const FIRST_STREAMS: usize = 8;

/// How long they may take to be answered, before there may be twice as many.
const FIRST_TIME: Duration = Duration::from_millis(100);

/// All streams of a connection.
#[derive(Debug, Default)]
pub struct Unread {
    streams: AtomicUsize,
    taken: AtomicU64,
    changed: Notify,
}

impl Unread {
    /// Whether something is left.
    pub fn is_any(&self) -> bool {
        self.streams.load(Ordering::Relaxed) > 0
    }

    /// What was taken so far, where more streams are left than may be. `held`: those that wait to begin.
    fn too_many(&self, held: usize) -> Option<u64> {
        let left = self.streams.load(Ordering::Relaxed);
        let waited_for = if left < FIRST_STREAMS { 0 } else { held };
        let too_many = left.saturating_add(waited_for) > UNREAD_STREAMS;
        too_many.then(|| self.taken.load(Ordering::Relaxed))
    }

    /// Returns when something was taken for the first time, when nothing is left, or when so many streams are left that
    /// it matters.
    pub async fn until_changed(&self) {
        self.changed.notified().await;
    }
}

/// How long a client that leaves too many streams has taken nothing.
#[derive(Debug)]
pub struct Stuck {
    limit: Duration,
    /// What it had taken, and until when it has to take more.
    since: Option<(u64, Instant)>,
}

impl Stuck {
    /// That may be so long.
    pub const fn new(limit: Duration) -> Self {
        Self { limit, since: None }
    }

    /// Until when it has to take something, if it has to.
    pub fn until(&mut self, unread: &Unread, held: usize) -> Option<Instant> {
        self.since = match (unread.too_many(held), self.since) {
            (None, _) => None,
            (Some(now), Some((then, until))) if now == then => Some((then, until)),
            (Some(now), _) => Some((now, deadline_after(self.limit))),
        };
        self.since.map(|(_, until)| until)
    }

    /// Whether that moment has passed.
    pub fn is_over(&mut self, unread: &Unread, held: usize) -> bool {
        let until = self.until(unread, held);
        until.is_some_and(|until| until <= Instant::now())
    }
}

/// How many requests at a time may begin.
#[derive(Debug)]
pub struct Start {
    running: usize,
    more: Option<Instant>,
}

impl Start {
    /// On a new connection.
    pub const fn new() -> Self {
        Self {
            running: FIRST_STREAMS,
            more: None,
        }
    }

    /// Whether one more may begin beside these.
    pub fn may_begin(&self, running: usize, unread: &Unread) -> bool {
        let left = unread.streams.load(Ordering::Relaxed);
        unread.taken.load(Ordering::Relaxed) > 0 || (running < self.running && left < FIRST_STREAMS)
    }

    /// When there may be more at a time, if any wait for that.
    pub fn more_at(&mut self, held: usize) -> Option<Instant> {
        let now = Instant::now();
        if self.more.is_some_and(|more| more <= now) {
            self.running = self.running.saturating_mul(2);
            self.more = None;
        }
        if held == 0 {
            self.more = None;
        } else {
            self.more.get_or_insert_with(|| deadline_after(FIRST_TIME));
        }
        self.more
    }
}

/// One stream: what is left of it, in bytes; one that waits for room counts as having one more.
#[derive(Debug)]
pub struct Share {
    of: Arc<Unread>,
    left: AtomicUsize,
}

impl Share {
    /// Of a stream that has nothing yet.
    pub fn new(of: Arc<Unread>) -> Arc<Self> {
        Arc::new(Self {
            of,
            left: AtomicUsize::new(0),
        })
    }

    fn give(&self, bytes: usize) {
        if bytes > 0 && self.left.fetch_add(bytes, Ordering::Relaxed) == 0 {
            let before = self.of.streams.fetch_add(1, Ordering::Relaxed);
            if before == UNREAD_STREAMS || before.saturating_add(1) == FIRST_STREAMS {
                self.of.changed.notify_one();
            }
        }
    }

    fn settle(&self, bytes: usize) {
        if bytes > 0 && self.left.fetch_sub(bytes, Ordering::Relaxed) == bytes {
            let before = self.of.streams.fetch_sub(1, Ordering::Relaxed);
            if before == 1 {
                self.of.changed.notify_one();
            }
        }
    }
}

/// A stream waits for room, as long as this lives.
#[derive(Debug)]
pub struct Waiting(Arc<Share>);

impl Waiting {
    /// From now on.
    pub fn new(share: &Arc<Share>) -> Self {
        share.give(1);
        Self(Arc::clone(share))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.settle(1);
    }
}

/// Bytes of an answer on their way through the library: whoever has them knows how many the client took.
#[derive(Debug)]
pub struct Piece {
    bytes: Bytes,
    share: Arc<Share>,
}

impl Piece {
    /// Gives these bytes of this stream.
    pub fn new(bytes: Bytes, share: &Arc<Share>) -> Self {
        share.give(bytes.len());
        Self {
            bytes,
            share: Arc::clone(share),
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes);
        self.share.settle(bytes);
        let taken = &self.share.of.taken;
        if taken.fetch_add(bytes as u64, Ordering::Relaxed) == 0 {
            self.share.of.changed.notify_one();
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.share.settle(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(share: &Arc<Share>) -> Piece {
        Piece::new(Bytes::from_static(b"hello"), share)
    }

    #[test]
    fn a_stream_counts_until_all_of_it_is_taken_or_given_up() {
        let unread = Arc::<Unread>::default();
        let share = Share::new(Arc::clone(&unread));
        let (mut taken, given_up) = (piece(&share), piece(&share));
        let waiting = Waiting::new(&share);
        drop(Piece::new(Bytes::new(), &share));
        taken.advance(2);
        taken.advance(3);
        drop((taken, waiting));
        assert!(unread.is_any());
        drop(given_up);
        assert!(!unread.is_any());
        assert_eq!(unread.taken.load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn the_last_that_is_taken_is_told() {
        let unread = Arc::<Unread>::default();
        let share = Share::new(Arc::clone(&unread));
        let mut pieces = [piece(&share), piece(&share)];
        let told = || async {
            tokio::select! {
                biased;
                () = unread.until_changed() => true,
                () = std::future::ready(()) => false,
            }
        };
        pieces[0].advance(5);
        assert!(told().await, "the first");
        pieces[1].advance(4);
        assert!(!told().await);
        pieces[1].advance(1);
        assert!(told().await);
    }

    #[tokio::test]
    async fn so_many_streams_may_be_left_and_one_more_is_told() {
        let unread = Arc::<Unread>::default();
        let left = || Waiting::new(&Share::new(Arc::clone(&unread)));
        let mut streams: Vec<Waiting> = (0..UNREAD_STREAMS).map(|_| left()).collect();
        assert_eq!(unread.too_many(0), None);
        streams.push(left());
        unread.until_changed().await;
        let share = Share::new(Arc::clone(&unread));
        piece(&share).advance(1);
        assert_eq!(unread.too_many(0), Some(1));
        streams.pop();
        assert_eq!(unread.too_many(0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_something_has_time_again() {
        let unread = Arc::<Unread>::default();
        let left = || Waiting::new(&Share::new(Arc::clone(&unread)));
        let mut streams: Vec<Waiting> = (0..=UNREAD_STREAMS).map(|_| left()).collect();
        let mut stuck = Stuck::new(Duration::from_secs(10));
        assert!(!stuck.is_over(&unread, 0));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(!stuck.is_over(&unread, 0));
        piece(&Share::new(Arc::clone(&unread))).advance(1);
        assert!(!stuck.is_over(&unread, 0));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(!stuck.is_over(&unread, 0));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(stuck.is_over(&unread, 0));
        streams.pop();
        assert_eq!(stuck.until(&unread, 0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_taken_nothing_begins_little_by_little() {
        let unread = Arc::<Unread>::default();
        let mut start = Start::new();
        let may = |start: &Start| (0..100).find(|at| !start.may_begin(*at, &unread));
        assert_eq!(may(&start), Some(FIRST_STREAMS));
        assert_eq!(start.more_at(0), None);
        assert!(start.more_at(1).is_some());
        tokio::time::advance(FIRST_TIME).await;
        assert!(start.more_at(1).is_some());
        assert_eq!(may(&start), Some(2 * FIRST_STREAMS));
        let share = || Share::new(Arc::clone(&unread));
        let left: Vec<Waiting> = (0..FIRST_STREAMS).map(|_| Waiting::new(&share())).collect();
        unread.until_changed().await;
        assert_eq!(may(&start), Some(0), "what is there is to be taken first");
        assert_eq!(unread.too_many(UNREAD_STREAMS - FIRST_STREAMS), None);
        assert!(unread.too_many(UNREAD_STREAMS).is_some());
        piece(&share()).advance(1);
        unread.until_changed().await;
        assert_eq!(may(&start), None);
        drop(left);
    }
}
