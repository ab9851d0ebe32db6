//! Requests that some upstream may take for a route's own, while this table gives them to another route.
//!
//! For people who check a configuration: each finding has an example. Whether it matters, that is whether the two
//! routes require different things, is not known here.

mod unify;

use std::collections::BTreeSet;

use http::Method;

use super::super::request::Path;
use super::pattern::{RoutePattern, Segment, encode};
use super::trie::{Loose, Trie};
use super::{CaseMatch, RouteId, RouteMatch, RouteSpec, RouteTable, TrailingSlash, ids};

use unify::Case;

/// How a request differs from those of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Difference {
    /// In the case of letters.
    Case,
    /// In a trailing slash.
    TrailingSlash,
    /// In a `/` that is encoded. Only of interest where the other route takes `%2F`.
    EncodedSlash,
    /// In a matrix parameter. Only of interest where the other route takes `;`.
    Matrix,
}

/// A request that differs from those of `route` only a little and goes to `other`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Confusion {
    /// The route that an upstream may take the request for.
    pub route: RouteId,
    /// The route that it gets here.
    pub other: RouteId,
    /// In what it differs.
    pub difference: Difference,
    /// Method and path of such a request.
    pub example: String,
}

impl RouteTable {
    /// Every pair of routes of which one gets requests that differ from the other's literals only in case, trailing
    /// slash or encoding; one example each. For checking a configuration, not for the request path.
    pub fn confusions(&self) -> Vec<Confusion> {
        let mut index = Trie::default();
        for (id, spec) in ids(self.specs()) {
            index.insert(&spec.pattern, id, true);
        }
        let mut found = Vec::new();
        for (id, spec) in ids(self.specs()) {
            let mut seen = BTreeSet::new();
            for variant in variants(spec) {
                for other in variant.candidates(&index) {
                    if other == id || seen.contains(&(variant.difference, other)) {
                        continue;
                    }
                    if let Some(example) = self.example(spec, id, &variant, other) {
                        seen.insert((variant.difference, other));
                        found.push(Confusion {
                            route: id,
                            other,
                            difference: variant.difference,
                            example,
                        });
                    }
                }
            }
        }
        found.sort();
        found
    }

    /// A request of this variant that goes to `other` and, written properly, would go to `id`.
    fn example(
        &self,
        spec: &RouteSpec,
        id: RouteId,
        variant: &Variant,
        other: RouteId,
    ) -> Option<String> {
        let other_spec = self.spec(other)?;
        let segments = variant.segments_for(other_spec)?;
        let proper = encode(
            variant.proper(&segments).into_iter(),
            spec.pattern.trailing_slash,
        );
        let text = encode(segments.into_iter(), variant.trailing_slash);
        let path = Path::parse(text.as_bytes()).ok()?;
        let proper = Path::parse(proper.as_bytes()).ok()?;
        let goes_to = |path: &Path<'_>, host: &str, method: &Method, wanted| matches!(self.find_parts(host, path, method), RouteMatch::Found(id, _) if id == wanted);
        // A host that is no route's own stands for any.
        let any = [String::new()];
        let hosts = [&spec.hosts, &other_spec.hosts]
            .into_iter()
            .find(|hosts| !hosts.is_empty());
        let hosts = hosts.map_or(any.as_slice(), Vec::as_slice);
        spec.methods
            .iter()
            .find(|method| {
                hosts.iter().any(|host| {
                    goes_to(&path, host, method, other) && goes_to(&proper, host, method, id)
                })
            })
            .map(|method| format!("{method} {}", path.canonical()))
    }
}

/// Requests that differ from a route's in one way: segment by segment what is known of them.
#[derive(Debug)]
struct Variant {
    difference: Difference,
    slots: Vec<Slot>,
    trailing_slash: bool,
}

/// One segment of such requests.
#[derive(Debug, Clone)]
struct Slot {
    /// What it begins with; the whole of it unless `open`.
    prefix: String,
    /// Whether any text stands between prefix and suffix.
    open: bool,
    suffix: String,
    /// The segments that it stands for where they are not this one.
    proper: Option<Vec<String>>,
}

/// What stands for a value that may be any.
const ANY_VALUE: &str = "_";

impl Slot {
    fn of(segment: &Segment) -> Self {
        let (prefix, open, suffix) = match segment {
            Segment::Literal(text) => (text.clone(), false, String::new()),
            Segment::Capture { prefix, suffix, .. } => (prefix.clone(), true, suffix.clone()),
            Segment::Rest { .. } => (String::new(), true, String::new()),
        };
        Self {
            prefix,
            open,
            suffix,
            proper: None,
        }
    }

    /// An instance of it.
    fn text(&self) -> String {
        let value = if self.open { ANY_VALUE } else { "" };
        format!("{}{value}{}", self.prefix, self.suffix)
    }

    fn with_matrix(&self) -> Self {
        let mut slot = self.clone();
        let end = if slot.open {
            &mut slot.suffix
        } else {
            &mut slot.prefix
        };
        end.push_str(";x");
        slot.proper = Some(vec![self.text()]);
        slot
    }

    /// These segments as one, with encoded slashes between them.
    fn joined(slots: &[Self]) -> Self {
        let texts: Vec<String> = slots.iter().map(Self::text).collect();
        Self {
            prefix: texts.join("/"),
            open: false,
            suffix: String::new(),
            proper: Some(texts),
        }
    }

    fn is_fixed(&self) -> bool {
        !self.open || !self.prefix.is_empty() || !self.suffix.is_empty()
    }
}

fn variants(spec: &RouteSpec) -> Vec<Variant> {
    let slots: Vec<Slot> = spec.pattern.segments.iter().map(Slot::of).collect();
    let mut variants = Vec::new();
    let mut add = |difference, slots: Vec<Slot>, trailing_slash| {
        variants.push(Variant {
            difference,
            slots,
            trailing_slash,
        });
    };
    let trailing_slash = spec.pattern.trailing_slash;
    if !slots.iter().any(Slot::is_fixed) {
        return variants;
    }
    if spec.options.case == CaseMatch::Sensitive {
        add(Difference::Case, slots.clone(), trailing_slash);
    }
    let ignored = spec.options.trailing_slash == TrailingSlash::Ignored;
    if !ignored && !spec.pattern.ends_in_rest() {
        add(Difference::TrailingSlash, slots.clone(), !trailing_slash);
    }
    for (at, pair) in slots.windows(2).enumerate() {
        let mut joined: Vec<Slot> = slots.iter().take(at).cloned().collect();
        joined.push(Slot::joined(pair));
        joined.extend(slots.iter().skip(at + pair.len()).cloned());
        add(Difference::EncodedSlash, joined, trailing_slash);
    }
    for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.is_fixed()) {
        let mut changed: Vec<Slot> = slots.iter().take(at).cloned().collect();
        changed.push(slot.with_matrix());
        changed.extend(slots.iter().skip(at + 1).cloned());
        add(Difference::Matrix, changed, trailing_slash);
    }
    variants
}

impl Variant {
    /// Routes that may get such a request: those whose shapes allow it.
    fn candidates(&self, index: &Trie) -> BTreeSet<RouteId> {
        let texts: Vec<Option<String>> = self
            .slots
            .iter()
            .map(|slot| (!slot.open).then(|| slot.prefix.to_ascii_lowercase()))
            .collect();
        let loose: Vec<Loose<'_>> = texts
            .iter()
            .map(|text| {
                text.as_ref()
                    .map_or(Loose::Any, |text| Loose::Text(text.as_bytes()))
            })
            .collect();
        let mut found = BTreeSet::new();
        index.collect(&loose, &mut found);
        found
    }

    /// Segments of such a request that `other` matches, as different from the route's own as it lets them be.
    fn segments_for(&self, other: &RouteSpec) -> Option<Vec<String>> {
        let pattern: &RoutePattern = &other.pattern;
        let length_fits = match pattern.ends_in_rest() {
            true => self.slots.len() >= pattern.segments.len(),
            false => self.slots.len() == pattern.segments.len(),
        };
        if !length_fits {
            return None;
        }
        let case = Case {
            change: self.difference == Difference::Case,
            ignored: other.options.case == CaseMatch::Insensitive,
        };
        // A rest goes on to the end.
        let last = pattern.segments.last();
        let theirs = pattern.segments.iter().chain(last.into_iter().cycle());
        let segments: Vec<String> = self
            .slots
            .iter()
            .zip(theirs)
            .map(|(slot, theirs)| case.unify(slot, theirs))
            .collect::<Option<_>>()?;
        let unchanged = case.change && self.proper(&segments) == segments;
        (!unchanged).then_some(segments)
    }

    /// The same request as the route writes it.
    fn proper(&self, segments: &[String]) -> Vec<String> {
        let proper = |(slot, segment): (&Slot, &String)| match &slot.proper {
            Some(proper) => proper.clone(),
            None if slot.open => {
                let end = segment.len().saturating_sub(slot.suffix.len());
                let value = segment.get(slot.prefix.len()..end).unwrap_or_default();
                vec![format!("{}{value}{}", slot.prefix, slot.suffix)]
            }
            None => vec![slot.prefix.clone()],
        };
        self.slots.iter().zip(segments).flat_map(proper).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::table;
    use super::*;

    /// `difference: route → other (example)`.
    fn confusions(routes: &[&str]) -> Vec<String> {
        let table = table(routes);
        let name = |id| table.spec(id).unwrap().name.clone();
        let line = |it: Confusion| {
            let (route, other) = (name(it.route), name(it.other));
            format!("{:?}: {route} → {other} ({})", it.difference, it.example)
        };
        table.confusions().into_iter().map(line).collect()
    }

    #[test]
    fn a_literal_beside_a_capture_is_named_with_every_difference() {
        assert_eq!(
            confusions(&["GET /admin", "GET /{page}", "GET /{*rest}"]),
            [
                "Case: GET /admin → GET /{page} (GET /ADMIN)",
                "Matrix: GET /admin → GET /{page} (GET /admin%3Bx)",
                "TrailingSlash: GET /admin → GET /{*rest} (GET /admin/)",
            ]
        );
    }

    #[test]
    fn what_an_upstream_ignores_and_the_route_too_is_no_confusion() {
        assert_eq!(
            confusions(&["GET /admin is", "GET /{*rest}"]),
            ["Matrix: GET /admin is → GET /{*rest} (GET /admin%3Bx)"]
        );
        assert_eq!(
            confusions(&["GET /admin", "GET /users/{id}"]),
            Vec::<String>::new()
        );
        assert_eq!(
            confusions(&["GET /admin", "POST /{page}"]),
            Vec::<String>::new()
        );
        assert_eq!(
            confusions(&["GET h/admin", "GET i/{page}"]),
            Vec::<String>::new()
        );
        assert_eq!(
            confusions(&["GET /{a}", "GET /{*rest}"]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn verbs_and_encoded_slashes_are_seen() {
        let found = confusions(&["POST /t/{id}:Stop", "POST /t/{id}", "POST /{all}"]);
        for expected in [
            "Case: POST /t/{id}:Stop → POST /t/{id} (POST /t/_%3AsTOP)",
            "Matrix: POST /t/{id}:Stop → POST /t/{id} (POST /t/_%3AStop%3Bx)",
            "EncodedSlash: POST /t/{id}:Stop → POST /{all} (POST /t%2F_%3AStop)",
            "EncodedSlash: POST /t/{id} → POST /{all} (POST /t%2F_)",
        ] {
            assert!(
                found.iter().any(|line| line == expected),
                "{expected}: {found:#?}"
            );
        }
        assert_eq!(found.len(), 4, "{found:#?}");
    }

    #[test]
    fn routes_that_differ_only_so_are_named_both_ways() {
        assert_eq!(
            confusions(&["GET /a", "GET /A", "GET /a/"]),
            [
                "Case: GET /a → GET /A (GET /A)",
                "TrailingSlash: GET /a → GET /a/ (GET /a/)",
                "Case: GET /A → GET /a (GET /a)",
                "TrailingSlash: GET /a/ → GET /a (GET /a)",
            ]
        );
    }

    #[test]
    fn a_capture_is_tried_with_the_other_routes_literals() {
        // `/special/x/ADMIN` is the second's, but `/special/x/admin` is too: no confusion of the first.
        assert_eq!(
            confusions(&["GET /{a}/x/admin", "GET /special/{b}/{c}"]),
            [
                "Case: GET /special/{b}/{c} → GET /{a}/x/admin (GET /SPECIAL/x/admin)",
                "Matrix: GET /special/{b}/{c} → GET /{a}/x/admin (GET /special%3Bx/x/admin)",
            ]
        );
        assert_eq!(
            confusions(&["GET /x/{a}/admin", "GET /{b}/special/{c}"]),
            [
                "Case: GET /x/{a}/admin → GET /{b}/special/{c} (GET /X/special/ADMIN)",
                "Matrix: GET /x/{a}/admin → GET /{b}/special/{c} (GET /x%3Bx/special/admin)",
            ]
        );
    }
}
