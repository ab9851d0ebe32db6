//! The table, one file a theme.

mod chunks;
mod credentials;
mod framing;
mod headers;
mod hosts;
pub mod http2;
mod identity;
mod lines;
mod origins;
mod pipelines;
mod targets;
mod upgrades;
mod upstreams;

use super::row::Row;

/// A theme and its rows.
pub type Theme = (&'static str, Vec<Row>);

/// Every row.
pub fn all() -> Vec<Theme> {
    vec![
        ("request lines", lines::rows()),
        ("targets", targets::rows()),
        ("hosts", hosts::rows()),
        ("framing", framing::rows()),
        ("chunks", chunks::rows()),
        ("headers", headers::rows()),
        ("identity", identity::rows()),
        ("credentials", credentials::rows()),
        ("origins", origins::rows()),
        ("upgrades", upgrades::rows()),
        ("pipelines", pipelines::rows()),
        ("upstreams", upstreams::rows()),
    ]
}
