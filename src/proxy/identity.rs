//! What an upstream is told of the key that was judged: headers of ours, set last, in values that cannot break one.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use pingora::Result;
use pingora::http::RequestHeader;

use super::config::IdentityConfig;
use crate::authz::{Principal, Tenant};

/// Everything but visible ASCII, and the sign of encoding itself, so that it can be undone.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Tells the upstream whose key it was.
///
/// # Errors
/// None in practice: the values are visible ASCII.
pub fn set_identity(
    request: &mut RequestHeader,
    principal: &Principal,
    config: &IdentityConfig,
) -> Result<()> {
    let (org, workspace) = match &principal.tenant {
        Tenant::Org(slug) => (Some(slug.as_str()), None),
        Tenant::Workspace(id) => (None, Some(id.as_str())),
        Tenant::Access => (None, None),
    };
    set(request, &config.key_id, Some(principal.id.as_str()))?;
    set(request, &config.org, org)?;
    set(request, &config.workspace, workspace)?;
    set(request, &config.family, Some(principal.family().as_str()))?;
    let owner = principal.owner.as_ref().map(|owner| {
        let mut text = owner.kind.clone();
        // Writing into a `String` cannot fail.
        let _ = write!(text, "/{}", owner.id);
        text
    });
    set(request, &config.owner, owner.as_deref())
}

fn set(request: &mut RequestHeader, name: &Option<HeaderName>, value: Option<&str>) -> Result<()> {
    let (Some(name), Some(value)) = (name, value) else {
        return Ok(());
    };
    request.insert_header(name.clone(), encoded(value))
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
