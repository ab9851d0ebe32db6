//! Writing a whole state: streamed from a snapshot that is pinned, so that there is no copy of it in memory.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};

use super::place::Place;
use super::record::{self, Keys, Kind, Tombstone};
use crate::replica::Snapshot;
use crate::wire::sync::{FrameWriter, Message, encode_entries};

/// Bytes that are handed to the disk at once.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Writes a state, under the name that it has until it is whole. It is on disk when this returns; says how long it is.
pub(super) fn write(
    place: &Place,
    keys: &Keys,
    snapshot: &Snapshot,
    tombstones: &[Tombstone],
) -> io::Result<u64> {
    let file = place.create(Kind::Snapshot.beside())?;
    let mut framed = Framed {
        to: BufWriter::with_capacity(BUFFER_BYTES, file),
        frames: keys.writer(Kind::Snapshot),
        frame: Vec::new(),
        length: 0,
    };
    let head = Kind::Snapshot.head();
    framed.to.write_all(&head)?;
    framed.length += head.len() as u64;
    let begin = Message::Begin {
        epoch: snapshot.epoch(),
        revision: snapshot.revision(),
        keys: snapshot.keys(),
    };
    framed.write(&begin.encode())?;
    for payload in record::died(tombstones) {
        framed.write(&payload)?;
    }
    for payload in encode_entries(snapshot.entries()) {
        place.steps.step("write")?;
        framed.write(&payload)?;
    }
    let end = Message::End {
        keys: snapshot.keys(),
    };
    framed.write(&end.encode())?;
    place.steps.step("flush")?;
    let length = framed.length;
    let file = framed
        .to
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    place.steps.step("sync")?;
    file.sync_all()?;
    Ok(length)
}

struct Framed {
    to: BufWriter<File>,
    frames: FrameWriter,
    frame: Vec<u8>,
    length: u64,
}

impl Framed {
    fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        self.frame.clear();
        let framed = self.frames.frame(payload, &mut self.frame);
        framed.map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        self.length += self.frame.len() as u64;
        self.to.write_all(&self.frame)
    }
}
