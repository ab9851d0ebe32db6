//! Secrets in texts that are about to be logged: found by their form or their place, and replaced.
//!
//! It errs on the side of silence: what only looks like a key is replaced too (a UUID is the form of a workspace
//! key, so identifiers of that form do not appear in logged paths).

use std::borrow::Cow;
use std::ops::Range;

use crate::authz::{CredentialSource, KeyForm};

/// What stands where a secret was.
pub const REDACTED: &str = "[redacted]";
/// Rounds of percent-decoding that are looked behind.
const DECODE_ROUNDS_MAX: usize = 3;

/// Replaces secrets. Holds the places in which a configuration takes secrets, beside those known to all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redactor {
    query: Vec<String>,
}

impl Redactor {
    /// Query parameters of these names hold secrets whatever their form.
    pub fn new(query: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            query: query.into_iter().map(Into::into).collect(),
        }
    }

    /// What a configuration that takes keys from these places needs.
    pub fn of(sources: &[CredentialSource]) -> Self {
        Self::new(sources.iter().filter_map(|source| match source {
            CredentialSource::Query(name) => Some(name),
            CredentialSource::Bearer
            | CredentialSource::Header(_)
            | CredentialSource::WebSocketProtocol => None,
        }))
    }

    /// A request target, in any form. Replaced are: the segment after `/security/apikeys/`, every segment, name
    /// or value that holds what has the form of a key or user token, and the values of the configured parameters.
    pub fn target<'a>(&self, target: &'a [u8]) -> Cow<'a, str> {
        let (path, query) = match target.iter().position(|byte| *byte == b'?') {
            Some(at) => (0..at, Some(at + 1..target.len())),
            None => (0..target.len(), None),
        };
        let mut edit = Edit::of(target);
        redact_path(&mut edit, path);
        if let Some(query) = query {
            self.redact_query(&mut edit, query);
        }
        edit.finish()
    }

    /// Any other text of a request: replaced whole when it holds a secret.
    pub fn text<'a>(&self, text: &'a [u8]) -> Cow<'a, str> {
        if holds_secret(text) {
            Cow::Borrowed(REDACTED)
        } else {
            String::from_utf8_lossy(text)
        }
    }

    fn redact_query(&self, edit: &mut Edit<'_>, query: Range<usize>) {
        for pair in pieces(edit.source, query, b'&') {
            let text = slice(edit.source, pair.clone());
            let equals = text.iter().position(|byte| *byte == b'=');
            let name = pair.start..pair.start + equals.unwrap_or(text.len());
            let value = equals.map(|at| pair.start + at + 1..pair.end);
            if holds_secret(slice(edit.source, name.clone())) {
                edit.replace(name.clone());
            }
            if let Some(value) = value
                && (self.is_secret_parameter(slice(edit.source, name))
                    || holds_secret(slice(edit.source, value.clone())))
            {
                edit.replace(value);
            }
        }
    }

    fn is_secret_parameter(&self, name: &[u8]) -> bool {
        !self.query.is_empty() && {
            let name = decoded(name);
            self.query
                .iter()
                .any(|one| name.eq_ignore_ascii_case(one.as_bytes()))
        }
    }
}

fn redact_path(edit: &mut Edit<'_>, path: Range<usize>) {
    let mut after = AfterPrefix::Nothing;
    for segment in pieces(edit.source, path, b'/') {
        let text = slice(edit.source, segment.clone());
        if text.is_empty() {
            continue;
        }
        if after == AfterPrefix::ApiKeys || holds_secret(text) {
            edit.replace(segment);
        }
        after = after.next(text);
    }
}

/// How much of `/security/apikeys/` the segments before are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AfterPrefix {
    Nothing,
    Security,
    ApiKeys,
}

impl AfterPrefix {
    fn next(self, segment: &[u8]) -> Self {
        if names(segment, b"security") {
            Self::Security
        } else if self == Self::Security && names(segment, b"apikeys") {
            Self::ApiKeys
        } else {
            Self::Nothing
        }
    }
}

/// Whether a segment is this name, in any case and encoding, parameters behind `;` aside.
fn names(segment: &[u8], name: &[u8]) -> bool {
    if segment.len() < name.len() {
        return false;
    }
    let text = decoded(segment);
    let text = text.split(|byte| *byte == b';').next().unwrap_or_default();
    text.eq_ignore_ascii_case(name)
}

/// Whether a text holds what has the form of a key or of a user token, also percent-encoded.
fn holds_secret(text: &[u8]) -> bool {
    /// No form is shorter (`at:` and one byte).
    const SECRET_BYTES_MIN: usize = 4;
    if text.len() < SECRET_BYTES_MIN {
        return false;
    }
    let text = decoded(text);
    holds_marker(&text)
        || text
            .split(|byte| matches!(byte, b' ' | b',' | b';' | b'='))
            .any(|piece| KeyForm::of(piece).is_some())
}

/// Whether a text holds the beginning of a key or a JWT, or a UUID, anywhere.
fn holds_marker(text: &[u8]) -> bool {
    (0..text.len()).any(|at| {
        let rest = text.get(at..).unwrap_or_default();
        match rest.first() {
            Some(b'i' | b'I') => starts_with(rest, b"iak_"),
            Some(b's' | b'S') => starts_with(rest, b"sk-orq-"),
            Some(b'e') => rest.starts_with(b"eyJ"),
            Some(b'-') => is_uuid(text, at),
            _ => false,
        }
    })
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// Whether the dash at `dash` is the first one of a UUID.
fn is_uuid(text: &[u8], dash: usize) -> bool {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    const LENGTH: usize = 36;
    let Some(uuid) = dash
        .checked_sub(DASHES[0])
        .and_then(|start| text.get(start..start + LENGTH))
    else {
        return false;
    };
    uuid.iter().enumerate().all(|(at, byte)| {
        if DASHES.contains(&at) {
            *byte == b'-'
        } else {
            byte.is_ascii_hexdigit()
        }
    })
}

/// The text with its percent-encoding undone, also where it was encoded more than once.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..DECODE_ROUNDS_MAX {
        if !text.contains(&b'%') {
            break;
        }
        text = Cow::Owned(percent_encoding::percent_decode(&text).collect());
    }
    text
}

/// The ranges between separators.
fn pieces(text: &[u8], within: Range<usize>, separator: u8) -> impl Iterator<Item = Range<usize>> {
    let mut start = within.start;
    slice(text, within)
        .split(move |byte| *byte == separator)
        .map(move |piece| {
            let range = start..start + piece.len();
            start = range.end + 1;
            range
        })
}

fn slice(text: &[u8], range: Range<usize>) -> &[u8] {
    text.get(range).unwrap_or_default()
}

/// A text of which ranges, in ascending order, are replaced. Copies nothing until the first one.
struct Edit<'a> {
    source: &'a [u8],
    edited: Vec<u8>,
    copied_to: usize,
}

impl<'a> Edit<'a> {
    fn of(source: &'a [u8]) -> Self {
        Self {
            source,
            edited: Vec::new(),
            copied_to: 0,
        }
    }

    fn replace(&mut self, range: Range<usize>) {
        self.edited
            .extend_from_slice(slice(self.source, self.copied_to..range.start));
        self.edited.extend_from_slice(REDACTED.as_bytes());
        self.copied_to = range.end;
    }

    fn finish(mut self) -> Cow<'a, str> {
        if self.copied_to == 0 {
            return String::from_utf8_lossy(self.source);
        }
        self.edited
            .extend_from_slice(slice(self.source, self.copied_to..self.source.len()));
        Cow::Owned(String::from_utf8_lossy(&self.edited).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::{REDACTED, Redactor};

    const UUID: &str = "0b5e3b1c-7A0E-4b5f-9a53-0f2c9a1d2e3f";

    fn target(text: &str) -> String {
        Redactor::new(["api_key"])
            .target(text.as_bytes())
            .into_owned()
    }

    #[test]
    fn what_holds_no_secret_is_not_even_copied() {
        let redactor = Redactor::new(["api_key"]);
        for text in [
            "/",
            "",
            "*",
            "/v2/orgs/acme/api-keys?limit=50&page=2&flag",
            "/security/apikeys",
            "/security/apikeys/",
            "/apikeys/security/k1",
            "/a%20b/c?d=%2F",
            "/0b5e3b1c-7A0E-4b5f-9a53-0f2c9a1d2e3/short",
        ] {
            assert!(
                matches!(redactor.target(text.as_bytes()), Cow::Borrowed(same) if same == text)
            );
        }
    }

    #[test]
    fn the_segment_after_apikeys_is_replaced_whatever_it_is() {
        for path in [
            "/v2/workspaces/w1/security/apikeys/anything",
            "/v2/workspaces/w1/security//apikeys//anything",
            "/v2/workspaces/w1/Security/apikey%73/anything",
            "/v2/workspaces/w1/security;v=1/apikeys/anything",
        ] {
            let redacted = target(path);
            assert!(
                !redacted.contains("anything") && redacted.ends_with(REDACTED),
                "{redacted}"
            );
        }
        assert_eq!(
            target("/security/apikeys/x/usage?y=1"),
            "/security/apikeys/[redacted]/usage?y=1"
        );
    }

    #[test]
    fn keys_are_replaced_in_segments_names_and_values() {
        assert_eq!(
            target(&format!("/a/{UUID}/b?x={UUID}&{UUID}=y&z=1")),
            "/a/[redacted]/b?x=[redacted]&[redacted]=y&z=1"
        );
        assert_eq!(target(&format!("/a:iak_acme_{UUID}:cancel")), "/[redacted]");
        assert_eq!(
            target("/sk-orq-01HZXK3QW8Y5T2R9V7B6N4M1PC-abc"),
            "/[redacted]"
        );
        assert_eq!(
            target("/cb?token=eyJhbGciOiJIUzI1NiJ9.e30.abc"),
            "/cb?token=[redacted]"
        );
        assert_eq!(target("/cb?token=at:opaque"), "/cb?token=[redacted]");
        assert_eq!(target("/cb?q=Bearer%20at:opaque"), "/cb?q=[redacted]");
    }

    #[test]
    fn a_credential_parameter_is_replaced_whatever_its_value() {
        assert_eq!(
            target("/a?api_key=garbage&b=1"),
            "/a?api_key=[redacted]&b=1"
        );
        assert_eq!(target("/a?API%5Fkey=garbage"), "/a?API%5Fkey=[redacted]");
        assert_eq!(target("/a?api_key"), "/a?api_key");
    }

    #[test]
    fn encodings_hide_nothing() {
        for text in [
            "/iak%5Facme_x",
            "/%69ak_acme_x",
            "/%2569ak_acme_x",
            "/iak%255Facme_x",
        ] {
            assert_eq!(target(text), "/[redacted]", "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay_out() {
        let redactor = Redactor::default();
        assert_eq!(redactor.target(b"/a\xff?b"), "/a\u{fffd}?b");
        assert_eq!(redactor.text(b"G\xffT"), "G\u{fffd}T");
    }

    /// A key of any family, and the part of it that must not appear anywhere.
    fn key() -> impl Strategy<Value = (String, String)> {
        let uuid = "[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
        prop_oneof![
            uuid.prop_map(|uuid| (uuid.clone(), uuid)),
            ("[a-z0-9][a-z0-9-]{0,20}", uuid)
                .prop_map(|(slug, uuid)| (format!("iak_{slug}_{uuid}"), uuid)),
            ("[0-9A-HJKMNP-TV-Z]{26}", "[A-Za-z0-9_-]{16,40}")
                .prop_map(|(ulid, secret)| (format!("sk-orq-{ulid}-{secret}"), secret)),
        ]
    }

    /// Percent-encodes the bytes that `which` says.
    fn encode(text: &str, which: &[bool]) -> String {
        let mut which = which.iter().cycle();
        text.bytes()
            .map(|byte| match which.next() {
                Some(true) => format!("%{byte:02x}"),
                _ => char::from(byte).to_string(),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn no_key_survives(
            (key, secret) in key(),
            before in "[a-z:.,;=~-]{0,4}",
            after in "[:.,;=~]{0,2}[a-z]{0,4}",
            encoded in proptest::collection::vec(any::<bool>(), 1..8),
            place in "/a/PLACE|/PLACE/b|/PLACE\\?x=1|/a\\?q=PLACE&b=1|/a\\?PLACE=1|/a\\?PLACE|http://h/PLACE|PLACE",
        ) {
            for key in [key.clone(), encode(&key, &encoded)] {
                let text = place.replace("PLACE", &format!("{before}{key}{after}"));
                let redacted = target(&text);
                let shown = percent_encoding::percent_decode_str(&redacted).decode_utf8_lossy();
                prop_assert!(!shown.contains(&secret), "{text} became {redacted}");
                prop_assert!(Redactor::default().text(text.as_bytes()) == REDACTED);
            }
        }
    }
}
