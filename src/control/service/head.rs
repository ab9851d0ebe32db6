//! How far this control plane has come: the one place where changes leave, in the order of revisions and once each.
//!
//! They come from two sides: what was committed here, and what other control planes of the same database committed. A
//! change that leads no further than what was handed on is one that came from the other side first; one that leads
//! further, from further back, does no harm: it carries whole keys.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::control::feed::Feed;
use crate::control::store::changes::{Since, since};
use crate::control::store::sql::{Conn, Purpose};
use crate::control::store::{StoreError, WriteTransaction, load, read};
use crate::wire::sync::Position;
use crate::wire::{Change, ChangeSink};

/// What was handed on, and to whom.
pub(super) struct Head {
    sink: OnceLock<Arc<dyn ChangeSink>>,
    /// INVARIANT: held by whoever hands on, from looking at the position until the position is what it handed on.
    turn: tokio::sync::Mutex<()>,
    /// What is on disk and applied.
    position: Mutex<Position>,
    /// For gateways that follow over the network.
    feed: Arc<Feed>,
    /// Tells of what was applied.
    advanced: Notify,
    /// When it was asked last what others have committed.
    asked: Mutex<Instant>,
}

/// Whether what others committed could be handed on as a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caught {
    /// All of it was.
    Up,
    /// It is too much, or of another history: the whole state is needed.
    TooFarBehind,
    /// The database knows less of this history than was handed on: it is an older one, put in its place.
    Ahead,
}

impl Head {
    pub(super) fn new(at: Position) -> Self {
        Self {
            sink: OnceLock::new(),
            turn: tokio::sync::Mutex::default(),
            position: Mutex::new(at),
            feed: Arc::new(Feed::new(at)),
            advanced: Notify::new(),
            asked: Mutex::new(Instant::now()),
        }
    }

    /// The history, and the last revision of it that is on disk and applied.
    pub(super) fn position(&self) -> Position {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, to: Position) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = to;
        self.advanced.notify_one();
    }

    /// The changes for gateways that follow over the network.
    pub(super) fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Returns when more was applied, to one that waits for it.
    pub(super) async fn advanced(&self) {
        self.advanced.notified().await;
    }

    /// How long ago it was sure that everything that others committed had been handed on.
    pub(super) fn age(&self) -> Duration {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.elapsed()
    }

    /// Goes on from a whole state that was read.
    fn begin(&self, at: Position) {
        if self.feed.head() != at {
            self.feed.begin(at.epoch, at.revision);
        }
        self.advance(at);
    }

    pub(super) fn has_sink(&self) -> bool {
        self.sink.get().is_some()
    }

    /// Gives `sink` every key, and from then on every change.
    pub(super) async fn attach(
        &self,
        connection: &mut Conn<'_>,
        sink: Arc<dyn ChangeSink>,
    ) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        if self.has_sink() {
            return Err(StoreError::AlreadyAttached);
        }
        self.begin(load::load(connection, Arc::clone(&sink)).await?);
        self.sink.set(sink).map_err(|_| StoreError::AlreadyAttached)
    }

    /// Hands changes of the present epoch on, and returns when each is applied and what it ended is over.
    pub(super) async fn hand_on(&self, changes: &[Change]) {
        let _turn = self.turn.lock().await;
        let Position { epoch, revision } = self.position();
        let is_new = |change: &&Change| change.revision > revision;
        let sink = self.sink.get();
        for change in changes.iter().filter(is_new) {
            if let Some(sink) = sink {
                sink.apply(change);
            }
            self.feed.push(change);
        }
        if let Some(sink) = sink {
            for change in changes.iter().filter(is_new) {
                sink.settle(change).await;
            }
        }
        if let Some(last) = changes.iter().rfind(is_new) {
            let revision = last.revision;
            self.advance(Position { epoch, revision });
        }
    }

    /// Hands on what was committed and has not come from here, as a transaction meets it before it writes.
    pub(super) async fn catch_up(
        &self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<Caught, StoreError> {
        let known = self.position();
        if transaction.epoch() != known.epoch {
            return Ok(Caught::TooFarBehind);
        }
        if transaction.last() < known.revision {
            return Ok(Caught::Ahead);
        }
        self.take(transaction.missed(known.revision).await?).await
    }

    /// Hands on what others committed, and gives everybody the whole state where that is needed. Where the database is
    /// behind, a writer must see to it.
    pub(super) async fn follow(&self, connection: &mut Conn<'_>) -> Result<Caught, StoreError> {
        let now = Instant::now();
        let caught = self.catch_up_with_others(connection).await?;
        if caught == Caught::Up {
            *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
        Ok(caught)
    }

    async fn catch_up_with_others(&self, connection: &mut Conn<'_>) -> Result<Caught, StoreError> {
        let known = self.position();
        let mut transaction = connection.reborrow().begin(Purpose::Read).await?;
        let (news, present) = since(&mut transaction.conn(), known.revision).await?;
        drop(transaction);
        if present.epoch == known.epoch && present.revision < known.revision {
            return Ok(Caught::Ahead);
        }
        if present.epoch != known.epoch || self.take(news).await? == Caught::TooFarBehind {
            self.reload(connection).await?;
        }
        Ok(Caught::Up)
    }

    async fn take(&self, news: Since) -> Result<Caught, StoreError> {
        match news {
            Since::Nothing => Ok(Caught::Up),
            Since::Change(change) => {
                self.hand_on(&[change]).await;
                Ok(Caught::Up)
            }
            Since::TooOld => Ok(Caught::TooFarBehind),
        }
    }

    /// Gives everybody the whole state, as it is now.
    pub(super) async fn reload(&self, connection: &mut Conn<'_>) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let at = match self.sink.get() {
            Some(sink) => {
                let loaded = load::load(connection, Arc::clone(sink)).await?;
                sink.settle_all().await;
                loaded
            }
            None => {
                let mut transaction = connection.reborrow().begin(Purpose::Read).await?;
                read::identity(&mut transaction.conn()).await?
            }
        };
        tracing::warn!(
            revision = at.revision.0,
            "the whole state of the keys was read anew"
        );
        self.begin(at);
        Ok(())
    }
}
