//! The only clock. Everything below this floor is given `now`.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::authz::Timestamp;
use crate::replica::{Moment, MomentClock};

/// Says what time it is, to whoever was handed one.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The machine's clock.
pub fn system() -> Clock {
    Arc::new(now)
}

/// The machine's clock, with the one that nobody sets beside it.
pub fn moments() -> MomentClock {
    let began = steady();
    Arc::new(move || Moment {
        steady: steady().saturating_sub(began),
        time: now(),
    })
}

/// What has passed since the machine was started, the time that it slept included: a copy of the keys gets old in it.
fn steady() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(
        now.tv_sec.try_into().unwrap_or(0),
        now.tv_nsec.try_into().unwrap_or(0),
    )
}

/// The moment of the call, by the machine's clock.
#[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
