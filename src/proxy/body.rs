//! The bounds of a request's body, and the repair of its last piece.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use pingora::{Error, ErrorType, Result};

use super::exchange::Exchange;
use crate::authz::Reason;

/// Refuses a permitted request whose body says beforehand that it is too large.
pub fn check_length(exchange: &mut Exchange, headers: &HeaderMap) {
    let Some(limit) = limit(exchange) else {
        return;
    };
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok());
    if declared.is_some_and(|declared| declared > limit) {
        exchange.refuse(Reason::BodyTooLarge, None);
    }
}

/// Counts a piece of the body on its way to the upstream.
///
/// # Errors
/// The body is larger than the limit; the exchange is refused.
pub fn take_piece(exchange: &mut Exchange, piece: &mut Option<Bytes>, end: bool) -> Result<()> {
    let length = piece.as_ref().map_or(0, Bytes::len);
    exchange.bytes_in = exchange.bytes_in.saturating_add(length as u64);
    let over = limit(exchange).is_some_and(|limit| exchange.bytes_in > limit);
    if over && !exchange.line.is_tunnel() {
        exchange.refuse(Reason::BodyTooLarge, None);
        return Err(Error::new_down(ErrorType::InternalError));
    }
    // An empty last piece would make pingora 0.9.1 end a chunked body twice, and the second end would be read as
    // the beginning of the next request on the pooled connection.
    if end && length == 0 {
        *piece = None;
    }
    Ok(())
}

fn limit(exchange: &Exchange) -> Option<u64> {
    exchange.permit()?;
    let settings = exchange.regime.route(exchange.route?)?;
    Some(settings.limits.body_bytes)
}
