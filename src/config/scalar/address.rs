//! Addresses: where to listen, where upstreams are, where keys are stored, which hosts requests name.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

use super::super::later;
use super::text_value;
use crate::authz::Host;
use crate::proxy::{Endpoint, ListenAddr};

text_value!(
    /// Where to listen: `address:port` or `unix:/path`.
    ListenAddress(ListenAddr),
    "listen-address",
    "0.0.0.0:8080"
);

text_value!(
    /// Where to listen: `address:port` only.
    SocketAddress(SocketAddr),
    "socket-address",
    "127.0.0.1:9900"
);

text_value!(
    /// Peers: an address, a network, or `unix`.
    TrustedPeer(PeerSet),
    "peers",
    "10.0.0.0/8"
);

text_value!(
    /// A server of an upstream: `host:port` or `unix:/path`.
    EndpointAddress(Endpoint),
    "endpoint",
    "127.0.0.1:3002"
);

text_value!(
    /// Where keys are stored: `sqlite://PATH` or `postgres://USER:PASSWORD@HOST:PORT/NAME`.
    Database(String),
    "database",
    "sqlite://keyward-data/keyward.db"
);

text_value!(
    /// A host as requests name it: lower-cased, without port.
    HostName(String),
    "host",
    "api.example.com"
);

text_value!(
    /// A path that endpoints are probed at.
    ProbePath(String),
    "probe-path",
    "/sys/healthcheck"
);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) => socket_path(path).map(ListenAddr::Unix).map(Self),
            None => socket_address(text).map(ListenAddr::Tcp).map(Self),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ListenAddr::Tcp(address) => address.fmt(f),
            ListenAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for SocketAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        socket_address(text).map(Self)
    }
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "`{text}` is no address to listen at; write an IP address and a port, for example 127.0.0.1:8080"
        )
    })
}

fn socket_path(path: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') {
        Ok(PathBuf::from(path))
    } else {
        Err("a Unix socket needs a whole path, for example unix:/run/keyward.sock".to_owned())
    }
}

/// Which peers are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerSet {
    /// Those that come by a Unix socket.
    Unix,
    /// Those that connect from here.
    Network(IpNet),
}

impl FromStr for TrustedPeer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "unix" => return Ok(Self(PeerSet::Unix)),
            "client_certificate" => return Err(format!("`{text}` {}", later::MESSAGE)),
            _ => {}
        }
        let alone = text.parse::<IpAddr>().map(IpNet::from);
        let network = alone.ok().or_else(|| text.parse().ok()).ok_or_else(|| {
            format!("`{text}` is no peer; write an address, a network as 10.0.0.0/8, or unix")
        })?;
        if network.trunc() == network {
            return Ok(Self(PeerSet::Network(network)));
        }
        let (whole, one) = (network.trunc(), network.addr());
        Err(format!(
            "`{text}` has an address inside of its network: write {whole} or {one}"
        ))
    }
}

impl fmt::Display for TrustedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PeerSet::Unix => f.write_str("unix"),
            PeerSet::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            PeerSet::Network(network) => network.fmt(f),
        }
    }
}

impl FromStr for EndpointAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket_path(path).map(Endpoint::Unix).map(Self);
        }
        if text.starts_with("https://") {
            return Err("TLS to upstreams is not available in this version".to_owned());
        }
        let invalid =
            || format!("`{text}` is no endpoint; write host:port or unix:/path, without a scheme");
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port: u16 = port.parse().ok().filter(|p| *p != 0).ok_or_else(invalid)?;
        let host = match bracketed(host) {
            Some(Ok(address)) => address.to_string(),
            None if is_host_name(host) => host.to_ascii_lowercase(),
            Some(Err(())) | None => return Err(invalid()),
        };
        Ok(Self(Endpoint::Tcp { host, port }))
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Database {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let schemes = ["sqlite://", "postgres://", "postgresql://"];
        let place = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
        match place {
            Some(place) if !place.is_empty() && !place.starts_with(':') => {
                Ok(Self(text.to_owned()))
            }
            Some(_) | None => Err(
                "write sqlite://PATH, for example sqlite://keyward-data/keyward.db, or postgres://USER:PASSWORD@HOST/NAME"
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Read as requests' hosts are, so that the two are compared in one spelling; a port would be lost there.
        let has_port = !text.ends_with(']') && text.contains(':');
        match Host::parse(text.as_bytes()) {
            Ok(host) if !has_port && !text.contains('*') => Ok(Self(host.as_str().to_owned())),
            Ok(_) | Err(_) => Err(format!(
                "`{text}` is no host; write a name or an address, without port and without `*`"
            )),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProbePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is no path; write for example /healthz"))
        }
    }
}

impl fmt::Display for ProbePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address in brackets, where there are brackets.
fn bracketed(host: &str) -> Option<Result<Ipv6Addr, ()>> {
    let inside = host.strip_prefix('[')?.strip_suffix(']')?;
    Some(inside.parse().map_err(drop))
}

/// Labels of letters, digits, `-` and `_`, joined by dots; IPv4 addresses have this form too.
fn is_host_name(host: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
    host.len() <= 253 && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts<T: FromStr + ToString>(text: &str) -> bool {
        text.parse::<T>()
            .is_ok_and(|value| value.to_string() == text)
    }

    #[test]
    fn listen_addresses() {
        for text in ["0.0.0.0:8080", "[::1]:0", "unix:/run/k.sock"] {
            assert!(accepts::<ListenAddress>(text), "{text}");
        }
        for text in [
            "localhost:80",
            ":80",
            "127.0.0.1",
            "unix:run/k",
            "1.2.3.4:70000",
        ] {
            assert!(!accepts::<ListenAddress>(text), "{text}");
        }
        assert!(!accepts::<SocketAddress>("unix:/run/k.sock"));
    }

    #[test]
    fn peers() {
        for text in [
            "unix",
            "10.0.0.0/8",
            "127.0.0.1",
            "::1",
            "fd00::/8",
            "0.0.0.0/0",
        ] {
            assert!(accepts::<TrustedPeer>(text), "{text}");
        }
        for text in [
            "",
            "localhost",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "client_certificate",
        ] {
            assert!(!accepts::<TrustedPeer>(text), "{text}");
        }
    }

    #[test]
    fn endpoints() {
        for text in ["a.b:1", "10.0.0.1:3002", "[::1]:80", "unix:/a"] {
            assert!(accepts::<EndpointAddress>(text), "{text}");
        }
        for text in [
            "http://a:1",
            "https://a:1",
            "a",
            "a:0",
            "::1:80",
            "[x]:1",
            "a b:1",
            ":1",
        ] {
            assert!(!accepts::<EndpointAddress>(text), "{text}");
        }
    }

    #[test]
    fn databases_and_hosts() {
        assert!(accepts::<Database>("sqlite://a/b.db"));
        assert!(accepts::<Database>("postgres://keyward:p@h:5432/k"));
        for text in [
            "sqlite://",
            "sqlite://:memory:",
            "mysql://x",
            "postgres://",
            "a.db",
        ] {
            assert!(!accepts::<Database>(text), "{text}");
        }
        assert!(accepts::<HostName>("[::1]") && accepts::<HostName>("api.example.com"));
        let normal = "[0:0::0001]".parse::<HostName>().map(|host| host.0);
        assert_eq!(normal.as_deref(), Ok("[::1]"));
        for text in ["", "*.example.com", "a:80", "[::1]:80", "a..b", "a."] {
            assert!(!accepts::<HostName>(text), "{text}");
        }
    }
}
