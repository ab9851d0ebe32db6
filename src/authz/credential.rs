//! Credentials: where a request may carry one, what forms there are, and the digest that is looked up.
//!
//! No raw key outlives the hashing of it, and no type that holds one can print it.

use std::fmt;

use http::{HeaderMap, HeaderName};

use super::decision::Reason;
use super::id::Family;
use super::request::Query;

/// Secret mixed into every digest, so that a leaked table is useless without it.
#[derive(Clone)]
pub struct Pepper([u8; 32]);

impl Pepper {
    /// Derives the hashing key from the configured text. `None` for an empty text.
    pub fn derive(text: &str) -> Option<Self> {
        let _ = text;
        unimplemented!()
    }

    /// A value that tells whether two peppers are the same without telling either. Stored with the keys.
    pub fn check_value(pepper: Option<&Self>) -> [u8; 32] {
        let _ = pepper;
        unimplemented!()
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

/// The form of a token, which tells API keys from user tokens without any look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// An API key of this family: `iak_{orgSlug}_{uuid}`, a bare UUID, `sk-orq-{ULID}-{secret}`.
    Key(Family),
    /// A JWT or an opaque `at:…` token: not an API key.
    UserToken,
}

impl KeyForm {
    /// Longest token that is looked at, in bytes.
    pub const TOKEN_BYTES_MAX: usize = 256;

    /// The form of `token`; `None`: no known form. (A user token may be longer than an API key.)
    pub fn of(token: &[u8]) -> Option<Self> {
        let _ = token;
        unimplemented!()
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

impl fmt::Debug for PresentedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedKey({}, …)", self.family)
    }
}

/// A place where a request may carry an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// `Authorization: Bearer`, scheme in any case.
    Bearer,
    /// The whole value of this header.
    Header(HeaderName),
    /// A query parameter of this name.
    Query(String),
    /// `Sec-WebSocket-Protocol: bearer, <key>`.
    WebSocketProtocol,
}

/// A place where a request may carry a user token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserTokenSource {
    /// `Authorization: Bearer`.
    Bearer,
    /// This cookie.
    Cookie(String),
    /// The whole value of this header.
    Header(HeaderName),
}

/// Where credentials may be, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRules {
    /// Sources of API keys.
    pub sources: Vec<CredentialSource>,
    /// Sources of user tokens.
    pub user_tokens_from: Vec<UserTokenSource>,
}

impl Default for CredentialRules {
    fn default() -> Self {
        Self {
            sources: vec![
                CredentialSource::Header(HeaderName::from_static("x-prismeai-api-key")),
                CredentialSource::Bearer,
            ],
            user_tokens_from: vec![UserTokenSource::Bearer],
        }
    }
}

/// What a request showed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The one API key.
    pub key: Option<PresentedKey<'a>>,
    /// Whether there is a user token beside it or alone.
    pub user_token: bool,
}

impl CredentialRules {
    /// Finds what the request shows, per the norm's section 2.
    ///
    /// A key found in a query parameter must be borrowed from the query, so one that needs
    /// percent-decoding is `malformed_credential` (no form of key needs it).
    ///
    /// # Errors
    /// `ambiguous_credential` or `malformed_credential`.
    pub fn extract<'a>(
        &self,
        headers: &'a HeaderMap,
        query: &Query<'a>,
    ) -> Result<Credentials<'a>, Reason> {
        let _ = (headers, query);
        unimplemented!()
    }
}
