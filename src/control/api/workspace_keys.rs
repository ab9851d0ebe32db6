//! Keys of workspaces over HTTP, in the shapes of Prisme.ai's API.
//!
//! A path may hold a raw key: it is hashed where the key is looked up, and no log and no answer has it.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;

use super::Api;
use super::answer;
use super::auth::admitted;
use super::error::{ApiError, ErrorBody, Refusals};
use super::input::{Segments, Unread, no_query};
use super::workspace_shapes::{ApiKey, Deleted, SaveBody, with_secret, without_secret};
use crate::authz::{KeyStatus, RawGrants, Tenant};
use crate::control::command::{InvalidInput, KeyName, NewKey, PutWorkspaceKey, WorkspaceId};

/// List API keys. No raw key is shown: `apiKey` is the id.
#[utoipa::path(
    get, path = "/v2/workspaces/{workspaceId}/security/apikeys", operation_id = "listApiKeys", tag = "ApiKeys",
    params(("workspaceId" = String, Path)),
    responses(
        (status = 200, description = "All keys of the workspace", body = [ApiKey], headers(("Keyward-Revision" = u64))),
        Refusals,
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    Segments(workspace): Segments<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (caller, workspace) = admitted(&api, &headers, WorkspaceId::parse(&workspace)).await?;
    no_query(&uri)?;
    let keys = api.0.keys.list_workspace_keys(&caller, &workspace).await?;
    let keys = keys.map(|keys| keys.into_iter().map(without_secret).collect::<Vec<_>>());
    Ok(answer::read(&keys))
}

/// Get one API key. The raw key is not shown: `apiKey` is the id.
#[utoipa::path(
    get, path = "/v2/workspaces/{workspaceId}/security/apikeys/{apiKey}", operation_id = "getApiKey", tag = "ApiKeys",
    params(("workspaceId" = String, Path), ("apiKey" = String, Path, description = "Id or raw key")),
    responses(
        (status = 200, description = "The key", body = ApiKey, headers(("Keyward-Revision" = u64))),
        Refusals,
    )
)]
pub(super) async fn fetch(
    State(api): State<Api>,
    Segments((workspace, key)): Segments<(String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (caller, workspace) = admitted(&api, &headers, WorkspaceId::parse(&workspace)).await?;
    no_query(&uri)?;
    let tenant = Tenant::from(&workspace);
    let found = api.0.keys.key(&caller, &tenant, &key).await?;
    Ok(answer::read(&found.map(without_secret)))
}

/// Create an API key. The raw key is answered once, here, as `apiKey`.
///
/// Rules come back as they are judged: one subject each, and confined to the workspace.
#[utoipa::path(
    post, path = "/v2/workspaces/{workspaceId}/security/apikeys", operation_id = "createApiKey", tag = "ApiKeys",
    params(("workspaceId" = String, Path)), request_body = SaveBody,
    responses(
        (status = 200, description = "Created", body = ApiKey, headers(("Keyward-Revision" = u64))),
        Refusals,
        (status = 413, description = "The body is longer than 1 MiB", body = ErrorBody),
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    Segments(workspace): Segments<String>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let (caller, workspace) = admitted(&api, &headers, WorkspaceId::parse(&workspace)).await?;
    let key = new_key(&workspace, body.of_admitted().await?.parse()?)?;
    let made = api.0.keys.create_key(caller, key).await?.map(with_secret);
    Ok(answer::changed(&api, &headers, StatusCode::OK, &made).await)
}

/// Update an API key: name and rules are replaced. A key that is not there is not made.
#[utoipa::path(
    put, path = "/v2/workspaces/{workspaceId}/security/apikeys/{apiKey}", operation_id = "updateApiKey", tag = "ApiKeys",
    params(("workspaceId" = String, Path), ("apiKey" = String, Path, description = "Id or raw key")),
    request_body = SaveBody,
    responses(
        (status = 200, description = "The key as it is now", body = ApiKey, headers(("Keyward-Revision" = u64))),
        Refusals,
        (status = 413, description = "The body is longer than 1 MiB", body = ErrorBody),
        (status = 409, description = "The key was revoked, which is final", body = ErrorBody),
    )
)]
pub(super) async fn put(
    State(api): State<Api>,
    Segments((workspace, key)): Segments<(String, String)>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let (caller, workspace) = admitted(&api, &headers, WorkspaceId::parse(&workspace)).await?;
    let body: SaveBody = body.of_admitted().await?.parse()?;
    let name = KeyName::parse(&body.name)?;
    let put = PutWorkspaceKey::new(&workspace, name, body.rules(), body.disabled)?;
    let put = api.0.keys.put_workspace_key(caller, &workspace, &key, put);
    let put = put.await?.map(without_secret);
    Ok(answer::changed(&api, &headers, StatusCode::OK, &put).await)
}

/// Delete an API key.
#[utoipa::path(
    delete, path = "/v2/workspaces/{workspaceId}/security/apikeys/{apiKey}", operation_id = "deleteApiKey", tag = "ApiKeys",
    params(("workspaceId" = String, Path), ("apiKey" = String, Path, description = "Id or raw key")),
    responses(
        (status = 200, description = "It is gone", body = Deleted, headers(("Keyward-Revision" = u64))),
        Refusals,
    )
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Segments((workspace, key)): Segments<(String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (caller, workspace) = admitted(&api, &headers, WorkspaceId::parse(&workspace)).await?;
    no_query(&uri)?;
    let tenant = Tenant::from(&workspace);
    let deleted = api.0.keys.delete_key(caller, tenant, &key).await?;
    let deleted = deleted.map(Deleted::from);
    Ok(answer::changed(&api, &headers, StatusCode::OK, &deleted).await)
}

/// The key that a body asks for.
///
/// # Errors
/// The field at fault.
pub(super) fn new_key(workspace: &WorkspaceId, body: SaveBody) -> Result<NewKey, InvalidInput> {
    Ok(NewKey {
        tenant: Tenant::from(workspace),
        slug: None,
        name: KeyName::parse(&body.name)?,
        owner: None,
        status: match body.disabled {
            Some(true) => KeyStatus::Disabled,
            Some(false) | None => KeyStatus::Active,
        },
        expires_at: None,
        grants: RawGrants::Workspace {
            rules: body.rules(),
        },
    })
}
