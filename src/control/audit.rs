//! What the audit log says of a key before and after a change: everything but its secrets.

use serde_json::{Value, json};

use super::store::{Rotation, StoredKey};
use crate::authz::{KeyStatus, Timestamp};
use crate::wire::grants;
use crate::wire::time::format_rfc3339;

/// A key as the audit log holds it, as JSON text. A rotation is nothing that a key is, but what became of it.
pub(super) fn state(key: &StoredKey, rotation: Option<Rotation>) -> String {
    let moment = |at: Timestamp| Value::from(format_rfc3339(at));
    let owner = key.record.owner.as_ref();
    let mut state = json!({
        "name": key.record.name,
        "slug": key.slug,
        "ownerType": owner.map(|owner| &owner.kind),
        "ownerId": owner.map(|owner| &owner.id),
        "status": match key.record.status {
            KeyStatus::Active => "active",
            KeyStatus::Disabled => "disabled",
            KeyStatus::Revoked => "revoked",
        },
        "expiresAt": key.record.expires_at.map(moment),
        "grants": grants::to_json(&key.record.grants),
    });
    let rotation = rotation.map(|rotation| {
        let rotation = json!({
            "gracePeriodSeconds": rotation.grace_seconds,
            "formerSecretsEndBy": moment(rotation.retired_at),
        });
        ("rotation".to_owned(), rotation)
    });
    if let Value::Object(members) = &mut state {
        members.extend(rotation);
    }
    state.to_string()
}
