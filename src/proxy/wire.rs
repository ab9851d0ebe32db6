//! A client's connection: the socket, what was read from it ahead, and the bounds of the current message.
//!
//! An exchange is lent it as [`Lent`]: pingora then reads the bytes of the current body and no other, every wait is
//! bounded, and the connection comes back to the door however the exchange ends. Knows no header and no route.

use std::fmt;
use std::io::{Error, ErrorKind, Result};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::time::{Instant, timeout};

use super::framing::{Framing, InvalidChunks};
use super::line::{Line, Wait, Watch};
use super::socket::Socket;

/// Bytes of a response that are gathered before they are sent: a head and a small body leave together.
const WRITE_BUFFER: usize = 4096;

/// Bytes of later requests that are taken off the socket while an exchange runs, to notice a client that leaves.
const READ_AHEAD: usize = 1024;

/// Bytes that are read to be forgotten at once.
const FORGET_AT_ONCE: usize = 16 * 1024;

/// Most bytes that are read from the socket at once.
const READ_MAX: usize = 64 * 1024;

/// A client that ends its half of the connection so soon after its request still reads; one that does so later has
/// left. TCP does not tell the two apart, but who ends its half on purpose does it with the request.
const PARTING_TIME: Duration = Duration::from_millis(150);

/// Ready once the client is gone for good.
type Gone = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The socket with everything read from it and not yet handed out.
pub struct Wire {
    socket: BufWriter<Socket>,
    /// Read from the socket; its front belongs to the current message.
    pub inbox: BytesMut,
    /// What is left of the current message's body.
    pub framing: Framing,
    watch: Watch,
    /// Since when the current request is complete.
    complete: Option<Instant>,
    /// The client has ended its half of the connection, and may yet go for good.
    half: Option<Gone>,
    /// Bytes of bodies that came.
    received: u64,
    /// Bytes of answers that the system took.
    written: u64,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}

impl Wire {
    /// Takes a socket that was accepted.
    pub fn new(socket: Socket) -> Self {
        Self {
            socket: BufWriter::with_capacity(WRITE_BUFFER, socket),
            inbox: BytesMut::new(),
            framing: Framing::Done,
            watch: Watch::default(),
            complete: None,
            half: None,
            received: 0,
            written: 0,
        }
    }

    /// Another message begins, whose body is framed so.
    pub fn begin(&mut self, framing: Framing) {
        self.framing = framing;
        self.complete = None;
        self.watch.begin();
    }

    /// The socket, nothing of which is buffered for sending yet, and what was read from it ahead.
    pub fn into_parts(self) -> (Socket, BytesMut) {
        (self.socket.into_inner(), self.inbox)
    }

    /// Reads more into the inbox, about `room` bytes; 0: the client is gone.
    ///
    /// # Errors
    /// What the socket says, and [`ErrorKind::TimedOut`] at `deadline`.
    pub async fn fill(&mut self, wait: Wait, deadline: Instant, room: usize) -> Result<usize> {
        self.inbox.reserve(room);
        let read = std::future::poll_fn(|cx| {
            let read = poll_inbox(&mut self.socket, &mut self.inbox, cx);
            if read.is_pending() && self.watch.poll_until(wait, deadline, cx).is_ready() {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
            read
        });
        let read = read.await?;
        self.watch.touch();
        Ok(read)
    }

    /// Sends bytes of our own.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.socket.write_all(bytes).await?;
        self.socket.flush().await
    }

    /// Ends it so that nothing that was not received yet is.
    pub fn reset(self) {
        self.socket.into_inner().reset();
    }

    /// Ends our half, then reads and forgets up to `bytes`, so that the client can read the last answer before a
    /// reset destroys it. Returns when the client has ended too, or sends nothing for `silence`; the caller bounds the
    /// whole time.
    pub async fn linger(&mut self, mut bytes: usize, silence: Duration) {
        if self.socket.shutdown().await.is_err() {
            return;
        }
        while bytes > 0 {
            self.inbox.clear();
            self.inbox.reserve(FORGET_AT_ONCE);
            match timeout(silence, self.socket.read_buf(&mut self.inbox)).await {
                Ok(Ok(read @ 1..)) => bytes = bytes.saturating_sub(read),
                Ok(Ok(0) | Err(_)) | Err(_) => return,
            }
        }
    }

    /// Forgets what has been read of the current body; says whether that is the rest of it.
    pub fn discard_read(&mut self) -> bool {
        match self.framing.take(&self.inbox) {
            Ok(taken) => self.inbox.advance(taken),
            Err(_) => return false,
        }
        self.framing.is_done()
    }

    /// Reads and forgets what is left of the current body, up to `bytes`; says whether that was all of it. The caller
    /// bounds the time.
    pub async fn discard(&mut self, mut bytes: usize) -> bool {
        while !self.framing.is_done() {
            let Ok(taken) = self.framing.take(&self.inbox) else {
                return false;
            };
            self.inbox.advance(taken);
            bytes = bytes.saturating_sub(taken);
            if self.framing.is_done() {
                break;
            }
            self.inbox.reserve(READ_AHEAD);
            let read = self.socket.read_buf(&mut self.inbox).await;
            if bytes == 0 || !matches!(read, Ok(1..)) {
                return false;
            }
        }
        true
    }

    fn poll_read(
        &mut self,
        line: &Line,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if line.is_tunnel() {
            self.framing = Framing::Tunnel;
        }
        if self.framing.is_done() {
            return self.poll_leaving(line, cx);
        }
        if self.inbox.is_empty() {
            return self.poll_body(line, cx, buf);
        }
        let offered = self.inbox.len().min(buf.remaining());
        let ours = self.inbox.get(..offered).unwrap_or_default();
        let taken = self
            .framing
            .take(ours)
            .map_err(|invalid| spoilt(line, invalid))?;
        buf.put_slice(ours.get(..taken).unwrap_or_default());
        self.inbox.advance(taken);
        self.received = self.received.saturating_add(taken as u64);
        self.watch.touch();
        Poll::Ready(Ok(()))
    }

    fn poll_body(
        &mut self,
        line: &Line,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let room = buf.remaining().min(READ_MAX).min(self.framing.read_limit());
        let mut fresh = ReadBuf::new(buf.initialize_unfilled_to(room));
        let polled = Pin::new(&mut self.socket).poll_read(cx, &mut fresh);
        if polled.is_pending() {
            let tunnel = self.framing == Framing::Tunnel;
            let wait = if tunnel { Wait::Stream } else { Wait::Body };
            return self.poll_watch(wait, line, cx);
        }
        ready!(polled)?;
        self.watch.touch();
        let taken = self
            .framing
            .take(fresh.filled())
            .map_err(|invalid| spoilt(line, invalid))?;
        let ahead = fresh.filled().get(taken..).unwrap_or_default();
        self.inbox.extend_from_slice(ahead);
        buf.advance(taken);
        self.received = self.received.saturating_add(taken as u64);
        Poll::Ready(Ok(()))
    }

    /// The body is complete: all that may still come is the next request, which has to wait, or the end.
    fn poll_leaving(&mut self, line: &Line, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let complete = *self.complete.get_or_insert_with(Instant::now);
        while self.half.is_none() && self.inbox.len() < READ_AHEAD {
            self.inbox.reserve(READ_AHEAD);
            match poll_inbox(&mut self.socket, &mut self.inbox, cx)? {
                Poll::Pending => break,
                Poll::Ready(0) if complete.elapsed() < PARTING_TIME => {
                    self.half = Some(Box::pin(self.socket.get_ref().until_reset()?));
                }
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(_) => {}
            }
        }
        let gone = self.half.as_mut().map(|gone| gone.as_mut().poll(cx));
        if gone.is_some_and(|gone| gone.is_ready()) {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let wait = if line.is_responding() {
            Wait::Stream
        } else {
            Wait::FirstByte
        };
        self.poll_watch(wait, line, cx)
    }

    fn poll_watch<T>(&mut self, wait: Wait, line: &Line, cx: &mut Context<'_>) -> Poll<Result<T>> {
        if !self.socket.buffer().is_empty() {
            // Nothing more is coming for now: what there is of a response must not wait for the rest.
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => self.watch.rest(),
                Poll::Pending if line.is_responding() => return self.poll_taking(line, cx),
                Poll::Pending => {}
            }
        }
        // Once it is answered, what it sends meanwhile is a conversation.
        if wait == Wait::Body && !line.is_responding() {
            let sent = self.received;
            ready!(self.watch.poll_client(wait, line, || sent, cx));
        } else {
            ready!(self.watch.poll(wait, line, cx));
        }
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }

    /// The client does not take what waits for it.
    fn poll_taking<T>(&mut self, line: &Line, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let (socket, written) = (self.socket.get_ref(), self.written);
        let taken = || socket.received_by_client().unwrap_or(written);
        ready!(self.watch.poll_client(Wait::Stream, line, taken, cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

fn poll_inbox(
    socket: &mut BufWriter<Socket>,
    inbox: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<Result<usize>> {
    // The future holds no bytes of its own, so making it anew for each poll loses none.
    pin!(socket.read_buf(inbox)).poll(cx)
}

fn spoilt(line: &Line, invalid: InvalidChunks) -> Error {
    line.spoil();
    Error::new(ErrorKind::InvalidData, invalid)
}

/// A connection lent to one exchange. Gives itself back to its line when it is dropped.
#[derive(Debug)]
pub struct Lent {
    wire: Option<Wire>,
    line: Arc<Line>,
}

impl Lent {
    /// Lends the connection for one exchange.
    pub fn new(wire: Wire, line: Arc<Line>) -> Self {
        Self {
            wire: Some(wire),
            line,
        }
    }

    fn parts(&mut self) -> Result<(&mut Wire, &Line)> {
        match &mut self.wire {
            Some(wire) => Ok((wire, &self.line)),
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Does something to the socket's writing half; waiting for the client to read is waiting, too.
    fn poll_output<T>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(Pin<&mut BufWriter<Socket>>, &mut Context<'_>) -> Poll<Result<T>>,
    ) -> Poll<Result<T>> {
        let (wire, line) = self.parts()?;
        let polled = act(Pin::new(&mut wire.socket), cx);
        if polled.is_pending() {
            return wire.poll_taking(line, cx);
        }
        wire.watch.touch();
        polled
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(wire) = self.wire.take() {
            self.line.give_back(wire);
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let (wire, line) = self.get_mut().parts()?;
        wire.poll_read(line, cx, buf)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let lent = self.get_mut();
        if !lent.line.is_accepted() {
            // The door answers what pingora does not take.
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(lent.poll_output(cx, |socket, cx| socket.poll_write(cx, bytes)))?;
        if let Some(wire) = &mut lent.wire {
            wire.written = wire.written.saturating_add(written as u64);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut()
            .poll_output(cx, |socket, cx| socket.poll_flush(cx))
    }

    /// Flushes only: when to close is for the door to say.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_flush(cx)
    }
}

#[async_trait]
impl Shutdown for Lent {
    async fn shutdown(&mut self) {
        if let Ok((wire, _)) = self.parts() {
            // A client that is gone needs no last bytes.
            let _gone = wire.socket.flush().await;
        }
    }
}

impl UniqueID for Lent {
    fn id(&self) -> UniqueIDType {
        0
    }
}

impl Ssl for Lent {}

impl Peek for Lent {}

impl GetTimingDigest for Lent {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Lent {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Lent {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::super::config::RouteLimits;
    use super::super::line::Patience;
    use super::*;

    /// A connection whose request has come, and its client.
    async fn connected() -> (Wire, TcpStream, Line) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(listener.accept(), client);
        let line = Line::default();
        line.begin(Patience::before_route(&RouteLimits::default()));
        let mut wire = Wire::new(Socket::Tcp(accepted.unwrap().0));
        wire.begin(Framing::Done);
        (wire, client.unwrap(), line)
    }

    async fn leaving(wire: &mut Wire, line: &Line) -> Result<()> {
        std::future::poll_fn(|cx| wire.poll_read(line, cx, &mut ReadBuf::new(&mut [0]))).await
    }

    #[tokio::test]
    async fn who_ends_its_half_long_after_its_request_has_left() {
        let (mut wire, mut client, line) = connected().await;
        wire.complete = Instant::now().checked_sub(PARTING_TIME);
        client.shutdown().await.unwrap();
        assert!(leaving(&mut wire, &line).await.is_ok());
    }

    #[tokio::test]
    async fn who_ends_its_half_with_its_request_is_there_until_it_refuses_what_it_is_sent() {
        let (mut wire, mut client, line) = connected().await;
        // However long this takes.
        wire.complete = Instant::now().checked_add(Duration::from_secs(3600));
        client.shutdown().await.unwrap();
        while wire.half.is_none() {
            let looked = tokio::select! {
                biased;
                left = leaving(&mut wire, &line) => Some(left),
                () = tokio::task::yield_now() => None,
            };
            assert!(looked.is_none(), "{looked:?}");
        }
        wire.send(b"answer").await.unwrap();
        drop(client);
        let left = leaving(&mut wire, &line).await.unwrap_err();
        assert_eq!(left.kind(), ErrorKind::ConnectionReset);
    }
}
