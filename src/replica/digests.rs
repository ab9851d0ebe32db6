//! Digests as keys of tables. They are uniform, so that their own bytes are the best hash of them.

use std::hash::{BuildHasher, Hasher};

use crate::wire::SecretDigest;

/// Hashes digests by eight bytes of their own, which are none of those that [`position`] takes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DigestHashing;

/// Where the bytes for hashing are.
const HASHED: usize = 8;

impl BuildHasher for DigestHashing {
    type Hasher = DigestHasher;

    fn build_hasher(&self) -> DigestHasher {
        DigestHasher(0)
    }
}

/// See [`DigestHashing`].
#[derive(Debug)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(chunk) = bytes.get(HASHED..).and_then(<[u8]>::first_chunk) {
            self.0 = u64::from_le_bytes(*chunk);
        }
    }

    // Lengths and the kind of a digest, neither of which spreads anything.
    fn write_usize(&mut self, _: usize) {}
    fn write_isize(&mut self, _: isize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The bytes of a digest.
pub(super) fn bytes(digest: &SecretDigest) -> &[u8; 32] {
    match digest {
        SecretDigest::Blake3(digest) => digest.as_bytes(),
        SecretDigest::Sha256(digest) => &digest.0,
    }
}

/// Where a digest is in the order of digests, as a fraction of 2^64.
pub(super) fn position(digest: &SecretDigest) -> u64 {
    bytes(digest)
        .first_chunk()
        .map_or(0, |chunk| u64::from_be_bytes(*chunk))
}

/// What the order of digests goes by: their bytes, then their kind.
pub(super) fn order(digest: &SecretDigest) -> (&[u8; 32], bool) {
    (bytes(digest), matches!(digest, SecretDigest::Sha256(_)))
}
