//! Until when a gateway's copy of the keys is known to have been current, told by what the control plane had heard of
//! this gateway when it said so.
//!
//! The steady moment at which something was sent is the latest that is claimed, never the one at which an answer came:
//! a control plane counts on a gateway from the receipt of the same message on, which is later.

use std::collections::VecDeque;
use std::time::Duration;

use crate::authz::Timestamp;
use crate::replica::Moment;

/// Tags whose moment is remembered. One acknowledgement is under way at a time, so that an echo is of one of the last.
const TAGS_MAX: usize = 1024;
/// Both what a control plane says of its age and what is kept on disk are in whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(1);

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Freshness {
    /// In microseconds of the steady clock; before its beginning where that is from before this process.
    confirmed: Option<i64>,
    /// When what was sent, the latest last.
    sent: VecDeque<(u64, Duration)>,
    last_tag: u64,
}

impl Freshness {
    /// Tags begin beyond those of an earlier process, unless a clock was set back.
    pub(super) fn new(now: Moment) -> Self {
        let millis = u64::try_from(now.time.as_millis()).unwrap_or(0);
        Self {
            confirmed: None,
            sent: VecDeque::new(),
            last_tag: millis.saturating_mul(1000),
        }
    }

    /// Takes from disk that the copy was current at `at`. A time to come says nothing of how old it is.
    pub(super) fn restore(&mut self, at: Timestamp, now: Moment) {
        let age = now.time.as_millis().saturating_sub(at.as_millis());
        if let Ok(age) = u64::try_from(age) {
            self.confirm(now.steady, Duration::from_millis(age));
        }
    }

    /// A new tag for what is sent now.
    pub(super) fn tag(&mut self, now: Moment) -> u64 {
        self.last_tag = self.last_tag.saturating_add(1);
        if self.sent.len() >= TAGS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((self.last_tag, now.steady));
        self.last_tag
    }

    /// When the message with this tag was sent. Those before it are of no more use.
    pub(super) fn sent(&mut self, tag: u64) -> Option<Duration> {
        let at = self.sent.iter().position(|(sent, _)| *sent == tag)?;
        self.sent.drain(..at);
        self.sent.front().map(|(_, at)| *at)
    }

    /// The copy was current `age` before `at`. Gives whether that is news.
    pub(super) fn confirm(&mut self, at: Duration, age: Duration) -> bool {
        let age = age.saturating_add(ROUNDING);
        let confirmed = micros(at).saturating_sub(micros(age));
        let is_news = self.confirmed.is_none_or(|before| before < confirmed);
        if is_news {
            self.confirmed = Some(confirmed);
        }
        is_news
    }

    /// The last moment at which the copy is known to have been current, in microseconds of the steady clock.
    pub(super) fn confirmed(&self) -> Option<i64> {
        self.confirmed
    }

    /// That moment by the calendar as it is now.
    pub(super) fn confirmed_time(&self, now: Moment) -> Option<Timestamp> {
        let age = micros(now.steady).saturating_sub(self.confirmed?);
        // Rounded up, so that it does not become later.
        let millis = age.saturating_add(999) / 1000;
        Some(Timestamp::from_millis(
            now.time.as_millis().saturating_sub(millis),
        ))
    }
}

/// How old what was current at `confirmed` is now.
pub(super) fn staleness(confirmed: i64, now: Duration) -> Duration {
    let age = micros(now).saturating_sub(confirmed);
    Duration::from_micros(u64::try_from(age).unwrap_or(0))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(steady: u64, time: i64) -> Moment {
        Moment {
            steady: Duration::from_millis(steady),
            time: Timestamp::from_millis(time),
        }
    }

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn an_echo_confirms_when_it_was_sent_and_no_later() {
        let mut fresh = Freshness::new(at(0, 1_000));
        let tags: Vec<u64> = (1..=3).map(|n| fresh.tag(at(n * 100, 0))).collect();
        assert_eq!(tags, [1_000_001, 1_000_002, 1_000_003]);
        assert_eq!(fresh.sent(tags[1]), Some(millis(200)));
        assert_eq!(fresh.sent(tags[1]), Some(millis(200)), "it may be repeated");
        assert_eq!(fresh.sent(tags[0]), None, "it came before");
        assert_eq!(fresh.sent(0), None);
        assert!(fresh.confirm(millis(200), millis(50)));
        assert!(!fresh.confirm(millis(200), millis(60)), "older than known");
        let confirmed = fresh.confirmed().unwrap();
        assert_eq!(staleness(confirmed, millis(1149)), millis(1000));
        assert_eq!(staleness(confirmed, millis(10)), Duration::ZERO);
    }

    #[test]
    fn only_so_many_tags_are_remembered() {
        let mut fresh = Freshness::new(at(0, 0));
        let first = fresh.tag(at(1, 0));
        for _ in 0..TAGS_MAX {
            fresh.tag(at(2, 0));
        }
        assert_eq!(fresh.sent.len(), TAGS_MAX);
        assert_eq!(fresh.sent(first), None);
        assert_eq!(fresh.sent(first + 1), Some(millis(2)));
    }

    #[test]
    fn what_was_kept_is_as_old_as_the_calendar_says_and_no_clock_changes_that_later() {
        let mut fresh = Freshness::new(at(5, 90_000));
        fresh.restore(Timestamp::from_millis(60_000), at(5, 90_000));
        let confirmed = fresh.confirmed().unwrap();
        assert_eq!(staleness(confirmed, millis(5)), millis(30_001));
        let later = fresh.confirmed_time(at(10, 0)).unwrap();
        assert_eq!(later.as_millis(), -30_006);

        let mut future = Freshness::new(at(5, 90_000));
        future.restore(Timestamp::from_millis(90_001), at(5, 90_000));
        assert_eq!(future.confirmed(), None);
        for extreme in [i64::MIN, i64::MAX] {
            future.restore(Timestamp::from_millis(extreme), at(5, 90_000));
            future.confirmed_time(at(5, extreme));
        }
    }
}
