//! Closing without cutting off: a client that still sends what was refused is to read why.
//!
//! A socket that is closed with bytes unread takes back what was written to it. So it says that nothing more will come,
//! and then reads and forgets, for a while.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How long a client that goes on sending is read.
const LINGER_TIME: Duration = Duration::from_secs(1);
/// How much of it.
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes read at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// A connection that closes so.
#[derive(Debug)]
pub(super) struct Lingering {
    stream: TcpStream,
    left: usize,
    until: Option<Pin<Box<Sleep>>>,
}

impl Lingering {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            left: LINGER_BYTES_MAX,
            until: None,
        }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, space)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.until.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        let this = &mut *self;
        let until = this
            .until
            .get_or_insert_with(|| Box::pin(sleep(LINGER_TIME)));
        let mut chunk = vec![0; CHUNK_BYTES];
        while this.left > 0 && until.as_mut().poll(context).is_pending() {
            let mut chunk = ReadBuf::new(&mut chunk);
            match ready!(Pin::new(&mut this.stream).poll_read(context, &mut chunk)) {
                Ok(()) if !chunk.filled().is_empty() => {
                    this.left = this.left.saturating_sub(chunk.filled().len());
                }
                // The client has closed too.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
