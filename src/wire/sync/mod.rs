//! Version 1 of what a control plane and its gateways say to each other; `docs/spec/sync.md` is its norm.
//!
//! It knows how things are said, and nothing of when.

mod frame;
mod gateway;
mod message;
#[cfg(test)]
mod tests;

pub use frame::{FrameReader, FrameWriter, InvalidFrame, PAYLOAD_BYTES_MAX};
pub use gateway::{
    Ack, GATEWAY_NAME_CHARACTERS_MAX, GatewayId, GatewayInfo, InvalidSync, MAX_STALENESS_MAX,
    OnStale, Position, SyncQuery, USES_MAX, UsageReport, Use, parse_hex,
};
pub use message::{
    Assembly, CHANGE_KEYS_MAX, InvalidMessage, Message, TooManyKeys, encode_change, encode_entries,
};

/// What streams of messages are called in `Content-Type`.
pub const CONTENT_TYPE: &str = "application/vnd.keyward.sync.v1";
