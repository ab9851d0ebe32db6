//! Handles of the metrics that have a route or an upstream in their labels, looked up once and kept by position.
//!
//! Counting through them hashes no string and takes no lock. A handle is made the first time that it is needed,
//! so that only what happened appears in a scrape.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use crate::authz::{Anonymous, Reason, RouteId};

/// The label of requests that were refused before a route was chosen.
const NO_ROUTE: &str = "-";
/// The label of statuses that HTTP does not have.
const OTHER_STATUS: &str = "other";
/// Statuses of one class, e.g. 200 to 299.
const CLASS: usize = 100;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was allowed and answered with this status: the upstream's, or 499 when the client left before.
    Allowed(u16),
    /// It was refused, by us, at any point.
    Refused(Reason),
    /// The client left before anything was decided.
    Abandoned,
}

impl Outcome {
    /// The status of a request whose client left before it was answered.
    pub const CLIENT_LEFT: Self = Self::Allowed(499);

    /// The status that was answered.
    pub const fn status(self) -> u16 {
        match self {
            Self::Allowed(status) => status,
            Self::Refused(reason) => reason.status(),
            Self::Abandoned => Self::CLIENT_LEFT.status(),
        }
    }

    /// The reason as metrics and logs have it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Allowed(_) => "allowed",
            Self::Refused(reason) => reason.as_str(),
            Self::Abandoned => "abandoned",
        }
    }
}

/// The handles of all routes of one configuration.
#[derive(Debug)]
pub struct RouteMetrics {
    requests: IntCounterVec,
    unauthenticated: IntCounterVec,
    request_seconds: HistogramVec,
    unrouted: Handles,
    routes: Vec<Handles>,
}

impl RouteMetrics {
    pub(super) fn new<'a>(
        names: impl IntoIterator<Item = &'a str>,
        requests: IntCounterVec,
        unauthenticated: IntCounterVec,
        request_seconds: HistogramVec,
    ) -> Self {
        Self {
            requests,
            unauthenticated,
            request_seconds,
            unrouted: Handles::new(NO_ROUTE),
            routes: names.into_iter().map(Handles::new).collect(),
        }
    }

    /// A request has ended. `route`: `None` when it was refused before one was chosen.
    pub fn finished(&self, route: Option<RouteId>, outcome: Outcome, took: Duration) {
        let handles = self.handles(route);
        match outcome {
            Outcome::Allowed(status) => handles.allowed(status, &self.requests).inc(),
            Outcome::Refused(reason) => handles.refused(reason, &self.requests).inc(),
            Outcome::Abandoned => handles.abandoned(&self.requests).inc(),
        }
        handles
            .seconds
            .get_or_init(|| self.request_seconds.with_label_values(&[&*handles.name]))
            .observe(took.as_secs_f64());
    }

    /// A request has passed without a judged key.
    pub fn unauthenticated(&self, route: RouteId, kind: Anonymous) {
        let handles = self.handles(Some(route));
        let cell = match kind {
            Anonymous::Open => &handles.open,
            Anonymous::Optional => &handles.optional,
            Anonymous::Shadow => &handles.shadow,
            Anonymous::UserToken => &handles.user_token,
            Anonymous::TrustedIdentity => &handles.trusted_identity,
        };
        cell.get_or_init(|| {
            self.unauthenticated
                .with_label_values(&[&*handles.name, kind.as_str()])
        })
        .inc();
    }

    /// The name of a route, as in the labels.
    pub fn name(&self, route: Option<RouteId>) -> &str {
        &self.handles(route).name
    }

    fn handles(&self, route: Option<RouteId>) -> &Handles {
        route
            .and_then(|route| self.routes.get(route.0 as usize))
            .unwrap_or(&self.unrouted)
    }
}

type Cell = OnceLock<IntCounter>;

/// The handles of one route. Statuses are kept by class, because a route rarely sees more than two.
#[derive(Debug)]
struct Handles {
    name: Box<str>,
    refused: [Cell; Reason::ALL.len()],
    allowed: [OnceLock<Box<[Cell; CLASS]>>; 5],
    allowed_other: Cell,
    abandoned: Cell,
    open: Cell,
    optional: Cell,
    shadow: Cell,
    user_token: Cell,
    trusted_identity: Cell,
    seconds: OnceLock<Histogram>,
}

impl Handles {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            refused: [const { OnceLock::new() }; _],
            allowed: [const { OnceLock::new() }; _],
            allowed_other: OnceLock::new(),
            abandoned: OnceLock::new(),
            open: OnceLock::new(),
            optional: OnceLock::new(),
            shadow: OnceLock::new(),
            user_token: OnceLock::new(),
            trusted_identity: OnceLock::new(),
            seconds: OnceLock::new(),
        }
    }

    fn refused(&self, reason: Reason, requests: &IntCounterVec) -> &IntCounter {
        let outcome = Outcome::Refused(reason);
        // The list of reasons is in the order of their declaration, and so is this one; were it not, the
        // fallback would only count under the wrong reason's handle, which a test rules out.
        self.refused
            .get(reason as usize)
            .unwrap_or(&self.allowed_other)
            .get_or_init(|| {
                let status = outcome.status().to_string();
                requests.with_label_values(&[&*self.name, &status, outcome.reason()])
            })
    }

    fn abandoned(&self, requests: &IntCounterVec) -> &IntCounter {
        let outcome = Outcome::Abandoned;
        self.abandoned.get_or_init(|| {
            let status = outcome.status().to_string();
            requests.with_label_values(&[&*self.name, &status, outcome.reason()])
        })
    }

    fn allowed(&self, status: u16, requests: &IntCounterVec) -> &IntCounter {
        let reason = Outcome::Allowed(status).reason();
        let class = usize::from(status)
            .checked_sub(CLASS)
            .and_then(|place| Some((self.allowed.get(place / CLASS)?, place % CLASS)));
        let cell = class.and_then(|(class, place)| {
            class
                .get_or_init(|| Box::new([const { OnceLock::new() }; CLASS]))
                .get(place)
        });
        match cell {
            Some(cell) => cell.get_or_init(|| {
                requests.with_label_values(&[&*self.name, &status.to_string(), reason])
            }),
            None => self
                .allowed_other
                .get_or_init(|| requests.with_label_values(&[&*self.name, OTHER_STATUS, reason])),
        }
    }
}

/// The handles of all upstreams of one configuration.
#[derive(Debug)]
pub struct UpstreamMetrics {
    seconds: Vec<Histogram>,
}

impl UpstreamMetrics {
    pub(super) fn new<'a>(
        names: impl IntoIterator<Item = &'a str>,
        seconds: &HistogramVec,
    ) -> Self {
        Self {
            seconds: names
                .into_iter()
                .map(|name| seconds.with_label_values(&[name]))
                .collect(),
        }
    }

    /// The upstream at position `upstream` has answered.
    pub fn answered(&self, upstream: usize, took: Duration) {
        if let Some(seconds) = self.seconds.get(upstream) {
            seconds.observe(took.as_secs_f64());
        }
    }
}
