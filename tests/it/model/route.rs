//! Section 1, *Route choice*: every route is tried, the best that matches is taken.

use std::collections::BTreeSet;

use keyward::authz::{CaseMatch, MatchOptions, TrailingSlash};

use super::request::{Path, decoded_literal};

/// What a route matches.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// Empty: any.
    pub hosts: Vec<String>,
    /// As in the configuration.
    pub path: String,
    pub methods: Vec<String>,
    pub options: MatchOptions,
}

/// Names and values that a path binds.
pub type Captures = Vec<(String, String)>;

/// What is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    Route(usize, Captures),
    OtherMethods(BTreeSet<String>),
    Nothing,
}

/// How specific one segment of a pattern is: the greater one wins. More affix beats less, and of equal
/// lengths the longer prefix wins: it stands further left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Rest,
    Capture,
    Affixed { length: usize, prefix: usize },
    Literal,
}

/// The best route for a request.
pub fn choose<'a>(
    routes: impl Iterator<Item = &'a Matcher>,
    host: &str,
    path: &Path,
    method: &str,
) -> Choice {
    let mut best: Option<(bool, Vec<Rank>, usize, Captures)> = None;
    let mut others = BTreeSet::new();
    for (index, route) in routes.enumerate() {
        let exact = route.hosts.iter().any(|h| h == host);
        let Some((ranks, captures)) =
            matches(route, path).filter(|_| exact || route.hosts.is_empty())
        else {
            continue;
        };
        if !route.methods.iter().any(|m| m == method) {
            others.extend(route.methods.iter().cloned());
        } else if best
            .as_ref()
            .is_none_or(|(e, r, ..)| (exact, &ranks) > (*e, r))
        {
            best = Some((exact, ranks, index, captures));
        }
    }
    match best {
        Some((.., index, captures)) => Choice::Route(index, captures),
        None if others.is_empty() => Choice::Nothing,
        None => Choice::OtherMethods(others),
    }
}

fn matches(route: &Matcher, path: &Path) -> Option<(Vec<Rank>, Captures)> {
    let pattern = route.path.strip_prefix('/')?;
    let mut segments: Vec<&str> = pattern.split('/').collect();
    let slash = segments.last().is_some_and(|last| last.is_empty());
    if slash {
        segments.pop();
    }
    let mut ranks = Vec::new();
    let mut captures = Vec::new();
    for (at, segment) in segments.iter().enumerate() {
        let here = path.segments.get(at)?;
        if let Some(name) = segment.strip_prefix("{*") {
            let name = name.strip_suffix('}')?;
            captures.push((name.to_owned(), path.segments[at..].join("/")));
            ranks.push(Rank::Rest);
            return Some((ranks, captures));
        }
        let (rank, capture) = segment_matches(segment, here, route.options.case)?;
        ranks.push(rank);
        captures.extend(capture);
    }
    let slash_fits = slash && segments.is_empty()
        || slash == path.trailing_slash
        || route.options.trailing_slash == TrailingSlash::Ignored;
    (segments.len() == path.segments.len() && slash_fits).then_some((ranks, captures))
}

fn segment_matches(
    pattern: &str,
    here: &str,
    case: CaseMatch,
) -> Option<(Rank, Option<(String, String)>)> {
    let same = |a: &str, b: &str| match case {
        CaseMatch::Sensitive => a == b,
        CaseMatch::Insensitive => a.eq_ignore_ascii_case(b),
    };
    let Some((prefix, (name, suffix))) = pattern
        .split_once('{')
        .and_then(|(prefix, rest)| Some((prefix, rest.split_once('}')?)))
    else {
        return same(&decoded_literal(pattern), here).then_some((Rank::Literal, None));
    };
    let (prefix, suffix) = (decoded_literal(prefix), decoded_literal(suffix));
    let end = here
        .len()
        .checked_sub(suffix.len())
        .filter(|end| *end > prefix.len())?;
    let fits = same(here.get(..prefix.len())?, &prefix) && same(here.get(end..)?, &suffix);
    let rank = match prefix.len() + suffix.len() {
        0 => Rank::Capture,
        length => Rank::Affixed {
            length,
            prefix: prefix.len(),
        },
    };
    let value = here.get(prefix.len()..end)?.to_owned();
    fits.then(|| (rank, Some((name.to_owned(), value))))
}

/// Whether two routes are equal in host, shape and method, as either of them is read: they do not load.
pub fn clash(one: &Matcher, other: &Matcher) -> bool {
    let insensitive = [one, other]
        .iter()
        .any(|it| it.options.case == CaseMatch::Insensitive);
    let ignored = [one, other]
        .iter()
        .any(|it| it.options.trailing_slash == TrailingSlash::Ignored);
    let shape = |matcher: &Matcher| {
        let mut shape = String::new();
        for (at, part) in matcher.path.split(['{', '}']).enumerate() {
            match (at % 2 == 0, part.starts_with('*')) {
                (true, _) => shape.push_str(&decoded_literal(part)),
                (false, rest) => shape.push_str(if rest { "{*}" } else { "{}" }),
            }
        }
        let shape = if insensitive {
            shape.to_ascii_lowercase()
        } else {
            shape
        };
        if ignored {
            shape.trim_end_matches('/').to_owned()
        } else {
            shape
        }
    };
    let share = |some: &[String], others: &[String]| some.iter().any(|it| others.contains(it));
    let same_host =
        one.hosts.is_empty() && other.hosts.is_empty() || share(&one.hosts, &other.hosts);
    same_host && share(&one.methods, &other.methods) && shape(one) == shape(other)
}
