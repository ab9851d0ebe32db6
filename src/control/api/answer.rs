//! Answers to commands that were carried out.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
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
/// Which preferences were honoured.
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// An answer of JSON that nobody keeps.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let (status, body) = match serde_json::to_vec(body) {
        Ok(body) => (status, body),
        Err(error) => {
            tracing::error!(%error, "an answer of the control plane could not be written");
            (StatusCode::INTERNAL_SERVER_ERROR, Vec::new())
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer to a question.
pub(super) fn read(found: &Applied<impl Serialize>) -> Response {
    let mut response = json(StatusCode::OK, &found.value);
    insert(&mut response, REVISION, &found.revision.0.to_string());
    response
}

/// The answer to a change. It is applied already, so whoever would wait need not.
pub(super) fn changed(
    api: &Api,
    asked: &HeaderMap,
    status: StatusCode,
    done: &Applied<impl Serialize>,
) -> Response {
    of_change(api, asked, json(status, &done.value), done.revision)
}

/// The answer to a change that left nothing to show.
pub(super) fn gone(api: &Api, asked: &HeaderMap, revision: Revision) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    of_change(api, asked, response, revision)
}

fn of_change(api: &Api, asked: &HeaderMap, mut response: Response, revision: Revision) -> Response {
    insert(&mut response, REVISION, &revision.0.to_string());
    if let Some(seconds) = preferred_wait(asked) {
        let gateways = api.0.keys.gateways();
        insert(
            &mut response,
            PREFERENCE_APPLIED,
            &format!("wait={seconds}"),
        );
        insert(
            &mut response,
            ACKNOWLEDGED,
            &format!("{gateways}/{gateways}"),
        );
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
