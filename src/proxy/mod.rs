//! The data plane: requests come in at the door, are judged, and go to an upstream or are refused.
//!
//! The only place that knows pingora. It knows no configuration file and no control plane.

mod config;

pub use config::{
    Balance, Config, Endpoint, ErrorStyle, HealthCheck, IdentityConfig, Limits, ListenAddr,
    NamePattern, Retries, RouteLimits, RouteSettings, Rules, Timeouts, UpstreamConfig,
};
