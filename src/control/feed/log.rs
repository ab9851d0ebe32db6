//! The recent changes, each encoded once for all who follow: so many, and so many bytes, and no more.
//!
//! Nobody has a place in it. Who comes with a revision is given what follows it, or told that it is no longer here.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::authz::Revision;
use crate::wire::sync::{Position, encode_change};
use crate::wire::{Change, Epoch};

/// Changes kept.
pub(super) const CHANGES_MAX: usize = 65_536;
/// Bytes of changes kept. One that is larger by itself is not kept: who follows reads it from the store.
pub(super) const BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a change takes beside its payloads.
const OVERHEAD_BYTES: usize = 128;

/// The payloads of a change, to be framed for each who follows.
pub(super) type Payloads = Arc<[Vec<u8>]>;

#[derive(Debug)]
struct Entry {
    previous: Revision,
    revision: Revision,
    payloads: Payloads,
    bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Log {
    head: Position,
    entries: VecDeque<Entry>,
    bytes: usize,
    changes_max: usize,
    bytes_max: usize,
}

/// What follows a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Following {
    /// Nothing yet.
    Nothing,
    /// This change, which leads to that revision.
    Change(Revision, Payloads),
    /// It is no longer here.
    Gone,
    /// Another history has begun.
    OtherEpoch,
}

impl Log {
    /// An empty one, from here on.
    pub(super) fn new(head: Position, changes_max: usize, bytes_max: usize) -> Self {
        Self {
            head,
            entries: VecDeque::new(),
            bytes: 0,
            changes_max,
            bytes_max,
        }
    }

    /// The history, and how far it has come.
    pub(super) fn head(&self) -> Position {
        self.head
    }

    /// Goes on by a change. What is known already changes nothing.
    pub(super) fn push(&mut self, change: &Change) {
        if change.revision <= self.head.revision {
            return;
        }
        if change.previous > self.head.revision {
            // Something is missing before it, so that nothing here leads up to it.
            self.clear();
        }
        let mut payloads = encode_change(change);
        // They stay; what they were written into had room to grow.
        payloads.iter_mut().for_each(Vec::shrink_to_fit);
        let payloads: Payloads = payloads.into();
        let bytes = payloads.iter().map(Vec::len).sum::<usize>() + OVERHEAD_BYTES;
        self.entries.push_back(Entry {
            previous: change.previous,
            revision: change.revision,
            payloads,
            bytes,
        });
        self.head.revision = change.revision;
        self.bytes += bytes;
        while self.entries.len() > self.changes_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes;
        }
    }

    /// Begins anew with another history.
    pub(super) fn begin(&mut self, epoch: Epoch, revision: Revision) {
        self.clear();
        self.head = Position { epoch, revision };
    }

    /// What follows where somebody stands.
    pub(super) fn after(&self, position: Position) -> Following {
        if position.epoch != self.head.epoch {
            return Following::OtherEpoch;
        }
        if position.revision >= self.head.revision {
            return Following::Nothing;
        }
        let next = self
            .entries
            .partition_point(|entry| entry.revision <= position.revision);
        match self.entries.get(next) {
            Some(entry) if entry.previous <= position.revision => {
                Following::Change(entry.revision, Arc::clone(&entry.payloads))
            }
            Some(_) | None => Following::Gone,
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::KeyId;

    const EPOCH: Epoch = Epoch(7);

    fn at(revision: u64) -> Position {
        Position {
            epoch: EPOCH,
            revision: Revision(revision),
        }
    }

    fn change(previous: u64, revision: u64) -> Change {
        Change {
            previous: Revision(previous),
            revision: Revision(revision),
            put: Vec::new(),
            removed: vec![KeyId::new(format!("k{revision}"))],
        }
    }

    fn log(changes_max: usize) -> Log {
        Log::new(at(10), changes_max, BYTES_MAX)
    }

    /// Where one gets from a revision by what is here, and whether that is all there is.
    fn walk(log: &Log, from: u64) -> (Vec<u64>, bool) {
        let (mut position, mut steps) = (at(from), Vec::new());
        loop {
            match log.after(position) {
                Following::Change(revision, payloads) => {
                    assert!(!payloads.is_empty());
                    steps.push(revision.0);
                    position.revision = revision;
                }
                Following::Nothing => return (steps, true),
                Following::Gone | Following::OtherEpoch => return (steps, false),
            }
        }
    }

    #[test]
    fn who_follows_is_given_every_change_in_order_and_none_twice() {
        let mut log = log(100);
        assert_eq!(walk(&log, 10), (vec![], true));
        for revision in 11..=13 {
            log.push(&change(revision - 1, revision));
        }
        log.push(&change(13, 17));
        log.push(&change(15, 16));
        assert_eq!(walk(&log, 10), (vec![11, 12, 13, 17], true));
        assert_eq!(walk(&log, 12), (vec![13, 17], true));
        assert_eq!(walk(&log, 15), (vec![17], true));
        assert_eq!(walk(&log, 17), (vec![], true));
        assert_eq!(walk(&log, 18), (vec![], true));
        assert_eq!(walk(&log, 9), (vec![], false));
    }

    #[test]
    fn the_oldest_make_room_and_whoever_needs_them_is_told() {
        let mut log = log(3);
        for revision in 11..=20 {
            log.push(&change(revision - 1, revision));
        }
        assert_eq!(walk(&log, 16), (vec![], false));
        assert_eq!(walk(&log, 17), (vec![18, 19, 20], true));
        let mut by_bytes = Log::new(at(10), 100, 2 * (OVERHEAD_BYTES + 20));
        for revision in 11..=20 {
            by_bytes.push(&change(revision - 1, revision));
        }
        assert_eq!(walk(&by_bytes, 17), (vec![], false));
        assert_eq!(walk(&by_bytes, 18), (vec![19, 20], true));
        let mut too_small = Log::new(at(10), 100, 1);
        too_small.push(&change(10, 11));
        assert_eq!(too_small.after(at(10)), Following::Gone);
        assert_eq!(too_small.after(at(11)), Following::Nothing);
    }

    #[test]
    fn a_gap_is_no_way() {
        let mut log = log(100);
        log.push(&change(10, 11));
        log.push(&change(12, 13));
        log.push(&change(13, 14));
        assert_eq!(walk(&log, 10), (vec![], false));
        assert_eq!(walk(&log, 12), (vec![13, 14], true));
    }

    #[test]
    fn another_history_begins_empty() {
        let mut log = log(100);
        log.push(&change(10, 11));
        log.begin(Epoch(8), Revision(11));
        assert_eq!(log.after(at(10)), Following::OtherEpoch);
        let there = Position {
            epoch: Epoch(8),
            revision: Revision(10),
        };
        assert_eq!(log.after(there), Following::Gone);
    }
}
