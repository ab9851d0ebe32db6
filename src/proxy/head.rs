//! The head of a request, judged on its raw bytes before anything can rewrite or drop one of them.
//!
//! It knows limits and framing. Paths, routes and keys are for the floor of decisions.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::BytesMut;
use httparse::{Error as ParseError, Header, ParserConfig, Request, Status};
use memchr::memchr_iter;
use percent_encoding::percent_encode_byte;
use smallvec::SmallVec;

use super::config::Limits;
use super::framing::Framing;
use crate::authz::{HeadView, Reason, check_framing};

/// Header lines that are parsed at most, which bounds [`Limits::headers`]: pingora takes no more either.
pub const HEADER_LINES_MAX: usize = 256;

/// What a request line has beside its target: a method, two spaces and a version.
const REQUEST_LINE_EXTRA: usize = 64;

/// A head that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The reason that is answered.
    pub reason: Reason,
    /// What exactly, safe to show.
    pub detail: &'static str,
}

impl Malformed {
    const fn new(reason: Reason, detail: &'static str) -> Self {
        Self { reason, detail }
    }

    const fn request(detail: &'static str) -> Self {
        Self::new(Reason::MalformedRequest, detail)
    }
}

/// A whole head and what the door must know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its bytes, the empty line included.
    pub bytes: usize,
    /// Where the method is.
    pub method: Range<usize>,
    /// Where the target is.
    pub target: Range<usize>,
    /// The body that follows.
    pub framing: Framing,
    /// Whether the client wants to go on after the answer.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// What the bytes so far are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scan {
    /// A whole head.
    Whole(Head),
    /// The beginning of one.
    Partial,
}

/// Looks for a head at the beginning of `bytes`.
///
/// # Errors
/// What can never become a head that is accepted.
pub fn scan(bytes: &[u8], limits: &Limits) -> Result<Scan, Malformed> {
    let mut lines = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADER_LINES_MAX];
    let mut request = Request::new(&mut []);
    let parsed =
        ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, &mut lines);
    match parsed {
        Ok(Status::Complete(length)) => whole(bytes, length, &request, limits).map(Scan::Whole),
        Ok(Status::Partial) => partial(bytes, limits),
        Err(error) => Err(refusal(error)),
    }
}

/// Whether the first line, ended or not, is too long for a request's.
pub fn is_long_line(bytes: &[u8], limits: &Limits) -> bool {
    let most = limits.uri_bytes.saturating_add(REQUEST_LINE_EXTRA);
    let line = bytes.get(..=most);
    line.is_some_and(|line| !line.contains(&b'\n'))
}

/// A head that is not whole may still be too long already.
fn partial(bytes: &[u8], limits: &Limits) -> Result<Scan, Malformed> {
    if is_long_line(bytes, limits) {
        return Err(Malformed::new(
            Reason::UriTooLong,
            "the request target is too long",
        ));
    }
    if bytes.len() > limits.header_bytes {
        return Err(too_large());
    }
    Ok(Scan::Partial)
}

const fn too_large() -> Malformed {
    Malformed::new(Reason::HeadersTooLarge, "the header section is too large")
}

fn refusal(error: ParseError) -> Malformed {
    Malformed::request(match error {
        ParseError::TooManyHeaders => return too_large(),
        ParseError::HeaderName => "a header name is malformed",
        ParseError::HeaderValue => "a header value is malformed",
        ParseError::NewLine => "a line end is malformed",
        ParseError::Token => "the request line is malformed",
        ParseError::Version => "the protocol version is not HTTP/1.0 or HTTP/1.1",
        ParseError::Status => "the message is not a request",
    })
}

fn whole(
    bytes: &[u8],
    length: usize,
    request: &Request<'_, '_>,
    limits: &Limits,
) -> Result<Head, Malformed> {
    let raw = bytes.get(..length).unwrap_or_default();
    let (Some(method), Some(target), Some(minor_version)) =
        (request.method, request.path, request.version)
    else {
        return Err(Malformed::request("the request line is malformed"));
    };
    if target.len() > limits.uri_bytes || is_long_line(bytes, limits) {
        return Err(Malformed::new(
            Reason::UriTooLong,
            "the request target is too long",
        ));
    }
    if length > limits.header_bytes || lines(request.headers) > limits.headers {
        return Err(too_large());
    }
    if !lines_end_in_crlf(raw) {
        return Err(Malformed::request("a line does not end in CR LF"));
    }
    check_lines(method, target, minor_version, request.headers)?;
    let framing = framing(request.headers)?;
    Ok(Head {
        bytes: length,
        method: place(bytes, method.as_bytes()),
        target: place(bytes, target.as_bytes()),
        framing,
        keep_alive: keeps_alive(request.headers, minor_version),
        expects_continue: expects_continue(request.headers, minor_version, framing)?,
    })
}

/// Header lines as the limit counts them: cookies, which clients may split, are one.
fn lines(headers: &[Header<'_>]) -> usize {
    let cookies = named(headers, "cookie").count();
    headers.len().saturating_sub(cookies.saturating_sub(1))
}

fn named<'a, 'h>(
    headers: &'a [Header<'h>],
    name: &'a str,
) -> impl Iterator<Item = &'h [u8]> + use<'a, 'h> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}

/// Each line feed follows a carriage return, and no carriage return stands alone.
fn lines_end_in_crlf(raw: &[u8]) -> bool {
    let at = |place: Option<usize>| place.and_then(|place| raw.get(place));
    memchr_iter(b'\n', raw).all(|feed| at(feed.checked_sub(1)) == Some(&b'\r'))
        && memchr_iter(b'\r', raw).all(|back| at(back.checked_add(1)) == Some(&b'\n'))
}

fn check_lines(
    method: &str,
    target: &str,
    minor_version: u8,
    headers: &[Header<'_>],
) -> Result<(), Malformed> {
    let pairs: SmallVec<[(&str, &[u8]); 32]> = headers
        .iter()
        .map(|header| (header.name, header.value))
        .collect();
    let view = HeadView {
        method: method.as_bytes(),
        target: target.as_bytes(),
        minor_version,
        headers: &pairs,
    };
    check_framing(&view).map_err(|error| Malformed::request(error.detail))
}

/// The body that follows a head whose framing was found unambiguous.
fn framing(headers: &[Header<'_>]) -> Result<Framing, Malformed> {
    if named(headers, "transfer-encoding").next().is_some() {
        return Ok(Framing::chunked());
    }
    match named(headers, "content-length").next() {
        None => Ok(Framing::Done),
        Some(length) => std::str::from_utf8(length)
            .ok()
            .and_then(|length| length.parse().ok())
            .map(Framing::length)
            .ok_or(Malformed::request("the content length is malformed")),
    }
}

fn keeps_alive(headers: &[Header<'_>], minor_version: u8) -> bool {
    let has = |option: &str| {
        named(headers, "connection").any(|value| {
            value
                .split(|byte| *byte == b',')
                .any(|token| token.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
        })
    };
    !has("close") && (minor_version == 1 || has("keep-alive"))
}

fn expects_continue(
    headers: &[Header<'_>],
    minor_version: u8,
    framing: Framing,
) -> Result<bool, Malformed> {
    let mut expectations = named(headers, "expect");
    let known = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if known(value) => Ok(minor_version == 1 && !framing.is_done()),
        (Some(_), _) => Err(Malformed::new(
            Reason::ExpectationFailed,
            "only `100-continue` can be expected",
        )),
    }
}

/// Writes the target as pingora takes it, where it is not so already: as a path, whose authority was found to be the
/// host's before, and with the bytes of the query encoded that are in no URI and that some clients send all the same.
/// It means the same so. Only the target moves.
pub fn plain_target(raw: BytesMut, head: &mut Head) -> BytesMut {
    let wild = |byte: &u8| matches!(byte, b'"' | b'<' | b'>');
    let target = raw.get(head.target.clone()).unwrap_or_default();
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(at) => target.split_at(at),
        None => (target, &b""[..]),
    };
    if path.starts_with(b"/") && !query.iter().any(wild) {
        return raw;
    }
    let before = raw.get(..head.target.start).unwrap_or_default();
    let after = raw.get(head.target.end..).unwrap_or_default();
    let mut plain = BytesMut::with_capacity(raw.len().saturating_add(query.len() * 2));
    plain.extend_from_slice(before);
    plain.extend_from_slice(without_authority(path));
    for byte in query {
        if wild(byte) {
            plain.extend_from_slice(percent_encode_byte(*byte).as_bytes());
        } else {
            plain.extend_from_slice(&[*byte]);
        }
    }
    head.target.end = plain.len();
    plain.extend_from_slice(after);
    plain
}

/// The path of a target before its query: `http://host/path` and `/path` are the same, and `http://host` is `/`.
fn without_authority(path: &[u8]) -> &[u8] {
    if path.starts_with(b"/") {
        return path;
    }
    let slashes = path.windows(2).position(|two| two == b"//");
    let authority = slashes
        .and_then(|at| path.get(at + 2..))
        .unwrap_or_default();
    let at = authority.iter().position(|byte| *byte == b'/');
    at.and_then(|at| authority.get(at..)).unwrap_or(b"/")
}

/// Where `part`, a slice of `whole`, is in it.
fn place(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start.saturating_add(part.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(head: &str) -> Option<Reason> {
        match scan(head.as_bytes(), &Limits::default()) {
            Ok(_) => None,
            Err(malformed) => Some(malformed.reason),
        }
    }

    fn head(head: &str) -> Head {
        match scan(head.as_bytes(), &Limits::default()) {
            Ok(Scan::Whole(head)) => head,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_head_tells_where_its_parts_are() {
        let text = "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\nrest";
        let head = head(text);
        assert_eq!(text.get(head.method.clone()), Some("GET"));
        assert_eq!(text.get(head.target.clone()), Some("/a?b"));
        assert_eq!(text.get(head.bytes..), Some("rest"));
        assert!(head.keep_alive);
        assert!(head.framing.is_done());
    }

    #[test]
    fn a_bare_line_feed_is_refused_wherever_it_is() {
        for text in [
            "GET / HTTP/1.1\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n\n",
        ] {
            assert_eq!(reason(text), Some(Reason::MalformedRequest), "{text:?}");
        }
    }

    #[test]
    fn request_lines_are_strict() {
        for text in [
            "GE T /x HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET  /x HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /x  HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /x HTTP/1.2\r\nHost: h\r\n\r\n",
            "GET /x HTTP/2.0\r\nHost: h\r\n\r\n",
            "GET /x\r\nHost: h\r\n\r\n",
            "GET /x HTTP/1.1\r\n Host: h\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost : h\r\n\r\n",
        ] {
            assert_eq!(reason(text), Some(Reason::MalformedRequest), "{text:?}");
        }
    }

    #[test]
    fn limits_have_reasons_of_their_own() {
        let long = "a".repeat(9000);
        let line = format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(reason(&line), Some(Reason::UriTooLong));
        let cut = line.get(..8800).unwrap();
        assert_eq!(reason(cut), Some(Reason::UriTooLong));
        let method = format!("{long} / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(reason(&method), Some(Reason::UriTooLong));
        let many = "a: b\r\n".repeat(120);
        let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n");
        assert_eq!(reason(&many), Some(Reason::HeadersTooLarge));
        let most = "a: b\r\n".repeat(300);
        let most = format!("GET / HTTP/1.1\r\nHost: h\r\n{most}\r\n");
        assert_eq!(reason(&most), Some(Reason::HeadersTooLarge));
        let large = format!("GET / HTTP/1.1\r\nHost: h\r\na: {}", "b".repeat(70_000));
        assert_eq!(reason(&large), Some(Reason::HeadersTooLarge));
    }

    #[test]
    fn cookie_lines_count_as_one() {
        let cookies = "Cookie: a=b\r\n".repeat(150);
        assert_eq!(
            reason(&format!("GET / HTTP/1.1\r\nHost: h\r\n{cookies}\r\n")),
            None
        );
    }

    #[test]
    fn only_one_thing_can_be_expected() {
        let with = |expect: &str| {
            format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: {expect}\r\n\r\n")
        };
        assert!(head(&with("100-Continue")).expects_continue);
        assert_eq!(reason(&with("200-ok")), Some(Reason::ExpectationFailed));
    }

    #[test]
    fn a_target_is_made_one_that_pingora_takes() {
        for (target, plain) in [
            ("/a?b=<c>\"d", "/a?b=%3Cc%3E%22d"),
            ("HTTP://H/a//b?c=//d", "/a//b?c=//d"),
            ("http://h", "/"),
            ("https://h?a=<", "/?a=%3C"),
            ("http://h/", "/"),
            ("/a://b/c", "/a://b/c"),
        ] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            let mut head = head(&text);
            let raw = plain_target(BytesMut::from(text.as_str()), &mut head);
            assert_eq!(
                raw[head.target].escape_ascii().to_string(),
                plain.escape_default().to_string()
            );
            let line = format!("GET {plain} HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(raw, line.as_bytes());
        }
    }

    #[test]
    fn framing_follows_the_headers() {
        let with = |line: &str| head(&format!("POST / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n"));
        assert_eq!(with("Content-Length: 7").framing, Framing::length(7));
        assert_eq!(
            with("Transfer-Encoding: chunked").framing,
            Framing::chunked()
        );
        assert!(!with("Connection: close").keep_alive);
    }
}
