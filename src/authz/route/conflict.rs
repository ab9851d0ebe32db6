//! What a list of routes must not be: two of one name, two that answer to the same requests, one that answers to none.

use std::collections::{BTreeSet, HashMap};

use super::super::request::Host;
use super::pattern::Segment;
use super::{CaseMatch, InvalidRoute, RouteId, RouteSpec, TrailingSlash, ids};

/// Every fault of a list of routes, in its order.
pub(super) fn find_errors(specs: &[RouteSpec]) -> Vec<InvalidRoute> {
    let mut errors = Vec::new();
    find_repeated_names(specs, &mut errors);
    for (id, spec) in ids(specs) {
        check_alone(id, spec, &mut errors);
    }
    find_conflicts(specs, &mut errors);
    errors.sort_by_key(|error| error.route);
    errors
}

fn find_repeated_names(specs: &[RouteSpec], errors: &mut Vec<InvalidRoute>) {
    let mut names = HashMap::new();
    for (id, spec) in ids(specs) {
        if names.insert(spec.name.as_str(), id).is_some() {
            errors.push(InvalidRoute {
                route: Some(id),
                message: format!("another route is named `{}` too", spec.name),
            });
        }
    }
}

/// What is wrong with a route whatever the others are.
fn check_alone(id: RouteId, spec: &RouteSpec, errors: &mut Vec<InvalidRoute>) {
    let mut fault = |message: String| {
        errors.push(InvalidRoute {
            route: Some(id),
            message,
        });
    };
    if spec.methods.is_empty() {
        fault(format!("route `{}` answers to no method", spec.name));
    }
    for host in &spec.hosts {
        let canonical = Host::parse(host.as_bytes());
        if !canonical.is_ok_and(|canonical| canonical.as_str() == host) {
            fault(format!(
                "route `{}`: `{host}` is not one host name or address in lower case without a port",
                spec.name
            ));
        }
    }
}

/// The shape of a pattern with all that options may make one made one: names, case, trailing slash.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Shape {
    Literal(String),
    Capture(String, String),
    Rest,
}

fn shape(spec: &RouteSpec) -> Vec<Shape> {
    let shape = |segment: &Segment| match segment {
        Segment::Literal(text) => Shape::Literal(text.to_ascii_lowercase()),
        Segment::Capture { prefix, suffix, .. } => {
            Shape::Capture(prefix.to_ascii_lowercase(), suffix.to_ascii_lowercase())
        }
        Segment::Rest { .. } => Shape::Rest,
    };
    spec.pattern.segments.iter().map(shape).collect()
}

/// Routes that differ in their shape can have no conflict, so only those of one shape are compared.
fn find_conflicts(specs: &[RouteSpec], errors: &mut Vec<InvalidRoute>) {
    let mut groups: HashMap<_, Vec<_>> = HashMap::new();
    for (id, spec) in ids(specs) {
        groups.entry(shape(spec)).or_default().push((id, spec));
    }
    for group in groups.values() {
        let mut by_host: HashMap<&str, Vec<_>> = HashMap::new();
        for &(id, spec) in group {
            for host in hosts(spec) {
                by_host.entry(host).or_default().push((id, spec));
            }
        }
        let mut found = BTreeSet::new();
        for same_host in by_host.values() {
            for (index, &(id, spec)) in same_host.iter().enumerate() {
                for &(first_id, first) in same_host.iter().take(index) {
                    // One error a pair, in however many hosts.
                    if conflict(first, spec) && found.insert((first_id, id)) {
                        errors.push(describe(first, id, spec));
                    }
                }
            }
        }
    }
}

/// The hosts of a route, each once; `""` for any.
fn hosts(spec: &RouteSpec) -> BTreeSet<&str> {
    if spec.hosts.is_empty() {
        return BTreeSet::from([""]);
    }
    spec.hosts.iter().map(String::as_str).collect()
}

/// Whether two routes of one host and shape answer to some request alike.
fn conflict(one: &RouteSpec, other: &RouteSpec) -> bool {
    let slash_ignored = |spec: &RouteSpec| {
        spec.options.trailing_slash == TrailingSlash::Ignored || spec.pattern.ends_in_rest()
    };
    let case_ignored = |spec: &RouteSpec| spec.options.case == CaseMatch::Insensitive;
    let same_slash = one.pattern.trailing_slash == other.pattern.trailing_slash;
    if !same_slash && !slash_ignored(one) && !slash_ignored(other) {
        return false;
    }
    if !case_ignored(one) && !case_ignored(other) && !have_same_literals(one, other) {
        return false;
    }
    one.methods
        .iter()
        .any(|method| other.methods.contains(method))
}

fn have_same_literals(one: &RouteSpec, other: &RouteSpec) -> bool {
    let texts = |spec: &RouteSpec| -> Vec<(String, String)> {
        let text = |segment: &Segment| match segment {
            Segment::Literal(text) => (text.clone(), String::new()),
            Segment::Capture { prefix, suffix, .. } => (prefix.clone(), suffix.clone()),
            Segment::Rest { .. } => (String::new(), String::new()),
        };
        spec.pattern.segments.iter().map(text).collect()
    };
    texts(one) == texts(other)
}

fn describe(first: &RouteSpec, id: RouteId, spec: &RouteSpec) -> InvalidRoute {
    let shared: Vec<&str> = spec
        .methods
        .iter()
        .filter(|method| first.methods.contains(method))
        .map(http::Method::as_str)
        .collect();
    InvalidRoute {
        route: Some(id),
        message: format!(
            "route `{}` answers to the same requests as route `{}` ({}): tell them apart by host, path or method",
            spec.name,
            first.name,
            shared.join(", ")
        ),
    }
}
