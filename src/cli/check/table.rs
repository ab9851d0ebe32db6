//! The coverage of an API in words: a table of its operations, then routes that it has no use for.
//!
//! Says what was found out and finds out nothing.

use std::io::{self, Write};

use super::coverage::{Coverage, Gap, Taker};
use crate::config::raw::{Access, Families, Level, Require, RequireWord};
use crate::config::{OpenWay, RouteSummary};

/// Prints it.
///
/// # Errors
/// `out` cannot be written.
pub fn print(out: &mut dyn Write, coverage: &Coverage<'_>) -> io::Result<()> {
    let header = ["METHOD", "OPERATION", "ROUTE", "REQUIRES"].map(str::to_owned);
    let operations = coverage.operations.iter().map(|operation| {
        let names: Vec<&str> = operation.routes.iter().map(|route| route.name).collect();
        let requires = match (operation.uncovered, operation.routes.as_slice()) {
            (Some(gap), _) => gap.in_words().to_owned(),
            (None, routes) => requirements(routes),
        };
        let route = if names.is_empty() {
            "-".to_owned()
        } else {
            names.join(", ")
        };
        [
            operation.method.clone(),
            operation.path.to_owned(),
            route,
            requires,
        ]
    });
    rows(
        out,
        &std::iter::once(header)
            .chain(operations)
            .collect::<Vec<_>>(),
    )?;
    if !coverage.routes_without_operation.is_empty() {
        writeln!(out)?;
        let header = ["", "PATH", "ROUTE WITHOUT AN OPERATION", "REQUIRES"].map(str::to_owned);
        let routes = coverage.routes_without_operation.iter().map(|route| {
            let methods = route.methods.join(" ");
            let name = format!("{} ({})", route.name, methods);
            [String::new(), route.path.clone(), name, of_route(route)]
        });
        rows(
            out,
            &std::iter::once(header).chain(routes).collect::<Vec<_>>(),
        )?;
    }
    writeln!(
        out,
        "\n{}: {} operations, {} uncovered; {} routes without an operation (host {})",
        coverage.spec,
        coverage.operations.len(),
        coverage.uncovered,
        coverage.routes_without_operation.len(),
        coverage.host,
    )
}

/// Rows in columns as wide as their widest text; the last column is as long as it is.
fn rows(out: &mut dyn Write, rows: &[[String; 4]]) -> io::Result<()> {
    let width = |column: usize| {
        let texts = rows.iter().filter_map(|row| row.get(column));
        texts
            .map(|text| text.chars().count())
            .max()
            .unwrap_or_default()
    };
    let (first, second, third) = (width(0), width(1), width(2));
    for [a, b, c, d] in rows {
        let line = format!("{a:first$}  {b:second$}  {c:third$}  {d}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

impl Gap {
    const fn in_words(self) -> &'static str {
        match self {
            Self::NoRoute => "UNCOVERED: no route has this path",
            Self::MethodNotAllowed => "UNCOVERED: routes have this path for other methods only",
            Self::NotCanonical => "UNCOVERED: no request can have this path",
            Self::Split => "UNCOVERED: values of its parameters go to different routes",
        }
    }
}

/// What routes require, once where they require the same.
fn requirements(routes: &[Taker<'_>]) -> String {
    let mut all: Vec<String> = Vec::new();
    for route in routes {
        let text = in_words(route.require, route.passes_without_key);
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all.join(" | ")
}

fn of_route(route: &RouteSummary) -> String {
    in_words(&route.require, &route.passes_without_key)
}

/// A requirement, and in brackets the ways past it.
fn in_words(require: &Require, open: &[OpenWay]) -> String {
    let required = match require {
        Require::Word(RequireWord::Anonymous) => "anonymous".to_owned(),
        Require::Word(RequireWord::Authenticated) => "any live key".to_owned(),
        Require::Word(RequireWord::Nobody) => "refused to every key".to_owned(),
        Require::Word(RequireWord::TrustedIdentity) => {
            "an identity that a trusted peer names".to_owned()
        }
        Require::Families(families) => of_families(families),
    };
    let ways: Vec<&str> = open.iter().filter_map(|way| past(*way)).collect();
    match ways.as_slice() {
        [] => required,
        ways => format!("{required} (or {})", ways.join(", ")),
    }
}

/// A way past a requirement, where the requirement itself does not say it.
const fn past(way: OpenWay) -> Option<&'static str> {
    match way {
        OpenWay::Anonymous | OpenWay::TrustedIdentity => None,
        OpenWay::Optional => Some("no credential"),
        OpenWay::Shadow => Some("anything: shadow"),
        OpenWay::UserTokens => Some("a user token"),
    }
}

fn of_families(families: &Families) -> String {
    let mut parts = Vec::new();
    let one =
        |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name} {value}"));
    let list = |name: &str, values: &[String]| {
        (!values.is_empty()).then(|| format!("{name} {}", values.join(", ")))
    };
    parts.extend(one("org", &families.org));
    parts.extend(list("all of", &families.permissions));
    parts.extend(list("one of", &families.any_permission));
    parts.extend(list("scope", &families.scopes));
    parts.extend(one("workspace", &families.workspace));
    parts.extend(families.rule.as_ref().map(|rule| {
        let [action, subject] =
            [&rule.action, &rule.subject].map(|text| text.as_deref().unwrap_or("-"));
        format!("rule {action} {subject}")
    }));
    parts.extend(families.access.as_ref().map(of_access));
    parts.join("; ")
}

fn of_access(access: &Access) -> String {
    let level = match access.level {
        Some(Level::Read) => "read",
        Some(Level::Write) => "write",
        None => "-",
    };
    let domain = access.domain.as_deref().unwrap_or("-");
    match &access.project {
        None => format!("{domain}: {level}"),
        Some(project) => format!("{domain}: {level}, project {project}"),
    }
}
