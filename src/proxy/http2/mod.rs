//! HTTP/2 on a connection that began with its preface: each stream is one request, served as one of HTTP/1.1 is.
//!
//! The library reads frames and headers; here are the bounds of a connection, and how it ends. Knows no route and no key.

mod fields;
mod frames;
mod guard;
mod head;
mod lent;
mod reply;
mod stream;
mod unread;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::config::Limits;
use super::connections::Presence;
use super::door::Door;
use super::line::deadline_after;
use super::socket::{Peer, Socket};
use crate::telemetry::ConnectionEnd;
use guard::{END_TIME_MAX, Guard, Verdict};
use reply::Reply;
use stream::Visit;
use unread::{Piece, Start, Stuck, Unread};

pub use stream::Handed;

/// What a client of HTTP/2 begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a header field counts for beside its bytes (RFC 9113, section 6.5.2), and pseudo-headers that are no lines of
/// ours: so much more the library lets through, for us to judge.
const FIELD_EXTRA: usize = 32;
const PSEUDO_HEADERS: usize = 5;

/// Bytes of bodies that a client may send ahead of the upstream: on a stream, and on all of a connection's.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// Bytes of an answer that are kept for a client to take.
const SEND_BUFFER: usize = 16 * 1024;

/// Streams whose end is remembered, for how long, so that what is still on its way to them is told from a mistake.
const RESETS_REMEMBERED: usize = 32;
const RESET_MEMORY: Duration = Duration::from_secs(1);

/// Requests taken back before they were looked at, and streams that the client made us reset by breaking a rule, until
/// the connection ends.
const RESETS_UNSEEN: usize = 20;
const BROKEN_STREAMS: usize = 128;

/// How long streams may take to notice that their connection is over, and a client that no longer asks for anything may
/// stay while the gateway drains.
const LAST_WORD: Duration = Duration::from_secs(1);

/// One connection.
struct Session<'a> {
    door: &'a Arc<Door>,
    peer: &'a Peer,
    presence: &'a Presence,
    connection: Connection<Guard, Piece>,
    verdict: Arc<Verdict>,
    unread: Arc<Unread>,
    stuck: Stuck,
    start: Start,
    /// Requests that may not begin yet.
    held: VecDeque<Begun>,
    streams: JoinSet<()>,
    draining: bool,
    /// Since when there is no stream.
    quiet: Instant,
}

/// A stream of which the head has come.
type Begun = (Request<RecvStream>, SendResponse<Piece>);

/// What a connection waits for.
enum Event {
    Stream(Box<Begun>),
    StreamEnded,
    Drain,
    Idle,
    Broken(h2::Error),
    Verdict(ConnectionEnd),
    /// Of what there is to take, something was taken, or more has come, or the time for it is over.
    Unread,
    /// More may begin.
    More,
    Over,
}

/// Serves a connection of which `ahead` was read, to the preface at least. The client's first frame is due by `first`.
pub async fn serve(
    door: &Arc<Door>,
    socket: Socket,
    ahead: BytesMut,
    peer: &Peer,
    presence: &Presence,
    first: Instant,
) {
    let regime = door.regime.load_full();
    let limits = &regime.rules.limits;
    let guard = Guard::new(socket, ahead, first, limits.header_timeout);
    let verdict = guard.verdict();
    let handshake = options(limits).handshake(guard);
    // The preface is here, and our settings fit into any socket.
    let Ok(Ok(connection)) = timeout(limits.header_timeout, handshake).await else {
        return;
    };
    let stuck = Stuck::new(limits.header_timeout);
    drop(regime);
    let session = Session {
        door,
        peer,
        presence,
        connection,
        verdict,
        unread: Arc::default(),
        stuck,
        start: Start::new(),
        held: VecDeque::new(),
        streams: JoinSet::new(),
        draining: false,
        quiet: Instant::now(),
    };
    session.run().await;
}

/// The library's options: each of its limits, stated.
fn options(limits: &Limits) -> Builder {
    let fields = limits.headers.saturating_add(PSEUDO_HEADERS);
    let header_list = limits
        .header_bytes
        .saturating_add(fields.saturating_mul(FIELD_EXTRA));
    let number = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
    let mut options = Builder::new();
    options
        .max_concurrent_streams(number(limits.streams))
        .max_header_list_size(number(header_list))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESETS_REMEMBERED)
        .reset_stream_duration(RESET_MEMORY)
        .max_pending_accept_reset_streams(RESETS_UNSEEN)
        .max_local_error_reset_streams(Some(BROKEN_STREAMS));
    options
}

impl Session<'_> {
    async fn run(mut self) {
        let farewell = self.until_over().await;
        for (request, _) in self.held.drain(..) {
            Visit::given_up(self.door, self.peer, &request);
        }
        if let Some(reason) = farewell {
            self.connection.abrupt_shutdown(reason);
            let closed = poll_fn(|cx| self.connection.poll_closed(cx));
            // A client that does not read is cut off.
            let _cut_off = timeout(END_TIME_MAX, closed).await;
        }
        drop(self.connection);
        // Streams notice by themselves, and say how far they came. What takes longer is given up.
        let noticed = async { while self.streams.join_next().await.is_some() {} };
        let _given_up = timeout(LAST_WORD, noticed).await;
    }

    /// Serves until the connection is over, or has to be ended for this reason.
    async fn until_over(&mut self) -> Option<Reason> {
        loop {
            self.begin();
            match self.event().await {
                Event::Stream(begun) => self.take(*begun),
                Event::StreamEnded => self.quiet = Instant::now(),
                Event::Drain => {
                    self.draining = true;
                    self.verdict.end_in_peace();
                    self.quiet = Instant::now();
                    self.connection.graceful_shutdown();
                }
                Event::Over => return None,
                Event::Broken(error) => {
                    if let Some(why) = blame(&error) {
                        self.count(why);
                    }
                    return None;
                }
                Event::Idle if self.draining || !self.unread.is_any() => {
                    self.verdict.end_in_peace();
                    return Some(Reason::NO_ERROR);
                }
                Event::More => {}
                Event::Unread if !self.stuck.is_over(&self.unread, self.held.len()) => {}
                Event::Idle | Event::Unread => return Some(self.blame(ConnectionEnd::Unread)),
                Event::Verdict(why) => return Some(self.blame(why)),
            }
        }
    }

    async fn event(&mut self) -> Event {
        let held = self.held.len();
        let idle = self.streams.is_empty() && held == 0;
        let until = self.quiet_until();
        let stuck = self.stuck.until(&self.unread, held);
        let more = self.start.more_at(held);
        tokio::select! {
            biased;
            Some(_ended) = self.streams.join_next() => Event::StreamEnded,
            accepted = self.connection.accept() => match accepted {
                Some(Ok(begun)) => Event::Stream(Box::new(begun)),
                Some(Err(error)) => Event::Broken(error),
                None => Event::Over,
            },
            why = self.verdict.until_found() => Event::Verdict(why),
            () = self.presence.until_draining(), if !self.draining => Event::Drain,
            () = sleep_until(until), if idle => Event::Idle,
            () = self.unread.until_changed() => Event::Unread,
            () = sleep_until(stuck.unwrap_or(until)), if stuck.is_some() => Event::Unread,
            () = sleep_until(more.unwrap_or(until)), if more.is_some() => Event::More,
        }
    }

    /// How long a connection without streams stays: as long as one may be idle, or as a client may take to read what it
    /// still has to; while the gateway drains, as long as it takes to say so.
    fn quiet_until(&self) -> Instant {
        let regime = self.door.regime.load();
        let limits = &regime.rules.limits;
        let limit = if self.draining {
            LAST_WORD
        } else if self.unread.is_any() {
            limits.route.stream_idle
        } else {
            limits.keep_alive
        };
        self.quiet
            .checked_add(limit)
            .unwrap_or_else(|| deadline_after(limit))
    }

    fn take(&mut self, (request, mut respond): Begun) {
        let streams = self.door.regime.load().rules.limits.streams;
        let open = self.streams.len().saturating_add(self.held.len());
        // Streams that are over for the client may not be for us yet, but not more than there may be.
        if open >= streams.saturating_mul(2) {
            respond.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        self.held.push_back((request, respond));
    }

    /// Begins what may begin.
    fn begin(&mut self) {
        while self.start.may_begin(self.streams.len(), &self.unread) {
            let Some((request, respond)) = self.held.pop_front() else {
                return;
            };
            let (door, peer) = (Arc::clone(self.door), self.peer.clone());
            let is_cut = self.verdict.is_cut(respond.stream_id().as_u32());
            let reply = Reply::new(respond, Arc::clone(&self.unread));
            let visit = Visit::serve(door, peer, request, is_cut, reply);
            self.streams.spawn(visit);
        }
    }

    /// Counts why the connection ends, and says what the client is told.
    fn blame(&self, why: ConnectionEnd) -> Reason {
        self.count(why);
        Reason::ENHANCE_YOUR_CALM
    }

    fn count(&self, why: ConnectionEnd) {
        let regime = self.door.regime.load();
        regime.commons.metrics.connection_ended(why);
    }
}

/// What the client did, where it is to blame.
fn blame(error: &h2::Error) -> Option<ConnectionEnd> {
    if !error.is_library() {
        return None;
    }
    Some(match error.reason() {
        Some(Reason::ENHANCE_YOUR_CALM) => ConnectionEnd::Flood,
        _ => ConnectionEnd::Protocol,
    })
}
