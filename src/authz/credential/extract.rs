//! Finding the one API key of a request, in whichever of the configured places it is. Never "the first wins".

use http::{HeaderMap, HeaderName, header};

use super::super::decision::Reason;
use super::super::request::{Occurrence, Query, occurrences};
use super::form::is_key_like;
use super::{KeyForm, PresentedKey};

/// A place where a request may carry an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// `Authorization: Bearer`, scheme in any case.
    Bearer,
    /// The whole value of this header.
    Header(HeaderName),
    /// A query parameter of this name.
    Query(String),
    /// `Sec-WebSocket-Protocol: bearer, <key>`.
    WebSocketProtocol,
}

/// A place where a request may carry a user token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserTokenSource {
    /// `Authorization: Bearer`.
    Bearer,
    /// This cookie.
    Cookie(String),
    /// The whole value of this header.
    Header(HeaderName),
}

/// Where credentials may be, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRules {
    /// Sources of API keys.
    pub sources: Vec<CredentialSource>,
    /// Sources of user tokens.
    pub user_tokens_from: Vec<UserTokenSource>,
}

impl Default for CredentialRules {
    fn default() -> Self {
        Self {
            sources: vec![
                CredentialSource::Header(HeaderName::from_static("x-prismeai-api-key")),
                CredentialSource::Bearer,
            ],
            user_tokens_from: vec![UserTokenSource::Bearer],
        }
    }
}

/// What a request showed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The one API key.
    pub key: Option<PresentedKey<'a>>,
    /// Whether there is a user token beside it or alone.
    pub user_token: bool,
}

impl CredentialRules {
    /// Finds what the request shows, per the norm's section 2.
    ///
    /// A key found in a query parameter must be borrowed from the query, so one that needs
    /// percent-decoding is `malformed_credential` (no form of key needs it).
    ///
    /// # Errors
    /// `ambiguous_credential`, whatever the order of the sources; else `malformed_credential`.
    pub fn extract<'a>(
        &self,
        headers: &'a HeaderMap,
        query: &Query<'a>,
    ) -> Result<Credentials<'a>, Reason> {
        let mut shown = Credentials::default();
        let mut malformed = Ok(());
        for source in &self.sources {
            let added = match read(source, headers, query) {
                Ok(Some(token)) => shown.add(token, self.takes_user_tokens(source)),
                Ok(None) => Ok(()),
                Err(reason) => Err(reason),
            };
            match added {
                Err(Reason::MalformedCredential) => malformed = added,
                Err(_) | Ok(()) => added?,
            }
        }
        for source in &self.user_tokens_from {
            shown.user_token |= self.finds_user_token(source, headers)?;
        }
        malformed.map(|()| shown)
    }

    /// Whether a source of API keys is one of user tokens too.
    pub(in crate::authz) fn takes_user_tokens(&self, source: &CredentialSource) -> bool {
        self.user_tokens_from
            .iter()
            .any(|other| match (source, other) {
                (CredentialSource::Bearer, UserTokenSource::Bearer) => true,
                (CredentialSource::Header(name), UserTokenSource::Header(other)) => name == other,
                _ => false,
            })
    }

    /// Looks into a source of user tokens; what else it holds is no matter of ours.
    fn finds_user_token(
        &self,
        source: &UserTokenSource,
        headers: &HeaderMap,
    ) -> Result<bool, Reason> {
        let token = match source {
            UserTokenSource::Cookie(name) => return Ok(has_user_cookie(headers, name)),
            UserTokenSource::Bearer if self.sources.contains(&CredentialSource::Bearer) => {
                return Ok(false);
            }
            UserTokenSource::Bearer => match one_value(headers, &header::AUTHORIZATION)? {
                // A malformed value is the upstream's to refuse where API keys are not looked for here.
                Some(value) => read_bearer(value).unwrap_or_default(),
                None => None,
            },
            UserTokenSource::Header(name) => one_value(headers, name)?,
        };
        Ok(token.and_then(KeyForm::of) == Some(KeyForm::UserToken))
    }
}

impl<'a> Credentials<'a> {
    fn add(&mut self, token: &'a [u8], takes_user_tokens: bool) -> Result<(), Reason> {
        match KeyForm::of(token) {
            Some(KeyForm::UserToken) if takes_user_tokens => self.user_token = true,
            Some(KeyForm::Key(family)) => {
                let key = PresentedKey { token, family };
                if self.key.is_some_and(|other| !other.is_same(&key)) {
                    return Err(Reason::AmbiguousCredential);
                }
                self.key = Some(key);
            }
            Some(KeyForm::UserToken) => return Err(Reason::MalformedCredential),
            // No form holds a comma, so that only what has none need be looked at again.
            None => return Err(malformed(token)),
        }
        Ok(())
    }
}

/// Why a text of no known form is refused: it may be a list, and then of more than one key.
fn malformed(text: &[u8]) -> Reason {
    if text.contains(&b',') {
        Reason::AmbiguousCredential
    } else {
        Reason::MalformedCredential
    }
}

/// The text that stands where `source` has its token, whatever it is.
fn read<'a>(
    source: &CredentialSource,
    headers: &'a HeaderMap,
    query: &Query<'a>,
) -> Result<Option<&'a [u8]>, Reason> {
    match source {
        CredentialSource::Header(name) => one_value(headers, name),
        CredentialSource::Bearer => match one_value(headers, &header::AUTHORIZATION)? {
            Some(value) => read_bearer(value),
            None => Ok(None),
        },
        CredentialSource::Query(name) => read_query(query, name),
        CredentialSource::WebSocketProtocol => {
            match one_value(headers, &header::SEC_WEBSOCKET_PROTOCOL)? {
                Some(value) => read_protocols(value),
                None => Ok(None),
            }
        }
    }
}

fn one_value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Reason> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(http::HeaderValue::as_bytes)),
        (_, Some(_)) => Err(Reason::AmbiguousCredential),
    }
}

/// The token of a `Bearer` challenge response. Another scheme is no credential — unless it hides one.
fn read_bearer(value: &[u8]) -> Result<Option<&[u8]>, Reason> {
    let Some(rest) = strip_bearer(value) else {
        let hidden = |element| strip_bearer(element).is_some();
        return if value.split(|&byte| byte == b',').skip(1).any(hidden) {
            Err(Reason::AmbiguousCredential)
        } else if is_key_like(value.trim_ascii()) {
            Err(Reason::MalformedCredential)
        } else {
            Ok(None)
        };
    };
    match rest {
        [b' ', token @ ..] if !value.starts_with(b" ") => Ok(Some(token)),
        _ => Err(malformed(rest)),
    }
}

/// What follows the scheme `Bearer` in any case; `None`: another scheme. A separator that is not the one space still
/// ends the scheme, for some upstream may read it so.
pub(in crate::authz) fn strip_bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer";
    let (scheme, rest) = value.trim_ascii_start().split_at_checked(SCHEME.len())?;
    let longer = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let ends = !rest.first().is_some_and(longer);
    (ends && scheme.eq_ignore_ascii_case(SCHEME)).then_some(rest)
}

fn read_query<'a>(query: &Query<'a>, name: &str) -> Result<Option<&'a [u8]>, Reason> {
    let mut found = occurrences(query.as_str(), name);
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(Occurrence::Plain(value)), None) => Ok(Some(value.as_bytes())),
        (Some(Occurrence::Plain(_) | Occurrence::Array), _) => Err(Reason::AmbiguousCredential),
    }
}

/// `bearer` and the key after it, among other protocols. Without `bearer` there is no credential.
fn read_protocols(value: &[u8]) -> Result<Option<&[u8]>, Reason> {
    let mut protocols = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let is_bearer = |protocol: &&[u8]| protocol.eq_ignore_ascii_case(b"bearer");
    let bearers = protocols.clone().filter(is_bearer).count();
    let keys = protocols
        .clone()
        .filter(|protocol| is_key_like(protocol))
        .count();
    match (protocols.find(is_bearer), protocols.next()) {
        (None, _) => Ok(None),
        (Some(_), _) if bearers > 1 || keys > 1 => Err(Reason::AmbiguousCredential),
        (Some(_), None) => Err(Reason::MalformedCredential),
        (Some(_), key) => Ok(key),
    }
}

fn has_user_cookie(headers: &HeaderMap, name: &str) -> bool {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b';'))
        .filter_map(|cookie| {
            let value = cookie.trim_ascii().strip_prefix(name.as_bytes())?;
            value.strip_prefix(b"=")
        })
        .any(|value| KeyForm::of(value) == Some(KeyForm::UserToken))
}

#[cfg(test)]
mod tests;
