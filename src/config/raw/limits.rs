//! Limits on what clients may send.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::defaults;
use super::super::scalar::{Size, Span, Timeout};

/// Limits on what clients may send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a request's head, request line included.
    #[schemars(range(min = 256, max = 1_048_575))]
    pub header_bytes: Size,
    /// Header lines of a request; all cookie lines count as one.
    #[schemars(range(min = 1, max = 250))]
    pub headers: usize,
    /// Bytes of a request's target.
    #[schemars(range(min = 16, max = 65_534))]
    pub uri_bytes: Size,
    /// Bytes of a request's body.
    pub body_bytes: Size,
    /// For the whole head, from its first byte or the opening of its connection.
    pub header_timeout: Timeout,
    /// Between two reads of a body.
    pub body_timeout: Timeout,
    /// For a whole request, from its first byte to the last of its body.
    pub request_timeout: Timeout,
    /// Without a byte in either direction while a response or an upgraded connection runs.
    pub stream_idle: Timeout,
    /// For all of an exchange, from the first byte of the request to the last of the answer, or of an upgraded
    /// connection; 0s: as long as it goes on.
    pub total_timeout: Span,
    /// Bytes a second that a client must take of what waits for it, and send of a body that is waited for; 0: as few as the
    /// other limits let it. An upstream's pauses do not count.
    pub min_rate: Size,
    /// What `min_rate` is averaged over, and what a client has to begin.
    pub min_rate_over: Timeout,
    /// Between two requests of one connection.
    pub keep_alive: Timeout,
    /// Open connections of clients; and as many streams of HTTP/2 on all of them together.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: usize,
    /// Open connections of one client address, of IPv6 of one /64, with `proxy_protocol` of the one that the proxy names;
    /// 0: as many as of all. Peers that speak for others are not held to it.
    #[schemars(range(max = 1_000_000))]
    pub connections_per_client: usize,
    /// Requests at a time on one connection of HTTP/2. HTTP/1.1 has one.
    #[schemars(range(min = 1, max = 10_000))]
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: Size(defaults::HEADER_BYTES),
            headers: defaults::HEADERS,
            uri_bytes: Size(defaults::URI_BYTES),
            body_bytes: Size(defaults::BODY_BYTES),
            header_timeout: Timeout(defaults::HEADER_TIMEOUT),
            body_timeout: Timeout(defaults::BODY_TIMEOUT),
            request_timeout: Timeout(defaults::REQUEST_TIMEOUT),
            stream_idle: Timeout(defaults::STREAM_IDLE),
            total_timeout: Span(defaults::TOTAL_TIMEOUT),
            min_rate: Size(defaults::MIN_RATE),
            min_rate_over: Timeout(defaults::MIN_RATE_OVER),
            keep_alive: Timeout(defaults::KEEP_ALIVE),
            connections: defaults::CONNECTIONS,
            connections_per_client: defaults::CONNECTIONS_PER_CLIENT,
            streams: defaults::STREAMS,
        }
    }
}

/// Limits of one route; what is absent is as in the section `limits` of the whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteLimits {
    /// Header lines of a request; all cookie lines count as one. Not more than for all.
    #[schemars(range(min = 1, max = 250))]
    pub headers: Option<usize>,
    /// Bytes of a request's target. Not more than for all.
    #[schemars(range(min = 16, max = 65_534))]
    pub uri_bytes: Option<Size>,
    /// Requests at a time on this route. Not more than connections of all.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: Option<usize>,
    /// Bytes of a request's body.
    pub body_bytes: Option<Size>,
    /// Between two reads of a body.
    pub body_timeout: Option<Timeout>,
    /// For a whole request, from its first byte to the last of its body.
    pub request_timeout: Option<Timeout>,
    /// Without a byte in either direction while a response or an upgraded connection runs.
    pub stream_idle: Option<Timeout>,
    /// For all of an exchange; 0s: as long as it goes on.
    pub total_timeout: Option<Span>,
    /// Bytes a second that a client must take and send while it is waited for; 0: as few as the other limits let it.
    pub min_rate: Option<Size>,
    /// What `min_rate` is averaged over.
    pub min_rate_over: Option<Timeout>,
}
