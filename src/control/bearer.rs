//! The bearer tokens of a control plane's configuration: whoever administers it shows one, and a gateway another.
//!
//! Kept as hashes and compared in constant time. It knows no request and no store.

use std::fmt;
use std::marker::PhantomData;

use subtle::{Choice, ConstantTimeEq as _};

/// With it, everything may be done.
pub type AdminToken = Token<Admin>;
/// With it, a gateway is fed: every digest can be read.
pub type GatewayToken = Token<Gateway>;

/// See [`AdminToken`].
#[derive(Debug, Clone, Copy)]
pub enum Admin {}

/// See [`GatewayToken`].
#[derive(Debug, Clone, Copy)]
pub enum Gateway {}

/// A bearer token for one use. Kept as its hash; never printed.
#[derive(Clone)]
pub struct Token<Use> {
    hash: [u8; 32],
    of: PhantomData<Use>,
}

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Shorter than [`Token::CHARACTERS_MIN`] or longer than [`Token::CHARACTERS_MAX`].
    #[error("such a token has {min} to {max} characters", min = AdminToken::CHARACTERS_MIN, max = AdminToken::CHARACTERS_MAX)]
    Length,
    /// Spaces and what is not ASCII do not travel in a header.
    #[error("such a token consists of visible ASCII characters")]
    Character,
}

impl<Use> Token<Use> {
    /// Fewest characters of a token: what is shorter can be guessed.
    pub const CHARACTERS_MIN: usize = 32;
    /// Most characters of a token.
    pub const CHARACTERS_MAX: usize = 512;
    /// Most tokens of the configuration valid at a time: the present one and its successor.
    pub const VALID_MAX: usize = 2;

    /// Takes a token as configured.
    ///
    /// # Errors
    /// It is too short or too long, or cannot be sent in a header.
    pub fn new(token: &str) -> Result<Self, InvalidToken> {
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidToken::Character);
        }
        if !(Self::CHARACTERS_MIN..=Self::CHARACTERS_MAX).contains(&token.len()) {
            return Err(InvalidToken::Length);
        }
        Ok(Self {
            hash: *blake3::hash(token.as_bytes()).as_bytes(),
            of: PhantomData,
        })
    }

    /// Its hash.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.hash
    }

    /// Whether this is the text of that token, too, whatever either is for.
    pub(super) fn is_same<Other>(&self, other: &Token<Other>) -> bool {
        self.hash.ct_eq(&other.hash).into()
    }

    /// Whether `shown` is one of `tokens`, in a time that tells neither which nor how nearly.
    pub(super) fn is_among(tokens: &[Self], shown: &[u8]) -> bool {
        let shown = blake3::hash(shown);
        let found = tokens.iter().fold(Choice::from(0), |found, token| {
            found | token.hash.ct_eq(shown.as_bytes())
        });
        found.into()
    }
}

impl<Use> fmt::Debug for Token<Use> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_token_has_a_least_and_a_most_length_and_travels_in_a_header() {
        assert!(AdminToken::new(TOKEN).is_ok());
        assert!(AdminToken::new(&TOKEN.repeat(16)).is_ok());
        for (text, why) in [
            (TOKEN.replacen('0', "", 1), InvalidToken::Length),
            (TOKEN.repeat(16) + "0", InvalidToken::Length),
            (String::new(), InvalidToken::Length),
            (format!("{TOKEN} "), InvalidToken::Character),
            (format!("{TOKEN}é"), InvalidToken::Character),
        ] {
            assert_eq!(GatewayToken::new(&text).err(), Some(why), "{text}");
        }
    }

    #[test]
    fn either_of_two_tokens_is_taken_and_no_other() {
        let other = TOKEN.replace('0', "x");
        let tokens = [
            AdminToken::new(TOKEN).unwrap(),
            AdminToken::new(&other).unwrap(),
        ];
        assert!(AdminToken::is_among(&tokens, TOKEN.as_bytes()));
        assert!(AdminToken::is_among(&tokens, other.as_bytes()));
        assert!(!AdminToken::is_among(&tokens, b""));
        assert!(!AdminToken::is_among(&tokens, &TOKEN.as_bytes()[1..]));
        assert!(!AdminToken::is_among(&[], TOKEN.as_bytes()));
    }

    #[test]
    fn one_text_for_two_uses_is_seen() {
        let admin = AdminToken::new(TOKEN).unwrap();
        assert!(admin.is_same(&GatewayToken::new(TOKEN).unwrap()));
        assert!(!admin.is_same(&GatewayToken::new(&TOKEN.replace('0', "x")).unwrap()));
    }

    #[test]
    fn a_token_is_never_printed() {
        let token = AdminToken::new(TOKEN).unwrap();
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
