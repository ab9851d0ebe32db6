//! The one place where the present snapshot is swapped, and the rebuilding of its base.
//!
//! Readers take the snapshot and are never held up. Writers take turns. A new base is built by whoever is given
//! the [`Rebuild`], beside both: changes that come meanwhile are kept and laid over it when it is put in place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;

use super::base::Base;
use super::denied::DenyList;
use super::snapshot::Snapshot;
use crate::wire::{Change, Incomplete, KeySource};

/// Keys that an overlay holds at least before its base is rebuilt.
const OVERLAY_KEYS_MIN: usize = 4096;
/// An overlay over a large base may hold this part of its keys, so that rebuilding costs each change little.
const OVERLAY_PART: usize = 8;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Current {
    snapshot: ArcSwapOption<Snapshot>,
    writer: Mutex<Writer>,
    overlay_keys_min: usize,
}

#[derive(Debug, Default)]
struct Writer {
    /// How many states were loaded.
    generation: u64,
    /// What every snapshot from now on refuses.
    denied: Option<Arc<DenyList>>,
    /// What was applied since the rebuild that is under way began.
    since: Option<Vec<Change>>,
}

/// The task of building a new base.
#[derive(Debug)]
#[must_use = "until it is installed, no other rebuild begins"]
pub(super) struct Rebuild {
    from: Arc<Snapshot>,
}

impl Rebuild {
    /// Does the work, which takes about a second a million keys.
    pub(super) fn build(&self) -> Base {
        self.from.compact()
    }
}

impl Default for Current {
    fn default() -> Self {
        Self::with_overlay(OVERLAY_KEYS_MIN)
    }
}

impl Current {
    /// One whose overlay is laid down at this many keys.
    pub(super) fn with_overlay(keys_min: usize) -> Self {
        Self {
            snapshot: ArcSwapOption::empty(),
            writer: Mutex::default(),
            overlay_keys_min: keys_min,
        }
    }

    /// The present snapshot.
    pub(super) fn pin(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    /// Whether this is the present snapshot.
    pub(super) fn is_present(&self, snapshot: &Arc<Snapshot>) -> bool {
        let present = self.snapshot.load();
        present
            .as_ref()
            .is_some_and(|present| Arc::ptr_eq(present, snapshot))
    }

    /// Takes a whole state, built aside: one that breaks off changes nothing. A rebuild that is under way becomes
    /// void.
    pub(super) fn load(&self, source: &mut dyn KeySource) -> Result<(), Incomplete> {
        // It may come over a network: nobody waits for it.
        let mut snapshot = Snapshot::load(source)?;
        let mut writer = self.lock();
        writer.generation += 1;
        writer.since = None;
        snapshot.generation = writer.generation;
        snapshot.denied.clone_from(&writer.denied);
        self.snapshot.store(Some(Arc::new(snapshot)));
        Ok(())
    }

    /// Puts another list of keys that are refused in force: the next `pin` sees it. Says whether it is another.
    pub(super) fn deny(&self, denied: Option<Arc<DenyList>>) -> bool {
        let mut writer = self.lock();
        if writer.denied == denied {
            return false;
        }
        writer.denied.clone_from(&denied);
        if let Some(present) = self.pin() {
            self.snapshot.store(Some(Arc::new(present.denying(denied))));
        }
        true
    }

    /// Applies a change: the next `pin` sees it. Gives the task of a rebuild when one is due.
    pub(super) fn apply(&self, change: &Change) -> Applied {
        let mut writer = self.lock();
        let Some(before) = self.pin() else {
            return Applied::NothingLoaded;
        };
        if change.revision <= before.revision {
            return Applied::Already;
        }
        if change.previous > before.revision {
            return Applied::Gap;
        }
        let after = Arc::new(before.with(change));
        if let Some(since) = &mut writer.since {
            since.push(change.clone());
        }
        self.snapshot.store(Some(Arc::clone(&after)));
        Applied::Now(self.begin_rebuild(&mut writer, after))
    }

    /// Puts a new base in place, unless a whole state was loaded since. Gives the next task when one is due.
    pub(super) fn install(&self, rebuild: &Rebuild, base: Base) -> Option<Rebuild> {
        let mut writer = self.lock();
        let present = self.pin()?;
        if present.generation != rebuild.from.generation {
            return None;
        }
        let since = writer.since.take()?;
        let rebased = Arc::new(present.rebased(base, &since));
        self.snapshot.store(Some(Arc::clone(&rebased)));
        self.begin_rebuild(&mut writer, rebased)
    }

    /// Gives a rebuild up that cannot be carried out. The next change asks for another.
    pub(super) fn abandon(&self, rebuild: &Rebuild) {
        let mut writer = self.lock();
        if writer.generation == rebuild.from.generation {
            writer.since = None;
        }
    }

    /// Begins a rebuild although none is due.
    #[cfg(test)]
    pub(super) fn begin_rebuild_now(&self) -> Option<Rebuild> {
        let mut writer = self.lock();
        if writer.since.is_some() {
            return None;
        }
        writer.since = Some(Vec::new());
        self.pin().map(|from| Rebuild { from })
    }

    fn begin_rebuild(&self, writer: &mut Writer, from: Arc<Snapshot>) -> Option<Rebuild> {
        let keys_max = self.overlay_keys_min.max(from.base_keys() / OVERLAY_PART);
        if writer.since.is_some() || from.changed_keys() <= keys_max {
            return None;
        }
        writer.since = Some(Vec::new());
        Some(Rebuild { from })
    }

    /// A panic while the lock was held came before anything was swapped, so that its poison says nothing.
    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a change.
#[derive(Debug)]
pub(super) enum Applied {
    /// It is applied; the base may be due for a rebuild.
    Now(Option<Rebuild>),
    /// The snapshot had it already.
    Already,
    /// Others before it are missing.
    Gap,
    /// There is no snapshot to apply it to: it will be contained in the first one.
    NothingLoaded,
}
