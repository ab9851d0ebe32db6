//! Keeps the copy on disk as the replica is: changes at once in the journal, and from time to time, by a thread beside,
//! a snapshot of all and a new journal.
//!
//! Until the new snapshot has its name, changes go into both journals: whatever is cut off where, a snapshot and a
//! journal that belongs to it are there. It knows no control plane.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::journal::Journal;
use super::place::{Lock, Place, log_refused};
use super::record::{Keys, Kind};
use super::restored::{Rest, Restored};
use super::tombstones::Tombstones;
use super::{Kept, load, written};
use crate::authz::Timestamp;
use crate::replica::{Replica, Snapshot};
use crate::wire::sync::Position;
use crate::wire::{Change, ChangeSink, Epoch};

/// A journal may be this part of its snapshot, within bounds: it is what a start has to read beside it.
const JOURNAL_PART: u64 = 4;
const JOURNAL_BYTES_MIN: u64 = 1024 * 1024;
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// From one sync of the journal to the next, at least: what the loss of the machine's power may cost.
const SYNC_SPACING: Duration = Duration::from_millis(100);
/// Between two notes of when the copy was current, at least.
const CONFIRMED_SPACING_MILLIS: u64 = 1000;
/// Between two looks whether the process that writes here has ended.
const LOCK_SPACING: Duration = Duration::from_secs(1);
/// How long is waited after the disk refused something: doubled each time, between these.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// See the head of this file.
pub(super) struct Keeper {
    place: Option<Place>,
    keys: Keys,
    replica: Arc<Replica>,
    state: Mutex<State>,
    wake: Condvar,
    /// See [`super::Disk::is_behind`].
    is_behind: watch::Sender<bool>,
    errors: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The right to write.
    lock: Option<Lock>,
    tombstones: Tombstones,
    /// When the copy was last current, and the last of these that was written.
    confirmed: Option<Timestamp>,
    confirmed_on_disk: Option<Timestamp>,
    /// The latest time that was told.
    latest: Option<Timestamp>,
    /// What goes with the snapshot on disk.
    journal: Option<Journal>,
    /// What will go with the one that is being written.
    next: Option<Journal>,
    snapshot_bytes: u64,
    on_disk: Option<Position>,
    /// Whether a snapshot has to be written.
    is_due: bool,
    /// How long is waited before the next try, while the disk refuses.
    retry: Option<Duration>,
    is_ending: bool,
    thread: Option<JoinHandle<()>>,
}

/// Runs the thread, from now on.
pub(super) fn begin(keeper: &Arc<Keeper>) {
    if keeper.place.is_none() {
        return;
    }
    let running = Arc::clone(keeper);
    let spawned = thread::Builder::new()
        .name("keep-keys".to_owned())
        .spawn(move || {
            // However it ends, nobody waits for it: a panic is in the log.
            let _ended = catch_unwind(AssertUnwindSafe(|| running.run()));
            running.give_up();
        });
    match spawned {
        Ok(thread) => keeper.state().thread = Some(thread),
        Err(error) => {
            tracing::error!(%error, "no thread for keeping the keys on disk: they are not kept");
            keeper.give_up();
        }
    }
}

/// Does what is due once more, and ends the thread.
pub(super) fn end(keeper: &Keeper) {
    let thread = {
        let mut state = keeper.state();
        state.is_ending = true;
        keeper.wake.notify_all();
        state.thread.take()
    };
    if let Some(thread) = thread {
        // If it panicked, that is in the log.
        let _ = thread.join();
    }
    keeper.give_up();
}

impl Keeper {
    pub(super) fn new(
        place: Option<Place>,
        lock: Option<Lock>,
        keys: Keys,
        replica: Arc<Replica>,
    ) -> Self {
        let state = State {
            lock,
            ..State::default()
        };
        Self {
            place,
            keys,
            replica,
            state: Mutex::new(state),
            wake: Condvar::new(),
            is_behind: watch::Sender::new(false),
            errors: AtomicU64::new(0),
        }
    }

    /// Each step under the lock leaves a state that the next one can go on from.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on another process may write, and this one does not.
    fn give_up(&self) {
        let mut state = self.state();
        state.journal = None;
        state.next = None;
        state.lock = None;
        self.is_behind.send_replace(false);
    }

    pub(super) fn behind(&self) -> watch::Receiver<bool> {
        self.is_behind.subscribe()
    }

    /// Those that hold for a state of this history, which is to take the place of the present one.
    pub(super) fn tombstones(&self, of: Epoch) -> Tombstones {
        let (mut tombstones, latest) = {
            let state = self.state();
            (state.tombstones.clone(), state.latest)
        };
        let former = self.replica.pin().filter(|before| before.epoch() != of);
        if let Some(before) = former {
            // Where no time was told yet, long ago is right for what is over.
            let now = latest.unwrap_or(Timestamp::from_millis(0));
            tombstones.leave(&before, of, now);
        }
        tombstones
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(super) fn restore(&self, sink: &dyn ChangeSink) -> Option<Kept> {
        const THEN: &str = "the keys are fetched anew";
        let place = self.place.as_ref()?;
        let mut restored = match Restored::open(place, &self.keys) {
            Ok(restored) => restored?,
            Err(error) => {
                log_refused(&error, THEN);
                return None;
            }
        };
        let rest = restored.rest.take()?;
        let loaded = load(&mut restored, sink);
        let mut state = self.state();
        state.tombstones.clone_from(&rest.tombstones);
        match loaded {
            Ok(at) => {
                let confirmed = rest.confirmed;
                self.take_up(place, &mut state, at, rest);
                Some(Kept { at, confirmed })
            }
            Err(error) => {
                log_refused(&error, THEN);
                None
            }
        }
    }

    /// Goes on from what was read.
    fn take_up(&self, place: &Place, state: &mut State, at: Position, rest: Rest) {
        state.confirmed = rest.confirmed;
        state.confirmed_on_disk = rest.confirmed;
        state.latest = rest.confirmed;
        state.on_disk = Some(at);
        state.snapshot_bytes = rest.snapshot_bytes;
        state.is_due = !rest.is_written_with_first;
        if state.lock.is_none() {
            return;
        }
        let resumed = rest
            .journal
            .map(|(frames, length)| Journal::resume(place, frames, at.epoch, length));
        match resumed.transpose() {
            Ok(journal) => {
                state.is_due |= journal.is_none();
                state.journal = journal;
            }
            Err(error) => {
                state.is_due = true;
                self.refused(state, &error);
            }
        }
    }

    pub(super) fn loaded(&self, before: Option<&Snapshot>, now: Timestamp) {
        let mut state = self.state();
        state.latest = Some(now);
        if let (Some(before), Some(after)) = (before, self.replica.pin()) {
            state.tombstones.replaced(before, &after, now);
        }
        state.journal = None;
        state.next = None;
        state.is_due = true;
        let is_kept = state.lock.is_some() && state.retry.is_none();
        self.is_behind.send_replace(is_kept);
        self.wake.notify_one();
    }

    pub(super) fn append(&self, before: &Snapshot, change: &Change, now: Timestamp) {
        let mut state = self.state();
        state.latest = Some(now);
        let died = state.tombstones.changed(before, change, now);
        let epoch = before.epoch();
        let revision = change.revision;
        self.with_journals(&mut state, |journal| match journal.epoch() == epoch {
            true => journal.change(change, &died).is_ok(),
            false => false,
        });
        if state.journal.is_some() {
            state.on_disk = Some(Position { epoch, revision });
        }
        let is_long =
            |journal: &Journal| journal.length() > journal_bytes_max(state.snapshot_bytes);
        if state.next.is_none() && state.journal.as_ref().is_some_and(is_long) {
            state.is_due = true;
        }
        self.wake.notify_one();
    }

    pub(super) fn confirmed(&self, at: Timestamp) {
        let mut state = self.state();
        state.confirmed = Some(at);
        state.latest = Some(at);
        let written = state.confirmed_on_disk.map(Timestamp::as_millis);
        let is_new = written
            .is_none_or(|written| at.as_millis().abs_diff(written) >= CONFIRMED_SPACING_MILLIS);
        if is_new && state.journal.is_some() {
            state.confirmed_on_disk = Some(at);
            self.with_journals(&mut state, |journal| journal.confirmed(at).is_ok());
        }
    }

    /// Has `take` done to both journals, and hands the disk what they have. One that takes no more is given up.
    fn with_journals(&self, state: &mut State, take: impl Fn(&mut Journal) -> bool) {
        let Some(place) = &self.place else {
            return;
        };
        let mut refusal = None;
        let is_refusing = state.retry.is_some();
        let State {
            journal,
            next,
            is_due,
            ..
        } = state;
        for slot in [journal, next] {
            let Some(journal) = slot else { continue };
            if !take(journal) {
                *slot = None;
                *is_due = true;
            } else if !is_refusing && let Err(error) = journal.write(&place.steps) {
                refusal = Some(error);
            }
        }
        if let Some(error) = refusal {
            self.refused(state, &error);
        }
    }

    /// Counts a refusal of the disk, and says it once.
    fn refused(&self, state: &mut State, error: &io::Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.is_behind.send_replace(false);
        let retry = state.retry;
        if retry.is_none() {
            let directory = self.place.as_ref().map(|place| place.directory.display());
            let directory = directory.map(tracing::field::display);
            tracing::error!(%error, directory, "the keys are not kept on disk; they are served, and kept when the disk takes them again");
        }
        let retry = retry.map_or(RETRY_MIN, |retry| (retry * 2).min(RETRY_MAX));
        state.retry = Some(retry);
    }

    /// The life of the thread.
    fn run(&self) {
        loop {
            let is_last = self.state().is_ending;
            let pause = self.turn();
            if is_last {
                return;
            }
            let mut state = self.state();
            let until = Instant::now() + pause.unwrap_or(RETRY_MAX);
            // Spacing is kept whoever wakes it; without, it goes on as soon as there is something.
            while !state.is_ending && (pause.is_some() || !state.has_work()) {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let woken = self.wake.wait_timeout(state, left);
                (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Does what is due. Gives how long must be waited before the next time; `None`: until there is something.
    pub(super) fn turn(&self) -> Option<Duration> {
        let place = self.place.as_ref()?;
        match self.try_turn(place) {
            Ok(pause) => {
                if self.state().retry.take().is_some() {
                    tracing::info!("the keys are kept on disk again");
                }
                pause
            }
            Err(error) => {
                let mut state = self.state();
                self.refused(&mut state, &error);
                state.retry
            }
        }
    }

    fn try_turn(&self, place: &Place) -> io::Result<Option<Duration>> {
        if !self.has_lock(place)? {
            return Ok(Some(LOCK_SPACING));
        }
        let synced = self.sync(place)?;
        if !self.write_snapshot(place)? {
            return Ok(Some(LOCK_SPACING));
        }
        Ok(synced.then_some(SYNC_SPACING))
    }

    /// Whether this process may write. One that comes to may not write over what is newer.
    fn has_lock(&self, place: &Place) -> io::Result<bool> {
        if self.state().lock.is_some() {
            return Ok(true);
        }
        let Some(lock) = place.lock()? else {
            return Ok(false);
        };
        let kept = Restored::open(place, &self.keys);
        let kept = kept.unwrap_or_else(|error| {
            log_refused(&error, "it is written anew");
            None
        });
        let mut state = self.state();
        state.on_disk = kept.map(|kept| kept.at());
        state.lock = Some(lock);
        state.is_due = true;
        tracing::info!("the other process has ended: the keys are kept on disk from now on");
        Ok(true)
    }

    /// Writes what waits in the journal, and sees to it that it is on disk. Says whether there was something.
    fn sync(&self, place: &Place) -> io::Result<bool> {
        let unsynced = {
            let mut state = self.state();
            let Some(journal) = &mut state.journal else {
                return Ok(false);
            };
            journal.write(&place.steps)?;
            std::mem::take(&mut journal.is_unsynced).then(|| journal.file())
        };
        let Some(file) = unsynced else {
            return Ok(false);
        };
        let synced = place
            .steps
            .step("sync journal")
            .and_then(|()| file.sync_data());
        if let Err(error) = synced {
            // Nobody knows what of it is on disk.
            let mut state = self.state();
            state.journal = None;
            state.is_due = true;
            return Err(error);
        }
        Ok(true)
    }

    /// Writes a snapshot where one is due. Says whether none is any more.
    fn write_snapshot(&self, place: &Place) -> io::Result<bool> {
        let (snapshot, at, tombstones) = {
            let mut state = self.state();
            if !state.is_due {
                return Ok(true);
            }
            // Under the lock: what was handed over before is in it, and what comes is for the new journal.
            let Some(snapshot) = self.replica.pin() else {
                return Ok(false);
            };
            let at = Position {
                epoch: snapshot.epoch(),
                revision: snapshot.revision(),
            };
            let newer =
                |on_disk: Position| on_disk.epoch == at.epoch && on_disk.revision > at.revision;
            if state.on_disk.is_some_and(newer) {
                return Ok(false);
            }
            let mut next = Journal::create(place, &self.keys, at)?;
            if let Some(confirmed) = state.confirmed {
                // A few bytes, behind which nothing waits.
                let _ = next.confirmed(confirmed);
            }
            state.next = Some(next);
            state.is_due = false;
            (snapshot, at, state.tombstones.all(state.latest))
        };
        let written = written::write(place, &self.keys, &snapshot, &tombstones);
        let named = written.and_then(|bytes| self.name_snapshot(place, at, bytes));
        if named.is_err() {
            let mut state = self.state();
            state.next = None;
            state.is_due = true;
            drop(state);
            for kind in [Kind::Snapshot, Kind::Journal] {
                // What cannot be removed is written over by the next try.
                let _ = fs::remove_file(place.path(kind.beside()));
            }
        }
        named.map(|()| true)
    }

    /// Gives a written snapshot its name, then its journal.
    fn name_snapshot(&self, place: &Place, at: Position, bytes: u64) -> io::Result<()> {
        if self.state().next.is_none() {
            // Something else was loaded meanwhile, or it could not be kept up with: the next turn writes another one.
            return Ok(());
        }
        place.rename(Kind::Snapshot.beside(), Kind::Snapshot.file())?;
        {
            let mut state = self.state();
            state.snapshot_bytes = bytes;
            let is_newer =
                |on_disk: &Position| on_disk.epoch == at.epoch && on_disk.revision > at.revision;
            state.on_disk = state.on_disk.filter(is_newer).or(Some(at));
        }
        place.rename(Kind::Journal.beside(), Kind::Journal.file())?;
        let mut state = self.state();
        if let Some(next) = state.next.take() {
            state.journal = Some(next);
            self.is_behind.send_replace(false);
        }
        Ok(())
    }
}

impl State {
    fn has_work(&self) -> bool {
        self.is_due
            || self
                .journal
                .as_ref()
                .is_some_and(|journal| journal.is_unsynced)
    }
}

/// How long the journal of a snapshot of this length may be.
fn journal_bytes_max(snapshot_bytes: u64) -> u64 {
    (snapshot_bytes / JOURNAL_PART).clamp(JOURNAL_BYTES_MIN, JOURNAL_BYTES_MAX)
}
