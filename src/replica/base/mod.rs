//! The immutable part of a snapshot: every key in a few flat tables, about 150 bytes a key.
//!
//! It is built once, from a source or from another base and what changed since, and then only read. It knows
//! nothing of revisions beyond those of its records.

mod codec;
mod records;
mod table;

use std::fmt;
use std::sync::Arc;

use self::codec::{RecordView, Shared};
use self::records::{Parts, Records};
use self::table::{Row, Table};
use crate::authz::{Family, KeyId, KeyRecord, KeyStatus, Revision, Timestamp};
use crate::wire::{Secret, SecretDigest, SecretEntry};

/// See the head of this file.
pub(super) struct Base {
    table: Table,
    records: Records,
    sha256: FamilySet,
}

impl Base {
    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The families of the keys that were imported as SHA-256.
    pub(super) fn sha256(&self) -> FamilySet {
        self.sha256
    }

    /// The secret of this digest.
    pub(super) fn find(&self, digest: &SecretDigest) -> Option<BaseFound<'_>> {
        let row = self.table.find(digest)?;
        Some(BaseFound { base: self, row })
    }

    /// Whether there is a key of this id.
    pub(super) fn contains(&self, id: &KeyId) -> bool {
        self.records.number(id.as_str()).is_some()
    }

    /// The record of this key.
    pub(super) fn record(&self, id: &KeyId) -> Option<KeyRecord> {
        self.records
            .view(self.records.number(id.as_str())?)?
            .decode()
    }

    /// The secrets of this key; none when there is no such key.
    pub(super) fn secrets(&self, id: &KeyId) -> impl Iterator<Item = Secret> {
        self.records
            .number(id.as_str())
            .into_iter()
            .flat_map(|number| self.table.rows_of(number).map(Row::secret))
    }

    /// The keys with their secrets, but those of which `left_out` says so by their id.
    pub(super) fn entries(
        &self,
        left_out: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = SecretEntry> {
        let numbers = 0..u32::try_from(self.len()).unwrap_or(Row::LAST);
        numbers.filter_map(move |number| {
            let view = self
                .records
                .view(number)
                .filter(|view| !left_out(view.id))?;
            let secrets = self.table.rows_of(number).map(Row::secret);
            Some(SecretEntry {
                record: Arc::new(view.decode()?),
                secrets: secrets.collect(),
            })
        })
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.table.memory() + self.records.memory()
    }

    /// Checks what look-ups rely on.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        self.table.check_invariants();
        for number in 0..self.records.len() as u32 {
            let view = self.records.view(number).expect("every record can be read");
            assert_eq!(self.records.number(view.id), Some(number));
            for row in self.table.rows_of(number) {
                assert_eq!(row.revision, view.revision);
                let found = self.table.find(&row.secret().digest);
                assert_eq!(found.map(Row::secret), Some(row.secret()));
            }
        }
    }
}

/// So that a snapshot can be printed without its keys.
impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base")
            .field("keys", &self.len())
            .field("memory", &self.memory())
            .finish_non_exhaustive()
    }
}

/// A secret that was found.
#[derive(Clone, Copy)]
pub(super) struct BaseFound<'b> {
    base: &'b Base,
    row: &'b Row,
}

impl BaseFound<'_> {
    /// The key's.
    pub(super) fn revision(&self) -> Revision {
        self.row.revision
    }

    /// When the secret was or will be rotated away.
    pub(super) fn retired_at(&self) -> Option<Timestamp> {
        self.row.retired_at()
    }

    /// The key's stored status. `None` would mean that the base is damaged.
    pub(super) fn status(&self) -> Option<KeyStatus> {
        Some(self.base.records.view(self.row.key)?.status)
    }

    /// The key's record. `None` would mean that the base is damaged.
    pub(super) fn record(&self) -> Option<KeyRecord> {
        self.base.records.view(self.row.key)?.decode()
    }

    /// Whether the secret is one of this key.
    pub(super) fn is_of(&self, id: &KeyId) -> bool {
        let view = self.base.records.view(self.row.key);
        view.is_some_and(|view| view.id == id.as_str())
    }
}

/// A base that is being built.
#[derive(Default)]
pub(super) struct Builder {
    rows: Vec<Row>,
    records: Records,
    parts: Parts,
    sha256: FamilySet,
    encoded: Shared<Vec<u8>>,
}

impl Builder {
    /// For about this many keys with one secret each.
    pub(super) fn with_capacity(keys: usize) -> Self {
        Self {
            rows: Vec::with_capacity(keys),
            records: Records::with_capacity(keys),
            ..Self::default()
        }
    }

    /// Adds a key. One that is there already stays as it was; so does a base that is full.
    pub(super) fn push(&mut self, entry: &SecretEntry) {
        let mut encoded = std::mem::take(&mut self.encoded);
        encoded.encode(&entry.record);
        self.push_view(&encoded.view(&entry.record), entry.secrets.iter().copied());
        self.encoded = encoded;
    }

    /// Adds the keys of `base`, without those of which `left_out` says so by their id.
    pub(super) fn push_all(&mut self, base: &Base, left_out: impl Fn(&str) -> bool) {
        for number in 0..u32::try_from(base.len()).unwrap_or(Row::LAST) {
            if let Some(view) = base.records.view(number)
                && !left_out(view.id)
            {
                self.push_view(&view, base.table.rows_of(number).map(Row::secret));
            }
        }
    }

    fn push_view(&mut self, view: &RecordView<'_>, secrets: impl Iterator<Item = Secret>) {
        let number = (self.rows.len() < table::index(Row::LAST))
            .then(|| self.records.push(view, &mut self.parts))
            .flatten();
        let Some(number) = number else {
            tracing::error!(
                key_id = view.id,
                "a key was left out: twice in its source, or too many"
            );
            debug_assert!(false, "a source has each key once, and not 2^32 of them");
            return;
        };
        for secret in secrets {
            if let (SecretDigest::Sha256(_), Some(family)) = (secret.digest, view.family()) {
                self.sha256.insert(family);
            }
            self.rows.push(Row::new(&secret, number, view.revision));
        }
    }

    /// Puts everything in order.
    pub(super) fn finish(mut self) -> Base {
        self.records.shrink();
        Base {
            table: Table::build(self.rows, self.records.len()),
            records: self.records,
            sha256: self.sha256,
        }
    }
}

impl<'e> FromIterator<&'e SecretEntry> for Base {
    fn from_iter<I: IntoIterator<Item = &'e SecretEntry>>(entries: I) -> Self {
        let mut builder = Builder::default();
        entries.into_iter().for_each(|entry| builder.push(entry));
        builder.finish()
    }
}

/// Some of the families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FamilySet(u8);

impl FamilySet {
    pub(super) fn insert(&mut self, family: Family) {
        self.0 |= Self::bit(family);
    }

    pub(super) fn contains(self, family: Family) -> bool {
        self.0 & Self::bit(family) != 0
    }

    const fn bit(family: Family) -> u8 {
        match family {
            Family::Access => 1,
            Family::Org => 2,
            Family::Workspace => 4,
        }
    }
}
