//! The streams that are open: so many and no more, each until its token is revoked or the control plane ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Streams of changes open at a time.
pub(in crate::control) const STREAMS_MAX: usize = 512;

/// The streams of one kind.
#[derive(Debug)]
pub(in crate::control) struct Streams {
    table: Arc<Mutex<Table>>,
    places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Table {
    open: BTreeMap<u64, Stream>,
    next: u64,
    /// No more of them.
    is_closed: bool,
}

#[derive(Debug)]
struct Stream {
    token: [u8; 32],
    end: Arc<Notify>,
}

/// The place of a stream in the table, until it is dropped.
#[derive(Debug)]
pub(in crate::control) struct OpenStream {
    table: Arc<Mutex<Table>>,
    number: u64,
    end: Arc<Notify>,
    _place: OwnedSemaphorePermit,
}

impl Streams {
    /// None is open, and so many may be at a time.
    pub(in crate::control) fn new(most: usize) -> Self {
        Self {
            table: Arc::default(),
            places: Arc::new(Semaphore::new(most)),
        }
    }

    /// Opens one; `None`: there are too many, or no more are opened.
    pub(in crate::control) fn open(&self, token: [u8; 32]) -> Option<OpenStream> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut table = lock(&self.table);
        if table.is_closed {
            return None;
        }
        let number = table.next;
        table.next += 1;
        let end = Arc::new(Notify::new());
        let stream = Stream {
            token,
            end: Arc::clone(&end),
        };
        table.open.insert(number, stream);
        Some(OpenStream {
            table: Arc::clone(&self.table),
            number,
            end,
            _place: place,
        })
    }

    /// Ends those whose token is not valid any more.
    pub(in crate::control) fn keep_only(&self, is_valid: impl Fn(&[u8; 32]) -> bool) {
        for stream in lock(&self.table).open.values() {
            if !is_valid(&stream.token) {
                stream.end.notify_one();
            }
        }
    }

    /// Ends all, and opens no more.
    pub(in crate::control) fn close(&self) {
        let mut table = lock(&self.table);
        table.is_closed = true;
        for stream in table.open.values() {
            stream.end.notify_one();
        }
    }

    /// How many are open.
    pub(in crate::control) fn len(&self) -> usize {
        lock(&self.table).open.len()
    }
}

impl OpenStream {
    /// Returns when the stream is to end.
    pub(in crate::control) async fn to_end(&self) {
        self.end.notified().await;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        lock(&self.table).open.remove(&self.number);
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn is_to_end(stream: &OpenStream) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(stream.to_end()).poll(&mut context) == Poll::Ready(())
    }

    #[test]
    fn a_stream_ends_with_its_token_and_with_the_control_plane() {
        let streams = Streams::new(STREAMS_MAX);
        let [one, two] = [1, 2].map(|n| streams.open([n; 32]).unwrap());
        assert!(!is_to_end(&one) && !is_to_end(&two));
        streams.keep_only(|token| *token == [2; 32]);
        assert!(is_to_end(&one) && !is_to_end(&two));
        drop(one);
        assert_eq!(streams.len(), 1);
        streams.close();
        assert!(is_to_end(&two));
        assert!(streams.open([3; 32]).is_none());
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let streams = Streams::new(STREAMS_MAX);
        let mut open: Vec<_> = (0..STREAMS_MAX)
            .map(|_| streams.open([0; 32]).unwrap())
            .collect();
        assert!(streams.open([0; 32]).is_none());
        assert_eq!(streams.len(), STREAMS_MAX);
        open.pop();
        assert!(streams.open([0; 32]).is_some());
    }
}
