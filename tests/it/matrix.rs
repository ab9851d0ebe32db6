//! Who may do what in the configurations that are shipped: principal × route × method as one committed table each, so
//! that a change of policy shows as changed cells.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use keyward::authz::{
    Admission, Anonymous, Decision, Family, KeyId, KeyLookup, KeyRecord, KeyStatus, Principal,
    RawAccess, RawGrants, Reason, RequestFacts, Revision, Rulebook, Tenant, Timestamp,
};
use keyward::config::{self, Flags, RouteSummary};
use keyward::proxy::TrustedPeers;
use keyward::wire::grants::from_json;
use serde_json::{Value, json};

use crate::golden::assert_committed;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// The values of captures that principals are held against; every other capture is its own name.
const CAPTURES: [(&str, &str); 6] = [
    ("orgSlug", "acme"),
    ("workspaceId", "w1"),
    ("agentId", "a1"),
    ("pageId", "p1"),
    ("slug", "p1"),
    ("automationSlug", "hook"),
];

/// Columns before the cells; the longest name of a shipped route fits.
const NAME_WIDTH: usize = 44;

/// A column: who asks.
struct Asker {
    title: &'static str,
    about: &'static str,
    shows: Shows,
}

/// What it shows.
enum Shows {
    Nothing,
    UserToken,
    /// A peer that the listener trusts names a user.
    Identity,
    Key(Box<KeyRecord>),
}

fn asker(title: &'static str, about: &'static str, shows: Shows) -> Asker {
    Asker {
        title,
        about,
        shows,
    }
}

fn key(title: &'static str, about: &'static str, tenant: Tenant, grants: RawGrants) -> Asker {
    let record = KeyRecord {
        id: KeyId::new(title),
        tenant,
        name: title.to_owned(),
        owner: None,
        status: KeyStatus::Active,
        expires_at: None,
        grants,
        revision: Revision(1),
    };
    asker(title, about, Shows::Key(Box::new(record)))
}

fn org(
    title: &'static str,
    about: &'static str,
    slug: &str,
    permissions: &[&str],
    scopes: &[&str],
) -> Asker {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let grants = RawGrants::Org {
        permissions: owned(permissions),
        scopes: owned(scopes),
    };
    key(title, about, Tenant::Org(slug.to_owned()), grants)
}

fn workspace(title: &'static str, about: &'static str, id: &str, rules: Value) -> Asker {
    let grants = from_json(Family::Workspace, &json!({ "rules": rules }));
    key(title, about, Tenant::Workspace(id.to_owned()), grants)
}

fn access(
    title: &'static str,
    about: &'static str,
    mode: &str,
    access: &[(&str, &str)],
    project: Option<&str>,
) -> Asker {
    let grants = RawAccess {
        permission_mode: mode.to_owned(),
        access: access
            .iter()
            .map(|(domain, level)| ((*domain).to_owned(), (*level).to_owned()))
            .collect(),
        project: project.map(str::to_owned),
    };
    key(title, about, Tenant::Access, RawGrants::Access(grants))
}

fn expired(mut asker: Asker) -> Asker {
    if let Shows::Key(record) = &mut asker.shows {
        record.expires_at = Some(NOW);
    }
    asker
}

/// Who asks at Prisme.ai.
fn prisme() -> Vec<Asker> {
    let mut askers = vec![
        asker("none", "no credential", Shows::Nothing),
        asker("user", "a user token", Shows::UserToken),
        asker(
            "named",
            "an identity that a trusted peer names",
            Shows::Identity,
        ),
    ];
    askers.extend(of_organisations());
    askers.extend(of_workspaces());
    askers.push(access("acc*", "access key: all", "ALL", &[], None));
    let about = "organisation key of acme: everything, expired";
    askers.push(expired(org("dead", about, "acme", &["*"], &["*"])));
    askers
}

fn of_organisations() -> [Asker; 5] {
    let reads = &["orgs:members:read", "orgs:roles:read", "orgs:groups:read"];
    let agents = &["agent-factory:agents:read"];
    [
        org(
            "org*",
            "organisation key of acme: everything",
            "acme",
            &["*"],
            &["*"],
        ),
        org(
            "keys",
            "organisation key of acme: orgs:apikeys:manage",
            "acme",
            &["orgs:apikeys:manage"],
            &[],
        ),
        org(
            "reads",
            "organisation key of acme: reads members, roles, groups",
            "acme",
            reads,
            &[],
        ),
        org(
            "agent",
            "organisation key of acme: agent-factory:agents:read on agents:a1",
            "acme",
            agents,
            &["agents:a1"],
        ),
        org(
            "other*",
            "organisation key of another organisation: everything",
            "other",
            &["*"],
            &["*"],
        ),
    ]
}

/// Their rules have the conditions that the platform forces on them.
fn of_workspaces() -> [Asker; 4] {
    let all_of = |id: &str| {
        json!([
            { "action": "manage", "subject": "workspaces", "conditions": { "id": id } },
            { "action": "manage", "subject": ["pages", "files", "apps"], "conditions": { "workspaceId": id } },
            { "action": "manage", "subject": "automations", "conditions": { "runningWorkspaceId": id } },
        ])
    };
    let pages =
        json!([{ "action": "read", "subject": "pages", "conditions": { "workspaceId": "w1" } }]);
    let hooks = json!([{ "action": "execute", "subject": "automations", "conditions": { "runningWorkspaceId": "w1" } }]);
    [
        workspace(
            "ws*",
            "workspace key of w1: manages everything that keys may",
            "w1",
            all_of("w1"),
        ),
        workspace("pages", "workspace key of w1: reads pages", "w1", pages),
        workspace(
            "hooks",
            "workspace key of w1: executes automations",
            "w1",
            hooks,
        ),
        workspace(
            "ws2*",
            "workspace key of another workspace: manages everything that keys may",
            "w2",
            all_of("w2"),
        ),
    ]
}

/// Who asks at orq.ai. Every request names the project p1 in its query.
fn orq() -> Vec<Asker> {
    let deployments = &[
        ("deployment", "read"),
        ("prompt", "write"),
        ("chat_completions", "read"),
    ];
    vec![
        asker("none", "no credential", Shows::Nothing),
        asker("user", "a user token", Shows::UserToken),
        access("all", "access key: all", "ALL", &[], None),
        access("reader", "access key: read only", "READ_ONLY", &[], None),
        access(
            "some",
            "access key: deployment read, prompt write, chat_completions read",
            "RESTRICTED",
            deployments,
            None,
        ),
        access(
            "chat",
            "access key: chat_completions write",
            "RESTRICTED",
            &[("chat_completions", "write")],
            None,
        ),
        access("empty", "access key: nothing", "RESTRICTED", &[], None),
        access(
            "p1",
            "access key: all, of project p1",
            "ALL",
            &[],
            Some("p1"),
        ),
        access(
            "p2",
            "access key: all, of project p2",
            "ALL",
            &[],
            Some("p2"),
        ),
        org(
            "org*",
            "organisation key: everything",
            "acme",
            &["*"],
            &["*"],
        ),
        expired(access("dead", "access key: all, expired", "ALL", &[], None)),
    ]
}

/// What a cell says.
fn cell(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow(permit) => match permit.unjudged() {
            None => "yes",
            Some(Anonymous::Open) => "open",
            Some(Anonymous::Optional) => "opt",
            Some(Anonymous::UserToken) => "user",
            Some(Anonymous::TrustedIdentity) => "named",
            Some(Anonymous::Shadow) => "SHADOW",
        },
        Decision::Deny(denial) => refusal(denial.reason),
    }
}

const REFUSALS: [(Reason, &str); 13] = [
    (Reason::MissingCredential, "401"),
    (Reason::MalformedCredential, "form"),
    (Reason::UserTokenRejected, "token"),
    (Reason::ExpiredKey, "dead"),
    (Reason::FamilyNotAccepted, "fam"),
    (Reason::OrgMismatch, "org"),
    (Reason::WorkspaceMismatch, "ws"),
    (Reason::MissingPermission, "perm"),
    (Reason::OutOfScope, "scope"),
    (Reason::NoMatchingRule, "rule"),
    (Reason::InsufficientAccess, "level"),
    (Reason::ProjectMismatch, "proj"),
    (Reason::ProjectUnknown, "proj?"),
];

fn refusal(reason: Reason) -> &'static str {
    let known = REFUSALS.iter().find(|(known, _)| *known == reason);
    known.map_or_else(|| panic!("{reason:?} in a matrix"), |(_, short)| short)
}

/// The path of a route with values for what it captures.
fn sample(path: &str) -> String {
    let parts = path.split(['{', '}']).enumerate().map(|(at, part)| {
        let name = part.trim_start_matches('*');
        let known = CAPTURES.iter().find(|(known, _)| *known == name);
        match (at % 2, known) {
            (0, _) => part,
            (_, Some((_, value))) => value,
            (_, None) => name,
        }
    });
    parts.collect()
}

/// A token of the form of a family, shown in the first place where keys are looked for.
fn headers(rulebook: &Rulebook, shows: &Shows) -> HeaderMap {
    let token = match shows {
        Shows::Nothing | Shows::Identity => return HeaderMap::new(),
        Shows::UserToken => "at:0f1e2d3c4b5a",
        Shows::Key(record) => match record.tenant {
            Tenant::Org(_) => "iak_acme_0b8f2c1e-5a4d-4c3b-9e2f-1a2b3c4d5e6f",
            Tenant::Workspace(_) => "0b8f2c1e-5a4d-4c3b-9e2f-1a2b3c4d5e6f",
            Tenant::Access => "sk-orq-01J9Z3K4M5N6P7Q8R9S0T1V2W3-0123456789abcdef",
        },
    };
    let takes_header = rulebook.credentials().sources.iter().any(|source| {
        matches!(source, keyward::authz::CredentialSource::Header(name) if name == "x-prismeai-api-key")
    });
    let (name, value) = match (shows, takes_header) {
        (Shows::Key(_), true) => ("x-prismeai-api-key", token.to_owned()),
        _ => ("authorization", format!("Bearer {token}")),
    };
    let value = HeaderValue::from_str(&value).expect("a value");
    HeaderMap::from_iter([(HeaderName::from_static(name), value)])
}

/// Decides as a gateway does, and says which route was chosen.
fn decide(
    rulebook: &Rulebook,
    asker: &Asker,
    method: &Method,
    host: &str,
    path: &str,
) -> (String, &'static str) {
    let headers = headers(rulebook, &asker.shows);
    let target = format!("{path}?project_id=p1");
    let facts = RequestFacts::new(method, host.as_bytes(), target.as_bytes(), &headers);
    let facts = facts.unwrap_or_else(|error| panic!("{path}: {error}"));
    let facts = facts.with_trusted_identity(matches!(asker.shows, Shows::Identity));
    let decision = match (rulebook.admit(&facts), &asker.shows) {
        (Admission::Decided(decision), _) => decision,
        (Admission::NeedsKey(pending), Shows::Key(record)) => {
            let found = KeyLookup::Found {
                principal: Arc::new(Principal::compile(record)),
                retired_at: None,
            };
            rulebook.conclude(&pending, found, &facts, NOW)
        }
        (Admission::NeedsKey(_), _) => panic!("{} shows no key", asker.title),
    };
    let route = match &decision {
        Decision::Allow(permit) => Some(permit.route()),
        Decision::Deny(denial) => denial.route,
    };
    let route = route.and_then(|route| rulebook.routes().spec(route));
    let name = route.map_or("-", |route| &route.name);
    (name.to_owned(), cell(&decision))
}

/// The rows of a route: methods with the same cells share one.
fn rows(rulebook: &Rulebook, route: &RouteSummary, askers: &[Asker]) -> Vec<(String, String)> {
    let host = route.hosts.first().map_or("api.invalid", String::as_str);
    let path = sample(&route.path);
    let mut rows: Vec<(String, String)> = Vec::new();
    for method in &route.methods {
        let parsed: Method = method.parse().expect("a method");
        let cells = askers.iter().map(|asker| {
            let (name, cell) = decide(rulebook, asker, &parsed, host, &path);
            assert_eq!(
                name, route.name,
                "the sample {method} {path} leads elsewhere"
            );
            format!(" {cell:6}")
        });
        let cells: String = cells.collect();
        match rows.last_mut() {
            Some((methods, same)) if *same == cells => {
                methods.push(' ');
                methods.push_str(method);
            }
            _ => rows.push((method.clone(), cells)),
        }
    }
    rows
}

/// The document of a configuration.
fn document(file: &str, mut askers: Vec<Asker>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let resolved =
        config::load(&path, &|_| None, Flags::default()).unwrap_or_else(|error| panic!("{error}"));
    // Nobody names identities where nobody is trusted.
    let mut listeners = resolved.proxy.listeners.iter();
    let trusting =
        listeners.any(|listener| listener.trusted_identity_from != TrustedPeers::default());
    askers.retain(|asker| trusting || !matches!(asker.shows, Shows::Identity));
    let askers = &askers;
    let rulebook = &resolved.proxy.rules.rulebook;
    let mut text = format!(
        "# Who may do what: `{file}`\n\nMade by a test from the file, with the code that decides; `KEYWARD_BLESS=1 cargo nextest run matrix` writes it anew.\n\n"
    );
    let mut line =
        |written: std::fmt::Arguments<'_>| writeln!(text, "{written}").expect("a string");
    line(format_args!("| Column | Who asks |\n|---|---|"));
    for Asker { title, about, .. } in askers {
        line(format_args!("| `{title}` | {about} |"));
    }
    line(format_args!(
        "\n`yes` the key may · `open` everyone may · passes without a judged key: `opt` without a credential, `user` on the form of a \
         user token, `named` on the word of a trusted peer\n\nRefused: `401` no credential · `form` no known form · `token` user tokens are not taken · \
         `dead` expired · `fam` not for keys of this family · `org`, `ws` another organisation or workspace · `perm`, `scope` permission or scope is \
         missing · `rule` no rule allows it · `level` too little access · `proj`, `proj?` of another project, or the project is not stated\n\n```text"
    ));
    let titles: String = askers
        .iter()
        .map(|asker| format!(" {:6}", asker.title))
        .collect();
    line(format_args!("{:NAME_WIDTH$}{}", "", titles.trim_end()));
    let mut last = "";
    for route in &resolved.routes {
        if !last.is_empty() && last != route.upstream {
            line(format_args!(""));
        }
        last = &route.upstream;
        for (methods, cells) in rows(rulebook, route, askers) {
            line(format_args!("{} {methods}", route.path));
            line(format_args!(
                "{:NAME_WIDTH$}{}",
                format!("    {}", route.name),
                cells.trim_end()
            ));
        }
    }
    line(format_args!("```"));
    text
}

#[test]
fn who_may_do_what_is_committed() {
    for (name, askers) in [
        ("quickstart", prisme()),
        ("ingress", prisme()),
        ("sidecar", prisme()),
        ("orq", orq()),
    ] {
        let made = document(&format!("config/{name}.yaml"), askers);
        assert_committed(&format!("docs/matrix/{name}.md"), &made);
    }
}
