//! The answering half of a stream: lent to pingora for an exchange, and kept by the gateway for what comes after.
//!
//! It sends what it is given as fast as the client takes it. Knows no request.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Error, Reason, SendStream};
use http::Response;

use super::unread::{Piece, Share, Unread, Waiting};

/// Most bytes that a stream asks room for at once.
const ROOM: usize = 16 * 1024;

/// Bytes of an answer that the library keeps for a client without room for them: a small answer is over for us at once,
/// and an exchange costs twenty times as much as what is kept of it.
const KEPT: usize = 4 * 1024;

/// See the head of this file.
#[derive(Debug)]
pub struct Reply {
    respond: SendResponse<Piece>,
    sending: Option<SendStream<Piece>>,
    share: Arc<Share>,
    waiting: Option<Waiting>,
    has_ended: bool,
    /// Bytes that may still be sent whether there is room or not.
    kept: usize,
}

impl Reply {
    /// Nothing was sent yet. What the client leaves of it is counted there.
    pub fn new(respond: SendResponse<Piece>, unread: Arc<Unread>) -> Self {
        Self {
            respond,
            sending: None,
            share: Share::new(unread),
            waiting: None,
            has_ended: false,
            kept: KEPT,
        }
    }

    /// Whether the final head was sent.
    pub fn has_begun(&self) -> bool {
        self.sending.is_some()
    }

    /// Whether all was sent.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Sends an informational head.
    ///
    /// # Errors
    /// The stream is over.
    pub fn inform(&mut self, head: Response<()>) -> Result<(), Error> {
        self.respond.send_informational(head)
    }

    /// Sends the final head; `end`: nothing follows.
    ///
    /// # Errors
    /// The stream is over.
    pub fn begin(&mut self, head: Response<()>, end: bool) -> Result<(), Error> {
        self.sending = Some(self.respond.send_response(head, end)?);
        self.has_ended = end;
        Ok(())
    }

    /// Sends what the client has room for, or is little; ready when that was something, or `bytes` are none.
    pub fn poll_send(
        &mut self,
        bytes: &mut Bytes,
        end: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let Some(sending) = self.sending.as_mut().filter(|_| !self.has_ended) else {
            return Poll::Ready(Err(Reason::STREAM_CLOSED.into()));
        };
        let mut room = bytes.len();
        let is_kept = self.kept.checked_sub(room);
        if let Some(left) = is_kept {
            self.kept = left;
        } else {
            sending.reserve_capacity(bytes.len().min(ROOM));
            room = sending.capacity();
            while room == 0 {
                match sending.poll_capacity(cx) {
                    Poll::Pending => {
                        self.waiting
                            .get_or_insert_with(|| Waiting::new(&self.share));
                        return Poll::Pending;
                    }
                    Poll::Ready(None) => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(Some(Ok(more))) => room = more,
                }
            }
        }
        let mut piece = bytes.split_to(room.min(bytes.len()));
        if is_kept.is_some() {
            // Of its own: as it comes from the upstream, it holds all of a buffer of 64 KiB.
            piece = Bytes::copy_from_slice(&piece);
        }
        let piece = Piece::new(piece, &self.share);
        self.waiting = None;
        let end = end && bytes.is_empty();
        self.has_ended = end;
        Poll::Ready(sending.send_data(piece, end))
    }

    /// Sends all of `bytes`, however long the client takes.
    ///
    /// # Errors
    /// The stream is over.
    pub async fn send(&mut self, mut bytes: Bytes, end: bool) -> Result<(), Error> {
        loop {
            poll_fn(|cx| self.poll_send(&mut bytes, end, cx)).await?;
            if bytes.is_empty() {
                return Ok(());
            }
        }
    }

    /// Ready once the client has taken its request back, or is gone.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sending {
            Some(sending) => sending.poll_reset(cx).map(drop),
            None => self.respond.poll_reset(cx).map(drop),
        }
    }

    /// Ends the stream, and forgets what is still to be sent.
    pub fn reset(&mut self, reason: Reason) {
        self.has_ended = true;
        self.waiting = None;
        match &mut self.sending {
            Some(sending) => sending.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}
