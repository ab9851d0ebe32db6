//! One stream of a connection, from its head to its end: judged, forwarded and refused as a request of HTTP/1.1 is, by
//! the same service, with the same answers.
//!
//! It decides nothing and knows no frame.

use std::sync::Arc;
use std::time::{Duration, Instant};

use h2::RecvStream;
use http::Request;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use pingora::apps::HttpServerApp as _;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use tokio::time::timeout;

use super::super::config::Limits;
use super::super::connections::StreamPlace;
use super::super::door::{ANSWER_TIME, Door, answer_to};
use super::super::exchange::Exchange;
use super::super::head::Malformed;
use super::super::line::{Line, Patience};
use super::super::socket::Peer;
use super::super::trace::Trace;
use super::head::{self, Line as RequestLine};
use super::lent::{Lent, Shelf, take_back};
use super::reply::Reply;
use crate::authz::Reason;

/// What a request header carries to the service: where its exchange is.
#[derive(Debug, Clone)]
pub struct Handed(pub Arc<Line>);

/// One request on its stream.
pub struct Visit {
    door: Arc<Door>,
    place: Option<StreamPlace>,
    line: Arc<Line>,
}

impl Drop for Visit {
    /// An exchange that was given up, because its connection ended, is counted and logged all the same.
    fn drop(&mut self) {
        if let Some(mut exchange) = self.line.take_over() {
            exchange.client_left = !std::thread::panicking();
        }
    }
}

impl Visit {
    /// Serves a stream until it ends. `is_cut`: its path had a fragment.
    pub async fn serve(
        door: Arc<Door>,
        peer: Peer,
        request: Request<RecvStream>,
        is_cut: bool,
        reply: Reply,
    ) {
        let started = Instant::now();
        let regime = door.regime.load_full();
        let place = door
            .connections
            .begin_stream(regime.rules.limits.connections);
        let seat = place.as_ref().map(|place| Arc::clone(place.seat()));
        let line = Arc::new(Line::new(seat.unwrap_or_default()));
        let mut exchange = Box::new(Exchange::begin(
            regime,
            Arc::clone(&line),
            peer.client.clone(),
            started,
        ));
        exchange.trust(&peer);
        let visit = Self { door, place, line };
        visit.request(request, is_cut, reply, exchange).await;
    }

    /// Counts and logs a request whose connection ended before it began.
    pub fn given_up(door: &Door, peer: &Peer, request: &Request<RecvStream>) {
        let (regime, line) = (door.regime.load_full(), Arc::default());
        let client = peer.client.clone();
        let mut exchange = Exchange::begin(regime, line, client, Instant::now());
        exchange.trust(peer);
        let asked = RequestLine::of(request.method(), request.uri());
        (exchange.head, exchange.method, exchange.target) =
            (asked.text, asked.method, asked.target);
        exchange.trace = Some(Trace::of(request.headers()));
        exchange.client_left = true;
        exchange.finish();
    }

    async fn request(
        &self,
        request: Request<RecvStream>,
        is_cut: bool,
        reply: Reply,
        mut exchange: Box<Exchange>,
    ) {
        let regime = Arc::clone(&exchange.regime);
        let limits = &regime.rules.limits;
        let (parts, mut body) = request.into_parts();
        let RequestLine {
            text,
            method,
            target,
        } = RequestLine::of(&parts.method, &parts.uri);
        let asked = RequestLine {
            text: text.clone(),
            method: method.clone(),
            target: target.clone(),
        };
        (exchange.head, exchange.method, exchange.target) = (text, method, target);
        let trace = Trace::of(&parts.headers);
        let judged = if is_cut {
            Err(malformed("a target has no fragment"))
        } else {
            self.judge(parts, &asked, &mut body, limits).await
        };
        match judged {
            Ok(mut head) => {
                self.line.begin(Patience::before_route(&limits.route));
                self.line.hand_over(exchange);
                head.extensions_mut().insert(Handed(Arc::clone(&self.line)));
                let shelf = Shelf::default();
                let lent = Lent::new(
                    head,
                    body,
                    reply,
                    Arc::clone(&self.line),
                    Arc::clone(&shelf),
                );
                self.exchange(lent, &shelf).await;
            }
            Err(Malformed { reason, detail }) => {
                drop(body);
                exchange.trace = Some(trace);
                exchange.refuse(reason, Some(detail));
                refuse(reply, exchange).await;
            }
        }
    }

    /// Judges a head, and the body where it says that there is none.
    async fn judge(
        &self,
        parts: Parts,
        asked: &RequestLine,
        body: &mut RecvStream,
        limits: &Limits,
    ) -> Result<RequestHeader, Malformed> {
        if self.place.is_none() {
            return Err(Malformed {
                reason: Reason::Overloaded,
                detail: "too many requests are open",
            });
        }
        let head = head::judge(parts, asked, limits)?;
        let length = head.headers.get(CONTENT_LENGTH);
        if length.is_some_and(|length| length == "0") {
            check_empty(body, limits.route.body_timeout).await?;
        }
        Ok(head)
    }

    /// Lends the stream to pingora and looks at what became of it.
    async fn exchange(&self, lent: Lent, shelf: &Shelf) {
        let seat = self.line.seat();
        let session = ServerSession::new_custom(Box::new(lent));
        let door = &self.door;
        let told = tokio::select! {
            biased;
            reason = seat.until_told() => Some(reason),
            _ = door.proxy.process_new_http(session, &door.shutdown) => None,
        };
        let (Some(mut reply), Some(mut exchange)) = (take_back(shelf), self.line.take_over())
        else {
            seat.leave();
            return;
        };
        if let Some(reason) = told {
            if reply.has_begun() {
                // Before the seat is left: who told it may answer then that nothing more passes.
                reply.reset(h2::Reason::CANCEL);
                exchange.cut = true;
            } else {
                exchange.refuse_dead(reason);
            }
        }
        seat.leave();
        let unanswered = !exchange.client_left && !reply.has_begun();
        if exchange.denial().is_some() && unanswered {
            refuse(reply, exchange).await;
            return;
        }
        if !reply.has_ended() {
            reply.reset(h2::Reason::INTERNAL_ERROR);
        }
        exchange.finish();
    }
}

const fn malformed(detail: &'static str) -> Malformed {
    Malformed {
        reason: Reason::MalformedRequest,
        detail,
    }
}

/// Checks that a body that was announced as empty is: of any other, the upstream notices that it is not whole.
async fn check_empty(body: &mut RecvStream, limit: Duration) -> Result<(), Malformed> {
    while !body.is_end_stream() {
        match timeout(limit, body.data()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(piece))) if piece.is_empty() => {}
            Ok(Some(_)) => return Err(malformed("there is a body where none was announced")),
            Err(_) => {
                return Err(Malformed {
                    reason: Reason::RequestTimeout,
                    detail: "the end of an empty body did not come in time",
                });
            }
        }
    }
    Ok(())
}

/// Answers the refusal of an exchange and finishes it.
async fn refuse(mut reply: Reply, mut exchange: Box<Exchange>) {
    let Some(answer) = answer_to(&mut exchange) else {
        return;
    };
    let bodiless = exchange.method() == b"HEAD";
    let (head, body) = answer.to_response();
    exchange.bytes_out = if bodiless { 0 } else { answer.body_bytes() };
    // Before it is sent, so that whoever has the answer finds it counted; and what was asked is not kept for a client
    // that does not read.
    exchange.finish();
    let sent = async {
        reply.begin(head, bodiless)?;
        if bodiless {
            return Ok(());
        }
        reply.send(body, true).await
    };
    let sent: Result<Result<(), h2::Error>, _> = timeout(ANSWER_TIME, sent).await;
    if !matches!(sent, Ok(Ok(()))) {
        reply.reset(h2::Reason::CANCEL);
    }
}
