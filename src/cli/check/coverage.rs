//! Which route takes each operation of an API, found by asking the route table of the gateway.
//!
//! Matches nothing itself: sample requests go through the same canonicalisation and the same table as those of clients.

use std::collections::BTreeSet;

use http::HeaderMap;
use serde::Serialize;

use super::openapi::{Api, Operation};
use crate::authz::{RequestFacts, RouteId, RouteMatch, RouteTable};
use crate::config::{OpenWay, RouteSummary, raw::Require};

/// What stands for the parameters of a path, one after the other. No literal segment of a route equals both, and no
/// prefix or suffix of one fits both: a route that takes both takes every value.
const SAMPLES: [&str; 2] = ["_sample-0", "~sample_9"];

/// A host that no route names, for routes that name none.
const ANY_HOST: &str = "api.invalid";

/// How a configuration covers an API.
#[derive(Debug, Serialize)]
pub struct Coverage<'a> {
    /// The document.
    pub spec: String,
    /// The host that requests were taken to name.
    pub host: String,
    /// All operations, in the order of the document.
    pub operations: Vec<Covered<'a>>,
    /// How many of them have no route.
    pub uncovered: usize,
    /// Routes that no operation leads to, in the order of the configuration.
    pub routes_without_operation: Vec<&'a RouteSummary>,
}

/// One operation and where it leads.
#[derive(Debug, Serialize)]
pub struct Covered<'a> {
    /// Its method.
    pub method: String,
    /// Its path with the base path of its server.
    pub path: &'a str,
    /// What the document calls it.
    pub operation_id: Option<&'a str>,
    /// The routes that take it: one, or two for a path that may go on.
    pub routes: Vec<Taker<'a>>,
    /// Why it is not covered.
    pub uncovered: Option<Gap>,
}

/// A route as far as it matters to an operation.
#[derive(Debug, Serialize)]
pub struct Taker<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it requires, as written.
    pub require: &'a Require,
    /// The ways past it without a judged key.
    pub passes_without_key: &'a [OpenWay],
}

/// Why an operation is not covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// No route has the path.
    NoRoute,
    /// Routes have the path, for other methods.
    MethodNotAllowed,
    /// No request can have the path.
    NotCanonical,
    /// Values of its parameters are told apart by routes, so none takes all.
    Split,
}

/// Asks the table for every operation. `summaries` are those of the table's routes, in order.
pub fn cover<'a>(
    spec: String,
    api: &'a Api,
    host: Option<&str>,
    table: &RouteTable,
    summaries: &'a [RouteSummary],
) -> Coverage<'a> {
    let host = host.map_or_else(|| host_of(api, table), str::to_ascii_lowercase);
    let mut reached = BTreeSet::<RouteId>::new();
    let operations: Vec<Covered<'a>> = api
        .operations
        .iter()
        .map(|operation| {
            let found = routes_of(operation, &host, table);
            let (routes, uncovered) = match found {
                Ok(routes) => (routes, None),
                Err(gap) => (Vec::new(), Some(gap)),
            };
            reached.extend(&routes);
            let takers = routes.iter().filter_map(|id| summaries.get(id.0 as usize));
            Covered {
                method: operation.method.to_string(),
                path: &operation.path,
                operation_id: operation.id.as_deref(),
                routes: takers.map(taker).collect(),
                uncovered,
            }
        })
        .collect();
    let gaps = operations
        .iter()
        .filter(|it| it.uncovered.is_some())
        .count();
    let unreached = (0..).map(RouteId).zip(summaries);
    let unreached = unreached.filter(|(id, _)| !reached.contains(id));
    Coverage {
        spec,
        host,
        uncovered: gaps,
        operations,
        routes_without_operation: unreached.map(|(_, summary)| summary).collect(),
    }
}

fn taker(summary: &RouteSummary) -> Taker<'_> {
    Taker {
        name: &summary.name,
        require: &summary.require,
        passes_without_key: &summary.passes_without_key,
    }
}

/// The first server that a route names; otherwise one that none names.
fn host_of(api: &Api, table: &RouteTable) -> String {
    let named = |host: &&String| table.specs().iter().any(|spec| spec.hosts.contains(host));
    let host = api.hosts.iter().find(named);
    host.map_or_else(|| ANY_HOST.to_owned(), Clone::clone)
}

/// The routes that take every request of an operation.
fn routes_of(operation: &Operation, host: &str, table: &RouteTable) -> Result<Vec<RouteId>, Gap> {
    let mut routes = Vec::new();
    for template in expansions(&operation.path) {
        let [first, second] = SAMPLES.map(|value| {
            let target = filled(&template, value).ok_or(Gap::NotCanonical)?;
            find(operation, host, &target, table)
        });
        let (first, second) = (first?, second?);
        if first != second {
            return Err(Gap::Split);
        }
        if !routes.contains(&first) {
            routes.push(first);
        }
    }
    Ok(routes)
}

fn find(
    operation: &Operation,
    host: &str,
    target: &str,
    table: &RouteTable,
) -> Result<RouteId, Gap> {
    let headers = HeaderMap::new();
    let facts = RequestFacts::new(
        &operation.method,
        host.as_bytes(),
        target.as_bytes(),
        &headers,
    );
    match table.find(&facts.map_err(|_| Gap::NotCanonical)?) {
        RouteMatch::Found(route, _) => Ok(route),
        RouteMatch::MethodNotAllowed(_) => Err(Gap::MethodNotAllowed),
        RouteMatch::NotFound => Err(Gap::NoRoute),
    }
}

/// The paths that a template stands for. A `*` at its end, which documents of frameworks have though OpenAPI knows
/// none, says that the path may go on: it then has to be covered as it is and longer.
fn expansions(template: &str) -> Vec<String> {
    match template.strip_suffix('*') {
        None => vec![template.to_owned()],
        Some(stem) => {
            let stem = stem.trim_end_matches('/');
            vec![stem.to_owned(), format!("{stem}/{{rest}}/{{more}}")]
        }
    }
}

/// The template with `value` for every parameter; `None` where its braces do not pair.
fn filled(template: &str, value: &str) -> Option<String> {
    let mut path = String::new();
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        if name.is_empty() || name.contains('{') || literal.contains('}') {
            return None;
        }
        path.push_str(literal);
        path.push_str(value);
        rest = after;
    }
    path.push_str(rest);
    (!rest.contains('}')).then_some(path)
}
