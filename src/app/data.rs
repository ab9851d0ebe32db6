//! The data directory: where the admin token is, and the database where it is a file.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::control::sqlite_path;

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the data directory {} cannot be made: fix its owner or mode, or choose another", path.display())]
pub struct NoDataDirectory {
    path: PathBuf,
    source: io::Error,
}

/// The directory where nothing else says which: that of the quickstart, where `keyward keys` looks for a token.
const DEFAULT: &str = "keyward-data";

/// The directory that a database given as `sqlite://PATH` is in; of one that is no file, the default one.
pub fn directory_of(database: &str) -> PathBuf {
    let Some(file) = sqlite_path(database) else {
        return PathBuf::from(DEFAULT);
    };
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Makes the directory, for its owner alone, where it is not there.
///
/// # Errors
/// It can be neither made nor entered.
pub fn make(path: &Path) -> Result<(), NoDataDirectory> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| NoDataDirectory {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_in_a_directory() {
        assert_eq!(
            directory_of("sqlite://keyward-data/keyward.db"),
            Path::new("keyward-data")
        );
        assert_eq!(
            directory_of("sqlite:///var/lib/keyward/k.db"),
            Path::new("/var/lib/keyward")
        );
        assert_eq!(directory_of("sqlite://k.db"), Path::new("."));
        assert_eq!(
            directory_of("postgres://db.example.com/keyward"),
            Path::new("keyward-data")
        );
    }

    #[test]
    fn a_directory_is_made_once_and_below_a_file_never() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        make(&path).unwrap();
        make(&path).unwrap();
        std::fs::write(path.join("file"), "").unwrap();
        let refused = make(&path.join("file/data")).unwrap_err();
        assert!(refused.to_string().contains("file/data"));
    }
}
