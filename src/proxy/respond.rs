//! The one table from reason to response: status, error name, message, headers, body.
//!
//! Everything that the gateway itself answers is made here. It knows no connection: bytes come out.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::config::ErrorStyle;
use crate::authz::{Denial, Reason};
use crate::wire::needed;

/// Seconds after which a client that met a 503 may try again.
const RETRY_AFTER: &str = "1";

/// What is wrong, as the platform names it, and a sentence that tells no more than the status does.
struct Class {
    error: &'static str,
    message: &'static str,
}

/// An answer of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: String,
}

impl Answer {
    /// The answer to a refusal.
    pub fn to_denial(denial: &Denial, style: ErrorStyle) -> Self {
        let mut headers = vec![("cache-control", Cow::Borrowed("no-store"))];
        let (media, body) = match style {
            ErrorStyle::Prisme => ("application/json", prisme(denial)),
            ErrorStyle::Minimal => ("application/json", minimal(denial.reason)),
            ErrorStyle::Problem => ("application/problem+json", problem(denial)),
        };
        headers.push(("content-type", Cow::Borrowed(media)));
        match denial.reason.status() {
            401 => headers.push(("www-authenticate", challenge(denial))),
            405 => headers.push(("allow", allow(denial))),
            503 => headers.push(("retry-after", Cow::Borrowed(RETRY_AFTER))),
            _ => {}
        }
        Self {
            status: denial.reason.status(),
            headers,
            body: body.to_string(),
        }
    }

    /// Bytes of the body.
    pub fn body_bytes(&self) -> u64 {
        self.body.len() as u64
    }

    /// Adds a header.
    pub fn header(&mut self, name: &'static str, value: impl Into<Cow<'static, str>>) {
        self.headers.push((name, value.into()));
    }

    /// The answer as HTTP/2 takes it: its head, and its body beside it.
    pub fn to_response(&self) -> (http::Response<()>, Bytes) {
        let body = Bytes::copy_from_slice(self.body.as_bytes());
        let mut head = http::Response::new(());
        *head.status_mut() = StatusCode::from_u16(self.status).unwrap_or_default();
        let headers = head.headers_mut();
        for (name, value) in &self.headers {
            // All of them were header values, or are text of ours.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.append(*name, value);
            }
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        (head, body)
    }

    /// The answer as it goes over the wire. `bodiless`: the request was a HEAD.
    pub fn to_wire(&self, keep_alive: bool, bodiless: bool) -> Vec<u8> {
        let phrase = StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or_default();
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let mut head = String::with_capacity(512);
        // Writing into a `String` cannot fail.
        let _ = write!(head, "HTTP/1.1 {} {phrase}\r\n", self.status);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(
            head,
            "content-length: {}\r\nconnection: {connection}\r\n\r\n",
            self.body.len()
        );
        if !bodiless {
            head.push_str(&self.body);
        }
        head.into_bytes()
    }
}

/// RFC 6750: an error is named only to those who showed something.
fn challenge(denial: &Denial) -> Cow<'static, str> {
    Cow::Borrowed(if denial.credential_shown {
        r#"Bearer realm="keyward", error="invalid_token""#
    } else {
        r#"Bearer realm="keyward""#
    })
}

fn allow(denial: &Denial) -> Cow<'static, str> {
    let methods: Vec<&str> = denial.allow.iter().map(http::Method::as_str).collect();
    Cow::Owned(methods.join(", "))
}

fn prisme(denial: &Denial) -> Value {
    let class = class(denial.reason);
    let mut details = json!({ "reason": denial.reason.as_str() });
    if let (Some(needed), Some(details)) = (&denial.needed, details.as_object_mut()) {
        details.insert("needed".to_owned(), needed::to_json(needed));
    }
    json!({ "error": class.error, "message": message(denial), "details": details })
}

fn minimal(reason: Reason) -> Value {
    let class = class(reason);
    json!({ "error": class.error, "message": class.message })
}

fn problem(denial: &Denial) -> Value {
    let reason = denial.reason;
    let mut problem = json!({
        "type": format!("urn:keyward:reason:{}", reason.as_str()),
        "title": class(reason).message,
        "status": reason.status(),
        "detail": message(denial),
        "reason": reason.as_str(),
    });
    if let (Some(needed), Some(problem)) = (&denial.needed, problem.as_object_mut()) {
        problem.insert("needed".to_owned(), needed::to_json(needed));
    }
    problem
}

fn message(denial: &Denial) -> Cow<'static, str> {
    let sentence = sentence(denial.reason);
    match denial.detail {
        Some(detail) => Cow::Owned(format!("{sentence}: {detail}.")),
        None => Cow::Owned(format!("{sentence}.")),
    }
}

fn class(reason: Reason) -> Class {
    let (error, message) = match reason.status() {
        401 => ("AuthenticationError", "Authentication is required."),
        403 => ("ForbiddenError", "This key may not do that."),
        404 => ("ObjectNotFound", "There is nothing here."),
        405 => ("MethodNotAllowed", "This method is not allowed here."),
        408 | 504 => ("TimeoutError", "It took too long."),
        413 => ("PayloadTooLarge", "The body is too large."),
        429 => ("TooManyRequests", "There were too many requests."),
        502 => ("BadGateway", "The service behind the gateway failed."),
        503 => ("ServiceUnavailable", "The service is not available now."),
        500 => ("Internal", "The gateway failed."),
        _ => ("BadParameters", "The request is malformed."),
    };
    Class { error, message }
}

/// What each reason means, for people. Says nothing that the holder of the key may not know.
fn sentence(reason: Reason) -> &'static str {
    match reason {
        Reason::MalformedRequest => "The request is malformed",
        Reason::AmbiguousRequest => "A value that this route uses is stated more than once",
        Reason::AmbiguousCredential => "More than one API key was sent",
        Reason::MissingCredential => "An API key is required",
        Reason::MalformedCredential => "What was sent is not an API key",
        Reason::UnknownKey => "The API key is not known",
        Reason::DisabledKey => "The API key is disabled",
        Reason::RevokedKey => "The API key was revoked",
        Reason::ExpiredKey => "The API key has expired",
        Reason::UserTokenRejected => "A user token is not accepted here without an API key",
        Reason::OrgMismatch => "The API key belongs to another organisation",
        Reason::WorkspaceMismatch => "The API key belongs to another workspace",
        Reason::MissingPermission => "The API key lacks a permission",
        Reason::OutOfScope => "The API key is limited to other resources",
        Reason::NoMatchingRule => "No rule of the API key allows this",
        Reason::RuleDenied => "A rule of the API key denies this",
        Reason::InsufficientAccess => "The API key lacks access to this domain",
        Reason::ProjectMismatch => "The API key belongs to another project",
        Reason::ProjectUnknown => {
            "The API key belongs to one project, and requests here state none"
        }
        Reason::FamilyNotAccepted => "Keys of this kind are not accepted here",
        Reason::NoRoute => "There is no such route",
        Reason::MethodNotAllowed => "This route does not have this method",
        Reason::RequestTimeout => "The request came too slowly",
        Reason::BodyTooLarge => "The body is larger than the limit",
        Reason::UriTooLong => "The target is longer than the limit",
        Reason::ExpectationFailed => "The expectation cannot be met",
        Reason::RateLimited => "The rate limit is reached",
        Reason::HeadersTooLarge => "The header section is larger than the limit",
        Reason::InternalError => "The gateway failed",
        Reason::UpstreamUnreachable => "The service behind the gateway cannot be reached",
        Reason::UpstreamInvalid => "The service behind the gateway gave no valid answer",
        Reason::KeysUnavailable => "API keys cannot be checked now",
        Reason::Overloaded => "The gateway is at its limit",
        Reason::UpstreamTimeout => "The service behind the gateway took too long",
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::authz::Needed;

    fn wire(denial: &Denial, style: ErrorStyle) -> String {
        String::from_utf8(Answer::to_denial(denial, style).to_wire(true, false)).unwrap()
    }

    #[test]
    fn both_versions_get_the_same_answer() {
        for reason in Reason::ALL {
            let mut answer = Answer::to_denial(&Denial::new(*reason), ErrorStyle::Prisme);
            answer.header("x-a", "1");
            let text = String::from_utf8(answer.to_wire(true, false)).unwrap();
            let (head, body) = answer.to_response();
            let status = format!("HTTP/1.1 {} ", head.status().as_u16());
            assert!(text.starts_with(&status), "{text}");
            for (name, value) in head.headers() {
                let line = format!("\r\n{name}: {}\r\n", value.to_str().unwrap());
                assert!(text.contains(&line), "{line} {text}");
            }
            // The lines of text also have the status, `connection` and the end.
            assert_eq!(head.headers().len() + 4, text.lines().count());
            assert!(text.as_bytes().ends_with(&body));
        }
    }

    #[test]
    fn every_reason_has_the_platforms_name() {
        for reason in Reason::ALL {
            let name = class(*reason).error;
            let expected = match reason.status() {
                400 | 414 | 417 | 431 => "BadParameters",
                401 => "AuthenticationError",
                403 => "ForbiddenError",
                404 => "ObjectNotFound",
                405 => "MethodNotAllowed",
                408 | 504 => "TimeoutError",
                413 => "PayloadTooLarge",
                429 => "TooManyRequests",
                500 => "Internal",
                502 => "BadGateway",
                503 => "ServiceUnavailable",
                other => panic!("{other}"),
            };
            assert_eq!(name, expected, "{}", reason.as_str());
        }
    }

    #[test]
    fn a_refusal_says_what_was_needed_unless_it_is_minimal() {
        let denial = Denial {
            needed: Some(Needed::Permission("a:b".to_owned())),
            ..Denial::new(Reason::MissingPermission)
        };
        let full = wire(&denial, ErrorStyle::Prisme);
        assert!(full.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{full}");
        assert!(full.contains("cache-control: no-store\r\n"), "{full}");
        assert!(
            full.contains(
                r#""details":{"reason":"missing_permission","needed":{"permission":"a:b"}}"#
            ),
            "{full}"
        );
        assert!(!wire(&denial, ErrorStyle::Minimal).contains("permission\""));
        assert!(wire(&denial, ErrorStyle::Problem).contains("application/problem+json"));
    }

    #[test]
    fn minimal_answers_of_one_status_are_alike() {
        let unauthorized = Reason::ALL.iter().filter(|reason| reason.status() == 401);
        let bodies: std::collections::BTreeSet<String> = unauthorized
            .map(|reason| minimal(*reason).to_string())
            .collect();
        assert_eq!(bodies.len(), 1);
    }

    #[test]
    fn challenges_and_methods_are_stated() {
        let missing = wire(&Denial::new(Reason::MissingCredential), ErrorStyle::Prisme);
        assert!(missing.contains("www-authenticate: Bearer realm=\"keyward\"\r\n"));
        let shown = Denial {
            credential_shown: true,
            ..Denial::new(Reason::UnknownKey)
        };
        assert!(wire(&shown, ErrorStyle::Prisme).contains("error=\"invalid_token\"\r\n"));
        let method = Denial {
            allow: vec![Method::GET, Method::POST],
            ..Denial::new(Reason::MethodNotAllowed)
        };
        assert!(wire(&method, ErrorStyle::Prisme).contains("allow: GET, POST\r\n"));
        assert!(
            wire(&Denial::new(Reason::Overloaded), ErrorStyle::Prisme)
                .contains("retry-after: 1\r\n")
        );
    }

    #[test]
    fn a_head_request_gets_the_length_and_no_body() {
        let answer = Answer::to_denial(&Denial::new(Reason::NoRoute), ErrorStyle::Prisme);
        let wire = String::from_utf8(answer.to_wire(false, true)).unwrap();
        assert!(wire.ends_with("connection: close\r\n\r\n"), "{wire}");
        assert!(!wire.contains("content-length: 0\r\n"), "{wire}");
    }
}
