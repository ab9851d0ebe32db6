//! Refusals in the form of orq.ai's API, where the path is one of its paths.
//!
//! What is refused, and why, is said in one table for all families; here it is only worded.

use axum::http::{Method, StatusCode, Uri, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoResponses, ToSchema};

use super::answer;
use super::error::ApiError;

/// Where the codes are explained.
const DOC_URL: &str = "https://docs.orq.ai/reference/errors";
/// The path of the keys.
const KEYS: &str = "/v2/api-keys";

/// The body of a refusal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessError)]
pub(super) struct AccessErrorBody<'a> {
    /// What is wrong.
    error: AccessErrorDetails<'a>,
    /// The same for clients that look for it here.
    message: &'a str,
}

/// What is wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessErrorDetails)]
struct AccessErrorDetails<'a> {
    /// The kind of refusal.
    code: &'static str,
    /// For people.
    message: &'a str,
    /// Where codes are explained.
    doc_url: &'static str,
    /// For programs: `reason`, `field`, where there is one.
    #[schema(value_type = Object)]
    details: &'a Value,
}

/// The refusals that every operation on access keys has.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers that are made otherwise")]
pub(super) enum AccessRefusals {
    /// A parameter or a field is refused, or more than one credential is shown.
    #[response(status = 400)]
    Invalid(AccessErrorBody<'static>),
    /// No live credential.
    #[response(status = 401)]
    Unauthenticated(AccessErrorBody<'static>),
    /// The credential may not.
    #[response(status = 403)]
    Forbidden(AccessErrorBody<'static>),
    /// The request did not come to its end in time.
    #[response(status = 408)]
    Timeout(AccessErrorBody<'static>),
    /// A fault in the control plane; its log says more.
    #[response(status = 500)]
    Internal(AccessErrorBody<'static>),
    /// The store does not do its work, or too many ask at once: `Retry-After` says when to try again.
    #[response(status = 503)]
    Unavailable(AccessErrorBody<'static>),
}

/// The form in which a request is refused, if it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// As Prisme.ai does.
    Prisme,
    /// As orq.ai does; whether the request is of a kind that has a body.
    Orq {
        /// See there.
        has_body: bool,
    },
}

impl Form {
    /// The form for a request.
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        match uri.path().strip_prefix(KEYS) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Self::Orq {
                has_body: matches!(*method, Method::POST | Method::PATCH),
            },
            Some(_) | None => Self::Prisme,
        }
    }

    /// An answer, worded in this form if it is a refusal.
    pub(super) fn word(self, answer: Response) -> Response {
        match (self, answer.extensions().get::<ApiError>()) {
            (Self::Prisme, _) | (Self::Orq { .. }, None) => answer,
            (Self::Orq { has_body }, Some(refusal)) => {
                let body = AccessErrorBody {
                    error: AccessErrorDetails {
                        code: code(refusal, has_body),
                        message: refusal.message(),
                        doc_url: DOC_URL,
                        details: refusal.details(),
                    },
                    message: refusal.message(),
                };
                let (_, body) = answer::json(refusal.status(), &body).into_parts();
                let (mut parts, _) = answer.into_parts();
                parts.headers.remove(header::CONTENT_LENGTH);
                Response::from_parts(parts, body)
            }
        }
    }
}

/// What orq.ai calls it.
fn code(refusal: &ApiError, has_body: bool) -> &'static str {
    let reason = refusal.details().get("reason").and_then(Value::as_str);
    match (refusal.status(), reason) {
        (StatusCode::BAD_REQUEST, None) if has_body => "invalid_request_body",
        (StatusCode::BAD_REQUEST, _) => "invalid_request",
        (StatusCode::UNAUTHORIZED, Some("missing_credential")) => "authentication_required",
        (StatusCode::UNAUTHORIZED, Some("expired_key")) => "expired_api_key",
        (StatusCode::UNAUTHORIZED, _) => "invalid_api_key",
        (StatusCode::FORBIDDEN, _) => "insufficient_scope",
        (StatusCode::NOT_FOUND, _) => "not_found",
        (StatusCode::METHOD_NOT_ALLOWED, _) => "method_not_allowed",
        (StatusCode::REQUEST_TIMEOUT, _) => "request_timeout",
        (StatusCode::CONFLICT, _) => "conflict",
        (StatusCode::PAYLOAD_TOO_LARGE, _) => "request_too_large",
        (StatusCode::TOO_MANY_REQUESTS, _) => "rate_limit_exceeded",
        (StatusCode::SERVICE_UNAVAILABLE, _) => "service_unavailable",
        (_, _) => "internal_error",
    }
}
