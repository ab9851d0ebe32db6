//! Grants as JSON, until `wire` has them: permissions and scopes only; other families come back as nothing granted.

use serde_json::{Value, json};

use crate::authz::{Family, RawAccess, RawGrants};

/// Grants as a JSON value.
pub(in crate::control) fn to_value(grants: &RawGrants) -> Value {
    match grants {
        RawGrants::Org {
            permissions,
            scopes,
        } => json!({"permissions": permissions, "scopes": scopes}),
        RawGrants::Workspace { .. } | RawGrants::Access(_) => json!({}),
    }
}

/// Grants from JSON text; what cannot be read grants nothing.
pub(super) fn from_text(family: Family, text: &str) -> RawGrants {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let list = |name| {
        serde_json::from_value(value.get(name).cloned().unwrap_or_default()).unwrap_or_default()
    };
    match family {
        Family::Org => RawGrants::Org {
            permissions: list("permissions"),
            scopes: list("scopes"),
        },
        Family::Workspace => RawGrants::Workspace { rules: Vec::new() },
        Family::Access => RawGrants::Access(RawAccess::default()),
    }
}
