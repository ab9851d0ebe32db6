//! What a control plane is told: where it listens, where it stores, who administers it.
//!
//! It knows no file and no environment; `config` fills it in.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use subtle::{Choice, ConstantTimeEq as _};

use super::tls::TlsFiles;
use crate::authz::Pepper;

/// Settings of one control plane.
#[derive(Clone)]
pub struct Config {
    /// Where the API is served. Not a loopback address only with TLS or with `insecure`.
    pub listen: SocketAddr,
    /// `sqlite://PATH`, percent-encoded, or `postgres://USER:PASSWORD@HOST:PORT/NAME`. May hold a password; never printed.
    pub database: String,
    /// Bearer tokens that may do everything; one, or two while they are being changed.
    pub admin_tokens: Vec<AdminToken>,
    /// Bearer tokens by which gateways are fed, beside those that the store holds.
    pub gateway_tokens: Vec<GatewayToken>,
    /// What every digest is keyed with.
    pub pepper: Option<Pepper>,
    /// TLS of the listener; `None`: it speaks in clear text.
    pub tls: Option<TlsFiles>,
    /// Whether to listen beyond loopback without TLS.
    pub insecure: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("database", &without_password(&self.database))
            .field("admin_tokens", &self.admin_tokens)
            .field("pepper", &self.pepper)
            .field("tls", &self.tls)
            .field("insecure", &self.insecure)
            .finish()
    }
}

/// Whether a database is at a PostgreSQL server, which several control planes may share.
pub fn is_at_server(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// A database URL without what stands between `//` and `@`, and without what follows `?`, where a password may be, too.
pub(super) fn without_password(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(place, _)| place);
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://…@{place}"),
        _ => url.to_owned(),
    }
}

/// The file of a database that is given as `sqlite://PATH`; `None`: that names no file. As in any URL, `%` begins an
/// encoded byte, and `?` is none of the path.
pub fn sqlite_path(url: &str) -> Option<PathBuf> {
    let path = url
        .strip_prefix("sqlite://")
        .or_else(|| url.strip_prefix("sqlite:"))
        .filter(|path| !path.is_empty() && !path.contains('?') && *path != ":memory:")?;
    let bytes: Vec<u8> = percent_decode_str(path).collect();
    let is_possible = !bytes.contains(&0);
    is_possible.then(|| OsString::from_vec(bytes).into())
}

/// A bearer token that may do everything. Kept as its hash; never printed.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

/// Why a text is no admin token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAdminToken {
    /// Shorter than [`AdminToken::CHARACTERS_MIN`] or longer than [`AdminToken::CHARACTERS_MAX`].
    #[error("an admin token has {min} to {max} characters", min = AdminToken::CHARACTERS_MIN, max = AdminToken::CHARACTERS_MAX)]
    Length,
    /// Spaces and what is not ASCII do not travel in a header.
    #[error("an admin token consists of visible ASCII characters")]
    Character,
}

impl AdminToken {
    /// Fewest characters of a token: what is shorter can be guessed.
    pub const CHARACTERS_MIN: usize = 32;
    /// Most characters of a token.
    pub const CHARACTERS_MAX: usize = 512;
    /// Most tokens valid at a time: the present one and its successor.
    pub const VALID_MAX: usize = 2;

    /// Takes a token as configured.
    ///
    /// # Errors
    /// It is too short or too long, or cannot be sent in a header.
    pub fn new(token: &str) -> Result<Self, InvalidAdminToken> {
        if !travels(token) {
            return Err(InvalidAdminToken::Character);
        }
        if !(Self::CHARACTERS_MIN..=Self::CHARACTERS_MAX).contains(&token.len()) {
            return Err(InvalidAdminToken::Length);
        }
        Ok(Self(*blake3::hash(token.as_bytes()).as_bytes()))
    }

    /// Whether this is the text of that gateway token, too.
    pub(super) fn is_same(&self, other: &GatewayToken) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Whether `shown` is one of `tokens`, in a time that tells neither which nor how nearly.
    pub(super) fn is_among(tokens: &[Self], shown: &[u8]) -> bool {
        let shown = blake3::hash(shown);
        let found = tokens.iter().fold(Choice::from(0), |found, Self(token)| {
            found | token.ct_eq(shown.as_bytes())
        });
        found.into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// A bearer token by which a gateway is fed: with it, every digest can be read. Kept as its hash; never printed.
#[derive(Clone)]
pub struct GatewayToken([u8; 32]);

/// Why a text is no gateway token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGatewayToken {
    /// Shorter than [`GatewayToken::CHARACTERS_MIN`] or longer than [`GatewayToken::CHARACTERS_MAX`].
    #[error("a gateway token has {min} to {max} characters", min = GatewayToken::CHARACTERS_MIN, max = GatewayToken::CHARACTERS_MAX)]
    Length,
    /// Spaces and what is not ASCII do not travel in a header.
    #[error("a gateway token consists of visible ASCII characters")]
    Character,
}

impl GatewayToken {
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
    pub fn new(token: &str) -> Result<Self, InvalidGatewayToken> {
        if !travels(token) {
            return Err(InvalidGatewayToken::Character);
        }
        if !(Self::CHARACTERS_MIN..=Self::CHARACTERS_MAX).contains(&token.len()) {
            return Err(InvalidGatewayToken::Length);
        }
        Ok(Self(*blake3::hash(token.as_bytes()).as_bytes()))
    }

    /// Its hash.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Debug for GatewayToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatewayToken(…)")
    }
}

/// Whether a text can be sent as a bearer token.
fn travels(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_database_is_a_file() {
        for (url, path) in [
            ("sqlite://k.db", Some("k.db")),
            ("sqlite:k.db", Some("k.db")),
            ("sqlite:///var/lib/k.db", Some("/var/lib/k.db")),
            ("sqlite:///a%3Fb%25/k.db", Some("/a?b%/k.db")),
            ("sqlite:///100%/k.db", Some("/100%/k.db")),
            ("sqlite:///k.db?mode=ro", None),
            ("sqlite:///k%00.db", None),
            ("sqlite://:memory:", None),
            ("sqlite://", None),
            ("postgres://host/db", None),
            ("/k.db", None),
        ] {
            assert_eq!(sqlite_path(url), path.map(PathBuf::from), "{url}");
        }
    }

    #[test]
    fn no_password_of_a_database_is_shown() {
        for (url, shown) in [
            ("postgres://u:p@ss@host/db", "postgres://…@host/db"),
            ("postgres://host/db?password=p", "postgres://host/db"),
            ("mysql://u:p@host/db", "mysql://…@host/db"),
            ("sqlite://a/k.db", "sqlite://a/k.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
        let config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: "postgres://u:hidden@host/db?password=hidden".to_owned(),
            admin_tokens: vec![],
            gateway_tokens: vec![],
            pepper: Pepper::derive("hidden"),
            tls: None,
            insecure: false,
        };
        assert!(!format!("{config:?}").contains("hidden"));
    }

    #[test]
    fn a_token_has_a_least_length_and_travels_in_a_header() {
        assert!(AdminToken::new(TOKEN).is_ok());
        assert_eq!(
            AdminToken::new(&TOKEN.replacen('0', "", 1)).err(),
            Some(InvalidAdminToken::Length)
        );
        assert_eq!(
            AdminToken::new(&format!("{TOKEN} ")).err(),
            Some(InvalidAdminToken::Character)
        );
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
    fn a_gateway_token_has_a_least_length_and_travels_in_a_header() {
        assert!(GatewayToken::new(TOKEN).is_ok());
        let shorter = GatewayToken::new(&TOKEN.replacen('0', "", 1));
        assert_eq!(shorter.err(), Some(InvalidGatewayToken::Length));
        let spaced = GatewayToken::new(&format!("{TOKEN} "));
        assert_eq!(spaced.err(), Some(InvalidGatewayToken::Character));
    }

    #[test]
    fn a_token_of_one_kind_is_told_from_the_same_text_as_one_of_the_other() {
        let admin = AdminToken::new(TOKEN).unwrap();
        assert!(admin.is_same(&GatewayToken::new(TOKEN).unwrap()));
        assert!(!admin.is_same(&GatewayToken::new(&TOKEN.replace('0', "x")).unwrap()));
    }

    #[test]
    fn a_token_is_never_printed() {
        let token = AdminToken::new(TOKEN).unwrap();
        assert_eq!(format!("{token:?}"), "AdminToken(…)");
        let token = GatewayToken::new(TOKEN).unwrap();
        assert_eq!(format!("{token:?}"), "GatewayToken(…)");
    }
}
