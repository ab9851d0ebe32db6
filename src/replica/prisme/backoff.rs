//! How long to leave a platform alone that does not answer as it should: longer each time, and never to the beat.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// However long the platform asks to be left alone, this is enough.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Delays of one kind of request.
#[derive(Debug)]
pub(super) struct Backoff {
    policy: ExponentialBuilder,
    delays: <ExponentialBuilder as BackoffBuilder>::Backoff,
}

impl Backoff {
    /// The first delay is at least `min`; none is more than twice `max`, unless the platform asks for it.
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        let policy = ExponentialBuilder::new()
            .with_min_delay(min.min(max))
            .with_max_delay(max)
            .with_jitter()
            .without_max_times();
        Self {
            policy,
            delays: policy.build(),
        }
    }

    /// The delay after a failure.
    pub(super) fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        let delay = self.delays.next().unwrap_or(RETRY_AFTER_MAX);
        delay.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
    }

    /// After a success the first failure counts as the first again.
    pub(super) fn reset(&mut self) {
        self.delays = self.policy.build();
    }
}

/// A pause in requests of one kind that many make at once.
#[derive(Debug)]
pub(super) struct Pause {
    /// In microseconds of the steady clock; 0: there is none.
    until: AtomicU64,
    backoff: Mutex<Backoff>,
}

impl Pause {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            until: AtomicU64::new(0),
            backoff: Mutex::new(backoff),
        }
    }

    pub(super) fn holds(&self, now: Duration) -> bool {
        micros(now) < self.until.load(Ordering::Relaxed)
    }

    /// Whether requests failed last.
    pub(super) fn is_set(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0
    }

    /// Begins a pause, unless one holds: those who failed together failed once.
    pub(super) fn begin(&self, now: Duration, retry_after: Option<Duration>) {
        let mut backoff = self.backoff.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.holds(now) {
            let until = now.saturating_add(backoff.next(retry_after));
            self.until.store(micros(until).max(1), Ordering::Relaxed);
        }
    }

    /// Ends it.
    pub(super) fn end(&self) {
        if self.is_set() {
            let mut backoff = self.backoff.lock().unwrap_or_else(PoisonError::into_inner);
            backoff.reset();
            self.until.store(0, Ordering::Relaxed);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_grow_to_a_bound_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(SECOND, 8 * SECOND);
        for expected in [1, 2, 4, 8, 8, 8] {
            let delay = backoff.next(None);
            let range = expected * SECOND..=2 * expected * SECOND;
            assert!(range.contains(&delay), "{delay:?} for {expected}");
        }
        assert!(backoff.next(Some(30 * SECOND)) >= 30 * SECOND);
        assert!(backoff.next(Some(Duration::MAX)) <= RETRY_AFTER_MAX);
        backoff.reset();
        assert!(backoff.next(None) <= 2 * SECOND);
    }

    #[test]
    fn two_that_fail_alike_do_not_come_back_together() {
        let delays = |_| Backoff::new(SECOND, SECOND).next(None);
        let delays: std::collections::HashSet<Duration> = (0..20).map(delays).collect();
        assert!(delays.len() > 1, "{delays:?}");
    }

    #[test]
    fn a_pause_holds_for_its_time_and_ends_with_a_success() {
        let pause = Pause::new(Backoff::new(SECOND, 8 * SECOND));
        assert!(!pause.holds(Duration::ZERO) && !pause.is_set());
        pause.begin(10 * SECOND, None);
        let until = pause.until.load(Ordering::Relaxed);
        pause.begin(10 * SECOND, None);
        assert_eq!(pause.until.load(Ordering::Relaxed), until, "failed once");
        assert!(pause.holds(10 * SECOND) && !pause.holds(12 * SECOND));
        assert!(pause.is_set(), "it has not succeeded since");
        pause.end();
        assert!(!pause.holds(10 * SECOND) && !pause.is_set());
    }
}
