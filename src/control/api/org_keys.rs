//! Keys of organisations over HTTP, in the shapes of Prisme.ai's API.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;

use super::Api;
use super::answer;
use super::auth::admitted;
use super::error::{ApiError, ErrorBody, Refusals};
use super::input::{Segments, Unread, moment, no_query, query};
use super::org_shapes::{
    CreateBody, ListQuery, OrgApiKey, OrgApiKeyList, OrgApiKeyWithSecret, PatchBody, RotateBody,
    Success, with_secret, without_secret,
};
use crate::authz::{KeyStatus, RawGrants, Tenant};
use crate::control::command::{
    InvalidInput, KeyName, KeySlug, ListKeys, NewKey, OrgSlug, PatchOrgKey, RotateOrgKey, Sort,
    parse_owner,
};

/// Create an API key. The raw key is answered once, here.
#[utoipa::path(
    post, path = "/v2/orgs/{orgSlug}/api-keys", operation_id = "createOrgApiKey", tag = "Organizations",
    params(("orgSlug" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$")), request_body = CreateBody,
    responses(
        (status = 201, description = "Created", body = OrgApiKeyWithSecret, headers(("Keyward-Revision" = u64))),
        Refusals,
        (status = 413, description = "The body is longer than 1 MiB", body = ErrorBody),
        (status = 409, description = "The slug is taken", body = ErrorBody),
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    Segments(org): Segments<String>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let (caller, org) = admitted(&api, &headers, OrgSlug::parse(&org)).await?;
    let key = new_key(&org, body.of_admitted().await?.parse()?)?;
    let made = api.0.keys.create_key(caller, key).await?.map(with_secret);
    Ok(answer::changed(&api, &headers, StatusCode::CREATED, &made).await)
}

/// List API keys. No raw key and no digest is shown.
#[utoipa::path(
    get, path = "/v2/orgs/{orgSlug}/api-keys", operation_id = "listOrgApiKeys", tag = "Organizations",
    params(("orgSlug" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"), ListQuery),
    responses(
        (status = 200, description = "One page", body = OrgApiKeyList, headers(("Keyward-Revision" = u64))),
        Refusals,
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    Segments(org): Segments<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (caller, org) = admitted(&api, &headers, OrgSlug::parse(&org)).await?;
    let asked = page_asked(query(&uri)?)?;
    let org = Tenant::from(&org);
    let page = api.0.keys.list_keys(&caller, &org, &asked).await?;
    let list = page.map(|page| OrgApiKeyList {
        results: page.keys.into_iter().map(without_secret).collect(),
        total: page.total,
    });
    Ok(answer::read(&list))
}

/// Fetch an API key, without the raw key.
#[utoipa::path(
    get, path = "/v2/orgs/{orgSlug}/api-keys/{keyId}", operation_id = "getOrgApiKey", tag = "Organizations",
    params(("orgSlug" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"), ("keyId" = String, Path, description = "Id or slug")),
    responses(
        (status = 200, description = "The key", body = OrgApiKey, headers(("Keyward-Revision" = u64))),
        Refusals,
    )
)]
pub(super) async fn fetch(
    State(api): State<Api>,
    Segments((org, key)): Segments<(String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (caller, org) = admitted(&api, &headers, OrgSlug::parse(&org)).await?;
    no_query(&uri)?;
    let found = api.0.keys.key(&caller, &Tenant::from(&org), &key).await?;
    Ok(answer::read(&found.map(without_secret)))
}

/// Update an API key.
#[utoipa::path(
    patch, path = "/v2/orgs/{orgSlug}/api-keys/{keyId}", operation_id = "updateOrgApiKey", tag = "Organizations",
    params(("orgSlug" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"), ("keyId" = String, Path, description = "Id or slug")),
    request_body = PatchBody,
    responses(
        (status = 200, description = "The key as it is now", body = OrgApiKey, headers(("Keyward-Revision" = u64))),
        Refusals,
        (status = 413, description = "The body is longer than 1 MiB", body = ErrorBody),
        (status = 409, description = "The key was revoked, which is final", body = ErrorBody),
    )
)]
pub(super) async fn patch(
    State(api): State<Api>,
    Segments((org, key)): Segments<(String, String)>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let (caller, org) = admitted(&api, &headers, OrgSlug::parse(&org)).await?;
    let body: PatchBody = body.of_admitted().await?.parse()?;
    let expires_at = body.expires_at.map(|text| moment("expiresAt", &text));
    let patch = PatchOrgKey {
        name: body.name.as_deref().map(KeyName::parse).transpose()?,
        permissions: body.permissions,
        scopes: body.scopes,
        owner_kind: body.owner_type,
        owner_id: body.owner_id,
        expires_at: expires_at.transpose()?,
        disabled: body.disabled,
    };
    let patched = api.0.keys.patch_org_key(caller, &org, &key, patch).await?;
    let patched = patched.map(without_secret);
    Ok(answer::changed(&api, &headers, StatusCode::OK, &patched).await)
}

/// Delete an API key.
#[utoipa::path(
    delete, path = "/v2/orgs/{orgSlug}/api-keys/{keyId}", operation_id = "deleteOrgApiKey", tag = "Organizations",
    params(("orgSlug" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"), ("keyId" = String, Path, description = "Id or slug")),
    responses(
        (status = 200, description = "It is gone", body = Success, headers(("Keyward-Revision" = u64))),
        Refusals,
    )
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Segments((org, key)): Segments<(String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (caller, org) = admitted(&api, &headers, OrgSlug::parse(&org)).await?;
    no_query(&uri)?;
    let deleted = api
        .0
        .keys
        .delete_key(caller, Tenant::from(&org), &key)
        .await?;
    let deleted = deleted.map(|_| Success { success: true });
    Ok(answer::changed(&api, &headers, StatusCode::OK, &deleted).await)
}

/// Give an API key a new secret. The raw key is answered once, here.
#[utoipa::path(
    post, path = "/v2/orgs/{orgSlug}/api-keys/{keyId}/rotate", operation_id = "rotateOrgApiKey", tag = "Organizations",
    params(("orgSlug" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"), ("keyId" = String, Path, description = "Id or slug")),
    request_body = Option<RotateBody>,
    responses(
        (status = 200, description = "Rotated", body = OrgApiKeyWithSecret, headers(("Keyward-Revision" = u64))),
        Refusals,
        (status = 413, description = "The body is longer than 1 MiB", body = ErrorBody),
        (status = 409, description = "The key was revoked, which is final, or has 31 former secrets whose grace runs", body = ErrorBody),
    )
)]
pub(super) async fn rotate(
    State(api): State<Api>,
    Segments((org, key)): Segments<(String, String)>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let (caller, org) = admitted(&api, &headers, OrgSlug::parse(&org)).await?;
    let body: RotateBody = body.of_admitted().await?.parse_or_default()?;
    let expires_at = body.expires_at.map(|text| moment("expiresAt", &text));
    let rotate = RotateOrgKey::new(expires_at.transpose()?, body.grace_period_seconds)?;
    let rotated = api
        .0
        .keys
        .rotate_org_key(caller, &org, &key, rotate)
        .await?;
    let rotated = rotated.map(with_secret);
    Ok(answer::changed(&api, &headers, StatusCode::OK, &rotated).await)
}

/// The key that a body asks for.
///
/// # Errors
/// The field at fault.
pub(super) fn new_key(org: &OrgSlug, body: CreateBody) -> Result<NewKey, InvalidInput> {
    Ok(NewKey {
        tenant: Tenant::from(org),
        slug: Some(KeySlug::parse(&body.slug)?),
        name: KeyName::parse(&body.name)?,
        owner: parse_owner(body.owner_type.as_deref(), body.owner_id.as_deref())?,
        status: KeyStatus::Active,
        expires_at: Some(moment("expiresAt", &body.expires_at)?),
        grants: RawGrants::Org {
            permissions: body.permissions,
            scopes: body.scopes,
        },
    })
}

fn page_asked(query: ListQuery) -> Result<ListKeys, InvalidInput> {
    let limit = query.limit.unwrap_or(ListKeys::LIMIT_DEFAULT);
    if !(1..=ListKeys::LIMIT_MAX).contains(&limit) {
        let problem = format!("is 1 to {}", ListKeys::LIMIT_MAX);
        return Err(InvalidInput::new("limit", problem));
    }
    let page = query.page.unwrap_or(1);
    if page == 0 {
        return Err(InvalidInput::new("page", "is 1 or more"));
    }
    for (field, given) in [
        ("ownerType", &query.owner_type),
        ("ownerId", &query.owner_id),
    ] {
        if given.as_ref().is_some_and(String::is_empty) {
            return Err(InvalidInput::new(field, "is empty"));
        }
    }
    Ok(ListKeys {
        limit,
        page,
        sort: match query.sort {
            Some(sort) => Sort::parse(&sort)?,
            None => Sort::NEWEST_FIRST,
        },
        owner_kind: query.owner_type,
        owner_id: query.owner_id,
    })
}
