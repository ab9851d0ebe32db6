//! The door on every listener: it reads each head itself, under one deadline, judges the raw bytes, lends the
//! connection to pingora for one exchange, and answers every refusal with the one table of answers.
//!
//! It knows no route and no key: what may pass is decided behind it.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::{Buf, Bytes};
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::date::get_cached_date;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::sync::Semaphore;
use tokio::time::{Instant as Deadline, timeout};

use super::clients::Clients;
use super::config::Limits;
use super::connections::{Connections, Presence};
use super::exchange::Exchange;
use super::framing::Framing;
use super::head::{Head, Malformed, Scan, is_long_line, plain_target, scan};
use super::http2;
use super::introduction::{CLIENT_FULL, Rejected};
use super::line::{Line, Patience, Wait, deadline_after};
use super::rate::Standing;
use super::regime::Regime;
use super::respond::Answer;
use super::service::Service;
use super::socket::{Peer, Socket};
use super::trace::Trace;
use super::wire::Wire;
use crate::authz::Reason;

/// Bytes that are read at once while a head is awaited.
pub(super) const HEAD_READ: usize = 4096;

/// The body of a refused request is read and forgotten up to so many bytes, for so long, that the connection may go on.
const DRAIN_BYTES: usize = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A client that goes on sending when its connection ends is read up to so many bytes, for so long, and while it never
/// pauses for the time above. Most send a body to its end before they look for an answer, and a reset would take that away.
const LINGER_BYTES: usize = 16 * 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(5);

/// How long a connection that waits for a request still does when the gateway drains.
pub(super) const LAST_WORD: Duration = Duration::from_millis(50);

/// How long a client may take to read an answer of ours.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Bytes of a request that was no request, kept for the log.
const LOGGED_BYTES: usize = 2048;

/// What serves the connections of all listeners.
pub struct Door {
    /// Pingora's part.
    pub proxy: Arc<HttpProxy<Service>>,
    /// The rules in force.
    pub regime: Arc<ArcSwap<Regime>>,
    /// The open connections.
    pub connections: Arc<Connections>,
    /// Whose they are, where that is counted.
    pub clients: Arc<Clients>,
    /// How many more may be told at the same time that there is no room for them.
    pub turned_away: Arc<Semaphore>,
    /// Turns when the gateway drains.
    pub shutdown: ShutdownWatch,
}

/// What the wait for a head comes to.
enum Arrival {
    /// A request.
    Request(Head),
    /// The beginning of HTTP/2.
    Http2(Deadline),
    /// Something else, or too slowly.
    Refused(Malformed),
    /// The client left in the middle of a head.
    Left,
    /// Nothing more, or too late.
    Nothing,
}

/// One connection as the door serves it.
struct Visit<'a> {
    door: &'a Arc<Door>,
    peer: Peer,
    presence: &'a Presence,
    line: Arc<Line>,
}

impl Door {
    /// Serves a connection until it ends.
    pub async fn serve(self: Arc<Self>, socket: Socket, peer: Peer, presence: Presence) {
        let mut wire = Wire::new(socket);
        let (peer, _place) = match self.introduced(&mut wire, peer, &presence).await {
            Ok(Some(introduced)) => introduced,
            Ok(None) => return,
            Err(Rejected::Nameless(client, detail)) => {
                return self.turn_down(wire, client, detail).await;
            }
            Err(Rejected::Full(client)) => {
                drop(presence);
                return self.turn_away(wire, client, CLIENT_FULL).await;
            }
        };
        let visit = Visit {
            door: &self,
            peer,
            presence: &presence,
            line: Arc::new(Line::new(Arc::clone(presence.seat()))),
        };
        let mut wire = Some(wire);
        let mut first = true;
        while let Some(open) = wire.take() {
            wire = visit.request(open, first).await;
            first = false;
        }
    }
}

impl Drop for Visit<'_> {
    /// An exchange that was given up, because the task is being ended, is counted and logged all the same.
    fn drop(&mut self) {
        drop(self.line.take_over());
    }
}

impl Visit<'_> {
    /// One request, from its first byte to its end. The connection comes back where there may be another one.
    async fn request(&self, mut wire: Wire, first: bool) -> Option<Wire> {
        let (arrival, started) = self.head(&mut wire, first).await;
        match arrival {
            Arrival::Nothing => return None,
            Arrival::Http2(deadline) => {
                self.http2(wire, deadline).await;
                return None;
            }
            Arrival::Request(_) | Arrival::Refused(_) | Arrival::Left => {}
        }
        // Only now: the rules may have changed while nothing came.
        let regime = self.door.regime.load_full();
        let line = Arc::clone(&self.line);
        let client = self.peer.client.clone();
        let mut exchange = Box::new(Exchange::begin(regime, line, client, started));
        exchange.trust(&self.peer);
        match arrival {
            Arrival::Request(head) => self.exchange(wire, head, exchange).await,
            Arrival::Refused(Malformed { reason, detail }) => {
                exchange.trace = Some(Trace::of_raw(&wire.inbox));
                keep_for_log(&mut exchange, &wire.inbox);
                exchange.refuse(reason, Some(detail));
                close_with(wire, exchange).await;
                None
            }
            Arrival::Left => {
                keep_for_log(&mut exchange, &wire.inbox);
                exchange.client_left = true;
                exchange.finish();
                None
            }
            Arrival::Http2(_) | Arrival::Nothing => None,
        }
    }

    /// The rest of the connection is HTTP/2.
    async fn http2(&self, wire: Wire, first: Deadline) {
        let (socket, ahead) = wire.into_parts();
        http2::serve(self.door, socket, ahead, &self.peer, self.presence, first).await;
    }

    /// Waits for a whole head: for its first byte as long as a connection may be idle, then for all of it under one
    /// deadline, however the bytes drip. A new connection's deadline runs from the beginning.
    async fn head(&self, wire: &mut Wire, first: bool) -> (Arrival, Instant) {
        let mut deadline = None;
        if wire.inbox.is_empty() {
            let (wait, limit) = self.first_wait(first);
            let first_byte = deadline_after(limit);
            deadline = first.then_some(first_byte);
            let read = tokio::select! {
                biased;
                read = wire.fill(wait, first_byte, HEAD_READ) => read,
                // What the client sent before it could know is answered.
                () = self.presence.until_draining() => {
                    wire.fill(wait, deadline_after(LAST_WORD), HEAD_READ).await
                }
            };
            if !matches!(read, Ok(1..)) {
                return (Arrival::Nothing, Instant::now());
            }
        }
        let started = Instant::now();
        let regime = self.door.regime.load_full();
        let limits = &regime.rules.limits;
        let begins_http2 = first && self.peer.listener.h2c;
        let deadline = deadline.unwrap_or_else(|| deadline_after(limits.header_timeout));
        (
            whole_head(wire, limits, deadline, begins_http2).await,
            started,
        )
    }

    fn first_wait(&self, first: bool) -> (Wait, Duration) {
        let limits = &self.door.regime.load().rules.limits;
        if first {
            (Wait::Head, limits.header_timeout)
        } else {
            (Wait::Request, limits.keep_alive)
        }
    }

    /// Lends the connection to pingora for one request and looks at what became of it.
    async fn exchange(
        &self,
        mut wire: Wire,
        mut head: Head,
        mut exchange: Box<Exchange>,
    ) -> Option<Wire> {
        let route = &exchange.regime.rules.limits.route;
        self.line.begin(Patience::before_route(route));
        let bytes = plain_target(wire.inbox.split_to(head.bytes), &mut head);
        exchange.method = head.method.clone();
        exchange.target = head.target.clone();
        wire.begin(head.framing);
        self.line.hand_over(exchange);

        let lent = super::wire::Lent::new(wire, Arc::clone(&self.line));
        let mut session = ServerSession::new_http1(Box::new(lent));
        session.set_read_timeout(None);
        session.set_pipelined_prefix(bytes);
        session.set_connection_user_context(Some(Box::new(Arc::clone(&self.line))));
        let door = self.door;
        let seat = self.presence.seat();
        let ended = tokio::select! {
            biased;
            reason = seat.until_told() => Err(reason),
            reused = door.proxy.process_new_http(session, &door.shutdown) => Ok(reused.is_some()),
        };
        // What could still have sent something is gone.
        seat.leave();

        let wire = self.line.take_back()?;
        let mut exchange = self.line.take_over()?;
        let reusable = match ended {
            Ok(reusable) => reusable,
            Err(_) if self.line.is_responding() => {
                exchange.cut = true;
                wire.reset();
                return None;
            }
            Err(reason) => {
                exchange.refuse_dead(reason);
                false
            }
        };
        let unanswered = !exchange.client_left && !self.line.is_responding();
        if exchange.denial().is_some() && unanswered {
            return self.refuse(wire, &head, exchange).await;
        }
        let complete = !exchange.client_left && !exchange.cut;
        exchange.finish();
        if reusable && wire.framing.is_done() && head.keep_alive {
            return Some(wire);
        }
        // Of what came behind it nothing is answered; unread, it would take this answer away.
        if complete && !(wire.framing.is_done() && wire.inbox.is_empty()) {
            linger(wire).await;
        }
        None
    }

    /// Answers a refusal. The connection goes on if the client wants that and its body can be got rid of.
    async fn refuse(&self, mut wire: Wire, head: &Head, exchange: Box<Exchange>) -> Option<Wire> {
        let drainable = match wire.framing {
            Framing::Done => true,
            Framing::Length(left) => left <= DRAIN_BYTES as u64 && !head.expects_continue,
            // How long they are nobody can say; unless they are here already, the end of the connection is announced.
            Framing::Chunked(_) => !self.line.is_spoilt() && wire.discard_read(),
            Framing::Tunnel => false,
        };
        let in_time = !matches!(self.line.expired(), Some(Wait::Body | Wait::Rate));
        let goes_on =
            head.keep_alive && drainable && in_time && !self.door.connections.is_draining();
        if !goes_on {
            close_with(wire, exchange).await;
            return None;
        }
        if !answer(&mut wire, exchange, true).await {
            return None;
        }
        let drained = timeout(DRAIN_TIME, wire.discard(DRAIN_BYTES)).await;
        if drained == Ok(true) {
            return Some(wire);
        }
        linger(wire).await;
        None
    }
}

/// Reads until the head is whole. Looks again only when a line that ends the head may have come, so that bytes that
/// drip cost no more than bytes that pour.
///
/// `http2`: they may begin HTTP/2 instead, for as long as they are the beginning of its preface.
async fn whole_head(
    wire: &mut Wire,
    limits: &Limits,
    deadline: Deadline,
    mut http2: bool,
) -> Arrival {
    let mut seen = 0;
    loop {
        if http2 && wire.inbox.starts_with(http2::PREFACE) {
            return Arrival::Http2(deadline);
        }
        http2 &= http2::PREFACE.starts_with(&wire.inbox);
        skip_empty_lines(wire);
        let fresh = wire.inbox.get(seen..).unwrap_or_default();
        let long = wire.inbox.len() > limits.header_bytes || is_long_line(&wire.inbox, limits);
        if http2 {
            // It may still become either.
        } else if seen == 0 || ends_head(fresh) || long {
            match scan(&wire.inbox, limits) {
                Ok(Scan::Whole(head)) => return Arrival::Request(head),
                Ok(Scan::Partial) => {}
                Err(malformed) => return Arrival::Refused(malformed),
            }
        }
        // The line end may straddle two reads. What may have begun HTTP/2 was not looked at.
        seen = if http2 {
            0
        } else {
            wire.inbox.len().saturating_sub(3)
        };
        match wire.fill(Wait::Head, deadline, HEAD_READ).await {
            Ok(0) => return Arrival::Left,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::TimedOut => return too_slow(wire),
            Err(_) => return Arrival::Left,
        }
    }
}

fn too_slow(wire: &Wire) -> Arrival {
    if wire.inbox.is_empty() {
        return Arrival::Nothing;
    }
    Arrival::Refused(Malformed {
        reason: Reason::RequestTimeout,
        detail: "the head was not complete in time",
    })
}

/// Empty lines before a request are left-overs of some clients (RFC 9112, section 2.2).
fn skip_empty_lines(wire: &mut Wire) {
    while wire.inbox.starts_with(b"\r\n") {
        wire.inbox.advance(2);
    }
}

fn ends_head(fresh: &[u8]) -> bool {
    fresh.windows(2).any(|pair| pair == b"\n\n") || fresh.windows(3).any(|three| three == b"\n\r\n")
}

/// Keeps what looks like a method and a target of something that is no request.
fn keep_for_log(exchange: &mut Exchange, inbox: &[u8]) {
    let line = inbox
        .get(..inbox.len().min(LOGGED_BYTES))
        .unwrap_or_default();
    let line = line
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let method = words.next().map_or(0, <[u8]>::len);
    let target = words.next().map_or(0, <[u8]>::len);
    exchange.head = Bytes::copy_from_slice(line);
    exchange.method = 0..method;
    let start = method.saturating_add(1);
    exchange.target = start..start.saturating_add(target);
}

/// The answer to the refusal of an exchange, where it was refused.
pub(super) fn answer_to(exchange: &mut Exchange) -> Option<Answer> {
    let mut answer = Answer::to_denial(exchange.denial()?, exchange.regime.rules.errors);
    for (name, value) in exchange.trace().lines() {
        answer.header(name, value.to_str().unwrap_or_default().to_owned());
    }
    for (name, value) in exchange.standing.iter().flat_map(Standing::lines) {
        answer.header(name, value.to_string());
    }
    let date = get_cached_date();
    answer.header("date", date.to_str().unwrap_or_default().to_owned());
    Some(answer)
}

/// Answers the refusal of an exchange and finishes it. `false`: the client does not read.
async fn answer(wire: &mut Wire, mut exchange: Box<Exchange>, keep_alive: bool) -> bool {
    let Some(answer) = answer_to(&mut exchange) else {
        return false;
    };
    let bodiless = exchange.method() == b"HEAD";
    let bytes = answer.to_wire(keep_alive, bodiless);
    exchange.bytes_out = if bodiless { 0 } else { answer.body_bytes() };
    // Before it is sent, so that whoever has the answer finds it counted.
    exchange.finish();
    matches!(timeout(ANSWER_TIME, wire.send(&bytes)).await, Ok(Ok(())))
}

/// Answers the refusal of an exchange and closes its connection.
pub(super) async fn close_with(mut wire: Wire, exchange: Box<Exchange>) {
    if answer(&mut wire, exchange, false).await {
        linger(wire).await;
    }
}

/// Closes a connection whose client may still be sending, so that it can read what it was answered.
async fn linger(mut wire: Wire) {
    // A client that goes on sending is cut off.
    let _cut_off = timeout(LINGER_TIME, wire.linger(LINGER_BYTES, DRAIN_TIME)).await;
}
