//! A moment on two clocks: one that people set, and one that only ever goes forward.

use std::sync::Arc;
use std::time::Duration;

use crate::authz::Timestamp;

/// A moment. What expires is held against `time`; how old something is, is told by `steady`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since some beginning within this process.
    pub steady: Duration,
    /// By the calendar.
    pub time: Timestamp,
}

/// Says what moment it is, to whoever was handed one.
pub type MomentClock = Arc<dyn Fn() -> Moment + Send + Sync>;
