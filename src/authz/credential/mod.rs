//! Credentials: where a request may carry one, what forms there are, and the digest that is looked up.
//!
//! No raw key outlives the hashing of it, and no type that holds one can print it. Whether a key exists is not
//! known here.

mod extract;
mod form;

use std::fmt;

use super::id::Family;

pub use extract::{CredentialRules, CredentialSource, Credentials, UserTokenSource};
pub use form::KeyForm;

pub(super) use extract::strip_bearer;
pub(super) use form::is_key_like;

/// Secret mixed into every digest, so that a leaked table is useless without it.
#[derive(Clone)]
pub struct Pepper([u8; 32]);

impl Pepper {
    /// Derives the hashing key from the configured text. `None` for an empty text.
    pub fn derive(text: &str) -> Option<Self> {
        const CONTEXT: &str = "keyward v1: key that digests of API keys are made with";
        let set = !text.is_empty();
        set.then(|| Self(blake3::derive_key(CONTEXT, text.as_bytes())))
    }

    /// A value that tells whether two peppers are the same without telling either. Stored with the keys.
    pub fn check_value(pepper: Option<&Self>) -> [u8; 32] {
        const CONTEXT: &str = "keyward v1: value that tells one pepper from another";
        let material = pepper.map_or([].as_slice(), |Self(key)| key.as_slice());
        blake3::derive_key(CONTEXT, material)
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}

/// What a key is looked up by: BLAKE3 of the token, keyed BLAKE3 over that where there is a pepper.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a token as presented.
    pub fn of(token: &[u8], pepper: Option<&Pepper>) -> Self {
        Self::from_unkeyed(*blake3::hash(token).as_bytes(), pepper)
    }

    /// The digest for a plain BLAKE3 of a token, as an import has it.
    pub fn from_unkeyed(hash: [u8; 32], pepper: Option<&Pepper>) -> Self {
        match pepper {
            None => Self(hash),
            Some(Pepper(key)) => Self(*blake3::keyed_hash(key, &hash).as_bytes()),
        }
    }

    /// A digest as stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// For storing.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

/// Plain SHA-256 of a token, for keys imported with that digest only. In a table of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Digest(pub [u8; 32]);

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256Digest(…)")
    }
}

/// A well-formed API key as shown by a request. Borrowed from it, never printed.
#[derive(Clone, Copy)]
pub struct PresentedKey<'a> {
    token: &'a [u8],
    family: Family,
}

impl<'a> PresentedKey<'a> {
    /// Takes a token of one of the known forms; `None` for anything else, user tokens included.
    pub fn parse(token: &'a [u8]) -> Option<Self> {
        match KeyForm::of(token)? {
            KeyForm::Key(family) => Some(Self { token, family }),
            KeyForm::UserToken => None,
        }
    }

    /// Whether both are the same token, wherever they were found.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.token == other.token
    }

    /// The family that the form belongs to.
    pub fn family(&self) -> Family {
        self.family
    }

    /// What to look it up by.
    pub fn digest(&self, pepper: Option<&Pepper>) -> KeyDigest {
        KeyDigest::of(self.token, pepper)
    }

    /// What to look it up by where keys were imported as SHA-256.
    pub fn sha256(&self) -> Sha256Digest {
        use sha2::Digest as _;
        Sha256Digest(sha2::Sha256::digest(self.token).into())
    }
}

impl<'a> PresentedKey<'a> {
    /// The slug of the organisation that it names; `None` for the other families.
    pub fn org(&self) -> Option<&'a str> {
        form::org_slug(self.token)
    }

    /// A copy that outlives the request.
    pub fn to_raw(&self) -> RawKey {
        RawKey(String::from_utf8_lossy(self.token).into())
    }
}

/// A copy of a key as it was shown, for the one purpose that needs one: asking the platform that made it. Whoever
/// asks drops it with the answer.
pub struct RawKey(Box<str>);

impl RawKey {
    /// The text, for the request to the platform.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawKey(…)")
    }
}

impl fmt::Debug for PresentedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedKey({}, …)", self.family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &[u8] = b"iak_acme_0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";

    #[test]
    fn a_digest_is_that_of_an_unkeyed_import() {
        let plain = *blake3::hash(TOKEN).as_bytes();
        assert_eq!(KeyDigest::of(TOKEN, None).as_bytes(), &plain);
        let pepper = Pepper::derive("salt and").unwrap();
        let keyed = KeyDigest::of(TOKEN, Some(&pepper));
        assert_eq!(keyed, KeyDigest::from_unkeyed(plain, Some(&pepper)));
        assert_ne!(keyed.as_bytes(), &plain);
        let key = PresentedKey::parse(TOKEN).unwrap();
        assert_eq!(key.digest(Some(&pepper)), keyed);
        assert_eq!((key.family(), key.org()), (Family::Org, Some("acme")));
    }

    #[test]
    fn peppers_are_told_apart_without_telling_them() {
        let (one, other) = (Pepper::derive("one"), Pepper::derive("other"));
        let checks = [one.as_ref(), other.as_ref(), None].map(Pepper::check_value);
        assert!(checks[0] != checks[1] && checks[1] != checks[2] && checks[0] != checks[2]);
        assert_eq!(
            checks[0],
            Pepper::check_value(Pepper::derive("one").as_ref())
        );
        assert_ne!(checks[0], one.unwrap().0);
        assert!(Pepper::derive("").is_none());
    }

    #[test]
    fn nothing_prints_a_secret() {
        let key = PresentedKey::parse(TOKEN).unwrap();
        let printed = format!(
            "{key:?} {:?} {:?} {:?} {:?}",
            key.to_raw(),
            key.digest(None),
            key.sha256(),
            Pepper::derive("salt")
        );
        assert_eq!(key.to_raw().reveal().as_bytes(), TOKEN);
        let expected =
            "PresentedKey(org, …) RawKey(…) KeyDigest(…) Sha256Digest(…) Some(Pepper(…))";
        assert_eq!(printed, expected);
    }
}
