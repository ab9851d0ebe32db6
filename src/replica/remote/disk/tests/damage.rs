//! Files that are not what was written: cut off at every length, each byte changed, of another time, of others.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::authz::Pepper;
use crate::replica::remote::disk;

const SNAPSHOT: &str = "keys.snapshot";
const JOURNAL: &str = "keys.journal";
const KEYS: u64 = 4;
const LAST: u64 = 4;

/// A directory with a snapshot at revision 1 and a journal up to [`LAST`].
fn written() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (gateway, _) = Gateway::restored(directory.path());
    gateway.load(first(KEYS));
    gateway.turn();
    (2..=LAST).for_each(|revision| gateway.apply(&step(revision)));
    directory
}

/// What is made of the directory as it is now.
fn found(directory: &Path) -> Option<u64> {
    let replica = fresh();
    let looked = look(directory, &[TOKEN.to_owned()], &*replica);
    let Ok(Some(kept)) = looked else {
        assert!(replica.pin().is_none(), "what is refused is not served");
        if let Err(error) = looked {
            assert!(error.to_string().contains(SNAPSHOT), "{error}");
        }
        return None;
    };
    let revision = kept.at.revision.0;
    assert_eq!(content(&replica.pin().unwrap()), expected(KEYS, revision));
    Some(revision)
}

/// Every way in which a small file is tried to be damaged.
fn damaged(whole: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
    let flipped = (0..whole.len()).map(|at| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let zeros = vec![0; whole.len()];
    let mut zero_end = whole.to_vec();
    zero_end[whole.len() / 2..].fill(0);
    cut.chain(flipped).chain([zeros, zero_end, whole.repeat(2)])
}

#[test]
fn what_was_kept_under_another_pepper_is_not_believed() {
    let directory = written();
    let look = |pepper: Option<&Pepper>| {
        let replica = fresh();
        disk::look(directory.path(), &[TOKEN.to_owned()], pepper, &*replica)
    };
    assert!(look(None).unwrap().is_some());
    let refused = look(Pepper::derive("other").as_ref()).unwrap_err();
    assert!(refused.to_string().contains("pepper"), "{refused}");
}

#[test]
fn no_damage_of_a_snapshot_is_believed() {
    let directory = written();
    let path = directory.path().join(SNAPSHOT);
    let whole = fs::read(&path).unwrap();
    assert_eq!(found(directory.path()), Some(LAST));
    for bytes in damaged(&whole) {
        fs::write(&path, bytes).unwrap();
        assert_eq!(found(directory.path()), None);
    }
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    assert_eq!(found(directory.path()), None);
}

#[test]
fn of_a_damaged_journal_only_its_beginning_is_believed() {
    let directory = written();
    let path = |name| directory.path().join(name);
    let snapshot = fs::read(path(SNAPSHOT)).unwrap();
    let whole = fs::read(path(JOURNAL)).unwrap();
    for (number, bytes) in damaged(&whole).enumerate() {
        let is_longer = bytes.len() > whole.len();
        fs::write(path(JOURNAL), bytes).unwrap();
        let revision = found(directory.path()).expect("the snapshot is whole");
        assert_eq!(revision == LAST, is_longer, "{revision}");
        if number % 61 != 0 {
            continue;
        }
        // Who goes on from there leaves a journal that is whole again.
        let (gateway, kept) = Gateway::restored(directory.path());
        assert_eq!(kept.unwrap().at, at(revision));
        gateway.turn();
        gateway.apply(&step(revision + 1));
        drop(gateway);
        assert_eq!(found(directory.path()), Some(revision + 1));
        fs::write(path(SNAPSHOT), &snapshot).unwrap();
    }
}

#[test]
fn another_version_another_kind_and_another_state_are_refused() {
    let directory = written();
    let (snapshot, journal) = (
        directory.path().join(SNAPSHOT),
        directory.path().join(JOURNAL),
    );
    let (kept_snapshot, kept_journal) = (fs::read(&snapshot).unwrap(), fs::read(&journal).unwrap());
    let newer = String::from_utf8_lossy(&kept_snapshot[..19]).replace('1', "2");
    fs::write(&snapshot, [newer.as_bytes(), &kept_snapshot[19..]].concat()).unwrap();
    let error = look(directory.path(), &[TOKEN.to_owned()], &*fresh());
    assert!(error.unwrap_err().to_string().contains("another version"));
    fs::write(&snapshot, &kept_journal).unwrap();
    assert_eq!(found(directory.path()), None);
    fs::write(&snapshot, b"").unwrap();
    assert_eq!(found(directory.path()), None);

    // The journal of another history beside the snapshot.
    let other = tempfile::tempdir().unwrap();
    let (gateway, _) = Gateway::restored(other.path());
    gateway.load(State {
        epoch: Epoch(8),
        ..first(KEYS)
    });
    gateway.turn();
    gateway.apply(&step(2));
    fs::write(&snapshot, &kept_snapshot).unwrap();
    fs::copy(other.path().join(JOURNAL), &journal).unwrap();
    assert_eq!(found(directory.path()), Some(1));
}

#[test]
fn what_is_open_to_others_is_refused_by_its_name() {
    let directory = written();
    let path = directory.path().join(SNAPSHOT);
    for mode in [0o666, 0o620, 0o602, 0o640, 0o604] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert_eq!(found(directory.path()), None, "{mode:o}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(found(directory.path()), Some(LAST));
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    let open = Disk::open(Some(directory.path()), &[TOKEN.to_owned()], &fresh());
    let error = open.unwrap_err().to_string();
    assert!(
        error.contains(&directory.path().display().to_string()),
        "{error}"
    );
    fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
    // Only the superuser can give files away.
    if std::os::unix::fs::chown(&path, Some(1), None).is_ok() {
        let looked = look(directory.path(), &[TOKEN.to_owned()], &*fresh());
        let error = looked.unwrap_err().to_string();
        assert!(error.contains("another user"), "{error}");
    }
}

#[test]
fn everything_is_for_its_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state");
    let (gateway, _) = Gateway::restored(&directory);
    gateway.load(first(2));
    gateway.turn();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let mut names = Vec::new();
    for file in fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    assert_eq!(names, ["gateway-id", JOURNAL, SNAPSHOT, "lock"]);
}
