//! The configuration as typed: one struct a section, every field with its meaning, range and default.
//!
//! These types *are* the schema: `keyward schema` prints it, the structural check walks it, the documentation shows it.
//! Nothing here knows another field; what must hold between fields is seen to in `resolve`.

mod credentials;
mod limits;
mod prisme;
mod remote;
mod requirement;
mod route;
mod section;
mod upstream;

pub use credentials::{Credentials, Forward, Identity, IdentityHeaders, Source, UserTokenSource};
pub use limits::{Limits, RouteLimits};
pub use prisme::{OnStale, Prisme};
pub use remote::{Remote, Urls};
pub use requirement::{Access, EmptyScopes, Families, Level, Require, RequireWord, Rule};
pub use route::{Rate, RateBy, Route, RouteCredentials, RouteMatch, Taking, UserTokens};
pub use section::{
    AccessLog, Cache, Case, ControlTls, Embedded, Errors, File, Keys, Listener, Match, Off, Ops,
    Server, TrailingSlash,
};
pub use upstream::{Balance, Health, Retries, RetryOn, RouteTimeouts, Timeouts, Upstream};
