//! Upstreams: where requests go, how one server of several is chosen, what is tried again.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::super::defaults;
use super::super::scalar::{EndpointAddress, Header, MethodName, ProbePath, Timeout};
use super::section::Off;

/// A service that requests are forwarded to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its servers: `host:port` or `unix:/path`.
    #[schemars(with = "Vec<EndpointAddress>", length(min = 1, max = 1024))]
    pub endpoints: Option<Vec<EndpointAddress>>,
    /// How one of them is chosen.
    #[serde(default)]
    pub balance: Balance,
    /// How they are probed; absent: all count as healthy.
    pub health: Option<Health>,
    /// How long they may take; routes can differ.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// What is tried again.
    #[serde(default)]
    pub retries: Retries,
    /// HTTP/2 to the upstream.
    #[serde(default)]
    pub http2: Off,
}

/// How an endpoint is chosen among the healthy ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// One after another.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight.
    LeastRequest,
    /// The same value of this header goes to the same endpoint.
    Consistent(Header),
}

/// How endpoints are probed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What is asked for; anything but 2xx is a failure.
    #[schemars(with = "ProbePath")]
    pub path: Option<ProbePath>,
    /// Between two probes of one endpoint.
    #[serde(default = "health_interval")]
    pub interval: Timeout,
    /// For a whole probe.
    #[serde(default = "health_timeout")]
    pub timeout: Timeout,
    /// Failures in a row that take an endpoint out.
    #[serde(default = "unhealthy_after")]
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_after: u32,
    /// Successes in a row that take it back.
    #[serde(default = "healthy_after")]
    #[schemars(range(min = 1, max = 100))]
    pub healthy_after: u32,
}

fn health_interval() -> Timeout {
    Timeout(defaults::HEALTH_INTERVAL)
}

fn health_timeout() -> Timeout {
    Timeout(defaults::HEALTH_TIMEOUT)
}

fn unhealthy_after() -> u32 {
    defaults::UNHEALTHY_AFTER
}

fn healthy_after() -> u32 {
    defaults::HEALTHY_AFTER
}

/// How long an upstream may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Timeout,
    /// From the end of the request to the first byte of the response.
    pub first_byte: Timeout,
    /// How long an unused connection to it is kept.
    pub idle: Timeout,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Timeout(defaults::CONNECT),
            first_byte: Timeout(defaults::FIRST_BYTE),
            idle: Timeout(defaults::UPSTREAM_IDLE),
        }
    }
}

/// Timeouts of one route; what is absent is as at its upstream.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTimeouts {
    /// To accept a connection.
    pub connect: Option<Timeout>,
    /// From the end of the request to the first byte of the response.
    pub first_byte: Option<Timeout>,
    /// How long an unused connection is kept.
    pub idle: Option<Timeout>,
}

/// What is tried again, on another endpoint where there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retries {
    /// Attempts in all; 1: nothing is tried again.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,
    /// What is a reason: `connect` (no connection could be made, so any method may be tried again), or statuses of
    /// responses.
    pub on: Vec<RetryOn>,
    /// Methods for which a request without a body that was sent may be sent again.
    pub methods: Vec<MethodName>,
}

impl Default for Retries {
    fn default() -> Self {
        let statuses = defaults::RETRY_STATUSES.into_iter().map(RetryOn::Status);
        let methods = defaults::RETRY_METHODS.iter().flat_map(|m| m.parse());
        Self {
            attempts: defaults::RETRY_ATTEMPTS,
            on: [RetryOn::Connect].into_iter().chain(statuses).collect(),
            methods: methods.collect(),
        }
    }
}

/// A reason to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Value", into = "serde_json::Value")]
pub enum RetryOn {
    /// No connection could be made.
    Connect,
    /// This status was answered.
    Status(u16),
}

impl TryFrom<serde_json::Value> for RetryOn {
    type Error = String;

    fn try_from(value: serde_json::Value) -> Result<Self, String> {
        let status = value.as_u64().and_then(|status| status.try_into().ok());
        match status {
            Some(status) => Ok(Self::Status(status)),
            None if value.as_str() == Some("connect") => Ok(Self::Connect),
            None => Err(format!("{value} is no reason to try again")),
        }
    }
}

impl From<RetryOn> for serde_json::Value {
    fn from(reason: RetryOn) -> Self {
        match reason {
            RetryOn::Connect => "connect".into(),
            RetryOn::Status(status) => status.into(),
        }
    }
}

impl JsonSchema for RetryOn {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RetryOn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "oneOf": [
                { "type": "string", "const": "connect", "description": "No connection could be made." },
                { "type": "integer", "minimum": 500, "maximum": 599, "description": "This status was answered." },
            ],
        })
    }
}
