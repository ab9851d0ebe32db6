//! What a control plane is told: where it listens, where it stores, who administers it.
//!
//! It knows no file and no environment; `config` fills it in.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::bearer::{AdminToken, GatewayToken};
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
