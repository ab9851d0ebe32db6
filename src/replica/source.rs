//! Where the keys of the copy come from, as those see it who use the copy: how current it is, and what becomes of a
//! look-up where the copy alone does not decide.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::authz::{KeyLookup, PresentedKey};
use crate::wire::SecretDigest;

/// Where the keys come from.
pub trait Source: Send + Sync {
    /// How it is now.
    fn status(&self) -> SourceStatus;

    /// What it has counted.
    fn figures(&self) -> SourceFigures {
        SourceFigures::default()
    }

    /// How much longer what the copy says may be acted on, unless it is confirmed meanwhile: what goes on under its keys
    /// then has to end. Nothing: it may not be.
    fn lasts(&self) -> Duration {
        Duration::MAX
    }

    /// What a look-up of `key`, by `secret`, in the copy comes to. Where the copy says all that there is, what it says.
    fn settle(&self, _key: &PresentedKey<'_>, _secret: &SecretDigest, found: KeyLookup) -> Settled {
        Settled::Now(found)
    }
}

/// How current the keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceStatus {
    /// What the source is doing, in a word.
    pub state: &'static str,
    /// How long ago the keys were last known to be current.
    pub staleness: Duration,
    /// Whether requests may be decided with keys of that age.
    pub usable: bool,
}

/// What a source has counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceFigures {
    /// Streams of changes that were followed.
    pub streams: u64,
    /// Whole snapshots that were put in place.
    pub snapshots: u64,
    /// Snapshots that were refused because they are older, or of a history that was left.
    pub refused: u64,
    /// Changes that came although they were applied already.
    pub repeated: u64,
    /// Times that something was missing or damaged.
    pub flaws: u64,
    /// Steps on the copy on disk that failed.
    pub state_errors: u64,
}

/// What a look-up comes to.
pub enum Settled {
    /// This.
    Now(KeyLookup),
    /// The source must be asked first.
    Ask(Asking),
}

/// A question to the source that is under way. It borrows nothing of the request.
pub type Asking = Pin<Box<dyn Future<Output = Asked> + Send>>;

/// What the source says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The copy has it, or had it: look again.
    Known,
    /// There is no such key.
    Unknown,
    /// It cannot be told now.
    Unavailable,
}

impl fmt::Debug for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(lookup) => f.debug_tuple("Now").field(lookup).finish(),
            Self::Ask(_) => f.write_str("Ask(…)"),
        }
    }
}

impl Asked {
    /// What a look-up in the copy comes to, now that the source has been asked.
    pub fn settle(self, found: KeyLookup) -> KeyLookup {
        match (self, found) {
            (Self::Unknown, _) => KeyLookup::Unknown,
            // It was there a moment ago, so that nothing is certain but that.
            (Self::Unavailable, _) | (Self::Known, KeyLookup::Unknown) => KeyLookup::Unavailable,
            (Self::Known, found) => found,
        }
    }
}
