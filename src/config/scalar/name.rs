//! Names: of headers, methods, routes and upstreams.

use std::fmt;
use std::str::FromStr;

use http::{HeaderName, Method};

use super::text_value;
use crate::proxy::NamePattern;

/// Longest name of a route or an upstream: it becomes a label of metrics.
const NAME_BYTES_MAX: usize = 128;

text_value!(
    /// The name of a header.
    Header(HeaderName),
    "header-name",
    "x-keyward-org"
);

text_value!(
    /// The name of a header, or how names begin: `x-keyward-*`.
    HeaderPattern(NamePattern),
    "header-pattern",
    "x-keyward-*"
);

text_value!(
    /// An HTTP method, in capitals.
    MethodName(Method),
    "method",
    "GET"
);

text_value!(
    /// The name of a route or an upstream.
    Name(String),
    "name",
    "get-org-api-key"
);

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("`{text}` is no header name"))
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_str().fmt(f)
    }
}

impl FromStr for HeaderPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, is_prefix) = match text.strip_suffix('*') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let name: Option<HeaderName> = name.parse().ok();
        // `*` is a character of header names, though of none that is in use.
        let name = name.filter(|name| !name.as_str().contains('*')).ok_or_else(|| {
            format!("`{text}` is no header name; a `*` may follow at its end, after the beginning of one")
        })?;
        // The spelling in which names are compared: upstreams read `_` and `.` as `-`.
        let name = name.as_str().replace(['_', '.'], "-");
        Ok(Self(if is_prefix {
            NamePattern::Prefix(name)
        } else {
            NamePattern::Exact(name)
        }))
    }
}

impl fmt::Display for HeaderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            NamePattern::Exact(name) => f.write_str(name),
            NamePattern::Prefix(name) => write!(f, "{name}*"),
        }
    }
}

impl FromStr for MethodName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let capitals = text.to_ascii_uppercase();
        if capitals == "CONNECT" {
            return Err("CONNECT is never forwarded".to_owned());
        }
        if capitals != text {
            return Err(format!("methods are written in capitals: {capitals}"));
        }
        text.parse()
            .map(Self)
            .map_err(|_| format!("`{text}` is no HTTP method"))
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && text.bytes().all(allowed) && text.len() <= NAME_BYTES_MAX {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "`{text}` is no name; write at most {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`, beginning with a letter or a digit"
        ))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_patterns_are_kept_in_one_spelling() {
        let pattern = |text: &str| text.parse::<HeaderPattern>().map(|pattern| pattern.0);
        assert_eq!(
            pattern("X_Keyward.*"),
            Ok(NamePattern::Prefix("x-keyward-".to_owned()))
        );
        assert_eq!(pattern("X-Org"), Ok(NamePattern::Exact("x-org".to_owned())));
        for wrong in ["", "*", "x-*-y", "x y"] {
            assert!(pattern(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn methods_and_names() {
        assert!("PURGE".parse::<MethodName>().is_ok());
        for wrong in ["get", "CONNECT", "", "G T"] {
            assert!(wrong.parse::<MethodName>().is_err(), "{wrong}");
        }
        assert!("get-1.v2".parse::<Name>().is_ok());
        for wrong in ["", "-", "a b", "é"] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
    }
}
