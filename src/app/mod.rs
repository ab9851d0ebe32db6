//! The composition root: builds the planes from finished settings, starts them, and ends them.
//!
//! Holds the only clock, and the admin token. Reads no configuration and prints nothing: that is the
//! business of the floor above.

pub mod admin_token;
pub mod clock;
pub mod data;
pub mod secrecy;

mod alone;
mod descriptors;
mod fed;
mod keys;
mod reload;
mod running;
mod serving;
mod signals;
mod usage;

pub use admin_token::{AdminSecret, NoAdminToken};
pub use alone::{Alone, AlonePlan, start_alone};
pub use keys::KeysFrom;
pub use reload::ReadRules;
pub use running::{Plan, Running, StartError, start};
