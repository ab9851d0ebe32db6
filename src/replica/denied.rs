//! Keys that are refused whatever the copy of the keys says: a list that somebody writes by hand when a key must die now
//! and no control plane can be reached.
//!
//! It knows the lines of a file, and opens none.

use std::collections::HashMap;
use std::fmt;

use super::digests::DigestHashing;
use crate::authz::{Family, KeyDigest, KeyId, Pepper, PresentedKey, Sha256Digest};
use crate::wire::SecretDigest;

/// Entries in a list.
pub const DENIED_MAX: usize = 100_000;
/// Bytes of a list's text.
pub const DENIED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest id that a line may hold.
const ID_BYTES_MAX: usize = 256;

/// See the head of this file.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct DenyList {
    file: String,
    ids: HashMap<KeyId, usize>,
    digests: HashMap<SecretDigest, usize, DigestHashing>,
    has_blake3: bool,
    has_sha256: bool,
}

/// A line that names nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Which, from 1.
    pub line: usize,
    /// What is wrong with it. What it holds is not repeated: it may be a secret.
    pub message: String,
}

/// Where a list names a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeniedAt<'l> {
    /// The file.
    pub file: &'l str,
    /// The line in it, from 1.
    pub line: usize,
}

impl fmt::Display for DeniedAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl DenyList {
    /// Reads the text of a file: a key's id or the digest of its token (`blake3:HEX`, `sha256:HEX`) a line, `#` before
    /// what is for people.
    ///
    /// # Errors
    /// Every line that names nothing.
    pub fn parse(file: &str, text: &str, pepper: Option<&Pepper>) -> Result<Self, Vec<BadLine>> {
        let mut list = Self {
            file: file.to_owned(),
            ..Self::default()
        };
        let mut bad = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let named = text.split('#').next().unwrap_or_default().trim();
            if named.is_empty() {
                continue;
            }
            if let Err(message) = list.add(line, named, pepper) {
                bad.push(BadLine { line, message });
            }
            if list.len() > DENIED_MAX {
                let message = format!("is one too many: a list has at most {DENIED_MAX} entries");
                bad.push(BadLine { line, message });
                break;
            }
        }
        if bad.is_empty() { Ok(list) } else { Err(bad) }
    }

    fn add(&mut self, line: usize, named: &str, pepper: Option<&Pepper>) -> Result<(), String> {
        if let Some(hex) = named.strip_prefix("blake3:") {
            let digest = digest(hex)?;
            // What an export says and what a token comes to are the plain digest; with a pepper, a copy on disk and
            // a log would have the other.
            for digest in [
                KeyDigest::from_bytes(digest),
                KeyDigest::from_unkeyed(digest, pepper),
            ] {
                self.digests.insert(SecretDigest::Blake3(digest), line);
            }
            self.has_blake3 = true;
        } else if let Some(hex) = named.strip_prefix("sha256:") {
            let digest = SecretDigest::Sha256(Sha256Digest(digest(hex)?));
            self.digests.insert(digest, line);
            self.has_sha256 = true;
        } else if is_secret(named) {
            let message = "is a key itself, which belongs in no file: write its id, or `sha256:` and the digest of it; and take the key for lost";
            return Err(message.to_owned());
        } else if named.len() > ID_BYTES_MAX
            || named.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(
                "is neither one id of a key nor a digest (`blake3:HEX`, `sha256:HEX`)".to_owned(),
            );
        } else {
            self.ids.insert(KeyId::new(named), line);
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.ids.len() + self.digests.len()
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it names a key, or a secret of it.
    pub(super) fn find(&self, id: &KeyId, secret: &SecretDigest) -> Option<DeniedAt<'_>> {
        let line = self.ids.get(id).or_else(|| self.digests.get(secret))?;
        Some(self.at(*line))
    }

    /// Where it names a key by its id.
    pub(super) fn find_id(&self, id: &KeyId) -> Option<DeniedAt<'_>> {
        self.ids.get(id).map(|line| self.at(*line))
    }

    /// Whether it names a secret by this digest.
    pub(super) fn has(&self, digest: &SecretDigest) -> bool {
        self.digests.contains_key(digest)
    }

    /// Whether it names any by the kind of digest that this one is not of.
    pub(super) fn names_other_than(&self, digest: &SecretDigest) -> bool {
        match digest {
            SecretDigest::Blake3(_) => self.has_sha256,
            SecretDigest::Sha256(_) => self.has_blake3,
        }
    }

    fn at(&self, line: usize) -> DeniedAt<'_> {
        DeniedAt {
            file: &self.file,
            line,
        }
    }
}

/// Whether somebody has written a key where its id or digest belongs. Those of a workspace look like ids.
fn is_secret(named: &str) -> bool {
    let key = PresentedKey::parse(named.as_bytes());
    key.is_some_and(|key| matches!(key.family(), Family::Org | Family::Access))
}

fn digest(hex: &str) -> Result<[u8; 32], String> {
    let digest = blake3::Hash::from_hex(hex);
    let digest = digest.map_err(|_| "is no digest: it has 64 hexadecimal digits".to_owned())?;
    Ok(*digest.as_bytes())
}

/// How much it names, and nothing of what.
impl fmt::Debug for DenyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DenyList")
            .field("file", &self.file)
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "iak_acme_0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";

    #[test]
    fn ids_and_digests_are_found_at_their_lines() {
        let pepper = Pepper::derive("pepper");
        let key = PresentedKey::parse(TOKEN.as_bytes()).unwrap();
        let plain = blake3::hash(TOKEN.as_bytes()).to_hex();
        let text = format!(
            "# an incident\n\nkey-1 # by mail\r\n  blake3:{plain}\nsha256:{}\n",
            "0".repeat(64)
        );
        let list = DenyList::parse("deny.txt", &text, pepper.as_ref()).unwrap();
        let other = SecretDigest::Sha256(Sha256Digest([1; 32]));
        let at = |id: &str, secret| list.find(&KeyId::new(id), &secret).map(|at| at.to_string());
        assert_eq!(at("key-1", other).as_deref(), Some("deny.txt:3"));
        assert_eq!(at("key-2", other), None);
        for pepper in [None, pepper.as_ref()] {
            let secret = SecretDigest::Blake3(key.digest(pepper));
            assert_eq!(at("key-2", secret).as_deref(), Some("deny.txt:4"));
        }
        let zeros = SecretDigest::Sha256(Sha256Digest([0; 32]));
        assert_eq!(at("key-2", zeros).as_deref(), Some("deny.txt:5"));
        assert!(list.has(&zeros) && !list.has(&SecretDigest::Sha256(key.sha256())));
    }

    #[test]
    fn every_bad_line_is_named_and_none_repeated() {
        let text = format!(
            "good\ntwo words\nblake3:00\nsha256:{}\n{TOKEN}\n",
            "g".repeat(64)
        );
        let bad = DenyList::parse("deny.txt", &text, None).unwrap_err();
        let lines: Vec<usize> = bad.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [2, 3, 4, 5]);
        assert!(bad[3].message.contains("itself") && !format!("{bad:?}").contains(TOKEN));
        let long = "x".repeat(ID_BYTES_MAX + 1);
        assert!(DenyList::parse("deny.txt", &long, None).is_err());
        assert!(DenyList::parse("deny.txt", "", None).unwrap().is_empty());
    }

    #[test]
    fn a_list_has_a_limit() {
        let text: String = (0..=DENIED_MAX)
            .map(|number| format!("k{number}\n"))
            .collect();
        let bad = DenyList::parse("deny.txt", &text, None).unwrap_err();
        assert_eq!((bad.len(), bad[0].line), (1, DENIED_MAX + 1));
    }
}
