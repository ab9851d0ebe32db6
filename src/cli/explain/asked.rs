//! The request that is asked about: from words on a command line to what the door would have read.
//!
//! Nothing is normalised here, so that what is wrong with a request is found where it would be found in service.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::authz::{CredentialSource, FramingError, HeadView, check_framing};
use crate::cli::failure::Failure;

/// A request as its parts.
#[derive(Debug)]
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// The value of its `Host` header.
    pub host: String,
    /// Its target as typed, without scheme and authority.
    pub target: String,
    /// Its headers, `Host` included.
    pub headers: HeaderMap,
    /// Whether a trusted peer names an identity in it.
    pub trusted_identity: bool,
}

/// The host of a URL that is only a path, when no header says another.
const DEFAULT_HOST: &str = "localhost";

impl Asked {
    /// Puts a request together from a method, a URL or path, and `name: value` lines.
    ///
    /// # Errors
    /// A word that cannot be part of any request. It is not repeated: keys are mistyped too.
    pub fn new(method: &str, url: &str, lines: &[String]) -> Result<Self, Failure> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| Failure::usage("the method is none: give one such as GET"))?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = header(line)?;
            headers.append(name, value);
        }
        let (authority, target) = split(url)?;
        let host = match (authority, headers.get(header::HOST)) {
            (Some(authority), _) => authority.to_owned(),
            (None, Some(host)) => String::from_utf8_lossy(host.as_bytes()).into_owned(),
            (None, None) => DEFAULT_HOST.to_owned(),
        };
        if !headers.contains_key(header::HOST) {
            let value = HeaderValue::from_str(&host).map_err(|_| {
                Failure::usage("the host of the URL is none: give http://HOST/PATH")
            })?;
            headers.insert(header::HOST, value);
        }
        Ok(Self {
            method,
            host,
            target: target.to_owned(),
            headers,
            trusted_identity: false,
        })
    }

    /// Shows `token` in the first place where keys may be.
    ///
    /// # Errors
    /// The token cannot be put there.
    pub fn show(&mut self, token: &str, sources: &[CredentialSource]) -> Result<(), Failure> {
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| {
                Failure::usage("the key holds what no header can: check it for line ends")
            })
        };
        match sources.first() {
            None => {
                return Err(Failure::told(
                    "the configuration has no place for keys: see `credentials.sources`",
                ));
            }
            Some(CredentialSource::Header(name)) => {
                self.headers.append(name.clone(), value(token)?);
            }
            Some(CredentialSource::Bearer) => {
                self.headers
                    .append(header::AUTHORIZATION, value(&format!("Bearer {token}"))?);
            }
            Some(CredentialSource::WebSocketProtocol) => {
                self.headers.append(
                    header::SEC_WEBSOCKET_PROTOCOL,
                    value(&format!("bearer, {token}"))?,
                );
            }
            Some(CredentialSource::Query(name)) => {
                let mark = if self.target.contains('?') { '&' } else { '?' };
                self.target = format!("{}{mark}{name}={token}", self.target);
            }
        }
        Ok(())
    }

    /// Checks what the door checks of the frame.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check_framing(&self) -> Result<(), FramingError> {
        let headers: Vec<(&str, &[u8])> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        check_framing(&HeadView {
            method: self.method.as_str().as_bytes(),
            target: self.target.as_bytes(),
            minor_version: 1,
            headers: &headers,
        })
    }
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let parts = line.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_str(value.trim()).ok()?;
        Some((name, value))
    });
    // The line is not repeated: it may hold a key.
    parts.ok_or_else(|| Failure::usage("a header given with -H is none: write 'name: value'"))
}

/// Authority and target of a URL; a target alone has no authority.
fn split(url: &str) -> Result<(Option<&str>, &str), Failure> {
    if url.starts_with('/') {
        return Ok((None, url));
    }
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    // Nor is this: a key may stand where the URL should.
    let rest = rest.ok_or_else(|| {
        Failure::usage("the URL is neither a URL nor a path: give http://HOST/PATH or /PATH")
    })?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    Ok((
        Some(authority),
        if target.is_empty() { "/" } else { target },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_are_taken_as_they_are() {
        let asked = Asked::new("GET", "http://Api.Example.com:8080/a/../b?x=%2f", &[]).unwrap();
        assert_eq!(
            (asked.host.as_str(), asked.target.as_str()),
            ("Api.Example.com:8080", "/a/../b?x=%2f")
        );
        let asked = Asked::new("GET", "https://h", &[]).unwrap();
        assert_eq!((asked.host.as_str(), asked.target.as_str()), ("h", "/"));
        let asked = Asked::new("GET", "/a", &["Host: other".to_owned()]).unwrap();
        assert_eq!(
            (asked.host.as_str(), asked.target.as_str()),
            ("other", "/a")
        );
    }

    #[test]
    fn what_is_no_request_is_told_without_repeating_it() {
        let header = ["secret-without-colon".to_owned()];
        for (method, url, headers) in [
            ("sec ret", "/", &[][..]),
            ("GET", "secret", &[]),
            ("GET", "http://secret\u{7f}/", &[]),
            ("GET", "/", &header),
        ] {
            let refused = Asked::new(method, url, headers).unwrap_err();
            assert_eq!(refused.code(), 2, "{method} {url}");
            assert!(!refused.line().contains("ret"), "{}", refused.line());
        }
    }

    #[test]
    fn a_key_goes_to_the_first_place() {
        let mut asked = Asked::new("GET", "/a?b=1", &[]).unwrap();
        asked
            .show(
                "k",
                &[
                    CredentialSource::Query("api_key".to_owned()),
                    CredentialSource::Bearer,
                ],
            )
            .unwrap();
        assert_eq!(asked.target, "/a?b=1&api_key=k");
        asked.show("k", &[CredentialSource::Bearer]).unwrap();
        assert_eq!(asked.headers[header::AUTHORIZATION], "Bearer k");
        assert!(asked.show("k", &[]).is_err());
    }
}
