//! Every default of the configuration, each with its reason.
//!
//! A default is what is right for someone who has not thought about the setting yet: safe before fast.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Loopback: whoever reaches the ops listener sees the names of routes and can ask for a reload.
pub const OPS_LISTEN: SocketAddr = loopback(9900);

/// Loopback: the control plane refuses other addresses without TLS.
pub const CONTROL_LISTEN: SocketAddr = loopback(8081);

/// Below the directory that the process is started in, as the quickstart has it.
pub const DATABASE: &str = "sqlite://keyward-data/keyward.db";

/// How often a platform's lists are read: soon enough for a key that was just disabled, seldom enough for the platform.
pub const POLL: Duration = seconds(10);

/// How long a secret is used without asking the platform again.
pub const VALIDATE_CACHE: Duration = seconds(60);

/// Several polls in a row have failed then.
pub const MAX_STALENESS: Duration = seconds(60);

/// One worker a core.
pub const THREADS: usize = 0;

/// What orchestrators commonly leave between SIGTERM and SIGKILL.
pub const GRACEFUL_SHUTDOWN: Duration = seconds(30);

/// The header that clients of Prisme.ai send their key in.
pub const KEY_HEADER: &str = "x-prismeai-api-key";

/// Names of the headers that tell an upstream whose key it was: all in one family, so that one pattern strips them.
pub const IDENTITY_KEY_ID: &str = "x-keyward-key-id";
/// See [`IDENTITY_KEY_ID`].
pub const IDENTITY_ORG: &str = "x-keyward-org";
/// See [`IDENTITY_KEY_ID`].
pub const IDENTITY_WORKSPACE: &str = "x-keyward-workspace";
/// See [`IDENTITY_KEY_ID`].
pub const IDENTITY_OWNER: &str = "x-keyward-owner";
/// See [`IDENTITY_KEY_ID`].
pub const IDENTITY_FAMILY: &str = "x-keyward-family";

/// What the platform's services and Keyward's upstreams believe; nobody outside may set it.
pub const IDENTITY_STRIP: [&str; 2] = ["x-prismeai-*", "x-keyward-*"];

/// Room for a few large cookies and tokens.
pub const HEADER_BYTES: u64 = 65_536;

/// Browsers send about twenty.
pub const HEADERS: usize = 100;

/// What common servers and caches take.
pub const URI_BYTES: u64 = 8192;

/// Uploads beyond it are rare and belong on a route that says so.
pub const BODY_BYTES: u64 = 16_777_216;

/// A head is one packet or two; who needs longer holds a connection on purpose.
pub const HEADER_TIMEOUT: Duration = seconds(10);

/// Between two requests of one connection: longer than most clients keep theirs.
pub const KEEP_ALIVE: Duration = seconds(60);

/// Between two reads of a body: a slow uplink pauses, but not for a minute.
pub const BODY_TIMEOUT: Duration = seconds(60);

/// An upload that takes longer belongs on a route that says so; who needs a byte a minute is up to something else.
pub const REQUEST_TIMEOUT: Duration = seconds(300);

/// None: answers of language models and streams of events have no natural end.
pub const TOTAL_TIMEOUT: Duration = Duration::ZERO;

/// A stream of events without one for five minutes has lost its client.
pub const STREAM_IDLE: Duration = seconds(300);

/// What IIS and Kestrel ask for. A telephone at the edge of its network has ten times as much.
pub const MIN_RATE: u64 = 240;

/// As long as `body_timeout`: nobody who may pause that long is ended for a pause.
pub const MIN_RATE_OVER: Duration = seconds(60);

/// At about 25 KiB an idle connection: 250 MB.
pub const CONNECTIONS: usize = 10_000;

/// None: behind a balancer of load all clients have its address. At the edge, 100 is plenty for a browser.
pub const CONNECTIONS_PER_CLIENT: usize = 0;

/// What clients of HTTP/2 expect at least.
pub const STREAMS: usize = 100;

/// Compiled keys that are kept: about 50 MB when full.
pub const CACHE_PRINCIPALS: u64 = 100_000;

/// Enough to see who is at it; a flood of every reason at once fills a disk with less than 2 MB a second.
pub const LOG_REFUSALS_PER_SECOND: u64 = 100;

/// Unknown keys that are remembered, apart from the known ones, so that guessing cannot displace them.
pub const CACHE_NEGATIVE: u64 = 10_000;

/// Short: a key that was just made must not stay unknown.
pub const CACHE_NEGATIVE_TTL: Duration = seconds(5);

/// Between two probes of an endpoint: it is out within ten seconds of failing.
pub const HEALTH_INTERVAL: Duration = seconds(5);

/// A health check that takes a second is an answer too.
pub const HEALTH_TIMEOUT: Duration = seconds(1);

/// One lost packet does not take an endpoint out.
pub const UNHEALTHY_AFTER: u32 = 2;

/// One lucky answer does not take it back.
pub const HEALTHY_AFTER: u32 = 2;

/// Within a data centre a connection takes milliseconds.
pub const CONNECT: Duration = seconds(1);

/// Language models think for long.
pub const FIRST_BYTE: Duration = seconds(120);

/// Shorter than what upstreams commonly keep unused connections.
pub const UPSTREAM_IDLE: Duration = seconds(60);

/// One more try, elsewhere where there is an elsewhere; more would multiply an overload.
pub const RETRY_ATTEMPTS: u32 = 2;

/// Statuses by which an upstream says that it did not handle the request.
pub const RETRY_STATUSES: [u16; 2] = [502, 503];

/// Methods that change nothing.
pub const RETRY_METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// What a route answers to that says nothing: everything common. TRACE would show credentials.
pub const ROUTE_METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
