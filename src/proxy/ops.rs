//! The operators' listener: alive, ready, status, metrics, reload. Plain text and JSON, nothing secret in either.
//!
//! It reads what there is to know and decides nothing about requests.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{HeaderName, Method, Response, StatusCode};
use pingora::apps::ServerApp;
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::connections::Connections;
use super::regime::{Commons, Regime};
use crate::telemetry::KeyFigures;

/// What a request to reload must carry, so that no web page can send one.
const RELOAD_HEADER: HeaderName = HeaderName::from_static("x-keyward-reload");

/// Connections at a time, and how long one may last: a scrape is short. Where there are so many, the next takes the place
/// of the oldest, so that whoever takes all of them keeps nobody from asking whether the gateway lives.
const CONNECTIONS_MAX: usize = 64;
const CONNECTION_TIME: Duration = Duration::from_secs(60);

/// Puts the configuration, read anew, in force; or says why not, and the former one stays.
pub type Reload =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The operators' listener.
pub struct Ops {
    pub(super) commons: Arc<Commons>,
    pub(super) regime: Arc<ArcSwap<Regime>>,
    pub(super) connections: Arc<Connections>,
    pub(super) reload: Reload,
}

impl fmt::Debug for Ops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ops").finish_non_exhaustive()
    }
}

impl Ops {
    /// Serves operators until the threads end.
    ///
    /// # Errors
    /// The runtime does not take the socket.
    pub async fn serve(self, listener: std::net::TcpListener) -> std::io::Result<Infallible> {
        let listener = TcpListener::from_std(listener)?;
        // Operators are served while the gateway drains, too: their connections know no shut-down.
        let (_never, running) = watch::channel(false);
        let app = Arc::new(HttpServer::new_app(self));
        let mut open = VecDeque::<AbortHandle>::with_capacity(CONNECTIONS_MAX);
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            open.retain(|connection| !connection.is_finished());
            if open.len() >= CONNECTIONS_MAX
                && let Some(oldest) = open.pop_front()
            {
                oldest.abort();
            }
            let (app, running) = (Arc::clone(&app), running.clone());
            let served = tokio::spawn(async move {
                let stream = Box::new(Stream::from(stream));
                let served = app.process_new(stream, &running);
                // One that lasts longer is cut.
                let _cut = timeout(CONNECTION_TIME, served).await;
            });
            open.push_back(served.abort_handle());
        }
    }

    async fn answer(&self, session: &ServerSession) -> Answer {
        let request = session.req_header();
        match (&request.method, request.uri.path()) {
            (&Method::GET, "/healthz") => Answer::text(StatusCode::OK, "alive\n"),
            (&Method::GET, "/readyz") => self.ready(),
            (&Method::GET, "/status") => Answer::json(StatusCode::OK, &self.status()),
            (&Method::GET, "/metrics") => self.metrics(),
            (&Method::POST, "/reload") => self.reload(session).await,
            (_, "/healthz" | "/readyz" | "/status" | "/metrics") => Answer::method("GET"),
            (_, "/reload") => Answer::method("POST"),
            _ => Answer::text(StatusCode::NOT_FOUND, "there is nothing here\n"),
        }
    }

    fn ready(&self) -> Answer {
        let not = |why: &'static str| Answer::text(StatusCode::SERVICE_UNAVAILABLE, why);
        if self.commons.is_draining() {
            not("draining\n")
        } else if self.commons.replica.pin().is_none() {
            not("no keys yet\n")
        } else if !self.commons.source.status().usable {
            not("the keys are too stale\n")
        } else {
            Answer::text(StatusCode::OK, "ready\n")
        }
    }

    fn status(&self) -> serde_json::Value {
        let keys = self.commons.replica.status();
        let source = self.commons.source.status();
        let regime = self.regime.load();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "epoch": keys.epoch.map(|epoch| format!("{:032x}", epoch.0)),
            "revision": keys.revision.0,
            "keys": keys.keys,
            "source": source.state,
            "staleness_seconds": source.staleness.as_secs_f64(),
            "routes": regime.rules.rulebook.routes().specs().len(),
            "connections": self.connections.count(),
            "draining": self.commons.is_draining(),
        })
    }

    fn metrics(&self) -> Answer {
        let status = self.commons.replica.status();
        let figures = self.commons.source.figures();
        let text = self.commons.metrics.render(&KeyFigures {
            keys: status.keys,
            revision: status.revision.0,
            staleness: self.commons.source.status().staleness,
            changes: status.changes,
            cache_hits: status.cache_hits,
            cache_stale: status.cache_stale,
            cache_misses: status.cache_misses,
            cache_unknown: status.cache_unknown,
            usage_dropped: status.usage_dropped,
            sync_streams: figures.streams,
            sync_snapshots: figures.snapshots,
            sync_refused: figures.refused,
            sync_repeated: figures.repeated,
            sync_flaws: figures.flaws,
            state_errors: figures.state_errors,
        });
        Answer {
            media: "text/plain; version=0.0.4; charset=utf-8",
            ..Answer::text(StatusCode::OK, text)
        }
    }

    async fn reload(&self, session: &ServerSession) -> Answer {
        if session.get_header_bytes(RELOAD_HEADER) != b"1" {
            let body = json!({ "error": "a reload needs the header `x-keyward-reload: 1`" });
            return Answer::json(StatusCode::FORBIDDEN, &body);
        }
        // By itself: it is carried out whole even where whoever asked is cut.
        let reloaded = tokio::spawn((self.reload)()).await;
        match reloaded.unwrap_or_else(|_| Err("the reload broke off".to_owned())) {
            Ok(()) => Answer::json(StatusCode::OK, &json!({ "reloaded": true })),
            Err(why) => {
                let body = json!({ "reloaded": false, "error": why });
                Answer::json(StatusCode::UNPROCESSABLE_ENTITY, &body)
            }
        }
    }
}

struct Answer {
    status: StatusCode,
    media: &'static str,
    allow: Option<&'static str>,
    body: String,
}

impl Answer {
    fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self {
            status,
            media: "text/plain; charset=utf-8",
            allow: None,
            body: body.into(),
        }
    }

    fn json(status: StatusCode, body: &serde_json::Value) -> Self {
        Self {
            media: "application/json",
            ..Self::text(status, format!("{body}\n"))
        }
    }

    fn method(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::text(StatusCode::METHOD_NOT_ALLOWED, "not this method\n")
        }
    }

    fn into_response(self) -> Response<Vec<u8>> {
        let body = self.body.into_bytes();
        let mut response = Response::builder()
            .status(self.status)
            .header("content-type", self.media)
            .header("content-length", body.len())
            .header("cache-control", "no-store");
        if let Some(allow) = self.allow {
            response = response.header("allow", allow);
        }
        response.body(body).unwrap_or_default()
    }
}

#[async_trait]
impl ServeHttp for Ops {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        self.answer(session).await.into_response()
    }
}
