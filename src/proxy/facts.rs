//! From a request that was read to a decision: facts, route, key, judgement; and what of it the exchange keeps.
//!
//! Synchronous from end to end: where the source of keys must be asked first, it says so, and decides when there is an
//! answer. It answers nothing and forwards nothing.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use http::header::HOST;
use pingora::http::RequestHeader;

use super::exchange::{Exchange, Verdict};
use super::line::Patience;
use super::live::{InUse, Seat, end_of};
use super::origin::Claims;
use super::rate::Standing;
use super::regime::{Commons, Regime};
use super::socket::Client;
use super::trace::Trace;
use crate::authz::{Admission, Decision, Denial, KeyLookup, PresentedKey, Reason, RequestFacts};
use crate::replica::{Asked, Asking, Settled};

/// Decides about the request and notes the decision in the exchange; or gives the question that must be answered
/// before, and whose answer is then the argument of another call.
pub fn decide(
    exchange: &mut Exchange,
    request: &RequestHeader,
    asked: Option<Asked>,
) -> Option<Asking> {
    let began = Instant::now();
    if asked.is_none() {
        exchange.trace = Some(Trace::of(&request.headers));
    }
    let regime = Arc::clone(&exchange.regime);
    let host = request
        .headers
        .get(HOST)
        .map_or(&b""[..], |host| host.as_bytes());
    let headers = &request.headers;
    let origin = match asked {
        None => take_claims(exchange, headers),
        Some(_) => Ok(()),
    };
    let named = exchange.trusted && regime.hygiene.names_identity(headers);
    let facts = RequestFacts::new(&request.method, host, exchange.target(), headers)
        .map(|facts| facts.with_trusted_identity(named));
    let (decision, standing, forward_target) = match (&facts, origin) {
        (Err(invalid), _) => (malformed(invalid.0), None, None),
        (Ok(_), Err(detail)) => (malformed(detail), None, None),
        (Ok(facts), Ok(())) => {
            let decision = match judge(&regime, facts, exchange, asked) {
                Ok(decision) => decision,
                Err(asking) => return Some(asking),
            };
            let (decision, standing) = keep_to_rate(&regime, &exchange.client, decision);
            let target = forward_target(&regime, facts, &decision, exchange.target());
            (decision, standing, target)
        }
    };
    exchange.forward_target = forward_target;
    exchange.standing = standing;
    let took = began.elapsed();
    exchange.decision = Some(took);
    regime.commons.metrics.decided(took);
    note(exchange, decision);
    None
}

/// Takes up what a trusted proxy says of where the request came from.
fn take_claims(exchange: &mut Exchange, headers: &HeaderMap) -> Result<(), &'static str> {
    let Some(listener) = &exchange.vouched else {
        return Ok(());
    };
    let claims = Claims::read(headers, &listener.trusted_proxies)?;
    if let Some(client) = claims.named() {
        exchange.client = client;
    }
    exchange.claims = Some(Box::new(claims));
    Ok(())
}

fn malformed(detail: &'static str) -> Decision {
    Decision::Deny(Denial {
        detail: Some(detail),
        ..Denial::new(Reason::MalformedRequest)
    })
}

/// The decision, or the question without whose answer there is none.
fn judge(
    regime: &Regime,
    facts: &RequestFacts<'_>,
    exchange: &Exchange,
    asked: Option<Asked>,
) -> Result<Decision, Asking> {
    let rulebook = &regime.rules.rulebook;
    let pending = match rulebook.admit(facts) {
        Admission::Decided(decision) => return Ok(decision),
        Admission::NeedsKey(pending) => pending,
    };
    let lookup = look_up(regime, &pending.key, exchange.line.seat(), asked)?;
    Ok(rulebook.conclude(&pending, lookup, facts, exchange.time))
}

/// One snapshot a request. A live key takes its seat among those in flight; if the snapshot has been swapped by then,
/// whoever swapped it may not have seen that, and the key is looked up in the new one. It is the same with the time for
/// which the copy may be acted on.
fn look_up(
    regime: &Regime,
    key: &PresentedKey<'_>,
    seat: &Seat,
    asked: Option<Asked>,
) -> Result<KeyLookup, Asking> {
    let Commons {
        replica, source, ..
    } = &*regime.commons;
    loop {
        let Some(snapshot) = replica.pin() else {
            return Ok(KeyLookup::Unavailable);
        };
        let (secret, found) = replica.find(&snapshot, key);
        let lookup = match asked {
            Some(asked) => asked.settle(found),
            None => match source.settle(key, &secret, found) {
                Settled::Now(lookup) => lookup,
                Settled::Ask(asking) => return Err(asking),
            },
        };
        let KeyLookup::Found {
            principal,
            retired_at,
        } = &lookup
        else {
            return Ok(lookup);
        };
        seat.take(InUse {
            principal: Arc::clone(principal),
            secret,
            other: replica.other(key, &secret),
            ends: end_of(principal, *retired_at),
        });
        if source.lasts().is_zero() {
            return Ok(KeyLookup::Unavailable);
        }
        if replica.is_present(&snapshot) {
            return Ok(lookup);
        }
    }
}

/// A permitted request takes of its sender's share, and is one too many where nothing is left of it. Only now, so that
/// nobody takes of the share of a key who does not hold it.
fn keep_to_rate(
    regime: &Regime,
    client: &Client,
    decision: Decision,
) -> (Decision, Option<Standing>) {
    let Decision::Allow(permit) = decision else {
        return (decision, None);
    };
    let key = permit.principal().map(|principal| &**principal);
    let standing = regime.rates.take(permit.route(), key, client);
    if !standing.is_some_and(|standing| standing.is_exceeded()) {
        return (Decision::Allow(permit), standing);
    }
    match regime.rules.rulebook.beyond_rate(permit) {
        // In shadow: the client need not know.
        passes @ Decision::Allow(_) => (passes, None),
        refused @ Decision::Deny(_) => (refused, standing),
    }
}

/// The canonical target without keys in it, where it is not what was received anyway.
fn forward_target(
    regime: &Regime,
    facts: &RequestFacts<'_>,
    decision: &Decision,
    received: &[u8],
) -> Option<String> {
    let Decision::Allow(permit) = decision else {
        return None;
    };
    let path = facts.path.canonical();
    let query = facts.query.as_str();
    let cleaned = query
        .filter(|_| !permit.forwards_key())
        .and_then(|query| regime.hygiene.anyones.clean_query(query));
    let query = cleaned.as_deref().or(query);
    let length = path.len() + query.map_or(0, |query| query.len() + 1);
    let canonical = received.starts_with(path.as_bytes()) && received.len() == length;
    if canonical && cleaned.is_none() {
        return None;
    }
    Some(match query {
        Some(query) if !(query.is_empty() && cleaned.is_some()) => format!("{path}?{query}"),
        Some(_) | None => path.to_owned(),
    })
}

/// Keeps of the decision what the rest of the exchange needs.
fn note(exchange: &mut Exchange, decision: Decision) {
    match decision {
        Decision::Allow(permit) => {
            exchange.route = Some(permit.route());
            if permit.principal().is_none() {
                exchange.line.seat().give_up();
            }
            exchange.principal = permit.principal().cloned();
            count_pass(exchange, &permit);
            set_patience(exchange);
            exchange.verdict = Verdict::Permitted(permit);
        }
        Decision::Deny(denial) => {
            exchange.route = denial.route;
            exchange.principal = denial.principal.clone();
            exchange.verdict = Verdict::Refused(denial);
        }
    }
}

fn count_pass(exchange: &Exchange, permit: &crate::authz::Permit) {
    let commons = &exchange.regime.commons;
    if let Some(principal) = permit.principal() {
        commons.replica.record_use(&principal.id, exchange.time);
    }
    if let Some(kind) = permit.unjudged() {
        exchange.regime.routes.unauthenticated(permit.route(), kind);
    }
}

/// From here on the limits of the route hold.
fn set_patience(exchange: &Exchange) {
    let settings = exchange
        .route
        .and_then(|route| exchange.regime.route(route));
    if let Some(settings) = settings {
        let took = exchange.started.elapsed();
        exchange.line.set_patience(Patience {
            body: settings.limits.body_timeout,
            request: settings.limits.request_timeout.saturating_sub(took),
            first_byte: settings.timeouts.first_byte,
            stream: settings.limits.stream_idle,
            total: settings
                .limits
                .total_timeout
                .map(|total| total.saturating_sub(took)),
            rate: settings.limits.min_rate,
        });
    }
}
