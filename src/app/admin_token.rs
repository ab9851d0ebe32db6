//! The admin token: given by the operator, or made at the first start and kept in a file of mode 0600.
//!
//! The text is a secret. It is in the file, in this type, and with whoever is told it by the quickstart;
//! nothing here prints it.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::control::{AdminToken, InvalidToken};

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "admin-token";

/// The bits of a file's mode that let anybody but its user do something.
const OTHERS: u32 = 0o077;
/// Random bytes of a token that is made here; hexadecimal makes it twice as long.
const RANDOM_BYTES: usize = 32;

/// An admin token as text, with which requests can be made.
#[derive(Clone)]
pub struct AdminSecret(String);

impl AdminSecret {
    /// Takes a token as an operator gave it.
    ///
    /// # Errors
    /// It is too short to be safe, or cannot be sent in a header.
    pub fn new(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        AdminToken::new(text).map(|_| Self(text.to_owned()))
    }

    /// The text, for a request's header or for the one who may know it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the control plane compares with.
    ///
    /// # Errors
    /// None in practice: the text was checked when this was made.
    pub fn to_token(&self) -> Result<AdminToken, InvalidToken> {
        AdminToken::new(&self.0)
    }
}

impl fmt::Debug for AdminSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminSecret(…)")
    }
}

/// Environment variable that holds the admin token, or two with a space between.
pub const VARIABLE: &str = "KEYWARD_ADMIN_TOKEN";

/// Why there is no admin token.
#[derive(Debug, thiserror::Error)]
pub enum NoAdminToken {
    /// The one that was given is none.
    #[error("{VARIABLE} cannot be used")]
    Given(#[source] InvalidToken),
    /// The file is there and cannot be read.
    #[error("the admin token file {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not hold a token.
    #[error("the admin token file {} holds no token; delete it to have a new one made", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        source: InvalidToken,
    },
    /// The file cannot be made.
    #[error("the admin token file {} cannot be written", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The machine has no random numbers.
    #[error("the machine gives no random numbers")]
    NoRandomness(#[source] getrandom::Error),
}

/// The admin tokens: those in `given` (one, or two while they are being changed, with a space between), else the one
/// in the file of the data directory, which is made at the first start. The first is the one to make requests with.
///
/// # Errors
/// A given token is no token, or the file can be neither read nor made.
pub fn obtain(given: Option<&str>, directory: &Path) -> Result<Vec<AdminSecret>, NoAdminToken> {
    match given {
        Some(given) if !given.trim().is_empty() => given
            .split_ascii_whitespace()
            .map(AdminSecret::new)
            .collect::<Result<_, _>>()
            .map_err(NoAdminToken::Given),
        _ => read_or_make(directory).map(|secret| vec![secret]),
    }
}

/// Reads a token file.
///
/// # Errors
/// It is not there (`Unreadable`, not found), cannot be read, or holds no token.
pub fn read_file(path: &Path) -> Result<AdminSecret, NoAdminToken> {
    let path = path.to_owned();
    match fs::read_to_string(&path) {
        Ok(text) => {
            warn_of_readers(&path);
            AdminSecret::new(&text).map_err(|source| NoAdminToken::Invalid { path, source })
        }
        Err(source) => Err(NoAdminToken::Unreadable { path, source }),
    }
}

/// Says so where others than this user can get at the token.
fn warn_of_readers(path: &Path) {
    if is_open_to_others(path) {
        tracing::warn!(
            "others can get at the admin token: run `chmod 600 {}`, and change the token if they may have",
            path.display()
        );
    }
}

fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.permissions().mode() & OTHERS != 0)
}

fn read_or_make(directory: &Path) -> Result<AdminSecret, NoAdminToken> {
    match read_file(&directory.join(FILE_NAME)) {
        Err(NoAdminToken::Unreadable { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            make(directory)
        }
        other => other,
    }
}

fn make(directory: &Path) -> Result<AdminSecret, NoAdminToken> {
    let mut random = [0_u8; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(NoAdminToken::NoRandomness)?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = directory.join(FILE_NAME);
    write_private(&path, &text).map_err(|source| NoAdminToken::Unwritable { path, source })?;
    Ok(AdminSecret(text))
}

/// Writes a file that only its owner may read, and that did not exist, to the disk.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_makes_a_private_file_and_the_second_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let made = read_or_make(dir.path()).unwrap();
        assert_eq!(made.reveal().len(), 2 * RANDOM_BYTES);
        let mode = fs::metadata(dir.path().join(FILE_NAME))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!is_open_to_others(&dir.path().join(FILE_NAME)));
        assert_eq!(read_or_make(dir.path()).unwrap().reveal(), made.reveal());
    }

    #[test]
    fn a_file_that_others_can_get_at_is_noticed_and_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        fs::write(&path, "t".repeat(32)).unwrap();
        for (mode, open) in [(0o640, true), (0o604, true), (0o620, true), (0o400, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_open_to_others(&path), open, "{mode:o}");
            assert!(read_or_make(dir.path()).is_ok());
        }
    }

    #[test]
    fn a_file_without_a_token_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE_NAME), "short\n").unwrap();
        assert!(matches!(
            read_or_make(dir.path()),
            Err(NoAdminToken::Invalid { .. })
        ));
        assert_eq!(
            fs::read_to_string(dir.path().join(FILE_NAME)).unwrap(),
            "short\n"
        );
    }

    #[test]
    fn given_tokens_come_first_and_make_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = ("o".repeat(32), "n".repeat(32));
        let given = obtain(Some(&format!("{new} {old}")), dir.path()).unwrap();
        assert_eq!(
            given.iter().map(AdminSecret::reveal).collect::<Vec<_>>(),
            [&new, &old]
        );
        assert!(matches!(
            obtain(Some("short"), dir.path()),
            Err(NoAdminToken::Given(_))
        ));
        assert!(!dir.path().join(FILE_NAME).exists());
        assert_eq!(obtain(Some(" "), dir.path()).unwrap().len(), 1);
        assert!(dir.path().join(FILE_NAME).exists());
    }

    #[test]
    fn two_tokens_differ_and_neither_is_printed() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, two) = (
            read_or_make(one.path()).unwrap(),
            read_or_make(two.path()).unwrap(),
        );
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(format!("{one:?}"), "AdminSecret(…)");
    }
}
