//! The HTTP face of the control plane: requests parsed into commands, outcomes into answers.
//!
//! Handlers are thin. What may be done is not decided here, and no answer but the one to a creation or a rotation
//! holds a raw key.

mod access_answered;
mod access_asked;
mod access_error;
mod access_keys;
mod answer;
mod audit;
mod auth;
mod error;
mod gateways;
mod input;
mod lines;
mod lingering;
mod openapi;
mod ops;
mod org_keys;
mod org_shapes;
mod seats;
mod server;
mod streamed;
mod sync;
mod transfer;
mod transfer_shapes;
mod validate;
mod workspace_keys;
mod workspace_shapes;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use tokio::sync::{Semaphore, watch};

use super::bearer::AdminToken;
use super::feed::{SNAPSHOTS_MAX, STREAMS_MAX, Streams};
use super::fleet::{Count, NamedToken};
use super::service::{Applied, Keys};
use crate::authz::Revision;
use error::ApiError;

pub use openapi::openapi_json;
pub use server::ServeError;
pub(super) use server::serve;

/// What every handler may use.
#[derive(Clone)]
pub(super) struct Api(Arc<Shared>);

struct Shared {
    keys: Keys,
    admin_tokens: Arc<[AdminToken]>,
    validations: validate::Limiter,
    requests: ops::Requests,
    imports: Semaphore,
    /// For whoever waits for the turn of its snapshot.
    snapshots: Arc<Semaphore>,
    /// Snapshots that are being sent.
    open_snapshots: Streams,
    streams: Streams,
    draining: watch::Sender<bool>,
}

impl Api {
    /// The API on these keys, for whoever has one of these tokens.
    pub(super) fn new(keys: Keys, admin_tokens: Arc<[AdminToken]>) -> Self {
        Self(Arc::new(Shared {
            keys,
            admin_tokens,
            validations: validate::Limiter::new(),
            requests: ops::Requests::default(),
            imports: Semaphore::new(transfer::IMPORTS_MAX),
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS_MAX)),
            open_snapshots: Streams::new(SNAPSHOTS_MAX),
            streams: Streams::new(STREAMS_MAX),
            draining: watch::Sender::new(false),
        }))
    }

    /// Says from now on that no new requests should come. Gateways are sent on to other control planes, and nobody waits
    /// any longer for what they say.
    fn drain(&self) {
        self.0.draining.send_replace(true);
        self.0.streams.close();
    }

    fn is_draining(&self) -> bool {
        *self.0.draining.borrow()
    }

    /// Waits until gateways have applied a change, and says how many have.
    async fn acknowledged(&self, revision: Revision, wait: Duration) -> Count {
        let draining = self.0.draining.subscribe();
        self.0.keys.acknowledged(revision, wait, draining).await
    }

    /// Ends what is being sent to gateways whose token was revoked.
    fn end_streams_without_token(&self) {
        self.end_streams_without(&self.0.keys.fleet().tokens().valid());
    }

    fn end_streams_without(&self, valid: &[NamedToken]) {
        let is_valid = |digest: &[u8; 32]| valid.iter().any(|token| token.digest == *digest);
        self.0.streams.keep_only(is_valid);
        self.0.open_snapshots.keep_only(is_valid);
    }

    /// Keeps what is written down of gateways up to date, for as long as it is polled.
    pub(super) async fn keep_fleet(&self) {
        let checked = |valid: &[NamedToken]| self.end_streams_without(valid);
        self.0.keys.keep_fleet(checked).await;
    }

    /// What is so at the present revision.
    fn now_as<T>(&self, value: T) -> Applied<T> {
        let revision = self.0.keys.revision();
        Applied { value, revision }
    }

    fn router(&self) -> Router {
        let keys = "/v2/orgs/{orgSlug}/api-keys";
        let of_workspace = "/v2/workspaces/{workspaceId}/security/apikeys";
        Router::new()
            .route(keys, get(org_keys::list).post(org_keys::create))
            .route(&format!("{keys}/validate"), post(validate::validate))
            .route(
                &format!("{keys}/{{keyId}}"),
                get(org_keys::fetch)
                    .patch(org_keys::patch)
                    .delete(org_keys::delete),
            )
            .route(&format!("{keys}/{{keyId}}/rotate"), post(org_keys::rotate))
            .route(
                of_workspace,
                get(workspace_keys::list).post(workspace_keys::create),
            )
            .route(
                &format!("{of_workspace}/{{apiKey}}"),
                get(workspace_keys::fetch)
                    .put(workspace_keys::put)
                    .delete(workspace_keys::delete),
            )
            .route(
                "/v2/api-keys",
                get(access_keys::list).post(access_keys::create),
            )
            .route(
                "/v2/api-keys/capabilities",
                get(access_keys::list_capabilities),
            )
            .route(
                "/v2/api-keys/{api_key_id}",
                get(access_keys::fetch)
                    .patch(access_keys::patch)
                    .delete(access_keys::delete),
            )
            .route(transfer::IMPORT, post(transfer::import))
            .route("/v1/export", get(transfer::export))
            .route("/v1/audit", get(audit::list))
            .route("/v1/gateways", get(gateways::list))
            .route("/v1/gateways/{id}", delete(gateways::forget))
            .route(
                "/v1/gateway-tokens",
                get(gateways::list_tokens).post(gateways::create_token),
            )
            .route("/v1/gateway-tokens/{name}", delete(gateways::revoke_token))
            .route("/sync/v1/snapshot", get(sync::snapshot))
            .route("/sync/v1/changes", get(sync::changes))
            .route("/sync/v1/ack", post(sync::ack))
            .route("/sync/v1/usage", post(sync::usage))
            .route("/sync/v1/leave", post(sync::leave))
            .route("/healthz", get(ops::healthz))
            .route("/readyz", get(ops::readyz))
            .route("/metrics", get(ops::metrics))
            .route("/openapi.json", get(openapi::openapi))
            .fallback(async || ApiError::no_route())
            .method_not_allowed_fallback(async || ApiError::method_not_allowed())
            .layer(from_fn_with_state(self.clone(), ops::counted))
            .with_state(self.clone())
    }
}
