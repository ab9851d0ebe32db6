//! Secrets in the order of their digests, one cache line each.
//!
//! Digests are uniform: as many of their first bits as there are bits in the number of rows lead to the row, or
//! to a handful. (Digests that somebody chose to be alike cost a binary search among them, no more.)

use std::iter;
use std::ops::Range;

use crate::authz::{Revision, Timestamp};
use crate::replica::digests;
use crate::wire::{Secret, SecretDigest};

/// Bits of a digest that the index goes by at most (1 GiB of index).
const INDEX_BITS_MAX: u32 = 28;

/// One secret, with all that a warm look-up needs to know of its key.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Row {
    digest: SecretDigest,
    /// The key's.
    pub(super) revision: Revision,
    /// Milliseconds; [`Row::NEVER`] for a current secret.
    retired_at: i64,
    /// Number of the key.
    pub(super) key: u32,
    /// The next row of the same key, or [`Row::LAST`].
    next: u32,
}

impl Row {
    const NEVER: i64 = i64::MAX;
    /// No row has this number.
    pub(super) const LAST: u32 = u32::MAX;

    pub(super) fn new(secret: &Secret, key: u32, revision: Revision) -> Self {
        Self {
            digest: secret.digest,
            revision,
            retired_at: secret.retired_at.map_or(Self::NEVER, Timestamp::as_millis),
            key,
            next: Self::LAST,
        }
    }

    pub(super) fn retired_at(&self) -> Option<Timestamp> {
        (self.retired_at != Self::NEVER).then_some(Timestamp::from_millis(self.retired_at))
    }

    pub(super) fn secret(&self) -> Secret {
        Secret {
            digest: self.digest,
            retired_at: self.retired_at(),
        }
    }
}

/// See the head of this file.
pub(super) struct Table {
    // INVARIANT: strictly ascending in the order of digests.
    rows: Box<[Row]>,
    // INVARIANT: `starts[p]..starts[p + 1]` are the rows whose digest begins with the bits `p`.
    starts: Box<[u32]>,
    /// How far to shift the position of a digest for the bits that index `starts`.
    shift: u32,
    /// The first row of each key, or [`Row::LAST`].
    first: Box<[u32]>,
}

impl Table {
    /// Puts rows in order. Where two keys claim a digest, the later revision has it.
    pub(super) fn build(mut rows: Vec<Row>, keys: usize) -> Self {
        rows.sort_unstable_by(|a, b| {
            digests::order(&a.digest)
                .cmp(&digests::order(&b.digest))
                .then(b.revision.cmp(&a.revision))
        });
        rows.dedup_by(|later, kept| later.digest == kept.digest);
        let bits = rows.len().max(2).next_power_of_two().ilog2();
        let shift = u64::BITS - bits.min(INDEX_BITS_MAX);
        let mut table = Self {
            starts: starts(&rows, shift),
            shift,
            first: vec![Row::LAST; keys].into_boxed_slice(),
            rows: rows.into_boxed_slice(),
        };
        table.link();
        table
    }

    /// Strings the rows of each key together.
    fn link(&mut self) {
        for (number, row) in (0..Row::LAST).zip(&mut self.rows) {
            if let Some(first) = self.first.get_mut(index(row.key)) {
                row.next = std::mem::replace(first, number);
            }
        }
    }

    /// The row of this digest.
    pub(super) fn find(&self, digest: &SecretDigest) -> Option<&Row> {
        let prefix = usize::try_from(digests::position(digest) >> self.shift).ok()?;
        let [start, end] = self.starts.get(prefix..)?.first_chunk()?;
        let rows = self.rows.get(range(*start, *end))?;
        let wanted = digests::order(digest);
        let at = rows
            .binary_search_by(|row| digests::order(&row.digest).cmp(&wanted))
            .ok()?;
        rows.get(at)
    }

    /// The rows of a key.
    pub(super) fn rows_of(&self, key: u32) -> impl Iterator<Item = &Row> {
        let row = |number: u32| self.rows.get(index(number));
        let first = self.first.get(index(key)).copied().and_then(row);
        iter::successors(first, move |before| row(before.next))
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.rows) + size_of_val(&*self.starts) + size_of_val(&*self.first)
    }

    /// Checks what look-ups rely on; gives the number of rows.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) -> usize {
        let order = |row: &Row| (*digests::bytes(&row.digest), digests::order(&row.digest).1);
        assert!(
            self.rows
                .windows(2)
                .all(|pair| order(&pair[0]) < order(&pair[1])),
            "rows ascend"
        );
        assert_eq!(self.starts.len(), (1 << (u64::BITS - self.shift)) + 1);
        assert_eq!(self.starts[0], 0);
        assert_eq!(self.starts.last(), Some(&(self.rows.len() as u32)));
        for (prefix, pair) in self.starts.windows(2).enumerate() {
            for row in &self.rows[range(pair[0], pair[1])] {
                assert_eq!(digests::position(&row.digest) >> self.shift, prefix as u64);
            }
        }
        let keys = 0..self.first.len() as u32;
        let linked: usize = keys
            .map(|key| {
                self.rows_of(key)
                    .inspect(|row| assert_eq!(row.key, key))
                    .count()
            })
            .sum();
        assert_eq!(linked, self.rows.len(), "every row belongs to a key");
        linked
    }
}

/// For each prefix of digests, where its rows begin; and at the end, where the last ones end.
fn starts(rows: &[Row], shift: u32) -> Box<[u32]> {
    let prefixes = 1_u32 << (u64::BITS - shift);
    let mut starts = Vec::with_capacity(index(prefixes) + 1);
    let mut number = 0_u32;
    let mut rows = rows.iter().peekable();
    for prefix in 0..prefixes {
        starts.push(number);
        while rows
            .next_if(|row| digests::position(&row.digest) >> shift == u64::from(prefix))
            .is_some()
        {
            number += 1;
        }
    }
    starts.push(number);
    starts.into_boxed_slice()
}

fn range(start: u32, end: u32) -> Range<usize> {
    index(start)..index(end)
}

/// A `usize` holds every `u32` on the machines that this runs on; elsewhere it would be no index at all.
pub(super) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Row, Table};
    use crate::authz::{KeyDigest, Revision, Sha256Digest};
    use crate::wire::{Secret, SecretDigest};

    fn table(digests: &[[u8; 32]]) -> Table {
        let secret = |bytes: &[u8; 32]| Secret {
            digest: SecretDigest::Blake3(KeyDigest::from_bytes(*bytes)),
            retired_at: None,
        };
        let rows = digests.iter().zip(0..);
        let rows = rows.map(|(bytes, key)| Row::new(&secret(bytes), key, Revision(1)));
        let table = Table::build(rows.collect(), digests.len());
        table.check_invariants();
        table
    }

    fn key_of(table: &Table, digest: [u8; 32]) -> Option<u32> {
        let digest = SecretDigest::Blake3(KeyDigest::from_bytes(digest));
        table.find(&digest).map(|row| row.key)
    }

    /// The digest of a crowd's member; even numbers are members.
    fn alike(first: u8, number: u8) -> [u8; 32] {
        let mut digest = [first; 32];
        digest[31] = number;
        digest
    }

    #[test]
    fn nothing_is_found_in_an_empty_table() {
        assert_eq!(key_of(&table(&[]), [0; 32]), None);
        assert_eq!(key_of(&table(&[[1; 32]]), [0; 32]), None);
    }

    #[test]
    fn the_ends_are_found_and_only_as_what_they_are() {
        let ends = [[0; 32], [255; 32]];
        assert_eq!(key_of(&table(&ends), ends[0]), Some(0));
        assert_eq!(key_of(&table(&ends), ends[1]), Some(1));
        assert_eq!(key_of(&table(&ends[1..]), ends[0]), None);
        let as_sha256 = SecretDigest::Sha256(Sha256Digest(ends[1]));
        assert!(table(&ends).find(&as_sha256).is_none());
    }

    #[test]
    fn digests_that_crowd_are_found_each() {
        for first in [0, 7, 128, 255] {
            let crowd = 21;
            let members: Vec<_> = (1..=crowd).map(|number| alike(first, 2 * number)).collect();
            let table = table(&members);
            for (member, key) in members.iter().zip(0..) {
                assert_eq!(key_of(&table, *member), Some(key));
                assert_eq!(key_of(&table, alike(first, member[31] + 1)), None);
            }
            assert_eq!(key_of(&table, alike(first, 1)), None);
        }
    }
}
