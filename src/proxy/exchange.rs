//! One request from its head to its end: what was decided, where it went, how it ended.
//!
//! The door makes it, pingora's callbacks fill it in, the door finishes it. One that is dropped unfinished, because a
//! callback panicked or the connection was cut, is still counted and logged. It decides nothing.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::config::ListenerConfig;
use super::line::{Line, Wait};
use super::observe;
use super::origin::Claims;
use super::rate::Standing;
use super::regime::Regime;
use super::socket::{Client, Peer};
use super::trace::Trace;
use super::upstream::{Chosen, Tried};
use crate::authz::{Denial, Permit, Principal, Reason, RouteId, Timestamp};
use crate::telemetry::Outcome;

/// How a request stands.
#[derive(Debug)]
pub enum Verdict {
    /// It may be forwarded.
    Permitted(Permit),
    /// It is refused, by decision or by what happened since.
    Refused(Denial),
}

/// One request.
#[derive(Debug)]
pub struct Exchange {
    /// The rules that hold for it from beginning to end.
    pub regime: Arc<Regime>,
    /// Its connection.
    pub line: Arc<Line>,
    /// Who sent it, as far as that is known.
    pub client: Client,
    /// Who opened the connection that it came by.
    pub peer: Client,
    /// Whether its sender may say for whom it asks.
    pub trusted: bool,
    /// The listener whose trusted proxies its sender is one of.
    pub vouched: Option<Arc<ListenerConfig>>,
    /// What such a proxy says of where it came from.
    pub claims: Option<Box<Claims>>,
    /// Its place among the requests of its route, where they are counted.
    pub place: Option<OwnedSemaphorePermit>,
    /// How its sender stands with the rate of its route, where there is one.
    pub standing: Option<Standing>,
    /// When its first byte was there.
    pub started: Instant,
    /// The same by the calendar.
    pub time: Timestamp,
    /// Its head, or what came of one.
    pub head: Bytes,
    /// Where the method is in the head.
    pub method: Range<usize>,
    /// Where the target is in the head.
    pub target: Range<usize>,
    /// What it is called in other logs, once its headers were read.
    pub trace: Option<Trace>,
    /// How it stands.
    pub verdict: Verdict,
    /// The route, once one was chosen.
    pub route: Option<RouteId>,
    /// The key, once one was known.
    pub principal: Option<Arc<Principal>>,
    /// The canonical target to forward, where it is not the one received.
    pub forward_target: Option<String>,
    /// What the decision took.
    pub decision: Option<Duration>,
    /// The status that the upstream answered.
    pub upstream_status: Option<u16>,
    /// Informational responses of the upstream so far.
    pub informational: u32,
    /// Its way to an upstream.
    pub forward: Forward,
    /// Bytes of the request's body that were taken.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were sent.
    pub bytes_out: u64,
    /// Whether the client left before the end.
    pub client_left: bool,
    /// Whether the answer has begun and not ended.
    pub cut: bool,
    finished: bool,
}

/// A request's way to its upstream.
#[derive(Debug, Default)]
pub struct Forward {
    /// Endpoints tried so far.
    pub tried: Tried,
    /// Attempts made so far.
    pub attempts: u32,
    /// The endpoint of this attempt.
    pub chosen: Option<Chosen>,
    /// When the endpoint was chosen.
    pub since: Option<Instant>,
    /// From choosing the endpoint to the head of its answer.
    pub took: Option<Duration>,
    /// The upstream, by position.
    pub upstream: Option<usize>,
    /// Whether this attempt ended in a response that is a reason to try again.
    pub again: bool,
    /// Whether the upstream was asked to switch protocols.
    pub asks_to_switch: bool,
}

impl Exchange {
    /// A request of which nothing is known but that it began: malformed, unless something better is found out.
    pub fn begin(regime: Arc<Regime>, line: Arc<Line>, client: Client, started: Instant) -> Self {
        let time = regime.commons.now();
        Self {
            regime,
            line,
            peer: client.clone(),
            client,
            trusted: false,
            vouched: None,
            claims: None,
            place: None,
            standing: None,
            started,
            time,
            head: Bytes::new(),
            method: 0..0,
            target: 0..0,
            trace: None,
            verdict: Verdict::Refused(Denial::new(Reason::MalformedRequest)),
            route: None,
            principal: None,
            forward_target: None,
            decision: None,
            upstream_status: None,
            informational: 0,
            forward: Forward::default(),
            bytes_in: 0,
            bytes_out: 0,
            client_left: false,
            cut: false,
            finished: false,
        }
    }

    /// Believes of its sender what whoever opened the connection is trusted with.
    pub fn trust(&mut self, peer: &Peer) {
        self.trusted = peer.trusted;
        self.vouched = peer.vouched();
    }

    /// The method as received.
    pub fn method(&self) -> &[u8] {
        self.head.get(self.method.clone()).unwrap_or_default()
    }

    /// The target as received.
    pub fn target(&self) -> &[u8] {
        self.head.get(self.target.clone()).unwrap_or_default()
    }

    /// The permit, where there is one.
    pub fn permit(&self) -> Option<&Permit> {
        match &self.verdict {
            Verdict::Permitted(permit) => Some(permit),
            Verdict::Refused(_) => None,
        }
    }

    /// The refusal, where there is one.
    pub fn denial(&self) -> Option<&Denial> {
        match &self.verdict {
            Verdict::Refused(denial) => Some(denial),
            Verdict::Permitted(_) => None,
        }
    }

    /// What it is called in other logs, made now if its headers were not read.
    pub fn trace(&mut self) -> &Trace {
        self.trace.get_or_insert_with(Trace::made)
    }

    /// Refuses it for what happened after, or instead of, a decision.
    pub fn refuse(&mut self, reason: Reason, detail: Option<&'static str>) {
        self.verdict = Verdict::Refused(Denial {
            route: self.route,
            detail,
            ..Denial::new(reason)
        });
    }

    /// Refuses it because the key that it was permitted by has died since.
    pub fn refuse_dead(&mut self, reason: Reason) {
        self.verdict = Verdict::Refused(Denial {
            route: self.route,
            principal: self.principal.clone(),
            credential_shown: true,
            ..Denial::new(reason)
        });
    }

    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        match (&self.verdict, self.client_left, self.upstream_status) {
            (Verdict::Refused(denial), false, _) => Outcome::Refused(denial.reason),
            (Verdict::Refused(_), true, _) => Outcome::Abandoned,
            (Verdict::Permitted(_), true, _) => Outcome::CLIENT_LEFT,
            (_, false, Some(status)) => Outcome::Allowed(status),
            (_, false, None) => Outcome::Refused(Reason::InternalError),
        }
    }

    /// Counts and logs it.
    pub fn finish(mut self) {
        self.observe();
    }

    fn observe(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            if self.cut {
                self.regime.commons.metrics.stream_ended();
            }
            if self.line.expired() == Some(Wait::Rate) {
                self.regime.commons.metrics.slow_client();
            }
            self.trace();
            observe::finished(self);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.finished {
            if std::thread::panicking() {
                self.refuse(Reason::InternalError, None);
            }
            self.observe();
        }
    }
}
