//! The file beside a database that says how far it had come: by it a database is recognised that was restored from a
//! backup, or was in use elsewhere meanwhile.
//!
//! Such a database goes on with revisions that gateways have met already, with other keys in them. It must not do so
//! under the name of the same history.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::authz::Revision;
use crate::control::token::{self, NoRandomness};

/// Who may read and write the file: this user.
const MODE: u32 = 0o600;
/// The first word of the file, which says what it is, and in which form.
const FORM: &str = "keyward-seen-1";
/// Most bytes that are read of a file that should be one.
const BYTES_MAX: u64 = 256;

/// What tells one time that a database is served from apart from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Incarnation(pub(super) [u8; 16]);

impl Incarnation {
    /// Another one than ever before.
    pub(super) fn fresh() -> Result<Self, NoRandomness> {
        token::random().map(Self)
    }
}

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// When the database was served from last.
    last: Incarnation,
    /// And before that, in case that the database was never told of the last time.
    former: Incarnation,
    /// How far it came at least.
    revision: Revision,
}

/// The file, open for being kept true.
#[derive(Debug)]
pub(super) struct Witness {
    file: File,
    seen: Seen,
}

/// Whether a database goes on where it was left: it was last served from here, and it has come as far as is remembered.
/// One that nobody remembers was brought from somewhere.
pub(super) fn goes_on(
    database: &Path,
    incarnation: Option<Incarnation>,
    revision: Revision,
) -> bool {
    let Some((seen, incarnation)) = read(&path_beside(database)).zip(incarnation) else {
        return false;
    };
    [seen.last, seen.former].contains(&incarnation) && revision >= seen.revision
}

impl Witness {
    /// Begins a new time: to be called before the database is told of it.
    pub(super) fn begin(
        database: &Path,
        incarnation: Incarnation,
        former: Option<Incarnation>,
        revision: Revision,
    ) -> io::Result<Self> {
        let path = path_beside(database);
        let seen = Seen {
            last: incarnation,
            former: former.unwrap_or(incarnation),
            revision,
        };
        let aside = with_suffix(&path, ".new");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(MODE)
            .open(&aside)?;
        file.write_all(text(&seen).as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, &path)?;
        Ok(Self { file, seen })
    }

    /// Notes how far the database has come. It is no use waiting for the disk: a file that lags behind is no harm.
    pub(super) fn note(&mut self, revision: Revision) -> io::Result<()> {
        self.seen.revision = revision;
        self.file.write_all_at(text(&self.seen).as_bytes(), 0)
    }
}

/// One line, always of the same length, so that it is overwritten in place.
fn text(seen: &Seen) -> String {
    let Incarnation(last) = seen.last;
    let Incarnation(former) = seen.former;
    let (last, former) = (u128::from_be_bytes(last), u128::from_be_bytes(former));
    format!("{FORM} {last:032x} {former:032x} {:020}\n", seen.revision.0)
}

fn read(path: &Path) -> Option<Seen> {
    let file = File::open(path).ok()?;
    let text = io::read_to_string(io::Read::take(file, BYTES_MAX)).ok()?;
    let words: Vec<&str> = text.strip_suffix('\n')?.split(' ').collect();
    let [FORM, last, former, revision] = words[..] else {
        return None;
    };
    let incarnation = |hex: &str| {
        let number = u128::from_str_radix(hex, 16).ok()?;
        Some(Incarnation(number.to_be_bytes()))
    };
    Some(Seen {
        last: incarnation(last)?,
        former: incarnation(former)?,
        revision: Revision(revision.parse().ok()?),
    })
}

fn path_beside(database: &Path) -> PathBuf {
    with_suffix(database, ".seen")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Incarnation = Incarnation([0xa; 16]);
    const B: Incarnation = Incarnation([0xb; 16]);
    const C: Incarnation = Incarnation([0xc; 16]);

    #[test]
    fn a_database_goes_on_unless_it_is_older_or_from_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("k.db");
        let goes_on = |incarnation, revision| goes_on(&database, incarnation, Revision(revision));
        assert!(!goes_on(Some(B), 0), "nobody remembers it");
        let mut witness = Witness::begin(&database, B, Some(A), Revision(7)).unwrap();
        for (incarnation, revision, expected) in [
            (Some(B), 7, true),
            (Some(B), 8, true),
            (Some(A), 7, true),
            (Some(B), 6, false),
            (Some(C), 7, false),
            (None, 7, false),
        ] {
            let found = goes_on(incarnation, revision);
            assert_eq!(found, expected, "{incarnation:?} {revision}");
        }
        witness.note(Revision(u64::MAX)).unwrap();
        assert!(!goes_on(Some(B), 7));
        assert!(goes_on(Some(B), u64::MAX));
        witness.note(Revision(1)).unwrap();
        assert!(goes_on(Some(B), 1));
    }

    #[test]
    fn what_is_no_such_file_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("k.db");
        drop(Witness::begin(&database, A, None, Revision(7)).unwrap());
        let whole = fs::read(path_beside(&database)).unwrap();
        for length in 0..whole.len() {
            fs::write(path_beside(&database), &whole[..length]).unwrap();
            assert!(!goes_on(&database, Some(A), Revision(7)), "{length} bytes");
        }
        fs::write(path_beside(&database), [0xff; 1000]).unwrap();
        assert!(!goes_on(&database, Some(A), Revision(7)));
        fs::write(path_beside(&database), &whole).unwrap();
        assert!(goes_on(&database, Some(A), Revision(7)));
    }
}
