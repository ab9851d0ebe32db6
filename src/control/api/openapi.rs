//! The description of the API, made from its handlers.

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::response::Response;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::answer::Written;
use super::{access_keys, audit, gateways, org_keys, transfer, validate, workspace_keys};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Keyward control plane",
        description = "API keys made, changed and ended. Every answer carries `Keyward-Revision`; a change is on disk and applied by the embedded gateway before it is answered. With `Prefer: wait=SECONDS` (at most 60) the answer to a change waits until every gateway whose lease runs has applied it; `Keyward-Acknowledged: n/m` says how many have, and `Keyward-Silent: deny=1, serve=2` how many were not waited for because they were not heard for too long: those that refuse everything by now, and those that may go on by what they have. A path refuses other methods than its own with 405. No byte of a body is read before the caller is known.",
        version = "1",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        org_keys::create,
        org_keys::list,
        org_keys::fetch,
        org_keys::patch,
        org_keys::delete,
        org_keys::rotate,
        validate::validate,
        workspace_keys::list,
        workspace_keys::create,
        workspace_keys::fetch,
        workspace_keys::put,
        workspace_keys::delete,
        access_keys::create,
        access_keys::list,
        access_keys::list_capabilities,
        access_keys::fetch,
        access_keys::patch,
        access_keys::delete,
        transfer::import,
        transfer::export,
        audit::list,
        gateways::list,
        gateways::forget,
        gateways::list_tokens,
        gateways::create_token,
        gateways::revoke_token,
    ),
    modifiers(&Credentials),
    security(("admin" = []), ("api_key" = []), ("api_key_bearer" = [])),
    tags(
        (name = "Organizations", description = "Keys of organizations"),
        (name = "ApiKeys", description = "Keys of workspaces, for whoever has an admin token"),
        (name = "API keys", description = "Access keys: an access map, a permission mode, projects"),
        (name = "Keyward", description = "Keys of all families at once, and the gateways that follow")
    )
)]
struct Description;

/// The credentials that the API takes.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let components = description.components.get_or_insert_default();
        let bearer = |text: &str| {
            let scheme = HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(text))
                .build();
            SecurityScheme::Http(scheme)
        };
        components.add_security_scheme("admin", bearer("An admin token."));
        components.add_security_scheme(
            "api_key_bearer",
            bearer("A key of the organization with `orgs:apikeys:manage`."),
        );
        components.add_security_scheme(
            "api_key",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "x-prismeai-api-key",
                "A key of the organization with `orgs:apikeys:manage`.",
            ))),
        );
    }
}

/// The description, as JSON text that people can read too.
///
/// # Errors
/// It cannot be written as JSON, which is a fault of this program.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    Description::openapi().to_pretty_json()
}

/// The description, for programs. Anybody may ask for it, and making it costs far more than asking: it is made once.
pub(super) async fn openapi() -> Response {
    static DESCRIPTION: LazyLock<Written> =
        LazyLock::new(|| Written::new(StatusCode::OK, &Description::openapi()));
    DESCRIPTION.give()
}
