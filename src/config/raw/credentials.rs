//! Credentials and identity: what requests carry in, and what upstreams are told.

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::defaults;
use super::super::scalar::{Header, HeaderPattern};

/// Where requests carry credentials, and what becomes of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Credentials {
    /// Where API keys are looked for. Two different keys in one request are refused, never ranked.
    #[schemars(length(min = 1, max = 16))]
    pub sources: Vec<Source>,
    /// Where user tokens are looked for.
    #[schemars(length(max = 16))]
    pub user_tokens_from: Vec<UserTokenSource>,
    /// What becomes of the judged key on its way upstream; routes can differ.
    pub forward: Forward,
    /// A secret mixed into every stored digest, so that a leaked database is useless without it. It cannot be changed
    /// without making all keys anew. Empty: none.
    pub pepper: String,
    /// A file of keys that are refused whatever their source says, one a line: a key's id, or `blake3:HEX` or
    /// `sha256:HEX` of the key; `#` begins a comment. Read again at every reload, which also ends the traffic of the
    /// keys on it; works without a control plane.
    pub deny: Option<String>,
}

impl Default for Credentials {
    fn default() -> Self {
        let key_header = Header(HeaderName::from_static(defaults::KEY_HEADER));
        Self {
            sources: vec![Source::Header(key_header), Source::Bearer],
            user_tokens_from: vec![UserTokenSource::Bearer],
            forward: Forward::default(),
            pepper: String::new(),
            deny: None,
        }
    }
}

/// A place where a request may carry an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `Authorization: Bearer`.
    Bearer,
    /// `Sec-WebSocket-Protocol: bearer, <key>`, for browsers, which cannot set headers of sockets.
    WebsocketProtocol,
    /// The whole value of this header.
    Header(Header),
    /// A query parameter of this name. Addresses end up in logs and histories: a last resort.
    Query(String),
}

/// A place where a request may carry a user token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserTokenSource {
    /// `Authorization: Bearer`.
    Bearer,
    /// The whole value of this header.
    Header(Header),
    /// This cookie.
    Cookie(String),
}

/// What becomes of the judged key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Forward {
    /// It is removed.
    #[default]
    Strip,
    /// It stays, for upstreams that resolve it themselves.
    Keep,
}

/// What upstreams are told about the key that was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// The names of the headers that tell it.
    pub headers: IdentityHeaders,
    /// Inbound headers that are removed, in every spelling: `*` at the end stands for any rest.
    pub strip: Vec<HeaderPattern>,
}

impl Default for Identity {
    fn default() -> Self {
        let strip = defaults::IDENTITY_STRIP.iter().flat_map(|p| p.parse());
        Self {
            headers: IdentityHeaders::default(),
            strip: strip.collect(),
        }
    }
}

/// The names of the identity headers; `null`: that one is not sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityHeaders {
    /// The public id of the key.
    #[schemars(extend("nullable" = true))]
    pub key_id: Option<Header>,
    /// The slug of its organisation.
    #[schemars(extend("nullable" = true))]
    pub org: Option<Header>,
    /// Its workspace.
    #[schemars(extend("nullable" = true))]
    pub workspace: Option<Header>,
    /// Its owner, as `type/id`.
    #[schemars(extend("nullable" = true))]
    pub owner: Option<Header>,
    /// Its family: org, workspace or access.
    #[schemars(extend("nullable" = true))]
    pub family: Option<Header>,
}

impl Default for IdentityHeaders {
    fn default() -> Self {
        let header = |name| Some(Header(HeaderName::from_static(name)));
        Self {
            key_id: header(defaults::IDENTITY_KEY_ID),
            org: header(defaults::IDENTITY_ORG),
            workspace: header(defaults::IDENTITY_WORKSPACE),
            owner: header(defaults::IDENTITY_OWNER),
            family: header(defaults::IDENTITY_FAMILY),
        }
    }
}
