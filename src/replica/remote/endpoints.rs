//! Which control plane is asked next, and how long each failure makes wait: longer each time, and never to the beat.
//!
//! It has no clock and no dice of its own: what looks like chance follows from a seed.

use std::time::Duration;

/// After the first failure. Half of it or less is taken off by chance.
const DELAY_MIN: Duration = Duration::from_millis(50);
/// However often it fails.
pub(super) const DELAY_MAX: Duration = Duration::from_secs(5);
/// However long a control plane asks to be left alone, this is enough.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Endpoints {
    count: usize,
    current: usize,
    failures: u32,
    dice: u64,
}

impl Endpoints {
    /// Of `count` control planes, the first of which is asked first.
    pub(super) fn new(count: usize, seed: u64) -> Self {
        Self {
            count: count.max(1),
            current: 0,
            failures: 0,
            dice: seed,
        }
    }

    /// The one to ask.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// The next one takes its turn, after the delay that is given. Where there is another one, it need not wait for
    /// what this one asked for.
    pub(super) fn failed(&mut self, retry_after: Option<Duration>) -> Duration {
        self.current = (self.current + 1) % self.count;
        let rounds = self.failures / u32::try_from(self.count).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let most = DELAY_MIN.saturating_mul(1 << rounds.min(16)).min(DELAY_MAX);
        let delay = most - self.part_of(most / 2);
        match retry_after {
            Some(asked) if self.count == 1 => delay.max(asked.min(RETRY_AFTER_MAX)),
            Some(_) | None => delay,
        }
    }

    /// After a success the first failure counts as the first again.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Some part of `most`.
    fn part_of(&mut self, most: Duration) -> Duration {
        // SplitMix64.
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let [first, second, ..] = mixed.to_le_bytes();
        most * u32::from(u16::from_le_bytes([first, second])) / u32::from(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn delays_grow_round_by_round_to_a_bound_and_begin_anew() {
        let mut endpoints = Endpoints::new(2, 7);
        let mut asked = Vec::new();
        for rounds in [0, 0, 1, 1, 2, 2, 3, 3] {
            asked.push(endpoints.current());
            let most = DELAY_MIN * (1 << rounds);
            let delay = endpoints.failed(Some(Duration::from_secs(30)));
            assert!((most / 2..=most).contains(&delay), "{delay:?} of {most:?}");
        }
        assert_eq!(asked, [0, 1, 0, 1, 0, 1, 0, 1]);
        for _ in 0..100 {
            assert!(endpoints.failed(None) <= DELAY_MAX);
        }
        endpoints.succeeded();
        assert!(endpoints.failed(None) <= DELAY_MIN);
    }

    #[test]
    fn the_only_one_is_left_alone_as_long_as_it_asks() {
        let mut endpoints = Endpoints::new(1, 7);
        let asked = Duration::from_secs(30);
        assert_eq!(endpoints.failed(Some(asked)), asked);
        assert_eq!(endpoints.failed(Some(Duration::MAX)), RETRY_AFTER_MAX);
        assert_eq!(endpoints.current(), 0);
    }

    #[test]
    fn two_that_fail_alike_do_not_come_back_together() {
        let delays: HashSet<Duration> = (0..20)
            .map(|seed| Endpoints::new(1, seed).failed(None))
            .collect();
        assert!(delays.len() > 15, "{delays:?}");
    }
}
