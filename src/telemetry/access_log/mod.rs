//! The access log: one JSON line a request, formatted where the request ends, written by a thread of its own.
//!
//! A request never waits for the log. What cannot be written in time is dropped and counted.

mod queue;
mod record;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use prometheus::IntCounter;

use self::queue::Queue;

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
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Starts the writer, which owns `out`. Lost lines are counted in `dropped`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(out: impl Write + Send + 'static, dropped: IntCounter) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(dropped));
        let writer = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn({
                let queue = Arc::clone(&queue);
                move || queue.write_to(out)
            })?;
        Ok(Self {
            queue,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Hands one line to the writer, or drops it when the writer is behind.
    pub fn log(&self, record: &Record<'_>) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            record.write_line(line);
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
