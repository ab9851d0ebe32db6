//! The canonical request: computed once, and the same for routing, authorisation and the upstream.

use std::borrow::Cow;
use std::ops::Range;

use http::{HeaderMap, Method};
use smallvec::SmallVec;

/// Why a request is not canonical. Answered 400; the text is safe to show and to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRequest(pub &'static str);

/// Why the framing of a message is refused. Answered 400 (or what `status` says) and the connection closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct FramingError {
    /// Safe to show and to log.
    pub detail: &'static str,
}

/// The head of an HTTP/1 request as it came over the wire, before anything has rewritten it.
#[derive(Debug, Clone, Copy)]
pub struct HeadView<'a> {
    /// The method's bytes.
    pub method: &'a [u8],
    /// The request target's bytes.
    pub target: &'a [u8],
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor_version: u8,
    /// Names and values of the header lines in order, as received.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// Checks all that concerns the frame of a message and its connection: method token, target form, Host,
/// Content-Length, Transfer-Encoding, Connection nominations, header bytes.
///
/// # Errors
/// The first rule that is broken.
pub fn check_framing(head: &HeadView<'_>) -> Result<(), FramingError> {
    let _ = head;
    unimplemented!()
}

/// A checked host: one name or address, lower-cased, without its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host<'a>(Cow<'a, str>);

impl<'a> Host<'a> {
    /// Checks a `Host` value (or `:authority`).
    ///
    /// # Errors
    /// Anything but one name, IPv4 or bracketed IPv6 address with an optional port.
    pub fn parse(raw: &'a [u8]) -> Result<Self, InvalidRequest> {
        let _ = raw;
        unimplemented!()
    }

    /// Lower-cased, without the port.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A canonical path, and its segments percent-decoded for matching.
#[derive(Debug, Clone)]
pub struct Path<'a> {
    canonical: Cow<'a, str>,
    decoded: Cow<'a, str>,
    segments: SmallVec<[Range<u32>; 16]>,
    trailing_slash: bool,
    encoded_slash: bool,
    matrix: bool,
}

impl<'a> Path<'a> {
    /// Canonicalises the path part of a request target. Borrows where the path is canonical already.
    ///
    /// `%2F` and `;` are let through here and noted: only the chosen route knows whether it takes them
    /// (see [`Path::has_encoded_slash`], [`Path::has_matrix`]).
    ///
    /// # Errors
    /// The first rule of the norm's section 1 that is broken.
    pub fn parse(raw: &'a [u8]) -> Result<Self, InvalidRequest> {
        let _ = raw;
        unimplemented!()
    }

    /// What is forwarded.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// Number of segments, the empty one after a trailing slash not counted.
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether the path is `/` alone.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The percent-decoded segment at `index`; a decoded `/` never splits one.
    pub fn segment(&self, index: usize) -> Option<&str> {
        let range = self.segments.get(index)?;
        self.decoded.get(range.start as usize..range.end as usize)
    }

    /// The decoded text from segment `index` to the end, without a trailing slash.
    pub fn rest(&self, index: usize) -> Option<&str> {
        let (first, last) = (self.segments.get(index)?, self.segments.last()?);
        self.decoded.get(first.start as usize..last.end as usize)
    }

    /// Whether the path ends in `/` and is not `/` itself.
    pub fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// Whether it holds `%2F`, which only a route with `encoded_slash: allow` takes.
    pub fn has_encoded_slash(&self) -> bool {
        self.encoded_slash
    }

    /// Whether it holds `;`, which only a route with `matrix: allow` takes.
    pub fn has_matrix(&self) -> bool {
        self.matrix
    }
}

/// A checked query: no control byte, space or `#`. Names and values are decoded on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Query<'a>(Option<&'a str>);

impl<'a> Query<'a> {
    /// Checks the query part of a target; `None` where there is no `?`.
    ///
    /// # Errors
    /// A byte that the norm refuses.
    pub fn parse(raw: Option<&'a [u8]>) -> Result<Self, InvalidRequest> {
        let _ = raw;
        unimplemented!()
    }

    /// As received.
    pub fn as_str(&self) -> Option<&'a str> {
        self.0
    }

    /// The one decoded value of `name`.
    ///
    /// # Errors
    /// The name occurs more than once (also as `name[]`), or is not UTF-8 when decoded: `ambiguous_request`.
    pub fn value(&self, name: &str) -> Result<Option<Cow<'a, str>>, InvalidRequest> {
        let _ = name;
        unimplemented!()
    }
}

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
}

impl<'a> RequestFacts<'a> {
    /// Puts the facts together from the parts of a request. `target` is origin-form or absolute-form, whose
    /// authority must equal `host`.
    ///
    /// # Errors
    /// The first rule of the norm's section 1 that is broken.
    pub fn new(
        method: &'a Method,
        host: &'a [u8],
        target: &'a [u8],
        headers: &'a HeaderMap,
    ) -> Result<Self, InvalidRequest> {
        let _ = (method, host, target, headers);
        unimplemented!()
    }
}
