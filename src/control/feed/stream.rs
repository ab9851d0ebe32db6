//! One gateway's stream of changes: what follows where it stands, as it happens, and a heartbeat every second.
//!
//! It has a revision and one piece on its way, and nothing else that could grow with what the gateway has not read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::log::Following;
use super::{Counters, Feed};
use crate::control::error::chain;
use crate::control::store::StoreError;
use crate::wire::Change;
use crate::wire::sync::{FrameWriter, Message, Position, encode_change};

/// Between heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a gateway may take no further piece before the stream ends.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How long a gateway may acknowledge nothing, not even heartbeats, before the stream ends.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A piece goes out once it is so long.
const PIECE_BYTES: usize = 256 * 1024;

/// What a heartbeat says beside where the stream stands.
#[derive(Debug, Clone, Copy)]
pub(in crate::control) struct Beat {
    /// The tag to echo.
    pub(in crate::control) echo: u64,
    /// How long ago it was sure that the feed has everything.
    pub(in crate::control) age: Duration,
    /// How long ago the gateway was heard.
    pub(in crate::control) silent_for: Duration,
}

/// What a stream asks beside the feed.
pub(in crate::control) trait Store: Send + Sync {
    /// Everything after a position as one change; `None`: it is too much, or too long ago.
    fn catch_up(
        &self,
        from: Position,
    ) -> impl Future<Output = Result<Option<Change>, StoreError>> + Send;

    /// For a heartbeat; `None`: the gateway follows another control plane by now.
    fn beat(&self) -> Option<Beat>;
}

/// The stream is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) struct StreamEnd;

/// Pieces of a body on their way; an error breaks the body off.
pub(in crate::control) type Pieces = mpsc::Sender<Result<Bytes, StoreError>>;

/// Sends what follows `at` until the gateway goes away, or has to.
pub(in crate::control) async fn run(
    feed: Arc<Feed>,
    store: impl Store,
    at: Position,
    to: Pieces,
) -> StreamEnd {
    let mut stream = Stream {
        feed,
        store,
        at,
        frames: FrameWriter::new(None),
        piece: Vec::new(),
        to,
    };
    let mut head = stream.feed.subscribe();
    let mut beats = interval(HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        head.mark_unchanged();
        if stream.drain().await.is_err() {
            return StreamEnd;
        }
        tokio::select! {
            changed = head.changed() => if changed.is_err() {
                return StreamEnd;
            },
            _ = beats.tick() => if stream.beat().await.is_err() {
                return StreamEnd;
            },
            () = stream.to.closed() => return StreamEnd,
        }
    }
}

struct Stream<S> {
    feed: Arc<Feed>,
    store: S,
    at: Position,
    frames: FrameWriter,
    piece: Vec<u8>,
    to: Pieces,
}

impl<S: Store> Stream<S> {
    /// Sends everything that there is.
    async fn drain(&mut self) -> Result<(), StreamEnd> {
        loop {
            match self.feed.after(self.at) {
                Following::Nothing => return self.send().await,
                Following::Change(revision, payloads) => {
                    self.at.revision = revision;
                    for payload in payloads.iter() {
                        self.put(payload).await?;
                    }
                }
                Following::Gone => self.catch_up().await?,
                Following::OtherEpoch => return self.resync().await,
            }
        }
    }

    /// What was true before everything was sent is said afterwards: so it holds for what the gateway has by then.
    async fn beat(&mut self) -> Result<(), StreamEnd> {
        let beat = self.store.beat().ok_or(StreamEnd)?;
        if beat.silent_for > SILENCE_MAX {
            return Err(StreamEnd);
        }
        self.drain().await?;
        let heartbeat = Message::Heartbeat {
            revision: self.at.revision,
            age: beat.age,
            echo: beat.echo,
        };
        self.put(&heartbeat.encode()).await?;
        self.send().await
    }

    async fn catch_up(&mut self) -> Result<(), StreamEnd> {
        let change = match self.store.catch_up(self.at).await {
            Ok(Some(change)) => change,
            Ok(None) => return self.resync().await,
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "a gateway that fell behind cannot be given what it missed"
                );
                return Err(StreamEnd);
            }
        };
        Counters::add(&self.feed.counters().catch_ups);
        for payload in encode_change(&change) {
            self.put(&payload).await?;
        }
        self.at.revision = change.revision;
        Ok(())
    }

    async fn resync(&mut self) -> Result<(), StreamEnd> {
        Counters::add(&self.feed.counters().resyncs);
        self.put(&Message::Resync.encode()).await?;
        self.send().await?;
        Err(StreamEnd)
    }

    async fn put(&mut self, payload: &[u8]) -> Result<(), StreamEnd> {
        if let Err(error) = self.frames.frame(payload, &mut self.piece) {
            tracing::error!(%error, "a change cannot be sent");
            return Err(StreamEnd);
        }
        if self.piece.len() >= PIECE_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), StreamEnd> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        match timeout(STALL_MAX, self.to.send(Ok(piece))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(StreamEnd),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::authz::{KeyId, Revision};
    use crate::wire::Epoch;
    use crate::wire::sync::FrameReader;

    fn at(revision: u64) -> Position {
        Position {
            epoch: Epoch(1),
            revision: Revision(revision),
        }
    }

    fn change(previous: u64, revision: u64) -> Change {
        Change {
            previous: Revision(previous),
            revision: Revision(revision),
            put: Vec::new(),
            removed: vec![KeyId::new(format!("k{revision}"))],
        }
    }

    /// A store that has everything up to a revision, if it has anything.
    #[derive(Clone)]
    struct Has {
        up_to: Option<u64>,
        beat: Arc<Mutex<Option<Beat>>>,
    }

    impl Has {
        fn up_to(up_to: Option<u64>) -> Self {
            let beat = Beat {
                echo: 3,
                age: Duration::from_millis(5),
                silent_for: Duration::ZERO,
            };
            Self {
                up_to,
                beat: Arc::new(Mutex::new(Some(beat))),
            }
        }
    }

    impl Store for Has {
        async fn catch_up(&self, from: Position) -> Result<Option<Change>, StoreError> {
            Ok(self.up_to.map(|up_to| change(from.revision.0, up_to)))
        }

        fn beat(&self) -> Option<Beat> {
            *self.beat.lock().unwrap()
        }
    }

    struct Reader {
        pieces: mpsc::Receiver<Result<Bytes, StoreError>>,
        frames: FrameReader,
    }

    impl Reader {
        /// The next message; `None`: the stream is over.
        async fn next(&mut self) -> Option<Message> {
            loop {
                if let Some(payload) = self.frames.next_payload().unwrap() {
                    return Some(Message::decode(payload).unwrap());
                }
                let piece = self.pieces.recv().await?.unwrap();
                self.frames.push(&piece);
            }
        }

        async fn revision(&mut self) -> (u64, u64) {
            assert!(matches!(self.next().await, Some(Message::Removed(_))));
            match self.next().await {
                Some(Message::Apply { previous, revision }) => (previous.0, revision.0),
                other => panic!("{other:?}"),
            }
        }
    }

    fn follow(
        feed: &Arc<Feed>,
        store: &Has,
        from: u64,
    ) -> (Reader, tokio::task::JoinHandle<StreamEnd>) {
        let (to, pieces) = mpsc::channel(1);
        let running = tokio::spawn(run(Arc::clone(feed), store.clone(), at(from), to));
        let frames = FrameReader::new(None);
        (Reader { pieces, frames }, running)
    }

    fn heartbeat(revision: u64) -> Option<Message> {
        Some(Message::Heartbeat {
            revision: Revision(revision),
            age: Duration::from_millis(5),
            echo: 3,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn changes_come_as_they_happen_and_heartbeats_between() {
        let feed = Arc::new(Feed::new(at(0)));
        feed.push(&change(0, 1));
        let (mut reader, _running) = follow(&feed, &Has::up_to(None), 0);
        assert_eq!(reader.revision().await, (0, 1));
        assert_eq!(reader.next().await, heartbeat(1));
        feed.push(&change(1, 2));
        assert_eq!(reader.revision().await, (1, 2));
        assert_eq!(reader.next().await, heartbeat(2));
        assert_eq!(reader.next().await, heartbeat(2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_holds_nothing_and_catches_up_with_one_change() {
        let feed = Arc::new(Feed::with_limits(at(0), 8, usize::MAX));
        let (mut reader, _running) = follow(&feed, &Has::up_to(Some(100_000)), 0);
        assert_eq!(reader.next().await, heartbeat(0));
        for revision in 1..=100_000 {
            feed.push(&change(revision - 1, revision));
            if revision % 10_000 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let mut at = 0;
        let mut steps = 0;
        while at < 100_000 {
            let (previous, revision) = reader.revision().await;
            assert!(previous <= at && at < revision);
            at = revision;
            steps += 1;
        }
        assert!(steps < 100, "{steps}");
        assert!(
            feed.counters()
                .catch_ups
                .load(std::sync::atomic::Ordering::Relaxed)
                >= 1
        );
        assert_eq!(reader.next().await, heartbeat(100_000));
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_store_does_not_go_back_so_far_a_snapshot_is_asked_for() {
        let feed = Arc::new(Feed::with_limits(at(0), 1, usize::MAX));
        for revision in 1..=3 {
            feed.push(&change(revision - 1, revision));
        }
        let (mut reader, running) = follow(&feed, &Has::up_to(None), 0);
        assert_eq!(reader.next().await, Some(Message::Resync));
        assert_eq!(reader.next().await, None);
        assert_eq!(running.await.unwrap(), StreamEnd);
    }

    #[tokio::test(start_paused = true)]
    async fn another_history_ends_the_stream() {
        let feed = Arc::new(Feed::new(at(5)));
        let (mut reader, _running) = follow(&feed, &Has::up_to(None), 5);
        assert_eq!(reader.next().await, heartbeat(5));
        feed.begin(Epoch(2), Revision(3));
        assert_eq!(reader.next().await, Some(Message::Resync));
        assert_eq!(reader.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_and_who_says_nothing_loses_the_stream() {
        let feed = Arc::new(Feed::new(at(0)));
        let (reader, running) = follow(&feed, &Has::up_to(None), 0);
        assert_eq!(running.await.unwrap(), StreamEnd);
        drop(reader);

        let store = Has::up_to(None);
        let (mut reader, running) = follow(&feed, &store, 0);
        assert_eq!(reader.next().await, heartbeat(0));
        store.beat.lock().unwrap().as_mut().unwrap().silent_for = SILENCE_MAX * 2;
        assert_eq!(reader.next().await, None);
        assert_eq!(running.await.unwrap(), StreamEnd);

        let store = Has::up_to(None);
        let (mut reader, _running) = follow(&feed, &store, 0);
        assert_eq!(reader.next().await, heartbeat(0));
        *store.beat.lock().unwrap() = None;
        assert_eq!(reader.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_speaks_of_what_was_known_before_everything_was_sent() {
        let feed = Arc::new(Feed::new(at(0)));
        let (mut reader, _running) = follow(&feed, &Has::up_to(None), 0);
        assert_eq!(reader.next().await, heartbeat(0));
        // Whatever is there when a heartbeat is due goes out before it.
        for revision in 1..=50 {
            tokio::time::advance(HEARTBEAT).await;
            feed.push(&change(revision - 1, revision));
            loop {
                match reader.next().await {
                    Some(Message::Heartbeat { revision: sent, .. }) if sent.0 == revision => break,
                    Some(Message::Heartbeat { revision: sent, .. }) => assert!(sent.0 < revision),
                    Some(Message::Removed(_) | Message::Apply { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
