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
mod input;
mod lines;
mod lingering;
mod openapi;
mod ops;
mod org_keys;
mod org_shapes;
mod seats;
mod server;
mod transfer;
mod transfer_shapes;
mod validate;
mod workspace_keys;
mod workspace_shapes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::sync::Semaphore;

use super::config::AdminToken;
use super::service::Keys;
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
    draining: AtomicBool,
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
            draining: AtomicBool::new(false),
        }))
    }

    /// Says from now on that no new requests should come.
    fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
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
