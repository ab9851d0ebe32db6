//! What is known of an exchange with a control plane while it is under way.

use std::time::Duration;

use super::event::{Action, Why};
use crate::wire::SecretEntry;
use crate::wire::sync::{Assembly, Position};

/// A snapshot may have to be waited for, when others are being given one.
const SNAPSHOT_SILENCE_MAX: Duration = Duration::from_secs(15);
/// For a whole snapshot, which a control plane gives up by then as well.
const SNAPSHOT_TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// For a message that comes in pieces.
const MESSAGE_TIME: Duration = Duration::from_secs(30);

/// A stream of changes.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) asked: Duration,
    pub(super) opened: Duration,
    pub(super) life: Life,
    pub(super) coming: Assembly,
    /// Heartbeats that confirmed the copy.
    pub(super) confirmed: u32,
    /// Those in succession that were ahead of it.
    pub(super) ahead: u32,
}

impl Stream {
    pub(super) fn new(asked: Duration, opened: Duration) -> Self {
        Self {
            asked,
            opened,
            life: Life::new(opened),
            coming: Assembly::default(),
            confirmed: 0,
            ahead: 0,
        }
    }
}

/// A snapshot that is being fetched.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) asked: Duration,
    pub(super) life: Life,
    pub(super) begun: Option<Begun>,
}

impl Fetch {
    pub(super) fn new(asked: Duration) -> Self {
        Self {
            asked,
            life: Life::new(asked),
            begun: None,
        }
    }

    /// When it is given up, unless more of it comes, or by when at the latest.
    pub(super) fn ends(&self) -> Duration {
        let silent = self.life.ends(SNAPSHOT_SILENCE_MAX);
        silent.min(self.asked + SNAPSHOT_TIME_MAX)
    }
}

/// What is known of a snapshot from its beginning on.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) position: Position,
    pub(super) announced: u64,
    pub(super) came: u64,
}

impl Begun {
    pub(super) fn new(position: Position, announced: u64) -> Self {
        Self {
            position,
            announced,
            came: 0,
        }
    }

    /// Takes keys, unless they are more than were announced.
    pub(super) fn take(
        &mut self,
        entries: Vec<SecretEntry>,
        actions: &mut Vec<Action>,
    ) -> Option<Why> {
        self.came += entries.len() as u64;
        if self.came > self.announced {
            return Some(Why::Nonsense);
        }
        actions.push(Action::Load(entries));
        None
    }

    pub(super) fn is_whole(&self, keys: u64) -> bool {
        self.came == keys && keys == self.announced
    }
}

/// When something last came.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) heard: Duration,
    pub(super) message: Duration,
}

impl Life {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            heard: now,
            message: now,
        }
    }

    pub(super) fn ends(&self, silence_max: Duration) -> Duration {
        (self.heard + silence_max).min(self.message + MESSAGE_TIME.max(silence_max))
    }
}
