//! Warnings: what loads, but is more open than it looks.

use serde::Serialize;

use super::mistake::Mistake;
use super::node::Spot;
use super::raw::{File, Require, RequireWord, Route, UserTokens};
use super::resolve::Table;
use super::scalar::{ControlUrl, PeerSet};
use crate::authz::{Confusion, Difference, Policy, RouteId, RouteSpec};
use crate::proxy::ListenAddr;

/// A way past a route without a judged key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenWay {
    /// The route is open to everyone.
    Anonymous,
    /// Without any credential.
    Optional,
    /// Refusals are only counted.
    Shadow,
    /// With anything in the form of a user token.
    UserTokens,
    /// With an identity that a trusted peer names.
    TrustedIdentity,
}

impl OpenWay {
    /// The ways past `route`.
    pub(super) fn past(route: &Route) -> Vec<Self> {
        let requires = |word| route.require == Some(Require::Word(word));
        let ways = [
            (requires(RequireWord::Anonymous), Self::Anonymous),
            (route.optional, Self::Optional),
            (route.shadow, Self::Shadow),
            (route.user_tokens == UserTokens::Forward, Self::UserTokens),
            (
                requires(RequireWord::TrustedIdentity),
                Self::TrustedIdentity,
            ),
        ];
        let open = ways.into_iter().filter(|(open, _)| *open);
        open.map(|(_, way)| way).collect()
    }

    /// The key that opens it, and what that means.
    const fn key_and_message(self) -> (&'static str, &'static str) {
        match self {
            Self::Anonymous => ("require", "everyone passes, with or without a key"),
            Self::Optional => ("optional", "requests without any credential pass"),
            Self::Shadow => (
                "shadow",
                "refusals are only counted: requests pass whatever the key is",
            ),
            Self::UserTokens => (
                "user_tokens",
                "anything in the form of a user token passes; the upstream has to judge it",
            ),
            Self::TrustedIdentity => (
                "require",
                "whoever a trusted peer names passes without a key",
            ),
        }
    }
}

/// All warnings of a file that resolves to `table`.
pub(super) fn advise(file: &File, root: &Spot<'_>, table: &Table) -> Vec<Mistake> {
    let mut warnings = confusions(root, table);
    warnings.extend(open_to_view(file, root));
    warnings.extend(trusted_by_all(file, root));
    warnings.extend(clear_to_all(file, root));
    let routes = file.routes.iter().flatten().zip(table.routes.specs());
    for (index, (route, spec)) in routes.enumerate() {
        let at = root.key("routes").index(index);
        warnings.extend(OpenWay::past(route).into_iter().map(|way| {
            let (key, message) = way.key_and_message();
            at.key(key)
                .mistake(format!("route `{}`: {message}", spec.name))
        }));
        warnings.extend(unscoped(route, spec, &at));
    }
    warnings
}

/// A listener where everyone may say who they are.
fn trusted_by_all(file: &File, root: &Spot<'_>) -> Vec<Mistake> {
    let mut warnings = Vec::new();
    for (index, listener) in file.listen.iter().flatten().enumerate() {
        let at = root.key("listen").index(index);
        for (key, list, message) in [
            (
                "trusted_identity_from",
                &listener.trusted_identity_from,
                "whoever reaches this listener may say who they are",
            ),
            (
                "trusted_proxies",
                &listener.trusted_proxies,
                "whoever reaches this listener may say where requests come from",
            ),
        ] {
            for (index, peers) in list.iter().enumerate() {
                if matches!(peers.0, PeerSet::Network(network) if network.prefix_len() == 0) {
                    warnings.push(at.key(key).index(index).mistake(message));
                }
            }
        }
    }
    warnings
}

/// HTTP/2 without TLS is for one's own network; who reaches the listener otherwise has no business with it.
fn clear_to_all(file: &File, root: &Spot<'_>) -> Vec<Mistake> {
    let listeners = file.listen.iter().flatten().enumerate();
    let open = listeners.filter(|(_, listener)| {
        let address = listener.address.as_ref().map(|address| &address.0);
        let is_own = match address {
            Some(ListenAddr::Tcp(address)) => address.ip().is_loopback(),
            Some(ListenAddr::Unix(_)) | None => true,
        };
        listener.h2c && !is_own
    });
    let at = root.key("listen");
    let warnings = open.map(|(index, _)| {
        let message = "HTTP/2 without TLS where others than this machine reach it: be sure that only your own proxies do";
        at.index(index).key("h2c").mistake(message)
    });
    warnings.collect()
}

/// Keys and the token of a platform should not travel in clear text.
fn open_to_view(file: &File, root: &Spot<'_>) -> Option<Mistake> {
    let keys = file.keys.as_ref()?;
    let platform = keys.prisme.as_ref().and_then(|prisme| prisme.url.as_ref());
    let control = keys.remote.as_ref().and_then(|remote| remote.url.as_ref());
    let (key, is_open) = match (platform, control) {
        (Some(url), _) => ("prisme", url.is_open_to_view()),
        (None, Some(urls)) => ("remote", urls.all().iter().any(ControlUrl::is_open_to_view)),
        (None, None) => return None,
    };
    let at = root.key("keys").key(key).key("url");
    let message = "the token and keys travel in clear text: use https, or be sure of the network";
    is_open.then(|| at.mistake(message))
}

/// A key that may read one thing should not read all of them because a route forgot to ask which. What the path says
/// of the organisation is asked already.
fn unscoped(route: &Route, spec: &RouteSpec, at: &Spot<'_>) -> Option<Mistake> {
    let Some(Require::Families(families)) = &route.require else {
        return None;
    };
    let lists = [&families.permissions, &families.any_permission];
    let is_for_org = families.org.is_some() || lists.into_iter().any(|list| !list.is_empty());
    if !is_for_org || !families.scopes.is_empty() {
        return None;
    }
    let org = families.org.as_deref().unwrap_or_default();
    let captures = spec.pattern.captures().into_iter();
    let unasked: Vec<String> = captures
        .map(|name| format!("{{{name}}}"))
        .filter(|capture| !org.contains(capture))
        .collect();
    let message = format!(
        "route `{}`: organisation keys are not limited by scopes, although the path names {}",
        spec.name,
        unasked.join(", ")
    );
    (!unasked.is_empty()).then(|| at.key("require").mistake(message))
}

/// Requests that the upstream of one route may take for that route's own, while they are judged by another's policy.
fn confusions(root: &Spot<'_>, table: &Table) -> Vec<Mistake> {
    let confusions = table.routes.confusions();
    let matters = |confusion: &&Confusion| {
        let policy = |id: RouteId| table.policies.get(id.0 as usize);
        let (Some(own), Some(other)) = (policy(confusion.route), policy(confusion.other)) else {
            return false;
        };
        let passes = match confusion.difference {
            Difference::Case | Difference::TrailingSlash => true,
            Difference::EncodedSlash => other.encoded_slash,
            Difference::Matrix => other.matrix,
        };
        passes && !guard_alike(own, other)
    };
    let warning = |confusion: &Confusion| {
        let own = table.routes.spec(confusion.route)?;
        let other = table.routes.spec(confusion.other)?;
        let (habit, remedy) = match confusion.difference {
            Difference::Case => ("ignores letter case", "write match: { case: insensitive }"),
            Difference::TrailingSlash => (
                "ignores a slash at the end",
                "write match: { trailing_slash: ignored }",
            ),
            Difference::EncodedSlash => (
                "decodes `%2F` before it looks at paths",
                "leave out `encoded_slash: allow` there",
            ),
            Difference::Matrix => (
                "drops what follows a `;`",
                "leave out `matrix: allow` there",
            ),
        };
        let at = root
            .key("routes")
            .index(confusion.route.0 as usize)
            .key("path");
        Some(at.mistake(format!(
            "route `{}`: an upstream that {habit} takes `{}` for this route, but it is judged by route `{}`, which requires something else; if yours does, {remedy}",
            own.name, confusion.example, other.name
        )))
    };
    confusions
        .iter()
        .filter(matters)
        .filter_map(warning)
        .collect()
}

/// Whether the same keys pass both.
fn guard_alike(a: &Policy, b: &Policy) -> bool {
    (&a.requirement, a.optional, a.user_tokens, a.shadow)
        == (&b.requirement, b.optional, b.user_tokens, b.shadow)
}
