//! Last use and number of uses of each key, between one flush to the store and the next.

use std::hash::RandomState;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use dashmap::DashMap;

use crate::authz::{KeyId, Timestamp};

/// Keys whose uses are counted between two flushes; uses of further ones are not.
const KEYS_MAX: usize = 1 << 20;

/// What was counted of one key since the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The key.
    pub id: KeyId,
    /// When it was last used.
    pub last_used: Timestamp,
    /// How often it was used since the last time that usage was taken.
    pub count: u64,
}

/// The counts. A use of a key that was used before takes a shared lock of one shard and allocates nothing.
#[derive(Debug)]
pub(super) struct UsageCounts {
    by_key: DashMap<KeyId, Counts, RandomState>,
    keys_max: usize,
    pub(super) dropped: AtomicU64,
}

#[derive(Debug)]
struct Counts {
    last_used: AtomicI64,
    count: AtomicU64,
}

impl Default for UsageCounts {
    fn default() -> Self {
        Self::with_keys_max(KEYS_MAX)
    }
}

impl UsageCounts {
    fn with_keys_max(keys_max: usize) -> Self {
        Self {
            by_key: DashMap::default(),
            keys_max,
            dropped: AtomicU64::new(0),
        }
    }

    /// Counts a use.
    pub(super) fn record(&self, id: &KeyId, now: Timestamp) {
        if let Some(counts) = self.by_key.get(id) {
            counts.record(now);
        } else if self.by_key.len() < self.keys_max {
            self.by_key.entry(id.clone()).or_default().record(now);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes what was counted, and forgets the keys that were not used since the last time.
    pub(super) fn take(&self) -> Vec<Usage> {
        let mut taken = Vec::new();
        self.by_key.retain(|id, counts| {
            let count = std::mem::take(counts.count.get_mut());
            if count > 0 {
                taken.push(Usage {
                    id: id.clone(),
                    last_used: Timestamp::from_millis(*counts.last_used.get_mut()),
                    count,
                });
            }
            count > 0
        });
        taken
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            last_used: AtomicI64::new(i64::MIN),
            count: AtomicU64::new(0),
        }
    }
}

impl Counts {
    fn record(&self, now: Timestamp) {
        self.last_used.fetch_max(now.as_millis(), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::{Usage, UsageCounts};
    use crate::authz::{KeyId, Timestamp};

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn uses_are_counted_once_and_the_latest_is_the_last() {
        let counts = UsageCounts::default();
        let id = KeyId::new("k1");
        for millis in [5, 9, 7] {
            counts.record(&id, at(millis));
        }
        let expected = Usage {
            id: id.clone(),
            last_used: at(9),
            count: 3,
        };
        assert_eq!(counts.take(), [expected]);
        assert_eq!(counts.take(), []);
        counts.record(&id, at(11));
        assert_eq!(counts.take()[0].count, 1);
    }

    #[test]
    fn keys_beyond_the_limit_are_not_counted_until_others_have_gone() {
        let counts = UsageCounts::with_keys_max(1);
        let (first, second) = (KeyId::new("k1"), KeyId::new("k2"));
        counts.record(&first, at(1));
        counts.record(&second, at(1));
        counts.record(&first, at(2));
        assert_eq!(counts.dropped.load(Ordering::Relaxed), 1);
        assert_eq!(counts.take().len(), 1);
        counts.take();
        counts.record(&second, at(3));
        assert_eq!(counts.take()[0].id, second);
    }
}
