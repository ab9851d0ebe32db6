//! Access keys over HTTP, in the shapes of orq.ai's API.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;

use super::Api;
use super::access_answered::{AccessKey, Capabilities, Token, access_key, capabilities};
use super::access_asked::{
    ConstraintsBody, CreateBody, GetQuery, ListQuery, McpAccessBody, OwnerBody, PatchBody,
    ProjectScopeBody,
};
use super::access_error::{AccessErrorBody, AccessRefusals};
use super::answer;
use super::auth::administrator;
use super::error::ApiError;
use super::input::{Segments, Unread, moment, no_query, query};
use crate::authz::{KeyStatus, PermissionMode, RawGrants, Tenant, Timestamp};
use crate::control::command::{
    AccessMap, AccessOwner, Cursor, InvalidInput, ListAccessKeys, NewKey, PatchAccessKey,
    new_access_grants, parse_access_name, parse_access_status, parse_permission_mode,
    parse_project,
};
use crate::control::service::{Applied, Minted};
use crate::control::store::StoredKey;
use crate::wire::grants::read_project_scope;

/// Create an API key. The raw key is answered once, here.
#[utoipa::path(
    post, path = "/v2/api-keys", operation_id = "ApiKeyCreate", tag = "API keys", request_body = CreateBody,
    responses(
        (status = 200, description = "Created", body = AccessKey, headers(("Keyward-Revision" = u64))),
        AccessRefusals,
        (status = 413, description = "The body is longer than 1 MiB", body = AccessErrorBody),
    ),
    security(("admin" = []))
)]
pub(super) async fn create(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let caller = administrator(&api, &headers).await?;
    let body: CreateBody = body.of_admitted().await?.parse()?;
    let gives_access = body
        .access
        .as_ref()
        .is_some_and(|levels| !levels.0.is_empty());
    let key = new_key(body)?;
    let made = api.0.keys.create_key(caller, key).await?;
    let made = made.map(|Minted { key, raw }| {
        let ignored = gives_access && !is_restricted(&key);
        access_key(key, Token::Raw(raw.expose()), ignored_access(ignored))
    });
    Ok(answer::changed(&api, &headers, StatusCode::OK, &made).await)
}

/// List API keys, the newest first. No raw key and no digest is shown.
#[utoipa::path(
    get, path = "/v2/api-keys", operation_id = "ApiKeyList", tag = "API keys", params(ListQuery),
    responses(
        (status = 200, description = "One page", body = Vec<AccessKey>, headers(("Keyward-Revision" = u64))),
        AccessRefusals,
    ),
    security(("admin" = []))
)]
pub(super) async fn list(
    State(api): State<Api>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = administrator(&api, &headers).await?;
    let asked: ListQuery = query(&uri)?;
    let source = asked.source.clone();
    let asked = page_asked(asked)?;
    let listed = api.0.keys.list_access_keys(&caller, &asked).await?;
    let shown = |key| access_key(key, Token::Masked, Vec::new());
    let listed = listed.map(|keys| match source.as_deref() {
        Some("router") => Vec::new(),
        Some(_) | None => keys.into_iter().map(shown).collect::<Vec<_>>(),
    });
    Ok(answer::read(&listed))
}

/// List what access maps may name.
#[utoipa::path(
    get, path = "/v2/api-keys/capabilities", operation_id = "ApiKeyListCapabilities", tag = "API keys",
    responses(
        (status = 200, description = "The catalogue", body = Capabilities, headers(("Keyward-Revision" = u64))),
        AccessRefusals,
    ),
    security(("admin" = []))
)]
pub(super) async fn list_capabilities(
    State(api): State<Api>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    administrator(&api, &headers).await?;
    no_query(&uri)?;
    let revision = api.0.keys.revision();
    let value = capabilities();
    Ok(answer::read(&Applied { value, revision }))
}

/// Retrieve an API key, without the raw key.
#[utoipa::path(
    get, path = "/v2/api-keys/{api_key_id}", operation_id = "ApiKeyGet", tag = "API keys",
    params(("api_key_id" = String, Path), GetQuery),
    responses(
        (status = 200, description = "The key", body = AccessKey, headers(("Keyward-Revision" = u64))),
        AccessRefusals,
        (status = 404, description = "No such key", body = AccessErrorBody),
    ),
    security(("admin" = []))
)]
pub(super) async fn fetch(
    State(api): State<Api>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = administrator(&api, &headers).await?;
    query::<GetQuery>(&uri)?;
    let found = api.0.keys.key(&caller, &Tenant::Access, &id).await?;
    Ok(answer::read(&found.map(with_prefix)))
}

/// Update an API key. What is absent stays.
#[utoipa::path(
    patch, path = "/v2/api-keys/{api_key_id}", operation_id = "ApiKeyUpdate", tag = "API keys",
    params(("api_key_id" = String, Path)), request_body = PatchBody,
    responses(
        (status = 200, description = "The key as it is now", body = AccessKey, headers(("Keyward-Revision" = u64))),
        AccessRefusals,
        (status = 413, description = "The body is longer than 1 MiB", body = AccessErrorBody),
        (status = 404, description = "No such key", body = AccessErrorBody),
        (status = 409, description = "The key was revoked, which is final", body = AccessErrorBody),
    ),
    security(("admin" = []))
)]
pub(super) async fn patch(
    State(api): State<Api>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let caller = administrator(&api, &headers).await?;
    let patch = patch_asked(body.of_admitted().await?.parse()?)?;
    let gives_access = patch
        .access
        .as_ref()
        .is_some_and(|access| !access.is_empty());
    let patched = api.0.keys.patch_access_key(caller, &id, patch).await?;
    let patched = patched.map(|key| {
        let ignored = gives_access && !is_restricted(&key);
        access_key(key, Token::Prefix, ignored_access(ignored))
    });
    Ok(answer::changed(&api, &headers, StatusCode::OK, &patched).await)
}

/// Delete an API key. It is refused from now on.
#[utoipa::path(
    delete, path = "/v2/api-keys/{api_key_id}", operation_id = "ApiKeyDelete", tag = "API keys",
    params(("api_key_id" = String, Path)),
    responses(
        (status = 204, description = "It is gone", headers(("Keyward-Revision" = u64))),
        AccessRefusals,
        (status = 404, description = "No such key", body = AccessErrorBody),
    ),
    security(("admin" = []))
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = administrator(&api, &headers).await?;
    no_query(&uri)?;
    let deleted = api.0.keys.delete_key(caller, Tenant::Access, &id).await?;
    Ok(answer::gone(&api, &headers, deleted.revision).await)
}

/// The key that a body asks for.
///
/// # Errors
/// The field at fault.
pub(super) fn new_key(body: CreateBody) -> Result<NewKey, InvalidInput> {
    refuse_restriction(body.mcp_access.as_ref())?;
    let mode = mode(body.permission_mode.as_deref())?;
    let access = body.access.map(|levels| AccessMap::parse(levels.0));
    let project = new_project(body.project_scope.as_ref(), body.projects.flatten())?;
    let expiry = [
        ("expires_at", body.expires_at),
        ("expiration", body.expiration),
        ("constraints.expires_at", constrained(body.constraints)),
    ];
    Ok(NewKey {
        tenant: Tenant::Access,
        slug: None,
        name: parse_access_name(&body.name)?,
        owner: Some(owner(body.owner)?.into()),
        status: KeyStatus::Active,
        expires_at: sole_moment(expiry)?,
        grants: RawGrants::Access(new_access_grants(mode, access.transpose()?, project)?),
    })
}

fn with_prefix(key: StoredKey) -> AccessKey {
    access_key(key, Token::Prefix, Vec::new())
}

fn is_restricted(key: &StoredKey) -> bool {
    match &key.record.grants {
        RawGrants::Access(grants) => {
            PermissionMode::parse(&grants.permission_mode) == Some(PermissionMode::Restricted)
        }
        RawGrants::Org { .. } | RawGrants::Workspace { .. } => false,
    }
}

fn ignored_access(ignored: bool) -> Vec<String> {
    let warning = "`access` has no effect: `permission_mode` is not `restricted`".to_owned();
    if ignored { vec![warning] } else { Vec::new() }
}

fn mode(given: Option<&str>) -> Result<Option<PermissionMode>, InvalidInput> {
    given.map(parse_permission_mode).transpose()
}

fn constrained(constraints: Option<ConstraintsBody>) -> Option<String> {
    constraints.and_then(|constraints| constraints.expires_at)
}

/// The one moment that is given in any of several places.
fn sole_moment<const N: usize>(
    places: [(&str, Option<String>); N],
) -> Result<Option<Timestamp>, InvalidInput> {
    let mut given = places
        .into_iter()
        .filter_map(|(field, text)| Some((field, text?)));
    let Some((field, text)) = given.next() else {
        return Ok(None);
    };
    match given.next() {
        Some((second, _)) => Err(both(field, second)),
        None => moment(field, &text).map(Some),
    }
}

fn both(first: &str, second: &str) -> InvalidInput {
    InvalidInput::new(
        second,
        format_args!("is there beside `{first}`: give one of them"),
    )
}

fn refuse_restriction(mcp_access: Option<&McpAccessBody>) -> Result<(), InvalidInput> {
    let restricts = mcp_access.is_some_and(|access| {
        access.deny_all
            || !access.allowed_mcp_gateway_ids.is_empty()
            || !access.toolset_ids.is_empty()
    });
    if restricts {
        let problem = "restricts MCP gateways, and nothing here would enforce that";
        return Err(InvalidInput::new("mcp_access", problem));
    }
    Ok(())
}

fn owner(given: Option<OwnerBody>) -> Result<AccessOwner, InvalidInput> {
    let problem =
        "is `{\"user\":{\"user_id\":…}}`, `{\"service_account\":{}}`, or the same with `type`";
    match given {
        None => Ok(AccessOwner::ServiceAccount),
        Some(OwnerBody {
            user: Some(user),
            service_account: None,
            kind: None,
            user_id: None,
        }) => AccessOwner::user("owner.user.user_id", &user.user_id),
        Some(OwnerBody {
            user: None,
            service_account: Some(_),
            kind: None,
            user_id: None,
        }) => Ok(AccessOwner::ServiceAccount),
        Some(OwnerBody {
            user: None,
            service_account: None,
            kind: Some(kind),
            user_id,
        }) => match (AccessOwner::parse_kind("owner.type", &kind)?, user_id) {
            (AccessOwner::USER, Some(id)) => AccessOwner::user("owner.user_id", &id),
            (AccessOwner::SERVICE_ACCOUNT, None) => Ok(AccessOwner::ServiceAccount),
            (_, _) => Err(InvalidInput::new("owner", problem)),
        },
        Some(_) => Err(InvalidInput::new("owner", problem)),
    }
}

fn project(given: &ProjectScopeBody) -> Result<Option<String>, InvalidInput> {
    let problem = "is `{\"all\":{}}`, `{\"single\":{\"project_id\":…}}`, or the same with `mode`";
    let refused = || InvalidInput::new("project_scope", problem);
    let json = serde_json::to_value(given).map_err(|_| refused())?;
    let project = read_project_scope(&json).ok_or_else(refused)?;
    project
        .map(|id| parse_project("project_scope.project_id", &id))
        .transpose()
}

fn new_project(
    scope: Option<&ProjectScopeBody>,
    projects: Option<Vec<String>>,
) -> Result<Option<String>, InvalidInput> {
    match (scope, projects.as_deref()) {
        (Some(_), Some(_)) => Err(both("project_scope", "projects")),
        (Some(scope), None) => project(scope),
        (None, None | Some([])) => Ok(None),
        (None, Some([one])) => parse_project("projects[0]", one).map(Some),
        (None, Some(_)) => Err(InvalidInput::new("projects", "has at most one entry")),
    }
}

fn patch_asked(body: PatchBody) -> Result<PatchAccessKey, InvalidInput> {
    refuse_restriction(body.mcp_access.as_ref())?;
    let status = match (&body.status, body.active) {
        (Some(_), Some(_)) => return Err(both("status", "active")),
        (Some(status), None) => Some(parse_access_status(status)?),
        (None, Some(true)) => Some(KeyStatus::Active),
        (None, Some(false)) => Some(KeyStatus::Disabled),
        (None, None) => None,
    };
    let expires_at = sole_moment([
        ("expires_at", body.expires_at),
        ("constraints.expires_at", constrained(body.constraints)),
    ])?;
    let clear = body.clear_expires_at.unwrap_or(false);
    if clear && expires_at.is_some() {
        return Err(both("expires_at", "clear_expires_at"));
    }
    Ok(PatchAccessKey {
        name: body.name.as_deref().map(parse_access_name).transpose()?,
        status,
        mode: mode(body.permission_mode.as_deref())?,
        access: body
            .access
            .map(|levels| AccessMap::parse(levels.0))
            .transpose()?,
        project: body.project_scope.as_ref().map(project).transpose()?,
        expires_at: expires_at.map(Some).or(clear.then_some(None)),
    })
}

fn page_asked(query: ListQuery) -> Result<ListAccessKeys, InvalidInput> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let cursor = match (given(query.starting_after), given(query.ending_before)) {
        (Some(_), Some(_)) => return Err(both("starting_after", "ending_before")),
        (Some(id), None) => Some(Cursor::After(id)),
        (None, Some(id)) => Some(Cursor::Before(id)),
        (None, None) => None,
    };
    if let Some(limit) = query.limit
        && !(1..=ListAccessKeys::LIMIT_MAX).contains(&limit)
    {
        let problem = format!("is 1 to {}", ListAccessKeys::LIMIT_MAX);
        return Err(InvalidInput::new("limit", problem));
    }
    let source = query.source.as_deref();
    if !matches!(source, None | Some("" | "workspace" | "router")) {
        return Err(InvalidInput::new("source", "is `workspace` or `router`"));
    }
    let each = |texts: &[String]| -> Vec<String> {
        let parts = texts.iter().flat_map(|text| text.split(','));
        parts
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let owner_kinds = each(&query.owner_type);
    let owner_kinds = owner_kinds
        .iter()
        .map(|kind| AccessOwner::parse_kind("owner_type", kind));
    let modes = each(&query.permission_mode);
    let modes = modes.iter().map(|mode| parse_permission_mode(mode));
    Ok(ListAccessKeys {
        limit: query.limit,
        cursor,
        project: given(query.project_id),
        status: given(query.status)
            .as_deref()
            .map(parse_access_status)
            .transpose()?,
        search: given(query.search),
        owner_kinds: owner_kinds.collect::<Result<_, _>>()?,
        modes: modes.collect::<Result<_, _>>()?,
    })
}
