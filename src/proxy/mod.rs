//! The data plane: requests come in at the door, are judged, and go to an upstream or are refused.
//!
//! The only place that knows pingora. It knows no configuration file and no control plane.

mod attempt;
mod body;
mod clients;
mod config;
mod connections;
mod descriptors;
mod door;
mod exchange;
mod facts;
mod forward;
mod framing;
mod gateway;
mod head;
mod health;
mod http2;
mod identity;
mod introduction;
mod limits;
mod line;
mod listen;
mod live;
mod observe;
mod ops;
mod origin;
mod pace;
mod preamble;
mod rate;
mod reaper;
mod regime;
mod respond;
mod service;
mod shares;
mod socket;
mod trace;
mod upgrade;
mod upstream;
mod wire;

pub use config::{
    Balance, Ceilings, Config, Endpoint, ErrorStyle, HealthCheck, IdentityConfig, Limits,
    ListenAddr, ListenerConfig, NamePattern, Rate, RateBy, Retries, RouteLimits, RouteSettings,
    Rules, Timeouts, TrustedPeers, UpstreamConfig,
};
pub use framing::{Chunks, Framing, InvalidChunks};
pub use gateway::{Gateway, Surroundings};
pub use head::{HEADER_LINES_MAX, Head, Malformed, Scan, scan};
pub use listen::BindError;
pub use ops::Reload;
pub use pace::MinRate;
pub use reaper::Reaper;
pub use regime::Clock;
pub use upstream::ATTEMPTS_MAX;
