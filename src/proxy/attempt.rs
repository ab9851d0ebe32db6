//! An exchange on its way to an upstream and back: endpoint, heads in both directions, further attempts, failures.

use std::sync::Arc;
use std::time::Instant;

use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result, RetryType};

use super::config::{Retries, RouteSettings};
use super::descriptors::NONE_LEFT;
use super::exchange::Exchange;
use super::forward::{clean_upgrade, pick_response, set_trace};
use super::identity::set_identity;
use super::line::Wait;
use super::origin::set_origin;
use super::upstream::{Needs, Upstream};
use crate::authz::Reason;

/// Informational responses that are passed on for one request.
const INFORMATIONAL_MAX: u32 = 16;

/// Chooses where this attempt goes. Without a permit there is nowhere to go.
///
/// # Errors
/// No endpoint is healthy, or the one chosen has no address now.
pub fn choose_peer(
    exchange: &mut Exchange,
    request: &RequestHeader,
    body: bool,
) -> Result<Box<HttpPeer>> {
    let regime = Arc::clone(&exchange.regime);
    let settings = exchange.route.and_then(|route| regime.route(route));
    let upstream = settings.and_then(|settings| regime.upstreams.get(settings.upstream));
    let (Some(permit), Some(settings), Some(upstream)) = (exchange.permit(), settings, upstream)
    else {
        return Err(Error::new_in(ErrorType::InternalError));
    };
    let tried = &exchange.forward.tried;
    let chosen = upstream.choose(permit, &request.headers, tried);
    let forward = &mut exchange.forward;
    forward.attempts = forward.attempts.saturating_add(1);
    forward.upstream = Some(settings.upstream);
    forward.since = Some(Instant::now());
    forward.again = false;
    let upgrade = request.headers.contains_key(UPGRADE);
    let needs = Needs { body, upgrade };
    let Some(chosen) = chosen else {
        return Err(Error::new_up(ErrorType::ConnectNoRoute));
    };
    forward.tried.push(chosen.index());
    let peer = chosen.peer(settings, needs, &regime.commons.descriptors);
    forward.chosen = Some(chosen);
    peer.map(Box::new)
        .ok_or_else(|| not_connected(Some(exchange), Error::new_up(ErrorType::ConnectNoRoute)))
}

/// Makes the head that the upstream gets out of the one received. `request`: that one as pingora would forward it,
/// without the hop's own headers.
///
/// # Errors
/// None in practice: what is written was checked or made here.
pub fn make_request(
    exchange: &mut Exchange,
    received: &RequestHeader,
    request: &mut RequestHeader,
) -> Result<()> {
    let Some(permit) = exchange.permit() else {
        return Err(Error::new_in(ErrorType::InternalError));
    };
    let regime = &exchange.regime;
    let hygiene = regime
        .hygiene
        .of(exchange.trusted, permit.principal().is_some());
    let mut headers = hygiene.pick(&request.headers, permit.forwards_key());
    clean_upgrade(&mut headers, &received.headers);
    set_origin(&mut headers, &exchange.peer, exchange.claims.as_deref());
    if let Some(trace) = &exchange.trace {
        set_trace(&mut headers, trace);
    }
    if let Some(principal) = permit.principal() {
        set_identity(&mut headers, principal, &regime.rules.identity);
    }
    let asks_to_switch = headers.contains_key(UPGRADE);
    // The spelling of names is not kept: it means nothing, and a second map of them would have to be made for it.
    let mut parts = http::Request::new(()).into_parts().0;
    parts.method = request.method.clone();
    parts.uri = request.uri.clone();
    parts.version = request.version;
    parts.headers = headers;
    *request = RequestHeader::from(parts);
    exchange.forward.asks_to_switch = asks_to_switch;
    match &exchange.forward_target {
        Some(target) => request.set_raw_path(target.as_bytes()),
        None => Ok(()),
    }
}

/// Notes the head of the upstream's answer. One that is a reason to try again ends the attempt.
///
/// # Errors
/// The answer is not passed on: another attempt follows, or the upstream floods.
pub fn take_response(
    exchange: &mut Exchange,
    response: &ResponseHeader,
    request: &RequestHeader,
    bodiless: bool,
) -> Result<()> {
    let status = response.status;
    let unasked = status == StatusCode::SWITCHING_PROTOCOLS && !exchange.forward.asks_to_switch;
    if unasked || !is_framed(response) {
        return Err(Error::new_up(ErrorType::InvalidHTTPHeader));
    }
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        exchange.informational = exchange.informational.saturating_add(1);
        if exchange.informational > INFORMATIONAL_MAX {
            return Err(Error::new_up(ErrorType::InvalidHTTPHeader));
        }
        return Ok(());
    }
    exchange.forward.took = exchange.forward.since.map(|since| since.elapsed());
    let resendable = bodiless
        && retries(exchange).is_some_and(|retries| {
            retries.methods.contains(&request.method)
                && retries.on_statuses.contains(&status.as_u16())
        });
    if resendable && may_try_again(exchange) {
        exchange.forward.again = true;
        return Err(Error::new_up(ErrorType::HTTPStatus(status.as_u16())));
    }
    exchange.upstream_status = Some(status.as_u16());
    Ok(())
}

/// Whether an answer says at most once, and in a way that has one reading, where it ends.
///
/// Of a length beside chunks nothing is left here: pingora 0.9.1 has dropped it, as RFC 9112, section 6.3 lets it. Nobody
/// can look at the raw head before: what pingora connects by itself has no seam, and a socket of our own
/// (`VirtualSocket`) has no descriptor by which it would be pooled. The chunks alone count then, for the client as well;
/// a connection that has more than they say, at once or later, is not used again.
fn is_framed(response: &ResponseHeader) -> bool {
    let codings = response.headers.get_all(TRANSFER_ENCODING);
    let lengths = response.headers.get_all(CONTENT_LENGTH);
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    let number = |length: &HeaderValue| length.as_bytes().iter().all(u8::is_ascii_digit);
    let codings_number = codings.iter().count();
    codings_number + lengths.iter().count() <= 1
        && (codings_number == 0 || response.version == Version::HTTP_11)
        && codings.iter().all(chunked)
        && lengths.iter().all(number)
}

/// Makes the head that the client gets out of the upstream's.
///
/// # Errors
/// None in practice: what is written are header values.
pub fn make_response(
    exchange: &Exchange,
    session: &mut Session,
    response: &mut ResponseHeader,
) -> Result<()> {
    let mut headers = pick_response(
        &response.headers,
        response.status == StatusCode::SWITCHING_PROTOCOLS,
    );
    if response.status == StatusCode::NO_CONTENT {
        // It has no body, and may not say where one ends (RFC 9110, section 8.6; RFC 9112, section 6.1).
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
    }
    if let Some(coding) = headers.get_mut(TRANSFER_ENCODING) {
        // Whatever case the upstream writes it in.
        *coding = HeaderValue::from_static("chunked");
    }
    if let Some(trace) = &exchange.trace {
        set_trace(&mut headers, trace);
    }
    if let Some(standing) = &exchange.standing {
        standing.add_to(&mut headers);
    }
    let mut parts = http::Response::new(()).into_parts().0;
    parts.status = response.status;
    // Ours, whatever the upstream's is: the version is one hop's own business as well.
    parts.version = Version::HTTP_11;
    parts.headers = headers;
    let made = ResponseHeader::from(parts);
    let received = std::mem::replace(response, made);
    response.set_reason_phrase(received.get_reason_phrase())?;
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        exchange.line.open_tunnel();
        select_bearer(exchange, session.req_header(), response)?;
    } else if response.status.is_informational() {
        // It comes before the end of the body more often than not, and ends nothing.
        session.set_close_on_response_before_downstream_finish(false);
        return Ok(());
    }
    session.set_close_on_response_before_downstream_finish(true);
    if exchange.regime.commons.is_draining() {
        session.set_keepalive(None);
    }
    // HTTP/1.0 knows no chunks: the end of the connection ends the body.
    if session.req_header().version == Version::HTTP_10
        && response.remove_header(&TRANSFER_ENCODING).is_some()
    {
        session.set_keepalive(None);
    }
    exchange.line.respond();
    Ok(())
}

/// A client that offered its key as a subprotocol beside `bearer` must be told that `bearer` was taken.
fn select_bearer(
    exchange: &Exchange,
    request: &RequestHeader,
    response: &mut ResponseHeader,
) -> Result<()> {
    let offered = exchange
        .regime
        .hygiene
        .anyones
        .selects_bearer(&request.headers);
    if offered && !response.headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        response.insert_header(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("bearer"))?;
    }
    Ok(())
}

/// No connection was made, so nothing was sent: another attempt is safe whatever the method.
pub fn not_connected(exchange: Option<&Exchange>, mut error: Box<Error>) -> Box<Error> {
    let again = exchange.is_some_and(|exchange| {
        may_try_again(exchange) && retries(exchange).is_some_and(|retries| retries.on_connect)
    });
    error.set_retry(again);
    error
}

/// A connection broke. Another attempt follows after a response that asked for one, or when a pooled connection turned
/// out to be dead before it answered, for methods that may be repeated.
pub fn broken(
    exchange: Option<&Exchange>,
    method: &Method,
    mut error: Box<Error>,
    reused_and_resendable: bool,
) -> Box<Error> {
    let again = exchange.is_some_and(|exchange| {
        let stale = reused_and_resendable
            && matches!(error.retry, RetryType::ReusedOnly)
            && retries(exchange).is_some_and(|retries| retries.methods.contains(method))
            && may_try_again(exchange);
        exchange.forward.again || stale
    });
    error.set_retry(again && exchange.is_some_and(|exchange| exchange.denial().is_none()));
    error
}

fn upstream(exchange: &Exchange) -> Option<&Upstream> {
    let settings: &RouteSettings = exchange.regime.route(exchange.route?)?;
    let upstream = exchange.regime.upstreams.get(settings.upstream)?;
    Some(upstream)
}

fn retries(exchange: &Exchange) -> Option<&Retries> {
    Some(&upstream(exchange)?.config.retries)
}

fn may_try_again(exchange: &Exchange) -> bool {
    retries(exchange).is_some_and(|retries| exchange.forward.attempts < retries.attempts)
}

/// Turns what ended an exchange into how it stands, unless it was refused before.
pub fn failed(exchange: &mut Exchange, error: &Error) {
    if exchange.denial().is_some() {
        return;
    }
    match failure(exchange, error) {
        Some(_) if exchange.line.is_responding() => {}
        Some((reason, detail)) => exchange.refuse(reason, detail),
        None => exchange.client_left = true,
    }
}

/// The reason of a failure; `None`: the client left.
fn failure(exchange: &Exchange, error: &Error) -> Option<(Reason, Option<&'static str>)> {
    if exchange.line.is_spoilt() {
        let detail = "the chunked body is malformed";
        return Some((Reason::MalformedRequest, Some(detail)));
    }
    let reason = match exchange.line.expired() {
        Some(Wait::Request | Wait::Head | Wait::Body) => Reason::RequestTimeout,
        Some(Wait::Rate) => {
            let detail = "the body comes more slowly than it must";
            return Some((Reason::RequestTimeout, Some(detail)));
        }
        Some(Wait::FirstByte | Wait::Stream) => Reason::UpstreamTimeout,
        None => match error.esource() {
            ErrorSource::Downstream => return None,
            ErrorSource::Upstream => upstream_failure(error.etype()),
            ErrorSource::Internal | ErrorSource::Unset => Reason::InternalError,
        },
    };
    Some((reason, None))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "pingora's list is open; whatever else goes wrong on a connection that was made is no valid answer"
)]
fn upstream_failure(error: &ErrorType) -> Reason {
    match error {
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::BindError
        | ErrorType::SocketError => Reason::UpstreamUnreachable,
        error if *error == NONE_LEFT => Reason::Overloaded,
        ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout => {
            Reason::UpstreamTimeout
        }
        _ => Reason::UpstreamInvalid,
    }
}
