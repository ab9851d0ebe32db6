//! What Keyward tells about itself: metrics, the access log, events for operators; and what it must never tell.
//!
//! It counts and formats what it is given. It knows neither requests nor keys, and decides nothing.

pub mod access_log;
pub mod metrics;
pub mod redact;

mod events;

pub use access_log::{AccessLog, Record};
pub use events::{InvalidFilter, init_tracing};
pub use metrics::{ConnectionEnd, KeyFigures, Metrics, Outcome, RouteMetrics, UpstreamMetrics};
