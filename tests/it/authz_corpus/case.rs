//! How cases are written, and what of the model's plain data they stand for. `tests/corpus/authz/README.md` has
//! the form.

use http::HeaderName;
use keyward::authz::{
    AccessLevel, CaseMatch, CredentialRules, CredentialSource, Family, KeyId, KeyRecord, KeyStatus,
    MatchOptions, Owner, Revision, Tenant, Timestamp, TrailingSlash, UserTokenSource,
};
use keyward::wire::grants::from_json;
use keyward::wire::time::parse_rfc3339;
use keyward::wire::value::to_authz;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::model::decision::{Key, Route, World};
use crate::model::grants::level;
use crate::model::request::Request;
use crate::model::requirement::{
    Access, Families, Org, Project, Requirement, Rule, Stated, Workspace,
};
use crate::model::route::Matcher;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[expect(dead_code, reason = "for whoever reads the file")]
    about: String,
    #[serde(flatten)]
    setting: Setting,
    pub cases: Vec<Case>,
}

/// What decides besides the request; a case's own parts stand in place of its file's.
#[derive(Deserialize, Clone, Default)]
pub struct Setting {
    routes: Option<Vec<RouteText>>,
    /// Absent: those of the file. `null`: they cannot be looked up.
    #[serde(default, deserialize_with = "present")]
    keys: Option<Option<Vec<KeyText>>>,
    credentials: Option<CredentialText>,
    now: Option<String>,
    trusted_identity: Option<bool>,
}

/// Tells `null` from what is absent.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    pub grants: Option<Map<String, Json>>,
    pub check: Option<Json>,
    #[serde(default)]
    pub refused: bool,
    pub in_data: Option<Outcome>,
    pub request: Option<Vec<String>>,
    #[serde(flatten)]
    pub outcome: Outcome,
    #[serde(flatten)]
    setting: Setting,
}

#[derive(Deserialize)]
pub struct Outcome {
    pub allow: Option<Json>,
    pub deny: Option<String>,
    pub by: Option<Json>,
    pub methods: Option<Vec<String>>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct RouteText {
    name: String,
    #[serde(default)]
    hosts: Vec<String>,
    path: String,
    methods: Vec<String>,
    require: Json,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    shadow: bool,
    #[serde(default)]
    user_tokens: String,
    #[serde(default)]
    encoded_slash: String,
    #[serde(default)]
    matrix: String,
    #[serde(default, rename = "match")]
    options: Map<String, Json>,
    #[serde(default)]
    credentials: Map<String, Json>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct KeyText {
    id: String,
    token: String,
    org: Option<String>,
    workspace: Option<String>,
    grants: Json,
    status: Option<String>,
    expires_at: Option<String>,
    retired_at: Option<String>,
    owner: Option<OwnerText>,
}

#[derive(Deserialize, Clone)]
struct OwnerText {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
struct CredentialText {
    sources: Option<Vec<Json>>,
    user_tokens_from: Option<Vec<Json>>,
}

impl File {
    /// What decides on the requests of `case`.
    pub fn world_for(&self, case: &Case) -> World {
        let (own, shared) = (case.setting.clone(), self.setting.clone());
        let keys = own.keys.or(shared.keys).unwrap_or_default();
        let now = own.now.or(shared.now);
        World {
            routes: own
                .routes
                .or(shared.routes)
                .unwrap_or_default()
                .iter()
                .map(RouteText::route)
                .collect(),
            keys_available: keys.is_some(),
            trusted_identity: own.trusted_identity.or(shared.trusted_identity) == Some(true),
            keys: keys.unwrap_or_default().iter().map(KeyText::key).collect(),
            credentials: own
                .credentials
                .or(shared.credentials)
                .unwrap_or_default()
                .rules(),
            now: now.map_or(0, |now| moment(&now).as_millis()),
        }
    }
}

fn moment(text: &str) -> Timestamp {
    parse_rfc3339(text).expect("a moment")
}

/// One of the words that a member of a route may be.
fn is(text: &str, word: &str, otherwise: &str) -> bool {
    assert!(
        [word, otherwise, ""].contains(&text),
        "`{text}` is neither `{word}` nor `{otherwise}`"
    );
    text == word
}

impl RouteText {
    fn route(&self) -> Route {
        let option = |name: &str| self.options.get(name).and_then(Json::as_str).unwrap_or("");
        let forward = self
            .credentials
            .get("forward")
            .and_then(Json::as_str)
            .unwrap_or("");
        let insensitive = is(option("case"), "insensitive", "sensitive");
        let ignored = is(option("trailing_slash"), "ignored", "significant");
        Route {
            name: self.name.clone(),
            matcher: Matcher {
                hosts: self.hosts.clone(),
                path: self.path.clone(),
                methods: self.methods.clone(),
                options: MatchOptions {
                    case: if insensitive {
                        CaseMatch::Insensitive
                    } else {
                        CaseMatch::Sensitive
                    },
                    trailing_slash: if ignored {
                        TrailingSlash::Ignored
                    } else {
                        TrailingSlash::Significant
                    },
                },
            },
            requirement: match self.require.as_str() {
                Some("anonymous") => Requirement::Anonymous,
                Some("authenticated") => Requirement::Authenticated,
                Some("trusted_identity") => Requirement::TrustedIdentity,
                Some(word) => panic!("`{word}` is no requirement"),
                None => Requirement::Families(Box::new(families(&self.require))),
            },
            optional: self.optional,
            user_tokens_forward: is(&self.user_tokens, "forward", "reject"),
            shadow: self.shadow,
            forward_key: is(forward, "keep", "strip"),
            encoded_slash: is(&self.encoded_slash, "allow", "refuse"),
            matrix: is(&self.matrix, "allow", "refuse"),
        }
    }
}

impl KeyText {
    fn key(&self) -> Key {
        let (tenant, family) = match (&self.org, &self.workspace) {
            (Some(slug), _) => (Tenant::Org(slug.clone()), Family::Org),
            (_, Some(id)) => (Tenant::Workspace(id.clone()), Family::Workspace),
            _ => (Tenant::Access, Family::Access),
        };
        let owner = self.owner.clone();
        Key {
            token: self.token.clone(),
            retired_at: self.retired_at.as_deref().map(|at| moment(at).as_millis()),
            record: KeyRecord {
                id: KeyId::new(self.id.as_str()),
                tenant,
                name: self.id.clone(),
                owner: owner.map(|OwnerText { kind, id }| Owner { kind, id }),
                status: match self.status.as_deref() {
                    None | Some("active") => KeyStatus::Active,
                    Some("disabled") => KeyStatus::Disabled,
                    Some("revoked") => KeyStatus::Revoked,
                    Some(other) => panic!("`{other}` is no status"),
                },
                expires_at: self.expires_at.as_deref().map(moment),
                grants: from_json(family, &self.grants),
                revision: Revision(1),
            },
        }
    }
}

impl CredentialText {
    fn rules(&self) -> CredentialRules {
        let named = |source: &Json, name: &str| Some(source.get(name)?.as_str()?.to_owned());
        let header = |name: &str| name.parse::<HeaderName>().expect("a header");
        let source = |source: &Json| match (
            source.as_str(),
            named(source, "header"),
            named(source, "query"),
        ) {
            (Some("bearer"), ..) => CredentialSource::Bearer,
            (Some("websocket_protocol"), ..) => CredentialSource::WebSocketProtocol,
            (_, Some(name), _) => CredentialSource::Header(header(&name)),
            (.., Some(name)) => CredentialSource::Query(name),
            _ => panic!("{source} is no source"),
        };
        let user_source = |source: &Json| match (
            source.as_str(),
            named(source, "header"),
            named(source, "cookie"),
        ) {
            (Some("bearer"), ..) => UserTokenSource::Bearer,
            (_, Some(name), _) => UserTokenSource::Header(header(&name)),
            (.., Some(name)) => UserTokenSource::Cookie(name),
            _ => panic!("{source} is no source"),
        };
        let mut rules = CredentialRules::default();
        if let Some(sources) = &self.sources {
            rules.sources = sources.iter().map(source).collect();
        }
        if let Some(sources) = &self.user_tokens_from {
            rules.user_tokens_from = sources.iter().map(user_source).collect();
        }
        rules
    }
}

fn text(of: &Json, name: &str) -> Option<String> {
    of.get(name).and_then(Json::as_str).map(str::to_owned)
}

fn texts(of: &Json, name: &str) -> Vec<String> {
    let list = of
        .get(name)
        .and_then(Json::as_array)
        .cloned()
        .unwrap_or_default();
    list.iter()
        .map(|text| text.as_str().expect("a text").to_owned())
        .collect()
}

fn flag(of: &Json, name: &str) -> bool {
    of.get(name).and_then(Json::as_bool).unwrap_or(false)
}

/// A `require` with parts for families.
fn families(require: &Json) -> Families {
    let has = |names: &[&str]| names.iter().any(|name| require.get(name).is_some());
    let rule = require.get("rule").map(rule);
    Families {
        org: has(&["org", "permissions", "any_permission", "scopes"]).then(|| org(require)),
        workspace: has(&["workspace", "rule"]).then(|| Workspace {
            workspace: text(require, "workspace"),
            rule,
        }),
        access: require.get("access").map(access),
    }
}

fn org(of: &Json) -> Org {
    Org {
        org: text(of, "org"),
        permissions: texts(of, "permissions"),
        any_permission: texts(of, "any_permission"),
        scopes: texts(of, "scopes"),
        empty_scopes_allow: is(
            &text(of, "empty_scopes").unwrap_or_default(),
            "allow",
            "deny",
        ),
    }
}

fn rule(of: &Json) -> Rule {
    let stated = |value: &Json| match value.as_str() {
        Some(template) => Stated::Template(template.to_owned()),
        None => Stated::Literal(to_authz(value)),
    };
    let resource = of
        .get("resource")
        .and_then(Json::as_object)
        .cloned()
        .unwrap_or_default();
    Rule {
        action: text(of, "action").expect("an action"),
        subject: text(of, "subject").expect("a subject"),
        resource: resource
            .iter()
            .map(|(name, value)| (name.clone(), stated(value)))
            .collect(),
        complete: flag(of, "complete"),
        field: text(of, "field"),
        any_field: flag(of, "any_field"),
    }
}

fn access(of: &Json) -> Access {
    Access {
        domain: text(of, "domain").expect("a domain"),
        level: level(&text(of, "level").expect("a level")).unwrap_or(AccessLevel::None),
        project: match text(of, "project").as_deref() {
            None => Project::Unstated,
            Some("any") => Project::Any,
            Some(template) => Project::At(template.to_owned()),
        },
    }
}

/// The family and the requirement of a check, in which everything is literal.
pub fn requirement_of(check: &Json) -> (Family, Families) {
    let nothing = Families::default;
    if check.get("domain").is_some() {
        (
            Family::Access,
            Families {
                access: Some(access(check)),
                ..nothing()
            },
        )
    } else if check.get("action").is_some() {
        let mut rule = rule(check);
        let resource = check
            .get("resource")
            .and_then(Json::as_object)
            .cloned()
            .unwrap_or_default();
        let literal =
            |(name, value): (&String, &Json)| (name.clone(), Stated::Literal(to_authz(value)));
        rule.resource = resource.iter().map(literal).collect();
        let workspace = Workspace {
            workspace: None,
            rule: Some(rule),
        };
        (
            Family::Workspace,
            Families {
                workspace: Some(workspace),
                ..nothing()
            },
        )
    } else {
        (
            Family::Org,
            Families {
                org: Some(org(check)),
                ..nothing()
            },
        )
    }
}

/// A request from the lines of its head. Each character is one byte.
pub fn request_of(lines: &[String]) -> Request {
    let bytes = |text: &str| {
        text.chars()
            .map(|c| u8::try_from(c).expect("a byte"))
            .collect()
    };
    let (first, headers) = lines.split_first().expect("a request line");
    let (method, rest) = first.split_once(' ').expect("a target");
    let (target, version) = rest.rsplit_once(" HTTP/1.").expect("a version");
    let header = |line: &String| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_owned(), bytes(value))
    };
    Request {
        method: method.to_owned(),
        target: bytes(target),
        minor_version: version.parse().expect("a version"),
        headers: headers.iter().map(header).collect(),
    }
}
