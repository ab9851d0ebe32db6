//! Field patterns: `*` stands for a run without a dot, `**` for any run, a trailing `.*` or `.**` is optional.
//!
//! They read as CASL's do, which makes of each a regular expression; here a pattern is walked, once per position.

use super::condition::Truth;

/// Bytes of a field and of a pattern for fields, at most. Of a longer field it is not known what covers it.
pub const FIELD_BYTES_MAX: usize = 255;

/// What stands for every field.
const WHOLE: &str = "**";

/// The fields that a rule is about.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    patterns: Box<[FieldPattern]>,
    whole: bool,
}

impl Fields {
    pub(super) fn new(written: &[String]) -> Self {
        Self {
            patterns: written
                .iter()
                .map(|text| FieldPattern::parse(text))
                .collect(),
            whole: written.iter().any(|text| text == WHOLE),
        }
    }

    /// Whether they are all fields, whatever their names.
    pub(super) fn cover_the_whole(&self) -> bool {
        self.whole
    }

    pub(super) fn cover(&self, field: &str) -> Truth {
        if field.len() > FIELD_BYTES_MAX {
            return Truth::Unknown;
        }
        self.patterns
            .iter()
            .any(|pattern| pattern.matches(field))
            .into()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldPattern {
    pieces: Box<[Piece]>,
    /// From this piece on, the pattern may also end.
    optional_from: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    Run {
        /// Whether it runs over dots.
        over_dots: bool,
        may_be_empty: bool,
    },
}

impl FieldPattern {
    fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, from_star)) =
            rest.find('*').and_then(|at| rest.split_at_checked(at))
        {
            let after_stars = from_star.trim_start_matches('*');
            let stars = from_star.len() - after_stars.len();
            // A dot on either side belongs to the run; one between two runs, to the first.
            let (literal, leading) = match before.strip_suffix('.') {
                Some(literal) => (literal, true),
                None => (before, false),
            };
            let (after, trailing) = match after_stars.strip_prefix('.') {
                Some(after) => (after, true),
                None => (after_stars, false),
            };
            push_literal(&mut pieces, literal);
            let start = pieces.len();
            push_literal(&mut pieces, if leading { "." } else { "" });
            pieces.push(Piece::Run {
                over_dots: stars > 1,
                may_be_empty: !(text.starts_with('*') || (leading && trailing)),
            });
            push_literal(&mut pieces, if trailing { "." } else { "" });
            if after.is_empty() {
                return Self {
                    pieces: pieces.into(),
                    optional_from: start,
                };
            }
            rest = after;
        }
        push_literal(&mut pieces, rest);
        Self {
            optional_from: pieces.len(),
            pieces: pieces.into(),
        }
    }

    fn matches(&self, field: &str) -> bool {
        let mut reached = Positions::START;
        for (index, piece) in self.pieces.iter().enumerate() {
            if index == self.optional_from && reached.has(field.len()) {
                return true;
            }
            reached = match piece {
                Piece::Literal(literal) => reached.past_literal(field, literal),
                Piece::Run {
                    over_dots,
                    may_be_empty,
                } => reached.past_run(field, *over_dots, *may_be_empty),
            };
        }
        reached.has(field.len())
    }
}

fn push_literal(pieces: &mut Vec<Piece>, literal: &str) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into()));
    }
}

/// The byte positions of a field up to which a pattern may have matched: a bit each, 0 to [`FIELD_BYTES_MAX`].
#[derive(Debug, Clone, Copy)]
struct Positions([u128; 2]);

impl Positions {
    const NONE: Self = Self([0, 0]);
    const START: Self = Self([1, 0]);

    fn has(self, position: usize) -> bool {
        let [low, high] = self.0;
        match position {
            0..128 => low >> position & 1 == 1,
            128..256 => high >> (position - 128) & 1 == 1,
            _ => false,
        }
    }

    fn add(&mut self, position: usize) {
        let [low, high] = &mut self.0;
        match position {
            0..128 => *low |= 1 << position,
            128..256 => *high |= 1 << (position - 128),
            _ => {}
        }
    }

    fn past_literal(self, field: &str, literal: &str) -> Self {
        let mut past = Self::NONE;
        for (position, _) in field
            .char_indices()
            .filter(|(position, _)| self.has(*position))
        {
            if field
                .get(position..)
                .is_some_and(|rest| rest.starts_with(literal))
            {
                past.add(position + literal.len());
            }
        }
        past
    }

    fn past_run(self, field: &str, over_dots: bool, may_be_empty: bool) -> Self {
        let mut past = if may_be_empty { self } else { Self::NONE };
        let mut running = false;
        for (position, char) in field.char_indices() {
            running = (running || self.has(position)) && (over_dots || char != '.');
            if running {
                past.add(position + char.len_utf8());
            }
        }
        past
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, field: &str) -> bool {
        Fields::new(&[pattern.to_owned()]).cover(field) == Truth::True
    }

    #[test]
    fn patterns_read_as_casls_do() {
        for (pattern, yes, no) in [
            ("a", &["a"][..], &["b", "a.b", "", "aa"][..]),
            ("a.*", &["a", "a.b", "a."], &["a.b.c", "ab", "b"]),
            ("a.**", &["a", "a.b", "a.b.c"], &["ab", "b.a"]),
            ("st*", &["st", "street"], &["s", "st.x"]),
            ("*.n", &["a.n"], &[".n", "n", "a.b.n"]),
            ("**.n", &["a.n", "a.b.n"], &[".n", "n"]),
            ("a.*.n", &["a.b.n"], &["a.n", "a..n", "a.b.c.n"]),
            ("a.**.n", &["a.b.n", "a.b.c.n"], &["a.n", "a..n"]),
            ("*", &["a", "é"], &["a.b"]),
            ("**", &["a", "a.b", "."], &[]),
            ("a*.", &["a", "ab.", "a."], &["ab"]),
            ("a.*.*", &["a.b.", "a.b.c"], &["a.b", "a", "a.b.c.d"]),
            ("a+(b", &["a+(b"], &["aab"]),
            ("*e*", &["ee", "meet"], &["e", "m.e"]),
        ] {
            for field in yes {
                assert!(covers(pattern, field), "{pattern} {field}");
            }
            for field in no {
                assert!(!covers(pattern, field), "{pattern} {field}");
            }
        }
    }

    #[test]
    fn a_long_field_is_unknown() {
        let fields = Fields::new(&["**".to_owned()]);
        assert_eq!(fields.cover(&"a".repeat(FIELD_BYTES_MAX)), Truth::True);
        assert_eq!(
            fields.cover(&"a".repeat(FIELD_BYTES_MAX + 1)),
            Truth::Unknown
        );
    }
}
