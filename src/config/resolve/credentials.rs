//! Credentials and identity: places that requests carry keys in, names that upstreams are told them by, and the list of
//! keys that are refused.

use std::path::Path;
use std::sync::Arc;

use http::HeaderName;

use super::super::mistake::{Mark, Mistake};
use super::super::node::Spot;
use super::super::raw::{Credentials, Identity, Source, UserTokenSource};
use super::super::read_file;
use super::super::scalar::Header;
use crate::authz::{self, CredentialRules, CredentialSource, Pepper};
use crate::proxy::{IdentityConfig, NamePattern};
use crate::replica::{BadLine, DENIED_BYTES_MAX, DenyList};

/// Headers that carry no key and no identity, because they mean something else.
const TAKEN: [&str; 10] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "sec-websocket-protocol",
    "transfer-encoding",
    "upgrade",
];

/// Where credentials are, and the pepper.
pub(super) fn credentials(
    raw: &Credentials,
    root: &Spot<'_>,
    faults: &mut Vec<Mistake>,
) -> (CredentialRules, Option<Pepper>) {
    let at = root.key("credentials");
    let mut rules = CredentialRules {
        sources: Vec::new(),
        user_tokens_from: Vec::new(),
    };
    for (index, source) in raw.sources.iter().enumerate() {
        let at = at.key("sources").index(index);
        let source = key_source(source, &at, faults);
        push_once(source, &mut rules.sources, &at, faults);
    }
    for (index, source) in raw.user_tokens_from.iter().enumerate() {
        let at = at.key("user_tokens_from").index(index);
        let source = user_token_source(source, &at, faults);
        push_once(source, &mut rules.user_tokens_from, &at, faults);
    }
    (rules, Pepper::derive(&raw.pepper))
}

/// The keys that are refused all the same, from their file.
pub(super) fn denied(
    raw: &Credentials,
    root: &Spot<'_>,
    pepper: Option<&Pepper>,
    faults: &mut Vec<Mistake>,
) -> Option<Arc<DenyList>> {
    let file = raw.deny.as_deref()?;
    let at = root.key("credentials").key("deny");
    let text = match read_list(file) {
        Ok(text) => text,
        Err(why) => {
            faults.push(at.mistake(format!("`{file}` {why}")));
            return None;
        }
    };
    match DenyList::parse(file, &text, pepper) {
        Ok(list) => Some(Arc::new(list)),
        Err(bad) => {
            faults.extend(bad.into_iter().map(|BadLine { line, message }| {
                Mistake::at(Mark { line, column: 1 }, "", message).in_file(file)
            }));
            None
        }
    }
}

fn read_list(file: &str) -> Result<String, String> {
    let bytes = read_file(Path::new(file), DENIED_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|_| "is no text".to_owned())
}

fn push_once<T: PartialEq>(source: T, list: &mut Vec<T>, at: &Spot<'_>, faults: &mut Vec<Mistake>) {
    if list.contains(&source) {
        faults.push(at.mistake("is in the list twice"));
    } else {
        list.push(source);
    }
}

fn key_source(raw: &Source, at: &Spot<'_>, faults: &mut Vec<Mistake>) -> CredentialSource {
    match raw {
        Source::Bearer => CredentialSource::Bearer,
        Source::WebsocketProtocol => CredentialSource::WebSocketProtocol,
        Source::Header(Header(name)) => {
            refuse_taken(name, &at.key("header"), faults);
            CredentialSource::Header(name.clone())
        }
        Source::Query(name) => {
            if name.is_empty() || name.contains(['&', '=', '[', ']', '#']) {
                faults.push(at.key("query").mistake("is no name of a query parameter"));
            }
            CredentialSource::Query(name.clone())
        }
    }
}

fn user_token_source(
    raw: &UserTokenSource,
    at: &Spot<'_>,
    faults: &mut Vec<Mistake>,
) -> authz::UserTokenSource {
    match raw {
        UserTokenSource::Bearer => authz::UserTokenSource::Bearer,
        UserTokenSource::Header(Header(name)) => {
            refuse_taken(name, &at.key("header"), faults);
            authz::UserTokenSource::Header(name.clone())
        }
        UserTokenSource::Cookie(name) => {
            // Names of cookies are tokens, as names of headers are.
            if name.parse::<HeaderName>().is_err() {
                faults.push(at.key("cookie").mistake("is no name of a cookie"));
            }
            authz::UserTokenSource::Cookie(name.clone())
        }
    }
}

fn refuse_taken(name: &HeaderName, at: &Spot<'_>, faults: &mut Vec<Mistake>) {
    if TAKEN.contains(&name.as_str()) {
        let instead = if name == http::header::AUTHORIZATION {
            "; write `bearer` for `Authorization: Bearer`"
        } else {
            ""
        };
        faults.push(at.mistake(format!("`{name}` has another meaning{instead}")));
    }
}

/// What upstreams are told. Its own names are always among what is stripped: nobody outside may set them.
pub(super) fn identity(raw: &Identity, at: &Spot<'_>, faults: &mut Vec<Mistake>) -> IdentityConfig {
    let headers = &raw.headers;
    let named = [
        ("key_id", &headers.key_id),
        ("org", &headers.org),
        ("workspace", &headers.workspace),
        ("owner", &headers.owner),
        ("family", &headers.family),
    ];
    let mut strip = patterns(raw, &at.key("strip"), faults);
    let mut seen: Vec<String> = Vec::new();
    for (key, header) in named {
        let Some(Header(name)) = header else {
            continue;
        };
        let at = at.key("headers").key(key);
        refuse_taken(name, &at, faults);
        let spelling = name.as_str().replace(['_', '.'], "-");
        if seen.contains(&spelling) {
            faults.push(at.mistake(format!("`{name}` tells something else already")));
        }
        if !strip.iter().any(|pattern| covers(pattern, &spelling)) {
            strip.push(NamePattern::Exact(spelling.clone()));
        }
        seen.push(spelling);
    }
    let name = |header: &Option<Header>| header.as_ref().map(|Header(name)| name.clone());
    IdentityConfig {
        key_id: name(&headers.key_id),
        org: name(&headers.org),
        workspace: name(&headers.workspace),
        owner: name(&headers.owner),
        family: name(&headers.family),
        strip,
    }
}

fn patterns(raw: &Identity, at: &Spot<'_>, faults: &mut Vec<Mistake>) -> Vec<NamePattern> {
    let patterns = raw.strip.iter().enumerate();
    for (index, pattern) in patterns {
        if let Some(name) = TAKEN.iter().find(|name| covers(&pattern.0, name)) {
            let message = format!("`{pattern}` would remove `{name}`, which has another meaning");
            faults.push(at.index(index).mistake(message));
        }
    }
    raw.strip.iter().map(|pattern| pattern.0.clone()).collect()
}

fn covers(pattern: &NamePattern, name: &str) -> bool {
    match pattern {
        NamePattern::Exact(exact) => exact == name,
        NamePattern::Prefix(prefix) => name.starts_with(prefix.as_str()),
    }
}
