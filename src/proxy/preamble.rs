//! The header of the PROXY protocol, versions 1 and 2: what a proxy says of the connection that it passes on.
//!
//! Bytes in, an address out. It reads no socket and knows nothing of whom to believe.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, its line end included (the protocol's own bound).
const TEXT_BYTES_MAX: usize = 107;

/// Longest header of version 2 that is taken: addresses, and room for what proxies say beside them.
const BINARY_BYTES_MAX: usize = 4096;

const TEXT: &[u8] = b"PROXY ";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family, length.
const BINARY_FIXED: usize = 16;

/// A connection that does not begin as one must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin with a header of the PROXY protocol")]
pub struct InvalidPreamble;

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The proxy's own, as for its health checks.
    Proxy,
    /// A client's, at this address.
    Client(SocketAddr),
    /// A client's of which nothing is said.
    Unknown,
}

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble {
    /// Its bytes.
    pub bytes: usize,
    /// What it says.
    pub source: Source,
}

/// Looks for a header at the beginning of `bytes`; `None`: it may still become one.
///
/// # Errors
/// It cannot.
pub fn scan(bytes: &[u8]) -> Result<Option<Preamble>, InvalidPreamble> {
    if begins_alike(bytes, TEXT) {
        text(bytes)
    } else if begins_alike(bytes, BINARY) {
        binary(bytes)
    } else {
        Err(InvalidPreamble)
    }
}

/// Whether `bytes` are `signature`, or the beginning of it, and then whatever.
fn begins_alike(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(one, other)| one == other)
}

fn text(bytes: &[u8]) -> Result<Option<Preamble>, InvalidPreamble> {
    let reach = bytes.get(..TEXT_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = reach.windows(2).position(|two| two == b"\r\n") else {
        // Its line is too long, or is not ended as lines are.
        let open = bytes.len() < TEXT_BYTES_MAX && !bytes.contains(&b'\n');
        return if open { Ok(None) } else { Err(InvalidPreamble) };
    };
    let line = bytes.get(TEXT.len()..end).ok_or(InvalidPreamble)?;
    let line = std::str::from_utf8(line).map_err(|_| InvalidPreamble)?;
    let source = text_source(line).ok_or(InvalidPreamble)?;
    let bytes = end + 2;
    Ok(Some(Preamble { bytes, source }))
}

fn text_source(line: &str) -> Option<Source> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // What follows is to be ignored.
        return Some(Source::Unknown);
    }
    let (from, to) = (address(family, words.next()?)?, words.next()?);
    address(family, to)?;
    let (port, to) = (port(words.next()?)?, words.next()?);
    self::port(to)?;
    words
        .next()
        .is_none()
        .then_some(Source::Client(SocketAddr::new(from, port)))
}

fn address(family: &str, text: &str) -> Option<IpAddr> {
    match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => None,
    }
}

/// A port, written in the one way.
fn port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

fn binary(bytes: &[u8]) -> Result<Option<Preamble>, InvalidPreamble> {
    let Some(fixed) = bytes.first_chunk::<BINARY_FIXED>() else {
        return Ok(None);
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = BINARY_FIXED + length;
    if whole > BINARY_BYTES_MAX {
        return Err(InvalidPreamble);
    }
    let Some(rest) = bytes.get(BINARY_FIXED..whole) else {
        // What it begins with may be wrong already.
        kind(command, family)?;
        return Ok(None);
    };
    let source = match kind(command, family)? {
        Kind::Local => Source::Proxy,
        Kind::Client(family) => binary_source(family, rest).ok_or(InvalidPreamble)?,
    };
    Ok(Some(Preamble {
        bytes: whole,
        source,
    }))
}

/// What a header of version 2 is about.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Local,
    Client(Family),
}

#[derive(Debug, Clone, Copy)]
enum Family {
    Unspecified,
    V4,
    V6,
    Unix,
}

/// Version 2, a known command, and a family that a connection can be of.
fn kind(command: u8, family: u8) -> Result<Kind, InvalidPreamble> {
    let family = match family {
        0x00 => Family::Unspecified,
        0x11 => Family::V4,
        0x21 => Family::V6,
        0x31 => Family::Unix,
        _ => return Err(InvalidPreamble),
    };
    match command {
        0x20 => Ok(Kind::Local),
        0x21 => Ok(Kind::Client(family)),
        _ => Err(InvalidPreamble),
    }
}

fn binary_source(family: Family, rest: &[u8]) -> Option<Source> {
    let (source, more) = match family {
        // Without addresses nobody can say where other things would begin.
        Family::Unspecified => return Some(Source::Unknown),
        Family::V4 => {
            let ([a, b, c, d, _, _, _, _, high, low, _, _], more) = rest.split_first_chunk()?;
            let ip = Ipv4Addr::new(*a, *b, *c, *d);
            let port = u16::from_be_bytes([*high, *low]);
            (Source::Client(SocketAddr::new(ip.into(), port)), more)
        }
        Family::V6 => {
            let (ip, more) = rest.split_first_chunk::<16>()?;
            let (_to, more) = more.split_first_chunk::<16>()?;
            let ([high, low, _, _], more) = more.split_first_chunk()?;
            let port = u16::from_be_bytes([*high, *low]);
            let ip = Ipv6Addr::from(*ip);
            (Source::Client(SocketAddr::new(ip.into(), port)), more)
        }
        Family::Unix => {
            let (_paths, more) = rest.split_first_chunk::<216>()?;
            (Source::Unknown, more)
        }
    };
    are_vectors(more).then_some(source)
}

/// Whether the bytes are types, lengths and values to the last of them.
fn are_vectors(mut bytes: &[u8]) -> bool {
    while let Some(([_, high, low], rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(more) = rest.get(length..) else {
            return false;
        };
        bytes = more;
    }
    bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binary_of(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [BINARY, &[command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x1f, 0x90, 0, 80];

    fn source(bytes: &[u8]) -> Result<Option<Source>, InvalidPreamble> {
        scan(bytes).map(|found| found.map(|found| found.source))
    }

    fn client(text: &str) -> Result<Option<Source>, InvalidPreamble> {
        Ok(Some(Source::Client(text.parse().unwrap())))
    }

    #[test]
    fn a_line_names_the_client() {
        for (line, address) in [
            ("TCP4 192.0.2.1 192.0.2.2 8080 80", "192.0.2.1:8080"),
            (
                "TCP4 255.255.255.255 0.0.0.0 65535 0",
                "255.255.255.255:65535",
            ),
            ("TCP6 2001:db8::1 ::1 1 2", "[2001:db8::1]:1"),
            ("TCP6 ::ffff:1.2.3.4 ::1 1 2", "[::ffff:1.2.3.4]:1"),
        ] {
            let whole = format!("PROXY {line}\r\n");
            assert_eq!(source(whole.as_bytes()), client(address), "{line}");
            let followed = scan(format!("{whole}GET").as_bytes()).unwrap().unwrap();
            assert_eq!(followed.bytes, whole.len());
            for cut in 0..whole.len() {
                assert_eq!(
                    source(&whole.as_bytes()[..cut]),
                    Ok(None),
                    "{line} at {cut}"
                );
            }
        }
        for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 x y z\r\n"] {
            assert_eq!(source(unknown.as_bytes()), Ok(Some(Source::Unknown)));
        }
    }

    #[test]
    fn lines_that_are_nearly_one_are_none() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(100));
        for line in [
            "GET / HTTP/1.1\r\n",
            "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
            "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 evil 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP6 [::1] ::1 1 2\r\n",
            "PROXY TCP6 ::1%eth0 ::1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 x\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UNKNOWNx\r\n",
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            &long,
        ] {
            assert_eq!(source(line.as_bytes()), Err(InvalidPreamble), "{line:?}");
        }
    }

    #[test]
    fn a_block_names_the_client() {
        let v6: Vec<u8> = [[0x20; 16], [1; 16]].concat();
        let v6 = [&v6[..], &[0, 1, 0, 2]].concat();
        let followed = [&V4[..], &[3, 0, 2, 9, 9, 4, 0, 0]].concat();
        for (block, source) in [
            (binary_of(0x21, 0x11, &V4), client("192.0.2.1:8080")),
            (binary_of(0x21, 0x11, &followed), client("192.0.2.1:8080")),
            (
                binary_of(0x21, 0x21, &v6),
                client("[2020:2020:2020:2020:2020:2020:2020:2020]:1"),
            ),
            (binary_of(0x21, 0x31, &[0; 216]), Ok(Some(Source::Unknown))),
            (binary_of(0x21, 0x00, &[]), Ok(Some(Source::Unknown))),
            (binary_of(0x21, 0x00, &[1, 2]), Ok(Some(Source::Unknown))),
            (binary_of(0x20, 0x00, &[]), Ok(Some(Source::Proxy))),
            (binary_of(0x20, 0x11, &V4), Ok(Some(Source::Proxy))),
        ] {
            assert_eq!(self::source(&block), source, "{}", block.escape_ascii());
            let followed = scan(&[&block[..], b"GET"].concat()).unwrap().unwrap();
            assert_eq!(followed.bytes, block.len());
            for cut in 0..block.len() {
                assert_eq!(self::source(&block[..cut]), Ok(None));
            }
        }
    }

    #[test]
    fn blocks_that_are_nearly_one_are_none() {
        let mut signature = binary_of(0x21, 0x11, &V4);
        signature[11] = b'\r';
        let oversized = [BINARY, &[0x21, 0x11, 0xff, 0xff]].concat();
        for block in [
            signature,
            oversized,
            binary_of(0x11, 0x11, &V4),
            binary_of(0x22, 0x11, &V4),
            binary_of(0x2f, 0x11, &V4),
            binary_of(0x21, 0x12, &V4),
            binary_of(0x21, 0x10, &V4),
            binary_of(0x21, 0x41, &V4),
            binary_of(0x21, 0x11, &V4[..11]),
            binary_of(0x21, 0x11, &[]),
            binary_of(0x21, 0x21, &[0; 35]),
            binary_of(0x21, 0x31, &[0; 215]),
            binary_of(0x21, 0x11, &[&V4[..], &[3]].concat()),
            binary_of(0x21, 0x11, &[&V4[..], &[3, 0, 9, 1]].concat()),
        ] {
            assert_eq!(
                source(&block),
                Err(InvalidPreamble),
                "{}",
                block.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            head in proptest::sample::select(vec![&b""[..], TEXT, BINARY]),
            rest in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let bytes = [head, &rest].concat();
            if let Ok(Some(preamble)) = scan(&bytes) {
                prop_assert!(preamble.bytes <= bytes.len());
                prop_assert_eq!(scan(&bytes[..preamble.bytes]), Ok(Some(preamble)));
            }
        }
    }
}
