//! The access log: one JSON line a request, formatted where the request ends, written by a thread of its own.
//!
//! A request never waits for the log. What cannot be written in time is dropped and counted. A flood of refusals does not
//! become a flood of lines: beyond the first of each reason in a second they are counted, and told in one line.

mod queue;
mod record;
mod sample;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use prometheus::IntCounterVec;

use self::queue::Queue;
use self::record::LeftOut;
use self::sample::Sample;
use super::metrics::{Metrics, Outcome};
use crate::authz::Timestamp;

pub use self::record::Record;

/// Bytes that a thread's line buffer keeps between lines; a longer line gives its memory back.
const LINE_BUFFER_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The sending half of the log, and the owner of its writer.
#[derive(Debug)]
pub struct AccessLog {
    queue: Arc<Queue>,
    sample: Sample,
    left_out: IntCounterVec,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Starts the writer, which owns `out`. Lines that are lost or left out are counted in `metrics`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(out: impl Write + Send + 'static, metrics: &Metrics) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(metrics.access_log_dropped()));
        let writer = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn({
                let queue = Arc::clone(&queue);
                move || queue.write_to(out)
            })?;
        Ok(Self {
            queue,
            sample: Sample::new(),
            left_out: metrics.access_log_left_out(),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Whether a request that ended so gets a line, where the first `refusals_max` refusals of each reason in a second do.
    pub fn takes(&self, outcome: Outcome, refusals_max: u64) -> bool {
        self.sample.takes(outcome, refusals_max)
    }

    /// Hands one line to the writer, or drops it when the writer is behind.
    pub fn log(&self, record: &Record<'_>) {
        self.write(|line| record.write_line(line));
    }

    /// Ends a second of [`Self::takes`]: tells in a line for each reason how many got none.
    pub fn tell_left_out(&self, now: impl Fn() -> Timestamp) {
        for (outcome, left_out) in self.sample.end() {
            let reason = outcome.reason();
            self.left_out.with_label_values(&[reason]).inc_by(left_out);
            let left_out = LeftOut {
                time: now(),
                status: outcome.status(),
                reason,
                left_out,
            };
            self.write(|line| left_out.write_line(line));
        }
    }

    fn write(&self, format: impl FnOnce(&mut Vec<u8>)) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            format(line);
            self.queue.push(line);
            line.shrink_to(LINE_BUFFER_BYTES_MAX);
        });
    }

    /// Waits until everything logged before is written, at most [`Self::FLUSH_WAIT_MAX`]. Says whether it is.
    pub fn flush(&self) -> bool {
        self.queue.flush(Self::FLUSH_WAIT_MAX)
    }

    /// How long a flush waits for an output that does not take its lines.
    pub const FLUSH_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(2);
}

/// Writes what is left and ends the writer. One that hangs in its output is left behind.
impl Drop for AccessLog {
    fn drop(&mut self) {
        let written = self.queue.close(Self::FLUSH_WAIT_MAX);
        let writer = self
            .writer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (true, Some(writer)) = (written, writer) {
            // A writer that panicked has nothing left to say.
            let _ = writer.join();
        }
    }
}
