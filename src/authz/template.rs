//! Templates in requirements: `{capture}`, `{query:name}`, `{header:name}`, `{host}`, percent-decoded and literal.

use std::borrow::Cow;

use super::request::{InvalidRequest, RequestFacts};
use super::route::Captures;

/// Why a template does not load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTemplate(pub String);

/// Literal text with places for values of the request, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    /// Index into the route's captures.
    Capture(usize),
    Query(Box<str>),
    Header(http::HeaderName),
    Host,
}

/// What templates are filled from: one request and the captures of its route.
#[derive(Debug, Clone, Copy)]
pub struct TemplateScope<'a, 'r> {
    /// The request. `None` in `keyward decide`, where every template is literal.
    pub facts: Option<&'a RequestFacts<'r>>,
    /// The captures of the chosen route.
    pub captures: &'a Captures,
}

impl Template {
    /// Compiles `text`; `captures` are the names that the route's path binds, in order.
    ///
    /// # Errors
    /// An unknown capture, an unclosed or empty brace.
    pub fn parse(text: &str, captures: &[&str]) -> Result<Self, InvalidTemplate> {
        let _ = (text, captures);
        unimplemented!()
    }

    /// Text that is taken as it is, braces and all.
    pub fn literal(text: &str) -> Self {
        Self {
            parts: vec![Part::Literal(text.into())],
        }
    }

    /// The text, where the template is literal.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The filled text: borrowed where the template is one value or one literal. `None` where a value is absent.
    ///
    /// # Errors
    /// A query name or header that it uses is ambiguous (`ambiguous_request`).
    pub fn fill<'a>(
        &'a self,
        scope: TemplateScope<'a, '_>,
    ) -> Result<Option<Cow<'a, str>>, InvalidRequest> {
        let _ = scope;
        unimplemented!()
    }
}
