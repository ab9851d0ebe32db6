//! The route table: host, path and method to the one best route, with backtracking over the whole path.

use std::ops::Range;

use http::Method;
use smallvec::SmallVec;

use super::request::{Path, RequestFacts};

/// Position of a route in the configuration; index into everything that is kept per route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u32);

/// Whether the upstream tells paths apart by case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CaseMatch {
    /// It does.
    #[default]
    Sensitive,
    /// It does not.
    Insensitive,
}

/// Whether the upstream tells paths apart by a trailing slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TrailingSlash {
    /// It does.
    #[default]
    Significant,
    /// It does not.
    Ignored,
}

/// How the upstream of a route reads paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MatchOptions {
    /// Letter case.
    pub case: CaseMatch,
    /// Trailing slash.
    pub trailing_slash: TrailingSlash,
}

/// Why a route does not load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidRoute {
    /// The route at fault, where it is one.
    pub route: Option<RouteId>,
    /// What is wrong and what to do, for people.
    pub message: String,
}

/// A parsed path pattern: literals, `{name}`, `{name}:verb`, `{*rest}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePattern {
    segments: Vec<Segment>,
    trailing_slash: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Capture {
        prefix: String,
        name: String,
        suffix: String,
    },
    Rest {
        name: String,
    },
}

impl RoutePattern {
    /// Parses a pattern. Literals are written decoded or percent-encoded; both mean the decoded text.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let _ = text;
        unimplemented!()
    }

    /// The names that it binds, in order.
    pub fn captures(&self) -> Vec<&str> {
        self.segments
            .iter()
            .filter_map(|segment| match segment {
                Segment::Literal(_) => None,
                Segment::Capture { name, .. } | Segment::Rest { name } => Some(name.as_str()),
            })
            .collect()
    }
}

/// One route as the table takes it. Its [`RouteId`] is its position in the list.
#[derive(Debug, Clone)]
pub struct RouteSpec {
    /// Unique.
    pub name: String,
    /// Lower-cased exact hosts without port; empty: any host.
    pub hosts: Vec<String>,
    /// The path.
    pub pattern: RoutePattern,
    /// Methods that it answers to.
    pub methods: Vec<Method>,
    /// How its upstream reads paths.
    pub options: MatchOptions,
}

/// The values that a route's path bound: ranges into the decoded path, in the order of the names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captures {
    pub(super) ranges: SmallVec<[Range<u32>; 8]>,
}

impl Captures {
    /// The decoded value at `index`, out of the path that was matched.
    pub fn get<'p>(&self, index: usize, path: &'p Path<'_>) -> Option<&'p str> {
        let _ = (index, path);
        unimplemented!()
    }
}

/// What the table finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteMatch {
    /// The best route for host, path and method.
    Found(RouteId, Captures),
    /// Host and path match routes of these other methods only.
    MethodNotAllowed(Vec<Method>),
    /// Nothing matches host and path.
    NotFound,
}

/// All routes, indexed.
#[derive(Debug)]
pub struct RouteTable {
    specs: Vec<RouteSpec>,
}

impl RouteTable {
    /// Builds the table.
    ///
    /// # Errors
    /// Every route that equals another in host, shape and method, or repeats a name.
    pub fn build(specs: Vec<RouteSpec>) -> Result<Self, Vec<InvalidRoute>> {
        let _ = specs;
        unimplemented!()
    }

    /// The best route for a request.
    pub fn find(&self, facts: &RequestFacts<'_>) -> RouteMatch {
        let _ = facts;
        unimplemented!()
    }

    /// The route as it was given.
    pub fn spec(&self, id: RouteId) -> Option<&RouteSpec> {
        self.specs.get(id.0 as usize)
    }

    /// All routes in order.
    pub fn specs(&self) -> &[RouteSpec] {
        &self.specs
    }
}
