//! Telling whether a key is one, for whoever holds it: without a token, and so at a limited rate.
//!
//! Every refusal is the same answer, so that nothing can be learned of a key that one does not hold.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use super::answer;
use super::error::{ApiError, ErrorBody};
use super::input::{Segments, Unread, present};
use super::org_shapes::{OrgApiKey, without_secret};
use super::server::Peer;
use crate::authz::{Family, PresentedKey};

/// Validations a second, for each client, in the long run.
const VALIDATIONS_PER_SECOND: NonZeroU32 = NonZeroU32::new(50).unwrap();
/// Validations at once, for each client.
const VALIDATIONS_BURST: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// After so many validations, clients that have been quiet are forgotten.
const SWEEP_EVERY: u32 = 1024;

/// How often each client may validate a key.
#[derive(Debug)]
pub(super) struct Limiter {
    clients: DefaultKeyedRateLimiter<IpAddr>,
    asked: AtomicU32,
}

impl Limiter {
    /// Nobody has asked yet.
    pub(super) fn new() -> Self {
        let quota = Quota::per_second(VALIDATIONS_PER_SECOND).allow_burst(VALIDATIONS_BURST);
        Self {
            clients: RateLimiter::keyed(quota),
            asked: AtomicU32::new(0),
        }
    }

    /// Whether this client may ask once more.
    fn admits(&self, client: IpAddr) -> bool {
        if self.asked.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.clients.retain_recent();
        }
        self.clients.check_key(&network(client)).is_ok()
    }
}

/// What counts as one client: an IPv4 address, or the /64 of an IPv6 one, of which anyone has plenty.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => {
            IpAddr::V6((u128::from(address) & (u128::from(u64::MAX) << 64)).into())
        }
    }
}

/// The key, where it is not in the header.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ValidateOrgApiKey)]
pub(super) struct ValidateBody {
    /// The raw key, `iak_{orgSlug}_{uuid}`.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    api_key: Option<String>,
}

/// Validate an API key of this organization, and answer what it may do. Needs no other credential.
#[utoipa::path(
    post, path = "/v2/orgs/{orgSlug}/api-keys/validate", operation_id = "validateOrgApiKey", tag = "Organizations",
    params(
        ("orgSlug" = String, Path),
        ("x-prismeai-api-key" = Option<String>, Header, description = "The raw key, instead of the body"),
    ),
    request_body = Option<ValidateBody>,
    responses(
        (status = 200, description = "The key is valid", body = OrgApiKey, headers(("Keyward-Revision" = u64))),
        (status = 400, description = "A field is refused", body = ErrorBody),
        (status = 401, description = "It is not, whatever the reason", body = ErrorBody),
        (status = 408, description = "The body did not come to its end within 5 seconds", body = ErrorBody),
        (status = 413, description = "The body is longer than 4 KiB", body = ErrorBody),
        (status = 429, description = "Too many validations", body = ErrorBody),
        (status = 500, description = "A fault in the control plane; its log says more", body = ErrorBody),
        (status = 503, description = "The store does not do its work", body = ErrorBody),
    ),
    security(())
)]
pub(super) async fn validate(
    State(api): State<Api>,
    Extension(Peer(client)): Extension<Peer>,
    Segments(org): Segments<String>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    if !api.0.validations.admits(client) {
        return Err(ApiError::too_many_requests());
    }
    let body: ValidateBody = body.of_stranger().await?.parse_or_default()?;
    let shown = sole_key(&headers, body.api_key.as_deref())
        .and_then(PresentedKey::parse)
        .filter(|key| key.family() == Family::Org)
        .ok_or_else(ApiError::invalid_key)?;
    let found = api.0.keys.validate_org_key(&org, &shown).await?;
    let valid = found.ok_or_else(ApiError::invalid_key)?;
    Ok(answer::read(&valid.map(without_secret)))
}

/// The key in header or body; none where they hold different ones.
fn sole_key<'a>(headers: &'a HeaderMap, in_body: Option<&'a str>) -> Option<&'a [u8]> {
    let mut lines = headers.get_all("x-prismeai-api-key").iter();
    let in_header = lines.next().map(|line| line.as_bytes());
    let in_body = in_body.map(str::as_bytes);
    match (in_header, in_body, lines.next()) {
        (Some(key), None, None) | (None, Some(key), None) => Some(key),
        (Some(key), Some(same), None) if key == same => Some(key),
        (_, _, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_at_its_limit_is_refused_and_others_are_not() {
        let limiter = Limiter::new();
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let admitted = (0..2 * VALIDATIONS_BURST.get())
            .filter(|_| limiter.admits(address("192.0.2.1")))
            .count();
        assert!((100..200).contains(&admitted), "{admitted}");
        assert!(limiter.admits(address("192.0.2.2")));
    }

    #[test]
    fn clients_that_have_been_quiet_are_forgotten() {
        const CLIENTS: u32 = 400_000;
        let limiter = Limiter::new();
        for client in 0..CLIENTS {
            limiter.admits(IpAddr::V4(client.into()));
        }
        assert!(limiter.clients.len() < CLIENTS as usize);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        assert_eq!(
            network(address("2001:db8::1")),
            network(address("2001:db8::ffff:1"))
        );
        assert_ne!(
            network(address("2001:db8::1")),
            network(address("2001:db8:0:1::1"))
        );
    }
}
