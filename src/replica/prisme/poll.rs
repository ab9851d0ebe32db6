//! Polling the lists, and taking them over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::follower::{Foreign, Taken};
use super::platform::Fault;
use super::{Followed, Shared, millis};
use crate::replica::moment::Moment;
use crate::wire::ChangeSink as _;

/// Why a list was not taken over.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("its list names a key twice, or one of another list")]
    Foreign,
}

impl Shared {
    pub(super) async fn poll_regularly(self: Arc<Self>, tenant: usize) {
        loop {
            let delay = self.poll(tenant).await;
            tokio::time::sleep(delay).await;
        }
    }

    /// Reads one list. Says how long to wait before the next time.
    pub(super) async fn poll(&self, tenant: usize) -> Duration {
        let Some(followed) = self.followed.get(tenant) else {
            return self.config.poll;
        };
        // One poll of a list at a time, and the delay with it.
        let mut backoff = followed.polling.lock().await;
        let Ok(_place) = self.lists.acquire().await else {
            return self.config.poll;
        };
        let began = (self.clock)();
        match self.read_list(tenant, followed).await {
            Ok(()) => {
                self.confirm(followed, began);
                backoff.reset();
                self.config.poll
            }
            Err(why) => {
                report(followed, &why);
                let fault = match &why {
                    NotTaken::Fault(fault) => fault.retry_after(),
                    NotTaken::Foreign => None,
                };
                backoff.next(fault)
            }
        }
    }

    async fn read_list(&self, tenant: usize, followed: &Followed) -> Result<(), NotTaken> {
        let began = self.follower().begin();
        let pepper = self.pepper.as_ref();
        let keys = self.platform.list(&followed.tenant, pepper).await?;
        let mut follower = self.follower();
        let Taken { change, moved } = follower
            .listed(tenant, began, keys)
            .map_err(|Foreign| NotTaken::Foreign)?;
        // Within the lock, so that changes are applied in their order.
        self.asker.forget_validated(&moved);
        if self.replica.pin().is_none() {
            // All of it is in memory: it does not break off.
            let _ = self.replica.load(&mut &*follower);
        } else if let Some(change) = &change {
            self.replica.apply(change);
        }
        drop(follower);
        if change.is_some() || !moved.is_empty() {
            self.asker.forget_unknown();
        }
        Ok(())
    }

    fn confirm(&self, followed: &Followed, began: Moment) {
        let now = (self.clock)();
        followed
            .confirmed
            .store(millis(began.steady), Ordering::Relaxed);
        followed.read.store(millis(now.steady), Ordering::Relaxed);
        if followed.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(list = ?followed.tenant, "the platform's list is followed again");
        }
        self.changed.notify_one();
    }
}

fn report(followed: &Followed, why: &NotTaken) {
    if !followed.failing.swap(true, Ordering::Relaxed) {
        let cause = match why {
            NotTaken::Fault(fault) => std::error::Error::source(fault),
            NotTaken::Foreign => None,
        };
        let cause = cause.map(tracing::field::display);
        tracing::warn!(list = ?followed.tenant, %why, cause, "the platform's list cannot be read");
    }
}
