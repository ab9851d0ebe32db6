//! Every metric, once: its name, type, labels and meaning. `docs/metrics.md` is made from this table.
//!
//! No label takes a value from a request; the only open sets are the names of routes and upstreams.

use std::fmt::Write as _;

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values, in seconds, by these upper bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// The name under which it is scraped.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The names of its labels, in order.
    pub labels: &'static [&'static str],
    /// One sentence, for people.
    pub help: &'static str,
}

/// From 1 µs, the target for a warm decision, to what would be an incident.
const DECISION_SECONDS: &[f64] = &[
    0.000_001, 0.000_002, 0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.01,
    0.1,
];

/// From a cached answer on the same machine to a slow model upstream.
const REQUEST_SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 120.0,
];

macro_rules! table {
    ($($ident:ident = $name:literal, $kind:expr, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $ident: Descriptor = Descriptor {
                name: $name,
                kind: $kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// All of them, in the order of the documentation.
        pub const ALL: &[Descriptor] = &[$($ident),*];
    };
}

table! {
    REQUESTS = "keyward_requests_total", Kind::Counter, ["route", "status", "reason"],
        "Finished requests; reason is `allowed` or the reason of the refusal, route is `-` before one was chosen, status 499 is a client that left, reason `abandoned` one that left before anything was decided.";
    UNAUTHENTICATED = "keyward_unauthenticated_total", Kind::Counter, ["route", "kind"],
        "Requests that passed without a judged key: `anonymous`, `optional`, `shadow`, `user_token` or `trusted_identity`.";
    REQUEST_SECONDS_BY_ROUTE = "keyward_request_duration_seconds", Kind::Histogram(REQUEST_SECONDS), ["route"],
        "From the first byte of a request to the last byte of its answer.";
    DECISION_SECONDS_ALL = "keyward_decision_duration_seconds", Kind::Histogram(DECISION_SECONDS), [],
        "From the parsed head of a request to the decision about it.";
    UPSTREAM_SECONDS = "keyward_upstream_duration_seconds", Kind::Histogram(REQUEST_SECONDS), ["upstream"],
        "From choosing an endpoint of an upstream to the head of its answer.";
    KEYS = "keyward_keys", Kind::Gauge, [],
        "Keys in the gateway's copy.";
    REVISION = "keyward_revision", Kind::Gauge, [],
        "Number of the last change in the gateway's copy.";
    STALENESS = "keyward_staleness_seconds", Kind::Gauge, [],
        "How long ago the gateway's copy was last known to be current; 0 with an embedded control plane.";
    KEY_CACHE = "keyward_key_cache_total", Kind::Counter, ["result"],
        "Look-ups of keys: `hit`, compiled as needed; `stale`, compiled from another version; `miss`, not compiled yet; `unknown`, no such key.";
    CHANGES = "keyward_changes_total", Kind::Counter, [],
        "Changes of keys that were applied.";
    STREAMS_ENDED = "keyward_streams_ended_total", Kind::Counter, [],
        "Answers that were cut because their key died, or the keys became too stale to say so, or they outlived a limit.";
    SLOW_CLIENTS = "keyward_slow_clients_total", Kind::Counter, [],
        "Exchanges that were ended because their clients took an answer, or sent a body, more slowly than `min_rate`.";
    CONNECTIONS = "keyward_connections", Kind::Gauge, [],
        "Open connections from clients.";
    CONNECTIONS_ENDED = "keyward_connections_ended_total", Kind::Counter, ["why"],
        "Connections of HTTP/2 that were ended for what their clients did: `slow_head`, a first frame or a header did not come in time; `flood`, more than allowed of what costs a client nothing, as resets or pings; `protocol`, a rule of the protocol was broken; `unread`, they took nothing of what they had asked for.";
    ACCESS_LOG_DROPPED = "keyward_access_log_dropped_total", Kind::Counter, [],
        "Access-log lines that were lost because the log could not be written as fast as requests came.";
    ACCESS_LOG_LEFT_OUT = "keyward_access_log_left_out_total", Kind::Counter, ["reason"],
        "Refusals without an access-log line of their own, because more came in a second than `log_refusals_per_second`; counted once a second.";
    USAGE_DROPPED = "keyward_usage_dropped_total", Kind::Counter, [],
        "Uses of keys that were not counted because too many keys were in use between two flushes.";
    SYNC = "keyward_sync_total", Kind::Counter, ["event"],
        "With control planes elsewhere: `stream`, changes came from one; `snapshot`, the keys were taken over whole; `refused`, a snapshot was not, because it is older or of a history that was left; `repeated`, a change came again; `flaw`, something was missing or damaged.";
    STATE_ERRORS = "keyward_state_errors_total", Kind::Counter, [],
        "Steps on the gateway's copy of the keys on disk that failed; it is served all the same, and kept again when the disk takes it.";
    BUILD_INFO = "keyward_build_info", Kind::Gauge, ["version"],
        "Always 1; says what is running.";
}

/// The table as the document that is committed as `docs/metrics.md`.
pub fn document() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         Scraped from `/metrics` of the ops listener. This file is generated from `src/telemetry/metrics/table.rs`;\n\
         a test compares it, and `KEYWARD_BLESS=1 cargo nextest run metrics` writes it anew.\n\n\
         | Name | Type | Labels | Meaning |\n|---|---|---|---|\n",
    );
    for Descriptor {
        name,
        kind,
        labels,
        help,
    } in ALL
    {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() {
            "–".to_owned()
        } else {
            labels.join(" ")
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "| `{name}` | {} | {labels} | {help} |", kind.as_str());
    }
    for Descriptor { name, kind, .. } in ALL {
        if let Kind::Histogram(bounds) = kind {
            let bounds: Vec<String> = bounds.iter().map(f64::to_string).collect();
            let _ = write!(text, "\nBounds of `{name}`: {}.\n", bounds.join(", "));
        }
    }
    text
}
