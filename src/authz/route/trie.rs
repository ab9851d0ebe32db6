//! The index of patterns: a tree of segments, walked in the order of precedence. Knows routes by number only.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::ControlFlow;

use super::super::request::Path;
use super::RouteId;
use super::pattern::{RoutePattern, Segment};

/// Patterns that share their beginnings. The root is the node before the first segment.
///
/// A walk goes to the better-shaped child first and comes back for the others. It meets each node at most once, and
/// of the literals of a node only the one that the path has.
#[derive(Debug, Default)]
pub(super) struct Trie {
    literals: Children,
    /// INVARIANT: the longest affixes first, then the longest prefix.
    affixed: Vec<Affixed>,
    capture: Option<Box<Trie>>,
    /// Routes whose rest begins here.
    rest: Vec<RouteId>,
    /// Routes that end here.
    ends: Vec<RouteId>,
}

/// By the text of a segment, or the end of one.
type Children = HashMap<Box<[u8]>, Trie, BuildHasherDefault<SegmentHasher>>;

/// Hashes short texts, eight bytes at a time. What is in the tables is configuration, so nobody can fill them with
/// collisions; a request only ever asks.
#[derive(Debug, Default)]
struct SegmentHasher(u64);

impl Hasher for SegmentHasher {
    fn write(&mut self, text: &[u8]) {
        let (words, rest) = text.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let rest = rest
            .iter()
            .fold(0, |word, &byte| word << 8 | u64::from(byte));
        self.mix(rest);
    }

    fn write_usize(&mut self, length: usize) {
        self.mix(length as u64);
    }

    fn finish(&self) -> u64 {
        // The table looks at the highest and the lowest bits; the multiplications fill only the high ones well.
        self.0 ^ self.0 >> 32
    }
}

impl SegmentHasher {
    fn mix(&mut self, word: u64) {
        // An odd constant without pattern: 2^64 divided by the golden ratio.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = (self.0.rotate_left(29) ^ word).wrapping_mul(SPREAD);
    }
}

/// Captures with the same prefix and as long a suffix, by that suffix.
#[derive(Debug)]
struct Affixed {
    prefix: Box<[u8]>,
    suffix_bytes: usize,
    by_suffix: Children,
}

/// The path that is looked for: its decoded text, as shapes are kept, and where its segments are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    text: &'a [u8],
    path: &'a Path<'a>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(text: &'a [u8], path: &'a Path<'a>) -> Self {
        Self { text, path }
    }

    fn segment(&self, index: usize) -> Option<&'a [u8]> {
        let range = self.path.segment_range(index)?;
        self.text.get(range.start as usize..range.end as usize)
    }
}

impl Trie {
    /// Adds a route; `folded`: in lower case.
    pub(super) fn insert(&mut self, pattern: &RoutePattern, route: RouteId, folded: bool) {
        let bytes = |text: &str| -> Box<[u8]> {
            match folded {
                true => text.to_ascii_lowercase().into_bytes().into(),
                false => text.as_bytes().into(),
            }
        };
        let mut node = self;
        for segment in &pattern.segments {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(bytes(text)).or_default(),
                Segment::Capture { prefix, suffix, .. }
                    if prefix.is_empty() && suffix.is_empty() =>
                {
                    node.capture.get_or_insert_default()
                }
                Segment::Capture { prefix, suffix, .. } => node
                    .affixed_group(bytes(prefix), suffix.len())
                    .by_suffix
                    .entry(bytes(suffix))
                    .or_default(),
                Segment::Rest { .. } => {
                    node.rest.push(route);
                    return;
                }
            };
        }
        node.ends.push(route);
    }

    fn affixed_group(&mut self, prefix: Box<[u8]>, suffix_bytes: usize) -> &mut Affixed {
        let rank = |prefix: &[u8], suffix_bytes| {
            std::cmp::Reverse((prefix.len() + suffix_bytes, prefix.len()))
        };
        let wanted = (rank(&prefix, suffix_bytes), &*prefix);
        let place = self
            .affixed
            .binary_search_by(|it| (rank(&it.prefix, it.suffix_bytes), &*it.prefix).cmp(&wanted));
        let index = match place {
            Ok(index) => index,
            Err(index) => {
                let group = Affixed {
                    prefix,
                    suffix_bytes,
                    by_suffix: Children::default(),
                };
                self.affixed.insert(index, group);
                index
            }
        };
        #[expect(
            clippy::indexing_slicing,
            reason = "found or inserted at this very index"
        )]
        &mut self.affixed[index]
    }

    /// Visits the routes of the path's shape, those of the best shape first.
    pub(super) fn walk<B>(
        &self,
        subject: &Subject<'_>,
        visit: &mut impl FnMut(&[RouteId]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.walk_from(0, subject, visit)
    }

    /// INVARIANT: no deeper than the longest pattern, [`RoutePattern::SEGMENTS_MAX`].
    fn walk_from<B>(
        &self,
        depth: usize,
        subject: &Subject<'_>,
        visit: &mut impl FnMut(&[RouteId]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some(segment) = subject.segment(depth) else {
            return visit(&self.ends);
        };
        if let Some(child) = self.literals.get(segment) {
            child.walk_from(depth + 1, subject, visit)?;
        }
        for group in &self.affixed {
            if let Some(child) = group.child(segment) {
                child.walk_from(depth + 1, subject, visit)?;
            }
        }
        if let Some(child) = &self.capture {
            child.walk_from(depth + 1, subject, visit)?;
        }
        visit(&self.rest)
    }
}

/// A segment of which only some is known.
#[derive(Debug, Clone, Copy)]
pub(super) enum Loose<'a> {
    /// In lower case.
    Text(&'a [u8]),
    Any,
}

impl Trie {
    /// Every route whose shape may have these segments; of affixes nothing is asked.
    pub(super) fn collect(&self, segments: &[Loose<'_>], found: &mut BTreeSet<RouteId>) {
        let Some((segment, rest)) = segments.split_first() else {
            found.extend(&self.ends);
            return;
        };
        match segment {
            Loose::Text(text) => {
                if let Some(child) = self.literals.get(*text) {
                    child.collect(rest, found);
                }
            }
            Loose::Any => {
                for child in self.literals.values() {
                    child.collect(rest, found);
                }
            }
        }
        let affixed = self
            .affixed
            .iter()
            .flat_map(|group| group.by_suffix.values());
        for child in affixed.chain(self.capture.as_deref()) {
            child.collect(rest, found);
        }
        found.extend(&self.rest);
    }
}

impl Affixed {
    /// The child for a segment that has this prefix, a suffix, and something between them.
    fn child(&self, segment: &[u8]) -> Option<&Trie> {
        let rest = segment.strip_prefix(&*self.prefix)?;
        let bound = rest.len().checked_sub(self.suffix_bytes)?;
        let (value, suffix) = rest.split_at_checked(bound)?;
        if value.is_empty() {
            return None;
        }
        self.by_suffix.get(suffix)
    }
}
