//! The host of a request: one name or address. Resolves nothing.

// Addresses as values; from `core`, which cannot reach a network.
use core::net::{Ipv4Addr, Ipv6Addr};
use std::borrow::Cow;

use super::InvalidRequest;

const INVALID: InvalidRequest = InvalidRequest("the host is not one name or address");
const INVALID_PORT: InvalidRequest = InvalidRequest("the port of the host is not 1 to 65535");

/// A checked host: one name or address, lower-cased, without its port. An IPv6 address keeps its brackets and
/// is written in its shortest form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host<'a>(Cow<'a, str>);

impl<'a> Host<'a> {
    /// Longest name, in bytes (RFC 1035).
    pub const NAME_BYTES_MAX: usize = 253;
    /// Longest label of a name, in bytes (RFC 1035).
    pub const LABEL_BYTES_MAX: usize = 63;

    /// Checks a `Host` value (or `:authority`).
    ///
    /// # Errors
    /// Anything but one name, IPv4 or bracketed IPv6 address with an optional port.
    pub fn parse(raw: &'a [u8]) -> Result<Self, InvalidRequest> {
        Self::split(raw).map(|(host, _)| host)
    }

    /// Checks a `Host` value and gives the port too.
    ///
    /// # Errors
    /// As [`Host::parse`].
    pub(super) fn split(raw: &'a [u8]) -> Result<(Self, Option<u16>), InvalidRequest> {
        let text = std::str::from_utf8(raw).map_err(|_| INVALID)?;
        // The colons of an IPv6 address end with its bracket.
        let bracket = match raw {
            [b'[', ..] => text.rfind(']').unwrap_or(0),
            _ => 0,
        };
        let mut after = raw.iter().skip(bracket);
        let colon = after.position(|&byte| byte == b':');
        let (name, port) = match colon.and_then(|at| text.split_at_checked(bracket + at)) {
            Some((name, port)) => (name, Some(parse_port(port)?)),
            None => (text, None),
        };
        let name = match name.strip_prefix('[') {
            Some(rest) => parse_ipv6(name, rest)?,
            None => parse_name(name)?,
        };
        Ok((Self(name), port))
    }

    /// Lower-cased, without the port.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `port` begins with its colon.
fn parse_port(port: &str) -> Result<u16, InvalidRequest> {
    let digits = port.get(1..).unwrap_or_default();
    // `u16::from_str` would take a sign and leading zeros.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    match digits.parse() {
        Ok(port) if plain => Ok(port),
        _ => Err(INVALID_PORT),
    }
}

fn parse_ipv6<'a>(name: &'a str, rest: &str) -> Result<Cow<'a, str>, InvalidRequest> {
    let address: Ipv6Addr = rest
        .strip_suffix(']')
        .and_then(|inner| inner.parse().ok())
        .ok_or(INVALID)?;
    let canonical = format!("[{address}]");
    Ok(if canonical == name {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(canonical)
    })
}

fn parse_name(name: &str) -> Result<Cow<'_, str>, InvalidRequest> {
    if name.is_empty() || name.len() > Host::NAME_BYTES_MAX {
        return Err(INVALID);
    }
    let mut upper = false;
    let mut label = 0;
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            b'A'..=b'Z' => {
                upper = true;
                label += 1;
            }
            b'.' if label > 0 => label = 0,
            _ => return Err(INVALID),
        }
        if label > Host::LABEL_BYTES_MAX {
            return Err(INVALID);
        }
    }
    // A trailing dot is another spelling of the same name.
    if label == 0 {
        return Err(INVALID);
    }
    let last = name.len().checked_sub(label).and_then(|at| name.get(at..));
    check_not_half_an_address(name, last.unwrap_or(name))?;
    Ok(if upper {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

/// A name that ends in a number is an IPv4 address to some readers, so it must be one to all. `last` is its last label.
fn check_not_half_an_address(name: &str, last: &str) -> Result<(), InvalidRequest> {
    if !last.starts_with(|first: char| first.is_ascii_digit()) {
        return Ok(());
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = last
        .strip_prefix("0x")
        .or_else(|| last.strip_prefix("0X"))
        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if (digits(last) || hexadecimal) && name.parse::<Ipv4Addr>().is_err() {
        return Err(INVALID);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(raw: &str) -> Option<String> {
        Host::parse(raw.as_bytes())
            .ok()
            .map(|host| host.as_str().to_owned())
    }

    #[test]
    fn names_and_addresses_are_taken_without_their_port() {
        for (raw, expected) in [
            ("gw", "gw"),
            ("API.Example.com:8080", "api.example.com"),
            ("my_service:80", "my_service"),
            ("127.0.0.1:65535", "127.0.0.1"),
            ("[::1]:1", "[::1]"),
            ("[0:0::0001]", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("1a.2b", "1a.2b"),
        ] {
            assert_eq!(host(raw).as_deref(), Some(expected), "{raw}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = ["a"; 128].join(".");
        for raw in [
            "",
            ":80",
            "gw.",
            ".gw",
            "a..b",
            "a, b",
            "a b",
            " a",
            "gw:",
            "gw:0",
            "gw:080",
            "gw:+80",
            "gw:65536",
            "gw:80:90",
            "gw:80x",
            "gw/admin",
            "user@gw",
            "gw%2eexample",
            "gw\0",
            "gw\u{e9}",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]]",
            "[fe80::1%25eth0]",
            "[gw]",
            "[]",
            "1.2.3",
            "256.1.1.1",
            "01.2.3.4",
            "0x7f000001",
            "1.2.3.4.5",
            "2130706433",
            &long_label,
            &long_name,
        ] {
            assert_eq!(host(raw), None, "{raw}");
        }
        assert!(Host::parse(b"gw\xff").is_err());
    }

    #[test]
    fn a_canonical_host_is_borrowed() {
        for raw in ["api.example.com:80", "127.0.0.1", "[::1]:80"] {
            let host = Host::parse(raw.as_bytes()).unwrap();
            assert!(matches!(host.0, Cow::Borrowed(_)), "{raw}");
        }
    }
}
