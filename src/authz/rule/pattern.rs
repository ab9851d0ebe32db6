//! `$regex`: the subset of JavaScript's patterns that means the same in a linear-time engine, translated.
//!
//! What is not of the subset is refused. A text for which the meanings could still part is answered *unknown*:
//! JavaScript counts units of UTF-16, the engine counts characters; and JavaScript knows more ends of lines.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

use super::condition::Truth;

/// Bytes of a pattern, at most.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// The greatest number in `{n,m}`.
pub const PATTERN_REPEAT_MAX: u32 = 256;
/// Depth of groups, at most.
const GROUPS_MAX: usize = 16;
/// Bytes of a compiled pattern, at most.
const COMPILED_BYTES_MAX: usize = 384 * 1024;
/// Bytes of the engine's working memory for a pattern, at most; without it, it is slower and no less right.
const CACHE_BYTES_MAX: usize = 256 * 1024;

/// What ends a line in JavaScript.
const LINE_ENDS: [char; 4] = ['\n', '\r', '\u{2028}', '\u{2029}'];
/// The first character that takes two units of UTF-16.
const ASTRAL_FIRST: char = '\u{10000}';
/// The byte that begins the UTF-8 of such a character, or a greater one.
const ASTRAL_LEAD_BYTE: u8 = 0xF0;

const DIGITS: &[(char, char)] = &[('0', '9')];
const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
const SPACE: &[(char, char)] = &[
    ('\t', '\r'),
    (' ', ' '),
    ('\u{a0}', '\u{a0}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{2000}', '\u{200a}'),
    ('\u{2028}', '\u{2029}'),
    ('\u{202f}', '\u{202f}'),
    ('\u{205f}', '\u{205f}'),
    ('\u{3000}', '\u{3000}'),
    ('\u{feff}', '\u{feff}'),
];

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    /// Whether a character of two units could count as one or as two.
    counts_units: bool,
    lines: Lines,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// Ends of lines mean nothing special.
    Plain,
    /// `^` or `$` match at ends of lines, and nothing else tells one end from another.
    Anchored,
    /// `^` or `$` match at ends of lines, and something tells one end from another.
    Distinguished,
}

impl Pattern {
    /// Translates and compiles.
    ///
    /// # Errors
    /// What is outside the subset, or too large, in a sentence.
    pub(super) fn compile(pattern: &str, options: &str) -> Result<Self, String> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"));
        }
        let mut translator = Translator::new(pattern, Options::parse(options)?);
        translator.translate()?;
        let regex = RegexBuilder::new(&translator.out)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(CACHE_BYTES_MAX)
            .build()
            .map_err(|_| "the pattern is too large".to_owned())?;
        let lines = match (translator.anchors_lines, translator.tells_line_ends) {
            (false, _) => Lines::Plain,
            (true, false) => Lines::Anchored,
            (true, true) => Lines::Distinguished,
        };
        Ok(Self {
            regex,
            counts_units: translator.counts_units,
            lines,
        })
    }

    /// Whether it is found anywhere in `text`.
    pub(super) fn test(&self, text: &str) -> Truth {
        if self.counts_units && text.bytes().any(|byte| byte >= ASTRAL_LEAD_BYTE) {
            return Truth::Unknown;
        }
        let is_foreign = |char| char != '\n' && LINE_ENDS.contains(&char);
        let text = match self.lines {
            Lines::Plain => Cow::Borrowed(text),
            Lines::Anchored | Lines::Distinguished if !text.contains(is_foreign) => text.into(),
            // The engine knows one end of a line only. Where all mean the same, all may be that one.
            Lines::Anchored => text.replace(is_foreign, "\n").into(),
            Lines::Distinguished => return Truth::Unknown,
        };
        self.regex.is_match(&text).into()
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Options {
    ignore_case: bool,
    multiline: bool,
    dot_all: bool,
}

impl Options {
    fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        for char in text.chars() {
            let option = match char {
                'i' => &mut options.ignore_case,
                'm' => &mut options.multiline,
                's' => &mut options.dot_all,
                _ => return Err("`$options` takes `i`, `m` and `s`".to_owned()),
            };
            if std::mem::replace(option, true) {
                return Err(format!("the option `{char}` is written twice"));
            }
        }
        Ok(options)
    }
}

struct Translator<'p> {
    rest: Peekable<Chars<'p>>,
    options: Options,
    out: String,
    /// Whether a quantifier may follow.
    repeatable: bool,
    groups: usize,
    counts_units: bool,
    anchors_lines: bool,
    tells_line_ends: bool,
}

impl<'p> Translator<'p> {
    fn new(pattern: &'p str, options: Options) -> Self {
        Self {
            rest: pattern.chars().peekable(),
            options,
            out: String::with_capacity(pattern.len() * 2),
            repeatable: false,
            groups: 0,
            counts_units: false,
            anchors_lines: false,
            tells_line_ends: false,
        }
    }

    fn translate(&mut self) -> Result<(), String> {
        while let Some(char) = self.rest.next() {
            self.repeatable = match char {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '.' => self.dot(),
                '(' => self.open_group()?,
                ')' => self.close_group()?,
                '^' | '$' => self.anchor(char),
                '|' => {
                    self.out.push('|');
                    false
                }
                '?' | '*' | '+' | '{' => self.quantifier(char)?,
                '}' | ']' => return Err(format!("a `{char}` of its own is written `\\{char}`")),
                literal => self.literal(literal)?,
            };
        }
        match self.groups {
            0 => Ok(()),
            _ => Err("a group is not closed".to_owned()),
        }
    }

    fn escape(&mut self) -> Result<bool, String> {
        if self.rest.next_if_eq(&'b').is_some() {
            self.out.push_str(r"(?-u:\b)");
            return Ok(false);
        }
        match self.escaped()? {
            Escaped::Set(ranges) => {
                let mut class = Class::default();
                class.add_set(ranges);
                self.push_class(&class, false)
            }
            Escaped::Char(char) => self.literal(char),
        }
    }

    /// What stands behind a `\`, inside and outside a class.
    fn escaped(&mut self) -> Result<Escaped, String> {
        match self.rest.next() {
            Some('d') => Ok(Escaped::Set(DIGITS)),
            Some('w') => Ok(Escaped::Set(WORD)),
            Some('s') => Ok(Escaped::Set(SPACE)),
            Some(char) if char.is_ascii_punctuation() => Ok(Escaped::Char(char)),
            Some(char) => Err(format!("`\\{}` is not supported", char.escape_debug())),
            None => Err("a `\\` ends the pattern".to_owned()),
        }
    }

    fn literal(&mut self, char: char) -> Result<bool, String> {
        let mut class = Class::default();
        class.add_range(char, char, self.options)?;
        self.tells_line_ends |= LINE_ENDS.contains(&char);
        self.push_class(&class, false)
    }

    fn dot(&mut self) -> bool {
        self.counts_units = true;
        self.out.push_str(if self.options.dot_all {
            "(?s:.)"
        } else {
            r"[^\n\r\x{2028}\x{2029}]"
        });
        true
    }

    fn open_group(&mut self) -> Result<bool, String> {
        self.groups += 1;
        if self.groups > GROUPS_MAX {
            return Err(format!("more than {GROUPS_MAX} groups within each other"));
        }
        if self.rest.next_if_eq(&'?').is_some() && self.rest.next_if_eq(&':').is_none() {
            return Err("of the groups that begin with `(?`, only `(?:` is supported".to_owned());
        }
        self.out.push_str("(?:");
        Ok(false)
    }

    fn close_group(&mut self) -> Result<bool, String> {
        self.groups = self
            .groups
            .checked_sub(1)
            .ok_or("a group is closed that is not open")?;
        self.out.push(')');
        Ok(true)
    }

    fn anchor(&mut self, char: char) -> bool {
        self.anchors_lines |= self.options.multiline;
        self.out.push_str(match (char, self.options.multiline) {
            ('^', true) => "(?m:^)",
            ('^', false) => r"\A",
            (_, true) => "(?m:$)",
            (_, false) => r"\z",
        });
        false
    }

    /// Never followed by another: neither `a**`, which is nothing, nor `a*?`.
    fn quantifier(&mut self, char: char) -> Result<bool, String> {
        if !self.repeatable {
            return Err(format!("there is nothing that `{char}` could repeat"));
        }
        if char != '{' {
            self.out.push(char);
            return Ok(false);
        }
        let least = self.count()?;
        let most = match self.rest.next_if_eq(&',') {
            None => Some(least),
            Some(_) if self.rest.peek() == Some(&'}') => None,
            Some(_) => Some(self.count()?),
        };
        if self.rest.next() != Some('}') || most.is_some_and(|most| most < least) {
            return Err("a repetition is `{n}`, `{n,}` or `{n,m}` with n ≤ m".to_owned());
        }
        let _ = match most {
            Some(most) => write!(self.out, "{{{least},{most}}}"),
            None => write!(self.out, "{{{least},}}"),
        };
        Ok(false)
    }

    fn count(&mut self) -> Result<u32, String> {
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        let count = digits
            .parse()
            .ok()
            .filter(|count| *count <= PATTERN_REPEAT_MAX);
        count.ok_or_else(|| format!("a repetition counts from 0 to {PATTERN_REPEAT_MAX}"))
    }

    /// A class, its `[` already read.
    fn class(&mut self) -> Result<bool, String> {
        let negated = self.rest.next_if_eq(&'^').is_some();
        let mut class = Class::default();
        let mut first = true;
        loop {
            match self.class_item(first)? {
                None if first => return Err("a class is empty".to_owned()),
                None => break,
                Some(Escaped::Set(ranges)) => class.add_set(ranges),
                Some(Escaped::Char(low)) => {
                    let high = self.range_end(low)?;
                    class.add_range(low, high, self.options)?;
                }
            }
            first = false;
        }
        // Told apart are ends of lines of which only some belong to the class.
        let ends = LINE_ENDS.iter().filter(|end| class.holds(**end)).count();
        self.tells_line_ends |= ends % LINE_ENDS.len() != 0;
        self.counts_units |= negated || class.spans_surrogates();
        self.push_class(&class, negated)
    }

    /// The next item; `None` at the end of the class.
    fn class_item(&mut self, first: bool) -> Result<Option<Escaped>, String> {
        let char = self.rest.next().ok_or("a class is not closed")?;
        let next = self.rest.peek().copied();
        match char {
            ']' => Ok(None),
            '\\' => self.escaped().map(Some),
            '[' => Err("a `[` within a class is written `\\[`".to_owned()),
            '-' if !first && next != Some(']') => {
                Err("a `-` within a class stands first, last, or is written `\\-`".to_owned())
            }
            '&' | '-' | '~' if next == Some(char) => {
                Err(format!("`{char}{char}` within a class is not supported"))
            }
            char => Ok(Some(Escaped::Char(char))),
        }
    }

    /// The upper end of a range that begins with `low`; `low` itself where no `-` follows.
    fn range_end(&mut self, low: char) -> Result<char, String> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('-') || matches!(ahead.next(), Some(']') | None) {
            return Ok(low);
        }
        self.rest.next();
        let high = match self.rest.next() {
            Some('\\') => self.escaped()?,
            Some('[') | None => return Err("a range has no end".to_owned()),
            Some(char) => Escaped::Char(char),
        };
        match high {
            Escaped::Char(high) if low <= high => Ok(high),
            Escaped::Char(_) => Err("a range runs backwards".to_owned()),
            Escaped::Set(_) => Err("a range ends in a set".to_owned()),
        }
    }

    fn push_class(&mut self, class: &Class, negated: bool) -> Result<bool, String> {
        self.out.push_str(if negated { "[^" } else { "[" });
        for (low, high) in &class.ranges {
            let _ = write!(
                self.out,
                r"\x{{{:X}}}-\x{{{:X}}}",
                *low as u32, *high as u32
            );
        }
        self.out.push(']');
        Ok(true)
    }
}

enum Escaped {
    Char(char),
    Set(&'static [(char, char)]),
}

/// Ranges of characters, ends included.
#[derive(Default)]
struct Class {
    ranges: Vec<(char, char)>,
}

impl Class {
    fn add_set(&mut self, ranges: &[(char, char)]) {
        self.ranges.extend_from_slice(ranges);
    }

    fn add_range(&mut self, low: char, high: char, options: Options) -> Result<(), String> {
        if high >= ASTRAL_FIRST {
            return Err("characters beyond U+FFFF are not supported".to_owned());
        }
        self.ranges.push((low, high));
        if options.ignore_case {
            if !high.is_ascii() {
                return Err("with the option `i`, only ASCII is supported".to_owned());
            }
            self.add_other_case(low, high, 'A', 'Z', u8::to_ascii_lowercase);
            self.add_other_case(low, high, 'a', 'z', u8::to_ascii_uppercase);
        }
        Ok(())
    }

    /// The part of a range within `first` to `last`, in its other case.
    fn add_other_case(
        &mut self,
        low: char,
        high: char,
        first: char,
        last: char,
        other: fn(&u8) -> u8,
    ) {
        let (low, high) = (low.max(first), high.min(last));
        if let (Ok(low), Ok(high)) = (u8::try_from(low), u8::try_from(high))
            && low <= high
        {
            self.ranges.push((other(&low).into(), other(&high).into()));
        }
    }

    fn holds(&self, char: char) -> bool {
        self.ranges
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&char))
    }

    /// Whether a range runs over the units that only come in pairs.
    fn spans_surrogates(&self) -> bool {
        self.ranges
            .iter()
            .any(|(low, high)| *low < '\u{e000}' && *high >= '\u{e000}')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(pattern: &str, options: &str, text: &str) -> Truth {
        Pattern::compile(pattern, options).unwrap().test(text)
    }

    #[test]
    fn the_subset_means_what_it_means_in_javascript() {
        use Truth::{False, True};
        for (pattern, options, text, expected) in [
            ("", "", "", True),
            ("b", "", "abc", True),
            ("^b", "", "abc", False),
            ("^a.c$", "", "abc", True),
            ("^a$", "", "a\n", False),
            ("^a.c$", "", "a\nc", False),
            ("^a.c$", "", "a\u{2028}c", False),
            ("^a.c$", "s", "a\u{2028}c", True),
            ("^b$", "m", "a\nb\nc", True),
            ("^b$", "m", "a\rb\u{2029}c", True),
            ("^$", "m", "a\r\nc", True),
            ("^b$", "", "a\nb", False),
            (r"^\d+$", "", "123", True),
            (r"^\d+$", "", "١٢٣", False),
            (r"^\w+$", "", "aZ_9", True),
            (r"^\w+$", "", "é", False),
            (r"\bb\b", "", "a b c", True),
            (r"\ba", "", "éa", True),
            (r"^\s+$", "", "\u{feff}\u{a0}\t\n\u{b}\u{2003}", True),
            (r"^\s$", "", "\u{85}", False),
            ("A", "i", "a", True),
            ("^[X-c]+$", "i", "Cyb", True),
            ("[^a]", "i", "A", False),
            ("k", "i", "\u{212a}", False),
            ("s", "i", "\u{17f}", False),
            ("^(ab|c)+$", "", "abcab", True),
            ("^(?:a|)$", "", "", True),
            ("^a{2}$", "", "aa", True),
            ("^a{2,}$", "", "a", False),
            ("^a{1,2}$", "", "aaa", False),
            (r"^[\]\-a]+$", "", "]-a", True),
            ("^[-a]+$", "", "-a", True),
            ("^[a-]+$", "", "-a", True),
            ("^[a^.*]+$", "", "^.*a", True),
            (r"^[^\d\s]+$", "", "ab", True),
            (r"^\/\.\_\<\>$", "", "/._<>", True),
            ("é", "", "café", True),
            ("a b", "", "a b", True),
            ("#", "", "#", True),
        ] {
            assert_eq!(
                finds(pattern, options, text),
                expected,
                "/{pattern}/{options} {text:?}"
            );
        }
    }

    #[test]
    #[rustfmt::skip]
    fn what_is_outside_the_subset_is_refused() {
        let long = "a".repeat(PATTERN_BYTES_MAX + 1);
        let deep = format!(
            "{}a{}",
            "(".repeat(GROUPS_MAX + 1),
            ")".repeat(GROUPS_MAX + 1)
        );
        for pattern in [
            "(", ")", "[", "[]", "[^]", "a**", "a*?", "a+?", "a??", "*", "^*", r"\b+", "(?=a)",
            "(?!a)", "(?<=a)", "(?<n>a)", "(?i)a", "(?P<n>a)", r"(a)\1", r"\n", r"\t", r"\x41",
            r"\u0041", r"\u{41}", r"\p{L}", r"\D", r"\W", r"\S", r"\B", r"\0", r"\A", r"\z",
            r"\é", "a\\", "a{", "a{}", "a{,2}", "a{2,1}", "a{257}", "a{x}", "{2}", "}", "]",
            "[a[b]]", "[a&&b]", "[a--b]", "[a~~b]", "[a-b-c]", "[z-a]", r"[a-\d]", r"[\b]", "[a",
            "[a-", "😀", "[😀]", "[a-😀]", "a{2}{3}", "|*", "(*a)", "(((a{256}){256}){256})", &long,
            &deep,
        ] {
            assert!(Pattern::compile(pattern, "").is_err(), "{pattern}");
        }
        for (pattern, options) in [
            ("a", "g"),
            ("a", "ii"),
            ("a", "u"),
            ("a", "x"),
            ("é", "i"),
            ("[à-ü]", "i"),
            ("[a-ü]", "i"),
        ] {
            assert!(
                Pattern::compile(pattern, options).is_err(),
                "/{pattern}/{options}"
            );
        }
    }

    #[test]
    fn where_the_meanings_part_it_is_unknown() {
        use Truth::{True, Unknown};
        assert_eq!(finds("^.$", "", "😀"), Unknown);
        assert_eq!(finds("^[^a]$", "", "😀"), Unknown);
        assert_eq!(finds("^[!-\u{ffff}]$", "", "😀"), Unknown);
        assert_eq!(finds("b$", "", "😀b"), True);
        assert_eq!(finds("^b\n", "m", "a\rb\n"), Unknown);
        assert_eq!(finds("^[\n]", "m", "a\r"), Unknown);
        assert_eq!(finds(r"^\sb", "m", "a\r\nb"), True);
    }

    #[test]
    fn a_common_large_pattern_fits() {
        assert!(Pattern::compile("^.{1,256}$", "").is_ok());
        assert!(Pattern::compile(r"^[\w.+-]{1,64}@[\w-]{1,63}(\.[\w-]{1,63}){1,4}$", "i").is_ok());
    }
}
