//! Percent-encoding: reading one escape, decoding a text. What may be encoded where is not known here.

use std::borrow::Cow;

/// `%` and two digits.
pub(super) const BYTES: usize = 3;

/// The byte that the escape at `at` stands for, and whether its digits are in upper case; `None`: it is incomplete.
pub(super) fn read(text: &str, at: usize) -> Option<(u8, bool)> {
    let &[_, high, low] = text.as_bytes().get(at..at + BYTES)? else {
        return None;
    };
    let upper_case = !high.is_ascii_lowercase() && !low.is_ascii_lowercase();
    Some((hex_value(high)? << 4 | hex_value(low)?, upper_case))
}

/// The value of a hexadecimal digit.
pub(super) const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Decodes every escape once. `None`: an incomplete one, or the result is not UTF-8.
pub(in crate::authz) fn decode(text: &str) -> Option<Cow<'_, str>> {
    decode_with(text, b'+')
}

/// As [`decode`], and `+` is a space.
pub(in crate::authz) fn decode_form(text: &str) -> Option<Cow<'_, str>> {
    decode_with(text, b' ')
}

fn decode_with(text: &str, plus: u8) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => plus,
            b'%' => hex_value(bytes.next()?)? << 4 | hex_value(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}
