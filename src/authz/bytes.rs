//! Sets of bytes, for texts that may hold only some. A look-up a byte, whatever the set.

use std::ops::RangeInclusive;

/// A set of bytes.
#[derive(Debug)]
pub(super) struct ByteSet([bool; 256]);

const ALPHANUMERIC: ByteSet = ByteSet::of(&[b'0'..=b'9', b'A'..=b'Z', b'a'..=b'z']);
/// Visible ASCII.
const GRAPHIC: ByteSet = ByteSet::of(&[b'!'..=b'~']);

/// RFC 9110, section 5.6.2: what methods and header names are made of.
pub(super) static TOKEN: ByteSet = ALPHANUMERIC.with(b"!#$%&'*+-.^_`|~");

/// What may stand in a path as it is; `%` as the beginning of an escape.
pub(super) static PATH: ByteSet = GRAPHIC.without(b"\"#<>?\\^`{|}");

/// Of that, what has no meaning beyond itself and the slash's: no escape, no `;`.
pub(super) static PLAIN_PATH: ByteSet = GRAPHIC.without(b"\"#<>?\\^`{|}%;");

/// What may stand in a query as it is, as far as ASCII goes.
pub(super) static QUERY: ByteSet = GRAPHIC.without(b"#");

/// What may stand in the value of a header: no control byte but the tabulator.
pub(super) static HEADER_VALUE: ByteSet = ByteSet::of(&[b'\t'..=b'\t', b' '..=b'~', 0x80..=0xff]);

/// Base 64 in the alphabet for URLs.
pub(super) static BASE64URL: ByteSet = ALPHANUMERIC.with(b"-_");

/// Hexadecimal digits, in either case.
pub(super) static HEX: ByteSet = ByteSet::of(&[b'0'..=b'9', b'A'..=b'F', b'a'..=b'f']);

impl ByteSet {
    #[expect(
        clippy::indexing_slicing,
        reason = "evaluated while compiling: a wrong index does not compile"
    )]
    const fn of(ranges: &[RangeInclusive<u8>]) -> Self {
        let mut set = [false; 256];
        let mut range = 0;
        while range < ranges.len() {
            let mut byte = *ranges[range].start() as usize;
            while byte <= *ranges[range].end() as usize {
                set[byte] = true;
                byte += 1;
            }
            range += 1;
        }
        Self(set)
    }

    const fn with(self, bytes: &[u8]) -> Self {
        self.set(bytes, true)
    }

    const fn without(self, bytes: &[u8]) -> Self {
        self.set(bytes, false)
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "evaluated while compiling: a wrong index does not compile"
    )]
    const fn set(mut self, bytes: &[u8], held: bool) -> Self {
        let mut at = 0;
        while at < bytes.len() {
            self.0[bytes[at] as usize] = held;
            at += 1;
        }
        self
    }

    /// Whether all of `text` is in the set.
    pub(super) fn holds_all_of(&self, text: &[u8]) -> bool {
        // No early end: the common text is good, and a loop without branches is the faster.
        text.iter()
            .fold(true, |all, &byte| all & self.contains(byte))
    }

    #[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_are_those_of_their_grammars() {
        for byte in 0..=u8::MAX {
            let alphanumeric = byte.is_ascii_alphanumeric();
            let one_of = |others: &[u8]| alphanumeric || others.contains(&byte);
            let graphic_without =
                |others: &[u8]| byte.is_ascii_graphic() && !others.contains(&byte);
            assert_eq!(
                TOKEN.contains(byte),
                one_of(b"!#$%&'*+-.^_`|~"),
                "{byte:#x}"
            );
            assert_eq!(
                PATH.contains(byte),
                graphic_without(b"\"#<>?\\^`{|}"),
                "{byte:#x}"
            );
            assert_eq!(QUERY.contains(byte), graphic_without(b"#"), "{byte:#x}");
            assert_eq!(BASE64URL.contains(byte), one_of(b"-_"), "{byte:#x}");
            assert_eq!(HEX.contains(byte), byte.is_ascii_hexdigit(), "{byte:#x}");
            let plain = PATH.contains(byte) && !matches!(byte, b'%' | b';');
            assert_eq!(PLAIN_PATH.contains(byte), plain, "{byte:#x}");
            let value = byte == b'\t' || !byte.is_ascii_control();
            assert_eq!(HEADER_VALUE.contains(byte), value, "{byte:#x}");
        }
    }
}
