//! Templates in requirements: `{capture}`, `{query:name}`, `{header:name}`, `{host}`, percent-decoded and literal.
//!
//! Filling one never allocates for values of ordinary length: it is part of every decision.

use std::borrow::Cow;

use http::HeaderName;
use smallvec::SmallVec;

use super::request::RequestFacts;
use super::route::Captures;
use super::strip::is_same_to_some;

/// Filled text up to this many bytes is kept on the stack.
const INLINE_BYTES: usize = 128;

/// Why a template does not load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTemplate(pub String);

/// Literal text with places for values of the request, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    /// Index into the route's captures.
    Capture(usize),
    Query(Box<str>),
    Header(HeaderName),
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

/// A template's text for one request.
#[derive(Debug, Clone)]
pub enum Filled<'a> {
    /// One value or one literal, as it is.
    Whole(Cow<'a, str>),
    /// Put together from parts; UTF-8, since every part is.
    Joined(SmallVec<[u8; INLINE_BYTES]>),
}

impl Filled<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Whole(text) => text,
            Self::Joined(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        }
    }
}

impl Template {
    /// Compiles `text`; `captures` are the names that the route's path binds, in order.
    ///
    /// # Errors
    /// An unknown capture, an unclosed, unopened or empty brace.
    pub fn parse(text: &str, captures: &[&str]) -> Result<Self, InvalidTemplate> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, tail)) = rest.split_once('{') {
            push_literal(&mut parts, literal, text)?;
            let (name, after) = tail
                .split_once('}')
                .ok_or_else(|| InvalidTemplate(format!("`{text}` has a `{{` without its `}}`")))?;
            parts.push(Part::parse(name, captures)?);
            rest = after;
        }
        push_literal(&mut parts, rest, text)?;
        Ok(Self {
            text: text.into(),
            parts,
        })
    }

    /// Text that is taken as it is, braces and all.
    pub fn literal(text: &str) -> Self {
        Self {
            text: text.into(),
            parts: vec![Part::Literal(text.into())],
        }
    }

    /// The template as written.
    pub fn as_written(&self) -> &str {
        &self.text
    }

    /// The text, where the template is literal.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The filled text; `None` where a value is absent, or where `accept` refuses one. Literal text is not asked about.
    #[inline]
    pub fn fill<'a>(
        &'a self,
        scope: TemplateScope<'a, '_>,
        accept: fn(&str) -> bool,
    ) -> Option<Filled<'a>> {
        match self.parts.as_slice() {
            [part] => part.value(scope, accept).map(Filled::Whole),
            parts => join(parts, scope, accept).map(Filled::Joined),
        }
    }

    /// The text with `value` in each place, for checking the form of what a template can become.
    pub fn with_every_value(&self, value: &str) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => text.to_string(),
            Part::Capture(_) | Part::Query(_) | Part::Header(_) | Part::Host => value.to_owned(),
        };
        self.parts.iter().map(part).collect()
    }

    /// Whether it uses a query name or a header, of which a request may hold more than one.
    pub(super) fn may_be_ambiguous(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Query(_) | Part::Header(_)))
    }

    /// Whether a query name or header that it uses is ambiguous in this request: there more than once, or not UTF-8.
    pub fn is_ambiguous(&self, facts: &RequestFacts<'_>) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Query(name) => facts.query.value(name).is_err(),
            Part::Header(name) => header_value(facts, name).is_err(),
            Part::Literal(_) | Part::Capture(_) | Part::Host => false,
        })
    }
}

impl Part {
    fn parse(name: &str, captures: &[&str]) -> Result<Self, InvalidTemplate> {
        if name == "host" {
            return Ok(Self::Host);
        }
        if let Some(query) = name
            .strip_prefix("query:")
            .filter(|query| !query.is_empty())
        {
            return Ok(Self::Query(query.into()));
        }
        if let Some(header) = name.strip_prefix("header:") {
            return HeaderName::from_bytes(header.as_bytes())
                .map(Self::Header)
                .map_err(|_| InvalidTemplate(format!("`{header}` is no header name")));
        }
        captures.iter().position(|capture| *capture == name).map(Self::Capture).ok_or_else(|| {
            InvalidTemplate(format!(
                "`{{{name}}}` is neither bound by the path nor `{{host}}`, `{{query:name}}` or `{{header:name}}`"
            ))
        })
    }

    fn value<'a>(
        &'a self,
        scope: TemplateScope<'a, '_>,
        accept: fn(&str) -> bool,
    ) -> Option<Cow<'a, str>> {
        let value = match self {
            Self::Literal(text) => return Some(Cow::Borrowed(text)),
            Self::Capture(index) => Cow::Borrowed(scope.captures.get(*index, &scope.facts?.path)?),
            Self::Query(name) => scope.facts?.query.value(name).ok()??,
            Self::Header(name) => Cow::Borrowed(header_value(scope.facts?, name).ok()??),
            Self::Host => Cow::Borrowed(scope.facts?.host.as_str()),
        };
        accept(&value).then_some(value)
    }
}

fn join(
    parts: &[Part],
    scope: TemplateScope<'_, '_>,
    accept: fn(&str) -> bool,
) -> Option<SmallVec<[u8; INLINE_BYTES]>> {
    let mut joined = SmallVec::new();
    for part in parts {
        joined.extend_from_slice(part.value(scope, accept)?.as_bytes());
    }
    Some(joined)
}

fn push_literal(parts: &mut Vec<Part>, literal: &str, text: &str) -> Result<(), InvalidTemplate> {
    if literal.contains('}') {
        return Err(InvalidTemplate(format!(
            "`{text}` has a `}}` without its `{{`"
        )));
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal.into()));
    }
    Ok(())
}

/// The one value of a header that a route uses; `Err` when there are several, also under names that an upstream may read
/// as this one, or it is not UTF-8.
fn header_value<'a>(facts: &'a RequestFacts<'_>, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let misspelt =
        |other: &HeaderName| other != name && is_same_to_some(other.as_str(), name.as_str());
    if facts.headers.keys().any(misspelt) {
        return Err(());
    }
    let mut values = facts.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => std::str::from_utf8(value.as_bytes())
            .map(Some)
            .map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill_literal(template: &Template) -> Option<String> {
        let captures = Captures::default();
        let scope = TemplateScope {
            facts: None,
            captures: &captures,
        };
        template
            .fill(scope, |_| true)
            .map(|filled| filled.as_str().to_owned())
    }

    #[test]
    fn literals_fill_without_a_request_and_values_do_not() {
        assert_eq!(
            fill_literal(&Template::literal("a:{b}")).as_deref(),
            Some("a:{b}")
        );
        let host = Template::parse("x:{host}", &[]).unwrap();
        assert_eq!(fill_literal(&host), None);
        assert_eq!(host.as_literal(), None);
    }

    #[test]
    fn malformed_templates_do_not_load() {
        for text in [
            "{",
            "}",
            "{}",
            "{nope}",
            "{query:}",
            "{header:a b}",
            "a}b",
            "{org",
            "{{org}}",
        ] {
            assert!(Template::parse(text, &["org"]).is_err(), "{text}");
        }
        assert!(Template::parse("agents:{org}:{header:x-a}:{query:p}", &["org"]).is_ok());
    }
}
