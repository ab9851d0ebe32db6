//! What many ask for at once: read once for all of them, and given up where no answer comes.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::control::store::StoreError;

/// How long a reading may take. A connection whose other end is gone says nothing for a quarter of an hour.
const READ_WAIT: Duration = Duration::from_secs(5);

/// One thing that is read again and again.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// When the last one that succeeded began. Whoever reads holds it, so that what is read is put in place in the order
    /// in which it was read.
    begun: Mutex<Option<Instant>>,
}

impl Reading {
    /// Reads, unless somebody else has begun to since this was called.
    pub(super) async fn run(
        &self,
        reading: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        let asked = Instant::now();
        let mut begun = self.begun.lock().await;
        if begun.is_some_and(|begun| asked <= begun) {
            return Ok(());
        }
        let now = Instant::now();
        let read = timeout(READ_WAIT, reading).await;
        read.map_err(|_| StoreError::TimedOut)??;
        *begun = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_asks_before_a_reading_begins_is_content_with_it_and_who_asks_later_is_not() {
        let (reading, read) = (Reading::default(), AtomicU32::new(0));
        let once = async |after: u64| {
            sleep(Duration::from_millis(after)).await;
            let one = async {
                sleep(Duration::from_millis(100)).await;
                read.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            reading.run(one).await.unwrap();
        };
        // The first reads; those who come meanwhile have to read again, and one of them does for both.
        tokio::join!(once(0), once(10), once(20));
        assert_eq!(read.load(Ordering::Relaxed), 2);
        once(0).await;
        assert_eq!(read.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_that_has_no_end_is_given_up_and_the_next_one_succeeds() {
        let reading = Reading::default();
        let given_up = reading.run(pending()).await;
        assert!(matches!(given_up, Err(StoreError::TimedOut)));
        reading.run(async { Ok(()) }).await.unwrap();
    }
}
