//! The head of an HTTP/2 request: the same rules, limits and facts as for one that came as text, and the same canonical
//! form handed on.
//!
//! It knows header fields. Frames and their compression are the library's, paths and keys the floor of decisions'.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{COOKIE, EXPECT, HOST};
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use pingora::http::RequestHeader;
use smallvec::SmallVec;

use super::super::config::Limits;
use super::super::forward::join_cookies;
use super::super::head::Malformed;
use crate::authz::{HeadView, Reason, check_framing};

/// What a header line takes beside its name and its value where it is text.
const LINE_EXTRA: usize = 4;

/// Method and target of a request, as its exchange keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Both, with a space between them.
    pub text: Bytes,
    /// Where the method is.
    pub method: Range<usize>,
    /// Where the target is.
    pub target: Range<usize>,
}

impl Line {
    /// What a request asks for, whatever it is worth.
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let method = method.as_str();
        let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
        let mut text = BytesMut::with_capacity(method.len() + 1 + target.len());
        text.extend_from_slice(method.as_bytes());
        text.extend_from_slice(b" ");
        text.extend_from_slice(target.as_bytes());
        Self {
            target: text.len() - target.len()..text.len(),
            text: text.freeze(),
            method: 0..method.len(),
        }
    }

    fn target(&self) -> &[u8] {
        self.text.get(self.target.clone()).unwrap_or_default()
    }
}

/// Judges a head and makes of it the one that is worked with: its target a path, its authority the one `Host`, its
/// cookies one line.
///
/// # Errors
/// The first rule or limit that it breaks.
pub fn judge(mut parts: Parts, line: &Line, limits: &Limits) -> Result<RequestHeader, Malformed> {
    check_size(&parts, line, limits)?;
    let host = host(&parts)?;
    let scheme = parts.uri.scheme();
    if scheme.is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(malformed("the scheme is neither http nor https"));
    }
    if line.target().first() != Some(&b'/') {
        return Err(malformed("the `:path` is not a path"));
    }
    check_fields(&parts, line, &host)?;
    check_expectation(&parts.headers)?;
    let Some(target) = parts.uri.path_and_query().cloned() else {
        return Err(malformed("no `:path`"));
    };
    // Before they are judged: split or not, they are the same cookies.
    join_cookies(&mut parts.headers);
    parts.headers.insert(HOST, host);
    parts.uri = Uri::from(target);
    parts.version = Version::HTTP_2;
    Ok(RequestHeader::from(parts))
}

const fn malformed(detail: &'static str) -> Malformed {
    Malformed {
        reason: Reason::MalformedRequest,
        detail,
    }
}

fn check_size(parts: &Parts, line: &Line, limits: &Limits) -> Result<(), Malformed> {
    if line.target.len() > limits.uri_bytes {
        return Err(Malformed {
            reason: Reason::UriTooLong,
            detail: "the request target is too long",
        });
    }
    let fields = parts.headers.iter();
    let bytes = fields
        .map(|(name, value)| name.as_str().len() + value.len() + LINE_EXTRA)
        .fold(line.text.len(), usize::saturating_add);
    let more_cookies = parts.headers.get_all(COOKIE).iter().skip(1).count();
    let lines = parts.headers.len().saturating_sub(more_cookies);
    if bytes > limits.header_bytes || lines > limits.headers {
        return Err(Malformed {
            reason: Reason::HeadersTooLarge,
            detail: "the header section is too large",
        });
    }
    Ok(())
}

/// The one host: `:authority`, or `host`, or both where they are the same.
fn host(parts: &Parts) -> Result<HeaderValue, Malformed> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(malformed("more than one `host`"));
    }
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    match (authority, host) {
        (None, None) => Err(malformed("neither `:authority` nor `host`")),
        (None, Some(host)) => Ok(host.clone()),
        (Some(authority), Some(host))
            if !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) =>
        {
            Err(malformed("`host` and authority differ"))
        }
        (Some(authority), _) => {
            HeaderValue::from_str(authority).map_err(|_| malformed("the `:authority` is malformed"))
        }
    }
}

/// What holds for header fields as text holds for them here: they go on as text.
fn check_fields(parts: &Parts, line: &Line, host: &HeaderValue) -> Result<(), Malformed> {
    let fields = parts.headers.iter().filter(|(name, _)| **name != HOST);
    let mut pairs: SmallVec<[(&str, &[u8]); 32]> = fields
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    pairs.push((HOST.as_str(), host.as_bytes()));
    let view = HeadView {
        method: parts.method.as_str().as_bytes(),
        target: line.target(),
        minor_version: 1,
        headers: &pairs,
    };
    check_framing(&view).map_err(|error| malformed(error.detail))
}

fn check_expectation(headers: &HeaderMap) -> Result<(), Malformed> {
    let mut expectations = headers.get_all(EXPECT).iter();
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(()),
        (Some(value), None) if known(value) => Ok(()),
        (Some(_), _) => Err(Malformed {
            reason: Reason::ExpectationFailed,
            detail: "only `100-continue` can be expected",
        }),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(uri: &str, headers: &[(&'static str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri).version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn judged(uri: &str, headers: &[(&'static str, &str)]) -> Result<RequestHeader, Malformed> {
        let parts = request(uri, headers);
        let line = Line::of(&parts.method, &parts.uri);
        judge(parts, &line, &Limits::default())
    }

    fn reason(uri: &str, headers: &[(&'static str, &str)]) -> Option<Reason> {
        judged(uri, headers).err().map(|malformed| malformed.reason)
    }

    #[test]
    fn a_head_becomes_the_one_that_text_would_have_been() {
        let head = judged(
            "http://gw.test:8080/a?b=c",
            &[("cookie", "a=1"), ("cookie", "b=2"), ("x-a", "1")],
        )
        .unwrap();
        assert_eq!(head.uri.to_string(), "/a?b=c");
        assert_eq!(head.headers[HOST], "gw.test:8080");
        let cookies: Vec<_> = head.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
    }

    #[test]
    fn there_is_one_host() {
        assert_eq!(reason("http://gw/a", &[]), None);
        assert_eq!(reason("http://gw/a", &[("host", "GW")]), None);
        assert_eq!(reason("/a", &[("host", "gw")]), None);
        for (uri, headers) in [
            ("/a", &[][..]),
            ("http://gw/a", &[("host", "other")]),
            ("http://gw/a", &[("host", "gw:80")]),
            ("http://gw/a", &[("host", "gw"), ("host", "gw")]),
            ("/a", &[("host", "")]),
            ("http://user@gw/a", &[]),
            ("http://gw:0/a", &[]),
        ] {
            assert_eq!(
                reason(uri, headers),
                Some(Reason::MalformedRequest),
                "{uri} {headers:?}"
            );
        }
    }

    #[test]
    fn only_a_path_is_a_target() {
        for uri in ["*", "http://gw?a", "ftp://gw/a"] {
            let refused = Some(Reason::MalformedRequest);
            assert_eq!(reason(uri, &[("host", "gw")]), refused, "{uri}");
        }
        let mut parts = request("http://gw/a", &[]);
        parts.method = Method::CONNECT;
        let line = Line::of(&parts.method, &parts.uri);
        assert!(judge(parts, &line, &Limits::default()).is_err());
    }

    #[test]
    fn what_may_not_be_in_text_may_not_be_here() {
        for field in [
            ("content-length", "+1"),
            ("content_length", "1"),
            ("connection", "x-a"),
            ("transfer-encoding", "gzip"),
        ] {
            assert_eq!(
                reason("http://gw/a", &[field]),
                Some(Reason::MalformedRequest),
                "{field:?}"
            );
        }
        let twice = [("content-length", "1"), ("content-length", "1")];
        assert!(reason("http://gw/a", &twice).is_some());
    }

    #[test]
    fn limits_have_reasons_of_their_own() {
        let long = format!("http://gw/{}", "a".repeat(9000));
        assert_eq!(reason(&long, &[]), Some(Reason::UriTooLong));
        let many = vec![("x-a", "1"); 101];
        assert_eq!(reason("http://gw/a", &many), Some(Reason::HeadersTooLarge));
        let cookies = vec![("cookie", "a=1"); 101];
        assert_eq!(reason("http://gw/a", &cookies), None);
        let large = "a".repeat(66_000);
        assert_eq!(
            reason("http://gw/a", &[("x-a", &large)]),
            Some(Reason::HeadersTooLarge)
        );
        let expects = [("expect", "200-ok")];
        assert_eq!(
            reason("http://gw/a", &expects),
            Some(Reason::ExpectationFailed)
        );
    }
}
