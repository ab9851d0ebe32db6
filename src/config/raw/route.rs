//! Routes: what may be asked for, and where it goes.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::defaults;
use super::super::scalar::{HostName, MethodName, Name, Timeout};
use super::credentials::Forward;
use super::limits::RouteLimits;
use super::requirement::Require;
use super::section::{Case, TrailingSlash};
use super::upstream::RouteTimeouts;

/// What may be asked for, by whom, and where it goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Unique; in metrics, logs and messages.
    #[schemars(with = "Name")]
    pub name: Option<Name>,
    /// Hosts that it answers to, exactly, without port. Empty: any.
    #[serde(default)]
    pub hosts: Vec<HostName>,
    /// The path: `{name}` stands for one segment, `{name}:verb` for one that ends so, `{*rest}` for the rest.
    #[schemars(with = "String")]
    pub path: Option<String>,
    /// Methods that it answers to.
    #[serde(default = "methods")]
    #[schemars(length(min = 1))]
    pub methods: Vec<MethodName>,
    /// What a key must be allowed to do, by family; or `authenticated` (any live key), `anonymous` (everyone),
    /// `trusted_identity` (whom a trusted peer names) or `nobody` (no key).
    #[schemars(with = "Require")]
    pub require: Option<Require>,
    /// The upstream that it goes to.
    #[schemars(with = "String")]
    pub upstream: Option<String>,
    /// Whether a request without any credential passes as anonymous. A key that is shown is judged all the same.
    #[serde(default)]
    pub optional: bool,
    /// What becomes of a user token, or an identity that a trusted peer names, without an API key.
    #[serde(default)]
    pub user_tokens: UserTokens,
    /// Whether refusals of 401, 403 and 429 are only counted and the request passes, for trying a requirement out.
    #[serde(default)]
    pub shadow: bool,
    /// Whether `%2F` is taken in the path.
    #[serde(default)]
    pub encoded_slash: Taking,
    /// Whether `;` is taken in the path.
    #[serde(default)]
    pub matrix: Taking,
    /// How the upstream reads paths, where it differs from the section `match` of the whole.
    #[serde(default, rename = "match")]
    pub matching: RouteMatch,
    /// What becomes of the key, where it differs from the section `credentials` of the whole.
    #[serde(default)]
    pub credentials: RouteCredentials,
    /// Timeouts that differ from the upstream's.
    #[serde(default)]
    pub timeouts: RouteTimeouts,
    /// Limits that differ from the section `limits` of the whole.
    #[serde(default)]
    pub limits: RouteLimits,
    /// How often it may be asked; absent: as often as may be.
    pub rate: Option<Rate>,
}

/// How often a route may be asked: `requests` at once, and as many again come to be in `per`, little by little. Each
/// gateway counts for itself: two permit twice as much. Only requests that may pass are counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests.
    #[schemars(with = "u32", range(min = 1, max = 1_000_000))]
    pub requests: Option<NonZeroU32>,
    /// In which so many come to be: 1s to 24h.
    #[schemars(with = "Timeout")]
    pub per: Option<Timeout>,
    /// Who has a share of its own.
    #[schemars(with = "RateBy")]
    pub by: Option<RateBy>,
}

/// Who has a share of a rate of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateBy {
    /// Each key. A request that passes without one counts for its client.
    Key,
    /// Each client address; of IPv6 each /64.
    Client,
    /// Nobody: all share one.
    Route,
}

fn methods() -> Vec<MethodName> {
    let methods = defaults::ROUTE_METHODS.iter();
    methods.flat_map(|method| method.parse()).collect()
}

/// What becomes of a user token, or an identity that a trusted peer names, without an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserTokens {
    /// It is refused.
    #[default]
    Reject,
    /// It passes, a user token on its form alone; the upstream judges it.
    Forward,
}

/// Whether something unusual in a path is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Taking {
    /// It is refused.
    #[default]
    Refuse,
    /// It is taken.
    Allow,
}

/// How the upstream of a route reads paths.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteMatch {
    /// Whether it tells `/Pages` from `/pages`.
    pub case: Option<Case>,
    /// Whether it tells `/pages/` from `/pages`.
    pub trailing_slash: Option<TrailingSlash>,
}

/// What becomes of the key on one route.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteCredentials {
    /// What becomes of the judged key on its way upstream.
    pub forward: Option<Forward>,
}
