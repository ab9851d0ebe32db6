//! Bodies of requests and answers about keys of workspaces, in the shapes of Prisme.ai's API.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::answer::present_members;
use super::input::present;
use crate::authz::{KeyStatus, RawGrants, RawRule, Tenant};
use crate::control::service::Minted;
use crate::control::store::StoredKey;
use crate::wire::rule::{read_rule, write_rule};
use crate::wire::time::format_rfc3339;
use crate::wire::value::StrictJson;

/// What a key is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SaveApiKey)]
pub(super) struct SaveBody {
    /// Name for people.
    #[schema(min_length = 1, max_length = 256)]
    pub(super) name: String,
    /// What it may do, and what it may not.
    #[schema(value_type = Vec<PermissionRule>, max_items = 256)]
    rules: Vec<StrictJson>,
    /// Whether it is switched off; absent: as before, and a new key is on.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    pub(super) disabled: Option<bool>,
}

impl SaveBody {
    /// The rules as written. What cannot be read of one is refused when it is checked.
    pub(super) fn rules(&self) -> Vec<RawRule> {
        let rules = self.rules.iter();
        rules.map(|StrictJson(rule)| read_rule(rule)).collect()
    }
}

/// A rule that allows or denies.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `wire` reads and writes")]
struct PermissionRule {
    /// One action or several; `manage` is any.
    action: Names,
    /// One subject or several; `all` is any.
    subject: Names,
    /// Only for holders of one of these roles. A key has none.
    #[schema(nullable = false)]
    role: Option<Names>,
    /// Whether it denies.
    #[schema(nullable = false)]
    inverted: Option<bool>,
    /// Why it denies, for people.
    #[schema(nullable = false)]
    reason: Option<String>,
    /// Conditions on the resource. Absent or empty: every one of the workspace.
    #[schema(value_type = Option<Object>, nullable = false)]
    conditions: Option<Value>,
    /// Patterns of fields. Absent: the whole.
    #[schema(min_items = 1, nullable = false)]
    fields: Option<Vec<String>>,
    /// Rules with a priority come after those without; the last that applies decides.
    #[schema(nullable = false)]
    priority: Option<f64>,
}

/// One name or several.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what `wire` reads and writes")]
enum Names {
    One(String),
    Several(Vec<String>),
}

/// A key of a workspace.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiKey {
    /// The raw key in the answer to its creation, the id in all others.
    api_key: String,
    /// Name for people.
    name: String,
    /// Always `workspaces`.
    subject_type: &'static str,
    /// Id of the workspace.
    subject_id: String,
    /// What it may do, and what it may not.
    #[schema(value_type = Vec<PermissionRule>)]
    rules: Vec<Value>,
    /// Whether it is switched off.
    disabled: bool,
}

/// Which key is gone.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeletedApiKey)]
pub(super) struct Deleted {
    /// Its id.
    api_key: String,
}

impl From<StoredKey> for Deleted {
    fn from(key: StoredKey) -> Self {
        Self {
            api_key: key.record.id.as_str().to_owned(),
        }
    }
}

/// A key as answers show it.
pub(super) fn without_secret(key: StoredKey) -> ApiKey {
    let record = key.record;
    ApiKey {
        api_key: record.id.as_str().to_owned(),
        name: record.name,
        subject_type: "workspaces",
        subject_id: match record.tenant {
            Tenant::Workspace(id) => id,
            Tenant::Org(_) | Tenant::Access => String::new(),
        },
        rules: match &record.grants {
            RawGrants::Workspace { rules } => rules.iter().map(write_rule).collect(),
            RawGrants::Org { .. } | RawGrants::Access(_) => Vec::new(),
        },
        disabled: record.status != KeyStatus::Active,
    }
}

/// A new key as the one answer shows it.
pub(super) fn with_secret(Minted { key, raw }: Minted) -> ApiKey {
    ApiKey {
        api_key: raw.expose().to_owned(),
        ..without_secret(key)
    }
}

/// A key as the body of the call that would make it. That call knows no expiry, but a line of an import does.
pub(super) fn as_created(key: StoredKey) -> Map<String, Value> {
    let expires_at = key.record.expires_at.map(format_rfc3339);
    let shown = without_secret(key);
    let members = [
        ("name", Some(shown.name.into())),
        ("rules", Some(shown.rules.into())),
        ("expiresAt", expires_at.map(Value::from)),
    ];
    present_members(members)
}
