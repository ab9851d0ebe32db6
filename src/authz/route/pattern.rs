//! Path patterns: literals, `{name}`, `{name}:verb`, `v{name}`, `{*rest}`. Chooses between none of them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

use super::super::request::{self, Path};
use super::Captures;

/// A parsed path pattern: literals, `{name}`, `{name}:verb`, `{*rest}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePattern {
    pub(super) segments: Vec<Segment>,
    pub(super) trailing_slash: bool,
}

/// One segment of a pattern; texts are percent-decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(String),
    /// Binds at least one byte between its prefix and its suffix.
    Capture {
        prefix: String,
        name: String,
        suffix: String,
    },
    /// Binds one segment or more, to the end; only ever the last.
    Rest {
        name: String,
    },
}

impl RoutePattern {
    /// Most segments of a pattern: how deep a look-up may go.
    pub const SEGMENTS_MAX: usize = 64;

    /// Parses a pattern. Literals are written decoded or percent-encoded; both mean the decoded text.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix('/')
            .ok_or_else(|| format!("`{text}` does not begin with `/`"))?;
        let (rest, trailing_slash) = match rest.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let segments = if rest.is_empty() && !trailing_slash {
            Vec::new()
        } else {
            let segments: Result<Vec<_>, _> = rest.split('/').map(Segment::parse).collect();
            segments.map_err(|fault| format!("`{text}`: {fault}"))?
        };
        let pattern = Self {
            segments,
            trailing_slash,
        };
        pattern
            .check()
            .map_err(|fault| format!("`{text}`: {fault}"))?;
        Ok(pattern)
    }

    /// The names that it binds, in order.
    pub fn captures(&self) -> Vec<&str> {
        self.segments
            .iter()
            .filter_map(|segment| match segment {
                Segment::Literal(_) => None,
                Segment::Capture { name, .. } | Segment::Rest { name } => Some(name.as_str()),
            })
            .collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.segments.len() > Self::SEGMENTS_MAX {
            return Err(format!("more than {} segments", Self::SEGMENTS_MAX));
        }
        let mut names = HashSet::new();
        if let Some(twice) = self
            .captures()
            .into_iter()
            .find(|name| !names.insert(*name))
        {
            return Err(format!("`{twice}` is bound twice"));
        }
        if let Some((last, before)) = self.segments.split_last() {
            let is_rest = |segment: &Segment| matches!(segment, Segment::Rest { .. });
            if before.iter().any(is_rest) || (is_rest(last) && self.trailing_slash) {
                return Err("nothing may follow `{*…}`".to_owned());
            }
        }
        // What no request can be is a mistake: an empty segment, a dot segment, a backslash.
        let sample = self.sample("x");
        match Path::parse(sample.as_bytes()) {
            Ok(_) => Ok(()),
            Err(fault) => Err(format!("no request can match it: {fault}")),
        }
    }

    /// A path that it matches, percent-encoded, with `value` for every capture.
    pub(super) fn sample(&self, value: &str) -> String {
        let segments = self.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => text.clone(),
            Segment::Capture { prefix, suffix, .. } => format!("{prefix}{value}{suffix}"),
            Segment::Rest { .. } => value.to_owned(),
        });
        encode(segments, self.trailing_slash)
    }

    /// Whether a path that ends in a slash, or does not, is of this shape. A rest takes both.
    pub(super) fn accepts_slash(&self, trailing_slash: bool) -> bool {
        self.trailing_slash == trailing_slash || self.ends_in_rest()
    }

    pub(super) fn ends_in_rest(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Rest { .. }))
    }

    /// Whether the literals of a path of this shape are also in the same case.
    pub(super) fn has_literals_of(&self, path: &Path<'_>) -> bool {
        let mut segments = self.segments.iter().enumerate();
        segments.all(|(index, segment)| {
            let actual = path.segment(index).unwrap_or_default();
            match segment {
                Segment::Literal(text) => actual == text,
                Segment::Capture { prefix, suffix, .. } => {
                    actual.starts_with(prefix.as_str()) && actual.ends_with(suffix.as_str())
                }
                Segment::Rest { .. } => true,
            }
        })
    }

    /// What it binds in a path that it matches.
    pub(super) fn bind(&self, path: &Path<'_>) -> Captures {
        let mut captures = Captures::default();
        for (index, segment) in self.segments.iter().enumerate() {
            let range = match segment {
                Segment::Literal(_) => continue,
                Segment::Capture { prefix, suffix, .. } => path.segment_range(index).map(|range| {
                    range.start + length(prefix)..range.end.saturating_sub(length(suffix))
                }),
                Segment::Rest { .. } => path.rest_range(index),
            };
            captures.ranges.push(range.unwrap_or_default());
        }
        captures
    }
}

/// INVARIANT: a part of a path, and so no longer than `Path::BYTES_MAX`.
fn length(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

impl Segment {
    fn parse(text: &str) -> Result<Self, String> {
        let Some((prefix, rest)) = text.split_once('{') else {
            return Ok(Self::Literal(decode(text)?));
        };
        let (name, suffix) = rest
            .split_once('}')
            .ok_or_else(|| format!("`{{` without `}}` in `{text}`"))?;
        if suffix.contains('{') {
            return Err(format!("more than one capture in `{text}`"));
        }
        let (prefix, suffix) = (decode(prefix)?, decode(suffix)?);
        match name.strip_prefix('*') {
            None => Ok(Self::Capture {
                prefix,
                name: check_name(name)?,
                suffix,
            }),
            Some(name) if prefix.is_empty() && suffix.is_empty() => Ok(Self::Rest {
                name: check_name(name)?,
            }),
            Some(_) => Err(format!("`{{*…}}` must be the whole segment in `{text}`")),
        }
    }
}

fn check_name(name: &str) -> Result<String, String> {
    let mut bytes = name.bytes();
    let first = bytes.next();
    let begins = first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !begins || !bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
        return Err(format!(
            "`{name}` is no name for a capture: a letter, then letters, digits, `_`, `-`"
        ));
    }
    if name == "host" {
        return Err(
            "`{host}` is the host of a request, so no capture can have that name".to_owned(),
        );
    }
    Ok(name.to_owned())
}

/// The text that a literal means.
fn decode(literal: &str) -> Result<String, String> {
    if let Some(other) = literal
        .chars()
        .find(|&it| matches!(it, '}' | '?' | '#' | '*'))
    {
        return Err(format!("`{other}` in `{literal}` must be percent-encoded"));
    }
    request::decode(literal)
        .map(Cow::into_owned)
        .ok_or_else(|| format!("a `%` in `{literal}` is not followed by two hex digits of UTF-8"))
}

/// A path of these decoded segments, percent-encoded.
pub(super) fn encode(segments: impl Iterator<Item = String>, trailing_slash: bool) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        for byte in segment.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                path.push(char::from(byte));
            } else {
                // Writing to a string does not fail.
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    if trailing_slash || path.is_empty() {
        path.push('/');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_what_it_binds() {
        let pattern = RoutePattern::parse("/v{version}/{ws-id}/{_a1}:cancel/{*rest}").unwrap();
        assert_eq!(pattern.captures(), ["version", "ws-id", "_a1", "rest"]);
        assert_eq!(pattern.sample("~"), "/v~/~/~%3Acancel/~");
    }

    #[test]
    fn literals_mean_their_decoded_text() {
        let parse = |text| RoutePattern::parse(text).unwrap();
        assert_eq!(parse("/caf%C3%A9/a%20b"), parse("/café/a b"));
        assert_eq!(parse("/%61:b"), parse("/a%3ab"));
        assert_ne!(parse("/a%2Fb"), parse("/a/b"));
        assert_ne!(parse("/a"), parse("/a/"));
        assert_eq!(parse("/100%25").sample(""), "/100%25");
        assert_eq!(parse("/").sample("x"), "/");
    }

    #[test]
    fn what_no_request_can_be_does_not_load() {
        let deep = "/a".repeat(RoutePattern::SEGMENTS_MAX + 1);
        for text in [
            "",
            "a",
            "//",
            "/a//b",
            "//a",
            "/a//",
            "/.",
            "/a/../b",
            "/%2e%2E",
            "/a/{x}/./b",
            "/a\\b",
            "/a%5Cb",
            "/a%00",
            "/a\tb",
            "/a%2541",
            "/a%",
            "/a%4",
            "/a%ff",
            "/a?b",
            "/a#b",
            "/*",
            "/{",
            "/}",
            "/{}",
            "/{a",
            "/a}",
            "/{a}}",
            "/{a}{b}",
            "/{a}-{b}",
            "/{1a}",
            "/{a b}",
            "/{host}",
            "/{a}/{a}",
            "/{a}/{*a}",
            "/{*}",
            "/{*a}/b",
            "/{*a}/",
            "/x{*a}",
            "/{*a}:verb",
            &deep,
        ] {
            assert!(RoutePattern::parse(text).is_err(), "{text}");
        }
    }
}
