//! A file in which a gateway keeps its copy of the keys over a restart: written whole or not at all, believed whole
//! or not at all.
//!
//! Knows nothing of what is in it. A digest in it lets its key in, so nobody but its owner may touch it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// First word of every such file.
const MAGIC: &str = "keyward-state";
/// Version of the form of the first line.
const VERSION: &str = "1";
/// Longest first line.
const HEAD_BYTES_MAX: usize = 256;
/// Largest content that is written or read.
pub const CONTENT_BYTES_MAX: u64 = 1 << 30;
/// Bits of the mode that let others in.
const OTHERS: u32 = 0o077;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct StateFile {
    path: PathBuf,
    kind: &'static str,
}

/// Why a file is not used. Each names it.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is there and cannot be read.
    #[error("the state file {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("the state file {} cannot be written", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may have written it.
    #[error("the state file {} is open to others than its owner: it is not used until its mode is 0600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else may have written it.
    #[error("the state file {} belongs to another user: it is not used", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is not what was written.
    #[error("the state file {} is damaged ({why}): it is not used", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl StateFile {
    /// The file at `path`, for content of this kind (one word).
    pub fn new(path: impl Into<PathBuf>, kind: &'static str) -> Self {
        Self {
            path: path.into(),
            kind,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A refusal of its content, by those who know what should be in it.
    pub fn damaged(&self, why: &'static str) -> StateError {
        let path = self.path.clone();
        StateError::Damaged { path, why }
    }

    /// What was last written; `None`: nothing yet.
    ///
    /// # Errors
    /// It is there, and cannot be read or believed.
    pub fn read(&self) -> Result<Option<Vec<u8>>, StateError> {
        let unreadable = |source| StateError::Unreadable {
            path: self.path.clone(),
            source,
        };
        let Some(file) = open_private(&self.path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(CONTENT_BYTES_MAX + HEAD_BYTES_MAX as u64)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        match self.content(&bytes) {
            Ok(content) => Ok(Some(content.to_vec())),
            Err(why) => Err(self.damaged(why)),
        }
    }

    fn content<'b>(&self, bytes: &'b [u8]) -> Result<&'b [u8], &'static str> {
        let end = bytes.iter().take(HEAD_BYTES_MAX).position(|b| *b == b'\n');
        let (head, rest) = end
            .and_then(|end| bytes.split_at_checked(end))
            .ok_or("it has no first line")?;
        let content = rest.get(1..).unwrap_or_default();
        let head = std::str::from_utf8(head).map_err(|_| "its first line is no text")?;
        let words: Vec<&str> = head.split(' ').collect();
        match words.as_slice() {
            [MAGIC, VERSION, kind, _, _] if *kind != self.kind => Err("it holds something else"),
            [MAGIC, VERSION, ..] if head == self.head(content) => Ok(content),
            [MAGIC, VERSION, ..] => Err("its checksum is of another content"),
            [MAGIC, ..] => Err("it is of another version"),
            _ => Err("its first line is none of ours"),
        }
    }

    fn head(&self, content: &[u8]) -> String {
        let (length, hash) = (content.len(), blake3::hash(content).to_hex());
        format!("{MAGIC} {VERSION} {} {length} {hash}", self.kind)
    }

    /// Writes `content` in place of what was there: afterwards one of the two is on disk, whatever happens.
    ///
    /// # Errors
    /// The disk does not take it; what was there still is.
    pub fn write(&self, content: &[u8]) -> Result<(), StateError> {
        self.try_write(content)
            .map_err(|source| StateError::Unwritable {
                path: self.path.clone(),
                source,
            })
    }

    fn try_write(&self, content: &[u8]) -> io::Result<()> {
        if content.len() as u64 > CONTENT_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let directory = match self.path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let beside = self.path_beside();
        let written = self.write_new(&beside, content).and_then(|()| {
            fs::rename(&beside, &self.path)?;
            File::open(directory)?.sync_all()
        });
        if written.is_err() {
            // Where it was renamed already there is nothing to remove.
            let _ = fs::remove_file(&beside);
        }
        written
    }

    fn write_new(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        // One of the same name is left over from a process that had the same id and was killed.
        let mut file = create_private(path)?;
        writeln!(file, "{}", self.head(content))?;
        file.write_all(content)?;
        file.sync_all()
    }

    /// A name that no other writer uses, in the same directory, so that it can be renamed.
    fn path_beside(&self) -> PathBuf {
        static WRITES: AtomicU64 = AtomicU64::new(0);
        let number = WRITES.fetch_add(1, Ordering::Relaxed);
        let mut path = self.path.as_os_str().to_owned();
        path.push(format!(".{}-{number}.new", std::process::id()));
        path.into()
    }
}

/// A plain file of this user that nobody else may touch, for reading; `None`: it is not there.
pub(super) fn open_private(path: &Path) -> Result<Option<File>, StateError> {
    let unreadable = |source| StateError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::ErrorKind::InvalidInput.into()));
    }
    let path = path.to_owned();
    if metadata.mode() & OTHERS != 0 {
        return Err(StateError::Exposed { path });
    }
    if metadata.uid() != own_user() {
        return Err(StateError::Foreign { path });
    }
    Ok(Some(file))
}

/// A new file that nobody else may touch, in place of whatever has this name.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Whom this process acts as.
pub(super) fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file() -> (tempfile::TempDir, StateFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path().join("deep/er/keys.state"), "test");
        (directory, file)
    }

    #[test]
    fn what_was_written_last_is_read_and_nothing_else_is_left() {
        let (_directory, file) = file();
        assert_eq!(file.read().unwrap(), None);
        for content in [b"".as_slice(), b"one\ntwo\n", &[0, 255, 10, 13]] {
            file.write(content).unwrap();
            assert_eq!(file.read().unwrap().as_deref(), Some(content));
        }
        let beside = fs::read_dir(file.path().parent().unwrap()).unwrap();
        assert_eq!(beside.count(), 1, "only the file itself");
        let mode = fs::metadata(file.path()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn every_damage_is_seen_and_the_file_named() {
        let (_directory, file) = file();
        file.write(b"some keys\nand more of them\n").unwrap();
        let whole = fs::read(file.path()).unwrap();
        let damaged = |bytes: &[u8]| {
            fs::write(file.path(), bytes).unwrap();
            let error = file.read().expect_err("it is damaged").to_string();
            assert!(error.contains("keys.state"), "{error}");
        };
        for length in 0..whole.len() {
            damaged(&whole[..length]);
        }
        for at in 0..whole.len() {
            for bit in [1, 0x80] {
                let mut bytes = whole.clone();
                bytes[at] ^= bit;
                damaged(&bytes);
            }
        }
        damaged(&vec![0; whole.len()]);
        damaged(&[whole.as_slice(), b"x"].concat());
        damaged(&whole.repeat(2));
        fs::write(file.path(), &whole).unwrap();
        assert!(file.read().unwrap().is_some());
        let another = StateFile::new(file.path(), "other").read().unwrap_err();
        assert!(another.to_string().contains("something else"), "{another}");
    }

    #[test]
    fn a_file_that_others_could_write_is_not_believed() {
        let (_directory, file) = file();
        file.write(b"keys").unwrap();
        for mode in [0o620, 0o602, 0o640, 0o604] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            let refused = file.read().unwrap_err();
            assert!(matches!(refused, StateError::Exposed { .. }), "{mode:o}");
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let (directory, _) = file();
        fs::write(directory.path().join("plain"), "").unwrap();
        let file = StateFile::new(directory.path().join("plain/keys.state"), "test");
        let error = file.write(b"x").unwrap_err();
        assert!(error.to_string().contains("plain/keys.state"), "{error}");
    }
}
