//! Keys by the million for benches and for the test that counts allocations: the `i`-th is always the same.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use keyward::authz::{
    AccessLevel, AccessRequirement, CredentialRules, FamilyRequirements, ForwardKey, KeyDigest,
    KeyId, KeyRecord, KeyStatus, MatchOptions, OrgRequirement, Policy, ProjectRequirement,
    RawAccess, RawGrants, RawRule, Requirement, ResourceValue, Revision, RoutePattern, RouteSpec,
    RouteTable, RuleRequirement, Rulebook, Template, Tenant, Timestamp, UserTokens, Value,
    WorkspaceRequirement,
};
use keyward::replica::{Config, Replica};
use keyward::wire::{ChangeSink, Epoch, KeySource, Secret, SecretDigest, SecretEntry};

/// The present of every bench.
pub const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Keys in use, shown one after the other.
pub const IN_USE: usize = 10_000;

/// The three families, in the order in which keys are dealt out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Org,
    Workspace,
    Access,
}

pub const KINDS: [Kind; 3] = [Kind::Org, Kind::Workspace, Kind::Access];

/// The token of key `i`, of the form that its family has.
pub fn token(i: u64) -> String {
    let random = blake3::hash(&i.to_le_bytes()).to_hex();
    let part = |from: usize, to: usize| random.get(from..to).unwrap_or_default();
    let uuid = format!(
        "{}-{}-4{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 15),
        part(15, 18),
        part(18, 30)
    );
    match kind(i) {
        Kind::Org => format!("iak_org-{}_{uuid}", i % 1000),
        Kind::Workspace => uuid,
        Kind::Access => format!("sk-orq-01JD8X2C{i:018}-{}", part(0, 40)),
    }
}

pub fn kind(i: u64) -> Kind {
    match i % 3 {
        0 => Kind::Org,
        1 => Kind::Workspace,
        _ => Kind::Access,
    }
}

fn record(i: u64) -> KeyRecord {
    let (tenant, grants) = match kind(i) {
        Kind::Org => (
            Tenant::Org(format!("org-{}", i % 1000)),
            RawGrants::Org {
                permissions: vec![
                    "orgs:members:read".into(),
                    "agent-factory:agents:read".into(),
                ],
                scopes: vec!["agents:a1".into(), "models:*".into()],
            },
        ),
        Kind::Workspace => {
            let conditions = Value::Object(vec![("id".into(), Value::String("p1".into()))]);
            let rule = RawRule {
                action: vec!["read".into()],
                subject: vec!["pages".into()],
                conditions: Some(conditions),
                ..RawRule::default()
            };
            (
                Tenant::Workspace("w1".into()),
                RawGrants::Workspace { rules: vec![rule] },
            )
        }
        Kind::Access => (
            Tenant::Access,
            RawGrants::Access(RawAccess {
                permission_mode: "RESTRICTED".into(),
                access: vec![
                    ("deployment".into(), "read".into()),
                    ("agent".into(), "write".into()),
                ],
                project: None,
            }),
        ),
    };
    KeyRecord {
        id: KeyId::new(format!("key-{i}")),
        tenant,
        name: format!("key {i}"),
        owner: None,
        status: KeyStatus::Active,
        expires_at: Some(Timestamp::from_millis(4_000_000_000_000)),
        grants,
        revision: Revision(i + 1),
    }
}

/// Key `i`, with its one secret.
pub fn entry(i: u64) -> SecretEntry {
    SecretEntry {
        record: Arc::new(record(i)),
        secrets: vec![Secret {
            digest: SecretDigest::Blake3(KeyDigest::of(token(i).as_bytes(), None)),
            retired_at: None,
        }],
    }
}

/// All keys up to a number, as a source has them.
pub struct Generated {
    /// How many.
    pub keys: u64,
}

impl KeySource for Generated {
    fn epoch(&self) -> Epoch {
        Epoch(1)
    }

    fn revision(&self) -> Revision {
        Revision(self.keys)
    }

    fn entries(&mut self) -> Box<dyn Iterator<Item = SecretEntry> + '_> {
        Box::new((0..self.keys).map(entry))
    }
}

/// A replica with `keys` keys.
pub fn replica(keys: u64) -> Arc<Replica> {
    let replica = Replica::new(Config::default());
    replica
        .load(&mut Generated { keys })
        .expect("it never breaks off");
    replica
}

/// Tokens of one family in use among `keys` keys: spread over all of them.
pub fn tokens_in_use(keys: u64, wanted: Kind) -> Vec<String> {
    let stride = (keys / IN_USE as u64).max(1);
    let of_family = |i: u64| (i..i + 3).find(|i| kind(*i) == wanted).unwrap_or(i);
    let chosen = (0..keys.saturating_sub(3))
        .step_by(stride as usize)
        .map(of_family);
    chosen.take(IN_USE).map(token).collect()
}

/// A request of the family, with its key in the place where that family has it.
pub fn request(kind: Kind, token: &str) -> (HeaderMap, &'static [u8]) {
    let (name, value, target): (HeaderName, String, &[u8]) = match kind {
        Kind::Org => (
            HeaderName::from_static("x-prismeai-api-key"),
            token.into(),
            b"/v1/agents/a1",
        ),
        Kind::Workspace => (
            HeaderName::from_static("x-prismeai-api-key"),
            token.into(),
            b"/v2/workspaces/w1/pages/p1",
        ),
        Kind::Access => (
            http::header::AUTHORIZATION,
            format!("Bearer {token}"),
            b"/v2/deployments/invoke",
        ),
    };
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("api.example.com"));
    headers.insert("accept", HeaderValue::from_static("*/*"));
    headers.insert("user-agent", HeaderValue::from_static("wrk"));
    headers.insert(name, HeaderValue::from_str(&value).expect("a header value"));
    (headers, target)
}

fn template(text: &str, captures: &[&str]) -> Template {
    Template::parse(text, captures).expect("a template")
}

fn requirements() -> Vec<(&'static str, FamilyRequirements)> {
    let org = OrgRequirement {
        permissions: vec![template("agent-factory:agents:read", &[])],
        scopes: vec![template("agents:{agentId}", &["agentId"])],
        ..OrgRequirement::default()
    };
    let captures = ["workspaceId", "pageId"];
    let workspace = WorkspaceRequirement {
        workspace: Some(template("{workspaceId}", &captures)),
        rule: Some(RuleRequirement {
            action: "read".into(),
            subject: "pages".into(),
            resource: vec![
                (
                    "id".into(),
                    ResourceValue::Template(template("{pageId}", &captures)),
                ),
                (
                    "workspaceId".into(),
                    ResourceValue::Template(template("{workspaceId}", &captures)),
                ),
            ],
            complete: false,
            field: None,
            any_field: false,
        }),
    };
    let access = AccessRequirement {
        domain: "deployment".into(),
        level: AccessLevel::Read,
        project: ProjectRequirement::Unstated,
    };
    let of = FamilyRequirements::default;
    vec![
        (
            "/v1/agents/{agentId}",
            FamilyRequirements {
                org: Some(org),
                ..of()
            },
        ),
        (
            "/v2/workspaces/{workspaceId}/pages/{pageId}",
            FamilyRequirements {
                workspace: Some(workspace),
                ..of()
            },
        ),
        (
            "/v2/deployments/invoke",
            FamilyRequirements {
                access: Some(access),
                ..of()
            },
        ),
    ]
}

/// The routes of the three families among `others` that are not asked for.
pub fn rulebook(others: usize) -> Rulebook {
    let guarded = requirements()
        .into_iter()
        .map(|(path, families)| (path.to_owned(), Requirement::Families(families)));
    let others = (0..others).map(|i| {
        (
            format!("/v3/things{i}/{{id}}/parts/{{part}}"),
            Requirement::Authenticated,
        )
    });
    let (specs, policies): (Vec<_>, Vec<_>) = guarded
        .chain(others)
        .map(|(path, requirement)| {
            let spec = RouteSpec {
                name: path.clone(),
                hosts: Vec::new(),
                pattern: RoutePattern::parse(&path).expect("a pattern"),
                methods: vec![http::Method::GET],
                options: MatchOptions::default(),
            };
            let policy = Policy {
                requirement,
                optional: false,
                user_tokens: UserTokens::Reject,
                shadow: false,
                forward: ForwardKey::Strip,
                encoded_slash: false,
                matrix: false,
            };
            (spec, policy)
        })
        .unzip();
    let routes = RouteTable::build(specs).expect("a route table");
    Rulebook::new(routes, policies, CredentialRules::default())
}
