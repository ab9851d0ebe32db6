//! Permissions, scopes and access maps, with the requirements that meet them.

use keyward::authz::{AccessLevel, RawAccess};

use super::Gen;
use crate::model::requirement::{Access, Org, Project};

const PRODUCTS: &[&str] = &["orgs", "agents", "llm"];
const RESOURCES: &[&str] = &["members", "apikeys", "models"];
const ACTIONS: &[&str] = &["read", "write", "manage"];
const IDS: &[&str] = &["a1", "a2", "acme", "m:1"];
pub const DOMAINS: &[&str] = &["deployment", "agent", "chat_completions"];
pub const PROJECTS: &[&str] = &["proj-1", "proj-2"];

/// A concrete permission.
pub fn permission(g: &mut Gen) -> String {
    let (product, action) = (g.pick(PRODUCTS), g.pick(ACTIONS));
    match g.below(6) {
        0 => format!("{product}:{action}"),
        1 => format!(
            "{product}:{}:{}:{action}",
            g.pick(RESOURCES),
            g.pick(RESOURCES)
        ),
        _ => format!("{product}:{}:{action}", g.pick(RESOURCES)),
    }
}

/// A granted permission, rarely a malformed one.
pub fn permission_grant(g: &mut Gen) -> String {
    match g.below(20) {
        0 => "*".into(),
        1..=5 => format!("{}:*", g.pick(PRODUCTS)),
        6 | 7 => format!("{}:{}:*", g.pick(PRODUCTS), g.pick(RESOURCES)),
        8 | 9 => format!("{}:manage", g.pick(PRODUCTS)),
        10 => malformed_grant(g),
        _ => permission(g),
    }
}

fn malformed_grant(g: &mut Gen) -> String {
    let good = permission(g);
    match g.below(11) {
        0 => "orgs".into(),
        1 => String::new(),
        2 => format!("{good}:"),
        3 => format!(":{good}"),
        4 => format!("*:{good}"),
        5 => format!("{good}*"),
        6 => good.replace(':', "::"),
        7 => format!("{good}é"),
        8 => format!("{good} "),
        9 => format!("{good}:a:b:c:d:e:f:g"),
        _ => format!("{good}:{}", "x".repeat(256)),
    }
}

/// A concrete scope.
pub fn scope(g: &mut Gen) -> String {
    match g.below(12) {
        0 => format!("{}:{}:", g.pick(PRODUCTS), g.pick(RESOURCES)),
        1..=3 => format!("{}:{}:{}", g.pick(PRODUCTS), g.pick(RESOURCES), g.pick(IDS)),
        _ => format!("{}:{}", g.pick(PRODUCTS), g.pick(IDS)),
    }
}

/// A granted scope, rarely a malformed one.
pub fn scope_grant(g: &mut Gen) -> String {
    match g.below(20) {
        0 | 1 => "*".into(),
        2..=6 => format!("{}:*", g.pick(PRODUCTS)),
        7 | 8 => format!("{}:{}:*", g.pick(PRODUCTS), g.pick(RESOURCES)),
        9 => format!("{}:manage", g.pick(PRODUCTS)),
        10 => {
            let good = scope(g);
            g.one(&[
                String::new(),
                "orgs".into(),
                "orgs:".into(),
                ":a1".into(),
                format!("{good}*"),
                format!("*:{good}"),
                format!("{good}:*:x"),
                format!("{good}\u{7f}"),
                format!("{good}\n"),
            ])
        }
        _ => scope(g),
    }
}

/// What a route asks of organisation keys, literally.
pub fn org_requirement(g: &mut Gen) -> Org {
    let ask = |g: &mut Gen| {
        if g.percent(4) {
            malformed_grant(g)
        } else {
            permission(g)
        }
    };
    let ask_scope = |g: &mut Gen| {
        if g.percent(4) {
            "orgs:".into()
        } else {
            scope(g)
        }
    };
    let mut permissions = g.list(0, 2, ask);
    let any_permission = if g.percent(30) {
        g.list(1, 3, ask)
    } else {
        Vec::new()
    };
    if permissions.is_empty() && any_permission.is_empty() {
        permissions.push(permission(g));
    }
    Org {
        org: None,
        permissions,
        any_permission,
        scopes: if g.percent(50) {
            g.list(1, 3, ask_scope)
        } else {
            Vec::new()
        },
        empty_scopes_allow: g.percent(30),
    }
}

/// Permissions and scopes of a key that was made for `wanted`, more or less.
pub fn org_grants(g: &mut Gen, wanted: &Org) -> (Vec<String>, Vec<String>) {
    let mut permissions = g.list(0, 4, permission_grant);
    let mut scopes = g.list(0, 3, scope_grant);
    if g.percent(60) {
        permissions.extend(wanted.permissions.iter().cloned());
        permissions.extend(wanted.any_permission.first().cloned());
    }
    if g.percent(50) {
        scopes.extend(wanted.scopes.last().cloned());
    }
    (g.shuffled(&permissions), g.shuffled(&scopes))
}

fn spelled(g: &mut Gen, short: &str, enum_prefix: &str) -> String {
    match g.below(4) {
        0 => short.to_ascii_lowercase(),
        1 => format!("{enum_prefix}{short}"),
        _ => short.to_owned(),
    }
}

/// What a key of the family `access` holds; rarely something that cannot be read.
pub fn access(g: &mut Gen) -> RawAccess {
    let mode = g.pick(&["ALL", "READ_ONLY", "RESTRICTED", "RESTRICTED", "RESTRICTED"]);
    let mut domains = g.shuffled(DOMAINS);
    domains.truncate(g.below(DOMAINS.len() + 1));
    let level = |g: &mut Gen| match g.below(12) {
        0 => g
            .one(&["2", "", "admin", "ACCESS_LEVEL_UNSPECIFIED"])
            .to_owned(),
        _ => {
            let short = g.pick(&["NONE", "READ", "WRITE"]);
            spelled(g, short, "ACCESS_LEVEL_")
        }
    };
    RawAccess {
        permission_mode: match g.below(15) {
            0 => g
                .one(&["1", "", "UNRESTRICTED", "PERMISSION_MODE_UNSPECIFIED"])
                .to_owned(),
            _ => spelled(g, mode, "PERMISSION_MODE_"),
        },
        access: domains
            .into_iter()
            .map(|domain| (domain.to_owned(), level(g)))
            .collect(),
        project: g.maybe(30, |g| g.pick(PROJECTS).to_owned()),
    }
}

/// What a route asks of access keys, literally.
pub fn access_requirement(g: &mut Gen) -> Access {
    Access {
        domain: g.pick(DOMAINS).to_owned(),
        level: g.one(&[AccessLevel::Read, AccessLevel::Read, AccessLevel::Write]),
        project: match g.below(3) {
            0 => Project::Unstated,
            1 => Project::Any,
            _ => Project::At(g.pick(PROJECTS).to_owned()),
        },
    }
}
