//! What an upstream gets to see of a request, and a client of a response: no credentials, no names that could be
//! mistaken for ours, no hop's own business.
//!
//! It edits heads. It decides nothing and knows no connection.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, CONNECTION, COOKIE, HOST, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use smallvec::SmallVec;

use super::config::{IdentityConfig, NamePattern};
use super::socket::Client;
use super::trace::{CORRELATION_ID, TRACEPARENT, Trace};
use crate::authz::{CredentialRules, CredentialSource, KeyForm, Stripped, UserTokenSource};

/// Removed from every request: they claim another method, path, host, protocol or client than the request line and the
/// connection do.
const CLAIMS: &[&str] = &[
    "cf-connecting-ip",
    "forwarded",
    "proxy",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-prismeai-api-key",
    "x-real-ip",
];
const CLAIM_PREFIXES: &[&str] = &["x-forwarded-", "x-original-", "x-rewrite-"];

/// The one name of the platform's family that belongs to browsers.
const CSRF: HeaderName = HeaderName::from_static("x-prismeai-csrf-token");

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Response headers that are one hop's own business (`connection` and `transfer-encoding` are pingora's).
const RESPONSE_HOP: &[&str] = &[
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
];

/// Our own family in responses.
const OWN_PREFIX: &str = "x-keyward-";

/// The names to strip, prepared.
#[derive(Debug)]
pub struct Hygiene {
    /// Whether any pattern begins with this byte: most names are told apart by it alone.
    first: [bool; 256],
    exact: Vec<String>,
    prefixes: Vec<String>,
    /// Never stripped for their name, in exactly this spelling.
    kept: Vec<HeaderName>,
    key_headers: Vec<HeaderName>,
    /// What knows where keys are.
    credentials: CredentialRules,
    bearer: bool,
    websocket: bool,
}

impl Hygiene {
    /// Prepares what configuration says to strip and to keep.
    pub fn new(identity: &IdentityConfig, credentials: &CredentialRules) -> Self {
        let mut hygiene = Self {
            first: [false; 256],
            exact: CLAIMS.iter().map(|name| (*name).to_owned()).collect(),
            prefixes: CLAIM_PREFIXES
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
            kept: vec![CSRF],
            key_headers: Vec::new(),
            credentials: credentials.clone(),
            bearer: false,
            websocket: false,
        };
        hygiene.take_identity(identity);
        hygiene.take_credentials(credentials);
        hygiene.exact.retain(|name| *name != CSRF.as_str());
        let names = hygiene.exact.iter().chain(&hygiene.prefixes);
        for byte in names.filter_map(|name| name.bytes().next()) {
            if let Some(first) = hygiene.first.get_mut(usize::from(byte)) {
                *first = true;
            }
        }
        hygiene
    }

    fn take_identity(&mut self, identity: &IdentityConfig) {
        for pattern in &identity.strip {
            match pattern {
                NamePattern::Exact(name) => self.exact.push(name.clone()),
                NamePattern::Prefix(prefix) => self.prefixes.push(prefix.clone()),
            }
        }
        let set = [
            &identity.key_id,
            &identity.org,
            &identity.workspace,
            &identity.owner,
            &identity.family,
        ];
        let set = set.into_iter().flatten();
        self.exact
            .extend(set.map(|name| normal(name.as_str()).into_owned()));
    }

    fn take_credentials(&mut self, credentials: &CredentialRules) {
        for source in &credentials.sources {
            match source {
                CredentialSource::Bearer => self.bearer = true,
                CredentialSource::WebSocketProtocol => self.websocket = true,
                CredentialSource::Query(_) => {}
                CredentialSource::Header(name) => {
                    self.exact.push(normal(name.as_str()).into_owned());
                    self.key_headers.push(name.clone());
                }
            }
        }
        for source in &credentials.user_tokens_from {
            match source {
                UserTokenSource::Header(name) => self.kept.push(name.clone()),
                UserTokenSource::Bearer | UserTokenSource::Cookie(_) => {}
            }
        }
    }

    /// Removes credentials and claims from a request. `keep_key`: the judged key stays where it was found.
    ///
    /// # Errors
    /// None in practice: what is written was read from a header.
    pub fn clean_request(&self, request: &mut RequestHeader, keep_key: bool) -> Result<()> {
        let goners: SmallVec<[HeaderName; 8]> = request
            .headers
            .keys()
            .filter(|name| self.goes(name, &request.headers, keep_key))
            .cloned()
            .collect();
        for name in &goners {
            request.remove_header(name);
        }
        if !keep_key {
            self.clean_bearer(request);
            self.clean_websocket(request)?;
        }
        join_cookies(request)
    }

    fn goes(&self, name: &HeaderName, headers: &HeaderMap, keep_key: bool) -> bool {
        let text = name.as_str();
        let first = text.bytes().next().map(usize::from);
        if !first.is_some_and(|byte| self.first.get(byte).copied().unwrap_or_default()) {
            return false;
        }
        let holds_key = self.key_headers.contains(name);
        if holds_key && keep_key {
            return false;
        }
        if self.kept.contains(name) {
            return holds_key && !headers.get_all(name).iter().all(is_user_token);
        }
        let normal = normal(text);
        let misspelt = text != normal && *normal == *CORRELATION_ID.as_str();
        misspelt
            || self.exact.iter().any(|exact| *exact == *normal)
            || self
                .prefixes
                .iter()
                .any(|prefix| normal.starts_with(prefix))
    }

    /// Takes `Authorization: Bearer` away unless it is a user token. Another scheme is none of our business.
    fn clean_bearer(&self, request: &mut RequestHeader) {
        if !self.bearer {
            return;
        }
        // A key in a malformed place is still a key: on an open route nobody has refused it.
        let keyless = |value: &HeaderValue| {
            self.credentials
                .strip_header("authorization", value.as_bytes())
                == Stripped::Keep
        };
        let foreign = |value: &HeaderValue| match bearer(value.as_bytes()) {
            Some(token) => KeyForm::of(token) == Some(KeyForm::UserToken),
            None => keyless(value),
        };
        if !request.headers.get_all(AUTHORIZATION).iter().all(foreign) {
            request.remove_header(&AUTHORIZATION);
        }
    }

    /// Takes `bearer, <key>` out of the offered subprotocols.
    fn clean_websocket(&self, request: &mut RequestHeader) -> Result<()> {
        if !self.websocket || !offers_bearer(&request.headers) {
            return Ok(());
        }
        let rest: Vec<String> = protocols(&request.headers)
            .filter(|protocol| !protocol.eq_ignore_ascii_case("bearer"))
            .filter(|protocol| !matches!(KeyForm::of(protocol.as_bytes()), Some(KeyForm::Key(_))))
            .map(str::to_owned)
            .collect();
        request.remove_header(&SEC_WEBSOCKET_PROTOCOL);
        if rest.is_empty() {
            return Ok(());
        }
        request.insert_header(SEC_WEBSOCKET_PROTOCOL, rest.join(", "))
    }

    /// The query without the parameters that hold keys; `None` where it has none of them.
    pub fn clean_query(&self, query: &str) -> Option<String> {
        self.credentials.strip_query(query)
    }

    /// Whether the answer to this upgrade must select `bearer`, because the client offered its key so.
    pub fn selects_bearer(&self, headers: &HeaderMap) -> bool {
        self.websocket && offers_bearer(headers)
    }
}

/// What is cleaned of whose requests.
#[derive(Debug)]
pub struct Hygienes {
    /// Of everyone's.
    pub anyones: Hygiene,
    /// Of a trusted peer's: identities that it names stay.
    trusted: Hygiene,
    /// Of a trusted peer's once a key was judged: what we say of the key is ours alone to say.
    trusted_with_key: Hygiene,
}

impl Hygienes {
    /// Prepares all of them.
    pub fn new(identity: &IdentityConfig, credentials: &CredentialRules) -> Self {
        let ours = IdentityConfig {
            strip: Vec::new(),
            ..identity.clone()
        };
        let none = IdentityConfig {
            key_id: None,
            org: None,
            workspace: None,
            owner: None,
            family: None,
            strip: Vec::new(),
        };
        Self {
            anyones: Hygiene::new(identity, credentials),
            trusted: Hygiene::new(&none, credentials),
            trusted_with_key: Hygiene::new(&ours, credentials),
        }
    }

    /// The one for this request.
    pub fn of(&self, trusted: bool, judged: bool) -> &Hygiene {
        match (trusted, judged) {
            (false, _) => &self.anyones,
            (true, false) => &self.trusted,
            (true, true) => &self.trusted_with_key,
        }
    }

    /// Whether a request names an identity: has a header that is removed of everyone's requests but a trusted peer's.
    pub fn names_identity(&self, headers: &HeaderMap) -> bool {
        let mut names = headers.keys();
        names.any(|name| {
            self.anyones.goes(name, headers, false) && !self.trusted.goes(name, headers, false)
        })
    }
}

/// A header name as servers that tell no separators apart read it.
fn normal(name: &str) -> Cow<'_, str> {
    if name.contains(['_', '.']) {
        Cow::Owned(name.replace(['_', '.'], "-"))
    } else {
        Cow::Borrowed(name)
    }
}

fn is_user_token(value: &HeaderValue) -> bool {
    KeyForm::of(value.as_bytes()) == Some(KeyForm::UserToken)
}

/// The token of `Bearer <token>`, scheme in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer";
    let value = value.trim_ascii();
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    let separated = rest.is_empty() || rest.starts_with(b" ") || rest.starts_with(b"\t");
    (separated && scheme.eq_ignore_ascii_case(SCHEME)).then(|| rest.trim_ascii())
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').map(str::trim))
}

fn offers_bearer(headers: &HeaderMap) -> bool {
    protocols(headers).any(|protocol| protocol.eq_ignore_ascii_case("bearer"))
}

/// Cookies that a client split over several lines become one line, which is all that HTTP/1.1 has.
fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    let mut lines = request.headers.get_all(COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return Ok(());
    }
    let lines: Vec<&[u8]> = request
        .headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let joined = lines.join(&b"; "[..]);
    request.insert_header(COOKIE, joined)
}

/// Removes an `Upgrade` that `received` did not nominate in its `Connection`: it was not meant for us to pass on.
pub fn clean_upgrade(request: &mut RequestHeader, received: &HeaderMap) {
    let nominated = received.get_all(CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    if !nominated {
        request.remove_header(&UPGRADE);
        request.remove_header(&CONNECTION);
    }
}

/// Says whom the request came from, in place of whatever it claimed.
///
/// # Errors
/// None in practice: addresses are header values.
pub fn set_origin(request: &mut RequestHeader, client: Client) -> Result<()> {
    if let Client::Inet(address) = client {
        request.insert_header(X_FORWARDED_FOR, address.ip().to_string())?;
    }
    request.insert_header(X_FORWARDED_PROTO, HeaderValue::from_static("http"))?;
    if let Some(host) = request.headers.get(HOST).cloned() {
        request.insert_header(X_FORWARDED_HOST, host)?;
    }
    Ok(())
}

/// Hands on what the request is called elsewhere.
///
/// # Errors
/// None in practice: both are header values.
pub fn set_trace(request: &mut RequestHeader, trace: &Trace) -> Result<()> {
    request.insert_header(CORRELATION_ID, trace.correlation_id.clone())?;
    request.insert_header(TRACEPARENT, trace.parent.clone())
}

/// Removes from a response what is the upstream's hop's business or only ours to say, and names the request.
///
/// # Errors
/// None in practice: all that is written are header values.
pub fn clean_response(response: &mut ResponseHeader, trace: &Trace) -> Result<()> {
    let nominated: SmallVec<[HeaderName; 4]> = response
        .headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| *name != UPGRADE && *name != CONNECTION && !is_framing(name))
        .collect();
    for name in &nominated {
        response.remove_header(name);
    }
    for name in RESPONSE_HOP {
        response.remove_header(*name);
    }
    let ours: SmallVec<[HeaderName; 4]> = response
        .headers
        .keys()
        .filter(|name| {
            name.as_str().starts_with('x') && normal(name.as_str()).starts_with(OWN_PREFIX)
        })
        .cloned()
        .collect();
    for name in &ours {
        response.remove_header(name);
    }
    response.insert_header(CORRELATION_ID, trace.correlation_id.clone())?;
    response.insert_header(TRACEPARENT, trace.parent.clone())
}

fn is_framing(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length" | "transfer-encoding" | "close"
    )
}
