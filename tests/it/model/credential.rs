//! Section 2: what a request shows.

use keyward::authz::{CredentialRules, CredentialSource, Family, Reason, UserTokenSource};

use super::request::{decoded_name, values_of};

/// The kinds of token, told apart by form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Key(Family),
    User,
}

/// The kind of a token, `None` for no known form.
pub fn kind(token: &[u8]) -> Option<Kind> {
    let text = std::str::from_utf8(token).ok()?;
    if let Some(opaque) = text.strip_prefix("at:") {
        let visible = |b: u8| b.is_ascii_graphic() && b != b',';
        let good = !opaque.is_empty() && opaque.bytes().all(visible);
        return good.then_some(Kind::User);
    }
    let parts: Vec<&str> = text.split('.').collect();
    let base64url = |part: &&str| !part.is_empty() && part.bytes().all(word_or_dash);
    if parts.len() == 3 && text.starts_with("ey") && parts.iter().all(base64url) {
        return Some(Kind::User);
    }
    if token.len() > 256 {
        return None;
    }
    if let Some((slug, uuid)) = text
        .strip_prefix("iak_")
        .and_then(|rest| rest.rsplit_once('_'))
    {
        let good = is_org_slug(slug) && is_uuid(uuid);
        return good.then_some(Kind::Key(Family::Org));
    }
    if let Some((ulid, secret)) = text
        .strip_prefix("sk-orq-")
        .and_then(|rest| rest.split_once('-'))
    {
        let crockford =
            |b: u8| b.is_ascii_alphanumeric() && !b"ILOU".contains(&b.to_ascii_uppercase());
        let good = ulid.len() == 26 && ulid.bytes().all(crockford);
        let good = good && !secret.is_empty() && secret.bytes().all(word_or_dash);
        return good.then_some(Kind::Key(Family::Access));
    }
    is_uuid(text).then_some(Kind::Key(Family::Workspace))
}

/// `[a-z0-9][a-z0-9-]{0,62}`.
fn is_org_slug(slug: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    slug.len() <= 63
        && slug.bytes().next().is_some_and(plain)
        && slug.bytes().all(|b| plain(b) || b == b'-')
}

fn word_or_dash(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// What a request shows: at most one API key, and whether there is a user token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    pub key: Option<Vec<u8>>,
    pub user_token: bool,
}

/// Looks into every source. Order does not matter: nothing is ever "the first wins".
pub fn shown(
    rules: &CredentialRules,
    headers: &[(String, Vec<u8>)],
    query: &str,
) -> Result<Shown, Reason> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let mut malformed = false;
    let mut shown = Shown::default();
    for source in &rules.sources {
        let user_source = match source {
            CredentialSource::Bearer => Some(UserTokenSource::Bearer),
            CredentialSource::Header(name) => Some(UserTokenSource::Header(name.clone())),
            CredentialSource::Query(_) | CredentialSource::WebSocketProtocol => None,
        };
        let takes_users = user_source.is_some_and(|it| rules.user_tokens_from.contains(&it));
        if let Some(token) = one_token(in_source(source, headers, query))? {
            match kind(&token) {
                Some(Kind::Key(_)) => keys.push(token),
                Some(Kind::User) if takes_users => shown.user_token = true,
                Some(Kind::User) | None => malformed = true,
            }
        }
    }
    for source in &rules.user_tokens_from {
        let tokens = in_user_source(source, headers);
        let is_cookie = matches!(source, UserTokenSource::Cookie(_));
        if tokens.len() > 1 && !is_cookie {
            return Err(Reason::AmbiguousCredential);
        }
        // What else such a place holds is for the upstream to judge.
        shown.user_token |= tokens.iter().any(|token| kind(token) == Some(Kind::User));
    }
    keys.dedup();
    match keys.len() {
        2.. => Err(Reason::AmbiguousCredential),
        _ if malformed => Err(Reason::MalformedCredential),
        _ => Ok(Shown {
            key: keys.pop(),
            ..shown
        }),
    }
}

/// A source holds one token or none; a second one, or a comma, and nobody can say which is meant.
fn one_token(tokens: Vec<Vec<u8>>) -> Result<Option<Vec<u8>>, Reason> {
    match &tokens[..] {
        [] => Ok(None),
        [token] if !token.contains(&b',') => Ok(Some(token.clone())),
        _ => Err(Reason::AmbiguousCredential),
    }
}

fn in_source(
    source: &CredentialSource,
    headers: &[(String, Vec<u8>)],
    query: &str,
) -> Vec<Vec<u8>> {
    match source {
        CredentialSource::Header(name) => values_of(headers, name.as_str())
            .into_iter()
            .cloned()
            .collect(),
        CredentialSource::Bearer => bearer(headers),
        CredentialSource::Query(name) => {
            let pairs = query
                .split('&')
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let token = |(written, value): (&str, &str)| {
                match decoded_name(written)?.strip_prefix(&**name)? {
                    "" => Some(value.into()),
                    // Some upstreams read an array as the name: a list, whatever is in it.
                    rest => rest.starts_with('[').then(|| b",".to_vec()),
                }
            };
            pairs.filter_map(token).collect()
        }
        CredentialSource::WebSocketProtocol => {
            match values_of(headers, "sec-websocket-protocol")[..] {
                [offer] => offered(&String::from_utf8_lossy(offer)),
                ref more => more.iter().map(|offer| offer.to_vec()).collect(),
            }
        }
    }
}

/// The key that follows `bearer` among the offered protocols, and whatever else there looks like one.
fn offered(offer: &str) -> Vec<Vec<u8>> {
    let mut protocols = offer.split(',').map(without_spaces);
    let Some(bearer) = protocols.position(|protocol| protocol.eq_ignore_ascii_case("bearer"))
    else {
        return Vec::new();
    };
    let tokens = offer
        .split(',')
        .map(|protocol| without_spaces(protocol).as_bytes().to_vec())
        .enumerate();
    let is_key = |token: &[u8]| matches!(kind(token), Some(Kind::Key(_)));
    tokens
        .filter(|(at, token)| *at == bearer + 1 || is_key(token))
        .map(|(_, token)| token)
        .collect()
}

fn in_user_source(source: &UserTokenSource, headers: &[(String, Vec<u8>)]) -> Vec<Vec<u8>> {
    match source {
        UserTokenSource::Bearer => bearer(headers),
        UserTokenSource::Header(name) => values_of(headers, name.as_str())
            .into_iter()
            .cloned()
            .collect(),
        UserTokenSource::Cookie(name) => {
            let lines = values_of(headers, "cookie")
                .into_iter()
                .map(|line| String::from_utf8_lossy(line));
            let cookies = lines.flat_map(|line| {
                line.split(';')
                    .map(|c| without_spaces(c).to_owned())
                    .collect::<Vec<_>>()
            });
            cookies
                .filter_map(|cookie| Some(cookie.strip_prefix(&format!("{name}="))?.into()))
                .collect()
        }
    }
}

/// Tokens in `Authorization`. Another scheme is no credential; the header twice is never one.
fn bearer(headers: &[(String, Vec<u8>)]) -> Vec<Vec<u8>> {
    let values = values_of(headers, "authorization");
    if values.len() > 1 {
        return values.into_iter().cloned().collect();
    }
    let mut tokens = Vec::new();
    for value in values {
        let text = String::from_utf8_lossy(value);
        let (scheme, token) = text.split_once(' ').unwrap_or((&text, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            tokens.push(without_spaces(token).into());
        }
    }
    tokens
}

/// Only what HTTP takes for white space is none of a value.
fn without_spaces(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
