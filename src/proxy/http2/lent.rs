//! A stream as pingora sees it: lent for one exchange, with every wait bounded, and given back however that ends.
//!
//! Pingora's own would wait for a body for ever, and keep the answering half. Knows no route and no key.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use h2::{Reason, RecvStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use http::{Response, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::date::get_cached_date;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};

use super::super::line::{Line, Wait, Watch};
use super::reply::Reply;

/// What pingora calls a channel beside the bodies, of which there is none.
type Messages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// Where a reply is put when its exchange is over.
pub type Shelf = Arc<Mutex<Option<Reply>>>;

/// Takes back what an exchange was lent.
pub fn take_back(shelf: &Shelf) -> Option<Reply> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// See the head of this file.
pub struct Lent {
    head: RequestHeader,
    body: RecvStream,
    /// Whether there never was a body.
    is_empty: bool,
    /// Whether all of the body was read.
    is_read: bool,
    reply: Option<Reply>,
    shelf: Shelf,
    line: Arc<Line>,
    watch: Watch,
    written: Option<Box<ResponseHeader>>,
    bytes_read: usize,
    bytes_sent: usize,
    /// Bytes that the client made room for.
    taken: u64,
}

impl Lent {
    /// Lends a stream.
    pub fn new(
        head: RequestHeader,
        body: RecvStream,
        reply: Reply,
        line: Arc<Line>,
        shelf: Shelf,
    ) -> Self {
        let length = head.headers.get(CONTENT_LENGTH);
        let is_empty = body.is_end_stream() || length.is_some_and(|length| length == "0");
        Self {
            head,
            body,
            is_empty,
            is_read: is_empty,
            reply: Some(reply),
            shelf,
            line,
            watch: Watch::default(),
            written: None,
            bytes_read: 0,
            bytes_sent: 0,
            taken: 0,
        }
    }

    fn reply(&mut self) -> Result<&mut Reply> {
        self.reply
            .as_mut()
            .ok_or_else(|| Error::new_down(ErrorType::InternalError))
    }

    /// The next piece of the body. Trailers are read by nobody and go with the stream.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        match self.body.poll_data(cx) {
            Poll::Pending => {
                let read = self.bytes_read as u64;
                // Once it is answered, what it sends meanwhile is a conversation.
                ready!(if self.line.is_responding() {
                    self.watch.poll(Wait::Body, &self.line, cx)
                } else {
                    self.watch.poll_client(Wait::Body, &self.line, || read, cx)
                });
                Poll::Ready(Err(Error::new_down(ErrorType::ReadTimedout)))
            }
            Poll::Ready(None) => {
                self.is_read = true;
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(left(error))),
            Poll::Ready(Some(Ok(piece))) => {
                self.watch.touch();
                self.bytes_read = self.bytes_read.saturating_add(piece.len());
                self.is_read = self.body.is_end_stream();
                // A stream that is over needs no room.
                let _over = self.body.flow_control().release_capacity(piece.len());
                Poll::Ready(Ok(Some(piece)))
            }
        }
    }

    /// Waits for nothing but the client's leaving, as long as the answer may take.
    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Poll<Box<Error>> {
        let gone = self.reply.as_mut().map(|reply| reply.poll_gone(cx));
        if gone.is_none_or(|gone| gone.is_ready()) {
            return Poll::Ready(Error::new_down(ErrorType::ConnectionClosed));
        }
        let wait = if self.line.is_responding() {
            Wait::Stream
        } else {
            Wait::FirstByte
        };
        ready!(self.watch.poll(wait, &self.line, cx));
        Poll::Ready(Error::new_down(ErrorType::ReadTimedout))
    }

    fn poll_write(
        &mut self,
        bytes: &mut Bytes,
        end: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let length = bytes.len();
        match self.reply()?.poll_send(bytes, end, cx) {
            Poll::Pending => {
                let taken = self.taken;
                let polled = self
                    .watch
                    .poll_client(Wait::Stream, &self.line, || taken, cx);
                ready!(polled);
                Poll::Ready(Err(Error::new_down(ErrorType::WriteTimedout)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(left(error))),
            Poll::Ready(Ok(())) => {
                let taken = length.saturating_sub(bytes.len()) as u64;
                self.taken = self.taken.saturating_add(taken);
                self.watch.touch();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Sends a head. What is a hop's own business in HTTP/1.1 does not exist here.
    fn begin(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::new_up(ErrorType::InvalidHTTPHeader));
        }
        for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
            head.remove_header(&name);
        }
        self.watch.touch();
        if head.status.is_informational() {
            let sent = self.reply()?.inform(response(&head));
            return sent.map_err(left);
        }
        head.insert_header(DATE, get_cached_date())?;
        self.reply()?.begin(response(&head), end).map_err(left)?;
        self.written = Some(head);
        Ok(())
    }

    async fn send(&mut self, mut bytes: Bytes, end: bool) -> Result<()> {
        let length = bytes.len();
        loop {
            poll_fn(|cx| self.poll_write(&mut bytes, end, cx)).await?;
            if bytes.is_empty() {
                self.bytes_sent = self.bytes_sent.saturating_add(length);
                return Ok(());
            }
        }
    }

    async fn end(&mut self) -> Result<()> {
        let reply = self.reply()?;
        if !reply.has_begun() || reply.has_ended() {
            return Ok(());
        }
        self.send(Bytes::new(), true).await
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        *shelf = self.reply.take();
    }
}

fn left(error: h2::Error) -> Box<Error> {
    Error::because(ErrorType::H2Error, "a stream ended", error).into_down()
}

fn response(head: &ResponseHeader) -> Response<()> {
    Response::from_parts(head.as_owned_parts(), ())
}

#[async_trait]
impl Session for Lent {
    fn req_header(&self) -> &RequestHeader {
        &self.head
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.head
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_body(cx)).await
    }

    /// What is left of a body goes with its stream.
    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.begin(head, end)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.begin(Box::new(head.clone()), end)
    }

    async fn write_body(&mut self, bytes: Bytes, end: bool) -> Result<()> {
        self.send(bytes, end).await
    }

    /// As in HTTP/1.1, trailers are not passed on.
    async fn write_trailers(&mut self, _trailers: HeaderMap) -> Result<()> {
        self.end().await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut over = false;
        for task in tasks {
            over |= task.is_end();
            match task {
                HttpTask::Header(head, end) => self.begin(head, end)?,
                HttpTask::Body(Some(bytes), end) if !bytes.is_empty() => {
                    self.send(bytes, end).await?;
                }
                HttpTask::Body(..) | HttpTask::Trailer(_) | HttpTask::Done => {}
                HttpTask::UpgradedBody(..) => {
                    return Err(Error::new_up(ErrorType::InvalidHTTPHeader));
                }
                HttpTask::Failed(error) => return Err(error),
            }
        }
        if over {
            self.end().await?;
        }
        Ok(over)
    }

    /// The limits of the route hold in place of pingora's.
    fn set_read_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_write_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_write_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_total_drain_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        None
    }

    /// For pingora's own log lines, which are not written: targets hold secrets.
    fn request_summary(&self) -> String {
        String::new()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.written.as_deref()
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        if let Some(reply) = &mut self.reply {
            reply.reset(Reason::INTERNAL_ERROR);
        }
    }

    fn is_body_done(&mut self) -> bool {
        self.is_read
    }

    async fn finish(&mut self) -> Result<()> {
        self.end().await
    }

    fn is_body_empty(&mut self) -> bool {
        self.is_empty
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.is_read {
            return Err(poll_fn(|cx| self.poll_leaving(cx)).await);
        }
        self.read_body_bytes().await
    }

    fn body_bytes_sent(&self) -> usize {
        self.bytes_sent
    }

    fn body_bytes_read(&self) -> usize {
        self.bytes_read
    }

    fn digest(&self) -> Option<&Digest> {
        None
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        None
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        None
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        None
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        Bytes::new()
    }

    /// Nothing is kept to be sent again: a request of whose body something was read is sent once.
    fn enable_retry_buffering(&mut self) {}

    fn retry_buffer_truncated(&self) -> bool {
        self.bytes_read > 0
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        None
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<Messages> {
        None
    }

    fn restore_custom_message_reader(&mut self, _reader: Messages) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(
        &mut self,
        _writer: Box<dyn CustomMessageWrite>,
    ) -> Result<()> {
        Ok(())
    }
}
