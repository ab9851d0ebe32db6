//! The canonical path and its decoded segments. Knows no route, and so lets `%2F` and `;` through with a note.

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use super::super::bytes;
use super::{InvalidRequest, escape};

const BROKEN_ESCAPE: InvalidRequest = InvalidRequest("a `%` in the path without two hex digits");

/// INVARIANT: where each segment ends, ascending. Each begins behind the slash that ends the one before.
type Ends = SmallVec<[u32; 16]>;

/// A canonical path, and its segments percent-decoded for matching.
///
/// Borrows from the request where it is canonical already; only a path with escapes keeps a decoded copy.
#[derive(Debug, Clone)]
pub struct Path<'a> {
    canonical: Cow<'a, str>,
    /// `None`: the same as `canonical`, which holds no escape.
    decoded: Option<String>,
    /// In the decoded path, on character boundaries.
    ends: Ends,
    trailing_slash: bool,
    encoded_slash: bool,
    matrix: bool,
}

impl<'a> Path<'a> {
    /// Longest path, in bytes. A far lower limit on whole targets is configuration; this one keeps offsets small.
    pub const BYTES_MAX: usize = 1 << 20;

    /// Canonicalises the path part of a request target. Borrows where the path is canonical already.
    ///
    /// `%2F` and `;` are let through here and noted: only the chosen route knows whether it takes them
    /// (see [`Path::has_encoded_slash`], [`Path::has_matrix`]).
    ///
    /// # Errors
    /// The first rule of the norm's section 1 that is broken.
    pub fn parse(raw: &'a [u8]) -> Result<Self, InvalidRequest> {
        let (text, plain) = check_bytes(raw)?;
        if !plain {
            return Self::parse_special(text);
        }
        let (ends, trailing_slash) = split_segments(text);
        segments(text, &ends).try_for_each(check_piece)?;
        Ok(Self {
            canonical: Cow::Borrowed(text),
            decoded: None,
            ends,
            trailing_slash,
            encoded_slash: false,
            matrix: false,
        })
    }

    /// A path that holds escapes or `;`.
    fn parse_special(text: &'a str) -> Result<Self, InvalidRequest> {
        let canonical = canonicalise(text)?;
        let (mut ends, trailing_slash) = split_segments(&canonical);
        let (decoded, encoded_slash) = if canonical.as_bytes().contains(&b'%') {
            let decoded = decode_segments(&canonical, &mut ends)?;
            (Some(decoded), canonical.contains("%2F"))
        } else {
            (None, false)
        };
        let text = decoded.as_deref().unwrap_or(&canonical);
        let matrix = text.as_bytes().contains(&b';');
        check_segments(text, &ends, trailing_slash, encoded_slash || matrix)?;
        Ok(Self {
            canonical,
            decoded,
            ends,
            trailing_slash,
            encoded_slash,
            matrix,
        })
    }

    /// What is forwarded.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The whole path percent-decoded. Only good for ranges into it: a decoded `/` looks like any other.
    pub(in crate::authz) fn decoded(&self) -> &str {
        self.decoded.as_deref().unwrap_or(&self.canonical)
    }

    /// Where the segment at `index` is in the decoded path.
    pub(in crate::authz) fn segment_range(&self, index: usize) -> Option<Range<u32>> {
        range(&self.ends, index)
    }

    /// Where the segments from `index` to the end are in the decoded path.
    pub(in crate::authz) fn rest_range(&self, index: usize) -> Option<Range<u32>> {
        Some(self.segment_range(index)?.start..*self.ends.last()?)
    }

    /// Number of segments, the empty one after a trailing slash not counted.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the path is `/` alone.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The percent-decoded segment at `index`; a decoded `/` never splits one.
    pub fn segment(&self, index: usize) -> Option<&str> {
        slice(self.decoded(), &self.segment_range(index)?)
    }

    /// The decoded text from segment `index` to the end, without a trailing slash.
    pub fn rest(&self, index: usize) -> Option<&str> {
        slice(self.decoded(), &self.rest_range(index)?)
    }

    /// Whether the path ends in `/` and is not `/` itself.
    pub fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// Whether it holds `%2F`, which only a route with `encoded_slash: allow` takes.
    pub fn has_encoded_slash(&self) -> bool {
        self.encoded_slash
    }

    /// Whether it holds `;`, plain or encoded, which only a route with `matrix: allow` takes.
    pub fn has_matrix(&self) -> bool {
        self.matrix
    }
}

/// The part of `text` at `range`; `None` where that is outside.
pub(in crate::authz) fn slice<'t>(text: &'t str, range: &Range<u32>) -> Option<&'t str> {
    text.get(range.start as usize..range.end as usize)
}

/// Refuses a path with a byte that the norm does not take. Says of others whether they are plain: no escape, no `;`.
///
/// # Errors
/// See above.
pub(super) fn check_bytes(raw: &[u8]) -> Result<(&str, bool), InvalidRequest> {
    const FORBIDDEN: InvalidRequest = InvalidRequest("a byte in the path that must be encoded");
    if raw.len() > Path::BYTES_MAX {
        return Err(InvalidRequest("the path is too long"));
    }
    if raw.first() != Some(&b'/') {
        return Err(InvalidRequest("the path does not begin with `/`"));
    }
    let plain = bytes::PLAIN_PATH.holds_all_of(raw);
    if !plain && !bytes::PATH.holds_all_of(raw) {
        return Err(FORBIDDEN);
    }
    match std::str::from_utf8(raw) {
        Ok(text) => Ok((text, plain)),
        Err(_) => Err(FORBIDDEN),
    }
}

/// Decodes escaped unreserved characters and upper-cases the digits of other escapes.
fn canonicalise(text: &str) -> Result<Cow<'_, str>, InvalidRequest> {
    let mut canonical = String::new();
    let mut copied = 0;
    for (at, _) in text.match_indices('%') {
        let (byte, upper_case) = escape::read(text, at).ok_or(BROKEN_ESCAPE)?;
        let unreserved = is_unreserved(byte);
        if upper_case && !unreserved {
            continue;
        }
        canonical.push_str(text.get(copied..at).unwrap_or_default());
        if unreserved {
            canonical.push(char::from(byte));
        } else {
            let escape = text.get(at..at + escape::BYTES).unwrap_or_default();
            canonical.extend(escape.chars().map(|digit| digit.to_ascii_uppercase()));
        }
        copied = at + escape::BYTES;
    }
    if copied == 0 {
        return Ok(Cow::Borrowed(text));
    }
    canonical.push_str(text.get(copied..).unwrap_or_default());
    Ok(Cow::Owned(canonical))
}

/// RFC 3986, section 2.3: encoded or not, the same.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Where the segments of a canonical path end, and whether it ends in a slash.
fn split_segments(canonical: &str) -> (Ends, bool) {
    let mut ends = Ends::new();
    let mut start = 1;
    let mut offset = 0;
    for &byte in canonical.as_bytes() {
        if byte == b'/' && offset > 0 {
            ends.push(offset);
            start = offset + 1;
        }
        offset += 1;
    }
    let trailing_slash = start == offset;
    if !trailing_slash {
        ends.push(offset);
    }
    (ends, trailing_slash && offset > 1)
}

/// Where the segment at `index` is.
fn range(ends: &Ends, index: usize) -> Option<Range<u32>> {
    let end = *ends.get(index)?;
    let slash = match index.checked_sub(1) {
        Some(before) => *ends.get(before)?,
        None => 0,
    };
    Some(slash + 1..end)
}

fn segments<'t>(text: &'t str, ends: &Ends) -> impl Iterator<Item = &'t str> {
    let mut slash = 0;
    ends.iter().map(move |&end| {
        let range = slash + 1..end;
        slash = end;
        slice(text, &range).unwrap_or_default()
    })
}

/// Decodes a canonical path, segment by segment, and moves `ends` to their places in the decoded text.
fn decode_segments(canonical: &str, ends: &mut Ends) -> Result<String, InvalidRequest> {
    let mut decoded = Vec::with_capacity(canonical.len());
    let mut slash = 0;
    for end in ends.iter_mut() {
        let segment = slice(canonical, &(slash + 1..*end)).unwrap_or_default();
        decoded.push(b'/');
        decode_into(segment, &mut decoded)?;
        slash = std::mem::replace(end, offset(&decoded));
    }
    // A slash is a character of its own: where the whole is UTF-8, so is every segment.
    String::from_utf8(decoded).map_err(|_| InvalidRequest("the decoded path is not UTF-8"))
}

/// INVARIANT: [`Path::BYTES_MAX`] fits.
fn offset(decoded: &[u8]) -> u32 {
    u32::try_from(decoded.len()).unwrap_or(u32::MAX)
}

fn decode_into(segment: &str, decoded: &mut Vec<u8>) -> Result<(), InvalidRequest> {
    let mut copied = 0;
    for (at, _) in segment.match_indices('%') {
        let (byte, _) = escape::read(segment, at).ok_or(BROKEN_ESCAPE)?;
        let after = segment.as_bytes().get(at + escape::BYTES..);
        match byte {
            b'\\' | b'\0'..=b'\x1f' | b'\x7f' => {
                return Err(InvalidRequest(
                    "an encoded backslash or control byte in the path",
                ));
            }
            b'%' if after.is_some_and(begins_with_two_digits) => {
                return Err(InvalidRequest("the path is encoded twice"));
            }
            _ => {}
        }
        let plain = segment.as_bytes().get(copied..at);
        decoded.extend_from_slice(plain.unwrap_or_default());
        decoded.push(byte);
        copied = at + escape::BYTES;
    }
    let plain = segment.as_bytes().get(copied..);
    decoded.extend_from_slice(plain.unwrap_or_default());
    Ok(())
}

fn begins_with_two_digits(text: &[u8]) -> bool {
    matches!(text, [high, low, ..] if escape::hex_value(*high).is_some() && escape::hex_value(*low).is_some())
}

/// Refuses dot segments and empty ones. `split`: segments hold `/` or `;`, and the pieces count too.
fn check_segments(
    text: &str,
    ends: &Ends,
    trailing_slash: bool,
    split: bool,
) -> Result<(), InvalidRequest> {
    for (index, segment) in segments(text, ends).enumerate() {
        if split {
            let last = index + 1 == ends.len() && !trailing_slash;
            check_pieces(segment, last)?;
        } else {
            check_piece(segment)?;
        }
    }
    Ok(())
}

/// What an upstream may make of a segment that holds `/` or `;`. One empty piece may end the whole path.
fn check_pieces(segment: &str, last: bool) -> Result<(), InvalidRequest> {
    let whole = match segment.strip_suffix(['/', ';']) {
        Some(whole) if last => whole,
        _ => segment,
    };
    whole.split(['/', ';']).try_for_each(check_piece)
}

fn check_piece(piece: &str) -> Result<(), InvalidRequest> {
    match piece {
        "" => Err(InvalidRequest("an empty segment in the path")),
        "." | ".." => Err(InvalidRequest("a dot segment in the path")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
