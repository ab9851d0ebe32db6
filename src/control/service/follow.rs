//! What gateways that follow are given: changes from where they stand, or the whole state.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Keys;
use crate::control::error::chain;
use crate::control::feed::{Beat, Counters, Feed, FollowedStore, Pieces, SnapshotBody};
use crate::control::store::changes::{Since, reaches, since};
use crate::control::store::sql::Purpose;
use crate::control::store::{StoreError, load, read};
use crate::wire::Change;
use crate::wire::sync::{GatewayId, Position};

/// What a gateway that wants to follow from somewhere is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Followable {
    /// It can.
    Yes,
    /// It needs a snapshot first, for this reason.
    No(&'static str),
}

impl Keys {
    /// The changes for those who follow.
    pub(in crate::control) fn feed(&self) -> &Arc<Feed> {
        self.0.head.feed()
    }

    /// Whether a gateway can follow from where it stands. Where it has met revisions that the store does not know, the
    /// store was restored: another history begins.
    ///
    /// # Errors
    /// The store failed.
    pub(in crate::control) async fn followable(
        &self,
        from: Position,
    ) -> Result<Followable, StoreError> {
        if from.epoch != self.epoch() {
            return Ok(Followable::No("another history of the keys has begun"));
        }
        let head = self.feed().head().revision;
        if from.revision > head {
            let mut lent = self.0.store.readers().acquire().await?;
            let stored = read::revision(&mut lent.conn()).await?;
            if from.revision > stored {
                if self.fleet().may_begin_epoch() {
                    self.begin_epoch(from.revision).await?;
                }
                return Ok(Followable::No(
                    "the keys are older than what the gateway has",
                ));
            }
        }
        if self.feed().reaches(from) || self.reaches(from).await? {
            return Ok(Followable::Yes);
        }
        Ok(Followable::No(
            "the changes since then are not kept any more",
        ))
    }

    async fn reaches(&self, from: Position) -> Result<bool, StoreError> {
        let mut lent = self.0.store.readers().acquire().await?;
        reaches(&mut lent.conn(), from.revision).await
    }

    async fn changes_after(&self, from: Position) -> Result<Option<Change>, StoreError> {
        let mut lent = self.0.store.readers().acquire().await?;
        let mut transaction = lent.conn().begin(Purpose::Read).await?;
        let (news, at) = since(&mut transaction.conn(), from.revision).await?;
        Ok(match news {
            Since::Change(change) if at.epoch == from.epoch => Some(change),
            Since::Change(_) | Since::Nothing | Since::TooOld => None,
        })
    }

    /// Sends a whole state, as it is at one moment.
    pub(in crate::control) async fn send_snapshot(&self, to: Pieces) {
        if let Err(error) = self.try_send_snapshot(&to).await {
            tracing::error!(error = chain(&error), "a snapshot was broken off");
            _ = to.send(Err(error)).await;
        }
    }

    async fn try_send_snapshot(&self, to: &Pieces) -> Result<(), StoreError> {
        let mut lent = self.0.store.readers().acquire().await?;
        let mut transaction = lent.conn().begin(Purpose::Read).await?;
        let mut connection = transaction.conn();
        let at = read::identity(&mut connection).await?;
        let keys = u64::try_from(read::count(&mut connection).await?).unwrap_or(0);
        let Ok(mut body) = SnapshotBody::begin(at, keys, to).await else {
            return Ok(());
        };
        let (sender, batches) = mpsc::channel(1);
        let (read, sent) = tokio::join!(
            load::send_all(&mut connection, sender),
            body.put_all(batches)
        );
        read?;
        if sent.is_ok() {
            Counters::add(&self.feed().counters().snapshots);
            // A gateway that takes no end has no snapshot, and comes again.
            let _ = body.end().await;
        }
        Ok(())
    }

    /// How long ago it was sure that the feed has everything.
    fn age(&self) -> Duration {
        if self.is_shared() {
            self.0.head.age()
        } else {
            Duration::ZERO
        }
    }
}

/// What the stream of one gateway asks.
pub(in crate::control) struct FollowedBy {
    /// The keys.
    pub(in crate::control) keys: Keys,
    /// The gateway.
    pub(in crate::control) gateway: GatewayId,
}

impl FollowedStore for FollowedBy {
    async fn catch_up(&self, from: Position) -> Result<Option<Change>, StoreError> {
        self.keys.changes_after(from).await
    }

    fn beat(&self) -> Option<Beat> {
        let (pulse, silent_for) = self.keys.fleet().pulse(self.gateway)?;
        Some(Beat {
            echo: pulse.echo,
            age: self.keys.age(),
            silent_for,
        })
    }
}
