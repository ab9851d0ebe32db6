//! What the audit log says of a key before and after a change: everything but its secrets.

use serde_json::{Map, Value, json};

use super::store::{Rotation, StoredKey};
use crate::authz::{KeyStatus, Tenant};
use crate::wire::grants;
use crate::wire::time::format_rfc3339;

/// A key as the audit log holds it, as JSON text. A rotation is nothing that a key is, but what became of it.
pub(super) fn state(key: &StoredKey, rotation: Option<Rotation>) -> String {
    let mut members = members(key);
    members.extend(rotation.map(|rotation| {
        let rotation = json!({
            "gracePeriodSeconds": rotation.grace_seconds,
            "formerSecretsEndBy": format_rfc3339(rotation.retired_at),
        });
        ("rotation".to_owned(), rotation)
    }));
    Value::Object(members).to_string()
}

/// Keys of one entry, as the JSON text of a list. Beside what is said of one, each has what tells it from others.
pub(super) fn states<'k>(keys: impl Iterator<Item = &'k StoredKey>) -> String {
    let keys = keys.map(|key| {
        let tenant = match &key.record.tenant {
            Tenant::Org(name) | Tenant::Workspace(name) => name.as_str().into(),
            Tenant::Access => Value::Null,
        };
        let about = [
            ("id", key.record.id.as_str().into()),
            ("family", key.record.family().as_str().into()),
            ("tenant", tenant),
        ];
        let about = about.map(|(name, value)| (name.to_owned(), value));
        Value::from_iter(about.into_iter().chain(members(key)))
    });
    Value::from_iter(keys).to_string()
}

fn members(key: &StoredKey) -> Map<String, Value> {
    let record = &key.record;
    let owner = record.owner.as_ref();
    let status = match record.status {
        KeyStatus::Active => "active",
        KeyStatus::Disabled => "disabled",
        KeyStatus::Revoked => "revoked",
    };
    let members = [
        ("name", record.name.as_str().into()),
        ("slug", key.slug.as_deref().into()),
        ("ownerType", owner.map(|owner| owner.kind.as_str()).into()),
        ("ownerId", owner.map(|owner| owner.id.as_str()).into()),
        ("status", status.into()),
        ("expiresAt", record.expires_at.map(format_rfc3339).into()),
        ("grants", grants::to_json(&record.grants)),
    ];
    let members = members.map(|(name, value)| (name.to_owned(), value));
    members.into_iter().collect()
}
