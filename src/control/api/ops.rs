//! What operators ask: is it alive, is it ready, what has it done.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;

use super::Api;
use super::answer;

/// Requests answered, by method, route and status.
#[derive(Debug, Default)]
pub(super) struct Requests(Mutex<BTreeMap<(&'static str, String, u16), u64>>);

impl Requests {
    fn count(&self, method: &'static str, route: String, status: StatusCode) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((method, route, status.as_u16())).or_default() += 1;
    }

    fn render(&self, text: &mut String) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((method, route, status), count) in &*counts {
            let labels = format!(r#"method="{method}",route="{route}",status="{status}""#);
            _ = writeln!(text, "keyward_control_requests_total{{{labels}}} {count}");
        }
    }
}

/// Counts a request once it is answered. Labels take nothing from it: the route is the pattern that it met.
pub(super) async fn counted(State(api): State<Api>, request: Request, next: Next) -> Response {
    let method = method_label(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("-", MatchedPath::as_str)
        .to_owned();
    let response = next.run(request).await;
    api.0.requests.count(method, route, response.status());
    response
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// It answers, so it is alive.
pub(super) async fn healthz() -> Response {
    answer::json(StatusCode::OK, &Health { status: "ok" })
}

/// Whether new requests should come: the store answers, and no shut-down has begun.
pub(super) async fn readyz(State(api): State<Api>) -> Response {
    let (status, text) = if api.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if !api.0.keys.is_available().await {
        (StatusCode::SERVICE_UNAVAILABLE, "store unavailable")
    } else {
        (StatusCode::OK, "ready")
    };
    answer::json(status, &Health { status: text })
}

/// Figures as Prometheus reads them.
pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let mut text = String::new();
    if let Ok(keys) = api.0.keys.count().await {
        gauge(&mut text, "keyward_keys", "API keys in the store.", keys);
    }
    let revision = api.0.keys.revision().0;
    gauge(
        &mut text,
        "keyward_revision",
        "Last revision committed and applied.",
        revision,
    );
    fleet(&api, &mut text);
    text.push_str(
        "# HELP keyward_control_requests_total Requests answered by the control plane.\n",
    );
    text.push_str("# TYPE keyward_control_requests_total counter\n");
    api.0.requests.render(&mut text);
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}

/// What is known of the gateways that follow over the network.
fn fleet(api: &Api, text: &mut String) {
    let head = api.0.keys.feed().head();
    let seen = api.0.keys.fleet().list();
    let live = seen.iter().filter(|seen| seen.is_leased);
    let lag = live.clone().filter_map(|seen| seen.row.acked);
    let lag = lag
        .filter(|acked| acked.epoch == head.epoch)
        .map(|acked| head.revision.0.saturating_sub(acked.revision.0))
        .max();
    let (live, known) = (live.count() as u64, seen.len() as u64);
    for (name, help, value) in [
        (
            "keyward_gateways_connected",
            "Streams of changes that are open here.",
            api.0.streams.len() as u64,
        ),
        (
            "keyward_gateways_live",
            "Gateways that were heard so lately that they are waited for.",
            live,
        ),
        (
            "keyward_gateways_silent",
            "Gateways that were not heard for so long that their leases ran out.",
            known.saturating_sub(live),
        ),
        (
            "keyward_gateways_lag_revisions",
            "Revisions that the gateway furthest behind of those that live has not applied.",
            lag.unwrap_or(0),
        ),
    ] {
        gauge(text, name, help, value);
    }
    let counters = api.0.keys.feed().counters();
    for (name, help, counter) in [
        (
            "keyward_sync_snapshots_total",
            "Snapshots sent to gateways.",
            &counters.snapshots,
        ),
        (
            "keyward_sync_catch_ups_total",
            "Times that a gateway that had fallen behind was given one change for many.",
            &counters.catch_ups,
        ),
        (
            "keyward_sync_resyncs_total",
            "Times that a gateway was told in its stream to take a snapshot.",
            &counters.resyncs,
        ),
    ] {
        let value = counter.load(Ordering::Relaxed);
        _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}"
        );
    }
}

fn gauge(text: &mut String, name: &str, help: &str, value: u64) {
    _ = writeln!(
        text,
        "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
    );
}
