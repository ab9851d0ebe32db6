//! What the quickstart prints: where everything is, and lines to paste with what to expect of each.

use std::io::{self, Write};

/// Where the quickstart can be reached; base URLs without a slash at the end.
#[derive(Debug)]
pub struct Places {
    /// The gateway.
    pub gateway: String,
    /// The control plane.
    pub control: String,
    /// The ops listener.
    pub ops: String,
}

/// One live key of each family. They are samples: printing them is what they are for.
#[derive(Debug)]
pub struct SampleKeys {
    /// Organisation `acme`.
    pub org: String,
    /// Workspace `w1`.
    pub workspace: String,
    /// Access key.
    pub access: String,
}

/// What is shown beside a request.
#[derive(Debug, Clone, Copy)]
enum Shown {
    Nothing,
    Org,
    OrgAsBearer,
    Unknown,
    Workspace,
    Access,
}

/// One line to paste.
struct Step {
    expect: &'static str,
    method: &'static str,
    path: &'static str,
    shown: Shown,
}

const fn step(
    expect: &'static str,
    method: &'static str,
    path: &'static str,
    shown: Shown,
) -> Step {
    Step {
        expect,
        method,
        path,
        shown,
    }
}

/// A well-formed key that nobody was ever given.
const UNKNOWN: &str = "iak_acme_00000000-0000-4000-8000-000000000000";

const ALLOWED: [Step; 5] = [
    step(
        "200: the upstream sees whose key it was (x-keyward-…) and no key",
        "GET",
        "/v2/orgs/acme/api-keys",
        Shown::Org,
    ),
    step(
        "200: the same key as a bearer token; its scope covers agent a1",
        "GET",
        "/v1/agents/a1",
        Shown::OrgAsBearer,
    ),
    step(
        "200: a workspace key, whose rule allows reading page p1",
        "GET",
        "/v2/workspaces/w1/pages/p1",
        Shown::Workspace,
    ),
    step(
        "200: an access key with `deployment: read`",
        "POST",
        "/v2/deployments/invoke",
        Shown::Access,
    ),
    step(
        "200: open to everyone",
        "GET",
        "/public/ping",
        Shown::Nothing,
    ),
];

const FORBIDDEN: [Step; 8] = [
    step(
        "401 missing_credential",
        "GET",
        "/v1/agents/a1",
        Shown::Nothing,
    ),
    step("401 unknown_key", "GET", "/v1/agents/a1", Shown::Unknown),
    step(
        "403 org_mismatch: a key of acme, another organisation's path",
        "GET",
        "/v2/orgs/other/api-keys",
        Shown::Org,
    ),
    step(
        "403 missing_permission: it may read agents, not write them",
        "POST",
        "/v1/agents/a1",
        Shown::Org,
    ),
    step(
        "403 out_of_scope: its scope is agent a1",
        "GET",
        "/v1/agents/a2",
        Shown::Org,
    ),
    step(
        "403 no_matching_rule: its rule is for page p1",
        "GET",
        "/v2/workspaces/w1/pages/p2",
        Shown::Workspace,
    ),
    step(
        "403 family_not_accepted: the route is not for access keys",
        "GET",
        "/v1/agents/a1",
        Shown::Access,
    ),
    step("404 no_route", "GET", "/nowhere", Shown::Org),
];

/// Prints the whole of it. `admin` says where the admin token is, not what it is.
///
/// # Errors
/// `out` cannot be written.
pub fn print(
    out: &mut dyn Write,
    places: &Places,
    keys: &SampleKeys,
    admin: &str,
) -> io::Result<()> {
    writeln!(out, "Keyward is ready. Ctrl-C ends it.\n")?;
    writeln!(out, "  gateway  {}", places.gateway)?;
    writeln!(out, "  control  {}  (admin token: {admin})", places.control)?;
    writeln!(
        out,
        "  ops      {}  (/healthz /readyz /status /metrics)",
        places.ops
    )?;
    for (title, steps) in [("Allowed", &ALLOWED[..]), ("Forbidden", &FORBIDDEN[..])] {
        writeln!(out, "\n{title}:")?;
        for step in steps {
            writeln!(out, "\n  # {}\n  {}", step.expect, curl(step, places, keys))?;
        }
    }
    writeln!(
        out,
        "\nThe keys are fresh at every start; the former ones are revoked."
    )
}

fn curl(step: &Step, places: &Places, keys: &SampleKeys) -> String {
    let method = if step.method == "GET" {
        String::new()
    } else {
        format!(" -X {}", step.method)
    };
    let header = match step.shown {
        Shown::Nothing => String::new(),
        Shown::Org => format!(" -H 'x-prismeai-api-key: {}'", keys.org),
        Shown::OrgAsBearer => format!(" -H 'authorization: Bearer {}'", keys.org),
        Shown::Unknown => format!(" -H 'x-prismeai-api-key: {UNKNOWN}'"),
        Shown::Workspace => format!(" -H 'x-prismeai-api-key: {}'", keys.workspace),
        Shown::Access => format!(" -H 'x-prismeai-api-key: {}'", keys.access),
    };
    format!("curl -i{method}{header} {}{}", places.gateway, step.path)
}
