//! Refusals as answers: one table from what went wrong to status, name and details, in the form of Prisme.ai's API.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{IntoResponses, ToSchema};

use super::answer;
use crate::authz::Reason;
use crate::control::command::InvalidInput;
use crate::control::error::{CommandError, chain};
use crate::control::store::StoreError;
use crate::telemetry::redact::Redactor;
use crate::wire::sync::InvalidSync;

/// The body of a refusal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorBody {
    /// The kind of refusal.
    error: &'static str,
    /// For people.
    message: String,
    /// For programs: `reason`, `field`, `needed`, where there is one.
    #[schema(value_type = Object)]
    details: Value,
}

/// The refusals that every operation on keys has.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers that are made otherwise")]
pub(super) enum Refusals {
    /// A parameter or a field is refused, or more than one credential is shown.
    #[response(status = 400)]
    BadParameters(ErrorBody),
    /// No live credential.
    #[response(status = 401)]
    Unauthenticated(ErrorBody),
    /// The credential may not.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// There is no such thing for this credential.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The request did not come to its end in time.
    #[response(status = 408)]
    Timeout(ErrorBody),
    /// A fault in the control plane; its log says more.
    #[response(status = 500)]
    Internal(ErrorBody),
    /// The store does not do its work, or too many ask at once: `Retry-After` says when to try again.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// A refusal on its way to an answer.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::control) struct ApiError {
    status: StatusCode,
    name: &'static str,
    message: String,
    details: Box<Value>,
    challenge: Option<&'static str>,
}

/// The challenge where no key was shown.
const CHALLENGE: &str = r#"Bearer realm="keyward""#;
/// The challenge where one was.
const CHALLENGE_INVALID: &str = r#"Bearer realm="keyward", error="invalid_token""#;

impl ApiError {
    fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            name,
            message: message.into(),
            details: Box::new(json!({})),
            challenge: None,
        }
    }

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// For people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// For programs: `reason`, `field`, `needed`, where there is one.
    pub(super) fn details(&self) -> &Value {
        &self.details
    }

    fn with_details(self, details: Value) -> Self {
        Self {
            details: Box::new(details),
            ..self
        }
    }

    /// 400 for what is wrong with no field in particular.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadParameters", message)
    }

    /// 400 or 401 for a credential that was not accepted, or not shown.
    pub(super) fn credential(reason: Reason) -> Self {
        let details = json!({"reason": reason.as_str()});
        if reason.status() == 400 {
            return Self::bad_request("the request shows more than one credential")
                .with_details(details);
        }
        let challenge = if reason == Reason::MissingCredential {
            CHALLENGE
        } else {
            CHALLENGE_INVALID
        };
        Self {
            challenge: Some(challenge),
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "AuthenticationError",
                "Unauthenticated",
            )
            .with_details(details)
        }
    }

    /// 401 for a key that is not to be used here, whatever the reason.
    pub(super) fn invalid_key() -> Self {
        Self {
            challenge: Some(CHALLENGE_INVALID),
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "AuthenticationError",
                "Unauthenticated",
            )
        }
    }

    /// 404 for a path that leads nowhere.
    pub(super) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "ObjectNotFound", "no such resource")
    }

    /// 405.
    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the resource does not take this method",
        )
    }

    /// 408 for a request that took too long.
    pub(super) fn timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "TimeoutError",
            "the request took too long",
        )
    }

    /// 413 for a body beyond the limit.
    pub(super) fn body_too_large(bytes_max: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PayloadTooLarge",
            format!("the body is larger than {bytes_max} bytes"),
        )
    }

    /// 429 for a client that asks too often.
    pub(super) fn too_many_requests() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequests",
            "too many requests: try again in a moment",
        )
    }

    /// 503 for what may succeed later.
    pub(super) fn unavailable(message: &'static str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        )
    }

    /// 409 for a gateway that cannot follow from where it stands.
    pub(super) fn snapshot_needed(message: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, "SnapshotNeeded", message)
    }

    /// 412 for a gateway to which none of the digests here would say anything.
    pub(super) fn other_pepper() -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "OtherPepper",
            "the gateway hashes keys with another pepper: set its `credentials.pepper` to that of the control plane",
        )
    }

    /// 500. The cause goes to the log and not to the client.
    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        log(error);
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal",
            "the control plane failed; its log says why",
        )
    }
}

fn log(error: &(dyn std::error::Error + 'static)) {
    tracing::error!(
        error = chain(error),
        "a request to the control plane failed"
    );
}

/// Most characters of a field's name in an answer: clients may have made it up.
const FIELD_CHARACTERS_MAX: usize = 256;
/// Most characters of a message that says what is wrong with a field.
const MESSAGE_CHARACTERS_MAX: usize = 1024;

/// A text, and `…` instead of what is too much.
fn cut(text: &str, characters_max: usize) -> String {
    let mut characters = text.chars();
    let mut kept: String = characters.by_ref().take(characters_max).collect();
    if characters.next().is_some() {
        kept.push('…');
    }
    kept
}

impl From<InvalidInput> for ApiError {
    fn from(fault: InvalidInput) -> Self {
        // A key in the wrong place is not repeated.
        let shown = |text: &str| Redactor::default().text(text.as_bytes()).into_owned();
        let fault = InvalidInput::new(shown(&fault.field), shown(&fault.problem));
        let details = json!({"field": cut(&fault.field, FIELD_CHARACTERS_MAX)});
        Self::bad_request(cut(&fault.to_string(), MESSAGE_CHARACTERS_MAX)).with_details(details)
    }
}

impl From<InvalidSync> for ApiError {
    fn from(fault: InvalidSync) -> Self {
        InvalidInput::new(fault.field, fault.problem).into()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(sqlx::Error::PoolTimedOut) => {
                Self::unavailable("the control plane is overloaded: try again in a moment")
            }
            StoreError::Database(_) | StoreError::TimedOut => {
                log(&error);
                Self::unavailable(
                    "the store does not do its work: try again in a moment; the log says why",
                )
            }
            // Said in the log once, of the write that failed first.
            StoreError::Shared => Self::unavailable(
                "the store does not do its work: try again in a moment; the log says why",
            ),
            StoreError::Damaged(_)
            | StoreError::Randomness(_)
            | StoreError::Unreadable(_)
            | StoreError::AlreadyAttached
            | StoreError::Interrupted => Self::internal(&error),
        }
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        let message = error.to_string();
        let forbidden = |details| {
            Self::new(StatusCode::FORBIDDEN, "ForbiddenError", message.clone())
                .with_details(details)
        };
        let conflict = || Self::new(StatusCode::CONFLICT, "Conflict", message.clone());
        match error {
            CommandError::Invalid(fault) => fault.into(),
            CommandError::Unauthenticated(reason) => Self::credential(reason),
            CommandError::Forbidden { reason, .. } => forbidden(json!({"reason": reason.as_str()})),
            CommandError::MissingPermission(permission) => forbidden(json!({
                "reason": Reason::MissingPermission.as_str(),
                "needed": {"permission": permission},
            })),
            CommandError::Escalation(_) => forbidden(json!({"reason": "escalation"})),
            CommandError::NotFound => Self::new(StatusCode::NOT_FOUND, "ObjectNotFound", message),
            CommandError::SlugTaken(_) => conflict().with_details(json!({"field": "slug"})),
            CommandError::TokenNameTaken(_) => conflict().with_details(json!({"field": "name"})),
            CommandError::TooManyTokens
            | CommandError::SecretTaken
            | CommandError::Revoked
            | CommandError::SecretsInGrace
            | CommandError::GatewayLives => conflict(),
            CommandError::NoSuchToken | CommandError::NoSuchGateway => {
                Self::new(StatusCode::NOT_FOUND, "ObjectNotFound", message)
            }
            CommandError::TooManyGateways => Self::unavailable(
                "too many gateways follow this control plane: try again in a moment",
            ),
            CommandError::Randomness(error) => Self::internal(&error),
            CommandError::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: self.name,
            message: self.message.clone(),
            details: (*self.details).clone(),
        };
        let mut response = answer::json(self.status, &body);
        if matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        // For whoever words it otherwise.
        response.extensions_mut().insert(self);
        response
    }
}
