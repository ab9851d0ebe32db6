//! What a request shows, by rules of any kind: as the model says, and never printed.

use http::HeaderName;
use keyward::authz::{
    CredentialRules, CredentialSource, KeyDigest, PresentedKey, Query, UserTokenSource,
};

use crate::bridge;
use crate::model::credential::{Kind, kind, shown};

const KEY_HEADER: HeaderName = HeaderName::from_static("x-prismeai-api-key");
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-prismeai-token");

/// Sources, a bit each.
fn rules(bits: u8) -> CredentialRules {
    let has = |bit: u8| bits & (1 << bit) != 0;
    let sources = [
        CredentialSource::Header(KEY_HEADER),
        CredentialSource::Bearer,
        CredentialSource::Query("api_key".into()),
        CredentialSource::WebSocketProtocol,
    ];
    let users = [
        UserTokenSource::Bearer,
        UserTokenSource::Header(TOKEN_HEADER),
        UserTokenSource::Cookie("access-token".into()),
    ];
    let sources = sources.into_iter().zip(0..).filter(|(_, bit)| has(*bit));
    let users = users.into_iter().zip(4..).filter(|(_, bit)| has(*bit));
    CredentialRules {
        sources: sources.map(|(source, _)| source).collect(),
        user_tokens_from: users.map(|(source, _)| source).collect(),
    }
}

/// A header line that can come from a request: what is behind the name has no spaces around it.
fn header_line(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let name: HeaderName = name.try_into().ok()?;
    let is_value = http::HeaderValue::from_bytes(value).is_ok();
    is_value.then(|| (name.to_string(), value.to_vec()))
}

pub fn credential(data: &[u8]) {
    let Some((bits, rest)) = data.split_first() else {
        return;
    };
    one_token(rest);
    let rules = rules(*bits);
    let mut lines = rest.split(|byte| *byte == b'\n');
    let query = lines.next().filter(|query| !query.is_empty());
    let Ok(query) = Query::parse(query) else {
        return;
    };
    let lines: Vec<_> = lines.filter_map(header_line).take(32).collect();
    let headers = bridge::header_map(&lines);
    // What hides a credential may be refused by more than the norm says.
    let Ok(found) = rules.extract(&headers, &query) else {
        return;
    };
    let key = found.key.map(|key| key.digest(None));
    let by_model = shown(&rules, &lines, query.as_str().unwrap_or("")).map(|shown| {
        let key = shown.key.map(|key| KeyDigest::of(&key, None));
        (key, shown.user_token)
    });
    assert_eq!(
        Ok((key, found.user_token)),
        by_model,
        "{rules:?} {lines:?} {query:?}"
    );
}

/// The form of a token alone.
fn one_token(token: &[u8]) {
    let family = PresentedKey::parse(token).map(|key| key.family());
    let by_model = match kind(token) {
        Some(Kind::Key(family)) => Some(family),
        Some(Kind::User) | None => None,
    };
    assert_eq!(family, by_model);
    if let Some(key) = PresentedKey::parse(token) {
        let raw = key.to_raw();
        assert_eq!(raw.reveal().as_bytes(), token);
        let printed = format!("{key:?} {raw:?} {:?}", key.digest(None));
        assert!(!printed.contains(raw.reveal()));
    }
}
