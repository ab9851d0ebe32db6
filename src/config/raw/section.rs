//! The file as a whole, and its small sections.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::super::defaults;
use super::super::scalar::{Database, ListenAddress, SocketAddress, Span, TrustedPeer};
use super::credentials::{Credentials, Identity};
use super::limits::Limits;
use super::prisme::Prisme;
use super::remote::Remote;
use super::route::Route;
use super::upstream::Upstream;

/// Configuration of Keyward. `${VAR}` and `${VAR:-default}` are replaced in every string.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Keyward configuration")]
pub struct File {
    /// Where clients come in.
    #[schemars(length(min = 1))]
    #[schemars(with = "Vec<Listener>")]
    pub listen: Option<Vec<Listener>>,
    /// Where operators come in: health, status, metrics, reload.
    #[serde(default)]
    pub ops: Ops,
    /// The process.
    #[serde(default)]
    pub server: Server,
    /// Where requests carry credentials, and what becomes of them.
    #[serde(default)]
    pub credentials: Credentials,
    /// What upstreams are told about the key that was judged.
    #[serde(default)]
    pub identity: Identity,
    /// The form of Keyward's own answers.
    #[serde(default)]
    pub errors: Errors,
    /// How upstreams read paths; routes can differ.
    #[serde(default, rename = "match")]
    pub matching: Match,
    /// Limits on what clients may send.
    #[serde(default)]
    pub limits: Limits,
    /// Where the keys come from: exactly one source.
    #[schemars(with = "Keys")]
    pub keys: Option<Keys>,
    /// How much is kept ready for the next request.
    #[serde(default)]
    pub cache: Cache,
    /// Whether each request leaves a line on standard output.
    #[serde(default)]
    pub access_log: AccessLog,
    /// Refusals of one reason in a second that leave a line each. Those beyond are told together, in one line.
    #[serde(default = "log_refusals_per_second")]
    #[schemars(range(max = 1_000_000))]
    pub log_refusals_per_second: u64,
    /// Where requests go, by name.
    #[schemars(with = "BTreeMap<String, Upstream>")]
    pub upstreams: Option<BTreeMap<String, Upstream>>,
    /// What may be asked for, by whom, and where it goes. What no route names is refused.
    #[schemars(with = "Vec<Route>")]
    pub routes: Option<Vec<Route>>,
}

fn log_refusals_per_second() -> u64 {
    defaults::LOG_REFUSALS_PER_SECOND
}

/// A place to listen at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// An IP address with a port, or `unix:/path`. Port 0 takes a free one.
    #[schemars(with = "ListenAddress")]
    pub address: Option<ListenAddress>,
    /// Peers that may say for whom they ask: their identity headers, which are removed of everyone else's requests,
    /// are kept. An address, a network as `10.0.0.0/8`, or `unix` for whoever may open the Unix socket.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub trusted_identity_from: Vec<TrustedPeer>,
    /// Proxies whose word is taken on where a request came from: of them `X-Forwarded-For`, `-Host`, `-Port`, `-Proto`,
    /// `Forwarded` and `X-Real-IP` are taken up, which are removed of everyone else's requests. Written as
    /// `trusted_identity_from` is.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub trusted_proxies: Vec<TrustedPeer>,
    /// Whether each connection begins with a header of the PROXY protocol, version 1 or 2. Only `trusted_proxies` may
    /// connect then.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Whether a connection may also begin with HTTP/2, without TLS and without asking first (prior knowledge).
    #[serde(default)]
    pub h2c: bool,
}

/// A switch that this version can only leave off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub struct Off;

impl From<bool> for Off {
    fn from(_: bool) -> Self {
        Self
    }
}

impl From<Off> for bool {
    fn from(_: Off) -> Self {
        false
    }
}

impl JsonSchema for Off {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Off".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean", "const": false })
    }
}

/// The listener for operators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ops {
    /// Loopback or a network of operators only: no credentials are asked for.
    pub listen: SocketAddress,
}

impl Default for Ops {
    fn default() -> Self {
        Self {
            listen: SocketAddress(defaults::OPS_LISTEN),
        }
    }
}

/// The process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Worker threads; 0: one a core.
    #[schemars(range(max = 1024))]
    pub threads: usize,
    /// How long requests in flight may take to end after SIGTERM, before they are cut.
    pub graceful_shutdown: Span,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            threads: defaults::THREADS,
            graceful_shutdown: Span(defaults::GRACEFUL_SHUTDOWN),
        }
    }
}

/// The form of Keyward's own answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Errors {
    /// As the platform answers: `error`, `message`, `details` with the reason.
    #[default]
    Prisme,
    /// The same without details, so that all refusals of one status look alike.
    Minimal,
    /// Problem details of RFC 9457.
    Problem,
}

/// How upstreams read paths.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Whether they tell `/Pages` from `/pages`.
    pub case: Case,
    /// Whether they tell `/pages/` from `/pages`.
    pub trailing_slash: TrailingSlash,
}

/// Whether paths that differ in letter case differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// They do.
    #[default]
    Sensitive,
    /// They do not.
    Insensitive,
}

/// Whether paths that differ in a slash at the end differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrailingSlash {
    /// They do.
    #[default]
    Significant,
    /// They do not.
    Ignored,
}

/// Where the keys come from: one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// A control plane in this process, with its own database.
    pub embedded: Option<Embedded>,
    /// A Prisme.ai platform, whose keys are taken as they are there.
    pub prisme: Option<Prisme>,
    /// Control planes elsewhere, whose keys are followed change by change.
    pub remote: Option<Remote>,
}

/// A control plane in this process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Embedded {
    /// Where its API listens.
    pub listen: SocketAddress,
    /// Where keys are stored: `sqlite://PATH`, relative to the directory that the process is started in, or
    /// `postgres://USER:PASSWORD@HOST:PORT/NAME`. A password is a secret: take it from the environment.
    pub database: Database,
    /// TLS of its API; absent: clear text.
    pub tls: Option<ControlTls>,
}

/// TLS of the control plane's API. The files are PEM, and read again at a reload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlTls {
    /// The file of the certificate, and after it those between it and a root.
    #[schemars(with = "String")]
    pub certificate: Option<String>,
    /// The file of its private key.
    #[schemars(with = "String")]
    pub private_key: Option<String>,
    /// The file of the authorities of clients' certificates; present: no client is served without one.
    pub client_ca: Option<String>,
}

impl Default for Embedded {
    fn default() -> Self {
        Self {
            listen: SocketAddress(defaults::CONTROL_LISTEN),
            database: Database(defaults::DATABASE.to_owned()),
            tls: None,
        }
    }
}

/// How much is kept ready for the next request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Keys that are kept compiled. A key that is not is compiled anew when it is next used.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub principals: u64,
    /// Unknown keys that are remembered as such.
    #[schemars(range(max = 100_000_000))]
    pub negative: u64,
    /// How long they are.
    pub negative_ttl: Span,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            principals: defaults::CACHE_PRINCIPALS,
            negative: defaults::CACHE_NEGATIVE,
            negative_ttl: Span(defaults::CACHE_NEGATIVE_TTL),
        }
    }
}

/// Whether each request leaves a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessLog {
    /// One line of JSON a request.
    #[default]
    Json,
    /// None.
    Off,
}
