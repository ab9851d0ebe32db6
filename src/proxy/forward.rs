//! What an upstream gets to see of a request, and a client of a response: no credentials, no names that could be
//! mistaken for ours, no hop's own business.
//!
//! It edits heads. It decides nothing and knows no connection.

use std::borrow::Cow;

use http::header::{
    CONNECTION, COOKIE, PROXY_AUTHENTICATE, SEC_WEBSOCKET_PROTOCOL, TE, TRAILER, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::config::{IdentityConfig, NamePattern};
use super::origin;
use super::trace::{CORRELATION_ID, TRACEPARENT, Trace};
use crate::authz::{CredentialRules, CredentialSource, KeyForm, Stripped, UserTokenSource};

/// Removed from every request: they claim another method, path, host, protocol or client than the request line and the
/// connection do.
const CLAIMS: &[&str] = &[
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "proxy",
    "proxy-client-ip",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-host",
    "x-method-override",
    "x-originating-ip",
    "x-prismeai-api-key",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-scheme",
    "x-url-scheme",
    "x-vercel-forwarded-for",
];
const CLAIM_PREFIXES: &[&str] = &[
    "x-envoy-",
    "x-forwarded-",
    "x-http-",
    "x-original-",
    "x-override-",
    "x-rewrite-",
];

/// The one name of the platform's family that belongs to browsers.
const CSRF: HeaderName = HeaderName::from_static("x-prismeai-csrf-token");

/// Response headers that are one hop's own business (`connection` and `transfer-encoding` are pingora's).
const RESPONSE_HOP: [HeaderName; 5] = [
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
];

/// Lines that Keyward adds to a request at most: where it came from, what it is called, whose key it had.
const OWN_LINES_MAX: usize = 7 + origin::LINES_MAX;

/// Lines that say what a request is called elsewhere.
const TRACE_LINES: usize = 2;

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
                CredentialSource::WebSocketProtocol => self.websocket = true,
                CredentialSource::Bearer | CredentialSource::Query(_) => {}
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

    /// The headers of a request without credentials and claims, with room for ours. `keep_key`: the judged key stays
    /// where it was found.
    ///
    /// They are picked, not weeded: a map that is made in its final size costs a fraction of one that loses some
    /// names and then grows by others.
    pub fn pick(&self, received: &HeaderMap, keep_key: bool) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(received.len() + OWN_LINES_MAX);
        for name in received.keys() {
            if self.goes(name, received, keep_key) {
                continue;
            }
            for value in received.get_all(name) {
                let stripped = if keep_key {
                    Some(value.clone())
                } else {
                    self.without_key(name, value)
                };
                if let Some(value) = stripped {
                    headers.append(name.clone(), value);
                }
            }
        }
        join_cookies(&mut headers);
        headers
    }

    /// A header line without an API key, well-formed or not: on an open route nobody has refused it.
    fn without_key(&self, name: &HeaderName, value: &HeaderValue) -> Option<HeaderValue> {
        match self
            .credentials
            .strip_header(name.as_str(), value.as_bytes())
        {
            Stripped::Keep => Some(value.clone()),
            Stripped::Remove => None,
            // Parts of a header value are one; were they not, the line would go.
            Stripped::Replace(rest) => HeaderValue::try_from(rest).ok(),
        }
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
    /// One that says nothing, or says it twice, names nobody.
    pub fn names_identity(&self, headers: &HeaderMap) -> bool {
        let mut names = headers.keys();
        names.any(|name| {
            let mut values = headers.get_all(name).iter();
            let value = values.next().filter(|value| !value.is_empty());
            value.is_some()
                && values.next().is_none()
                && self.anyones.goes(name, headers, false)
                && !self.trusted.goes(name, headers, false)
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

/// Whether `bearer` is among the protocols that are offered.
fn offers_bearer(headers: &HeaderMap) -> bool {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut protocols = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    protocols.any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"bearer"))
}

/// Cookies that a client split over several lines (RFC 9113, section 8.2.3) become one, which is all that HTTP/1.1 has.
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::try_from(lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Removes an `Upgrade` that `received` did not nominate in its `Connection`: it was not meant for us to pass on.
pub fn clean_upgrade(headers: &mut HeaderMap, received: &HeaderMap) {
    let nominated = headers.contains_key(UPGRADE)
        && received.get_all(CONNECTION).iter().any(|value| {
            value
                .as_bytes()
                .split(|byte| *byte == b',')
                .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        });
    if !nominated {
        headers.remove(UPGRADE);
        headers.remove(CONNECTION);
    }
}

/// Says what the request is called elsewhere, to upstreams and clients.
pub fn set_trace(headers: &mut HeaderMap, trace: &Trace) {
    headers.insert(CORRELATION_ID, trace.correlation_id.clone());
    headers.insert(TRACEPARENT, trace.parent.clone());
}

/// The headers of a response without what is the upstream's hop's business or only ours to say, with room for ours.
/// `switches`: it is the one that may name another protocol.
pub fn pick_response(received: &HeaderMap, switches: bool) -> HeaderMap {
    let nominated: SmallVec<[HeaderName; 4]> = received
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| *name != UPGRADE && *name != CONNECTION && !is_framing(name))
        .collect();
    let goes = |name: &HeaderName| {
        let text = name.as_str();
        RESPONSE_HOP.contains(name)
            || (*name == UPGRADE && !switches)
            || nominated.contains(name)
            || (text.starts_with('x') && normal(text).starts_with(OWN_PREFIX))
    };
    let mut headers = HeaderMap::with_capacity(received.len() + TRACE_LINES);
    for (name, value) in received {
        if !goes(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

fn is_framing(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length" | "transfer-encoding" | "close"
    )
}
