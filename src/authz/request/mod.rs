//! The canonical request: computed once, and the same for routing, authorisation and the upstream.
//!
//! Knows the bytes of a request line and of a head, and which of them have one meaning only. It refuses to
//! know what any of them is good for: no route, no key, no policy is consulted here.

mod escape;
mod framing;
mod host;
mod path;
mod query;
mod target;

use http::{HeaderMap, Method, header};

pub use framing::{FramingError, HeadView, check_framing};
pub use host::Host;
pub use path::Path;
pub use query::Query;

use target::Target;

pub(super) use escape::{decode, decode_form};
pub(super) use path::slice;
pub(super) use query::{Occurrence, occurrences, raw_pairs};

/// Why a request is not canonical. Answered 400; the text is safe to show and to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRequest(pub &'static str);

/// Borrowed, canonical view of a request: all that a decision may use.
#[derive(Debug, Clone)]
pub struct RequestFacts<'a> {
    /// The method of the request line; nothing else decides it.
    pub method: &'a Method,
    /// Lower-cased, without port.
    pub host: Host<'a>,
    /// Canonical.
    pub path: Path<'a>,
    /// As received, checked.
    pub query: Query<'a>,
    /// As received.
    pub headers: &'a HeaderMap,
    /// Whether the peer may say for whom it asks, and has said so in a header.
    pub trusted_identity: bool,
}

impl<'a> RequestFacts<'a> {
    /// Puts the facts together from the parts of a request. `target` is origin-form or absolute-form, whose
    /// authority must equal `host`; so must every `host` header in `headers`.
    ///
    /// # Errors
    /// The first rule of the norm's section 1 that is broken.
    pub fn new(
        method: &'a Method,
        host: &'a [u8],
        target: &'a [u8],
        headers: &'a HeaderMap,
    ) -> Result<Self, InvalidRequest> {
        let target = Target::split(method.as_str().as_bytes(), target)?;
        target.check_authority(host)?;
        check_host_headers(host, headers)?;
        Ok(Self {
            method,
            host: Host::parse(host)?,
            path: Path::parse(target.path)?,
            query: Query::parse(target.query)?,
            headers,
            trusted_identity: false,
        })
    }

    /// The same, of a peer that may name identities where `named` says that it did.
    #[must_use]
    pub fn with_trusted_identity(self, named: bool) -> Self {
        Self {
            trusted_identity: named,
            ..self
        }
    }
}

/// HTTP/2 may carry a `host` beside its `:authority`: at most one, and the same.
fn check_host_headers(host: &[u8], headers: &HeaderMap) -> Result<(), InvalidRequest> {
    let mut values = headers.get_all(header::HOST).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(()),
        // Nearly always the very same bytes.
        (Some(value), None)
            if value.as_bytes() == host || value.as_bytes().eq_ignore_ascii_case(host) =>
        {
            Ok(())
        }
        (Some(_), None) => Err(InvalidRequest("`host` and authority differ")),
        (Some(_), Some(_)) => Err(InvalidRequest("more than one `host`")),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn facts(method: &str, host: &str, target: &str) -> Result<(String, String), InvalidRequest> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let headers = HeaderMap::new();
        RequestFacts::new(&method, host.as_bytes(), target.as_bytes(), &headers).map(|facts| {
            let query = facts.query.as_str().map(|query| format!("?{query}"));
            (
                facts.host.as_str().to_owned(),
                facts.path.canonical().to_owned() + &query.unwrap_or_default(),
            )
        })
    }

    #[test]
    fn both_target_forms_give_the_same_facts() {
        let expected = Ok(("gw.example".to_owned(), "/a?b=c".to_owned()));
        assert_eq!(facts("GET", "gw.example:8080", "/a?b=c"), expected);
        assert_eq!(
            facts("GET", "gw.example:8080", "HTTP://GW.example:8080/a?b=c"),
            expected
        );
        let root = Ok(("gw.example".to_owned(), "/".to_owned()));
        assert_eq!(facts("GET", "gw.example", "http://gw.example"), root);
    }

    #[test]
    fn other_target_forms_are_refused() {
        for (method, target) in [
            ("CONNECT", "gw:443"),
            ("CONNECT", "/a"),
            ("OPTIONS", "*"),
            ("GET", "*"),
            ("GET", ""),
            ("GET", "a"),
            ("GET", "gw/a"),
            ("GET", "?a=b"),
            ("GET", "//gw/a"),
            ("GET", "ftp://gw/a"),
            ("GET", "http:/gw/a"),
            ("GET", "http:///a"),
            ("GET", "http://other/a"),
            ("GET", "http://gw:80/a"),
            ("GET", "http://user@gw/a"),
            ("GET", "http://gw#/a"),
            ("OPTIONS", "http://gw"),
        ] {
            assert!(facts(method, "gw", target).is_err(), "{method} {target}");
        }
    }

    #[test]
    fn a_host_header_that_disagrees_is_refused() {
        let method = Method::GET;
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("GW:80"));
        assert!(RequestFacts::new(&method, b"gw:80", b"/", &headers).is_ok());
        assert!(RequestFacts::new(&method, b"other", b"/", &headers).is_err());
        headers.append(header::HOST, HeaderValue::from_static("gw:80"));
        assert!(RequestFacts::new(&method, b"gw:80", b"/", &headers).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            [target, host, name, value] in
                proptest::array::uniform4(proptest::collection::vec(any::<u8>(), 0..24)),
            form in 0..3_usize,
        ) {
            let target = [[b"/".as_slice(), b"http://", b""][form], &target].concat();
            let headers = HeaderMap::new();
            let _ = RequestFacts::new(&Method::GET, &host, &target, &headers);
            let name = String::from_utf8_lossy(&name);
            let headers = [("host", host.as_slice()), (&name, &value), ("connection", &value)];
            let head = HeadView { method: &value, target: &target, minor_version: 1, headers: &headers };
            let _ = check_framing(&head);
        }

        /// What is accepted as a frame is accepted as a request, but for what its path holds.
        #[test]
        fn facts_and_framing_agree(host in "[a-z:.\\[\\]0-9]{0,8}", target in "(http://)?[a-z:/?#]{0,8}") {
            let headers = [("host", host.as_bytes())];
            let target = target.as_bytes();
            let head = HeadView { method: b"GET", target, minor_version: 1, headers: &headers };
            let none = HeaderMap::new();
            if RequestFacts::new(&Method::GET, host.as_bytes(), target, &none).is_ok() {
                prop_assert_eq!(check_framing(&head), Ok(()));
            }
        }
    }
}
