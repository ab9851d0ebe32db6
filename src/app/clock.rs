//! The only clock. Everything below this floor is given `now`.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

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
    let began = Instant::now();
    Arc::new(move || Moment {
        steady: began.elapsed(),
        time: now(),
    })
}

/// The moment of the call, by the machine's clock.
#[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
