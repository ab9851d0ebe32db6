//! What the system shows of this process to others: not its memory, through which raw keys and tokens pass.
//!
//! It knows no switch: whether to call it is for whoever starts.

use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Keeps the memory of this process to itself from now on: a fault writes no core of it, and no other process of the same
/// user may read it or be its debugger.
///
/// # Errors
/// The system does not allow it.
pub fn keep_memory_private() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
