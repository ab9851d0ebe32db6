//! Control planes elsewhere: what they are followed with.

use std::path::PathBuf;

use super::super::mistake::Mistake;
use super::super::node::Spot;
use super::super::raw::{Remote, Urls};
use super::prisme::on_stale;
use crate::control::GatewayToken;
use crate::replica::remote::{self, Access};
use crate::wire::sync::{GATEWAY_NAME_CHARACTERS_MAX, MAX_STALENESS_MAX};

/// Fewest characters of a gateway token.
const TOKEN_CHARACTERS_MIN: usize = GatewayToken::CHARACTERS_MIN;
/// Tokens at a time: the new one and the old one.
const TOKENS_MAX: usize = GatewayToken::VALID_MAX;

pub(super) fn followed(
    raw: &Remote,
    at: &Spot<'_>,
    faults: &mut Vec<Mistake>,
) -> Option<remote::Config> {
    let tokens = tokens(raw, at, faults);
    let client = client(raw, at, faults);
    for (key, path) in [
        ("state", &raw.state),
        ("ca", &raw.ca),
        ("client_certificate", &raw.client_certificate),
        ("client_key", &raw.client_key),
    ] {
        if path.as_deref() == Some("") {
            faults.push(at.key(key).mistake("is no path"));
        }
    }
    if raw.max_staleness.0.is_zero() || raw.max_staleness.0 > MAX_STALENESS_MAX {
        let message = "must be more than nothing, and at most 7 days";
        faults.push(at.key("max_staleness").mistake(message));
    }
    if raw.name.as_deref().is_some_and(is_no_name) {
        let message = format!(
            "has to have 1 to {GATEWAY_NAME_CHARACTERS_MAX} characters, and no control characters"
        );
        faults.push(at.key("name").mistake(message));
    }
    let path = |path: &Option<String>| path.as_ref().map(PathBuf::from);
    Some(remote::Config {
        access: Access {
            urls: urls(raw.url.as_ref()?, &at.key("url"), faults),
            tokens,
            ca: path(&raw.ca),
            client,
        },
        name: raw.name.clone().unwrap_or_default(),
        state: path(&raw.state),
        max_staleness: raw.max_staleness.0,
        on_stale: on_stale(raw.on_stale),
    })
}

/// Whether a control plane would refuse whoever is called so.
fn is_no_name(name: &str) -> bool {
    let is_long = name.chars().count() > GATEWAY_NAME_CHARACTERS_MAX;
    name.is_empty() || is_long || name.chars().any(char::is_control)
}

fn urls(raw: &Urls, at: &Spot<'_>, faults: &mut Vec<Mistake>) -> Vec<String> {
    let urls = raw.all();
    for (index, url) in urls.iter().enumerate() {
        if urls.iter().take(index).any(|before| before == url) {
            faults.push(at.index(index).mistake("is in the list twice"));
        }
    }
    urls.iter().map(|url| url.0.clone()).collect()
}

fn tokens(raw: &Remote, at: &Spot<'_>, faults: &mut Vec<Mistake>) -> Vec<String> {
    // That it is missing was said.
    let Some(text) = &raw.token else {
        return Vec::new();
    };
    let tokens: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let fits = |token: &String| {
        token.len() >= TOKEN_CHARACTERS_MIN && token.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if tokens.len() > TOKENS_MAX || !tokens.iter().all(fits) {
        let message = format!(
            "is no gateway token of at least {TOKEN_CHARACTERS_MIN} visible ASCII characters, and not two with a space between"
        );
        faults.push(at.key("token").mistake(message));
    }
    tokens
}

fn client(raw: &Remote, at: &Spot<'_>, faults: &mut Vec<Mistake>) -> Option<(PathBuf, PathBuf)> {
    match (&raw.client_certificate, &raw.client_key) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        (Some(_), None) => {
            let message = "needs `client_key`, the private key of it, beside";
            faults.push(at.key("client_certificate").mistake(message));
            None
        }
        (None, Some(_)) => {
            let message = "needs `client_certificate`, the certificate of it, beside";
            faults.push(at.key("client_key").mistake(message));
            None
        }
    }
}
