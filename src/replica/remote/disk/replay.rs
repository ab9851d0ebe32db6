//! Laying the journal over the snapshot beside it, as far as it can be believed: what a change of which the end is missing
//! says was never acknowledged, or will be told again.

use std::collections::HashMap;
use std::io::Read as _;

use super::place::Place;
use super::record::{CHANGED, Keys, Kind, Opened, Record, UNREADABLE};
use super::restored::{Rest, Why};
use crate::authz::KeyId;
use crate::replica::StateError;
use crate::wire::sync::{Assembly, FrameReader, FrameWriter, Message, Position};
use crate::wire::{Change, SecretEntry};

/// Largest journal that is read: far beyond the size at which it is replaced.
const JOURNAL_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A state, and what the journal says of its keys.
pub(super) struct Since {
    /// Where it stands.
    pub(super) at: Position,
    /// What the journal says of keys; `None`: gone.
    pub(super) keys: HashMap<KeyId, Option<SecretEntry>>,
}

impl Since {
    pub(super) fn new(at: Position) -> Self {
        let keys = HashMap::new();
        Self { at, keys }
    }

    /// Takes a change. What the snapshot has already is passed over.
    fn apply(&mut self, change: Change) -> Result<(), Why> {
        if change.revision <= self.at.revision {
            return Ok(());
        }
        if change.previous > self.at.revision {
            return Err("changes are missing in it");
        }
        let removed = change.removed.into_iter().map(|id| (id, None));
        let put = change.put.into_iter();
        let put = put.map(|entry| (entry.record.id.clone(), Some(entry)));
        self.keys.extend(removed.chain(put));
        self.at.revision = change.revision;
        Ok(())
    }
}

/// Lays the journal over `since`.
///
/// # Errors
/// From somewhere on it is not believed; up to there it was laid over.
pub(super) fn replay(
    place: &Place,
    keys: &Keys,
    since: &mut Since,
    rest: &mut Rest,
) -> Result<(), StateError> {
    const NAME: &str = Kind::Journal.file();
    let damaged = |why| place.damaged(NAME, why);
    let Some(bytes) = read(place)? else {
        return Ok(());
    };
    let opened = keys.open(Kind::Journal, &bytes).map_err(damaged)?;
    let (length, is_written_with_first) = (bytes.len(), opened.is_written_with_first);
    drop(bytes);
    let mut replay = Replay::new(opened, length, since.at).map_err(damaged)?;
    let replayed = replay.run(since, rest);
    let (frames, offset) = replay.boundary;
    rest.journal = is_written_with_first.then_some((frames, offset));
    rest.is_written_with_first &= is_written_with_first;
    replayed.map_err(damaged)
}

fn read(place: &Place) -> Result<Option<Vec<u8>>, StateError> {
    const NAME: &str = Kind::Journal.file();
    let Some(file) = place.open(NAME)? else {
        return Ok(None);
    };
    let unreadable = |source| StateError::Unreadable {
        path: place.path(NAME),
        source,
    };
    if file.metadata().map_err(unreadable)?.len() > JOURNAL_BYTES_MAX {
        return Err(place.damaged(NAME, "it is too long"));
    }
    let mut bytes = Vec::new();
    let read = file.take(JOURNAL_BYTES_MAX).read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    Ok(Some(bytes))
}

/// A journal that is being read.
struct Replay {
    reader: FrameReader,
    length: u64,
    /// Behind the last whole change: how frames go on there, and where that is.
    boundary: (FrameWriter, u64),
    change: Assembly,
}

impl Replay {
    fn new(opened: Opened, length: usize, snapshot: Position) -> Result<Self, Why> {
        let Record::Message(Message::Begin {
            epoch, revision, ..
        }) = opened.first
        else {
            return Err(UNREADABLE);
        };
        if epoch != snapshot.epoch || revision > snapshot.revision {
            return Err("it is of another state than the snapshot beside it");
        }
        let mut replay = Self {
            boundary: (opened.reader.writer(), 0),
            reader: opened.reader,
            length: length as u64,
            change: Assembly::default(),
        };
        replay.mark();
        Ok(replay)
    }

    /// Takes note that something is whole.
    fn mark(&mut self) {
        let offset = self.length.saturating_sub(self.reader.unread() as u64);
        self.boundary = (self.reader.writer(), offset);
    }

    fn run(&mut self, since: &mut Since, rest: &mut Rest) -> Result<(), Why> {
        loop {
            let record = match self.reader.next_payload() {
                Ok(Some(payload)) => Record::decode(payload).ok_or(UNREADABLE)?,
                Ok(None) => {
                    let torn = self.length - self.boundary.1;
                    if torn > 0 {
                        tracing::info!(
                            bytes = torn,
                            "the end of the journal was never written whole"
                        );
                    }
                    return Ok(());
                }
                Err(_) => return Err(CHANGED),
            };
            self.take(record, since, rest)?;
        }
    }

    fn take(&mut self, record: Record, since: &mut Since, rest: &mut Rest) -> Result<(), Why> {
        const TOO_MANY: Why = "a change in it has too many keys";
        match record {
            Record::Message(Message::Put(entries)) => {
                self.change.put(entries).map_err(|_| TOO_MANY)
            }
            Record::Message(Message::Removed(ids)) => self.change.remove(ids).map_err(|_| TOO_MANY),
            Record::Message(Message::Apply { previous, revision }) => {
                let change = self.change.finish(previous, revision);
                rest.tombstones.revive(&change);
                since.apply(change)?;
                self.mark();
                Ok(())
            }
            Record::Confirmed(at) => {
                rest.confirmed = Some(at);
                self.mark();
                Ok(())
            }
            Record::Died(died) => {
                died.into_iter()
                    .for_each(|died| rest.tombstones.insert(died));
                Ok(())
            }
            Record::Message(_) => Err(UNREADABLE),
        }
    }
}
