//! What the data plane is told: resolved values, nothing left to parse and nothing left to default.
//!
//! Knows no file format. Whoever builds these values has checked them; the plane only obeys.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;

use super::pace::MinRate;
use crate::authz::Rulebook;
use crate::replica::DenyList;

/// All that a gateway is started with.
#[derive(Debug)]
pub struct Config {
    /// Where clients come in.
    pub listeners: Vec<ListenerConfig>,
    /// Where operators come in; `None`: nowhere.
    pub ops: Option<SocketAddr>,
    /// Worker threads; 0: one a core.
    pub threads: usize,
    /// How long a drain waits for what is in flight before it cuts it.
    pub graceful_shutdown: Duration,
    /// What a reload replaces.
    pub rules: Rules,
}

/// A place to listen at, and who may speak for others there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The place.
    pub address: ListenAddr,
    /// Peers whose identity headers are kept.
    pub trusted_identity_from: TrustedPeers,
    /// Peers whose word is taken on where a request came from.
    pub trusted_proxies: TrustedPeers,
    /// Whether each connection begins with a header of the PROXY protocol, which only those peers may send.
    pub proxy_protocol: bool,
    /// Whether a connection may also begin with HTTP/2, without TLS.
    pub h2c: bool,
}

/// A listener that trusts nobody, for HTTP/1.1.
impl From<ListenAddr> for ListenerConfig {
    fn from(address: ListenAddr) -> Self {
        Self {
            address,
            trusted_identity_from: TrustedPeers::default(),
            trusted_proxies: TrustedPeers::default(),
            proxy_protocol: false,
            h2c: false,
        }
    }
}

/// Peers that are trusted with something. By default there are none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedPeers {
    /// Whoever may open the Unix socket.
    pub unix: bool,
    /// Whoever connects from one of these.
    pub networks: Vec<IpNet>,
}

/// A place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddr {
    /// TCP; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket at this path.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Everything that a reload swaps, as one value: a request sees the old one or the new one, never a mixture.
#[derive(Debug)]
pub struct Rules {
    /// Routes and their policies.
    pub rulebook: Rulebook,
    /// What the plane knows of each route, by `RouteId`.
    pub routes: Vec<RouteSettings>,
    /// Where requests go.
    pub upstreams: Vec<UpstreamConfig>,
    /// What upstreams are told about the key.
    pub identity: IdentityConfig,
    /// The form of our own answers.
    pub errors: ErrorStyle,
    /// Limits that hold before a route is chosen.
    pub limits: Limits,
    /// Keys that are refused whatever their source says.
    pub denied: Option<Arc<DenyList>>,
    /// Whether requests are logged.
    pub access_log: bool,
    /// Refusals of one reason in a second of which each is logged.
    pub log_refusals_per_second: u64,
}

/// What the data plane knows of one route, beside its policy.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteSettings {
    /// Index into [`Rules::upstreams`].
    pub upstream: usize,
    /// Limits of a request on it.
    pub limits: RouteLimits,
    /// What it takes less of than others.
    pub ceilings: Ceilings,
    /// How long its upstream may take.
    pub timeouts: Timeouts,
    /// How often it may be asked; `None`: as often as may be.
    pub rate: Option<Rate>,
}

/// How often a route may be asked: `requests` at once, and as many again come to be in `per`, little by little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub requests: NonZeroU32,
    /// In which so many come to be.
    pub per: Duration,
    /// Who has a share of its own.
    pub by: RateBy,
}

/// Who has a share of a rate of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateBy {
    /// Each key, whatever its secret; without a judged key, each client.
    Key,
    /// Each client address.
    Client,
    /// Nobody: all share one.
    Route,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            RateBy::Key => "for each key",
            RateBy::Client => "for each client",
            RateBy::Route => "for all together",
        };
        write!(f, "{} requests per {:?} {by}", self.requests, self.per)
    }
}

/// Limits that hold for every connection and every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head, request line included.
    pub header_bytes: usize,
    /// Header lines of a request; all `Cookie` lines count as one.
    pub headers: usize,
    /// Bytes of a request target.
    pub uri_bytes: usize,
    /// From the first byte of a head, or the opening of its connection, to the last byte of the head.
    pub header_timeout: Duration,
    /// How long a kept-alive connection may wait for its next request.
    pub keep_alive: Duration,
    /// Open client connections; and as many streams of HTTP/2, on all connections together.
    pub connections: usize,
    /// Open connections of one client address, which a proxy may name; `None`: as many as of all.
    pub connections_per_client: Option<usize>,
    /// Exchanges at a time on one connection of HTTP/2. HTTP/1.1 has one.
    pub streams: usize,
    /// What holds for a route that says nothing else.
    pub route: RouteLimits,
}

/// Limits that a route may set for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteLimits {
    /// Bytes of a request's body.
    pub body_bytes: u64,
    /// Between two reads of a request's body.
    pub body_timeout: Duration,
    /// From the first byte of a request to the last of its body.
    pub request_timeout: Duration,
    /// Without a byte in either direction once the response, or an upgraded stream, runs.
    pub stream_idle: Duration,
    /// From the first byte of a request to the last of its answer, or of an upgraded stream; `None`: as long as may be.
    pub total_timeout: Option<Duration>,
    /// How fast a client must take what of an answer waits for it, and send a body that is waited for; `None`: as slowly
    /// as the other limits let it.
    pub min_rate: Option<MinRate>,
}

/// Limits of one route that are lower than those of all requests; `None`: that one is not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ceilings {
    /// Header lines; all `Cookie` lines count as one.
    pub headers: Option<usize>,
    /// Bytes of a request target.
    pub uri_bytes: Option<usize>,
    /// Requests at a time.
    pub connections: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 65_536,
            headers: 100,
            uri_bytes: 8192,
            header_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            connections: 10_000,
            connections_per_client: None,
            streams: 100,
            route: RouteLimits::default(),
        }
    }
}

impl Default for RouteLimits {
    fn default() -> Self {
        Self {
            body_bytes: 16_777_216,
            body_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(300),
            stream_idle: Duration::from_secs(300),
            total_timeout: None,
            min_rate: Some(MinRate {
                bytes: 240,
                over: Duration::from_secs(60),
            }),
        }
    }
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamConfig {
    /// For metrics and logs.
    pub name: String,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// Whether and how they are probed; `None`: all count as healthy.
    pub health: Option<HealthCheck>,
    /// What is tried again.
    pub retries: Retries,
}

/// One server of an upstream, spoken to in plain HTTP/1.1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A name or address (IPv6 without brackets) and a port. Names are resolved, and resolved again, while running.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// How an endpoint is chosen among the healthy ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// One after another.
    RoundRobin,
    /// The one with the fewest requests in flight.
    LeastRequest,
    /// The same value of this request header goes to the same endpoint; without the header, one after another.
    Consistent(HeaderName),
}

/// How endpoints are probed: `GET path` must answer 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path (and query) asked for.
    pub path: String,
    /// Between two probes of one endpoint.
    pub interval: Duration,
    /// For a whole probe.
    pub timeout: Duration,
    /// Failures in a row after which an endpoint is taken out.
    pub unhealthy_after: u32,
    /// Successes in a row after which it is taken back.
    pub healthy_after: u32,
}

impl HealthCheck {
    /// A check of `path` with default timing.
    pub fn of(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            unhealthy_after: 2,
            healthy_after: 2,
        }
    }
}

/// How long an upstream may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Duration,
    /// From the end of the request to the first byte of the response.
    pub first_byte: Duration,
    /// How long an unused connection to it is kept.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(120),
            idle: Duration::from_secs(60),
        }
    }
}

/// What is tried again, on another endpoint where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// Attempts in all; 1 means that nothing is tried again.
    pub attempts: u32,
    /// Whether a connection that could not be made is a reason. Nothing was sent then, so any method may be tried again.
    pub on_connect: bool,
    /// Response statuses that are a reason, for `methods` only and only for requests without a body.
    pub on_statuses: Vec<u16>,
    /// Methods for which a request that was sent may be sent again.
    pub methods: Vec<Method>,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 2,
            on_connect: true,
            on_statuses: vec![502, 503],
            methods: vec![Method::GET, Method::HEAD, Method::OPTIONS],
        }
    }
}

/// The headers that tell an upstream whose key it was, and the inbound names that could be mistaken for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityConfig {
    /// Public id of the key.
    pub key_id: Option<HeaderName>,
    /// Slug of its organisation.
    pub org: Option<HeaderName>,
    /// Its workspace.
    pub workspace: Option<HeaderName>,
    /// Its owner, `type/id`.
    pub owner: Option<HeaderName>,
    /// Its family.
    pub family: Option<HeaderName>,
    /// Inbound names that are removed, in every spelling.
    pub strip: Vec<NamePattern>,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            key_id: Some(HeaderName::from_static("x-keyward-key-id")),
            org: Some(HeaderName::from_static("x-keyward-org")),
            workspace: Some(HeaderName::from_static("x-keyward-workspace")),
            owner: Some(HeaderName::from_static("x-keyward-owner")),
            family: Some(HeaderName::from_static("x-keyward-family")),
            strip: vec![
                NamePattern::Prefix("x-prismeai-".to_owned()),
                NamePattern::Prefix("x-keyward-".to_owned()),
            ],
        }
    }
}

/// A pattern for header names. Written and compared in the normal spelling: lower-case, `_` and `.` as `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePattern {
    /// This name.
    Exact(String),
    /// Every name that begins with this (written `x-keyward-*`).
    Prefix(String),
}

/// The form of the bodies of our own answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorStyle {
    /// `{"error":…,"message":…,"details":{"reason":…}}`, as the platform has it.
    #[default]
    Prisme,
    /// The same without details, so that all refusals of one status look alike.
    Minimal,
    /// RFC 9457.
    Problem,
}
