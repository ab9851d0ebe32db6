//! The directory of a gateway's copy: whose it is, who may write in it, and steps on it.
//!
//! It knows no keys. What is open to others, or belongs to another user, is refused by its name: a digest in it lets its
//! key in.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::OpenError;
use crate::replica::StateError;
use crate::replica::state_file::{create_private, open_private, own_user};
use crate::wire::sync::{GatewayId, parse_hex};

/// Bits of a directory's mode that let others change what is in it.
const OTHERS_WRITE: u32 = 0o022;
/// The superuser, who may anyway.
const ROOT: u32 = 0;

const LOCK: &str = "lock";
const ID: &str = "gateway-id";
/// Longest content of the file with the id: its digits and the end of the line.
const ID_BYTES_MAX: u64 = 64;

/// Called before each step on the disk. Tests let one fail, or end the process there.
#[derive(Clone, Default)]
pub(super) struct Steps {
    #[cfg(test)]
    pub(super) script: Option<std::sync::Arc<dyn Fn(&'static str) -> io::Result<()> + Send + Sync>>,
}

impl Steps {
    pub(super) fn step(&self, what: &'static str) -> io::Result<()> {
        #[cfg(test)]
        if let Some(script) = &self.script {
            return script(what);
        }
        tracing::trace!(what);
        Ok(())
    }
}

/// See the head of this file.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) steps: Steps,
}

/// Only one process writes at a time. Whoever drops it lets the next one.
pub(super) struct Lock {
    _file: File,
}

impl Place {
    /// The directory, made where it is not there.
    pub(super) fn make(directory: &Path, steps: Steps) -> Result<Self, StateError> {
        let path = directory.to_owned();
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        made.map_err(|source| StateError::Unwritable { path, source })?;
        let place = Self::at(directory, steps)?;
        place.ok_or_else(|| StateError::Unreadable {
            path: directory.to_owned(),
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// The directory where it is there.
    pub(super) fn at(directory: &Path, steps: Steps) -> Result<Option<Self>, StateError> {
        let path = || directory.to_owned();
        let metadata = match fs::metadata(directory) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let path = path();
                return Err(StateError::Unreadable { path, source });
            }
        };
        if metadata.mode() & OTHERS_WRITE != 0 {
            return Err(StateError::Exposed { path: path() });
        }
        if ![own_user(), ROOT].contains(&metadata.uid()) {
            return Err(StateError::Foreign { path: path() });
        }
        Ok(Some(Self {
            directory: path(),
            steps,
        }))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A file for reading; `None`: it is not there.
    pub(super) fn open(&self, name: &str) -> Result<Option<File>, StateError> {
        open_private(&self.path(name))
    }

    /// A refusal of what is in a file.
    pub(super) fn damaged(&self, name: &str, why: &'static str) -> StateError {
        let path = self.path(name);
        StateError::Damaged { path, why }
    }

    /// A new file, in place of whatever has this name.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        self.steps.step("create")?;
        create_private(&self.path(name))
    }

    /// A file that is there, for writing on in it.
    pub(super) fn reopen(&self, name: &str) -> io::Result<File> {
        self.steps.step("reopen")?;
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(name))
    }

    /// Gives a whole file its name, in place of what had it. It is on disk when this returns.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.steps.step("rename")?;
        fs::rename(self.path(from), self.path(to))?;
        self.steps.step("sync directory")?;
        File::open(&self.directory)?.sync_all()
    }

    /// The right to write, unless another process has it.
    pub(super) fn lock(&self) -> io::Result<Option<Lock>> {
        self.steps.step("lock")?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Who this gateway is, as it was made once. Only for whoever has the lock: two processes are two gateways.
    pub(super) fn gateway_id(&self) -> Result<GatewayId, OpenError> {
        match self.read_id() {
            Ok(Some(id)) => return Ok(id),
            Ok(None) => {}
            Err(error) => log_refused(&error, "the gateway goes by another id from now on"),
        }
        let id = random_id()?;
        if let Err(source) = self.write_id(id) {
            let path = self.path(ID);
            let error = StateError::Unwritable { path, source };
            log_refused(&error, "the gateway will go by another id after a restart");
        }
        Ok(id)
    }

    fn read_id(&self) -> Result<Option<GatewayId>, StateError> {
        let Some(file) = self.open(ID)? else {
            return Ok(None);
        };
        let mut text = String::new();
        let read = file.take(ID_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|source| StateError::Unreadable {
            path: self.path(ID),
            source,
        })?;
        let id = parse_hex("gateway", text.trim_end());
        let id = id.map_err(|_| self.damaged(ID, "it holds no id"))?;
        Ok(Some(GatewayId(id)))
    }

    fn write_id(&self, id: GatewayId) -> io::Result<()> {
        const BESIDE: &str = "gateway-id.new";
        let mut file = self.create(BESIDE)?;
        writeln!(file, "{id}")?;
        file.sync_all()?;
        self.rename(BESIDE, ID)
    }
}

/// Says that something on disk is not used, and what follows.
pub(super) fn log_refused(error: &StateError, then: &'static str) {
    let cause = std::error::Error::source(error).map(tracing::field::display);
    tracing::error!(%error, cause, then, "the copy on disk");
}

/// An id that nobody else has.
pub(super) fn random_id() -> Result<GatewayId, OpenError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(OpenError::Randomness)?;
    Ok(GatewayId(u128::from_be_bytes(id)))
}
