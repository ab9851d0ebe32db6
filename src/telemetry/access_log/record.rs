//! One line of the access log: a request, or those that got none of their own.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::authz::{KeyId, Timestamp};
use crate::telemetry::metrics::Outcome;
use crate::telemetry::redact::Redactor;

/// What is logged of one request. Texts that came with the request are searched for secrets when written.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// When the request began.
    pub time: Timestamp,
    /// Who sent it; `None`: somebody on a Unix socket.
    pub client: Option<IpAddr>,
    /// The method, as received.
    pub method: &'a [u8],
    /// The name of the route, when one was chosen.
    pub route: Option<&'a str>,
    /// The target with its query, as received.
    pub path: &'a [u8],
    /// How it ended.
    pub outcome: Outcome,
    /// The name of the limit of time that ended it, if one did.
    pub limit: Option<&'static str>,
    /// The public name of the key, when one was known.
    pub key_id: Option<&'a KeyId>,
    /// The organisation of the key.
    pub org: Option<&'a str>,
    /// The name of the upstream that it was forwarded to.
    pub upstream: Option<&'a str>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// From the first byte of the request to the last byte of the answer.
    pub duration: Duration,
    /// What the decision took.
    pub decision: Option<Duration>,
    /// From choosing an endpoint to the head of its answer.
    pub upstream_duration: Option<Duration>,
    /// What ties it to the lines of other services.
    pub correlation_id: &'a str,
    /// Where else in this configuration secrets are, e.g. query parameters.
    pub redactor: &'a Redactor,
}

impl Record<'_> {
    /// Appends the line, with its end.
    pub(super) fn write_line(&self, line: &mut Vec<u8>) {
        let written = Line {
            time: self.time,
            client: self.client,
            method: self.redactor.text(self.method),
            route: self.route,
            path: self.redactor.target(self.path),
            status: self.outcome.status(),
            reason: self.outcome.reason(),
            limit: self.limit,
            key_id: self.key_id.map(KeyId::as_str),
            org: self.org,
            upstream: self.upstream,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            duration_us: micros(self.duration),
            decision_us: self.decision.map(micros),
            upstream_us: self.upstream_duration.map(micros),
            correlation_id: self.redactor.text(self.correlation_id.as_bytes()),
        };
        // Nothing in a `Line` fails to serialize and a `Vec` takes every byte.
        let _ = serde_json::to_writer(&mut *line, &written);
        line.push(b'\n');
    }
}

/// The names and order of what is in a line. What is not known is left out, so that every name has one type.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "rfc3339")]
    time: Timestamp,
    #[serde(serialize_with = "client")]
    client: Option<IpAddr>,
    method: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    path: Cow<'a, str>,
    status: u16,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    bytes_in: u64,
    bytes_out: u64,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_us: Option<u64>,
    correlation_id: Cow<'a, str>,
}

/// Refusals that got no line, because too many came in one second.
#[derive(Serialize)]
pub(super) struct LeftOut {
    #[serde(serialize_with = "rfc3339")]
    pub(super) time: Timestamp,
    pub(super) status: u16,
    pub(super) reason: &'static str,
    /// How many.
    pub(super) left_out: u64,
}

impl LeftOut {
    /// Appends the line, with its end.
    pub(super) fn write_line(&self, line: &mut Vec<u8>) {
        // As for a request.
        let _ = serde_json::to_writer(&mut *line, self);
        line.push(b'\n');
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// UTC with milliseconds; a moment outside the calendar becomes the epoch.
fn rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let time = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or_default();
    serializer.collect_str(&format_args!("{time:.3}"))
}

fn client<S: Serializer>(client: &Option<IpAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    match client {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_str("unix"),
    }
}
