//! Where API keys stand in a request, well-formed or not, that they may be taken out before it goes upstream. Says
//! what to remove; removes nothing itself.

use std::borrow::Cow;

use http::HeaderName;

use super::credential::{CredentialRules, CredentialSource, KeyForm, is_key_like, strip_bearer};
use super::request::{decode_form, raw_pairs};

/// One byte of a header name, with what upstreams confuse made one.
pub(super) const fn fold_name_byte(byte: u8) -> u8 {
    match byte {
        b'_' | b'.' => b'-',
        other => other.to_ascii_lowercase(),
    }
}

/// Whether some upstream could take two names for one.
pub(super) fn is_same_to_some(name: &str, other: &str) -> bool {
    let folded = other.bytes().map(fold_name_byte);
    name.len() == other.len() && name.bytes().map(fold_name_byte).eq(folded)
}

/// Whether some upstream could read `name` as `canonical`, which is in lower case with dashes.
pub(super) fn is_spelling_of(name: &str, canonical: &str) -> bool {
    name.len() == canonical.len() && folds_to(name.as_bytes(), canonical)
}

fn folds_to(name: &[u8], folded: &str) -> bool {
    name.iter().copied().map(fold_name_byte).eq(folded.bytes())
}

/// What becomes of a header line on its way upstream.
#[derive(Clone, PartialEq, Eq)]
pub enum Stripped {
    /// It stays as it is.
    Keep,
    /// It goes.
    Remove,
    /// It stays with this value: what is left without the key.
    Replace(Vec<u8>),
}

impl CredentialRules {
    /// The header whose API keys are removed whether it is a configured source or not.
    pub const PLATFORM_KEY_HEADER: &'static str = "x-prismeai-api-key";

    /// What becomes of one header line, so that no API key goes upstream. User tokens stay.
    pub fn strip_header(&self, name: &str, value: &[u8]) -> Stripped {
        if is_spelling_of(name, Self::PLATFORM_KEY_HEADER) {
            return self.strip_key_header(name, value);
        }
        for source in &self.sources {
            let stripped = match source {
                CredentialSource::Header(source) if is_same_to_some(name, source.as_str()) => {
                    self.strip_key_header(name, value)
                }
                CredentialSource::Bearer if name.eq_ignore_ascii_case("authorization") => {
                    strip_authorization(value)
                }
                CredentialSource::WebSocketProtocol
                    if is_spelling_of(name, "sec-websocket-protocol") =>
                {
                    strip_protocols(value)
                }
                CredentialSource::Header(_)
                | CredentialSource::Bearer
                | CredentialSource::WebSocketProtocol
                | CredentialSource::Query(_) => Stripped::Keep,
            };
            if stripped != Stripped::Keep {
                return stripped;
            }
        }
        Stripped::Keep
    }

    /// A query without the parameters that are sources of API keys; `None` where there are none in it. An empty text
    /// means that no query is left.
    pub fn strip_query(&self, query: &str) -> Option<String> {
        let is_source = |raw_name: &str| {
            // A name that is no text may still be one to an upstream.
            let name = decode_form(raw_name).unwrap_or(Cow::Borrowed(raw_name));
            self.sources.iter().any(|source| match source {
                CredentialSource::Query(source) => name
                    .strip_prefix(source.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('[')),
                CredentialSource::Header(_)
                | CredentialSource::Bearer
                | CredentialSource::WebSocketProtocol => false,
            })
        };
        if !raw_pairs(query).any(|(_, name, _)| is_source(name)) {
            return None;
        }
        let left = raw_pairs(query).filter(|(_, name, _)| !is_source(name));
        Some(left.map(|(pair, ..)| pair).collect::<Vec<_>>().join("&"))
    }

    /// A header that is made for API keys: it goes, unless it is made for user tokens too and holds one.
    fn strip_key_header(&self, name: &str, value: &[u8]) -> Stripped {
        let takes_user_tokens = HeaderName::from_bytes(name.as_bytes())
            .is_ok_and(|name| self.takes_user_tokens(&CredentialSource::Header(name)));
        if takes_user_tokens && KeyForm::of(value) == Some(KeyForm::UserToken) {
            Stripped::Keep
        } else {
            Stripped::Remove
        }
    }
}

/// Another scheme is left alone, and so is a token of another kind.
fn strip_authorization(value: &[u8]) -> Stripped {
    // Whatever else may stand around a key in what is no proper credential; `:` is part of user tokens.
    let separator = |byte: &u8| b", \t\"'=;".contains(byte);
    let bearer = value
        .split(|&byte| byte == b',')
        .any(|element| strip_bearer(element).is_some());
    let key = if bearer {
        value.split(separator).any(is_key_like)
    } else {
        is_key_like(value.trim_ascii())
    };
    if key {
        Stripped::Remove
    } else {
        Stripped::Keep
    }
}

/// The protocols without the key and the `bearer` before it.
fn strip_protocols(value: &[u8]) -> Stripped {
    let mut left: Vec<&[u8]> = Vec::new();
    let mut removed = false;
    for protocol in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if is_key_like(protocol) {
            removed = true;
            left.pop_if(|before| before.eq_ignore_ascii_case(b"bearer"));
        } else {
            left.push(protocol);
        }
    }
    match (removed, left.is_empty()) {
        (false, _) => Stripped::Keep,
        (true, true) => Stripped::Remove,
        (true, false) => Stripped::Replace(left.join(b", ".as_slice())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "iak_acme_0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";
    const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln";

    fn outcome(rules: &CredentialRules, name: &str, value: &str) -> String {
        match rules.strip_header(name, value.as_bytes()) {
            Stripped::Keep => "keep".to_owned(),
            Stripped::Remove => "remove".to_owned(),
            Stripped::Replace(value) => String::from_utf8(value).unwrap(),
        }
    }

    #[test]
    fn keys_go_and_everything_else_stays() {
        let rules = CredentialRules::default();
        let bearer = |token: &str| format!("Bearer {token}");
        for (name, value, expected) in [
            ("X_PrismeAI_Api.Key", "anything", "remove"),
            ("x-prismeai-api-key", JWT, "remove"),
            ("Authorization", &bearer(KEY), "remove"),
            ("authorization", &format!("bearer\t{KEY}"), "remove"),
            ("authorization", &format!("Bearer a,{KEY}"), "remove"),
            (
                "authorization",
                &format!("Basic eDp5, Bearer {KEY}"),
                "remove",
            ),
            ("authorization", KEY, "remove"),
            ("authorization", &format!("Bearer=\"{KEY}\""), "remove"),
            (
                "authorization",
                &bearer("at:0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f"),
                "keep",
            ),
            ("authorization", &bearer(JWT), "keep"),
            ("authorization", &bearer("opaque"), "keep"),
            ("authorization", "Basic eDp5", "keep"),
            ("sec-websocket-protocol", &format!("bearer, {KEY}"), "keep"),
            ("cookie", KEY, "keep"),
        ] {
            assert_eq!(outcome(&rules, name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn every_configured_source_is_covered() {
        let name = HeaderName::from_static("x-api-key");
        let rules = CredentialRules {
            sources: vec![
                CredentialSource::Header(name.clone()),
                CredentialSource::WebSocketProtocol,
            ],
            user_tokens_from: vec![super::super::UserTokenSource::Header(name)],
        };
        let protocols = format!("chat, bearer, {KEY}, v2");
        for (name, value, expected) in [
            ("x_api.key", KEY, "remove"),
            ("x-api-key", JWT, "keep"),
            ("x-api-key", "opaque", "remove"),
            ("x-prismeai-api-key", KEY, "remove"),
            ("sec-websocket-protocol", &protocols, "chat, v2"),
            ("sec-websocket-protocol", &format!("bearer,{KEY}"), "remove"),
            ("sec-websocket-protocol", "bearer, chat", "keep"),
            ("authorization", &format!("Bearer {KEY}"), "keep"),
        ] {
            assert_eq!(outcome(&rules, name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn key_parameters_leave_the_query() {
        let rules = CredentialRules {
            sources: vec![CredentialSource::Query("api_key".to_owned())],
            user_tokens_from: Vec::new(),
        };
        for (query, expected) in [
            ("a=1&api_key=x&b=%20", Some("a=1&b=%20")),
            ("api%5Fkey=x", Some("")),
            ("api_key=1&api_key[]=2&&c", Some("&c")),
            ("a=api_key&api_keys=1&API_KEY=2", None),
            ("", None),
        ] {
            assert_eq!(rules.strip_query(query).as_deref(), expected, "{query}");
        }
        assert_eq!(CredentialRules::default().strip_query("api_key=x"), None);
    }
}
