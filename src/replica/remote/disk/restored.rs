//! Reading what was kept: the journal first, then the snapshot as a stream in which the journal's keys replace its own.
//!
//! The keys are decoded on a thread of their own, while whoever draws them builds on this one. What is given counts for
//! nothing until the end was reached and every check held.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use super::place::Place;
use super::record::{CHANGED, CUT_OFF, Keys, Kind, Opened, Record, UNREADABLE};
use super::replay::{Since, replay};
use super::tombstones::Tombstones;
use crate::authz::{KeyId, Revision, Timestamp};
use crate::replica::StateError;
use crate::wire::sync::{FrameReader, FrameWriter, Message, Position};
use crate::wire::{Epoch, KeySource, SecretEntry};

/// Bytes that are read at once. The first of them hold the first frame, which is a short one.
const READ_BYTES: usize = 1024 * 1024;
/// Lists of keys, of about 64 KiB each, that wait for the one who builds.
const LISTS_AHEAD: usize = 32;

/// What is wrong with a file.
pub(super) type Why = &'static str;

/// What was kept, to be drawn from once.
pub(super) struct Restored {
    at: Position,
    keys: u64,
    lists: Receiver<Result<Drawn, StateError>>,
    /// What the journal says of keys; `None`: gone.
    since: HashMap<KeyId, Option<SecretEntry>>,
    refusal: Option<StateError>,
    path: PathBuf,
    is_whole: bool,
    /// What is not about keys.
    pub(super) rest: Option<Rest>,
}

/// What was kept beside keys.
pub(super) struct Rest {
    pub(super) tombstones: Tombstones,
    /// When it was last known to be current.
    pub(super) confirmed: Option<Timestamp>,
    pub(super) snapshot_bytes: u64,
    /// Where the journal can be written on; `None`: it cannot.
    pub(super) journal: Option<(FrameWriter, u64)>,
    /// Whether all was written with the token that is written with now.
    pub(super) is_written_with_first: bool,
}

/// What the thread hands over.
enum Drawn {
    Keys(Vec<SecretEntry>),
    End,
}

impl Restored {
    /// Opens what was kept; `None`: nothing was.
    pub(super) fn open(place: &Place, keys: &Keys) -> Result<Option<Self>, StateError> {
        let Some(mut stream) = Stream::open(place, keys)? else {
            return Ok(None);
        };
        let mut rest = Rest {
            tombstones: Tombstones::default(),
            confirmed: None,
            snapshot_bytes: stream.bytes,
            journal: None,
            is_written_with_first: stream.is_written_with_first,
        };
        let first = stream.after_tombstones(&mut rest.tombstones);
        let first = first.map_err(|why| place.damaged(Kind::Snapshot.file(), why))?;
        let mut state = Since::new(stream.at);
        let journal = replay(place, keys, &mut state, &mut rest);
        if let Err(error) = journal {
            super::place::log_refused(&error, "only the snapshot beside it is used");
        }
        let (send, lists) = mpsc::sync_channel(LISTS_AHEAD);
        let (at, keys) = (state.at, stream.keys);
        let path = place.path(Kind::Snapshot.file());
        let place = place.clone();
        let spawned = thread::Builder::new()
            .name("read-keys".to_owned())
            .spawn(move || stream.draw(&place, first, &send));
        spawned.map_err(|source| StateError::Unreadable {
            path: path.clone(),
            source,
        })?;
        Ok(Some(Self {
            at,
            keys,
            lists,
            since: state.keys,
            refusal: None,
            path,
            is_whole: false,
            rest: Some(rest),
        }))
    }

    /// Where it stands.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// Why it was no whole state.
    pub(super) fn refusal(&mut self) -> StateError {
        let path = self.path.clone();
        let why = "it was not read to its end";
        let refusal = self.refusal.take();
        refusal.unwrap_or(StateError::Damaged { path, why })
    }

    /// The next keys of the snapshot.
    fn next_list(&mut self) -> Option<Vec<SecretEntry>> {
        match self.lists.recv() {
            Ok(Ok(Drawn::Keys(mut list))) => {
                if !self.since.is_empty() {
                    list.retain(|entry| !self.since.contains_key(&entry.record.id));
                }
                Some(list)
            }
            Ok(Ok(Drawn::End)) => {
                self.is_whole = true;
                None
            }
            Ok(Err(error)) => {
                self.refusal = Some(error);
                None
            }
            Err(mpsc::RecvError) => None,
        }
    }
}

impl KeySource for Restored {
    fn epoch(&self) -> Epoch {
        self.at.epoch
    }

    fn revision(&self) -> Revision {
        self.at.revision
    }

    fn entries(&mut self) -> Box<dyn Iterator<Item = SecretEntry> + '_> {
        Box::new(Entries {
            expected: usize::try_from(self.keys).unwrap_or(0),
            of: self,
            list: Vec::new().into_iter(),
            since: None,
        })
    }

    fn is_whole(&self) -> bool {
        self.is_whole
    }
}

/// The keys of the snapshot that the journal says nothing of, then those of the journal.
struct Entries<'r> {
    of: &'r mut Restored,
    list: std::vec::IntoIter<SecretEntry>,
    since: Option<std::collections::hash_map::IntoIter<KeyId, Option<SecretEntry>>>,
    expected: usize,
}

impl Iterator for Entries<'_> {
    type Item = SecretEntry;

    fn next(&mut self) -> Option<SecretEntry> {
        while self.since.is_none() {
            if let Some(entry) = self.list.next() {
                return Some(entry);
            }
            match self.of.next_list() {
                Some(list) => self.list = list.into_iter(),
                None if self.of.is_whole => {
                    self.since = Some(std::mem::take(&mut self.of.since).into_iter());
                }
                None => return None,
            }
        }
        self.since.as_mut()?.find_map(|(_, entry)| entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.expected, None)
    }
}

/// A snapshot that is being read.
struct Stream {
    file: File,
    reader: FrameReader,
    at: Position,
    keys: u64,
    bytes: u64,
    is_written_with_first: bool,
}

impl Stream {
    fn open(place: &Place, keys: &Keys) -> Result<Option<Self>, StateError> {
        const NAME: &str = Kind::Snapshot.file();
        let Some(mut file) = place.open(NAME)? else {
            return Ok(None);
        };
        let unreadable = |source| StateError::Unreadable {
            path: place.path(NAME),
            source,
        };
        let bytes = file.metadata().map_err(unreadable)?.len();
        let mut beginning = Vec::new();
        let read = file.by_ref().take(READ_BYTES as u64);
        { read }.read_to_end(&mut beginning).map_err(unreadable)?;
        let opened = keys.open(Kind::Snapshot, &beginning);
        let Opened {
            first,
            reader,
            is_written_with_first,
        } = opened.map_err(|why| place.damaged(NAME, why))?;
        let Record::Message(Message::Begin {
            epoch,
            revision,
            keys,
        }) = first
        else {
            return Err(place.damaged(NAME, UNREADABLE));
        };
        Ok(Some(Self {
            file,
            reader,
            at: Position { epoch, revision },
            keys,
            bytes,
            is_written_with_first,
        }))
    }

    /// The next record; `None` at the end of the file.
    fn next(&mut self) -> Result<Option<Record>, Why> {
        let mut bytes = Vec::new();
        loop {
            match self.reader.next_payload() {
                Ok(Some(payload)) => return Record::decode(payload).ok_or(UNREADABLE).map(Some),
                Ok(None) => {}
                Err(_) => return Err(CHANGED),
            }
            bytes.clear();
            let read = (&mut self.file).take(READ_BYTES as u64);
            match { read }.read_to_end(&mut bytes) {
                Ok(0) if self.reader.is_at_boundary() => return Ok(None),
                Ok(0) => return Err(CUT_OFF),
                Ok(_) => self.reader.push(&bytes),
                Err(_) => return Err("it cannot be read to its end"),
            }
        }
    }

    /// Takes the tombstones, and gives the record behind them.
    fn after_tombstones(&mut self, tombstones: &mut Tombstones) -> Result<Record, Why> {
        loop {
            match self.next()?.ok_or(CUT_OFF)? {
                Record::Died(died) => died.into_iter().for_each(|died| tombstones.insert(died)),
                other @ (Record::Message(_) | Record::Confirmed(_)) => return Ok(other),
            }
        }
    }

    /// Hands everything over, to its end or to what is wrong with it.
    fn draw(mut self, place: &Place, first: Record, to: &SyncSender<Result<Drawn, StateError>>) {
        let mut record = Ok(Some(first));
        let mut count = 0;
        loop {
            let drawn = match record {
                Ok(Some(Record::Message(Message::Put(entries)))) => {
                    count += entries.len() as u64;
                    Ok(Drawn::Keys(entries))
                }
                Ok(Some(Record::Message(Message::End { keys }))) => self.end(keys == count),
                Ok(Some(_)) => Err(UNREADABLE),
                Ok(None) => Err(CUT_OFF),
                Err(why) => Err(why),
            };
            let drawn = drawn.map_err(|why| place.damaged(Kind::Snapshot.file(), why));
            let goes_on = matches!(drawn, Ok(Drawn::Keys(_)));
            // Nobody may draw any more, because something else went wrong.
            if to.send(drawn).is_err() || !goes_on {
                return;
            }
            record = self.next();
        }
    }

    /// What a last record comes to.
    fn end(&mut self, has_all: bool) -> Result<Drawn, Why> {
        match self.next()? {
            None if has_all => Ok(Drawn::End),
            None => Err("keys of it are missing"),
            Some(_) => Err("something follows its end"),
        }
    }
}
