//! What a request shows: an admin token, or an API key.
//!
//! It only reads; whether a key is live and what it may do is judged where the command is carried out.

use axum::http::{HeaderMap, header};

use super::Api;
use super::error::ApiError;
use crate::authz::{CredentialRules, CredentialSource, Query, Reason};
use crate::control::caller::Caller;
use crate::control::config::AdminToken;

/// The caller that a request shows.
///
/// # Errors
/// It shows none, one of no known form, or more than one.
pub(super) fn caller(api: &Api, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let rules = CredentialRules::default();
    if sole_bearer(headers).is_some_and(|token| AdminToken::is_among(&api.0.admin_tokens, token)) {
        let shows_key = rules.sources.iter().any(|source| match source {
            CredentialSource::Header(name) => headers.contains_key(name),
            CredentialSource::Bearer
            | CredentialSource::Query(_)
            | CredentialSource::WebSocketProtocol => false,
        });
        return if shows_key {
            Err(ApiError::credential(Reason::AmbiguousCredential))
        } else {
            Ok(Caller::ADMIN)
        };
    }
    let shown = rules
        .extract(headers, &Query::default())
        .map_err(ApiError::credential)?;
    match (shown.key, shown.user_token) {
        (Some(key), _) => Ok(api.0.keys.caller(&key)),
        (None, true) => Err(ApiError::credential(Reason::UserTokenRejected)),
        (None, false) => Err(ApiError::credential(Reason::MissingCredential)),
    }
}

/// The token of the one `Authorization: Bearer` line.
fn sole_bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next()?.as_bytes();
    if lines.next().is_some() {
        return None;
    }
    let (scheme, token) = line.split_at_checked("bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}
