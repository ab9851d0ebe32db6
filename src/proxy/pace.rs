//! Whether a client moves what it is waited for as fast as it must. Time counts only while the client is waited for, so
//! that no pause of an upstream is ever held against it.
//!
//! Knows no socket and asks no clock.

use std::time::Duration;

use tokio::time::Instant;

/// The slowest that a client may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinRate {
    /// Bytes a second.
    pub bytes: u64,
    /// The time that this is averaged over, which is also what a client has to begin.
    pub over: Duration,
}

impl MinRate {
    /// Bytes that must have moved when its time is over.
    fn least(self) -> u128 {
        u128::from(self.bytes).saturating_mul(self.over.as_millis()) / 1000
    }
}

/// A client moved too little in the time that it was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSlow;

/// One direction of an exchange, as a client is waited for in it.
#[derive(Debug, Default)]
pub struct Pace {
    stretch: Option<Stretch>,
}

/// What is averaged over.
#[derive(Debug)]
struct Stretch {
    /// How long the client was waited for before `since`.
    waited: Duration,
    /// Since when it is waited for now.
    since: Option<Instant>,
    /// What had moved when it began.
    moved: u64,
}

impl Pace {
    /// The client is waited for. `moved`: all that it has moved so far. Returns when to look again.
    ///
    /// # Errors
    /// It has been waited for too long for what it moved meanwhile.
    pub fn wait(
        &mut self,
        rate: MinRate,
        now: Instant,
        moved: impl FnOnce() -> u64,
    ) -> Result<Instant, TooSlow> {
        let look = |left| now.checked_add(left).unwrap_or(now);
        let Some(stretch) = &mut self.stretch else {
            self.stretch = Some(Stretch::begin(now, moved()));
            return Ok(look(rate.over));
        };
        let since = *stretch.since.get_or_insert(now);
        let waited = stretch
            .waited
            .saturating_add(now.saturating_duration_since(since));
        let left = rate.over.saturating_sub(waited);
        if !left.is_zero() {
            return Ok(look(left));
        }
        let moved = moved();
        if u128::from(moved.saturating_sub(stretch.moved)) < rate.least() {
            return Err(TooSlow);
        }
        *stretch = Stretch::begin(now, moved);
        Ok(look(rate.over))
    }

    /// The client is not waited for.
    pub fn rest(&mut self) {
        if let Some(stretch) = &mut self.stretch
            && let Some(since) = stretch.since.take()
        {
            stretch.waited = stretch.waited.saturating_add(since.elapsed());
        }
    }
}

impl Stretch {
    fn begin(now: Instant, moved: u64) -> Self {
        Self {
            waited: Duration::ZERO,
            since: Some(now),
            moved,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const RATE: MinRate = MinRate {
        bytes: 100,
        over: Duration::from_secs(60),
    };

    fn wait(pace: &mut Pace, moved: u64) -> Result<Duration, TooSlow> {
        let now = Instant::now();
        Ok(pace.wait(RATE, now, || moved)? - now)
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn who_moves_too_little_is_found_when_the_time_is_over() {
        for (moved, found) in [
            (0, Err(TooSlow)),
            (5999, Err(TooSlow)),
            (6000, Ok(seconds(60))),
        ] {
            let mut pace = Pace::default();
            assert_eq!(wait(&mut pace, 1_000_000), Ok(seconds(60)));
            advance(seconds(59)).await;
            assert_eq!(wait(&mut pace, 1_000_000), Ok(seconds(1)));
            advance(seconds(1)).await;
            assert_eq!(wait(&mut pace, 1_000_000 + moved), found, "{moved}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_counts_only_while_the_client_is_waited_for() {
        let mut pace = Pace::default();
        for waited in (0..60).step_by(10) {
            assert_eq!(wait(&mut pace, waited), Ok(seconds(60 - waited)));
            advance(seconds(10)).await;
            pace.rest();
            // The upstream has nothing for an hour.
            advance(seconds(3600)).await;
            pace.rest();
        }
        assert_eq!(wait(&mut pace, 60), Err(TooSlow));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_moved_before_counts_once() {
        let mut pace = Pace::default();
        assert_eq!(wait(&mut pace, 0), Ok(seconds(60)));
        advance(seconds(60)).await;
        assert_eq!(wait(&mut pace, 1_000_000), Ok(seconds(60)));
        advance(seconds(60)).await;
        assert_eq!(wait(&mut pace, 1_000_000), Err(TooSlow));
    }

    #[tokio::test(start_paused = true)]
    async fn the_figures_may_be_as_large_as_can_be() {
        let rate = MinRate {
            bytes: u64::MAX,
            over: Duration::MAX,
        };
        let mut pace = Pace::default();
        assert!(pace.wait(rate, Instant::now(), || u64::MAX).is_ok());
        advance(seconds(1)).await;
        assert!(pace.wait(rate, Instant::now(), || u64::MAX).is_ok());
    }
}
