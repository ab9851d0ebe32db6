//! What crosses a boundary, and the conversions into the types of `authz`.
//!
//! Serde stops here: below, types are checked and nothing is optional that is required.

mod change;
pub mod decide;
pub mod entry;
pub mod grants;
pub mod needed;
pub mod prisme;
pub mod rule;
pub mod time;
pub mod value;

pub use change::{
    Change, ChangeSink, Epoch, KeySource, Secret, SecretDigest, SecretEntry, Settling,
};
