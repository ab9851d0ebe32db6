//! Answers about access keys, in both shapes that orq.ai publishes at once: one with long names of enumerations, under
//! `api_key`, and a flat one with short names.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::answer::present_members;
use crate::authz::{AccessLevel, KeyStatus, Owner, PermissionMode, RawAccess, RawGrants};
use crate::control::catalogue::{self, Domain, DomainGroup};
use crate::control::command::AccessOwner;
use crate::control::store::StoredKey;
use crate::control::token::ACCESS_PREFIX;
use crate::wire::time::format_rfc3339;

/// A key in both shapes.
#[derive(Serialize, ToSchema)]
pub(super) struct AccessKey {
    /// The key with long names of enumerations.
    api_key: ApiKey,
    /// Identifier that never changes; a part of the raw key.
    id: String,
    /// Name for people.
    name: String,
    /// Always the same: an installation has one workspace.
    workspace_id: &'static str,
    /// The raw key in the answer to its creation, its prefix in others, masked in lists.
    token: String,
    /// By which people tell keys apart.
    token_prefix: String,
    /// Whether it is neither disabled nor revoked.
    active: bool,
    /// Always false.
    is_legacy: bool,
    /// Always `workspace`.
    source: &'static str,
    /// From then on it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    expiration: Option<String>,
    /// The one project that it is limited to, if it is.
    projects: Vec<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
    /// When it was changed last.
    #[schema(format = DateTime)]
    updated: String,
    /// `{"type":"user","user_id":…}` or `{"type":"service_account"}`.
    #[schema(value_type = Object)]
    owner: Value,
    /// `{"mode":"all"}` or `{"mode":"single","project_id":…}`.
    #[schema(value_type = Object)]
    project_scope: Value,
    /// `all`, `read_only` or `restricted`.
    permission_mode: &'static str,
    /// `none`, `read` or `write` by domain.
    #[schema(value_type = HashMap<String, String>)]
    access: Map<String, Value>,
    /// `active`, `disabled` or `revoked`.
    status: &'static str,
    /// `{"expires_at":…}` where it expires.
    #[schema(value_type = Object)]
    constraints: Value,
    /// When it was used last, as far as gateways have reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    last_used_at: Option<String>,
    /// What was accepted and has no effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// A key with long names of enumerations.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessKeyDetails)]
struct ApiKey {
    /// Identifier that never changes; a part of the raw key.
    api_key_id: String,
    /// Name for people.
    name: String,
    /// `{"user":{"user_id":…}}` or `{"service_account":{}}`.
    #[schema(value_type = Object)]
    owner: Value,
    /// `{"all":{}}` or `{"single":{"project_id":…}}`.
    #[schema(value_type = Object)]
    project_scope: Value,
    /// By which people tell keys apart.
    token_prefix: String,
    /// `API_KEY_STATUS_…`.
    status: String,
    /// `PERMISSION_MODE_…`.
    permission_mode: String,
    /// `ACCESS_LEVEL_…` by domain.
    #[schema(value_type = HashMap<String, String>)]
    access: Map<String, Value>,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was changed last.
    #[schema(format = DateTime)]
    updated_at: String,
    /// When it was used last, as far as gateways have reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    last_used_at: Option<String>,
    /// From then on it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    expires_at: Option<String>,
    /// Always empty.
    legacy_key_id: &'static str,
}

/// How much of a raw key an answer shows.
#[derive(Clone, Copy)]
pub(super) enum Token<'a> {
    /// All of it, to whoever made it.
    Raw(&'a str),
    /// What it begins with.
    Prefix,
    /// That there is one.
    Masked,
}

/// A key as answers show it. `warnings` precede those that the key itself gives cause to.
pub(super) fn access_key(key: StoredKey, token: Token<'_>, mut warnings: Vec<String>) -> AccessKey {
    let record = &key.record;
    let grants = match &record.grants {
        RawGrants::Access(grants) => grants.clone(),
        RawGrants::Org { .. } | RawGrants::Workspace { .. } => RawAccess::default(),
    };
    let token_prefix = format!("{ACCESS_PREFIX}{}", record.id.as_str());
    let expires_at = record.expires_at.map(format_rfc3339);
    let last_used_at = key.last_used_at.map(format_rfc3339);
    let mode = PermissionMode::parse(&grants.permission_mode);
    if !matches!(token, Token::Masked) {
        warnings.extend(unknown_domains(&grants));
    }
    AccessKey {
        api_key: ApiKey {
            api_key_id: record.id.as_str().to_owned(),
            name: record.name.clone(),
            owner: owner(record.owner.as_ref(), Shape::Long),
            project_scope: project_scope(grants.project.as_deref(), Shape::Long),
            token_prefix: token_prefix.clone(),
            status: long("API_KEY_STATUS_", status(record.status)),
            permission_mode: long("PERMISSION_MODE_", mode_name(mode)),
            access: levels(&grants, Shape::Long),
            created_at: format_rfc3339(key.created_at),
            updated_at: format_rfc3339(key.updated_at),
            last_used_at: last_used_at.clone(),
            expires_at: expires_at.clone(),
            legacy_key_id: "",
        },
        id: record.id.as_str().to_owned(),
        workspace_id: "keyward",
        token: match token {
            Token::Raw(raw) => raw.to_owned(),
            Token::Prefix => token_prefix.clone(),
            Token::Masked => format!("{token_prefix}-********"),
        },
        token_prefix,
        active: record.status == KeyStatus::Active,
        is_legacy: false,
        source: "workspace",
        projects: grants.project.iter().cloned().collect(),
        created: format_rfc3339(key.created_at),
        updated: format_rfc3339(key.updated_at),
        owner: owner(record.owner.as_ref(), Shape::Flat),
        project_scope: project_scope(grants.project.as_deref(), Shape::Flat),
        permission_mode: mode_name(mode),
        access: levels(&grants, Shape::Flat),
        status: status(record.status),
        constraints: expires_at.as_ref().map_or_else(
            || json!({}),
            |expires_at| json!({ "expires_at": expires_at }),
        ),
        expiration: expires_at,
        last_used_at,
        warnings,
        name: key.record.name,
    }
}

/// A key as the body of the call that would make it.
pub(super) fn as_created(key: StoredKey) -> Map<String, Value> {
    let shown = access_key(key, Token::Masked, Vec::new());
    let members = [
        ("name", Some(shown.name.into())),
        ("owner", Some(shown.owner)),
        ("project_scope", Some(shown.project_scope)),
        ("permission_mode", Some(shown.permission_mode.into())),
        ("access", Some(shown.access.into())),
        ("expires_at", shown.expiration.map(Value::from)),
    ];
    present_members(members)
}

/// Which of the two shapes a member is for.
#[derive(Clone, Copy)]
enum Shape {
    Long,
    Flat,
}

fn owner(owner: Option<&Owner>, shape: Shape) -> Value {
    match (AccessOwner::of(owner), shape) {
        (AccessOwner::User(id), Shape::Long) => json!({"user": {"user_id": id}}),
        (AccessOwner::ServiceAccount, Shape::Long) => json!({"service_account": {}}),
        (AccessOwner::User(id), Shape::Flat) => json!({"type": "user", "user_id": id}),
        (AccessOwner::ServiceAccount, Shape::Flat) => json!({"type": "service_account"}),
    }
}

fn project_scope(project: Option<&str>, shape: Shape) -> Value {
    match (project, shape) {
        (None, Shape::Long) => json!({"all": {}}),
        (Some(id), Shape::Long) => json!({"single": {"project_id": id}}),
        (None, Shape::Flat) => json!({"mode": "all"}),
        (Some(id), Shape::Flat) => json!({"mode": "single", "project_id": id}),
    }
}

/// Levels as they count: one that cannot be read is `none`.
fn levels(grants: &RawAccess, shape: Shape) -> Map<String, Value> {
    let levels = grants.access.iter().map(|(domain, level)| {
        let level = AccessLevel::parse(level).unwrap_or_default().as_str();
        let level = match shape {
            Shape::Long => long("ACCESS_LEVEL_", level),
            Shape::Flat => level.to_owned(),
        };
        (domain.clone(), Value::from(level))
    });
    levels.collect()
}

fn mode_name(mode: Option<PermissionMode>) -> &'static str {
    mode.map_or("unspecified", PermissionMode::as_str)
}

const fn status(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Active => "active",
        KeyStatus::Disabled => "disabled",
        KeyStatus::Revoked => "revoked",
    }
}

fn long(prefix: &str, name: &str) -> String {
    format!("{prefix}{}", name.to_ascii_uppercase())
}

fn unknown_domains(grants: &RawAccess) -> impl Iterator<Item = String> {
    let domains = grants.access.iter().map(|(domain, _)| domain);
    domains
        .filter(|domain| !catalogue::is_known(domain))
        .map(|domain| {
            let domain = domain.escape_debug();
            format!(
                "`access.{domain}` grants nothing: `{domain}` is not in the capability catalogue"
            )
        })
}

/// What access maps may name.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessKeyCapabilities)]
pub(super) struct Capabilities {
    /// The domains: those of the workspace's administration, of the platform, of the gateway.
    domains: Vec<Capability>,
}

/// A domain of access maps.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessKeyDomain)]
struct Capability {
    /// Its name in access maps.
    id: &'static str,
    /// Its name for people.
    display_name: &'static str,
    /// `DOMAIN_GROUP_…`.
    group: &'static str,
    /// `SCOPE_MODE_…`: whether it can be granted for one project alone.
    allowed_scopes: Vec<&'static str>,
    /// Whether reading can be granted.
    readable: bool,
    /// Whether writing can be granted.
    writable: bool,
    /// Verbs beyond those of its group that writing includes.
    extra_write_verbs: &'static [&'static str],
}

/// The catalogue as the API answers it.
pub(super) fn capabilities() -> Capabilities {
    let domains = catalogue::DOMAINS.iter().map(capability);
    Capabilities {
        domains: domains.collect(),
    }
}

fn capability(domain: &Domain) -> Capability {
    let (group, is_of_projects) = match domain.group {
        DomainGroup::WorkspaceAdmin => ("DOMAIN_GROUP_WORKSPACE_ADMIN", false),
        DomainGroup::Platform => ("DOMAIN_GROUP_PLATFORM", true),
        DomainGroup::Gateway => ("DOMAIN_GROUP_GATEWAY", true),
    };
    let mut allowed_scopes = vec!["SCOPE_MODE_ALL"];
    if is_of_projects {
        allowed_scopes.push("SCOPE_MODE_SINGLE");
    }
    Capability {
        id: domain.id,
        display_name: domain.display_name,
        group,
        allowed_scopes,
        readable: true,
        writable: true,
        extra_write_verbs: domain.extra_write_verbs,
    }
}
