//! What a control plane tells a gateway, message by message.
//!
//! A snapshot is `Begin`, any number of `Put`, `End`. A change is any number of `Put` and `Removed`, then `Apply`.

use std::borrow::Borrow;
use std::time::Duration;

use crate::authz::{KeyId, Revision};
use crate::wire::codec::{Reader, Writer};
use crate::wire::{Change, Epoch, SecretEntry};

/// Keys that one change may touch; what touches more is brought as a snapshot.
pub const CHANGE_KEYS_MAX: usize = 100_000;
/// A list of keys goes out once its payload is so long.
const PAYLOAD_BYTES: usize = 64 * 1024;

const BEGIN: u8 = 0;
const PUT: u8 = 1;
const REMOVED: u8 = 2;
const END: u8 = 3;
const APPLY: u8 = 4;
const HEARTBEAT: u8 = 5;
const RESYNC: u8 = 6;

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A snapshot begins.
    Begin {
        /// The history that it is of.
        epoch: Epoch,
        /// The last change contained.
        revision: Revision,
        /// How many keys will come.
        keys: u64,
    },
    /// Keys of a snapshot, or keys that a change puts.
    Put(Vec<SecretEntry>),
    /// Keys that a change removes.
    Removed(Vec<KeyId>),
    /// The snapshot is whole.
    End {
        /// How many keys it has.
        keys: u64,
    },
    /// The change is whole: what came since the one before it.
    Apply {
        /// The oldest revision that it may be applied to.
        previous: Revision,
        /// The revision that it leads to.
        revision: Revision,
    },
    /// Everything up to here was sent.
    Heartbeat {
        /// The last revision that the control plane knows.
        revision: Revision,
        /// How long ago the control plane was sure that there is none after it. Milliseconds on the wire.
        age: Duration,
        /// The latest tag that came from this gateway with an acknowledgement; 0: none yet.
        echo: u64,
    },
    /// There are no changes from there on: a snapshot is needed. The stream ends.
    Resync,
}

/// Bytes that are no message of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message cannot be read")]
pub struct InvalidMessage;

impl Message {
    /// Its payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut to = Writer(&mut bytes);
        match self {
            Self::Begin {
                epoch,
                revision,
                keys,
            } => {
                to.byte(BEGIN);
                to.array(&epoch.0.to_be_bytes());
                to.number(revision.0);
                to.number(*keys);
            }
            Self::Put(entries) => {
                to.byte(PUT);
                entries.iter().for_each(|entry| to.entry(entry));
            }
            Self::Removed(ids) => {
                to.byte(REMOVED);
                ids.iter().for_each(|id| to.text(id.as_str()));
            }
            Self::End { keys } => {
                to.byte(END);
                to.number(*keys);
            }
            Self::Apply { previous, revision } => {
                to.byte(APPLY);
                to.number(previous.0);
                to.number(revision.0);
            }
            Self::Heartbeat {
                revision,
                age,
                echo,
            } => {
                to.byte(HEARTBEAT);
                to.number(revision.0);
                to.number(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
                to.number(*echo);
            }
            Self::Resync => to.byte(RESYNC),
        }
        bytes
    }

    /// The message of a payload.
    ///
    /// # Errors
    /// It is none of this version, or something follows it.
    pub fn decode(payload: &[u8]) -> Result<Self, InvalidMessage> {
        let mut from = Reader(payload);
        let message = Self::read(&mut from).ok_or(InvalidMessage)?;
        if from.is_at_end() {
            Ok(message)
        } else {
            Err(InvalidMessage)
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(match from.byte()? {
            BEGIN => Self::Begin {
                epoch: Epoch(u128::from_be_bytes(from.array()?)),
                revision: Revision(from.number()?),
                keys: from.number()?,
            },
            PUT => Self::Put(from.all(Reader::entry)?),
            REMOVED => Self::Removed(from.all(|from| from.text().map(KeyId::new))?),
            END => Self::End {
                keys: from.number()?,
            },
            APPLY => Self::Apply {
                previous: Revision(from.number()?),
                revision: Revision(from.number()?),
            },
            HEARTBEAT => Self::Heartbeat {
                revision: Revision(from.number()?),
                age: Duration::from_millis(from.number()?),
                echo: from.number()?,
            },
            RESYNC => Self::Resync,
            _ => return None,
        })
    }
}

/// The payloads of a change, in their order.
pub fn encode_change(change: &Change) -> Vec<Vec<u8>> {
    let mut payloads: Vec<Vec<u8>> = encode_entries(&change.put).collect();
    payloads.extend(lists(&change.removed, REMOVED, |to, id| {
        to.text(id.as_str());
    }));
    let (previous, revision) = (change.previous, change.revision);
    payloads.push(Message::Apply { previous, revision }.encode());
    payloads
}

/// The payloads of keys, each of about 64 KiB.
pub fn encode_entries<E: Borrow<SecretEntry>>(
    entries: impl IntoIterator<Item = E>,
) -> impl Iterator<Item = Vec<u8>> {
    lists(entries, PUT, |to, entry| to.entry(entry.borrow()))
}

fn lists<T>(
    items: impl IntoIterator<Item = T>,
    kind: u8,
    write: impl Fn(&mut Writer<'_>, T),
) -> impl Iterator<Item = Vec<u8>> {
    let mut items = items.into_iter().peekable();
    std::iter::from_fn(move || {
        items.peek()?;
        let mut payload = vec![kind];
        while payload.len() < PAYLOAD_BYTES
            && let Some(item) = items.next()
        {
            write(&mut Writer(&mut payload), item);
        }
        Some(payload)
    })
}

/// A change that is being received.
#[derive(Debug, Default)]
pub struct Assembly {
    put: Vec<SecretEntry>,
    removed: Vec<KeyId>,
}

/// What is received touches more than [`CHANGE_KEYS_MAX`] keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a change touches more than {CHANGE_KEYS_MAX} keys")]
pub struct TooManyKeys;

impl Assembly {
    /// Takes keys that are put.
    ///
    /// # Errors
    /// They are too many with those before.
    pub fn put(&mut self, entries: Vec<SecretEntry>) -> Result<(), TooManyKeys> {
        self.put.extend(entries);
        self.within_limit()
    }

    /// Takes keys that are removed.
    ///
    /// # Errors
    /// They are too many with those before.
    pub fn remove(&mut self, ids: Vec<KeyId>) -> Result<(), TooManyKeys> {
        self.removed.extend(ids);
        self.within_limit()
    }

    /// Whether nothing came since the last change.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.removed.is_empty()
    }

    /// The change, now that it is whole. The next one begins.
    pub fn finish(&mut self, previous: Revision, revision: Revision) -> Change {
        let Self { put, removed } = std::mem::take(self);
        Change {
            previous,
            revision,
            put,
            removed,
        }
    }

    fn within_limit(&self) -> Result<(), TooManyKeys> {
        if self.put.len() + self.removed.len() > CHANGE_KEYS_MAX {
            return Err(TooManyKeys);
        }
        Ok(())
    }
}
