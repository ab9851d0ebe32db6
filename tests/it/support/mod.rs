//! What the tests of the data plane stand on: a real gateway, an upstream that records bytes, a client of raw bytes.

pub mod client;
pub mod frames;
pub mod gateway;
#[cfg(feature = "cli")]
pub mod platform;
pub mod upstream;

pub use client::Client;
pub use gateway::TestGateway;
pub use upstream::Recorder;
