//! The route table: host, path and method to the one best route, with backtracking over the whole path.
//!
//! Knows the shapes of requests and nothing of what a route requires or where it leads.

mod conflict;
mod confusion;
mod pattern;
mod trie;

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use http::Method;
use smallvec::SmallVec;

use super::request::{Path, RequestFacts, slice};

pub use confusion::{Confusion, Difference};
pub use pattern::RoutePattern;

use trie::{Subject, Trie};

/// Position of a route in the configuration; index into everything that is kept per route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u32);

/// Whether the upstream tells paths apart by case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CaseMatch {
    /// It does.
    #[default]
    Sensitive,
    /// It does not, for ASCII letters.
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

impl RouteSpec {
    /// Whether its upstream takes a path of its shape for its own, with or without this trailing slash.
    fn accepts_slash_of(&self, path: &Path<'_>) -> bool {
        match self.options.trailing_slash {
            TrailingSlash::Ignored => true,
            TrailingSlash::Significant => self.pattern.accepts_slash(path.has_trailing_slash()),
        }
    }

    /// Whether its upstream takes a path of its shape for its own, in this case.
    fn accepts_case_of(&self, path: &Path<'_>) -> bool {
        match self.options.case {
            CaseMatch::Insensitive => true,
            CaseMatch::Sensitive => self.pattern.has_literals_of(path),
        }
    }
}

/// The values that a route's path bound: ranges into the decoded path, in the order of the names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captures {
    ranges: SmallVec<[Range<u32>; 8]>,
}

impl Captures {
    /// The decoded value at `index`, out of the path that was matched.
    pub fn get<'p>(&self, index: usize, path: &'p Path<'_>) -> Option<&'p str> {
        slice(path.decoded(), self.ranges.get(index)?)
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

/// All routes, indexed: what a look-up costs depends on the path, not on the number of routes.
#[derive(Debug)]
pub struct RouteTable {
    specs: Vec<RouteSpec>,
    by_host: HashMap<String, Trie>,
    any_host: Trie,
    /// Whether some route is insensitive to case. All shapes are then kept in lower case, and routes that are
    /// sensitive look at the path once more.
    folded: bool,
}

impl RouteTable {
    /// Builds the table.
    ///
    /// # Errors
    /// Every route that equals another in host, shape and method, repeats a name, answers to no method, or names a
    /// host that no request can have.
    pub fn build(specs: Vec<RouteSpec>) -> Result<Self, Vec<InvalidRoute>> {
        let errors = conflict::find_errors(&specs);
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut table = Self {
            folded: specs
                .iter()
                .any(|spec| spec.options.case == CaseMatch::Insensitive),
            by_host: HashMap::new(),
            any_host: Trie::default(),
            specs: Vec::new(),
        };
        for (id, spec) in ids(&specs) {
            if spec.hosts.is_empty() {
                table.any_host.insert(&spec.pattern, id, table.folded);
            }
            for host in &spec.hosts {
                let trie = table.by_host.entry(host.clone()).or_default();
                trie.insert(&spec.pattern, id, table.folded);
            }
        }
        table.specs = specs;
        Ok(table)
    }

    /// The best route for a request.
    pub fn find(&self, facts: &RequestFacts<'_>) -> RouteMatch {
        self.find_parts(facts.host.as_str(), &facts.path, facts.method)
    }

    /// The route as it was given.
    pub fn spec(&self, id: RouteId) -> Option<&RouteSpec> {
        self.specs.get(id.0 as usize)
    }

    /// All routes in order.
    pub fn specs(&self) -> &[RouteSpec] {
        &self.specs
    }

    fn find_parts(&self, host: &str, path: &Path<'_>, method: &Method) -> RouteMatch {
        let best = self.walk(host, path, &mut |id, spec| {
            if spec.methods.contains(method) {
                ControlFlow::Break((id, spec.pattern.bind(path)))
            } else {
                ControlFlow::Continue(())
            }
        });
        match best {
            ControlFlow::Break((id, captures)) => RouteMatch::Found(id, captures),
            ControlFlow::Continue(()) => self.methods_of(host, path),
        }
    }

    /// No route has the method: which have the path?
    fn methods_of(&self, host: &str, path: &Path<'_>) -> RouteMatch {
        let mut allowed: Vec<Method> = Vec::new();
        let _all: ControlFlow<()> = self.walk(host, path, &mut |_, spec| {
            for method in &spec.methods {
                if !allowed.contains(method) {
                    allowed.push(method.clone());
                }
            }
            ControlFlow::Continue(())
        });
        if allowed.is_empty() {
            RouteMatch::NotFound
        } else {
            RouteMatch::MethodNotAllowed(allowed)
        }
    }

    /// Visits the routes that match host and path, the best first, until `visit` has had enough.
    fn walk<B>(
        &self,
        host: &str,
        path: &Path<'_>,
        visit: &mut impl FnMut(RouteId, &RouteSpec) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut folded = SmallVec::<[u8; FOLDED_BYTES_INLINE]>::new();
        let subject = Subject::new(self.fold(path.decoded(), &mut folded), path);
        let mut visit_all = |routes: &[RouteId]| {
            for &id in routes {
                match self.spec(id) {
                    Some(spec) if self.accepts(spec, path) => visit(id, spec)?,
                    _ => {}
                }
            }
            ControlFlow::Continue(())
        };
        // Most tables name no host, and then none is looked up.
        if !self.by_host.is_empty()
            && let Some(trie) = self.by_host.get(host)
        {
            trie.walk(&subject, &mut visit_all)?;
        }
        self.any_host.walk(&subject, &mut visit_all)
    }

    /// Whether a path of a route's shape is one of its own.
    fn accepts(&self, spec: &RouteSpec, path: &Path<'_>) -> bool {
        spec.accepts_slash_of(path) && (!self.folded || spec.accepts_case_of(path))
    }

    /// The text as shapes are kept. Lower-casing ASCII letters moves nothing, so ranges stay what they are.
    fn fold<'t>(
        &self,
        text: &'t str,
        space: &'t mut SmallVec<[u8; FOLDED_BYTES_INLINE]>,
    ) -> &'t [u8] {
        if !self.folded || !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return text.as_bytes();
        }
        space.extend_from_slice(text.as_bytes());
        space.make_ascii_lowercase();
        space
    }
}

/// Longest path that is lower-cased without an allocation, in bytes.
const FOLDED_BYTES_INLINE: usize = 256;

/// Routes with their ids. A list longer than `u32` cannot be: its routes would not fit in memory.
fn ids(specs: &[RouteSpec]) -> impl Iterator<Item = (RouteId, &RouteSpec)> {
    (0..).map(RouteId).zip(specs)
}

#[cfg(test)]
mod tests;
