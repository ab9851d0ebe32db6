//! Section 6: regular expressions of the common subset, and field patterns. Both are matched by following every
//! possible end of every piece, without a thought for time.

use std::collections::BTreeSet;

/// Positions in a text.
type Ends = BTreeSet<usize>;
/// Characters, from first to last.
type Ranges = Vec<(char, char)>;

const DIGITS: &[(char, char)] = &[('0', '9')];
const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
const LINE_ENDS: &[(char, char)] = &[('\n', '\n'), ('\r', '\r'), ('\u{2028}', '\u{2029}')];
const SPACE: &str = "\t\n\u{b}\u{c}\r \u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\
    \u{2007}\u{2008}\u{2009}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";

/// Whether a pattern of the subset, with its `$options`, matches anywhere in `text`. `None`: not of the subset.
pub fn regex(pattern: &str, options: &str, text: &str) -> Option<bool> {
    let insensitive = options.contains('i');
    let beyond_ascii = pattern.chars().any(|c| !c.is_ascii() && c.is_alphabetic());
    if !options.chars().all(|flag| "ims".contains(flag)) || insensitive && beyond_ascii {
        return None;
    }
    let mut reading = Reading {
        pattern: pattern.chars().collect(),
        at: 0,
        text: text.chars().collect(),
        options,
    };
    let ends = reading.alternatives(&(0..=text.chars().count()).collect())?;
    (reading.at == reading.pattern.len()).then_some(!ends.is_empty())
}

/// A pattern that is matched while it is read: each part is given where matches of it may begin, and says where
/// they may end.
struct Reading<'a> {
    pattern: Vec<char>,
    at: usize,
    text: Vec<char>,
    options: &'a str,
}

impl Reading<'_> {
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

    fn alternatives(&mut self, starts: &Ends) -> Option<Ends> {
        let mut ends = Ends::new();
        loop {
            let mut here = starts.clone();
            while self.peek().is_some_and(|c| c != '|' && c != ')') {
                here = self.piece(here)?;
            }
            ends.extend(here);
            if !self.take('|') {
                return Some(ends);
            }
        }
    }

    /// An atom and how often it may come; it is read anew for each time.
    fn piece(&mut self, starts: Ends) -> Option<Ends> {
        let (atom, first) = (self.at, self.peek());
        let assertion =
            matches!(first, Some('^' | '$')) || self.pattern[atom..].starts_with(&['\\', 'b']);
        let once = self.atom(&starts)?;
        let (least, most) = match self.peek() {
            Some('?') => (0, 1),
            Some('*') => (0, usize::MAX),
            Some('+') => (1, usize::MAX),
            Some('{') => self.count()?,
            _ => return Some(once),
        };
        let end = self.at + 1;
        if assertion || least > most {
            return None;
        }
        let mut here = starts;
        let mut ends = if least == 0 {
            here.clone()
        } else {
            Ends::new()
        };
        for times in 1..=most {
            self.at = atom;
            here = self.atom(&here)?;
            // Beyond the least, only what is new leads anywhere.
            if times > least {
                here = here.difference(&ends).copied().collect();
            }
            if times >= least {
                ends.extend(&here);
            }
            if here.is_empty() {
                break;
            }
        }
        self.at = end;
        Some(ends)
    }

    /// `{n}`, `{n,}` or `{n,m}`, up to the closing brace.
    fn count(&mut self) -> Option<(usize, usize)> {
        let rest: String = self.pattern[self.at + 1..].iter().collect();
        let (inside, _) = rest.split_once('}')?;
        self.at += 1 + inside.chars().count();
        let (least, most) = inside.split_once(',').unwrap_or((inside, inside));
        let most = if most.is_empty() {
            usize::MAX
        } else {
            most.parse().ok()?
        };
        Some((least.parse().ok()?, most))
    }

    fn atom(&mut self, starts: &Ends) -> Option<Ends> {
        let lines = self.options.contains('m');
        match self.next()? {
            '^' => Some(self.kept(starts, |before, _| {
                before.is_none_or(|c| lines && within(LINE_ENDS, c))
            })),
            '$' => Some(self.kept(starts, |_, after| {
                after.is_none_or(|c| lines && within(LINE_ENDS, c))
            })),
            '\\' if self.take('b') => Some(self.kept(starts, |before, after| {
                let word = |c: Option<char>| c.is_some_and(|c| within(WORD, c));
                word(before) != word(after)
            })),
            '.' if self.options.contains('s') => Some(self.one_of(starts, true, &[])),
            '.' => Some(self.one_of(starts, true, LINE_ENDS)),
            '(' => {
                if self.take('?') && !self.take(':') {
                    return None;
                }
                let ends = self.alternatives(starts)?;
                self.take(')').then_some(ends)
            }
            '[' => self.class(starts),
            '\\' => {
                let ranges = self.escape()?;
                Some(self.one_of(starts, false, &ranges))
            }
            '*' | '+' | '?' | '{' | '}' | ']' | ')' | '|' => None,
            literal => Some(self.one_of(starts, false, &[(literal, literal)])),
        }
    }

    fn escape(&mut self) -> Option<Ranges> {
        match self.next()? {
            'd' => Some(DIGITS.to_vec()),
            'w' => Some(WORD.to_vec()),
            's' => Some(SPACE.chars().map(|c| (c, c)).collect()),
            c if c.is_ascii_punctuation() => Some(vec![(c, c)]),
            _ => None,
        }
    }

    fn class(&mut self, starts: &Ends) -> Option<Ends> {
        let negated = self.take('^');
        let mut ranges = Ranges::new();
        while !self.take(']') {
            let mut item = self.class_item()?;
            let is_range = self.peek() == Some('-') && self.pattern.get(self.at + 1) != Some(&']');
            if let ([(first, last)], true) = (&item[..], is_range)
                && first == last
            {
                self.at += 1;
                let [(end, _)] = self.class_item()?[..] else {
                    return None;
                };
                if *first > end {
                    return None;
                }
                item = vec![(*first, end)];
            }
            ranges.extend(item);
        }
        (!ranges.is_empty()).then(|| self.one_of(starts, negated, &ranges))
    }

    fn class_item(&mut self) -> Option<Ranges> {
        match self.next()? {
            '\\' => self.escape(),
            '[' => None,
            c @ ('&' | '~' | '-') if self.peek() == Some(c) => None,
            c => Some(vec![(c, c)]),
        }
    }

    /// Where what stands before and after is as it must be.
    fn kept(&self, starts: &Ends, holds: impl Fn(Option<char>, Option<char>) -> bool) -> Ends {
        let char_at = |at: usize| self.text.get(at).copied();
        let kept = |at: &usize| holds(at.checked_sub(1).and_then(char_at), char_at(*at));
        starts.iter().copied().filter(kept).collect()
    }

    /// Behind one character that is, or is not, among these.
    fn one_of(&self, starts: &Ends, negated: bool, ranges: &[(char, char)]) -> Ends {
        let is_among = |c: char| {
            let other_cases = [c.to_ascii_lowercase(), c.to_ascii_uppercase()];
            let folded =
                self.options.contains('i') && other_cases.iter().any(|c| within(ranges, *c));
            folded || within(ranges, c)
        };
        let fits = |at: &usize| self.text.get(*at).is_some_and(|c| is_among(*c) != negated);
        starts
            .iter()
            .filter(|at| fits(at))
            .map(|at| at + 1)
            .collect()
    }
}

fn within(ranges: &[(char, char)], c: char) -> bool {
    ranges
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&c))
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
