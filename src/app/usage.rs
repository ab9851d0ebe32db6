//! Carries what the gateway counted per key to the store, in batches.

use std::sync::Arc;
use std::time::Duration;

use crate::control::{Keys, Usage};
use crate::replica::Replica;

/// Between two batches: what a crash may lose of the counts (never of the keys).
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Writes a batch each interval until the task is dropped.
pub async fn flush_regularly(replica: Arc<Replica>, keys: Keys) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        flush(&replica, &keys).await;
    }
}

/// Forgets each interval what was counted, where there is no store to count for, until the task is dropped.
pub async fn discard_regularly(replica: Arc<Replica>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        drop(replica.take_usage());
    }
}

/// Writes what was counted since the last batch. What the store does not take is lost and said.
pub async fn flush(replica: &Replica, keys: &Keys) {
    let counted: Vec<Usage> = replica
        .take_usage()
        .into_iter()
        .map(|usage| Usage {
            id: usage.id,
            last_used: usage.last_used,
            count: usage.count,
        })
        .collect();
    if counted.is_empty() {
        return;
    }
    if let Err(error) = keys.record_usage(counted).await {
        tracing::warn!(%error, "use counts of keys could not be stored");
    }
}
