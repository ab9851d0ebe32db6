//! One segment that two routes can both be thought to mean. Chooses no route.

use super::super::pattern::Segment;
use super::{ANY_VALUE, Slot};

/// What may be done about letters to make a segment of one route one of another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    /// They may be changed, and are wherever they can be.
    pub(super) change: bool,
    /// The other route does not look at them.
    pub(super) ignored: bool,
}

impl Case {
    /// A text of this slot that is also of the other route's segment.
    pub(super) fn unify(self, slot: &Slot, theirs: &Segment) -> Option<String> {
        match theirs {
            Segment::Literal(literal) if slot.open => {
                let value = self.between(literal, &slot.prefix, &slot.suffix);
                value.map(|_| literal.clone())
            }
            Segment::Literal(literal) => self.same(literal, &slot.prefix),
            Segment::Capture { prefix, suffix, .. } if slot.open => {
                let beginning = self.longer(&slot.prefix, prefix, Side::Beginning)?;
                let end = self.longer(&slot.suffix, suffix, Side::End)?;
                Some(format!("{beginning}{ANY_VALUE}{end}"))
            }
            Segment::Capture { prefix, suffix, .. } => {
                let value = self.between(&slot.prefix, prefix, suffix)?;
                Some(format!("{prefix}{}{suffix}", self.changed(value)))
            }
            Segment::Rest { .. } => Some(self.changed(&slot.text())),
        }
    }

    fn equal(self, one: &str, other: &str) -> bool {
        one == other || ((self.change || self.ignored) && one.eq_ignore_ascii_case(other))
    }

    /// `theirs`, where `ours` can be written so.
    fn same(self, theirs: &str, ours: &str) -> Option<String> {
        let written = if self.change { theirs } else { ours };
        self.equal(theirs, ours).then(|| written.to_owned())
    }

    /// What is between this prefix and this suffix in `text`, where it has both and something between them.
    fn between<'t>(self, text: &'t str, prefix: &str, suffix: &str) -> Option<&'t str> {
        let (beginning, rest) = text.split_at_checked(prefix.len())?;
        let (value, end) = rest.split_at_checked(rest.len().checked_sub(suffix.len())?)?;
        let fits = self.equal(beginning, prefix) && self.equal(end, suffix);
        (fits && !value.is_empty()).then_some(value)
    }

    /// A text that begins (or ends) as both do: theirs as it is, and what ours has more.
    fn longer(self, ours: &str, theirs: &str, side: Side) -> Option<String> {
        let shared = ours.len().min(theirs.len());
        let (our_more, our_part) = side.split(ours, shared)?;
        let (_, their_part) = side.split(theirs, shared)?;
        if !self.equal(our_part, their_part) {
            return None;
        }
        let more = self.changed(our_more);
        Some(match side {
            Side::Beginning => format!("{theirs}{more}"),
            Side::End => format!("{more}{theirs}"),
        })
    }

    fn changed(self, text: &str) -> String {
        let swap = |letter: char| match letter.is_ascii_lowercase() {
            true => letter.to_ascii_uppercase(),
            false => letter.to_ascii_lowercase(),
        };
        match self.change {
            true => text.chars().map(swap).collect(),
            false => text.to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Beginning,
    End,
}

impl Side {
    /// What is beyond the outer `shared` bytes of an affix, and these bytes.
    fn split(self, text: &str, shared: usize) -> Option<(&str, &str)> {
        match self {
            Self::Beginning => text
                .split_at_checked(shared)
                .map(|(part, more)| (more, part)),
            Self::End => text.split_at_checked(text.len().checked_sub(shared)?),
        }
    }
}
