//! Bodies of requests and answers about keys of organisations, in the shapes of Prisme.ai's API.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::answer::present_members;
use super::input::{nullable, present};
use crate::authz::{KeyStatus, RawGrants};
use crate::control::service::Minted;
use crate::control::store::StoredKey;
use crate::wire::time::format_rfc3339;

/// What a new key is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = CreateOrgApiKey)]
pub(super) struct CreateBody {
    /// Unique identifier for this API key within the organization. Not of the form of a key's id.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,128}$")]
    pub(super) slug: String,
    /// Name for people.
    #[schema(min_length = 1, max_length = 256)]
    pub(super) name: String,
    /// `product:resource:action`; `*` at the end only.
    #[serde(default)]
    pub(super) permissions: Vec<String>,
    /// `resourceType:resourceId`; `*` at the end only.
    #[serde(default)]
    pub(super) scopes: Vec<String>,
    /// E.g. agent, user, app; not `keyward-sample`. Of a caller with an API key: the owner of that key, or none.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    pub(super) owner_type: Option<String>,
    /// Needs an `ownerType`.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    pub(super) owner_id: Option<String>,
    /// In the future.
    #[schema(format = DateTime)]
    pub(super) expires_at: String,
}

/// What is to be different; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = UpdateOrgApiKey)]
pub(super) struct PatchBody {
    /// Name for people.
    #[serde(default, deserialize_with = "present")]
    #[schema(min_length = 1, max_length = 256, nullable = false)]
    pub(super) name: Option<String>,
    /// `product:resource:action`; `*` at the end only.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    pub(super) permissions: Option<Vec<String>>,
    /// `resourceType:resourceId`; `*` at the end only.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    pub(super) scopes: Option<Vec<String>>,
    /// `null` takes the owner away. A caller with an API key may state the owner of that key, or none.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub(super) owner_type: Option<Option<String>>,
    /// `null` takes the id away.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub(super) owner_id: Option<Option<String>>,
    /// A moment in the past ends the key now.
    #[serde(default, deserialize_with = "present")]
    #[schema(format = DateTime, nullable = false)]
    pub(super) expires_at: Option<String>,
    /// Whether the key is switched off.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    pub(super) disabled: Option<bool>,
}

/// How a key is rotated.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = RotateOrgApiKey)]
pub(super) struct RotateBody {
    /// In the future; absent: as before.
    #[serde(default, deserialize_with = "present")]
    #[schema(format = DateTime, nullable = false)]
    pub(super) expires_at: Option<String>,
    /// For how long the former secret still works; absent: not at all.
    #[serde(default, deserialize_with = "present")]
    #[schema(maximum = 2_592_000, nullable = false)]
    pub(super) grace_period_seconds: Option<u32>,
}

/// Which keys are listed, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Keys a page; 50 where absent.
    #[serde(default, deserialize_with = "present")]
    #[param(minimum = 1, maximum = 200)]
    pub(super) limit: Option<u32>,
    /// Which page.
    #[serde(default, deserialize_with = "present")]
    #[param(minimum = 1)]
    pub(super) page: Option<u32>,
    /// `createdAt`, `updatedAt`, `name`, `slug` or `expiresAt`, with `-` before it for descending order.
    #[serde(default, deserialize_with = "present")]
    pub(super) sort: Option<String>,
    /// Only keys of this kind of owner.
    #[serde(default, deserialize_with = "present")]
    pub(super) owner_type: Option<String>,
    /// Only keys of this owner.
    #[serde(default, deserialize_with = "present")]
    pub(super) owner_id: Option<String>,
}

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OrgApiKey {
    /// Identifier that never changes.
    pub(super) id: String,
    /// Unique within the organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) slug: Option<String>,
    /// Name for people.
    pub(super) name: String,
    /// What it may do.
    pub(super) permissions: Vec<String>,
    /// To which resources.
    pub(super) scopes: Vec<String>,
    /// E.g. agent, user, app.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) owner_type: Option<String>,
    /// Identifier within that type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) owner_id: Option<String>,
    /// From then on it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub(super) expires_at: Option<String>,
    /// Whether it is switched off.
    pub(super) disabled: bool,
    /// When it was made.
    #[schema(format = DateTime)]
    pub(super) created_at: String,
    /// When it was changed last.
    #[schema(format = DateTime)]
    pub(super) updated_at: String,
}

/// A key with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OrgApiKeyWithSecret {
    /// Identifier that never changes.
    pub(super) id: String,
    /// Unique within the organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) slug: Option<String>,
    /// The raw key, `iak_{orgSlug}_{uuid}`.
    pub(super) api_key: String,
    /// Name for people.
    pub(super) name: String,
    /// What it may do.
    pub(super) permissions: Vec<String>,
    /// To which resources.
    pub(super) scopes: Vec<String>,
    /// E.g. agent, user, app.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) owner_type: Option<String>,
    /// Identifier within that type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) owner_id: Option<String>,
    /// From then on it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub(super) expires_at: Option<String>,
}

/// One page of keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OrgApiKeyList {
    /// The keys on it.
    pub(super) results: Vec<OrgApiKey>,
    /// How many keys all pages have together.
    pub(super) total: u64,
}

/// That something is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Success {
    /// Always true.
    pub(super) success: bool,
}

/// A key as answers show it.
pub(super) fn without_secret(key: StoredKey) -> OrgApiKey {
    let (permissions, scopes) = lists(key.record.grants);
    let (owner_type, owner_id) = key.record.owner.map(|owner| (owner.kind, owner.id)).unzip();
    OrgApiKey {
        id: key.record.id.as_str().to_owned(),
        slug: key.slug,
        name: key.record.name,
        permissions,
        scopes,
        owner_type,
        owner_id: owner_id.filter(|id| !id.is_empty()),
        expires_at: key.record.expires_at.map(format_rfc3339),
        disabled: key.record.status != KeyStatus::Active,
        created_at: format_rfc3339(key.created_at),
        updated_at: format_rfc3339(key.updated_at),
    }
}

/// A key as the body of the call that would make it.
pub(super) fn as_created(key: StoredKey) -> Map<String, Value> {
    let shown = without_secret(key);
    let members = [
        ("slug", shown.slug.map(Value::from)),
        ("name", Some(shown.name.into())),
        ("permissions", Some(shown.permissions.into())),
        ("scopes", Some(shown.scopes.into())),
        ("ownerType", shown.owner_type.map(Value::from)),
        ("ownerId", shown.owner_id.map(Value::from)),
        ("expiresAt", shown.expires_at.map(Value::from)),
    ];
    present_members(members)
}

/// A new secret as the one answer shows it.
pub(super) fn with_secret(Minted { key, raw }: Minted) -> OrgApiKeyWithSecret {
    let shown = without_secret(key);
    OrgApiKeyWithSecret {
        id: shown.id,
        slug: shown.slug,
        api_key: raw.expose().to_owned(),
        name: shown.name,
        permissions: shown.permissions,
        scopes: shown.scopes,
        owner_type: shown.owner_type,
        owner_id: shown.owner_id,
        expires_at: shown.expires_at,
    }
}

fn lists(grants: RawGrants) -> (Vec<String>, Vec<String>) {
    match grants {
        RawGrants::Org {
            permissions,
            scopes,
        } => (permissions, scopes),
        RawGrants::Workspace { .. } | RawGrants::Access(_) => (Vec::new(), Vec::new()),
    }
}
