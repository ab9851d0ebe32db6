//! Section 8: the whole decision, in its order: request, route, credential, key, status, requirement.

use std::collections::BTreeSet;

use keyward::authz::{Anonymous, CredentialRules, Determination, KeyRecord, KeyStatus, Reason};

use super::credential;
use super::request::{self, Request};
use super::requirement::{self, Requirement, Scope};
use super::route::{self, Choice, Matcher};

/// A route with its policy.
#[derive(Debug, Clone)]
pub struct Route {
    pub name: String,
    pub matcher: Matcher,
    pub requirement: Requirement,
    pub optional: bool,
    /// Whether a user token alone passes on its form.
    pub user_tokens_forward: bool,
    pub shadow: bool,
    pub forward_key: bool,
    pub encoded_slash: bool,
    pub matrix: bool,
}

/// A key as the store has it.
#[derive(Debug, Clone)]
pub struct Key {
    pub token: String,
    pub record: KeyRecord,
    /// When this secret of it was, or will be, rotated away.
    pub retired_at: Option<i64>,
}

/// Everything that decides besides the request.
#[derive(Debug, Clone)]
pub struct World {
    pub routes: Vec<Route>,
    pub keys: Vec<Key>,
    pub credentials: CredentialRules,
    /// Milliseconds since the epoch.
    pub now: i64,
    /// Whether keys can be looked up at all.
    pub keys_available: bool,
    /// Whether a trusted peer names an identity in every request.
    pub trusted_identity: bool,
}

/// A pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Allowed {
    pub route: usize,
    /// What is forwarded.
    pub path: String,
    /// Id of the key that was judged.
    pub key: Option<String>,
    pub determined_by: Determination,
    /// Why it is one although no key was judged.
    pub unjudged: Option<Anonymous>,
    /// The refusal that `shadow` turned into it.
    pub shadowed: Option<Reason>,
    pub forwards_key: bool,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    Allow(Allowed),
    Deny {
        reason: Reason,
        route: Option<usize>,
        /// Id of the key that was looked up, live or dead.
        key: Option<String>,
        determined_by: Determination,
        /// Methods of the path, for a 405.
        allow: Vec<String>,
    },
}

const TOMBSTONE_MILLIS: i64 = 30 * 24 * 60 * 60 * 1000;

/// Decides.
pub fn decide(world: &World, request: &Request) -> Decision {
    let refused = |reason, allow: BTreeSet<String>| Decision::Deny {
        reason,
        route: None,
        key: None,
        determined_by: Determination::Nothing,
        allow: allow.into_iter().collect(),
    };
    let Some((host, path, query)) = request::accept(request) else {
        return refused(Reason::MalformedRequest, BTreeSet::new());
    };
    let matchers = world.routes.iter().map(|route| &route.matcher);
    let choice = route::choose(matchers, &host, &path, &request.method);
    let takes = |opt_in: fn(&Route) -> bool| match &choice {
        Choice::Route(index, _) => opt_in(&world.routes[*index]),
        Choice::OtherMethods(_) | Choice::Nothing => false,
    };
    if path.encoded_slash && !takes(|r| r.encoded_slash) || path.matrix && !takes(|r| r.matrix) {
        return refused(Reason::MalformedRequest, BTreeSet::new());
    }
    let (index, captures) = match choice {
        Choice::Nothing => return refused(Reason::NoRoute, BTreeSet::new()),
        Choice::OtherMethods(methods) => return refused(Reason::MethodNotAllowed, methods),
        Choice::Route(index, captures) => (index, captures),
    };
    let scope = Scope {
        captures,
        host,
        query: query.unwrap_or_default(),
        headers: request.headers.clone(),
        trusted_identity: world.trusted_identity,
    };
    decide_on_route(world, index, &scope, path.canonical)
}

fn decide_on_route(world: &World, index: usize, scope: &Scope, path: String) -> Decision {
    let route = &world.routes[index];
    let mut pass = Allowed {
        route: index,
        path,
        key: None,
        determined_by: Determination::Nothing,
        unjudged: None,
        shadowed: None,
        forwards_key: false,
    };
    match judge(world, route, scope) {
        Ok(Pass::Judged(key, determined_by)) => {
            pass.key = Some(key.record.id.to_string());
            pass.determined_by = determined_by;
            pass.forwards_key = route.forward_key;
        }
        Ok(Pass::Unjudged(why)) => pass.unjudged = Some(why),
        Err(refusal) if route.shadow && [401, 403, 429].contains(&refusal.reason.status()) => {
            pass.unjudged = Some(Anonymous::Shadow);
            pass.shadowed = Some(refusal.reason);
        }
        Err(refusal) => {
            return Decision::Deny {
                reason: refusal.reason,
                route: Some(index),
                key: refusal.key.map(|key| key.record.id.to_string()),
                determined_by: refusal.determined_by,
                allow: Vec::new(),
            };
        }
    }
    Decision::Allow(pass)
}

enum Pass<'w> {
    Judged(&'w Key, Determination),
    Unjudged(Anonymous),
}

struct Refusal<'w> {
    reason: Reason,
    key: Option<&'w Key>,
    determined_by: Determination,
}

impl From<Reason> for Refusal<'_> {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            key: None,
            determined_by: Determination::Nothing,
        }
    }
}

fn judge<'w>(world: &'w World, route: &Route, scope: &Scope) -> Result<Pass<'w>, Refusal<'w>> {
    if scope.is_ambiguous(&route.requirement) {
        return Err(Reason::AmbiguousRequest.into());
    }
    if matches!(route.requirement, Requirement::Anonymous) {
        return Ok(Pass::Unjudged(Anonymous::Open));
    }
    let shown = credential::shown(&world.credentials, &scope.headers, &scope.query)?;
    let Some(token) = shown.key else {
        let named = world.trusted_identity;
        if named && matches!(route.requirement, Requirement::TrustedIdentity) {
            return Ok(Pass::Unjudged(Anonymous::TrustedIdentity));
        }
        let user = named || shown.user_token;
        return match (user, route.user_tokens_forward, route.optional) {
            (true, true, _) if named => Ok(Pass::Unjudged(Anonymous::TrustedIdentity)),
            (true, true, _) => Ok(Pass::Unjudged(Anonymous::UserToken)),
            (true, false, _) => Err(Reason::UserTokenRejected.into()),
            (false, _, true) => Ok(Pass::Unjudged(Anonymous::Optional)),
            (false, _, false) => Err(Reason::MissingCredential.into()),
        };
    };
    if !world.keys_available {
        return Err(Reason::KeysUnavailable.into());
    }
    let known = world.keys.iter().find(|key| key.token.as_bytes() == token);
    let key = known
        .filter(|key| !is_forgotten(key, world.now))
        .ok_or(Reason::UnknownKey)?;
    let refusal = |reason, determined_by| Refusal {
        reason,
        key: Some(key),
        determined_by,
    };
    if let Some(reason) = dead(key, world.now) {
        return Err(refusal(reason, Determination::Nothing));
    }
    match requirement::judge(&key.record, &route.requirement, scope) {
        Ok(determined_by) => Ok(Pass::Judged(key, determined_by)),
        Err((reason, determined_by)) => Err(refusal(reason, determined_by)),
    }
}

/// Section 3: whether the tombstone of a secret that was rotated away has been taken down.
fn is_forgotten(key: &Key, now: i64) -> bool {
    key.retired_at
        .is_some_and(|at| now >= at + TOMBSTONE_MILLIS)
}

/// Section 3: why a key that is known is not live.
fn dead(key: &Key, now: i64) -> Option<Reason> {
    let expired = key
        .record
        .expires_at
        .is_some_and(|at| now >= at.as_millis());
    match (key.retired_at, key.record.status) {
        (Some(at), _) if now >= at => Some(Reason::RevokedKey),
        (_, KeyStatus::Disabled) => Some(Reason::DisabledKey),
        (_, KeyStatus::Revoked) => Some(Reason::RevokedKey),
        (_, KeyStatus::Active) => expired.then_some(Reason::ExpiredKey),
    }
}
