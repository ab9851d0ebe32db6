//! What other control planes of the same server commit, followed: told by the server, and asked for each second in case
//! that it was not told.
//!
//! One task, which ends with the control plane. While the server is away it tries again each second.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::Inner;
use super::head::Caught;
use crate::control::error::chain;
use crate::control::store::{CHANNEL, StoreError};

/// How often the database is asked though nothing was told, and how long a failure is waited out.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one catching up may take.
const FOLLOW_WAIT: Duration = Duration::from_secs(60);

/// The task, until it is dropped.
#[derive(Debug)]
pub(super) struct Tail(JoinHandle<()>);

impl Drop for Tail {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Tail {
    /// Begins to follow.
    pub(super) fn begin(inner: &Arc<Inner>) -> Self {
        Self(tokio::spawn(follow(Arc::downgrade(inner))))
    }
}

async fn follow(inner: Weak<Inner>) {
    let mut listener = None;
    let mut is_away = false;
    loop {
        let next = Instant::now() + PAUSE;
        // Listening begins before the first question, so that nothing falls between the two.
        let Some(strong) = inner.upgrade() else {
            return;
        };
        let followed = strong.follow_once(&mut listener).await;
        drop(strong);
        let failed = followed.err();
        if let Some(error) = failed.as_ref().filter(|_| !is_away) {
            tracing::warn!(
                error = chain(error),
                "what other control planes change cannot be followed: trying again each second"
            );
        }
        is_away = failed.is_some();
        match listener.as_mut().filter(|_| !is_away) {
            Some(told) => {
                if !wait(told, next).await {
                    listener = None;
                }
            }
            None => {
                listener = None;
                sleep_until(next).await;
            }
        }
    }
}

/// Waits until something is told or it is time to ask. Whether the connection is still there.
async fn wait(listener: &mut PgListener, until: Instant) -> bool {
    let told = tokio::select! {
        told = listener.try_recv() => told,
        () = sleep_until(until) => return true,
    };
    // What was told meanwhile is met by the same question.
    while listener.next_buffered().is_some() {}
    matches!(told, Ok(Some(_)))
}

impl Inner {
    async fn follow_once(&self, listener: &mut Option<PgListener>) -> Result<(), StoreError> {
        let following = async {
            if listener.is_none() {
                *listener = self.store.listener(CHANNEL).await?;
            }
            let mut connection = self.store.readers().acquire().await?;
            // What is being committed here leaves from there, change by change.
            let _writer = self.store.writer.lock().await;
            self.head.follow(&mut connection.conn()).await
        };
        let followed = timeout(FOLLOW_WAIT, following).await;
        if followed.map_err(|_| StoreError::TimedOut)?? == Caught::Ahead {
            self.begin_epoch(self.head.position().revision).await?;
        }
        Ok(())
    }
}
