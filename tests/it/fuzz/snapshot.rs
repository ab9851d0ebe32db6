//! What a gateway finds on its disk: files whose frames hold, with anything in them, and files that are anything.
//!
//! The files are made as the gateway makes them, so that what lies behind the checks is reached too.

use std::cell::OnceCell;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use keyward::authz::{Pepper, Principal, Revision};
use keyward::replica::StateError;
use keyward::replica::remote::disk;
use keyward::wire::sync::{FrameWriter, Message};
use keyward::wire::{Change, ChangeSink, Epoch, Incomplete, KeySource, SecretEntry};
use tempfile::TempDir;

use super::stream::payloads;

const TOKEN: &str = "gateway-token-of-the-tests-0123456789";

/// The two files, with what their keys are derived with.
const SNAPSHOT: (&str, &str, &str) = (
    "keys.snapshot",
    "keyward-snapshot 1\n",
    "keyward 2026-11 gateway copy: snapshot",
);
const JOURNAL: (&str, &str, &str) = (
    "keys.journal",
    "keyward-journal 1\n",
    "keyward 2026-11 gateway copy: journal",
);

/// Takes what is there, or nothing.
#[derive(Default)]
struct Taken(Mutex<Option<(Epoch, Revision, Vec<SecretEntry>)>>);

impl ChangeSink for Taken {
    fn load(&self, source: &mut dyn KeySource) -> Result<(), Incomplete> {
        let (epoch, revision) = (source.epoch(), source.revision());
        let entries: Vec<SecretEntry> = source.entries().collect();
        source.is_whole().then_some(()).ok_or(Incomplete)?;
        *self.0.lock().expect("no panic") = Some((epoch, revision, entries));
        Ok(())
    }

    fn apply(&self, _change: &Change) {}
}

/// A directory that goes with the thread; in memory where there is such a place.
fn directory() -> TempDir {
    let shared = Path::new("/dev/shm");
    let place = if shared.is_dir() {
        shared.to_owned()
    } else {
        std::env::temp_dir()
    };
    tempfile::Builder::new()
        .tempdir_in(place)
        .expect("a directory")
}

fn write(directory: &Path, name: &str, bytes: &[u8]) {
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600);
    let file = open.open(directory.join(name));
    file.and_then(|mut file| file.write_all(bytes))
        .expect("room");
}

/// A file of these payloads.
fn file((_, head, context): (&str, &str, &str), payloads: &[&[u8]]) -> Vec<u8> {
    let material = [&Pepper::check_value(None), TOKEN.as_bytes()].concat();
    let mut writer = FrameWriter::new(Some(blake3::derive_key(context, &material)));
    let mut bytes = head.as_bytes().to_vec();
    for payload in payloads {
        writer.frame(payload, &mut bytes).expect("a short payload");
    }
    bytes
}

/// What can be read there, to be compared; or that it was refused.
fn look(directory: &Path) -> Result<Option<Vec<Vec<u8>>>, StateError> {
    let taken = Taken::default();
    let kept = disk::look(directory, &[TOKEN.to_owned()], None, &taken)?;
    let loaded = taken.0.into_inner().expect("no panic");
    assert_eq!(kept.is_some(), loaded.is_some());
    Ok(loaded.map(|(epoch, revision, entries)| {
        for entry in &entries {
            Principal::compile(&entry.record);
        }
        let keys = entries.len() as u64;
        let begin = Message::Begin {
            epoch,
            revision,
            keys,
        };
        let mut told: Vec<_> = entries
            .into_iter()
            .map(|entry| Message::Put(vec![entry]).encode())
            .collect();
        // Keys of the journal come in any order.
        told.sort();
        told.push(begin.encode());
        told
    }))
}

pub fn snapshot(data: &[u8]) {
    thread_local!(static PLACE: OnceCell<TempDir> = const { OnceCell::new() });
    PLACE.with(|place| in_directory(place.get_or_init(directory).path(), data));
}

fn in_directory(directory: &Path, data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    _ = fs::remove_file(directory.join(JOURNAL.0));
    if *kind == b'r' {
        write(
            directory,
            SNAPSHOT.0,
            &[SNAPSHOT.1.as_bytes(), bytes].concat(),
        );
        assert!(
            look(directory).is_err(),
            "whoever has no token cannot write it"
        );
        return;
    }
    let payloads: Vec<&[u8]> = payloads(bytes).collect();
    // An empty payload, which is none, stands between the files.
    let mut files = payloads.split(|payload| payload.is_empty());
    let whole = file(SNAPSHOT, files.next().unwrap_or_default());
    write(directory, SNAPSHOT.0, &whole);
    if let Some(journal) = files.next() {
        write(directory, JOURNAL.0, &file(JOURNAL, journal));
    }
    let Ok(found) = look(directory) else {
        return;
    };
    assert!(matches!(look(directory), Ok(again) if again == found));
    write(directory, SNAPSHOT.0, &whole[..whole.len() - 1]);
    assert!(look(directory).is_err(), "a byte is missing");
}
