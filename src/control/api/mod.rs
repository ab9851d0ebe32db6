//! The HTTP face of the control plane: requests parsed into commands, outcomes into answers.
//!
//! Handlers are thin. What may be done is not decided here, and no answer but the one to a creation or a rotation
//! holds a raw key.

mod error;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use super::config::AdminToken;
use super::service::Keys;

pub use server::ServeError;
pub(super) use server::serve;

/// What every handler may use.
#[derive(Clone)]
pub(super) struct Api(Arc<Shared>);

struct Shared {
    keys: Keys,
    admin_tokens: Arc<[AdminToken]>,
    draining: AtomicBool,
}

impl Api {
    /// The API on these keys, for whoever has one of these tokens.
    pub(super) fn new(keys: Keys, admin_tokens: Arc<[AdminToken]>) -> Self {
        Self(Arc::new(Shared {
            keys,
            admin_tokens,
            draining: AtomicBool::new(false),
        }))
    }

    /// Says from now on that no new requests should come.
    fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(StatusCode::OK))
            .route("/readyz", get(ready))
            .with_state(self.clone())
    }
}

async fn ready(State(api): State<Api>) -> StatusCode {
    if api.0.draining.load(Ordering::Relaxed) || api.0.keys.count().await.is_err() {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    }
}
