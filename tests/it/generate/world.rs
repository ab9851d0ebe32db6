//! Routes with policies, keys of all families, and requests that were made for them, more or less.

use http::HeaderName;
use keyward::authz::{
    CaseMatch, KeyId, KeyRecord, KeyStatus, MatchOptions, Owner, RawGrants, RawRule, Revision,
    Tenant, Timestamp, TrailingSlash, Value,
};

use super::{Gen, grants, request, rule};
use crate::model::decision::{Key, Route, World};
use crate::model::request::Request;
use crate::model::requirement::{
    Access, Families, Org, Project, Requirement, Rule, Stated, Workspace,
};
use crate::model::route::{Matcher, clash};

const NOW: i64 = 1_800_000_000_000;
const DAY: i64 = 86_400_000;
const HOSTS: &[&str] = &["api.example.com", "other.test", "127.0.0.1"];
const LITERALS: &[&str] = &["v1", "orgs", "Agents", "agents", "a%20b", "é"];
const METHODS: &[&str] = &["GET", "POST", "DELETE"];
const CAPTURES: &[&str] = &["orgSlug", "id", "workspaceId"];

/// How the upstreams read paths: mostly as the default has it.
fn options(g: &mut Gen) -> MatchOptions {
    MatchOptions {
        case: if g.percent(20) {
            CaseMatch::Insensitive
        } else {
            CaseMatch::Sensitive
        },
        trailing_slash: if g.percent(20) {
            TrailingSlash::Ignored
        } else {
            TrailingSlash::Significant
        },
    }
}

/// What a route matches, over few words.
pub fn matcher(g: &mut Gen, options: MatchOptions) -> Matcher {
    let mut names = g.shuffled(CAPTURES);
    let mut segments = Vec::new();
    for _ in 0..g.below(4) {
        let form = g.pick(&["{}", "{}", "{}:cancel", "v{}", "{}l", "a{}l"]);
        let capture = if g.percent(50) { names.pop() } else { None };
        segments.push(match capture {
            Some(name) => form.replace("{}", &format!("{{{name}}}")),
            None => g.pick(LITERALS).to_owned(),
        });
    }
    segments.extend(g.maybe(15, |_| "{*rest}".to_owned()));
    let slash = if g.percent(15)
        && !segments.is_empty()
        && segments.last().is_none_or(|s| s != "{*rest}")
    {
        "/"
    } else {
        ""
    };
    let mut hosts = g.shuffled(HOSTS);
    hosts.truncate(g.one(&[0, 0, 1, 2]));
    let mut methods = g.shuffled(METHODS);
    methods.truncate(1 + g.below(METHODS.len()));
    Matcher {
        hosts: hosts.into_iter().map(str::to_owned).collect(),
        path: format!("/{}{slash}", segments.join("/")),
        methods: methods.into_iter().map(str::to_owned).collect(),
        options,
    }
}

/// A route that differs from another in one segment, so that paths match both.
fn rival(g: &mut Gen, of: &Matcher) -> Matcher {
    let mut segments: Vec<String> = of.path.split('/').map(str::to_owned).collect();
    let at = 1 + g.below(segments.len() - 1);
    let forms = [
        "{other}",
        "{other}",
        "{other}:cancel",
        "v{other}",
        "{other}l",
        "v1",
    ];
    if !of.path.contains("{other}") && !segments[at].is_empty() && !segments[at].starts_with("{*") {
        segments[at] = g.pick(&forms).to_owned();
    }
    Matcher {
        path: segments.join("/"),
        ..of.clone()
    }
}

/// Routes that load together.
pub fn matchers(g: &mut Gen, most: usize) -> Vec<Matcher> {
    let global = options(g);
    let mut all: Vec<Matcher> = Vec::new();
    for _ in 0..=g.below(most) {
        let own = if g.percent(15) { options(g) } else { global };
        let next = if !all.is_empty() && g.percent(50) {
            let of = g.one(&all);
            rival(g, &of)
        } else {
            matcher(g, own)
        };
        if !all.iter().any(|other| clash(other, &next)) {
            all.push(next);
        }
    }
    all
}

fn capture_names(path: &str) -> Vec<&str> {
    path.split(['{', '}'])
        .skip(1)
        .step_by(2)
        .map(|name| name.trim_start_matches('*'))
        .collect()
}

/// A template for a value that is among `values`, or literally one of them.
fn template(g: &mut Gen, path: &str, values: &[&str]) -> String {
    let captures = capture_names(path);
    match g.below(10) {
        0 => "{query:project_id}".into(),
        1 => "{header:x-project}".into(),
        2..=6 if !captures.is_empty() => format!("{{{}}}", g.pick(&captures)),
        _ => g.pick(values).to_owned(),
    }
}

fn requirement(g: &mut Gen, path: &str) -> Requirement {
    match g.below(13) {
        0 => return Requirement::Anonymous,
        1 => return Requirement::Authenticated,
        2 => return Requirement::TrustedIdentity,
        _ => {}
    }
    let org = g.maybe(75, |g| {
        let mut org = Org::default();
        if g.percent(60) {
            org = grants::org_requirement(g);
        }
        org.org = g.maybe(40, |g| template(g, path, &["acme"]));
        let value = template(g, path, &["a1"]);
        org.permissions
            .extend(g.maybe(15, |_| format!("agents:{value}:read")));
        org.scopes
            .extend(g.maybe(15, |_| format!("agents:{value}")));
        if org.org.is_none() && org.permissions.is_empty() && org.any_permission.is_empty() {
            org.org = Some("acme".into());
        }
        org
    });
    let workspace = g.maybe(75, |g| {
        let attribute = |g: &mut Gen, name: &str| {
            let value = template(g, path, &["p1", "w1", "u1"]);
            (
                name.to_owned(),
                if g.percent(80) {
                    Stated::Template(value)
                } else {
                    Stated::Literal(Value::Number(1.0))
                },
            )
        };
        let rule = g.maybe(80, |g| Rule {
            action: g.pick(&["read", "update"]).to_owned(),
            subject: "pages".to_owned(),
            resource: vec![attribute(g, "id"), attribute(g, "workspaceId")],
            complete: g.percent(50),
            field: g.maybe(20, |g| template(g, path, &["title", "a.b"])),
            any_field: g.percent(20),
        });
        let workspace = g.maybe(50, |g| template(g, path, &["w1"]));
        let stated = rule.is_some() || workspace.is_some();
        Workspace {
            workspace: if stated { workspace } else { Some("w1".into()) },
            rule,
        }
    });
    let access = g.maybe(75, |g| {
        let mut access: Access = grants::access_requirement(g);
        if matches!(access.project, Project::At(_)) {
            access.project = Project::At(template(g, path, grants::PROJECTS));
        }
        access
    });
    Requirement::Families(Box::new(Families {
        org,
        workspace,
        access,
    }))
}

fn route(g: &mut Gen, matcher: Matcher) -> Route {
    Route {
        name: matcher.path.clone(),
        requirement: requirement(g, &matcher.path),
        matcher,
        optional: g.percent(15),
        user_tokens_forward: g.percent(30),
        shadow: g.percent(10),
        forward_key: g.percent(20),
        encoded_slash: g.percent(20),
        matrix: g.percent(20),
    }
}

fn key(g: &mut Gen, routes: &[Route], number: usize) -> Key {
    let families = match g.one(routes).requirement {
        Requirement::Families(families) => *families,
        Requirement::Anonymous | Requirement::Authenticated | Requirement::TrustedIdentity => {
            Families::default()
        }
    };
    let (tenant, token, grants) = match g.below(3) {
        0 => org_key(g, families.org.unwrap_or_default(), number),
        1 => workspace_key(g, families.workspace.unwrap_or_default(), number),
        _ => {
            let token = format!("sk-orq-01J9Z3K4M5N6P7Q8R9S0T1V2W3-{number}");
            (Tenant::Access, token, RawGrants::Access(grants::access(g)))
        }
    };
    let near = |g: &mut Gen| NOW + g.one(&[-1, 0, 1, DAY]);
    let dead = g.one(&[KeyStatus::Disabled, KeyStatus::Revoked]);
    let owner = |kind: &str| Owner {
        kind: kind.into(),
        id: "u1".into(),
    };
    Key {
        token,
        retired_at: g.maybe(5, |g| near(g) - g.one(&[0, 0, 30 * DAY, 40 * DAY])),
        record: KeyRecord {
            id: KeyId::new(format!("key-{number}")),
            tenant,
            name: "a key".into(),
            owner: g.maybe(50, |g| owner(g.pick(&["user", "agent"]))),
            status: if g.percent(85) {
                KeyStatus::Active
            } else {
                dead
            },
            expires_at: g.maybe(15, |g| Timestamp::from_millis(near(g))),
            grants,
            revision: Revision(1),
        },
    }
}

fn uuid(number: usize) -> String {
    format!("{number:08x}-0d4e-4f56-8a7b-9c0d1e2f3a4b")
}

fn org_key(g: &mut Gen, wanted: Org, number: usize) -> (Tenant, String, RawGrants) {
    let slug = g.one(&["acme", "acme", "globex"]);
    let (permissions, scopes) = grants::org_grants(g, &wanted);
    let token = format!("iak_{slug}_{}", uuid(number));
    (
        Tenant::Org(slug.into()),
        token,
        RawGrants::Org {
            permissions,
            scopes,
        },
    )
}

fn workspace_key(g: &mut Gen, wanted: Workspace, number: usize) -> (Tenant, String, RawGrants) {
    let mut check = rule::check(g);
    if let Some(wanted) = wanted.rule {
        (check.action, check.subject) = (wanted.action, wanted.subject);
        let value = |g: &mut Gen| Some(rule::text(g.pick(&["p1", "w1", "u1", "a1"])));
        check.resource.attributes = vec![("id".into(), value(g)), ("workspaceId".into(), value(g))];
    }
    let mut rules = rule::rules(g, &check);
    let own = || Value::Object(vec![("workspaceId".into(), rule::text("${subject.id}"))]);
    rules.extend(g.maybe(40, |g| RawRule {
        action: vec!["manage".into()],
        conditions: g.maybe(30, |_| own()),
        ..RawRule::default()
    }));
    let tenant = Tenant::Workspace(g.one(&["w1", "w1", "w2"]).into());
    (tenant, uuid(number), RawGrants::Workspace { rules })
}

/// Everything that decides besides the request.
pub fn world(g: &mut Gen) -> World {
    let routes: Vec<Route> = matchers(g, 6)
        .into_iter()
        .map(|matcher| route(g, matcher))
        .collect();
    let keys = (0..1 + g.below(5))
        .map(|number| key(g, &routes, number))
        .collect();
    World {
        routes,
        keys,
        credentials: request::credential_rules(g),
        now: NOW,
        keys_available: !g.percent(2),
        trusted_identity: g.percent(20),
    }
}

/// A raw path that one of the routes matches, more or less.
pub fn path_for(g: &mut Gen, matcher: &Matcher) -> String {
    let plain = ["acme", "w1", "p1", "a1"];
    let odd = [
        "proj-1", "v2", "x%20y", "a%2Fb", "a;b", "x:cancel", "vl", "al",
    ];
    let mut segments = Vec::new();
    for segment in matcher.path.split('/').skip(1) {
        let value = if g.percent(70) {
            g.pick(&plain)
        } else {
            g.pick(&odd)
        };
        let parts: Vec<&str> = segment.split(['{', '}']).collect();
        let filled = match parts[..] {
            [prefix, _, suffix] => format!("{prefix}{value}{suffix}"),
            _ => segment.to_owned(),
        };
        segments.push(if g.percent(3) {
            g.pick(LITERALS).to_owned()
        } else {
            filled
        });
        if segment.starts_with("{*") {
            segments.extend(g.list(0, 1, |g| g.pick(LITERALS).to_owned()));
        }
    }
    let mut path = format!("/{}", segments.join("/").replace('é', "%C3%A9"));
    match g.below(30) {
        0 => path.push('/'),
        1 => path = path.trim_end_matches('/').to_owned(),
        2 => path = path.to_ascii_uppercase(),
        3 => path = path.replace('v', "%76"),
        4 => path.push_str("/more"),
        _ => {}
    }
    if path.is_empty() { "/".into() } else { path }
}

/// A request for one of the routes with one of the keys, more or less.
pub fn request(g: &mut Gen, world: &World) -> Request {
    let route = g.one(&world.routes);
    let any_host = g.pick(HOSTS);
    let host = route.matcher.hosts.first().map_or(any_host, String::as_str);
    let host = if g.percent(10) { any_host } else { host };
    let method = g.one(&route.matcher.methods);
    let tokens: Vec<String> = world.keys.iter().map(|key| key.token.clone()).collect();
    let (mut headers, mut query) = request::shown(g, &tokens);
    if g.percent(60) {
        // Plainly one key, in the first place that the rules name.
        (headers, query) = plain(g, world);
    }
    for (chance, name, value) in [
        (40, "x-project", "proj-1"),
        (5, "x-project", "a1"),
        (3, "x-project", "*"),
        (2, "x-project", "é"),
    ] {
        headers.extend(g.maybe(chance, |_| (name.to_owned(), value.as_bytes().to_vec())));
    }
    if g.percent(40) {
        let more = request::query(g);
        query = Some(query.map_or(more.clone(), |query| format!("{query}&{more}")));
    }
    headers.push(("host".to_owned(), host.as_bytes().to_vec()));
    let target = path_for(g, &route.matcher);
    Request {
        method: if g.percent(5) {
            g.pick(METHODS).to_owned()
        } else {
            method
        },
        target: query
            .map_or(target.clone(), |query| format!("{target}?{query}"))
            .into_bytes(),
        minor_version: 1,
        headers,
    }
}

fn plain(g: &mut Gen, world: &World) -> (Vec<(String, Vec<u8>)>, Option<String>) {
    use keyward::authz::CredentialSource::{Bearer, Header, Query, WebSocketProtocol};
    let token = g.one(&world.keys).token;
    let line = |name: &str, value: String| (vec![(name.to_owned(), value.into_bytes())], None);
    match &world.credentials.sources[0] {
        Bearer => line("authorization", format!("Bearer {token}")),
        Header(name) => line(HeaderName::as_str(name), token),
        Query(name) => (Vec::new(), Some(format!("{name}={token}"))),
        WebSocketProtocol => line("sec-websocket-protocol", format!("bearer, {token}")),
    }
}
