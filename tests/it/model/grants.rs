//! Sections 5 and 7: permissions, scopes, access maps.

use keyward::authz::{AccessLevel, RawAccess};

fn is_segment(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// Whether a value may stand in a template of a permission (section 4).
pub fn is_permission_value(text: &str) -> bool {
    is_segment(text)
}

/// A concrete permission: two to eight segments, at most 256 bytes.
pub fn is_permission(text: &str) -> bool {
    text.len() <= 256
        && (2..=8).contains(&text.split(':').count())
        && text.split(':').all(is_segment)
}

/// A permission, `*`, or one whose last segment is `*`.
pub fn is_permission_grant(text: &str) -> bool {
    let with_star = text.strip_suffix(":*").map(|above| format!("{above}:x"));
    text == "*" || is_permission(&with_star.unwrap_or_else(|| text.to_owned()))
}

/// Whether `grant` covers the concrete permission `required`.
pub fn permission_covers(grant: &str, required: &str) -> bool {
    let above = grant
        .strip_suffix(":*")
        .or_else(|| grant.strip_suffix(":manage"));
    is_permission_grant(grant)
        && is_permission(required)
        && (grant == "*"
            || grant == required
            || above.is_some_and(|above| required.starts_with(&format!("{above}:"))))
}

/// A concrete scope: `type:id`.
pub fn is_scope(text: &str) -> bool {
    let parts = text.split_once(':');
    is_scope_text(text) && parts.is_some_and(|(kind, id)| !kind.is_empty() && !id.is_empty())
}

/// Without `*` and control bytes, as a value in a scope's template must be (section 4).
pub fn is_scope_text(text: &str) -> bool {
    !text.bytes().any(|b| b == b'*' || b.is_ascii_control())
}

/// A scope, `*`, or one that ends in `:*`.
pub fn is_scope_grant(text: &str) -> bool {
    let with_star = text.strip_suffix(":*").map(|above| format!("{above}:x"));
    text == "*" || is_scope(&with_star.unwrap_or_else(|| text.to_owned()))
}

/// Whether `grant` covers the concrete scope `required`.
pub fn scope_covers(grant: &str, required: &str) -> bool {
    let rest = grant.strip_suffix('*').filter(|rest| rest.ends_with(':'));
    is_scope_grant(grant)
        && is_scope(required)
        && (grant == "*"
            || grant == required
            || rest.is_some_and(|rest| required.starts_with(rest) && required.len() > rest.len()))
}

/// Index of the first grant that covers `required`.
pub fn first(grants: &[String], required: &str, covers: fn(&str, &str) -> bool) -> Option<u16> {
    let found = grants.iter().position(|grant| covers(grant, required));
    found.map(|index| u16::try_from(index).expect("index"))
}

/// A level in any accepted spelling.
pub fn level(text: &str) -> Option<AccessLevel> {
    match text {
        "none" | "NONE" | "ACCESS_LEVEL_NONE" => Some(AccessLevel::None),
        "read" | "READ" | "ACCESS_LEVEL_READ" => Some(AccessLevel::Read),
        "write" | "WRITE" | "ACCESS_LEVEL_WRITE" => Some(AccessLevel::Write),
        _ => None,
    }
}

/// The level that an access key holds on a domain; what cannot be read grants nothing.
pub fn held(access: &RawAccess, domain: &str) -> AccessLevel {
    match access
        .permission_mode
        .to_ascii_lowercase()
        .trim_start_matches("permission_mode_")
    {
        "all" => AccessLevel::Write,
        "read_only" => AccessLevel::Read,
        "restricted" => {
            let listed = access.access.iter().find(|(name, _)| name == domain);
            listed
                .and_then(|(_, text)| level(text))
                .unwrap_or(AccessLevel::None)
        }
        _ => AccessLevel::None,
    }
}
