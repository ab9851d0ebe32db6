//! What a request shows: an admin token, or an API key.
//!
//! It only reads; whether a key is live and what it may do is judged where the command is carried out.

use axum::http::{HeaderMap, header};

use super::Api;
use super::error::ApiError;
use crate::authz::{CredentialRules, CredentialSource, Query, Reason, Tenant};
use crate::control::bearer::AdminToken;
use crate::control::caller::Caller;
use crate::control::command::InvalidInput;
use crate::control::fleet::NamedToken;

/// The caller, and what the path names, once it is known that the one may do anything in the other. Before the body
/// is looked at, so that strangers learn nothing from its faults.
///
/// # Errors
/// The request shows no live credential, the path names nothing, or the one may do nothing in the other.
pub(super) async fn admitted<T>(
    api: &Api,
    headers: &HeaderMap,
    named: Result<T, InvalidInput>,
) -> Result<(Caller, T), ApiError>
where
    Tenant: for<'a> From<&'a T>,
{
    let caller = caller(api, headers)?;
    let named = api.0.keys.admit(&caller, named).await?;
    Ok((caller, named))
}

/// The caller, once it is known that it may do what only administrators may: what is of no organisation is theirs.
///
/// # Errors
/// The request shows no live credential, or an API key.
pub(super) async fn administrator(api: &Api, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let (caller, _) = admitted(api, headers, Ok(OfNoOrganisation)).await?;
    Ok(caller)
}

/// The token of a gateway that a request shows, and nothing else.
///
/// # Errors
/// It shows none that is valid.
pub(super) async fn gateway_token(api: &Api, headers: &HeaderMap) -> Result<NamedToken, ApiError> {
    let Some(shown) = sole_bearer(headers) else {
        return Err(ApiError::credential(Reason::MissingCredential));
    };
    let token = api.0.keys.recognise_gateway(shown).await;
    token.ok_or_else(ApiError::invalid_key)
}

/// What paths name that name no tenant. Access keys are the one family that belongs to the whole installation.
struct OfNoOrganisation;

impl From<&OfNoOrganisation> for Tenant {
    fn from(_: &OfNoOrganisation) -> Self {
        Self::Access
    }
}

/// The caller that a request shows.
///
/// # Errors
/// It shows none, one of no known form, or more than one.
fn caller(api: &Api, headers: &HeaderMap) -> Result<Caller, ApiError> {
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
