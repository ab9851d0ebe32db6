//! A client's socket as HTTP/2 reads it: what was read ahead comes first, every frame is followed, and a connection that
//! drips or floods is told on instead of being read any further.
//!
//! It ends nothing itself. Knows no stream and no request.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

use super::super::line::deadline_after;
use super::super::socket::Socket;
use super::PREFACE;
use super::frames::{Flood, Frames};
use crate::telemetry::ConnectionEnd;

/// How long, and how many bytes, a client whose connection ends may still send, so that it can read why.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// How long a client that misbehaved waits for the end of its connection, of which it is told at once: from the first to
/// the second, by chance. It costs us little, and whoever attacks again as soon as it may cannot do so more often, nor
/// with all its connections at a time.
const PENANCE_MIN: Duration = Duration::from_secs(1);
const PENANCE_MAX: Duration = Duration::from_secs(3);

/// Longest that the end of a connection takes.
pub const END_TIME_MAX: Duration = PENANCE_MAX.saturating_add(LINGER_TIME);

/// Bytes that are read and forgotten at once.
const FORGOTTEN: usize = 4096;

/// Streams with a fragment in their path that may be on their way through the library.
const CUT_MAX: usize = 1000;

/// What is wrong with a connection or with streams of it: shared with whoever ends them.
#[derive(Debug, Default)]
pub struct Verdict {
    why: AtomicU8,
    told: Notify,
    in_peace: AtomicBool,
    cut: Mutex<Vec<u32>>,
}

const DRIPPED: u8 = 1;
const FLOODED: u8 = 2;

impl Verdict {
    fn find(&self, why: u8) {
        self.why.store(why, Ordering::Relaxed);
        self.told.notify_one();
    }

    fn found(&self) -> Option<ConnectionEnd> {
        match self.why.load(Ordering::Relaxed) {
            DRIPPED => Some(ConnectionEnd::SlowHead),
            FLOODED => Some(ConnectionEnd::Flood),
            _ => None,
        }
    }

    fn find_cut(&self, stream: u32) -> std::result::Result<(), Flood> {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        cut.push(stream);
        if cut.len() > CUT_MAX {
            Err(Flood)
        } else {
            Ok(())
        }
    }

    /// Whether a fragment was cut off the path of this stream. Streams are asked about in their order.
    pub fn is_cut(&self, stream: u32) -> bool {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        let found = cut.contains(&stream);
        cut.retain(|other| *other > stream);
        found
    }

    /// The connection ends through no fault of the client.
    pub fn end_in_peace(&self) {
        self.in_peace.store(true, Ordering::Relaxed);
    }

    /// Returns when the connection is to end, and why.
    pub async fn until_found(&self) -> ConnectionEnd {
        loop {
            if let Some(why) = self.found() {
                return why;
            }
            self.told.notified().await;
        }
    }
}

/// See the head of this file.
#[derive(Debug)]
pub struct Guard {
    socket: Socket,
    ahead: BytesMut,
    frames: Frames,
    verdict: Arc<Verdict>,
    /// How long what is awaited may take.
    patience: Duration,
    /// What is awaited, and until when.
    awaited: Option<(u64, Instant)>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Bytes that may still be forgotten, once our half is closed.
    lingering: Option<usize>,
    /// Until when a client that misbehaved waits for the end.
    penance: Option<Instant>,
}

impl Guard {
    /// Takes over a socket of which `ahead` was read, the preface to begin with. The client's first frame is due by
    /// `first`, and everything else that is awaited without delay within `patience`.
    pub fn new(socket: Socket, ahead: BytesMut, first: Instant, patience: Duration) -> Self {
        let frames = Frames::new(PREFACE.len(), Instant::now());
        Self {
            socket,
            ahead,
            awaited: frames.awaited().map(|awaited| (awaited, first)),
            frames,
            verdict: Arc::default(),
            patience,
            sleep: None,
            lingering: None,
            penance: None,
        }
    }

    /// Where it says that the connection is to end.
    pub fn verdict(&self) -> Arc<Verdict> {
        Arc::clone(&self.verdict)
    }

    fn follow(&mut self, bytes: &[u8]) -> std::result::Result<(), Flood> {
        self.frames.take(bytes, Instant::now())?;
        while let Some(stream) = self.frames.next_cut() {
            self.verdict.find_cut(stream)?;
        }
        self.awaited = match (self.frames.awaited(), self.awaited) {
            (None, _) => None,
            (Some(now), Some((then, until))) if now == then => Some((then, until)),
            (Some(now), _) => Some((now, deadline_after(self.patience))),
        };
        Ok(())
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((_, until)) = self.awaited else {
            return Poll::Pending;
        };
        poll_until(&mut self.sleep, until, cx)
    }

    /// Lets a client that misbehaved wait.
    fn poll_penance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.verdict.in_peace.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        let until = *self.penance.get_or_insert_with(|| {
            let span = PENANCE_MAX.saturating_sub(PENANCE_MIN);
            let chance = RandomState::new().hash_one(0_u8) as u32;
            let part = f64::from(chance) / f64::from(u32::MAX);
            deadline_after(PENANCE_MIN.saturating_add(span.mul_f64(part)))
        });
        poll_until(&mut self.sleep, until, cx)
    }

    /// Reads and forgets, so that the end is not lost on a client that is still sending.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let (mut left, until) = match (self.lingering, self.awaited) {
            (Some(left), Some((_, until))) => (left, until),
            _ => {
                ready!(self.poll_penance(cx));
                ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
                (LINGER_BYTES, deadline_after(LINGER_TIME))
            }
        };
        self.awaited = Some((0, until));
        let mut forgotten = [0; FORGOTTEN];
        while left > 0 {
            let mut buf = ReadBuf::new(&mut forgotten);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    left = left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    self.lingering = Some(left);
                    ready!(poll_until(&mut self.sleep, until, cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn poll_until(
    sleep: &mut Option<Pin<Box<Sleep>>>,
    until: Instant,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
    if sleep.deadline() != until {
        sleep.as_mut().reset(until);
    }
    sleep.as_mut().poll(cx)
}

impl AsyncRead for Guard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let guard = self.get_mut();
        if guard.verdict.found().is_some() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if guard.ahead.is_empty() {
            let polled = Pin::new(&mut guard.socket).poll_read(cx, buf);
            if polled.is_pending() {
                ready!(guard.poll_patience(cx));
                guard.verdict.find(DRIPPED);
                return Poll::Pending;
            }
            ready!(polled)?;
        } else {
            let ahead = guard.ahead.len().min(buf.remaining());
            buf.put_slice(guard.ahead.get(..ahead).unwrap_or_default());
            guard.ahead.advance(ahead);
        }
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            // The client ended it.
            guard.verdict.end_in_peace();
        }
        if guard.follow(fresh).is_err() {
            buf.set_filled(before);
            guard.verdict.find(FLOODED);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guard {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let guard = self.get_mut();
        let written = ready!(Pin::new(&mut guard.socket).poll_write(cx, bytes))?;
        guard.frames.sent(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut().poll_linger(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let guard = self.get_mut();
        let written = ready!(Pin::new(&mut guard.socket).poll_write_vectored(cx, slices))?;
        guard.frames.sent(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_misbehaved_waits_for_the_end_and_nobody_else() {
        for in_peace in [true, false] {
            let (mut client, ours) = UnixStream::pair().unwrap();
            let first = deadline_after(Duration::from_secs(10));
            let mut guard = Guard::new(Socket::Unix(ours), BytesMut::new(), first, LINGER_TIME);
            if in_peace {
                guard.verdict().end_in_peace();
            }
            let begun = Instant::now();
            let ending = tokio::spawn(async move { guard.shutdown().await });
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            let waited = begun.elapsed();
            if in_peace {
                assert_eq!(waited, Duration::ZERO);
            } else {
                assert!((PENANCE_MIN..=PENANCE_MAX).contains(&waited), "{waited:?}");
            }
            drop(client);
            ending.await.unwrap().unwrap();
        }
    }
}
