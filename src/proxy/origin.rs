//! Where a request comes from: of a trusted proxy, what it says of the client; of anyone else, the connection alone.
//!
//! It reads the headers that name clients and writes them anew. It decides nothing by them.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::config::TrustedPeers;
use super::socket::Client;
use crate::authz::Host;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Header lines that are written at most.
pub const LINES_MAX: usize = 6;

/// What a trusted proxy says of a request, as it is passed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// The client that is the nearest of those that are not trusted proxies themselves.
    pub client: Option<IpAddr>,
    /// The chain so far, without the peer.
    chain: Option<HeaderValue>,
    forwarded: Option<HeaderValue>,
    host: Option<HeaderValue>,
    port: Option<HeaderValue>,
    proto: Option<HeaderValue>,
    /// Whether `x-real-ip` was said.
    real_ip: bool,
}

impl Claims {
    /// Reads what a peer that is one of `proxies` says.
    ///
    /// # Errors
    /// Two of its headers name different clients, or one cannot be read: somebody's is forged.
    pub fn read(headers: &HeaderMap, proxies: &TrustedPeers) -> Result<Self, &'static str> {
        let chain = joined(headers, &X_FORWARDED_FOR);
        let forwarded = joined(headers, &FORWARDED);
        let by_chain = chain.as_ref().map(|chain| {
            let entries = chain.as_bytes().rsplit(|byte| *byte == b',');
            nearest(entries.map(|entry| node(entry.trim_ascii())), proxies)
        });
        let by_forwarded = match &forwarded {
            Some(forwarded) => {
                let nodes = forwarded_nodes(forwarded.as_bytes());
                let nodes = nodes.ok_or("`forwarded` is malformed")?;
                Some(nearest(nodes.into_iter().rev(), proxies))
            }
            None => None,
        };
        if let (Some(one), Some(other)) = (by_chain, by_forwarded)
            && one != other
        {
            return Err("`forwarded` and `x-forwarded-for` name different clients");
        }
        let real_ip = headers.contains_key(X_REAL_IP);
        let by_real_ip = || node(one(headers, &X_REAL_IP)?.as_bytes());
        Ok(Self {
            client: by_chain.or(by_forwarded).unwrap_or_else(by_real_ip),
            chain,
            forwarded,
            host: one(headers, &X_FORWARDED_HOST)
                .filter(|host| Host::parse(host.as_bytes()).is_ok())
                .cloned(),
            port: one(headers, &X_FORWARDED_PORT)
                .filter(|port| is_port(port.as_bytes()))
                .cloned(),
            proto: one(headers, &X_FORWARDED_PROTO)
                .filter(|proto| matches!(proto.as_bytes(), b"http" | b"https"))
                .cloned(),
            real_ip,
        })
    }

    /// The client, where one was named.
    pub fn named(&self) -> Option<Client> {
        // Which port it has nobody said.
        let address = SocketAddr::new(self.client?, 0);
        Some(Client::inet(address))
    }
}

/// Says where a request came from, in place of whatever it claimed: the connection's `peer`, and before it what a
/// trusted proxy said.
pub fn set_origin(headers: &mut HeaderMap, peer: &Client, claims: Option<&Claims>) {
    let none = Claims::default();
    let claims = claims.unwrap_or(&none);
    let address = peer.forwarded_for();
    if let Some(chain) = appended(claims.chain.as_ref(), address) {
        headers.insert(X_FORWARDED_FOR, chain);
    }
    let host = headers.get(HOST).cloned();
    if let Some(forwarded) = &claims.forwarded {
        let element = forwarded_element(peer, host.as_ref());
        if let Some(forwarded) = appended(Some(forwarded), element.as_ref()) {
            headers.insert(FORWARDED, forwarded);
        }
    }
    let proto = claims.proto.clone();
    let http = HeaderValue::from_static("http");
    headers.insert(X_FORWARDED_PROTO, proto.unwrap_or(http));
    if let Some(host) = claims.host.clone().or(host) {
        headers.insert(X_FORWARDED_HOST, host);
    }
    if let Some(port) = &claims.port {
        headers.insert(X_FORWARDED_PORT, port.clone());
    }
    let client = claims.named();
    let client = client.as_ref().unwrap_or(peer).forwarded_for();
    if let (true, Some(client)) = (claims.real_ip, client) {
        headers.insert(X_REAL_IP, client.clone());
    }
}

/// The last of a chain, from its near end, that is no trusted proxy. One that is no address ends the chain: what is
/// behind it nobody vouches for.
fn nearest(nodes: impl Iterator<Item = Option<IpAddr>>, proxies: &TrustedPeers) -> Option<IpAddr> {
    let mut last = None;
    for node in nodes {
        let Some(address) = node else {
            return last;
        };
        last = Some(address);
        if !proxies.hold_address(address) {
            return last;
        }
    }
    last
}

/// An address as chains have it: with a port or without, version 6 in brackets or not.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let address = inner.parse::<std::net::Ipv6Addr>().ok()?;
    Some(IpAddr::from(address).to_canonical())
}

/// The `for` of each element of `Forwarded` (RFC 7239); `None` within: it names no address. `None`: it is malformed.
fn forwarded_nodes(text: &[u8]) -> Option<Vec<Option<IpAddr>>> {
    let elements = split_outside_quotes(text, b',')?;
    elements.into_iter().map(element_node).collect()
}

/// `Some(None)`: an element that names no address.
fn element_node(element: &[u8]) -> Option<Option<IpAddr>> {
    let mut found = None;
    for pair in split_outside_quotes(element, b';')? {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at_checked(at)?;
        let value = value.get(1..)?;
        let value = match value {
            [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => inner,
            // No address is written with an escape, and no other value has a quote.
            _ if value.contains(&b'"') => return None,
            _ => value,
        };
        let is_token =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if name.is_empty() || !name.iter().all(is_token) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") && found.replace(node(value)).is_some() {
            return None;
        }
    }
    Some(found.flatten())
}

/// The parts between separators that stand in no quotes, without spaces around them. `None`: a quote is not closed.
fn split_outside_quotes(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let mut quoted = false;
    let mut escaped = false;
    let parts = text.split(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if *byte == separator && !quoted => return true,
            _ => {}
        }
        false
    });
    let parts: Vec<&[u8]> = parts.map(<[u8]>::trim_ascii).collect();
    (!quoted).then_some(parts)
}

/// The element that says what we know of the peer.
fn forwarded_element(peer: &Client, host: Option<&HeaderValue>) -> Option<HeaderValue> {
    let node = match peer {
        Client::Inet(address, _) => match address.ip() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        },
        Client::Unix => "unknown".to_owned(),
    };
    let host = host.and_then(|host| host.to_str().ok());
    let host = host.map_or_else(String::new, |host| format!(";host=\"{host}\""));
    HeaderValue::try_from(format!("for={node}{host};proto=http")).ok()
}

/// One list of two.
fn appended(list: Option<&HeaderValue>, last: Option<&HeaderValue>) -> Option<HeaderValue> {
    match (list, last) {
        (Some(list), Some(last)) => {
            HeaderValue::try_from([list.as_bytes(), last.as_bytes()].join(&b", "[..])).ok()
        }
        (list, last) => last.or(list).cloned(),
    }
}

/// All lines of a header as one; `None`: there is nothing in them.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter().filter(|line| !line.is_empty());
    let first = lines.next()?;
    let lines: Vec<&[u8]> = std::iter::once(first)
        .chain(lines)
        .map(HeaderValue::as_bytes)
        .collect();
    HeaderValue::try_from(lines.join(&b", "[..])).ok()
}

/// The one value of a header.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

fn is_port(text: &[u8]) -> bool {
    let port = std::str::from_utf8(text).ok().and_then(|text| {
        let port: u16 = text.parse().ok()?;
        (port > 0 && port.to_string() == text).then_some(port)
    });
    port.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> TrustedPeers {
        let networks = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"];
        TrustedPeers {
            unix: true,
            networks: networks.map(|network| network.parse().unwrap()).to_vec(),
        }
    }

    fn read(lines: &[(&'static str, &str)]) -> Result<Claims, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Claims::read(&headers, &proxies())
    }

    fn client(lines: &[(&'static str, &str)]) -> Option<String> {
        read(lines).unwrap().client.map(|client| client.to_string())
    }

    #[test]
    fn the_client_is_the_nearest_that_is_no_proxy() {
        for (chain, expected) in [
            ("1.2.3.4", Some("1.2.3.4")),
            ("6.6.6.6, 1.2.3.4", Some("1.2.3.4")),
            ("6.6.6.6,1.2.3.4,10.0.0.7", Some("1.2.3.4")),
            ("10.0.0.9, 10.0.0.8", Some("10.0.0.9")),
            ("6.6.6.6, 10.0.0.9, 1.2.3.4", Some("1.2.3.4")),
            ("1.2.3.4:5678", Some("1.2.3.4")),
            ("[2001:db8::1]:80, 10.0.0.1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::ffff:1.2.3.4", Some("1.2.3.4")),
            ("6.6.6.6, fd00::1", Some("6.6.6.6")),
            ("6.6.6.6, evil", None),
            ("6.6.6.6, evil, 10.0.0.1", Some("10.0.0.1")),
            ("6.6.6.6,", None),
            ("unknown", None),
            ("1.2.3.4 5.6.7.8", None),
        ] {
            assert_eq!(
                client(&[("x-forwarded-for", chain)]).as_deref(),
                expected,
                "{chain}"
            );
        }
        let lines = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "1.2.3.4"),
        ];
        assert_eq!(client(&lines).as_deref(), Some("1.2.3.4"));
        assert_eq!(
            client(&[("x-real-ip", "1.2.3.4")]).as_deref(),
            Some("1.2.3.4")
        );
        assert_eq!(
            client(&[("x-real-ip", "1.2.3.4"), ("x-real-ip", "1.2.3.4")]),
            None
        );
        let both = [("x-real-ip", "6.6.6.6"), ("x-forwarded-for", "1.2.3.4")];
        assert_eq!(client(&both).as_deref(), Some("1.2.3.4"));
    }

    #[test]
    fn forwarded_is_read_as_its_specification_has_it() {
        for (forwarded, expected) in [
            ("for=1.2.3.4", Some("1.2.3.4")),
            (
                "For=\"1.2.3.4:80\";proto=https;by=10.0.0.1",
                Some("1.2.3.4"),
            ),
            (
                "for=6.6.6.6, for=1.2.3.4; host=\"a,b;for=6.6.6.6\"",
                Some("1.2.3.4"),
            ),
            ("for=1.2.3.4,for=10.0.0.1", Some("1.2.3.4")),
            ("for=\"[2001:db8::1]:80\"", Some("2001:db8::1")),
            ("for=6.6.6.6, for=unknown", None),
            ("for=6.6.6.6, for=_hidden, for=10.0.0.1", Some("10.0.0.1")),
            ("for=6.6.6.6, proto=https", None),
            ("host=\"x\\\",for=6.6.6.6\", for=1.2.3.4", None),
        ] {
            let read = read(&[("forwarded", forwarded)]);
            let found = read.map(|claims| claims.client.map(|client| client.to_string()));
            if forwarded.contains('\\') {
                assert!(found.is_err(), "{forwarded}");
            } else {
                assert_eq!(found.unwrap().as_deref(), expected, "{forwarded}");
            }
        }
        for malformed in [
            "for",
            "for=\"1.2.3.4",
            "for=1.2.3.4;",
            "=1",
            "for=1.2.3.4;for=1.2.3.4",
            "f r=1",
            ",",
        ] {
            assert!(read(&[("forwarded", malformed)]).is_err(), "{malformed}");
        }
    }

    #[test]
    fn two_stories_are_none() {
        let both = |forwarded| read(&[("x-forwarded-for", "1.2.3.4"), ("forwarded", forwarded)]);
        assert!(both("for=1.2.3.4").is_ok());
        assert!(both("for=6.6.6.6").is_err());
        assert!(both("for=unknown").is_err());
    }

    #[test]
    fn what_is_passed_on_has_us_at_its_end() {
        let claims = read(&[
            ("x-forwarded-for", "6.6.6.6, 1.2.3.4"),
            ("forwarded", "for=1.2.3.4;proto=https"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "public.test"),
            ("x-forwarded-port", "443"),
            ("x-real-ip", "9.9.9.9"),
        ]);
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("gw.test:80"));
        let peer = Client::inet("[fd00::1]:9".parse().unwrap());
        set_origin(&mut headers, &peer, Some(&claims.unwrap()));
        for (name, value) in [
            ("x-forwarded-for", "6.6.6.6, 1.2.3.4, fd00::1"),
            (
                "forwarded",
                "for=1.2.3.4;proto=https, for=\"[fd00::1]\";host=\"gw.test:80\";proto=http",
            ),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "public.test"),
            ("x-forwarded-port", "443"),
            ("x-real-ip", "1.2.3.4"),
        ] {
            assert_eq!(headers.get(name).unwrap(), value);
        }
        assert_eq!(headers.len(), LINES_MAX + 1);
    }

    #[test]
    fn what_is_no_claim_is_replaced_by_what_we_see() {
        let claims = read(&[
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-host", "a b"),
            ("x-forwarded-port", "0443"),
        ]);
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("gw.test"));
        let peer = Client::inet("127.0.0.1:9".parse().unwrap());
        set_origin(&mut headers, &peer, Some(&claims.unwrap()));
        assert_eq!(headers.get("x-forwarded-proto").unwrap(), "http");
        assert_eq!(headers.get("x-forwarded-host").unwrap(), "gw.test");
        assert_eq!(headers.get("x-forwarded-for").unwrap(), "127.0.0.1");
        assert_eq!(headers.len(), 4);
    }
}
