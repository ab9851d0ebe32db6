//! Answers to commands that were carried out.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Api;
use super::input::preferred_wait;
use crate::authz::Revision;
use crate::control::service::Applied;

/// At which revision the answer is true.
const REVISION: HeaderName = HeaderName::from_static("keyward-revision");
/// How many gateways of how many have applied a change.
const ACKNOWLEDGED: HeaderName = HeaderName::from_static("keyward-acknowledged");
/// How many gateways were not waited for, because they were not heard for so long that their leases ran out: those that
/// refuse everything by now, and those that may go on by what they have.
const SILENT: HeaderName = HeaderName::from_static("keyward-silent");
/// Which preferences were honoured.
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// An answer of JSON that nobody keeps, written once to be given as often as it is asked for.
pub(super) struct Written {
    status: StatusCode,
    body: Bytes,
}

impl Written {
    pub(super) fn new(status: StatusCode, body: &impl Serialize) -> Self {
        let (status, body) = match serde_json::to_vec(body) {
            Ok(body) => (status, body),
            Err(error) => {
                tracing::error!(%error, "an answer of the control plane could not be written");
                (StatusCode::INTERNAL_SERVER_ERROR, Vec::new())
            }
        };
        let body = body.into();
        Self { status, body }
    }

    pub(super) fn give(&self) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// An answer of JSON that nobody keeps.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    Written::new(status, body).give()
}

/// The answer to a question.
pub(super) fn read(found: &Applied<impl Serialize>) -> Response {
    let mut response = json(StatusCode::OK, &found.value);
    insert(&mut response, REVISION, &found.revision.0.to_string());
    response
}

/// The answer to a change, once those have it that the client would wait for.
pub(super) async fn changed(
    api: &Api,
    asked: &HeaderMap,
    status: StatusCode,
    done: &Applied<impl Serialize>,
) -> Response {
    of_change(api, asked, json(status, &done.value), done.revision).await
}

/// The answer to a change that left nothing to show, once those have it that the client would wait for.
pub(super) async fn gone(api: &Api, asked: &HeaderMap, revision: Revision) -> Response {
    of_change(api, asked, nothing(), revision).await
}

/// The answer to a creation of something that no gateway needs to know.
pub(super) fn made(made: &Applied<impl Serialize>) -> Response {
    let mut response = json(StatusCode::CREATED, &made.value);
    insert(&mut response, REVISION, &made.revision.0.to_string());
    response
}

/// The answer to an end of something that no gateway needs to know.
pub(super) fn ended(revision: Revision) -> Response {
    let mut response = nothing();
    insert(&mut response, REVISION, &revision.0.to_string());
    response
}

/// An answer that says that all is well, and nothing else.
pub(super) fn nothing() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

async fn of_change(
    api: &Api,
    asked: &HeaderMap,
    mut response: Response,
    revision: Revision,
) -> Response {
    insert(&mut response, REVISION, &revision.0.to_string());
    if let Some(seconds) = preferred_wait(asked) {
        let wait = Duration::from_secs(u64::from(seconds));
        let count = api.acknowledged(revision, wait).await;
        let applied = format!("wait={seconds}");
        insert(&mut response, PREFERENCE_APPLIED, &applied);
        let acknowledged = format!("{}/{}", count.acked, count.leased);
        insert(&mut response, ACKNOWLEDGED, &acknowledged);
        if count.silent_deny > 0 || count.silent_serve > 0 {
            let silent = format!("deny={}, serve={}", count.silent_deny, count.silent_serve);
            insert(&mut response, SILENT, &silent);
        }
    }
    response
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// An object of those members that are there.
pub(super) fn present_members<const N: usize>(
    members: [(&str, Option<Value>); N],
) -> Map<String, Value> {
    let present = members.into_iter();
    let present = present.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    present.collect()
}
