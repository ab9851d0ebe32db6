//! What the files of a gateway's copy are made of: a line that says which file it is, then frames whose checks only
//! whoever has the gateway token can make.
//!
//! Most payloads are messages as the wire has them. It opens no file.

use crate::authz::{Pepper, Timestamp};
use crate::wire::codec::{Reader, Writer};
use crate::wire::sync::{FrameReader, FrameWriter, InvalidFrame, Message};
use crate::wire::{Epoch, SecretDigest};

/// Kinds of payloads that no message begins with.
const CONFIRMED: u8 = 0xc0;
const DIED: u8 = 0xc1;

/// Tombstones in one payload.
const TOMBSTONES_AT_ONCE: usize = 1000;

/// A file of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole state.
    Snapshot,
    /// What became of it since.
    Journal,
}

impl Kind {
    /// Its name in the directory.
    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Snapshot => "keys.snapshot",
            Self::Journal => "keys.journal",
        }
    }

    /// The name under which it is written until it is whole.
    pub(super) const fn beside(self) -> &'static str {
        match self {
            Self::Snapshot => "keys.snapshot.new",
            Self::Journal => "keys.journal.new",
        }
    }

    /// Its first line, up to the version.
    const fn magic(self) -> &'static [u8] {
        match self {
            Self::Snapshot => b"keyward-snapshot ",
            Self::Journal => b"keyward-journal ",
        }
    }

    /// Its first line.
    pub(super) fn head(self) -> Vec<u8> {
        [self.magic(), VERSION].concat()
    }

    /// What its key is derived with: the frames of one kind are none of the other.
    const fn context(self) -> &'static str {
        match self {
            Self::Snapshot => "keyward 2026-11 gateway copy: snapshot",
            Self::Journal => "keyward 2026-11 gateway copy: journal",
        }
    }
}

const VERSION: &[u8] = b"1\n";

/// What files are believed by: the tokens of a gateway, each with the pepper, without which what is kept is of no use.
/// Any token is believed, the first is written with.
#[derive(Clone)]
pub(super) struct Keys(Vec<Box<[u8]>>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    pub(super) fn new(tokens: &[String], pepper: Option<&Pepper>) -> Self {
        let pepper = Pepper::check_value(pepper);
        let material = |token: &String| [&pepper, token.as_bytes()].concat().into();
        Self(tokens.iter().map(material).collect())
    }

    fn derive(kind: Kind, material: &[u8]) -> [u8; 32] {
        blake3::derive_key(kind.context(), material)
    }

    /// Frames a file of this kind from its beginning on.
    pub(super) fn writer(&self, kind: Kind) -> FrameWriter {
        let token = self.0.first().map_or(&[][..], |token| token);
        FrameWriter::new(Some(Self::derive(kind, token)))
    }

    /// Takes a file of this kind apart, given its beginning: at least its first frame, or all of it.
    pub(super) fn open(&self, kind: Kind, beginning: &[u8]) -> Result<Opened, &'static str> {
        let frames = match beginning.strip_prefix(kind.magic()) {
            Some(rest) => rest
                .strip_prefix(VERSION)
                .ok_or("it is of another version")?,
            None => return Err("its first line is none of ours"),
        };
        for (number, token) in self.0.iter().enumerate() {
            let mut reader = FrameReader::new(Some(Self::derive(kind, token)));
            reader.push(frames);
            match reader.next_payload() {
                Ok(Some(payload)) => {
                    let first = Record::decode(payload).ok_or(UNREADABLE)?;
                    return Ok(Opened {
                        first,
                        reader,
                        is_written_with_first: number == 0,
                    });
                }
                Ok(None) => return Err(CUT_OFF),
                Err(InvalidFrame::TooLong) => return Err(UNREADABLE),
                Err(InvalidFrame::Check) => {}
            }
        }
        Err("its check does not hold, or it was written with another token or pepper")
    }
}

/// Said of a file whose end is missing.
pub(super) const CUT_OFF: &str = "it is cut off";
/// Said of a file that holds what its writer does not write.
pub(super) const UNREADABLE: &str = "it cannot be read";
/// Said of a file of which a part was changed.
pub(super) const CHANGED: &str = "its check does not hold";

/// A file that is believed so far.
pub(super) struct Opened {
    pub(super) first: Record,
    pub(super) reader: FrameReader,
    /// Whether the token is the one that is written with.
    pub(super) is_written_with_first: bool,
}

/// A secret that was seen to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tombstone {
    pub(super) digest: SecretDigest,
    /// The history in which it died.
    pub(super) epoch: Epoch,
    /// When.
    pub(super) at: Timestamp,
}

/// What a payload says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    /// What the control plane said.
    Message(Message),
    /// What came before was current at this time.
    Confirmed(Timestamp),
    /// Secrets that died.
    Died(Vec<Tombstone>),
}

impl Record {
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let mut from = Reader(payload);
        let record = match *payload.first()? {
            CONFIRMED => {
                from.byte()?;
                Self::Confirmed(from.moment()?)
            }
            DIED => {
                from.byte()?;
                Self::Died(from.all(tombstone)?)
            }
            _ => return Message::decode(payload).ok().map(Self::Message),
        };
        from.is_at_end().then_some(record)
    }
}

fn tombstone(from: &mut Reader<'_>) -> Option<Tombstone> {
    Some(Tombstone {
        digest: from.digest()?,
        epoch: Epoch(u128::from_be_bytes(from.array()?)),
        at: from.moment()?,
    })
}

/// The payload that says when a copy was current.
pub(super) fn confirmed(at: Timestamp) -> Vec<u8> {
    let mut payload = vec![CONFIRMED];
    Writer(&mut payload).moment(at);
    payload
}

/// The payloads that say what died.
pub(super) fn died(tombstones: &[Tombstone]) -> impl Iterator<Item = Vec<u8>> {
    tombstones.chunks(TOMBSTONES_AT_ONCE).map(|tombstones| {
        let mut payload = vec![DIED];
        let mut to = Writer(&mut payload);
        for tombstone in tombstones {
            to.digest(&tombstone.digest);
            to.array(&tombstone.epoch.0.to_be_bytes());
            to.moment(tombstone.at);
        }
        payload
    })
}
