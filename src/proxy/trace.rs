//! What ties a request to the logs of other services: `x-correlation-id` and `traceparent`.
//!
//! Both are taken up where they are well-formed and made where they are not. No identifier here is a secret.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

const CORRELATION_ID_TEXT: &str = "x-correlation-id";
const TRACEPARENT_TEXT: &str = "traceparent";

/// The header of the identifier that people search logs for.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static(CORRELATION_ID_TEXT);
/// The header of W3C Trace Context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static(TRACEPARENT_TEXT);

/// Longest correlation id that is taken up.
const CORRELATION_BYTES_MAX: usize = 128;

/// Bytes of a `traceparent` of ours.
const PARENT_BYTES: usize = 55;

/// Where the trace's id is in a `traceparent`.
const TRACE_ID: Range<usize> = 3..35;

/// The identifiers of one request.
#[derive(Debug, Clone)]
pub struct Trace {
    /// `x-correlation-id`.
    pub correlation_id: HeaderValue,
    /// `traceparent`.
    pub parent: HeaderValue,
}

impl Trace {
    /// Takes up what the request states, and makes what it does not.
    pub fn of(headers: &HeaderMap) -> Self {
        let made = Self::made();
        Self {
            correlation_id: one(headers, &CORRELATION_ID, is_correlation_id)
                .unwrap_or(made.correlation_id),
            parent: one(headers, &TRACEPARENT, is_traceparent).unwrap_or(made.parent),
        }
    }

    /// As [`Trace::of`], of bytes that begin like a head and are none.
    pub fn of_raw(bytes: &[u8]) -> Self {
        let mut headers = HeaderMap::new();
        for line in bytes.split(|byte| *byte == b'\n').skip(1) {
            let mut halves = line.splitn(2, |byte| *byte == b':');
            let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
                break;
            };
            for known in [CORRELATION_ID, TRACEPARENT] {
                if name.eq_ignore_ascii_case(known.as_str().as_bytes())
                    && let Ok(value) = HeaderValue::from_bytes(value.trim_ascii())
                {
                    headers.append(known, value);
                }
            }
        }
        Self::of(&headers)
    }

    /// The header lines that say both.
    pub fn lines(&self) -> [(&'static str, &HeaderValue); 2] {
        [
            (CORRELATION_ID_TEXT, &self.correlation_id),
            (TRACEPARENT_TEXT, &self.parent),
        ]
    }

    /// Makes both, for a request that states neither: unique within this process, and unlikely elsewhere. The
    /// correlation id is the trace's id.
    pub fn made() -> Self {
        static SEEDS: LazyLock<(RandomState, RandomState)> = LazyLock::new(Default::default);
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (high, low) = (SEEDS.0.hash_one(number), SEEDS.1.hash_one(number) | 1);
        // Not sampled: whoever samples decides that at the edge of tracing, which is not here.
        let mut text = Vec::with_capacity(PARENT_BYTES);
        text.extend_from_slice(b"00-");
        push_hex(&mut text, high);
        push_hex(&mut text, low);
        text.push(b'-');
        push_hex(&mut text, low);
        text.extend_from_slice(b"-00");
        let parent = Bytes::from(text);
        Self {
            correlation_id: header_value(parent.slice(TRACE_ID)),
            parent: header_value(parent),
        }
    }
}

/// The one well-formed value of a header.
fn one(headers: &HeaderMap, name: &HeaderName, good: fn(&[u8]) -> bool) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    (values.next().is_none() && good(value.as_bytes())).then(|| value.clone())
}

/// Letters, digits and the punctuation of identifiers: nothing that means something to a log or a shell.
fn is_correlation_id(value: &[u8]) -> bool {
    (1..=CORRELATION_BYTES_MAX).contains(&value.len())
        && value
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte))
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, lower-case, neither identifier all zero.
fn is_traceparent(value: &[u8]) -> bool {
    let mut fields = value.split(|byte| *byte == b'-');
    let mut field = |length: usize, zero: bool| {
        fields.next().is_some_and(|field| {
            field.len() == length
                && field.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                && (zero || field.iter().any(|b| *b != b'0'))
        })
    };
    value.starts_with(b"00-")
        && field(2, true)
        && field(32, false)
        && field(16, false)
        && field(2, true)
        && fields.next().is_none()
}

/// Sixteen hexadecimal digits. By hand, since this is done for every request.
fn push_hex(text: &mut Vec<u8>, number: u64) {
    let digit = |place: u32| {
        let digit = (number >> (60 - 4 * place)) as u8 & 0xf;
        digit + if digit < 10 { b'0' } else { b'a' - 10 }
    };
    text.extend_from_slice(&std::array::from_fn::<u8, 16, _>(|place| {
        digit(place as u32)
    }));
}

fn header_value(text: Bytes) -> HeaderValue {
    // Digits and dashes are a header value.
    HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_identifiers_are_taken_up_and_others_made() {
        let mut headers = HeaderMap::new();
        headers.insert(CORRELATION_ID, HeaderValue::from_static("abc-1"));
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert(TRACEPARENT, HeaderValue::from_static(parent));
        let trace = Trace::of(&headers);
        assert_eq!(trace.correlation_id, "abc-1");
        assert_eq!(trace.parent, parent);
        headers.insert(CORRELATION_ID, HeaderValue::from_static("a b"));
        headers.insert(TRACEPARENT, HeaderValue::from_static("00-0-0-0"));
        let trace = Trace::of(&headers);
        assert_eq!(trace.correlation_id.len(), 32);
        assert!(is_traceparent(trace.parent.as_bytes()));
    }

    #[test]
    fn identifiers_are_read_of_what_is_no_head() {
        let raw = b"GET /a\\b HTTP/1.1\r\nhost: h\r\nX-Correlation-Id: mine \r\n\r\nx-correlation-id: body";
        assert_eq!(Trace::of_raw(raw).correlation_id, "mine");
        assert_eq!(
            Trace::of_raw(b"x-correlation-id: a").correlation_id.len(),
            32
        );
    }

    #[test]
    fn an_identifier_stated_twice_is_none() {
        let mut headers = HeaderMap::new();
        headers.append(CORRELATION_ID, HeaderValue::from_static("a"));
        headers.append(CORRELATION_ID, HeaderValue::from_static("b"));
        assert_eq!(Trace::of(&headers).correlation_id.len(), 32);
    }
}
