//! The request target: its two accepted forms, split into authority, path and query. Judges no path.

use super::InvalidRequest;
use super::host::Host;

/// A request target, split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Of an absolute-form target.
    authority: Option<&'a [u8]>,
    pub(super) path: &'a [u8],
    /// What follows the first `?`.
    pub(super) query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    /// Splits the target of a request with this method: origin-form or absolute-form (`http` or `https`).
    ///
    /// # Errors
    /// Any other form, and `CONNECT`.
    pub(super) fn split(method: &[u8], target: &'a [u8]) -> Result<Self, InvalidRequest> {
        if method == b"CONNECT" {
            return Err(InvalidRequest("CONNECT is not served"));
        }
        let (authority, rest) = match strip_scheme(target) {
            Some(rest) => {
                let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
                let (authority, rest) = rest.split_at(end.unwrap_or(rest.len()));
                (Some(authority), rest)
            }
            None => (None, target),
        };
        let question = rest.iter().position(|&byte| byte == b'?');
        let (path, query) = match question.and_then(|at| rest.split_at_checked(at)) {
            Some((path, query)) => (path, query.get(1..)),
            None => (rest, None),
        };
        let path = match (authority, path) {
            // RFC 9112, section 3.2.4: this is how `OPTIONS *` comes through a proxy.
            (Some(_), []) if method == b"OPTIONS" => {
                return Err(InvalidRequest("`OPTIONS *` is not served"));
            }
            (Some(_), []) => b"/",
            _ => path,
        };
        if path.first() != Some(&b'/') {
            return Err(InvalidRequest("the request target is not a path"));
        }
        Ok(Self {
            authority,
            path,
            query,
        })
    }

    /// An authority in the target must be the one of `Host`.
    ///
    /// # Errors
    /// It is another, or either is none.
    pub(super) fn check_authority(&self, host: &[u8]) -> Result<(), InvalidRequest> {
        let Some(authority) = self.authority else {
            return Ok(());
        };
        if Host::split(authority)? == Host::split(host)? {
            Ok(())
        } else {
            Err(InvalidRequest("the target's authority is not the host"))
        }
    }
}

/// What follows `http://` or `https://`, in any case.
fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    // The common form first: no comparison of schemes for a path.
    if target.first() == Some(&b'/') {
        return None;
    }
    [b"http://".as_slice(), b"https://"]
        .into_iter()
        .find_map(|scheme| {
            let (head, rest) = target.split_at_checked(scheme.len())?;
            head.eq_ignore_ascii_case(scheme).then_some(rest)
        })
}
