//! Commands carried out in groups: those that wait while one commit is under way share the next.
//!
//! Each has a savepoint, a revision and an entry of the audit log of its own, and one that is refused is undone alone.
//! Each is answered when the commit is made and its change applied. Who waits longest carries the group out, in a task of
//! its own: who goes away meanwhile cannot leave a change committed that is not applied.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;

use super::head::Caught;
use super::{Applied, Command, Inner, Keys};
use crate::authz::Revision;
use crate::control::error::CommandError;
use crate::control::store::{StoreError, WriteTransaction, Writer};
use crate::wire::Change;
use crate::wire::sync::Position;

/// Commands that share a commit, at most: none waits for very many others.
const GROUP_MAX: usize = 256;
/// How long the database may take for a group. What it committed all the same is met by the next one.
const COMMIT_WAIT: Duration = Duration::from_secs(60);

/// Commands that wait for their turn. There are no more of them than requests that the API lets in.
#[derive(Default)]
pub(super) struct Queue(Mutex<VecDeque<Box<dyn Job>>>);

impl Queue {
    fn push(&self, job: Box<dyn Job>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back(job);
    }

    fn take(&self) -> Vec<Box<dyn Job>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let group = waiting.len().min(GROUP_MAX);
        waiting.drain(..group).collect()
    }
}

/// What became of a command within its transaction.
enum Outcome {
    /// Whatever it wrote stays.
    Done,
    /// Whatever it wrote is undone.
    Refused,
}

type Performing<'j> = Pin<Box<dyn Future<Output = Result<Outcome, StoreError>> + Send + 'j>>;

/// A command of any kind, and whoever waits for its answer.
trait Job: Send {
    /// Does it.
    fn perform<'j, 'c: 'j>(
        &'j mut self,
        transaction: &'j mut WriteTransaction<'c>,
    ) -> Performing<'j>;

    /// Answers, once it is on disk and applied, or will never be.
    fn answer(self: Box<Self>, revision: Result<Revision, StoreError>);
}

struct Waiting<C: Command> {
    command: Option<C>,
    outcome: Option<Result<C::Answer, CommandError>>,
    answer: oneshot::Sender<Result<Applied<C::Answer>, CommandError>>,
}

impl<C: Command> Job for Waiting<C> {
    fn perform<'j, 'c: 'j>(
        &'j mut self,
        transaction: &'j mut WriteTransaction<'c>,
    ) -> Performing<'j> {
        Box::pin(async move {
            let command = self.command.take().ok_or(StoreError::Interrupted)?;
            let outcome = contained(command.perform(transaction)).await;
            let is_done = outcome.is_ok();
            match outcome {
                Err(CommandError::Store(error)) if !matches!(error, StoreError::Interrupted) => {
                    return Err(error);
                }
                outcome => self.outcome = Some(outcome),
            }
            Ok(if is_done {
                Outcome::Done
            } else {
                Outcome::Refused
            })
        })
    }

    fn answer(self: Box<Self>, revision: Result<Revision, StoreError>) {
        let answer = match (self.outcome, revision) {
            (Some(Ok(value)), Ok(revision)) => Ok(Applied { value, revision }),
            (Some(Err(refusal)), Ok(_)) => Err(refusal),
            // Also where it was refused: what it met may be what others of its group wrote, and is undone.
            (_, Err(error)) => Err(error.into()),
            (None, Ok(_)) => Err(StoreError::Interrupted.into()),
        };
        // Nobody may be there any more who waits for it.
        _ = self.answer.send(answer);
    }
}

/// A panic ends one command, not those that share its commit.
async fn contained<T>(
    performing: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    let mut performing = pin!(performing);
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| performing.as_mut().poll(context)))
            .unwrap_or(Poll::Ready(Err(StoreError::Interrupted.into())))
    })
    .await
}

impl Keys {
    /// Begins another history, unless the database has come as far as `reported` within this one: a gateway has met a
    /// revision that this database does not know.
    ///
    /// # Errors
    /// The store failed.
    pub async fn begin_epoch(&self, reported: Revision) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move { inner.begin_epoch(reported).await })
            .await
            .map_err(|_| StoreError::Interrupted)?
    }

    /// Carries a command out, alone or with others.
    pub(super) async fn write<C: Command>(
        &self,
        command: C,
    ) -> Result<Applied<C::Answer>, CommandError> {
        let (answer, answered) = oneshot::channel();
        self.0.queue.push(Box::new(Waiting {
            command: Some(command),
            outcome: None,
            answer,
        }));
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move { inner.take_turn().await });
        answered.await.map_err(|_| StoreError::Interrupted)?
    }
}

impl Inner {
    /// Carries out whatever waits, as soon as nobody else does; perhaps that was done meanwhile.
    async fn take_turn(&self) {
        let mut writer = self.store.writer.lock().await;
        let mut group = self.queue.take();
        if group.is_empty() {
            return;
        }
        let outcome = self.carry_out(&mut writer, &mut group).await;
        if outcome.is_err() {
            self.is_failing.store(true, Ordering::Release);
            writer.give_up().await;
        }
        // The next group need not wait for these to be answered.
        drop(writer);
        answer(group, outcome);
    }

    /// One commit for all of them, and every change handed on. Says for each at which revision it is so.
    async fn carry_out(
        &self,
        writer: &mut Writer,
        group: &mut [Box<dyn Job>],
    ) -> Result<Vec<Revision>, StoreError> {
        let committing = self.commit(writer, group);
        let committed = tokio::time::timeout(COMMIT_WAIT, committing).await;
        let (revisions, changes) = committed.map_err(|_| StoreError::TimedOut)??;
        if !changes.is_empty() {
            self.head.hand_on(&changes).await;
            self.store.note(self.head.position().revision);
            self.is_failing.store(false, Ordering::Release);
        }
        Ok(revisions)
    }

    async fn commit(
        &self,
        writer: &mut Writer,
        group: &mut [Box<dyn Job>],
    ) -> Result<(Vec<Revision>, Vec<Change>), StoreError> {
        let now = (self.clock)();
        let connection = writer.connection(now).await?;
        let mut transaction = WriteTransaction::begin(connection, now, group.len()).await?;
        match self.head.catch_up(&mut transaction).await? {
            Caught::Up => return perform(transaction, group).await,
            Caught::TooFarBehind => drop(transaction),
            Caught::Ahead => begin_epoch(transaction).await?,
        }
        self.head.reload(&mut connection.conn()).await?;
        let mut transaction = WriteTransaction::begin(connection, now, group.len()).await?;
        match self.head.catch_up(&mut transaction).await? {
            Caught::Up => perform(transaction, group).await,
            // Others make so many changes meanwhile: whoever comes next tries again.
            Caught::TooFarBehind | Caught::Ahead => Err(StoreError::Shared),
        }
    }

    /// Begins another history, unless the database has come as far as `reported` within this one. Everybody is given
    /// the whole state.
    pub(super) async fn begin_epoch(&self, reported: Revision) -> Result<(), StoreError> {
        let mut writer = self.store.writer.lock().await;
        let begun = self.begin_epoch_through(&mut writer, reported).await;
        if begun.is_err() {
            writer.give_up().await;
        }
        begun
    }

    async fn begin_epoch_through(
        &self,
        writer: &mut Writer,
        reported: Revision,
    ) -> Result<(), StoreError> {
        let now = (self.clock)();
        let Position { epoch, .. } = self.head.position();
        let connection = writer.connection(now).await?;
        let transaction = WriteTransaction::begin(connection, now, 1).await?;
        if transaction.epoch() == epoch && transaction.last() < reported {
            begin_epoch(transaction).await?;
            self.head.reload(&mut connection.conn()).await?;
        }
        Ok(())
    }
}

async fn begin_epoch(mut transaction: WriteTransaction<'_>) -> Result<(), StoreError> {
    transaction.begin_epoch().await?;
    transaction.commit().await?;
    Ok(())
}

/// Carries commands out, each as a step, and commits. Gives for each at which revision it is so, and all changes.
async fn perform(
    mut transaction: WriteTransaction<'_>,
    group: &mut [Box<dyn Job>],
) -> Result<(Vec<Revision>, Vec<Change>), StoreError> {
    let mut revisions = Vec::with_capacity(group.len());
    for job in group {
        transaction.open_step().await?;
        match job.perform(&mut transaction).await? {
            Outcome::Done => transaction.keep_step().await?,
            Outcome::Refused => transaction.undo_step().await?,
        }
        revisions.push(transaction.last());
    }
    let changes = transaction.commit().await?;
    Ok((revisions, changes))
}

/// The error goes to the first; the others are told that they shared its fate.
fn answer(group: Vec<Box<dyn Job>>, outcome: Result<Vec<Revision>, StoreError>) {
    match outcome {
        Ok(revisions) => {
            for (job, revision) in group.into_iter().zip(revisions) {
                job.answer(Ok(revision));
            }
        }
        Err(error) => {
            let mut error = Some(error);
            for job in group {
                job.answer(Err(error.take().unwrap_or(StoreError::Shared)));
            }
        }
    }
}
