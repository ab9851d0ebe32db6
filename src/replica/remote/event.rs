//! What a follower is told and what it says: its events, its actions, and what people should know.
//!
//! Plain data; what is made of it stands in `follower`.

use std::fmt;
use std::time::Duration;

use crate::authz::{Revision, Timestamp};
use crate::wire::sync::{Ack, Message, Position};
use crate::wire::{Change, Epoch, SecretEntry};

/// A request with its answer, by number: what is heard of one that was given up is nothing.
pub(super) type Exchange = u64;

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    /// A request was answered with a stream, which begins.
    Opened(Exchange),
    /// A piece of the stream came.
    Heard(Exchange),
    /// A message of the stream has come whole.
    Message(Exchange, Message),
    /// There is no stream, or no more of it.
    Ended(Exchange, Ended),
    /// The snapshot that was given whole is in place of the copy, or could not be put there.
    Loaded(bool),
    /// This is what the next request sees, nothing goes on that it put an end to, and it is kept.
    Settled(Position),
    /// The acknowledgement with this tag was answered, or not.
    Acknowledged(u64),
    /// Time has passed.
    Tick,
}

/// Why a stream is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nobody answers, or the connection broke.
    Broken,
    /// What came was not what was sent, or cannot be read.
    Damaged,
    /// The control plane does not accept this gateway's token.
    Unauthorized,
    /// It does not serve now.
    Refused(Option<Duration>),
    /// It hashes keys with another pepper, so that its keys are none here.
    OtherPepper,
    /// It has no changes from there on.
    SnapshotNeeded,
}

/// What to do, in the order given.
#[derive(Debug)]
pub(super) enum Action {
    /// Ask a control plane for changes after a position; without one, for a snapshot.
    Ask {
        /// The number under which to tell of it.
        exchange: Exchange,
        /// Which control plane.
        endpoint: usize,
        /// Where the copy stands.
        after: Option<Position>,
    },
    /// Give the exchange up, the acknowledgement under way, and a load that is not finished.
    HangUp,
    /// Begin to load a snapshot of about this many keys aside.
    Begin(Position, u64),
    /// Load these keys.
    Load(Vec<SecretEntry>),
    /// The snapshot is whole: put it in place of the copy.
    Finish,
    /// Apply a change.
    Apply(Change),
    /// Acknowledge to a control plane.
    Acknowledge(usize, Ack),
    /// Note down that the copy was current then.
    Confirm(Timestamp),
    /// Say it to people.
    Say(Notice),
}

/// What people should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// Changes come.
    Follows { endpoint: usize },
    /// An endpoint failed.
    Lost { endpoint: usize, why: Why },
    /// A snapshot older than the copy was refused.
    Older {
        offered: Revision,
        applied: Revision,
    },
    /// A snapshot of a history that was left a while ago was refused.
    Former { epoch: Epoch },
    /// Another history is taken over.
    Epoch { from: Epoch, to: Epoch },
}

/// Why a control plane is left for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// What the link says.
    Ended(Ended),
    /// Nothing comes.
    Silent,
    /// Its heartbeats are old, or do not show that it hears this gateway.
    NotCurrent,
    /// Changes are missing.
    Gap,
    /// Messages come where they make no sense, or more than there may be.
    Nonsense,
    /// What it offers is not accepted.
    NotAccepted,
    /// The snapshot could not be put in place.
    NotLoaded,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended(Ended::Broken) => "it cannot be reached, or breaks off",
            Self::Ended(Ended::Damaged) => "what came is damaged, or of another version",
            Self::Ended(Ended::Unauthorized) => "it does not accept the token",
            Self::Ended(Ended::Refused(_)) => "it does not serve now",
            Self::Ended(Ended::OtherPepper) => {
                "it hashes keys with another pepper: set `credentials.pepper` to the control plane's"
            }
            Self::Ended(Ended::SnapshotNeeded) => "it wants a snapshot to be fetched, again",
            Self::Silent => "nothing comes from it",
            Self::NotCurrent => "it is not current itself, or does not hear this gateway",
            Self::Gap => "changes are missing",
            Self::Nonsense => "its messages make no sense",
            Self::NotAccepted => "its snapshot is not accepted",
            Self::NotLoaded => "its snapshot could not be put in place",
        })
    }
}

/// What has happened since the start, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Streams that were followed.
    pub streams: u64,
    /// Whole snapshots that were put in place.
    pub snapshots: u64,
    /// Snapshots that were refused because they are older, or of a history that was left.
    pub refused: u64,
    /// Changes that came although they were applied already.
    pub repeated: u64,
    /// Times that something was missing or damaged.
    pub flaws: u64,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Follows { .. } => f.write_str("changes of keys come from a control plane"),
            Self::Lost { why, .. } => write!(f, "a control plane is left for the next: {why}"),
            Self::Older { offered, applied } => write!(
                f,
                "a snapshot of keys at revision {} was refused: {} is applied",
                offered.0, applied.0
            ),
            Self::Former { epoch } => write!(
                f,
                "a snapshot of epoch {epoch} was refused, which was left a while ago: do two stores answer to one name?"
            ),
            Self::Epoch { from, to } => write!(
                f,
                "the store's history is another one: epoch {to} takes the place of {from}"
            ),
        }
    }
}
