//! What crosses a boundary, and the conversions into the types of `authz`.
//!
//! Serde stops here: below, types are checked and nothing is optional that is required.

mod change;
pub(crate) mod codec;
pub mod decide;
pub mod entry;
pub mod grants;
pub mod needed;
pub mod prisme;
pub mod rule;
#[cfg(test)]
pub(crate) mod samples;
pub mod sync;
pub mod time;
pub mod value;

pub use change::{
    Change, ChangeSink, Epoch, Incomplete, KeySource, Secret, SecretDigest, SecretEntry, Settling,
};
