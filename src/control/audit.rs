//! What the audit log says of a key before and after a change: everything but its secrets.

use serde_json::{Value, json};

use super::store::StoredKey;
use crate::authz::{KeyStatus, Timestamp};
use crate::wire::grants;
use crate::wire::time::format_rfc3339;

/// A key as the audit log holds it, as JSON text.
pub(super) fn state(key: &StoredKey) -> String {
    let moment = |at: Timestamp| Value::from(format_rfc3339(at));
    let owner = key.record.owner.as_ref();
    json!({
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
    })
    .to_string()
}
