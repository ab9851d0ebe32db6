//! The metrics themselves: registered from the table, counted through handles that were looked up beforehand.
//!
//! It is told figures and durations; it measures nothing and never sees a request.

pub mod table;

mod handles;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use self::table::{Descriptor, Kind};

pub use self::handles::{Outcome, RouteMetrics, UpstreamMetrics};

/// What a scrape asks the gateway's copy of the keys for. Counts are absolute since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct KeyFigures {
    /// Keys in the copy.
    pub keys: u64,
    /// Number of the last change in it.
    pub revision: u64,
    /// How long ago it was last known to be current.
    pub staleness: Duration,
    /// Changes applied.
    pub changes: u64,
    /// Look-ups that found the key compiled.
    pub cache_hits: u64,
    /// Look-ups that found another version of it compiled.
    pub cache_stale: u64,
    /// Look-ups that had to compile it.
    pub cache_misses: u64,
    /// Look-ups of keys that do not exist.
    pub cache_unknown: u64,
    /// Uses that were not counted.
    pub usage_dropped: u64,
    /// Streams of changes that were followed.
    pub sync_streams: u64,
    /// Snapshots that were put in place.
    pub sync_snapshots: u64,
    /// Snapshots that were refused.
    pub sync_refused: u64,
    /// Changes that came again.
    pub sync_repeated: u64,
    /// Times that something was missing or damaged.
    pub sync_flaws: u64,
    /// Steps on the copy on disk that failed.
    pub state_errors: u64,
}

/// What a client did that its connection was ended for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// What was to come at once did not come in time.
    SlowHead,
    /// It sent too much of what costs it nothing.
    Flood,
    /// It broke the protocol.
    Protocol,
    /// It did not take what it had asked for.
    Unread,
}

impl ConnectionEnd {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SlowHead => "slow_head",
            Self::Flood => "flood",
            Self::Protocol => "protocol",
            Self::Unread => "unread",
        }
    }
}

/// Every metric of the process. Shared by all parts; survives reloads.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    unauthenticated: IntCounterVec,
    request_seconds: HistogramVec,
    decision_seconds: Histogram,
    upstream_seconds: HistogramVec,
    keys: IntGauge,
    revision: IntGauge,
    staleness: Gauge,
    key_cache: IntCounterVec,
    changes: IntCounter,
    streams_ended: IntCounter,
    slow_clients: IntCounter,
    connections: IntGauge,
    connections_ended: IntCounterVec,
    access_log_dropped: IntCounter,
    access_log_left_out: IntCounterVec,
    usage_dropped: IntCounter,
    sync: IntCounterVec,
    state_errors: IntCounter,
    /// Scrapes at the same time would both add the same difference.
    scrape: Mutex<()>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers all of the table.
    pub fn new() -> Self {
        let registry = Registry::new();
        let build_info: IntGaugeVec = register(&registry, gauge_vec(&table::BUILD_INFO));
        build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        Self {
            requests: register(&registry, counter_vec(&table::REQUESTS)),
            unauthenticated: register(&registry, counter_vec(&table::UNAUTHENTICATED)),
            request_seconds: register(&registry, histogram_vec(&table::REQUEST_SECONDS_BY_ROUTE)),
            decision_seconds: register(
                &registry,
                Histogram::with_opts(histogram_opts(&table::DECISION_SECONDS_ALL)),
            ),
            upstream_seconds: register(&registry, histogram_vec(&table::UPSTREAM_SECONDS)),
            keys: register(&registry, IntGauge::with_opts(opts(&table::KEYS))),
            revision: register(&registry, IntGauge::with_opts(opts(&table::REVISION))),
            staleness: register(&registry, Gauge::with_opts(opts(&table::STALENESS))),
            key_cache: register(&registry, counter_vec(&table::KEY_CACHE)),
            changes: register(&registry, IntCounter::with_opts(opts(&table::CHANGES))),
            streams_ended: register(
                &registry,
                IntCounter::with_opts(opts(&table::STREAMS_ENDED)),
            ),
            slow_clients: register(&registry, IntCounter::with_opts(opts(&table::SLOW_CLIENTS))),
            connections: register(&registry, IntGauge::with_opts(opts(&table::CONNECTIONS))),
            connections_ended: register(&registry, counter_vec(&table::CONNECTIONS_ENDED)),
            access_log_dropped: register(
                &registry,
                IntCounter::with_opts(opts(&table::ACCESS_LOG_DROPPED)),
            ),
            access_log_left_out: register(&registry, counter_vec(&table::ACCESS_LOG_LEFT_OUT)),
            usage_dropped: register(
                &registry,
                IntCounter::with_opts(opts(&table::USAGE_DROPPED)),
            ),
            sync: register(&registry, counter_vec(&table::SYNC)),
            state_errors: register(&registry, IntCounter::with_opts(opts(&table::STATE_ERRORS))),
            scrape: Mutex::new(()),
            registry,
        }
    }

    /// Handles for the routes of one configuration, by position. A route of the same name in another
    /// configuration goes on counting where it was.
    pub fn routes<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> RouteMetrics {
        RouteMetrics::new(
            names,
            self.requests.clone(),
            self.unauthenticated.clone(),
            self.request_seconds.clone(),
        )
    }

    /// Handles for the upstreams of one configuration, by position.
    pub fn upstreams<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> UpstreamMetrics {
        UpstreamMetrics::new(names, &self.upstream_seconds)
    }

    /// A decision was made.
    pub fn decided(&self, took: Duration) {
        self.decision_seconds.observe(took.as_secs_f64());
    }

    /// The number of open connections, to be kept by whoever opens and closes them.
    pub fn connections(&self) -> &IntGauge {
        &self.connections
    }

    /// A connection was ended for what its client did.
    pub fn connection_ended(&self, why: ConnectionEnd) {
        self.connections_ended
            .with_label_values(&[why.as_str()])
            .inc();
    }

    /// An answer was cut.
    pub fn stream_ended(&self) {
        self.streams_ended.inc();
    }

    /// A client was slower than it may be.
    pub fn slow_client(&self) {
        self.slow_clients.inc();
    }

    /// The counter of lost access-log lines.
    pub fn access_log_dropped(&self) -> IntCounter {
        self.access_log_dropped.clone()
    }

    /// The counter of refusals that got no access-log line, by reason.
    pub fn access_log_left_out(&self) -> IntCounterVec {
        self.access_log_left_out.clone()
    }

    /// Everything in Prometheus' text format, with the figures of the keys as they are now.
    pub fn render(&self, figures: &KeyFigures) -> String {
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_over(figures);
        let mut text = String::new();
        // The only failure is an invalid family, and the families are those of the table.
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }

    fn take_over(&self, figures: &KeyFigures) {
        self.keys.set(gauge_value(figures.keys));
        self.revision.set(gauge_value(figures.revision));
        self.staleness.set(figures.staleness.as_secs_f64());
        catch_up(&self.changes, figures.changes);
        catch_up(&self.usage_dropped, figures.usage_dropped);
        catch_up(&self.state_errors, figures.state_errors);
        for (event, count) in [
            ("stream", figures.sync_streams),
            ("snapshot", figures.sync_snapshots),
            ("refused", figures.sync_refused),
            ("repeated", figures.sync_repeated),
            ("flaw", figures.sync_flaws),
        ] {
            catch_up(&self.sync.with_label_values(&[event]), count);
        }
        for (result, count) in [
            ("hit", figures.cache_hits),
            ("stale", figures.cache_stale),
            ("miss", figures.cache_misses),
            ("unknown", figures.cache_unknown),
        ] {
            catch_up(&self.key_cache.with_label_values(&[result]), count);
        }
    }
}

/// Brings a counter to a count that is kept elsewhere.
fn catch_up(counter: &IntCounter, count: u64) {
    counter.inc_by(count.saturating_sub(counter.get()));
}

fn gauge_value(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

fn opts(of: &Descriptor) -> Opts {
    Opts::new(of.name, of.help)
}

fn histogram_opts(of: &Descriptor) -> HistogramOpts {
    let bounds = match of.kind {
        Kind::Histogram(bounds) => bounds,
        Kind::Counter | Kind::Gauge => &[],
    };
    HistogramOpts::new(of.name, of.help).buckets(bounds.to_vec())
}

fn counter_vec(of: &Descriptor) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(opts(of), of.labels)
}

fn gauge_vec(of: &Descriptor) -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(opts(of), of.labels)
}

fn histogram_vec(of: &Descriptor) -> prometheus::Result<HistogramVec> {
    HistogramVec::new(histogram_opts(of), of.labels)
}

#[expect(
    clippy::expect_used,
    reason = "names, labels and bounds are constants; every test that makes a `Metrics` proves them"
)]
fn register<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<M>,
) -> M {
    let metric = metric.expect("the table holds valid metrics");
    registry
        .register(Box::new(metric.clone()))
        .expect("the table holds each name once");
    metric
}
