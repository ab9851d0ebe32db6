//! Which refusals get a line: the first so many of each reason in a second. The others are counted, and told together.
//!
//! It has no clock: a second ends when it is told so.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::authz::Reason;
use crate::telemetry::metrics::Outcome;

/// What was logged and left out since the last second ended, by kind of outcome.
#[derive(Debug)]
pub(super) struct Sample {
    refused: [Count; Reason::ALL.len()],
    abandoned: Count,
}

#[derive(Debug, Default)]
struct Count {
    seen: AtomicU64,
    left_out: AtomicU64,
}

impl Sample {
    pub(super) fn new() -> Self {
        Self {
            refused: array::from_fn(|_| Count::default()),
            abandoned: Count::default(),
        }
    }

    /// Whether one more of these gets a line, where the first `most` do. What is allowed always does.
    pub(super) fn takes(&self, outcome: Outcome, most: u64) -> bool {
        let Some(count) = self.count(outcome) else {
            return true;
        };
        let takes = count.seen.fetch_add(1, Ordering::Relaxed) < most;
        if !takes {
            count.left_out.fetch_add(1, Ordering::Relaxed);
        }
        takes
    }

    /// Ends a second: what was left out in it, and how often.
    pub(super) fn end(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let refused = Reason::ALL.iter().map(|reason| Outcome::Refused(*reason));
        let all = refused.chain([Outcome::Abandoned]);
        all.filter_map(|outcome| {
            let count = self.count(outcome)?;
            count.seen.store(0, Ordering::Relaxed);
            let left_out = count.left_out.swap(0, Ordering::Relaxed);
            (left_out > 0).then_some((outcome, left_out))
        })
    }

    fn count(&self, outcome: Outcome) -> Option<&Count> {
        match outcome {
            Outcome::Allowed(_) => None,
            Outcome::Refused(reason) => self.refused.get(reason as usize),
            Outcome::Abandoned => Some(&self.abandoned),
        }
    }
}
