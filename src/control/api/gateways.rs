//! The gateways that follow, and the tokens by which they are known, for administrators.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer;
use super::auth::administrator;
use super::error::{ApiError, ErrorBody, Refusals};
use super::input::{Segments, Unread, no_query};
use crate::authz::Revision;
use crate::control::fleet::{NamedToken, Seen, TokenName};
use crate::control::service::Applied;
use crate::wire::sync::OnStale;
use crate::wire::time::format_rfc3339;

/// A gateway that follows this store, at whatever control plane.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gateway {
    /// Made once by the gateway, and kept with its copy of the keys.
    id: String,
    /// What it calls itself.
    name: String,
    /// `live`: its lease runs, and it is waited for. `silent`: it was not heard for so long that its lease ran out.
    /// `twice`: two processes show its id, because one has a copy of the other's state directory; no change is counted as
    /// applied by it.
    #[schema(example = "live")]
    state: &'static str,
    /// The history of what it has applied. Absent: it has acknowledged nothing yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    /// The last revision that it has applied. Absent: it has acknowledged nothing yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    /// How many revisions it is behind. Absent: that cannot be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
    /// Whether it has applied everything.
    acknowledged: bool,
    /// When it was heard last.
    #[schema(format = DateTime)]
    last_contact: String,
    /// When its lease ends, or ended.
    #[schema(format = DateTime)]
    lease_ends: String,
    /// What it does once its copy is stale: `serve` or `deny`.
    on_stale: &'static str,
    /// From which age on its copy is stale.
    max_staleness_seconds: f64,
    /// The name of the token that it shows.
    token: String,
    /// The life of the control plane that it follows.
    control_plane: String,
}

/// The gateways that are known.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GatewayList {
    /// In the order of their names.
    results: Vec<Gateway>,
    /// The last revision of the store.
    revision: u64,
    /// The history of the store.
    epoch: String,
}

/// List the gateways that follow over the network, and what each has applied.
///
/// A gateway in the same process as a control plane has applied every change before that one answers it; it is listed
/// where several control planes share a store.
#[utoipa::path(
    get, path = "/v1/gateways", operation_id = "listGateways", tag = "Keyward",
    responses(
        (status = 200, description = "All that are known", body = GatewayList, headers(("Keyward-Revision" = u64))),
        Refusals,
    ),
    security(("admin" = []))
)]
pub(super) async fn list(
    State(api): State<Api>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    administrator(&api, &headers).await?;
    no_query(&uri)?;
    let keys = &api.0.keys;
    let gateways = keys.list_gateways().await?;
    let (epoch, revision) = (keys.epoch(), keys.revision());
    let shown = |seen: Seen| {
        let acked = seen.row.acked.filter(|acked| acked.epoch == epoch);
        let lag = acked.map(|acked| revision.0.saturating_sub(acked.revision.0));
        show(seen, lag)
    };
    let list = GatewayList {
        results: gateways.into_iter().map(shown).collect(),
        revision: revision.0,
        epoch: epoch.to_string(),
    };
    let found = Applied {
        value: list,
        revision,
    };
    Ok(answer::read(&found))
}

fn show(seen: Seen, lag: Option<u64>) -> Gateway {
    let Seen { row, .. } = seen;
    Gateway {
        id: row.info.id.to_string(),
        name: row.info.name,
        state: match (seen.is_leased, seen.is_twice) {
            (true, true) => "twice",
            (true, false) => "live",
            (false, _) => "silent",
        },
        epoch: row.acked.map(|acked| acked.epoch.to_string()),
        revision: row.acked.map(|acked| acked.revision.0),
        lag,
        acknowledged: lag == Some(0),
        last_contact: format_rfc3339(row.contact),
        lease_ends: format_rfc3339(row.lease_until),
        on_stale: OnStale::as_str(row.info.on_stale),
        max_staleness_seconds: row.info.max_staleness.as_secs_f64(),
        token: row.token,
        control_plane: row.plane,
    }
}

/// Forget a gateway that runs no more, and is therefore waited for no longer.
///
/// One that ends in good order is forgotten by itself. One that runs is back with its next word; 409 where it was heard
/// from within 15 seconds.
#[utoipa::path(
    delete, path = "/v1/gateways/{id}", operation_id = "forgetGateway", tag = "Keyward",
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "It is forgotten", headers(("Keyward-Revision" = u64))),
        Refusals,
        (status = 409, description = "It was heard from a moment ago", body = ErrorBody),
    ),
    security(("admin" = []))
)]
pub(super) async fn forget(
    State(api): State<Api>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = administrator(&api, &headers).await?;
    no_query(&uri)?;
    let revision: Revision = api.0.keys.forget_gateway(caller, &id).await?;
    Ok(answer::ended(revision))
}

/// A token by which gateways are known.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GatewayToken {
    /// What it is called.
    name: String,
    /// `store`, or `environment` for those in `KEYWARD_GATEWAY_TOKEN`.
    source: &'static str,
    /// When it was made.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
}

/// A token with its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GatewayTokenWithSecret {
    #[serde(flatten)]
    about: GatewayToken,
    /// The token itself, shown once.
    token: String,
}

/// The tokens that are valid.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GatewayTokenList {
    /// Those of the environment first, then in the order of their names.
    results: Vec<GatewayToken>,
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGatewayToken {
    /// What to call it.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$")]
    name: String,
}

impl From<&NamedToken> for GatewayToken {
    fn from(token: &NamedToken) -> Self {
        Self {
            name: token.name.to_string(),
            source: token.created_at.map_or("environment", |_| "store"),
            created_at: token.created_at.map(format_rfc3339),
        }
    }
}

/// List the tokens of gateways, without the tokens themselves.
#[utoipa::path(
    get, path = "/v1/gateway-tokens", operation_id = "listGatewayTokens", tag = "Keyward",
    responses(
        (status = 200, description = "All that are valid", body = GatewayTokenList, headers(("Keyward-Revision" = u64))),
        Refusals,
    ),
    security(("admin" = []))
)]
pub(super) async fn list_tokens(
    State(api): State<Api>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    administrator(&api, &headers).await?;
    no_query(&uri)?;
    let valid = api.0.keys.fleet().tokens().valid();
    let list = GatewayTokenList {
        results: valid.iter().map(GatewayToken::from).collect(),
    };
    Ok(answer::read(&api.now_as(list)))
}

/// Make a token for gateways. It is answered once, here.
#[utoipa::path(
    post, path = "/v1/gateway-tokens", operation_id = "createGatewayToken", tag = "Keyward",
    request_body = NewGatewayToken,
    responses(
        (status = 201, description = "Made", body = GatewayTokenWithSecret, headers(("Keyward-Revision" = u64))),
        Refusals,
        (status = 409, description = "There is one of this name, or there are too many", body = ErrorBody),
        (status = 413, description = "The body is longer than 1 MiB", body = ErrorBody),
    ),
    security(("admin" = []))
)]
pub(super) async fn create_token(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let caller = administrator(&api, &headers).await?;
    let asked: NewGatewayToken = body.of_admitted().await?.parse()?;
    let name = TokenName::parse(&asked.name)?;
    let made = api.0.keys.make_gateway_token(caller, name).await?;
    let made = made.map(|made| GatewayTokenWithSecret {
        about: GatewayToken::from(&made.token),
        token: made.raw,
    });
    Ok(answer::made(&made))
}

/// Revoke a token of gateways. The streams of those that show it end at once.
#[utoipa::path(
    delete, path = "/v1/gateway-tokens/{name}", operation_id = "revokeGatewayToken", tag = "Keyward",
    params(("name" = String, Path)),
    responses(
        (status = 204, description = "It is valid no more", headers(("Keyward-Revision" = u64))),
        Refusals,
    ),
    security(("admin" = []))
)]
pub(super) async fn revoke_token(
    State(api): State<Api>,
    Segments(name): Segments<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = administrator(&api, &headers).await?;
    no_query(&uri)?;
    let revision: Revision = api.0.keys.revoke_gateway_token(caller, &name).await?;
    api.end_streams_without_token();
    Ok(answer::ended(revision))
}
