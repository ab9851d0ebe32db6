//! The tokens by which gateways are known: several at a time, each with a name, each revocable by itself.
//!
//! Only their hashes are here. A token that is shown is compared with all of them, in a time that tells nothing.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use crate::authz::Timestamp;
use crate::control::bearer::GatewayToken;
use crate::control::command::InvalidInput;

/// Tokens that the store holds at a time.
pub(in crate::control) const TOKENS_MAX: usize = 64;
/// The name of those that come from the environment.
const OF_ENVIRONMENT: &str = "environment";

/// What people call a token: `[a-z0-9][a-z0-9._-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) struct TokenName(String);

impl TokenName {
    /// Takes a name.
    ///
    /// # Errors
    /// It is not of the grammar, or that of the tokens of the environment.
    pub(in crate::control) fn parse(text: &str) -> Result<Self, InvalidInput> {
        let begins = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let follows = |byte: u8| begins(byte) || matches!(byte, b'.' | b'_' | b'-');
        let fits = (1..=63).contains(&text.len())
            && text.bytes().next().is_some_and(begins)
            && text.bytes().all(follows);
        if !fits {
            let problem = "consists of 1 to 63 lower-case letters, digits, `.`, `_` and `-`, and begins with a letter or a digit";
            return Err(InvalidInput::new("name", problem));
        }
        if text == OF_ENVIRONMENT {
            let problem = "is that of the tokens in KEYWARD_GATEWAY_TOKEN";
            return Err(InvalidInput::new("name", problem));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub(in crate::control) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A token as far as it is known: not the token itself.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::control) struct NamedToken {
    /// What people call it.
    pub(in crate::control) name: Arc<str>,
    /// Its hash.
    pub(in crate::control) digest: [u8; 32],
    /// When it was made; `None`: it is from the environment.
    pub(in crate::control) created_at: Option<Timestamp>,
}

impl fmt::Debug for NamedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedToken")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The tokens that are valid.
#[derive(Debug)]
pub(in crate::control) struct Tokens {
    given: Vec<NamedToken>,
    valid: RwLock<Arc<[NamedToken]>>,
}

impl Tokens {
    /// Those of the environment, and those that are stored.
    pub(in crate::control) fn new(given: &[GatewayToken], stored: Vec<NamedToken>) -> Self {
        let given = given.iter().map(|token| NamedToken {
            name: OF_ENVIRONMENT.into(),
            digest: token.digest(),
            created_at: None,
        });
        let tokens = Self {
            given: given.collect(),
            valid: RwLock::new(Arc::new([])),
        };
        tokens.replace(stored);
        tokens
    }

    /// These are stored now, and no others.
    pub(in crate::control) fn replace(&self, stored: Vec<NamedToken>) {
        let valid = self.given.iter().cloned().chain(stored).collect();
        *self.valid.write().unwrap_or_else(PoisonError::into_inner) = valid;
    }

    /// The stored one of this name is valid no more.
    pub(in crate::control) fn remove(&self, name: &str) {
        let mut valid = self.valid.write().unwrap_or_else(PoisonError::into_inner);
        let kept = valid.iter();
        let kept = kept.filter(|token| token.created_at.is_none() || *token.name != *name);
        *valid = kept.cloned().collect();
    }

    /// All that are valid.
    pub(in crate::control) fn valid(&self) -> Arc<[NamedToken]> {
        let valid = self.valid.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&valid)
    }

    /// The token that was shown, if it is one.
    pub(in crate::control) fn recognise(&self, shown: &[u8]) -> Option<NamedToken> {
        let shown = blake3::hash(shown);
        let valid = self.valid();
        let mut found = u32::MAX;
        for (index, token) in (0_u32..).zip(valid.iter()) {
            found.conditional_assign(&index, token.digest.ct_eq(shown.as_bytes()));
        }
        valid.get(usize::try_from(found).ok()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "gateway-token-of-the-tests-012345";

    fn stored(name: &str, token: &str) -> NamedToken {
        NamedToken {
            name: name.into(),
            digest: *blake3::hash(token.as_bytes()).as_bytes(),
            created_at: Some(Timestamp::from_millis(1)),
        }
    }

    #[test]
    fn a_token_is_known_by_its_name_until_it_is_gone() {
        let given = [GatewayToken::new(TOKEN).unwrap()];
        let tokens = Tokens::new(&given, vec![stored("eu", "a"), stored("us", "b")]);
        let name = |shown: &str| tokens.recognise(shown.as_bytes()).map(|token| token.name);
        assert_eq!(name(TOKEN).as_deref(), Some("environment"));
        assert_eq!(name("a").as_deref(), Some("eu"));
        assert_eq!(name("b").as_deref(), Some("us"));
        for unknown in ["", "c", &TOKEN.replacen('g', "", 1)] {
            assert_eq!(name(unknown), None, "{unknown}");
        }
        tokens.replace(vec![stored("us", "b")]);
        assert_eq!(name("a"), None);
        assert_eq!(name("b").as_deref(), Some("us"));
        assert_eq!(name(TOKEN).as_deref(), Some("environment"));
    }

    #[test]
    fn nothing_is_known_where_there_is_no_token() {
        let tokens = Tokens::new(&[], Vec::new());
        assert_eq!(tokens.recognise(b""), None);
    }

    #[test]
    fn a_name_is_plain_and_not_the_environments() {
        for name in ["eu", "0", "edge-1.eu_west", &"n".repeat(63)] {
            assert_eq!(TokenName::parse(name).unwrap().as_str(), name);
        }
        for name in [
            "",
            "-a",
            "A",
            "a/b",
            "ä",
            "a b",
            "environment",
            &"n".repeat(64),
        ] {
            assert!(TokenName::parse(name).is_err(), "{name}");
        }
    }
}
