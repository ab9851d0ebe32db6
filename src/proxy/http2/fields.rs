//! Reads header blocks beside the library, for the one thing that it hides: whether a `:path` has a fragment, which it
//! cuts off before anyone can judge it.
//!
//! Of a field it keeps what that takes, in a table as the library's own (RFC 7541): how long it is and whether it is such
//! a path. What is no header block, the library ends the connection for. Knows no frame and no request.

use std::collections::VecDeque;

/// Bytes of the table. Nothing else is agreed on, so no client may have more.
const TABLE_MAX: usize = 4096;

/// What a field of the table counts for beside its bytes.
const ENTRY_EXTRA: usize = 32;

/// Bytes of the names of the fixed table, whose fourth and fifth are paths.
const FIXED: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14,
    16, 13, 12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10,
    25, 17, 10, 4, 3, 16,
];
const FIXED_PATHS: std::ops::RangeInclusive<usize> = 4..=5;

const PATH: &[u8] = b":path";

/// How many symbols have a Huffman code of five bits, of six, and so on. Codes ascend with their length and, within one,
/// with their symbol: so much is enough to tell where one ends, and which it is in that order.
const CODES: [u32; 26] = [
    10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 0, 4,
];
const CODE_MIN: usize = 5;

/// The symbol at that place in the order, where it matters which it is.
const fn symbol(place: u32) -> u8 {
    match place {
        3 => b'a',
        9 => b't',
        29 => b'h',
        33 => b'p',
        36 => b':',
        82 => b'#',
        _ => 0,
    }
}

/// A name or a field, as far as it is kept.
#[derive(Debug, Clone, Copy, Default)]
struct Field {
    name: usize,
    is_path: bool,
    value: usize,
    has_fragment: bool,
}

impl Field {
    const fn size(self) -> usize {
        self.name
            .saturating_add(self.value)
            .saturating_add(ENTRY_EXTRA)
    }
}

/// What an integer is for.
#[derive(Debug, Clone, Copy)]
enum Use {
    Field,
    Name,
    Resize,
    Text { is_coded: bool },
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum State {
    Field,
    Integer { of: Use, value: usize, shift: u32 },
    Length,
    Text { is_coded: bool, left: usize },
}

/// See the head of this file.
#[derive(Debug)]
pub struct Fields {
    table: VecDeque<Field>,
    size: usize,
    most: usize,
    state: State,
    field: Field,
    /// Whether the field goes into the table.
    is_kept: bool,
    /// Whether the text is a name.
    in_name: bool,
    /// Symbols of the text so far, and those of them that are the path's name.
    length: usize,
    alike: usize,
    /// Of the code that is begun: its bits, what it is beyond all shorter ones, and how many those are.
    bits: usize,
    rest: u32,
    place: u32,
    found: bool,
}

impl Fields {
    /// At the beginning of a connection.
    pub fn new() -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            most: TABLE_MAX,
            state: State::Field,
            field: Field::default(),
            is_kept: false,
            in_name: false,
            length: 0,
            alike: 0,
            bits: 0,
            rest: 0,
            place: 0,
            found: false,
        }
    }

    /// The block is over: whether it had a path with a fragment.
    pub fn end(&mut self) -> bool {
        self.state = State::Field;
        std::mem::take(&mut self.found)
    }

    /// More of the block.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while let Some((byte, rest)) = bytes.split_first() {
            let State::Text { is_coded, left } = self.state else {
                self.step(*byte);
                bytes = rest;
                continue;
            };
            let (text, after) = bytes.split_at(left.min(bytes.len()));
            self.read(text, is_coded);
            let left = left.saturating_sub(text.len());
            self.state = State::Text { is_coded, left };
            if left == 0 {
                self.text_ended();
            }
            bytes = after;
        }
    }

    fn step(&mut self, byte: u8) {
        let (of, prefix) = match (self.state, byte) {
            (State::Field, 0x80..) => (Use::Field, 7),
            (State::Field, 0x40..) => (Use::Name, 6),
            (State::Field, 0x20..) => (Use::Resize, 5),
            (State::Field, _) => (Use::Name, 4),
            (State::Length, _) => (
                Use::Text {
                    is_coded: byte >= 0x80,
                },
                7,
            ),
            (State::Integer { of, value, shift }, _) => {
                let more = usize::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
                let value = value.saturating_add(more);
                let shift = shift.saturating_add(7);
                self.state = State::Integer { of, value, shift };
                if byte < 0x80 {
                    self.integer_ended(of, value);
                }
                return;
            }
            (State::Text { .. }, _) => return,
        };
        if matches!(self.state, State::Field) {
            self.is_kept = (0x40..0x80).contains(&byte);
        }
        let most = (1_usize << prefix) - 1;
        let value = usize::from(byte) & most;
        let shift = 0;
        self.state = State::Integer { of, value, shift };
        if value < most {
            self.integer_ended(of, value);
        }
    }

    fn integer_ended(&mut self, of: Use, value: usize) {
        self.state = match of {
            Use::Field => {
                let field = self.known(value);
                self.found |= field.is_path && field.has_fragment;
                State::Field
            }
            Use::Resize => {
                self.most = value.min(TABLE_MAX);
                self.make_room(0);
                State::Field
            }
            Use::Name => {
                self.field = self.known(value);
                self.in_name = value == 0;
                State::Length
            }
            Use::Text { is_coded } => {
                (self.length, self.alike) = (0, 0);
                (self.bits, self.rest, self.place) = (0, 0, 0);
                self.field.has_fragment = false;
                State::Text {
                    is_coded,
                    left: value,
                }
            }
        };
        if matches!(self.state, State::Text { left: 0, .. }) {
            self.text_ended();
        }
    }

    /// The field of that number, in the fixed table or the other one.
    fn known(&self, number: usize) -> Field {
        if let Some(name) = number.checked_sub(1).and_then(|at| FIXED.get(at)) {
            return Field {
                name: usize::from(*name),
                is_path: FIXED_PATHS.contains(&number),
                ..Field::default()
            };
        }
        let at = number.checked_sub(FIXED.len() + 1);
        let field = at.and_then(|at| self.table.get(at));
        field.copied().unwrap_or_default()
    }

    fn read(&mut self, text: &[u8], is_coded: bool) {
        // Nobody asks how long it is, or what is in it.
        if !self.in_name && !self.is_kept && !self.field.is_path {
            return;
        }
        for byte in text {
            if !is_coded {
                self.symbol(*byte);
                continue;
            }
            for at in (0..8).rev() {
                self.bit(u32::from(byte >> at & 1));
            }
        }
    }

    fn bit(&mut self, bit: u32) {
        self.rest = self.rest.wrapping_shl(1) | bit;
        self.bits = self.bits.saturating_add(1);
        let Some(of_length) = self.bits.checked_sub(CODE_MIN) else {
            return;
        };
        let codes = CODES.get(of_length).copied().unwrap_or(0);
        if self.rest < codes {
            self.symbol(symbol(self.place.saturating_add(self.rest)));
            (self.bits, self.rest, self.place) = (0, 0, 0);
        } else {
            self.rest = self.rest.saturating_sub(codes);
            self.place = self.place.saturating_add(codes);
        }
    }

    fn symbol(&mut self, symbol: u8) {
        if PATH.get(self.length) == Some(&symbol) {
            self.alike = self.alike.saturating_add(1);
        }
        self.length = self.length.saturating_add(1);
        self.field.has_fragment |= symbol == b'#';
    }

    fn text_ended(&mut self) {
        if self.in_name {
            self.in_name = false;
            self.field.name = self.length;
            self.field.is_path = self.length == PATH.len() && self.alike == PATH.len();
            self.state = State::Length;
            return;
        }
        self.state = State::Field;
        self.field.value = self.length;
        self.found |= self.field.is_path && self.field.has_fragment;
        if self.is_kept {
            let size = self.field.size();
            self.make_room(size);
            if size <= self.most {
                self.size = self.size.saturating_add(size);
                self.table.push_front(self.field);
            }
        }
    }

    fn make_room(&mut self, size: usize) {
        while self.size.saturating_add(size) > self.most {
            let Some(last) = self.table.pop_back() else {
                return;
            };
            self.size = self.size.saturating_sub(last.size());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the block has a path with a fragment, however it is cut.
    fn found(before: &[u8], block: &[u8]) -> bool {
        let whole = |cut: usize| {
            let mut fields = Fields::new();
            fields.take(before);
            fields.end();
            fields.take(&block[..cut]);
            fields.take(&block[cut..]);
            fields.end()
        };
        let first = whole(0);
        assert!(
            (0..=block.len()).all(|cut| whole(cut) == first),
            "{block:x?}"
        );
        first
    }

    fn text(text: &str) -> Vec<u8> {
        [&[text.len() as u8], text.as_bytes()].concat()
    }

    /// `name` as a literal that is not kept.
    fn literal(name: &str, value: &str) -> Vec<u8> {
        [vec![0], text(name), text(value)].concat()
    }

    #[test]
    fn a_path_with_a_fragment_is_found_however_it_is_written() {
        for (value, fragment) in [
            ("/a#b", true),
            ("/#", true),
            ("#", true),
            ("/a%23", false),
            ("", false),
        ] {
            for start in [[0x04], [0x05], [0x14], [0x44], [0x45]] {
                let block = [&start[..], &text(value)].concat();
                assert_eq!(found(&[], &block), fragment, "{value} {start:x?}");
            }
            for start in [[0x00], [0x10], [0x40]] {
                let block = [&start[..], &text(":path"), &text(value)].concat();
                assert_eq!(found(&[], &block), fragment, "{value} {start:x?}");
            }
        }
        for (name, value) in [
            ("x-path", "#"),
            (":pat", "#"),
            (":pathx", "#"),
            ("x#", "1"),
            (":method", "#"),
        ] {
            assert!(!found(&[], &literal(name, value)), "{name}");
        }
        let long = [&[0x04, 0x7f, 0x00][..], &[b'x'; 126], b"#"].concat();
        assert!(found(&[], &long));
    }

    /// The codes of RFC 7541: `:path` and `/a#`, and `www.example.com` (appendix C.4.1).
    #[test]
    fn huffman_codes_are_read() {
        let name = [0x00, 0x84, 0xb9, 0x58, 0xd3, 0x3f];
        assert!(found(&[], &[&name[..], &text("/a#")].concat()));
        assert!(!found(&[], &[&name[..], &text("/a")].concat()));
        assert!(found(&[], &[0x04, 0x83, 0x60, 0x7f, 0xf5]));
        let host = [
            0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        let mut fields = Fields::new();
        fields.take(&[&[0x41][..], &host].concat());
        assert_eq!(fields.table[0].size(), 57);
    }

    #[test]
    fn what_is_kept_is_found_again_and_forgotten_as_it_must_be() {
        let kept = [&[0x44][..], &text("/a#b")].concat();
        assert!(found(&kept, &[0xbe]));
        let other = [&[0x40][..], &text("x-a"), &text("#")].concat();
        assert!(!found(&[&kept[..], &other].concat(), &[0xbe]));
        assert!(found(&[&kept[..], &other].concat(), &[0xbf]));
        // Its name, with another value.
        assert!(!found(&kept, &[&[0x7e][..], &text("/a")].concat()));
        assert!(!found(
            &[&kept[..], &other].concat(),
            &[&[0x7e][..], &text("#")].concat()
        ));
        // Another one takes its room, or the table is emptied.
        let large = [
            &[0x40][..],
            &text("x-a"),
            &[0x7f, 0xd0, 0x1e],
            &[b'x'; 4047],
        ]
        .concat();
        assert_eq!(3 + 4047 + ENTRY_EXTRA, TABLE_MAX - 14);
        assert!(!found(&[&kept[..], &large].concat(), &[0xbf]));
        assert!(!found(
            &[&kept[..], &[0x20]].concat(),
            &[0x3f, 0xe1, 0x1f, 0xbe]
        ));
        // One that is too large for it empties it.
        let larger = [
            &[0x40][..],
            &text("x-a"),
            &[0x7f, 0x80, 0x20],
            &[b'x'; 4223],
        ]
        .concat();
        assert!(!found(&[&kept[..], &larger].concat(), &[0xbe]));
    }

    #[test]
    fn what_is_no_block_is_survived() {
        for byte in 0..=255_u8 {
            let mut fields = Fields::new();
            fields.take(&[byte; 300]);
            fields.take(&[0xff; 20]);
            let _found = fields.end();
            assert!(fields.table.len() <= TABLE_MAX / ENTRY_EXTRA);
        }
    }
}
