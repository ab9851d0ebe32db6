//! The file beside a database that says who serves from it.
//!
//! The operating system holds the lock and ends it with the process; what the file says is for people.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Why a lock was not got.
#[derive(Debug)]
pub(super) enum LockError {
    /// Somebody has it; what they wrote into it.
    Held(String),
    /// The file could not be made or read.
    Io(io::Error),
}

/// Who may read and write the file: this user.
const MODE: u32 = 0o600;
/// Most bytes of the note that are shown to people.
const NOTE_BYTES_MAX: u64 = 256;

impl Lock {
    /// Takes the lock of `database` and notes down who has it.
    pub(super) fn take(database: &Path, who: &str) -> Result<Self, LockError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(MODE)
            .open(path_beside(database))
            .map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(note(&mut file))),
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        // One that an earlier version made lets others read it.
        file.set_permissions(Permissions::from_mode(MODE))
            .and_then(|()| write_note(&mut file, who))
            .map_err(LockError::Io)?;
        Ok(Self { _file: file })
    }
}

fn path_beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

fn write_note(file: &mut File, who: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{who}")?;
    file.flush()
}

fn note(file: &mut File) -> String {
    let mut text = Vec::new();
    if file.take(NOTE_BYTES_MAX).read_to_end(&mut text).is_err() || text.is_empty() {
        return "a process that left no note".to_owned();
    }
    let text: String = String::from_utf8_lossy(&text)
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    text
}
