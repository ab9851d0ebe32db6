//! The copy on disk against everything that may happen to a disk, a process and a file.

mod damage;
mod failing;
mod processes;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::place::{Place, Steps};
use super::record::Keys;
use super::{Disk, Kept};
use crate::authz::{
    KeyDigest, KeyId, KeyRecord, KeyStatus, RawGrants, Revision, Tenant, Timestamp,
};
use crate::replica::{Config, Replica, Snapshot, StateError};
use crate::wire::sync::Position;
use crate::wire::{Change, ChangeSink, Epoch, KeySource, Secret, SecretDigest, SecretEntry};

const TOKEN: &str = "the token of a gateway, long enough";
const EPOCH: Epoch = Epoch(7);
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A replica without keys, and with little room for compiled ones, so that many are made in no time.
fn fresh() -> Arc<Replica> {
    Replica::new(Config {
        principals: 1,
        ..Config::default()
    })
}

/// What is there for a gateway without a pepper.
fn look(
    directory: &Path,
    tokens: &[String],
    sink: &dyn ChangeSink,
) -> Result<Option<Kept>, StateError> {
    super::look(directory, tokens, None, sink)
}

fn digest(number: u64) -> SecretDigest {
    SecretDigest::Blake3(KeyDigest::from_bytes(
        *blake3::hash(&number.to_be_bytes()).as_bytes(),
    ))
}

/// A key with a current secret.
fn key(number: u64, revision: u64) -> SecretEntry {
    SecretEntry {
        record: Arc::new(KeyRecord {
            id: KeyId::new(format!("key-{number}")),
            tenant: Tenant::Org("acme".to_owned()),
            name: format!("as of {revision}"),
            owner: None,
            status: KeyStatus::Active,
            expires_at: None,
            grants: RawGrants::Org {
                permissions: vec!["pages:read".to_owned()],
                scopes: Vec::new(),
            },
            revision: Revision(revision),
        }),
        secrets: vec![Secret {
            digest: digest(number),
            retired_at: None,
        }],
    }
}

fn with_status(mut entry: SecretEntry, status: KeyStatus) -> SecretEntry {
    Arc::make_mut(&mut entry.record).status = status;
    entry
}

fn put(revision: u64, entries: Vec<SecretEntry>) -> Change {
    Change {
        previous: Revision(revision - 1),
        revision: Revision(revision),
        put: entries,
        removed: Vec::new(),
    }
}

fn removed(revision: u64, number: u64) -> Change {
    Change {
        removed: vec![KeyId::new(format!("key-{number}"))],
        ..put(revision, Vec::new())
    }
}

/// The change that makes the state of this revision, whatever it is: each touches a few keys.
fn step(revision: u64) -> Change {
    match revision % 5 {
        0 => removed(revision, revision % 7),
        1 => put(revision, vec![key(1_000 + revision, revision)]),
        _ => put(
            revision,
            vec![key(revision % 7, revision), key(revision % 11, revision)],
        ),
    }
}

/// A whole state as a control plane sends it.
struct State {
    epoch: Epoch,
    revision: u64,
    entries: Vec<SecretEntry>,
}

impl KeySource for State {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    fn entries(&mut self) -> Box<dyn Iterator<Item = SecretEntry> + '_> {
        Box::new(self.entries.iter().cloned())
    }
}

/// The state that all begin with: this many keys at revision 1.
fn first(keys: u64) -> State {
    State {
        epoch: EPOCH,
        revision: 1,
        entries: (0..keys).map(|number| key(number, 1)).collect(),
    }
}

/// What is in a snapshot, by id.
fn content(snapshot: &Snapshot) -> BTreeMap<String, SecretEntry> {
    let entries = snapshot.entries();
    entries
        .map(|entry| (entry.record.id.to_string(), entry))
        .collect()
}

/// What the state of a revision must be, made without a disk.
fn expected(keys: u64, revision: u64) -> BTreeMap<String, SecretEntry> {
    let replica = fresh();
    replica.load(&mut first(keys)).unwrap();
    (2..=revision).for_each(|revision| replica.apply(&step(revision)));
    content(&replica.pin().unwrap())
}

/// A gateway with its copy, whose thread is not run: turns are taken by the test.
struct Gateway {
    replica: Arc<Replica>,
    disk: Disk,
}

impl Gateway {
    fn open(directory: &Path) -> Self {
        Self::with(directory, &[TOKEN], Steps::default())
    }

    fn with(directory: &Path, tokens: &[&str], steps: Steps) -> Self {
        let tokens: Vec<String> = tokens.iter().map(ToString::to_string).collect();
        let replica = fresh();
        let place = Place::make(directory, steps).unwrap();
        let disk = Disk::in_place(Some(place), &tokens, &replica).unwrap();
        Self { replica, disk }
    }

    /// One that has what was kept, where anything was.
    fn restored(directory: &Path) -> (Self, Option<Kept>) {
        let gateway = Self::open(directory);
        let kept = gateway.restore();
        (gateway, kept)
    }

    fn restore(&self) -> Option<Kept> {
        self.disk.keeper.restore(&*self.replica)
    }

    fn load(&self, mut state: State) {
        let before = self.replica.pin();
        let loaded = self.replica.load(&mut self.disk.burying(&mut state));
        loaded.unwrap();
        self.disk.loaded(before.as_deref(), NOW);
    }

    fn apply(&self, change: &Change) {
        let before = self.replica.pin().unwrap();
        self.replica.apply(change);
        self.disk.append(&before, change, NOW);
    }

    fn turn(&self) {
        self.disk.keeper.turn();
    }

    fn content(&self) -> BTreeMap<String, SecretEntry> {
        content(&self.replica.pin().unwrap())
    }
}

fn at(revision: u64) -> Position {
    Position {
        epoch: EPOCH,
        revision: Revision(revision),
    }
}

#[test]
fn what_was_applied_last_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("made/here");
    {
        let (gateway, kept) = Gateway::restored(&directory);
        assert_eq!(kept, None);
        gateway.load(first(20));
        gateway.turn();
        (2..=9).for_each(|revision| gateway.apply(&step(revision)));
        gateway.disk.confirmed(NOW);
    }
    // Once from the journal as it was left, once from it as it was gone on with.
    for revision in [9, 12] {
        let (gateway, kept) = Gateway::restored(&directory);
        let confirmed = Some(NOW);
        assert_eq!(
            kept,
            Some(Kept {
                at: at(revision),
                confirmed
            })
        );
        assert_eq!(gateway.content(), expected(20, revision));
        assert_eq!(
            gateway.replica.status().changed_keys,
            0,
            "one state, no overlay"
        );
        for next in revision + 1..=revision + 3 {
            gateway.apply(&step(next));
        }
    }
}

#[test]
fn a_long_journal_is_replaced_by_a_new_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let size = |name: &str| {
        std::fs::metadata(directory.path().join(name))
            .unwrap()
            .len()
    };
    let (gateway, _) = Gateway::restored(directory.path());
    gateway.load(first(20));
    gateway.turn();
    let short = size("keys.journal");
    let mut revision = 1;
    while size("keys.journal") <= 1024 * 1024 {
        revision += 1;
        let many = (0..500).map(|number| key(number, revision));
        gateway.apply(&put(revision, many.collect()));
    }
    gateway.turn();
    assert_eq!(size("keys.journal"), short);
    gateway.apply(&step(revision + 1));
    let (again, kept) = {
        let content = gateway.content();
        drop(gateway);
        let (again, kept) = Gateway::restored(directory.path());
        assert_eq!(again.content(), content);
        (again, kept)
    };
    assert_eq!(kept.unwrap().at, at(revision + 1));
    drop(again);
}

/// Changes that come while a snapshot is being written are in both journals, whichever is left in the end.
#[test]
fn changes_are_kept_while_a_snapshot_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let gateway: Arc<std::sync::OnceLock<Gateway>> = Arc::default();
    let (within, revision) = (
        Arc::clone(&gateway),
        Arc::new(std::sync::atomic::AtomicU64::new(1)),
    );
    let last = Arc::clone(&revision);
    let script = move |what: &'static str| {
        // Not where the lock is held, which appending needs.
        if matches!(
            what,
            "write" | "flush" | "sync" | "rename" | "sync directory"
        ) && let Some(gateway) = within.get()
        {
            let next = revision.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            gateway.apply(&step(next));
        }
        Ok(())
    };
    let steps = Steps {
        script: Some(Arc::new(script)),
    };
    let opened = Gateway::with(directory.path(), &[TOKEN], steps);
    assert!(gateway.set(opened).is_ok());
    let gateway = gateway.get().unwrap();
    gateway.load(first(20));
    gateway.turn();
    let last = last.load(std::sync::atomic::Ordering::Relaxed);
    assert!(last >= 6, "{last}");
    let replica = fresh();
    let kept = look(directory.path(), &[TOKEN.to_owned()], &*replica).unwrap();
    assert_eq!(kept.unwrap().at, at(last));
    assert_eq!(content(&replica.pin().unwrap()), expected(20, last));
}

#[test]
fn another_token_may_verify_and_the_first_is_written_with() {
    let directory = tempfile::tempdir().unwrap();
    let kept = |tokens: &[&str], turn: bool| {
        let gateway = Gateway::with(directory.path(), tokens, Steps::default());
        let kept = gateway.restore();
        if turn {
            gateway.turn();
        }
        kept.map(|kept| kept.at)
    };
    {
        let gateway = Gateway::with(directory.path(), &["old"], Steps::default());
        gateway.load(first(3));
        gateway.turn();
        gateway.apply(&step(2));
    }
    assert_eq!(kept(&["new"], false), None);
    assert_eq!(kept(&["new", "old"], true), Some(at(2)));
    assert_eq!(kept(&["old"], false), None);
    assert_eq!(kept(&["new"], true), Some(at(2)));
}

/// Of the keys 0 to 7 of [`first`], what becomes by changes, and between two whole states: 0, 1, 5 and 6 die, 2 dies at
/// the moment that is given, 3 and 4 are switched off and on again.
fn see_secrets_die(gateway: &Gateway) -> Timestamp {
    gateway.apply(&removed(2, 0));
    gateway.apply(&put(3, vec![with_status(key(1, 3), KeyStatus::Disabled)]));
    let mut rotated = key(2, 4);
    let grace = NOW.plus_seconds(60);
    rotated.secrets[0].retired_at = Some(grace);
    gateway.apply(&put(4, vec![rotated]));
    // Switched off and on again, by a change and between two states: it lives.
    gateway.apply(&put(5, vec![with_status(key(3, 5), KeyStatus::Disabled)]));
    gateway.apply(&put(6, vec![key(3, 6)]));
    gateway.apply(&put(7, vec![with_status(key(4, 7), KeyStatus::Disabled)]));
    let mut later = first(8);
    later.revision = 9;
    later
        .entries
        .retain(|entry| !["key-0", "key-5"].contains(&entry.record.id.as_str()));
    later.entries[0] = with_status(key(1, 3), KeyStatus::Disabled);
    later.entries[1].secrets[0].retired_at = Some(grace);
    gateway.load(later);
    gateway.turn();
    gateway.apply(&removed(10, 6));
    grace
}

#[test]
fn a_secret_that_was_seen_to_die_stays_dead_in_another_history() {
    let directory = tempfile::tempdir().unwrap();
    let retired = |gateway: &Gateway, number| {
        let snapshot = gateway.replica.pin().unwrap();
        snapshot
            .find(&digest(number))
            .map(|found| found.retired_at())
    };
    let other = |revision| State {
        epoch: Epoch(8),
        revision,
        entries: first(8).entries,
    };
    {
        let (gateway, _) = Gateway::restored(directory.path());
        gateway.load(first(8));
        gateway.turn();
        let grace = see_secrets_die(&gateway);
        assert_eq!(grace, NOW.plus_seconds(60));
        gateway.load(other(2));
        assert_eq!(retired(&gateway, 0), Some(Some(NOW)));
        gateway.turn();
    }
    let (gateway, kept) = Gateway::restored(directory.path());
    assert_eq!(kept.unwrap().at.epoch, Epoch(8));
    // As kept, and as sent once more.
    for again in [false, true] {
        if again {
            gateway.load(other(3));
        }
        for (number, expected) in [
            (0, Some(NOW)),
            (1, Some(NOW)),
            (2, Some(NOW.plus_seconds(60))),
            (3, None),
            (4, None),
            (5, Some(NOW)),
            (6, Some(NOW)),
            (7, None),
        ] {
            assert_eq!(
                retired(&gateway, number),
                Some(expected),
                "{number} {again}"
            );
        }
    }
    // A change that puts the key makes it live, from then on.
    gateway.apply(&put(4, vec![key(0, 4)]));
    assert_eq!(retired(&gateway, 0), Some(None));
    gateway.load(other(5));
    assert_eq!(retired(&gateway, 0), Some(None));
    assert_eq!(retired(&gateway, 1), Some(Some(NOW)));
}

/// However it was told, by a change or by a whole state; and whatever comes in place of it, also a history that was left.
#[test]
fn what_is_known_to_be_dead_stays_dead_whatever_comes() {
    let directory = tempfile::tempdir().unwrap();
    let (gateway, _) = Gateway::restored(directory.path());
    let mut known = first(4);
    known.entries[1] = with_status(key(1, 1), KeyStatus::Disabled);
    gateway.load(known);
    gateway.apply(&removed(2, 0));
    for (epoch, revision) in [(8, 1), (7, 1), (7, 2), (9, 1), (7, 1)] {
        gateway.load(State {
            epoch: Epoch(epoch),
            revision,
            entries: first(4).entries,
        });
        let snapshot = gateway.replica.pin().unwrap();
        for number in 0..4 {
            let found = snapshot.find(&digest(number)).unwrap();
            assert_eq!(found.is_live(), number > 1, "{number} in {epoch}");
        }
    }
}

#[test]
fn a_whole_state_counts_when_it_is_on_disk_with_what_came_since() {
    let directory = tempfile::tempdir().unwrap();
    let (gateway, _) = Gateway::restored(directory.path());
    assert!(!gateway.disk.is_behind());
    gateway.load(first(3));
    gateway.apply(&step(2));
    assert!(gateway.disk.is_behind());
    gateway.turn();
    assert!(!gateway.disk.is_behind());
    gateway.apply(&step(3));
    assert!(!gateway.disk.is_behind());
    // Whoever keeps nothing is not waited for.
    let (other, _) = Gateway::restored(directory.path());
    other.load(first(3));
    assert!(!other.disk.is_behind());
    gateway.load(first(3));
    gateway.disk.end();
    assert!(!gateway.disk.is_behind());
}

/// Whoever may write from then on finds its files as it left them.
#[test]
fn who_has_ended_writes_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let (gateway, _) = Gateway::restored(directory.path());
    gateway.load(first(3));
    gateway.turn();
    gateway.disk.end();
    let (next, kept) = Gateway::restored(directory.path());
    assert_eq!(kept.unwrap().at, at(1));
    next.apply(&step(2));
    gateway.apply(&removed(2, 0));
    next.apply(&step(3));
    let (_, kept) = Gateway::restored(directory.path());
    assert_eq!(kept.unwrap().at, at(3));
}

#[test]
fn nothing_is_kept_without_a_directory() {
    let replica = fresh();
    let disk = Disk::open(None, &[TOKEN.to_owned()], &replica).unwrap();
    assert_eq!(disk.restore(&*replica), None);
    replica.load(&mut first(2)).unwrap();
    disk.loaded(None, NOW);
    let before = replica.pin().unwrap();
    replica.apply(&removed(2, 0));
    disk.append(&before, &removed(2, 0), NOW);
    disk.confirmed(NOW);
    disk.end();
    // What died is known all the same.
    let mut other = State {
        epoch: Epoch(8),
        ..first(2)
    };
    let mut buried = disk.burying(&mut other);
    let first = buried.entries().next().unwrap();
    assert_eq!(first.secrets[0].retired_at, Some(NOW));
}

#[test]
fn nothing_prints_a_token() {
    let keys = Keys::new(&[TOKEN.to_owned()], None);
    assert_eq!(format!("{keys:?}"), "Keys(…)");
}
