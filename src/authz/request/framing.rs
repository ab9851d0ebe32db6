//! The frame of an HTTP/1 message: whatever decides where it ends, whom it is for and what a hop may drop.
//!
//! Works on the head as it came, before any parser has rewritten, merged or dropped a line of it. It refuses to
//! know routes, keys and limits.

use super::super::bytes;
use super::super::strip::is_spelling_of;
use super::host::Host;
use super::query::Query;
use super::target::Target;
use super::{InvalidRequest, path};

/// Why the framing of a message is refused. Answered 400, and the connection closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct FramingError {
    /// Safe to show and to log.
    pub detail: &'static str,
}

impl From<InvalidRequest> for FramingError {
    fn from(InvalidRequest(detail): InvalidRequest) -> Self {
        Self { detail }
    }
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

/// Checks all that concerns the frame of a message and its connection: method token, target form and bytes, Host,
/// Content-Length, Transfer-Encoding, Connection nominations, Upgrade, header bytes.
///
/// # Errors
/// The first rule that is broken.
pub fn check_framing(head: &HeadView<'_>) -> Result<(), FramingError> {
    if head.minor_version > 1 {
        return refuse("the version is neither HTTP/1.0 nor HTTP/1.1");
    }
    if !is_token(head.method) {
        return refuse("the method is not a token");
    }
    let target = Target::split(head.method, head.target)?;
    let frame = Frame::read(head.headers)?;
    let Some(host) = frame.host else {
        return refuse("no `host`");
    };
    Host::parse(host)?;
    target.check_authority(host)?;
    path::check_bytes(target.path)?;
    Query::parse(target.query)?;
    frame.check_body(head.minor_version)
}

/// The lines of a head that frame its message.
#[derive(Debug, Default)]
struct Frame<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    transfer_encoding: Option<&'a [u8]>,
    /// Asks for another protocol than HTTP/2 (see [`Frame::check_body`]).
    upgrade: bool,
}

impl<'a> Frame<'a> {
    fn read(headers: &[(&'a str, &'a [u8])]) -> Result<Self, FramingError> {
        let mut frame = Self::default();
        for &(name, value) in headers {
            check_line(name, value)?;
            frame.take(name, trim(value))?;
        }
        Ok(frame)
    }

    fn take(&mut self, name: &str, value: &'a [u8]) -> Result<(), FramingError> {
        // Told apart by length first: most lines are none of these, and this runs for every line.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => {
                once(&mut self.host, value, "more than one `host`")
            }
            14 if is_spelling_of(name, "content-length") => {
                check_spelling(name)?;
                once(
                    &mut self.content_length,
                    value,
                    "more than one `content-length`",
                )
            }
            17 if is_spelling_of(name, "transfer-encoding") => {
                check_spelling(name)?;
                once(
                    &mut self.transfer_encoding,
                    value,
                    "more than one `transfer-encoding`",
                )
            }
            10 if name.eq_ignore_ascii_case("connection") => check_nominations(value),
            7 if name.eq_ignore_ascii_case("upgrade") => {
                self.upgrade |= !value.eq_ignore_ascii_case(b"h2c");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// One length, in one way; and no body before the protocol has changed.
    ///
    /// An upgrade to `h2c` is not counted: it is never taken up, and one common client library offers it with
    /// every first request, bodies included.
    fn check_body(&self, minor_version: u8) -> Result<(), FramingError> {
        match (self.content_length, self.transfer_encoding) {
            (Some(_), Some(_)) => {
                return refuse("both `content-length` and `transfer-encoding`");
            }
            (None, Some(_)) if minor_version == 0 => {
                return refuse("`transfer-encoding` in HTTP/1.0");
            }
            (None, Some(coding)) if coding != b"chunked" => {
                return refuse("a `transfer-encoding` other than `chunked`");
            }
            (Some(length), None) if !is_length(length) => {
                return refuse("`content-length` is not one decimal number");
            }
            _ => {}
        }
        let body =
            self.transfer_encoding.is_some() || self.content_length.is_some_and(|it| it != b"0");
        if self.upgrade && body {
            return refuse("a body with an `upgrade`");
        }
        Ok(())
    }
}

fn refuse<T>(detail: &'static str) -> Result<T, FramingError> {
    Err(FramingError { detail })
}

fn once<'a>(
    slot: &mut Option<&'a [u8]>,
    value: &'a [u8],
    detail: &'static str,
) -> Result<(), FramingError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => refuse(detail),
    }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && bytes::TOKEN.holds_all_of(text)
}

/// Names are tokens, so that no space stands before the colon and no line is folded; values hold no control byte
/// but the tabulator.
fn check_line(name: &str, value: &[u8]) -> Result<(), FramingError> {
    if !is_token(name.as_bytes()) {
        return refuse("a header name that is not a token");
    }
    if !bytes::HEADER_VALUE.holds_all_of(value) {
        return refuse("a control byte in a header value");
    }
    Ok(())
}

fn check_spelling(name: &str) -> Result<(), FramingError> {
    if name.bytes().any(|byte| matches!(byte, b'_' | b'.')) {
        return refuse("a framing header under another spelling");
    }
    Ok(())
}

/// `Connection` may make a hop drop headers, so it may name only those that are a hop's own.
fn check_nominations(value: &[u8]) -> Result<(), FramingError> {
    const NOMINEES: [&[u8]; 5] = [
        b"close",
        b"keep-alive",
        b"upgrade",
        b"te",
        b"http2-settings",
    ];
    let known = |nominee: &[u8]| {
        let nominee = trim(nominee);
        NOMINEES
            .iter()
            .any(|known| nominee.eq_ignore_ascii_case(known))
    };
    if value.split(|&byte| byte == b',').all(known) {
        Ok(())
    } else {
        refuse("`connection` nominates a header that it may not")
    }
}

/// One decimal number that fits 64 bits, written in the one way.
fn is_length(value: &[u8]) -> bool {
    const DIGITS_MAX: usize = 19;
    match value {
        b"0" => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < DIGITS_MAX && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Without optional whitespace (spaces and tabulators) at either end.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests;
