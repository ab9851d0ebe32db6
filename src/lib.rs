//! Keyward: an edge reverse proxy that validates API keys.
//!
//! The modules are floors; each imports only from those below. See ARCHITECTURE.md.

pub mod authz;
pub mod telemetry;
pub mod wire;

#[cfg(feature = "replica")]
pub mod replica;

#[cfg(feature = "proxy")]
pub mod proxy;

#[cfg(feature = "control")]
pub mod control;

#[cfg(feature = "cli")]
pub mod app;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod config;
