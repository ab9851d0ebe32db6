//! The rulebook: routes with their policies, and the two halves of a decision around the look-up of a key.
//!
//! `admit` needs no key: canonical request → route → credential. `conclude` judges the key that was found.

use std::sync::Arc;

use super::credential::{CredentialRules, PresentedKey};
use super::decision::{Decision, Denial};
use super::id::Timestamp;
use super::principal::Principal;
use super::request::RequestFacts;
use super::requirement::Requirement;
use super::route::{Captures, RouteId, RouteTable};

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
}

impl Anonymous {
    /// The label value in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "anonymous",
            Self::Optional => "optional",
            Self::Shadow => "shadow",
            Self::UserToken => "user_token",
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
    policies: Vec<Policy>,
    credentials: CredentialRules,
}

impl Rulebook {
    /// Days for which a secret that was rotated away is still told from an unknown one.
    pub const TOMBSTONE_DAYS: i64 = 30;

    /// Puts a rulebook together; `policies` by [`RouteId`].
    pub fn new(routes: RouteTable, policies: Vec<Policy>, credentials: CredentialRules) -> Self {
        Self {
            routes,
            policies,
            credentials,
        }
    }

    /// The routes.
    pub fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// The policy of a route.
    pub fn policy(&self, route: RouteId) -> Option<&Policy> {
        self.policies.get(route.0 as usize)
    }

    /// Where credentials are.
    pub fn credentials(&self) -> &CredentialRules {
        &self.credentials
    }

    /// The first half: route and credential.
    pub fn admit<'a>(&self, facts: &'a RequestFacts<'a>) -> Admission<'a> {
        let _ = facts;
        unimplemented!()
    }

    /// The second half: the key's status and grants.
    pub fn conclude(
        &self,
        pending: &Pending<'_>,
        lookup: KeyLookup,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> Decision {
        let _ = (pending, lookup, facts, now);
        unimplemented!()
    }

    /// The decision for a request that is refused before it has facts, or after its permit (limits).
    /// A `shadow` route turns a `rate_limited` into a pass; everything else stands.
    pub fn refuse(&self, denial: Denial) -> Decision {
        Decision::Deny(denial)
    }
}
