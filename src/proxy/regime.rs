//! The rules in force, with everything that is prepared from them once: upstream states, metric handles, names to
//! strip. A reload makes another one; a request keeps the one that it began under.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::config::{RouteSettings, Rules};
use super::descriptors::Descriptors;
use super::forward::Hygienes;
use super::limits::Places;
use super::rate::Rates;
use super::upstream::Upstream;
use crate::authz::{RouteId, Timestamp};
use crate::replica::{Replica, Source};
use crate::telemetry::redact::Redactor;
use crate::telemetry::{AccessLog, Metrics, RouteMetrics, UpstreamMetrics};

/// Tells the time by the calendar. The only clock is the composition root's.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What outlives every reload.
pub struct Commons {
    /// The keys.
    pub replica: Arc<Replica>,
    /// Where they come from.
    pub source: Arc<dyn Source>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where requests are logged, where they are.
    pub access_log: Option<Arc<AccessLog>>,
    /// The calendar.
    pub clock: Clock,
    /// Which descriptors connections may have.
    pub descriptors: Descriptors,
    /// Turns when the gateway drains.
    pub draining: watch::Receiver<bool>,
}

impl fmt::Debug for Commons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commons").finish_non_exhaustive()
    }
}

impl Commons {
    /// The moment, by the calendar.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Ends a second of the log: it tells how many refusals got no line in it.
    pub fn tell_left_out(&self) {
        if let Some(log) = &self.access_log {
            log.tell_left_out(|| self.now());
        }
    }

    /// Whether the gateway drains.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}

/// The rules in force.
#[derive(Debug)]
pub struct Regime {
    /// As configured.
    pub rules: Rules,
    /// The state of the upstreams, by position.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Metrics of the routes.
    pub routes: RouteMetrics,
    /// Metrics of the upstreams.
    pub upstream_metrics: UpstreamMetrics,
    /// What must not be logged.
    pub redactor: Redactor,
    /// What must not be forwarded.
    pub hygiene: Hygienes,
    /// Places on routes that take fewer requests at a time than others, by `RouteId`.
    pub places: Places,
    /// How often routes may still be asked, by `RouteId`.
    pub rates: Rates,
    /// What outlives this.
    pub commons: Arc<Commons>,
}

impl Regime {
    /// Prepares rules. Upstreams that `former` has with the same configuration go on with their state.
    pub fn new(rules: Rules, commons: Arc<Commons>, former: Option<&Self>) -> Self {
        let places = Places::new(&rules, former.map(|former| (&former.rules, &former.places)));
        let rates = Rates::new(&rules, former.map(|former| (&former.rules, &former.rates)));
        let former = former.map_or(&[][..], |former| &former.upstreams);
        let upstreams = rules.upstreams.iter().map(|config| {
            let same = former.iter().find(|upstream| upstream.config == *config);
            same.map_or_else(|| Arc::new(Upstream::new(config.clone())), Arc::clone)
        });
        let names = rules.rulebook.routes().specs().iter();
        let credentials = rules.rulebook.credentials();
        Self {
            upstreams: upstreams.collect(),
            routes: commons
                .metrics
                .routes(names.map(|route| route.name.as_str())),
            upstream_metrics: commons.metrics.upstreams(
                rules
                    .upstreams
                    .iter()
                    .map(|upstream| upstream.name.as_str()),
            ),
            redactor: Redactor::of(&credentials.sources),
            hygiene: Hygienes::new(&rules.identity, credentials),
            places,
            rates,
            rules,
            commons,
        }
    }

    /// What the plane knows of a route.
    pub fn route(&self, route: RouteId) -> Option<&RouteSettings> {
        self.rules.routes.get(route.0 as usize)
    }

    /// The log, where these rules want one.
    pub fn access_log(&self) -> Option<&AccessLog> {
        self.commons
            .access_log
            .as_deref()
            .filter(|_| self.rules.access_log)
    }
}
