//! The rulebook: routes with their policies, and the two halves of a decision around the look-up of a key.
//!
//! `admit` needs no key: canonical request → route → credential. `conclude` judges the key that was found.

use std::sync::Arc;

use super::credential::{CredentialRules, PresentedKey};
use super::decision::{Decision, Denial, Determination, Permit, Reason};
use super::id::Timestamp;
use super::judge::{Unmet, judge, judge_identity};
use super::principal::Principal;
use super::record::KeyStatus;
use super::request::{Path, RequestFacts};
use super::requirement::Requirement;
use super::route::{Captures, RouteId, RouteMatch, RouteTable};
use super::template::TemplateScope;

/// What becomes of a user token that comes without an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserTokens {
    /// 401.
    #[default]
    Reject,
    /// It passes on its form alone; the upstream judges it.
    Forward,
}

/// What becomes of the judged key on its way upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardKey {
    /// It is removed.
    #[default]
    Strip,
    /// It stays, for upstreams that resolve it themselves.
    Keep,
}

/// How a route is guarded.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// What it requires.
    pub requirement: Requirement,
    /// Whether a request without any credential passes as anonymous.
    pub optional: bool,
    /// What becomes of lone user tokens.
    pub user_tokens: UserTokens,
    /// Whether refusals of 401, 403 and 429 are turned into passes, for trying a policy out.
    pub shadow: bool,
    /// What becomes of the judged key.
    pub forward: ForwardKey,
    /// Whether `%2F` is taken in the path.
    pub encoded_slash: bool,
    /// Whether `;` is taken in the path.
    pub matrix: bool,
}

/// Why a request passes although no key was judged. Counted in a metric of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Anonymous {
    /// The route is open.
    Open,
    /// The route is optional and no credential was shown.
    Optional,
    /// A shadowed refusal.
    Shadow,
    /// A user token passes on its form.
    UserToken,
    /// A trusted peer named an identity.
    TrustedIdentity,
}

impl Anonymous {
    /// The label value in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "anonymous",
            Self::Optional => "optional",
            Self::Shadow => "shadow",
            Self::UserToken => "user_token",
            Self::TrustedIdentity => "trusted_identity",
        }
    }
}

/// What the look-up of a key found.
#[derive(Debug, Clone)]
pub enum KeyLookup {
    /// The key. `retired_at`: when this secret of it was, or will be, rotated away.
    Found {
        /// The key, compiled.
        principal: Arc<Principal>,
        /// From this moment on the secret is `revoked_key`; 30 days later `unknown_key`.
        retired_at: Option<Timestamp>,
    },
    /// There is no such key.
    Unknown,
    /// It cannot be told now.
    Unavailable,
}

impl KeyLookup {
    /// The key, where it may be used at `now`.
    ///
    /// # Errors
    /// The reason why not, and the key where it may be named.
    pub fn live(self, now: Timestamp) -> Result<Arc<Principal>, (Reason, Option<Arc<Principal>>)> {
        let (principal, retired_at) = match self {
            Self::Found {
                principal,
                retired_at,
            } => (principal, retired_at),
            Self::Unknown => return Err((Reason::UnknownKey, None)),
            Self::Unavailable => return Err((Reason::KeysUnavailable, None)),
        };
        if let Some(retired_at) = retired_at.filter(|retired_at| now >= *retired_at) {
            let forgotten_at = retired_at.plus_seconds(Rulebook::TOMBSTONE_DAYS * 24 * 60 * 60);
            return Err(if now >= forgotten_at {
                (Reason::UnknownKey, None)
            } else {
                (Reason::RevokedKey, Some(principal))
            });
        }
        let dead = match principal.status {
            KeyStatus::Revoked => Some(Reason::RevokedKey),
            KeyStatus::Disabled => Some(Reason::DisabledKey),
            KeyStatus::Active => principal
                .expires_at
                .filter(|expires_at| now >= *expires_at)
                .map(|_| Reason::ExpiredKey),
        };
        match dead {
            Some(reason) => Err((reason, Some(principal))),
            None => Ok(principal),
        }
    }
}

/// A decision before the look-up, or what is still needed for one.
#[derive(Debug)]
pub enum Admission<'a> {
    /// No key is needed for it.
    Decided(Decision),
    /// This key must be looked up.
    NeedsKey(Pending<'a>),
}

/// A request that waits for its key.
#[derive(Debug)]
pub struct Pending<'a> {
    /// The route that was chosen.
    pub route: RouteId,
    /// What its path bound.
    pub captures: Captures,
    /// What must be looked up.
    pub key: PresentedKey<'a>,
}

/// Routes, their policies, and where credentials are.
#[derive(Debug)]
pub struct Rulebook {
    routes: RouteTable,
    guards: Vec<Guard>,
    credentials: CredentialRules,
}

/// A policy, and what of it is found out once rather than for each request.
#[derive(Debug)]
struct Guard {
    policy: Policy,
    may_be_ambiguous: bool,
}

impl From<Policy> for Guard {
    fn from(policy: Policy) -> Self {
        Self {
            may_be_ambiguous: policy.requirement.may_be_ambiguous(),
            policy,
        }
    }
}

impl Rulebook {
    /// Days for which a secret that was rotated away is still told from an unknown one.
    pub const TOMBSTONE_DAYS: i64 = 30;

    /// Puts a rulebook together; `policies` by [`RouteId`].
    pub fn new(routes: RouteTable, policies: Vec<Policy>, credentials: CredentialRules) -> Self {
        Self {
            routes,
            guards: policies.into_iter().map(Guard::from).collect(),
            credentials,
        }
    }

    /// The routes.
    pub fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// The policy of a route.
    pub fn policy(&self, route: RouteId) -> Option<&Policy> {
        Some(&self.guard(route)?.policy)
    }

    fn guard(&self, route: RouteId) -> Option<&Guard> {
        self.guards.get(route.0 as usize)
    }

    /// Where credentials are.
    pub fn credentials(&self) -> &CredentialRules {
        &self.credentials
    }

    /// The first half: route and credential.
    pub fn admit<'a>(&self, facts: &'a RequestFacts<'_>) -> Admission<'a> {
        match self.choose_route(facts) {
            Ok((route, guard, captures)) => admit_to(route, guard, captures, facts, self),
            Err(denial) => Admission::Decided(Decision::Deny(denial)),
        }
    }

    /// The route and its guard, once the path is known to be canonical for that route.
    #[expect(
        clippy::result_large_err,
        reason = "a denial is handed on once; a box would cost each refusal an allocation"
    )]
    fn choose_route(
        &self,
        facts: &RequestFacts<'_>,
    ) -> Result<(RouteId, &Guard, Captures), Denial> {
        let found = self.routes.find(facts);
        let guard = match &found {
            RouteMatch::Found(route, _) => self.guard(*route),
            RouteMatch::MethodNotAllowed(_) | RouteMatch::NotFound => None,
        };
        if let Some(detail) = untaken_opt_out(&facts.path, guard.map(|guard| &guard.policy)) {
            return Err(Denial {
                detail: Some(detail),
                ..Denial::new(Reason::MalformedRequest)
            });
        }
        match (found, guard) {
            (RouteMatch::Found(route, captures), Some(guard)) => Ok((route, guard, captures)),
            (RouteMatch::MethodNotAllowed(allow), _) => Err(Denial {
                allow,
                ..Denial::new(Reason::MethodNotAllowed)
            }),
            (RouteMatch::NotFound | RouteMatch::Found(..), _) => Err(Denial::new(Reason::NoRoute)),
        }
    }

    /// The second half: the key's status, then its grants.
    pub fn conclude(
        &self,
        pending: &Pending<'_>,
        lookup: KeyLookup,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> Decision {
        let Some(policy) = self.policy(pending.route) else {
            return Decision::Deny(Denial::new(Reason::NoRoute));
        };
        let denied = |reason| Denial {
            route: Some(pending.route),
            credential_shown: true,
            ..Denial::new(reason)
        };
        let principal = match lookup.live(now) {
            Ok(principal) => principal,
            Err((reason, principal)) => {
                return policy.deny(Denial {
                    principal,
                    ..denied(reason)
                });
            }
        };
        let scope = TemplateScope {
            facts: Some(facts),
            captures: &pending.captures,
        };
        match policy.judge(&principal, scope) {
            Ok(determined_by) => Decision::Allow(Permit {
                route: pending.route,
                principal: Some(principal),
                determined_by,
                unjudged: None,
                shadowed: None,
                forward_key: policy.forward == ForwardKey::Keep,
            }),
            Err(unmet) => policy.deny(Denial {
                principal: Some(principal),
                determined_by: Some(unmet.determined_by),
                needed: Some(unmet.needed),
                ..denied(unmet.reason)
            }),
        }
    }

    /// The decision on a permitted request that is one too many for its route. Who counts is for the caller to know.
    pub fn beyond_rate(&self, permit: Permit) -> Decision {
        if permit.shadowed.is_some() {
            // It passes for another reason already, which is the one to tell.
            return Decision::Allow(permit);
        }
        let denial = Denial {
            route: Some(permit.route),
            principal: permit.principal,
            ..Denial::new(Reason::RateLimited)
        };
        match self.policy(permit.route) {
            Some(policy) => policy.deny(denial),
            None => Decision::Deny(denial),
        }
    }
}

impl Policy {
    /// Whether a user without a key passes: one whom a trusted peer names also where that is what is required.
    fn lets_pass(&self, user: Anonymous) -> bool {
        let required = self.requirement == Requirement::TrustedIdentity;
        self.user_tokens == UserTokens::Forward || required && user == Anonymous::TrustedIdentity
    }

    fn judge(
        &self,
        principal: &Principal,
        scope: TemplateScope<'_, '_>,
    ) -> Result<Determination, Unmet> {
        match &self.requirement {
            Requirement::Anonymous | Requirement::Authenticated => Ok(Determination::Nothing),
            Requirement::TrustedIdentity => judge_identity(scope),
            Requirement::Families(families) => {
                judge(families, Some(&principal.tenant), &principal.grants, scope)
            }
        }
    }

    /// The refusal, or what a `shadow` route makes of it: a pass without key and identity.
    fn deny(&self, denial: Denial) -> Decision {
        match (self.shadow, denial.route, denial.reason.status()) {
            (true, Some(route), 401 | 403 | 429) => {
                Decision::Allow(pass(route, Anonymous::Shadow, Some(Box::new(denial))))
            }
            _ => Decision::Deny(denial),
        }
    }
}

/// A pass without a judged key.
fn pass(route: RouteId, why: Anonymous, shadowed: Option<Box<Denial>>) -> Permit {
    Permit {
        route,
        principal: None,
        determined_by: Determination::Nothing,
        unjudged: Some(why),
        shadowed,
        forward_key: false,
    }
}

/// What a path holds that only some routes take, where this one does not.
fn untaken_opt_out(path: &Path<'_>, policy: Option<&Policy>) -> Option<&'static str> {
    if path.has_encoded_slash() && !policy.is_some_and(|policy| policy.encoded_slash) {
        return Some("the path holds an encoded slash");
    }
    if path.has_matrix() && !policy.is_some_and(|policy| policy.matrix) {
        return Some("the path holds a `;`");
    }
    None
}

fn admit_to<'a>(
    route: RouteId,
    Guard {
        policy,
        may_be_ambiguous,
    }: &Guard,
    captures: Captures,
    facts: &'a RequestFacts<'_>,
    rulebook: &Rulebook,
) -> Admission<'a> {
    let denial = |reason| Denial {
        route: Some(route),
        ..Denial::new(reason)
    };
    if *may_be_ambiguous && policy.requirement.is_ambiguous(facts) {
        return Admission::Decided(Decision::Deny(denial(Reason::AmbiguousRequest)));
    }
    if policy.requirement == Requirement::Anonymous {
        return Admission::Decided(Decision::Allow(pass(route, Anonymous::Open, None)));
    }
    let shown = match rulebook.credentials.extract(facts.headers, &facts.query) {
        Ok(shown) => shown,
        Err(reason) => {
            let denial = Denial {
                credential_shown: true,
                ..denial(reason)
            };
            return Admission::Decided(policy.deny(denial));
        }
    };
    if let Some(key) = shown.key {
        return Admission::NeedsKey(Pending {
            route,
            captures,
            key,
        });
    }
    let user = match (facts.trusted_identity, shown.user_token) {
        (true, _) => Some(Anonymous::TrustedIdentity),
        (false, true) => Some(Anonymous::UserToken),
        (false, false) => None,
    };
    Admission::Decided(match user {
        Some(user) if policy.lets_pass(user) => Decision::Allow(pass(route, user, None)),
        Some(_) => policy.deny(Denial {
            credential_shown: true,
            ..denial(Reason::UserTokenRejected)
        }),
        None if policy.optional => Decision::Allow(pass(route, Anonymous::Optional, None)),
        None => policy.deny(denial(Reason::MissingCredential)),
    })
}
