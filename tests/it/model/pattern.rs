//! Section 6: regular expressions of the common subset, and field patterns. Both are matched by following every
//! possible end of every piece, without a thought for time.

use std::collections::BTreeSet;

/// A parsed regular expression: alternatives of pieces in a row.
type Alternatives = Vec<Vec<Piece>>;

#[derive(Debug, Clone)]
struct Piece {
    atom: Atom,
    min: usize,
    max: usize,
}

#[derive(Debug, Clone)]
enum Atom {
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    Start,
    End,
    Boundary,
    Group(Alternatives),
}

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
const LINE_ENDS: &[(char, char)] = &[('\n', '\n'), ('\r', '\r'), ('\u{2028}', '\u{2029}')];

/// Whether a pattern of the subset, with its `$options`, matches anywhere in `text`. `None`: not of the subset.
pub fn regex(pattern: &str, options: &str, text: &str) -> Option<bool> {
    if !options.chars().all(|flag| "ims".contains(flag)) {
        return None;
    }
    let insensitive = options.contains('i');
    if insensitive && pattern.chars().any(|c| !c.is_ascii() && c.is_alphabetic()) {
        return None;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let mut parser = Parser {
        pattern: &pattern,
        at: 0,
        dot_all: options.contains('s'),
    };
    let alternatives = parser.alternatives()?;
    let text: Vec<char> = text.chars().collect();
    let matcher = Matcher {
        text: &text,
        insensitive,
        multiline: options.contains('m'),
    };
    let starts = (0..=text.len()).collect();
    (parser.at == pattern.len()).then(|| !matcher.ends(&alternatives, &starts).is_empty())
}

struct Parser<'a> {
    pattern: &'a [char],
    at: usize,
    dot_all: bool,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.pattern.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Option<char> {
        self.at += 1;
        self.pattern.get(self.at - 1).copied()
    }

    fn alternatives(&mut self) -> Option<Alternatives> {
        let mut all = vec![Vec::new()];
        while let Some(c) = self.peek().filter(|c| *c != ')') {
            if c == '|' {
                self.at += 1;
                all.push(Vec::new());
            } else {
                let piece = self.piece()?;
                all.last_mut()?.push(piece);
            }
        }
        Some(all)
    }

    fn piece(&mut self) -> Option<Piece> {
        let atom = self.atom()?;
        let repeatable = matches!(atom, Atom::Set { .. } | Atom::Group(_));
        let (min, max) = match self.peek() {
            Some('?') => (0, 1),
            Some('*') => (0, usize::MAX),
            Some('+') => (1, usize::MAX),
            Some('{') => self.count()?,
            _ => {
                return Some(Piece {
                    atom,
                    min: 1,
                    max: 1,
                });
            }
        };
        self.at += 1;
        (repeatable && min <= max).then_some(Piece { atom, min, max })
    }

    /// `{n}`, `{n,}` or `{n,m}`, up to the closing brace.
    fn count(&mut self) -> Option<(usize, usize)> {
        let rest: String = self.pattern[self.at + 1..].iter().collect();
        let (inside, _) = rest.split_once('}')?;
        self.at += 1 + inside.chars().count();
        match inside.split_once(',') {
            None => Some((inside.parse().ok()?, inside.parse().ok()?)),
            Some((min, "")) => Some((min.parse().ok()?, usize::MAX)),
            Some((min, max)) => Some((min.parse().ok()?, max.parse().ok()?)),
        }
    }

    fn atom(&mut self) -> Option<Atom> {
        let set = |ranges: &[(char, char)]| Atom::Set {
            negated: false,
            ranges: ranges.to_vec(),
        };
        match self.next()? {
            '^' => Some(Atom::Start),
            '$' => Some(Atom::End),
            '.' if self.dot_all => Some(Atom::Set {
                negated: true,
                ranges: Vec::new(),
            }),
            '.' => Some(Atom::Set {
                negated: true,
                ranges: LINE_ENDS.to_vec(),
            }),
            '(' => {
                if self.take('?') && !self.take(':') {
                    return None;
                }
                let group = self.alternatives()?;
                self.take(')').then_some(Atom::Group(group))
            }
            '[' => self.class(),
            '\\' if self.take('b') => Some(Atom::Boundary),
            '\\' => Some(set(&self.escape()?)),
            '*' | '+' | '?' | '{' | '}' | ']' | ')' | '|' => None,
            literal => Some(set(&[(literal, literal)])),
        }
    }

    fn escape(&mut self) -> Option<Vec<(char, char)>> {
        match self.next()? {
            'd' => Some(DIGITS.to_vec()),
            'w' => Some(WORD.to_vec()),
            's' => Some(SPACE.to_vec()),
            c if c.is_ascii_punctuation() => Some(vec![(c, c)]),
            _ => None,
        }
    }

    fn class(&mut self) -> Option<Atom> {
        let negated = self.take('^');
        let mut ranges = Vec::new();
        while !self.take(']') {
            let low = self.class_item()?;
            let [(from, _)] = low[..] else {
                ranges.extend(low);
                continue;
            };
            let is_range = self.peek() == Some('-') && self.pattern.get(self.at + 1) != Some(&']');
            if is_range && low[0].0 == low[0].1 {
                self.at += 1;
                let [(to, end)] = self.class_item()?[..] else {
                    return None;
                };
                if from > to || to != end {
                    return None;
                }
                ranges.push((from, to));
            } else {
                ranges.extend(low);
            }
        }
        (!ranges.is_empty()).then_some(Atom::Set { negated, ranges })
    }

    fn class_item(&mut self) -> Option<Vec<(char, char)>> {
        match self.next()? {
            '\\' => self.escape(),
            '[' => None,
            c @ ('&' | '~' | '-') if self.peek() == Some(c) => None,
            c => Some(vec![(c, c)]),
        }
    }
}

struct Matcher<'a> {
    text: &'a [char],
    insensitive: bool,
    multiline: bool,
}

impl Matcher<'_> {
    /// All positions at which a match can end that begins at one of `starts`.
    fn ends(&self, alternatives: &Alternatives, starts: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut all = BTreeSet::new();
        for pieces in alternatives {
            let mut here = starts.clone();
            for piece in pieces {
                here = self.repeat(piece, here);
            }
            all.extend(here);
        }
        all
    }

    fn repeat(&self, piece: &Piece, mut here: BTreeSet<usize>) -> BTreeSet<usize> {
        for _ in 0..piece.min {
            here = self.once(&piece.atom, &here);
        }
        let mut all = here.clone();
        for _ in piece.min..piece.max {
            here = self
                .once(&piece.atom, &here)
                .difference(&all)
                .copied()
                .collect();
            if here.is_empty() {
                break;
            }
            all.extend(&here);
        }
        all
    }

    fn once(&self, atom: &Atom, here: &BTreeSet<usize>) -> BTreeSet<usize> {
        let kept =
            |holds: &dyn Fn(usize) -> bool| here.iter().copied().filter(|at| holds(*at)).collect();
        match atom {
            Atom::Group(group) => self.ends(group, here),
            Atom::Start => {
                kept(&|at| at == 0 || self.multiline && within(LINE_ENDS, self.text[at - 1]))
            }
            Atom::End => kept(&|at| match self.text.get(at) {
                None => true,
                Some(c) => self.multiline && within(LINE_ENDS, *c),
            }),
            Atom::Boundary => kept(&|at| {
                let word = |c: Option<&char>| c.is_some_and(|c| within(WORD, *c));
                word(at.checked_sub(1).and_then(|before| self.text.get(before)))
                    != word(self.text.get(at))
            }),
            Atom::Set { negated, ranges } => {
                let fits = |at: &usize| {
                    self.text
                        .get(*at)
                        .is_some_and(|c| self.among(ranges, *c) != *negated)
                };
                here.iter().filter(|at| fits(at)).map(|at| at + 1).collect()
            }
        }
    }

    fn among(&self, ranges: &[(char, char)], c: char) -> bool {
        let other_case = [c.to_ascii_lowercase(), c.to_ascii_uppercase()];
        within(ranges, c) || self.insensitive && other_case.iter().any(|c| within(ranges, *c))
    }
}

fn within(ranges: &[(char, char)], c: char) -> bool {
    ranges.iter().any(|(low, high)| (*low..=*high).contains(&c))
}

/// Whether a field pattern covers a field. As in CASL a run may be empty, unless the pattern begins with one or
/// the run has a dot on both sides.
pub fn field(pattern: &str, field: &str) -> bool {
    let optional_tail = pattern
        .strip_suffix(".**")
        .or_else(|| pattern.strip_suffix(".*"));
    let whole: Vec<char> = pattern.chars().collect();
    let field: Vec<char> = field.chars().collect();
    let without_tail = optional_tail.is_some_and(|head| {
        let head: Vec<char> = head.chars().collect();
        glob(&whole, &head, 0, &field)
    });
    without_tail || glob(&whole, &whole, 0, &field)
}

/// Matches `part[at..]`, a head of the pattern `whole`, against all of `field`.
fn glob(whole: &[char], part: &[char], at: usize, field: &[char]) -> bool {
    let Some(c) = part.get(at) else {
        return field.is_empty();
    };
    if *c != '*' {
        return field.first() == Some(c) && glob(whole, part, at + 1, &field[1..]);
    }
    let end = part[at..]
        .iter()
        .position(|c| *c != '*')
        .map_or(part.len(), |stars| at + stars);
    let after_dot = at > 0 && part[at - 1] == '.';
    let between_dots = after_dot && whole.get(end) == Some(&'.');
    let bare_tail = end == whole.len() && !after_dot;
    let min = usize::from(!bare_tail && (whole[0] == '*' || between_dots));
    let crosses_dots = end - at > 1;
    let run = field
        .iter()
        .take_while(|c| crosses_dots || **c != '.')
        .count();
    (min..=run).any(|length| glob(whole, part, end, &field[length..]))
}
