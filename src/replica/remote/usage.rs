//! Reports of what was counted per key: each is sent until it is answered, and then counted once, whatever was lost.
//!
//! It knows no network: what is to be sent is given, and what became of it is told.

use std::collections::HashMap;

use super::link::Reported;
use crate::authz::KeyId;
use crate::replica::Usage;
use crate::wire::sync::{USES_MAX, UsageReport, Use};

/// Keys whose uses wait to be reported; uses of further ones are not.
const KEYS_WAITING_MAX: usize = 1 << 20;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Reports {
    incarnation: String,
    sequence: u64,
    /// What no report holds yet.
    waiting: HashMap<KeyId, Usage>,
    /// The one that is not answered.
    current: Option<UsageReport>,
    dropped: u64,
}

impl Reports {
    /// Of one life of this process, which a random number names.
    pub(super) fn new(incarnation: u128) -> Self {
        Self {
            incarnation: format!("{incarnation:032x}"),
            sequence: 0,
            waiting: HashMap::new(),
            current: None,
            dropped: 0,
        }
    }

    /// Takes what was counted.
    pub(super) fn count(&mut self, counted: Vec<Usage>) {
        for usage in counted {
            if let Some(waiting) = self.waiting.get_mut(&usage.id) {
                waiting.last_used = waiting.last_used.max(usage.last_used);
                waiting.count = waiting.count.saturating_add(usage.count);
            } else if self.waiting.len() < KEYS_WAITING_MAX {
                self.waiting.insert(usage.id.clone(), usage);
            } else {
                self.dropped = self.dropped.saturating_add(usage.count);
            }
        }
    }

    /// The report to send now: the one that was not answered, as it was, or the next.
    pub(super) fn next(&mut self) -> Option<&UsageReport> {
        if self.current.is_none() && !self.waiting.is_empty() {
            let ids: Vec<KeyId> = self.waiting.keys().take(USES_MAX).cloned().collect();
            let taken = ids.iter().filter_map(|id| self.waiting.remove(id));
            let uses = taken.map(|usage| Use {
                id: usage.id.as_str().to_owned(),
                last_used: usage.last_used.as_millis(),
                count: usage.count,
            });
            self.sequence += 1;
            self.current = Some(UsageReport {
                incarnation: self.incarnation.clone(),
                sequence: self.sequence,
                uses: uses.collect(),
            });
        }
        self.current.as_ref()
    }

    /// What became of it. Gives whether to go on.
    pub(super) fn answered(&mut self, reported: Reported) -> bool {
        if reported == Reported::Unanswered {
            return false;
        }
        if let Some(report) = self.current.take()
            && reported == Reported::Refused
        {
            let uses = report.uses.iter().map(|used| used.count);
            self.dropped = uses.fold(self.dropped, u64::saturating_add);
        }
        true
    }

    /// Uses that were counted and are not reported, since the last time.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::Timestamp;

    fn used(id: &str, last_used: i64, count: u64) -> Usage {
        Usage {
            id: KeyId::new(id),
            last_used: Timestamp::from_millis(last_used),
            count,
        }
    }

    #[test]
    fn a_report_is_the_same_until_it_is_answered_and_then_another() {
        let mut reports = Reports::new(0xab);
        assert_eq!(reports.next(), None);
        reports.count(vec![used("k1", 5, 2)]);
        let first = reports.next().cloned().expect("something was counted");
        assert_eq!(first.incarnation, format!("{:032x}", 0xab));
        assert_eq!((first.sequence, first.uses.len()), (1, 1));
        reports.count(vec![used("k1", 9, 1), used("k1", 7, 3)]);
        assert!(!reports.answered(Reported::Unanswered));
        assert_eq!(reports.next(), Some(&first), "nobody knows whether it came");
        assert!(reports.answered(Reported::Counted));
        let second = reports.next().cloned().expect("more was counted meanwhile");
        assert_eq!(second.sequence, 2);
        assert_eq!((second.uses[0].last_used, second.uses[0].count), (9, 4));
        assert!(reports.answered(Reported::Refused));
        assert_eq!(reports.next(), None);
        assert_eq!(reports.take_dropped(), 4);
    }

    #[test]
    fn reports_are_no_longer_than_they_may_be() {
        let mut reports = Reports::new(1);
        let many = 2 * USES_MAX + 1;
        reports.count((0..many).map(|n| used(&format!("k{n}"), 1, 1)).collect());
        let mut lengths = Vec::new();
        while let Some(report) = reports.next() {
            lengths.push(report.uses.len());
            reports.answered(Reported::Counted);
        }
        assert_eq!(lengths, [USES_MAX, USES_MAX, 1]);
    }
}
