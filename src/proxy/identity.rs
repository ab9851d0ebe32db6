//! What an upstream is told of the key that was judged: headers of ours, set last, in values that cannot break one.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::config::IdentityConfig;
use crate::authz::{Principal, Tenant};

/// Everything but visible ASCII, and the sign of encoding itself, so that it can be undone.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Tells the upstream whose key it was.
pub fn set_identity(headers: &mut HeaderMap, principal: &Principal, config: &IdentityConfig) {
    let (org, workspace) = match &principal.tenant {
        Tenant::Org(slug) => (Some(slug.as_str()), None),
        Tenant::Workspace(id) => (None, Some(id.as_str())),
        Tenant::Access => (None, None),
    };
    let mut set = |name: &Option<HeaderName>, value: Option<&str>| {
        if let (Some(name), Some(value)) = (name, value) {
            headers.insert(name.clone(), encoded(value));
        }
    };
    set(&config.key_id, Some(principal.id.as_str()));
    set(&config.org, org);
    set(&config.workspace, workspace);
    set(&config.family, Some(principal.family().as_str()));
    if let Some(owner) = &principal.owner {
        let id = if owner.id.is_empty() { "" } else { "/" };
        let owner = format!("{}{id}{}", owner.kind, owner.id);
        set(&config.owner, Some(&owner));
    }
}

/// The text in visible ASCII.
fn encoded(text: &str) -> HeaderValue {
    let encoded = Cow::from(utf8_percent_encode(text, ENCODED));
    HeaderValue::from_str(&encoded).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_visible_ascii() {
        assert_eq!(encoded("k1"), "k1");
        assert_eq!(encoded("a b\r\nx: é%"), "a%20b%0D%0Ax:%20%C3%A9%25");
    }
}
