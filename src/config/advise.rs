//! Warnings: what loads, but is more open than it looks.

use serde::Serialize;

use super::mistake::Mistake;
use super::node::Spot;
use super::raw::{File, Require, RequireWord, Route, UserTokens};
use crate::authz::RouteTable;

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
}

impl OpenWay {
    /// The ways past `route`.
    pub(super) fn past(route: &Route) -> Vec<Self> {
        let anonymous = route.require == Some(Require::Word(RequireWord::Anonymous));
        let ways = [
            (anonymous, Self::Anonymous),
            (route.optional, Self::Optional),
            (route.shadow, Self::Shadow),
            (route.user_tokens == UserTokens::Forward, Self::UserTokens),
        ];
        let open = ways.into_iter().filter(|(open, _)| *open);
        open.map(|(_, way)| way).collect()
    }

    /// The key that opens it, and what that means.
    const fn key_and_message(self) -> (&'static str, &'static str) {
        match self {
            Self::Anonymous => (
                "require",
                "everyone passes this route, with or without a key",
            ),
            Self::Optional => (
                "optional",
                "requests without any credential pass this route",
            ),
            Self::Shadow => (
                "shadow",
                "refusals are only counted on this route: requests pass whatever the key is",
            ),
            Self::UserTokens => (
                "user_tokens",
                "anything in the form of a user token passes this route; the upstream has to judge it",
            ),
        }
    }
}

/// All warnings of a file that resolves to `table`.
pub(super) fn advise(file: &File, root: &Spot<'_>, table: &RouteTable) -> Vec<Mistake> {
    let mut warnings = Vec::new();
    let routes = file.routes.iter().flatten().zip(table.specs());
    for (index, (route, spec)) in routes.enumerate() {
        let at = root.key("routes").index(index);
        warnings.extend(OpenWay::past(route).into_iter().map(|way| {
            let (key, message) = way.key_and_message();
            at.key(key).mistake(message)
        }));
        unscoped(route, &spec.pattern.captures(), &at, &mut warnings);
    }
    warnings
}

/// A key that may read one thing should not read all of them because a route forgot to ask which.
fn unscoped(route: &Route, captures: &[&str], at: &Spot<'_>, warnings: &mut Vec<Mistake>) {
    let Some(Require::Families(families)) = &route.require else {
        return;
    };
    let for_org = families.org.is_some()
        || !families.permissions.is_empty()
        || !families.any_permission.is_empty();
    if for_org && families.scopes.is_empty() && !captures.is_empty() {
        let named: Vec<String> = captures.iter().map(|name| format!("{{{name}}}")).collect();
        warnings.push(at.key("require").mistake(format!(
            "organisation keys are not limited by scopes here, although the path names {}",
            named.join(", ")
        )));
    }
}
