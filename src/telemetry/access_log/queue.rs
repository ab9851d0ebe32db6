//! The bounded buffer between those who log and the one who writes.
//!
//! Lines are appended to one of a few byte buffers, chosen by thread, so that threads rarely meet at a lock; the
//! writer swaps each for an empty one and writes it in one piece. It knows bytes, not what they say.

use std::array;
use std::io::Write;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;

/// Buffers; more than the threads that log at the same time on most machines.
const LANES: usize = 8;
/// Bytes that wait in one buffer at most.
pub(super) const LANE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes in a buffer at which the writer is woken before its time.
const LANE_BYTES_URGENT: usize = LANE_BYTES_MAX / 2;
/// How long the writer lets lines gather.
const GATHER: Duration = Duration::from_millis(20);

static NEXT_LANE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static LANE: usize = NEXT_LANE.fetch_add(1, Ordering::Relaxed) % LANES;
}

#[derive(Debug)]
pub(super) struct Queue {
    lanes: [Mutex<Lane>; LANES],
    control: Mutex<Control>,
    /// Something for the writer.
    wake: Condvar,
    /// Something from the writer.
    done: Condvar,
    dropped: IntCounter,
}

#[derive(Debug, Default)]
struct Lane {
    bytes: Vec<u8>,
    lines: u64,
    /// The writer sleeps until somebody wakes it.
    writer_asleep: bool,
}

#[derive(Debug, Default)]
struct Control {
    /// Lines have come while the writer slept, or too many while they gathered.
    wanted: bool,
    closing: bool,
    closed: bool,
    flushes_asked: u64,
    flushes_done: u64,
}

impl Queue {
    pub(super) fn new(dropped: IntCounter) -> Self {
        Self {
            lanes: array::from_fn(|_| Mutex::default()),
            control: Mutex::default(),
            wake: Condvar::new(),
            done: Condvar::new(),
            dropped,
        }
    }

    /// Appends a line, or drops it when its buffer is full.
    pub(super) fn push(&self, line: &[u8]) {
        let Some(lane) = self.lanes.get(LANE.with(|lane| *lane)) else {
            return;
        };
        let mut lane = lock(lane);
        let before = lane.bytes.len();
        let after = before.saturating_add(line.len());
        if after > LANE_BYTES_MAX {
            self.dropped.inc();
            return;
        }
        lane.bytes.extend_from_slice(line);
        lane.lines += 1;
        let urgent = before < LANE_BYTES_URGENT && after >= LANE_BYTES_URGENT;
        let asleep = mem::take(&mut lane.writer_asleep);
        drop(lane);
        if asleep || urgent {
            lock(&self.control).wanted = true;
            self.wake.notify_one();
        }
    }

    /// Waits until what was pushed before is written, at most `limit`. Says whether it is.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let mut control = lock(&self.control);
        control.flushes_asked += 1;
        let ticket = control.flushes_asked;
        self.wake.notify_one();
        let (control, _) = self
            .done
            .wait_timeout_while(control, limit, |control| {
                control.flushes_done < ticket && !control.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        control.flushes_done >= ticket
    }

    /// Ends the writer after what was pushed before. Says whether it has ended within `limit`.
    pub(super) fn close(&self, limit: Duration) -> bool {
        let mut control = lock(&self.control);
        control.closing = true;
        self.wake.notify_one();
        let (control, _) = self
            .done
            .wait_timeout_while(control, limit, |control| !control.closed)
            .unwrap_or_else(PoisonError::into_inner);
        control.closed
    }

    /// The writer's life: write what is there, let lines gather, sleep when none come.
    pub(super) fn write_to(&self, mut out: impl Write) {
        let mut spare = Vec::new();
        loop {
            let (flushes, closing) = self.asked();
            let wrote = self.write_all_lanes(&mut out, &mut spare);
            if flushes.is_some() || closing {
                self.flush_out(&mut out);
            }
            self.answer(flushes, closing);
            if closing {
                return;
            }
            if wrote || !self.fall_asleep() {
                self.wait(Some(GATHER));
            } else {
                self.flush_out(&mut out);
                self.wait(None);
            }
        }
    }

    fn asked(&self) -> (Option<u64>, bool) {
        let mut control = lock(&self.control);
        control.wanted = false;
        let flushes =
            (control.flushes_asked > control.flushes_done).then_some(control.flushes_asked);
        (flushes, control.closing)
    }

    fn answer(&self, flushes: Option<u64>, closing: bool) {
        let mut control = lock(&self.control);
        if let Some(flushes) = flushes {
            control.flushes_done = flushes;
        }
        control.closed = closing;
        self.done.notify_all();
    }

    /// Says whether there was anything to write.
    fn write_all_lanes(&self, out: &mut impl Write, spare: &mut Vec<u8>) -> bool {
        let mut wrote = false;
        for lane in &self.lanes {
            let lines = {
                let mut lane = lock(lane);
                mem::swap(&mut lane.bytes, spare);
                mem::take(&mut lane.lines)
            };
            if spare.is_empty() {
                continue;
            }
            wrote = true;
            if out.write_all(spare).is_err() {
                // Which of them got through is not known; an output that fails is no place for a log line about it.
                self.dropped.inc_by(lines);
            }
            spare.clear();
        }
        wrote
    }

    fn flush_out(&self, out: &mut impl Write) {
        if out.flush().is_err() {
            self.dropped.inc();
        }
    }

    /// Leaves word in every buffer that the writer must be woken. `false`: there is something to write after all.
    fn fall_asleep(&self) -> bool {
        self.lanes.iter().all(|lane| {
            let mut lane = lock(lane);
            lane.writer_asleep = lane.bytes.is_empty();
            lane.writer_asleep
        })
    }

    /// Waits until somebody wants something, or for `limit` where there is one.
    fn wait(&self, limit: Option<Duration>) {
        let control = lock(&self.control);
        let nothing = |control: &mut Control| {
            !control.wanted && !control.closing && control.flushes_asked == control.flushes_done
        };
        match limit {
            Some(limit) => {
                drop(self.wake.wait_timeout_while(control, limit, nothing));
            }
            None => {
                drop(self.wake.wait_while(control, nothing));
            }
        }
    }
}

/// A panic while a lock was held leaves bytes that are whole lines or nothing, so its poison says nothing here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
