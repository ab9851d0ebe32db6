//! A decision is a value: what was decided, why, and what determined it.
//!
//! Status codes, response bodies, logs, metrics and `explain` are all read off it; nothing is judged twice.

use std::sync::Arc;

use http::Method;
use smallvec::SmallVec;

use super::access::AccessLevel;
use super::principal::Principal;
use super::route::RouteId;

/// The outcome of judging one request.
#[derive(Debug, Clone)]
pub enum Decision {
    /// It may be forwarded.
    Allow(Permit),
    /// It may not.
    Deny(Denial),
}

/// Proof that a request was authorised. Only this floor can make one; reaching an upstream takes one.
#[derive(Debug, Clone)]
pub struct Permit {
    pub(super) route: RouteId,
    pub(super) principal: Option<Arc<Principal>>,
    pub(super) determined_by: Determination,
    pub(super) unjudged: Option<super::rulebook::Anonymous>,
    pub(super) shadowed: Option<Box<Denial>>,
    pub(super) forward_key: bool,
}

impl Permit {
    /// The route that was chosen.
    pub fn route(&self) -> RouteId {
        self.route
    }

    /// The key that was judged, if one was. It is what identity headers are made of.
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.as_ref()
    }

    /// What decided.
    pub fn determined_by(&self) -> &Determination {
        &self.determined_by
    }

    /// Why the request passes although no key was judged; `None` when one was.
    pub fn unjudged(&self) -> Option<super::rulebook::Anonymous> {
        self.unjudged
    }

    /// The refusal that a `shadow` route turned into this pass.
    pub fn shadowed(&self) -> Option<&Denial> {
        self.shadowed.as_deref()
    }

    /// Whether the judged key stays in the request on its way upstream.
    pub fn forwards_key(&self) -> bool {
        self.forward_key
    }
}

/// A refusal and everything that an answer, a log line or an explanation needs of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Denial {
    /// Why, from a closed list.
    pub reason: Reason,
    /// The route, when one was chosen.
    pub route: Option<RouteId>,
    /// The key, when one was known (also a dead one).
    pub principal: Option<Arc<Principal>>,
    /// What decided, where something in the grants did.
    pub determined_by: Option<Determination>,
    /// What the request would have needed, for a 403.
    pub needed: Option<Needed>,
    /// The methods that the path has, for a 405.
    pub allow: Vec<Method>,
    /// Whether a credential was shown, which decides the form of the challenge on a 401.
    pub credential_shown: bool,
    /// What exactly was wrong with a malformed request, for the log and the message.
    pub detail: Option<&'static str>,
}

impl Denial {
    /// A refusal for `reason` with nothing else known.
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            route: None,
            principal: None,
            determined_by: None,
            needed: None,
            allow: Vec::new(),
            credential_shown: false,
            detail: None,
        }
    }
}

/// What in the grants determined a decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Determination {
    /// No grant was consulted (anonymous, authenticated, a refusal before the grants).
    Nothing,
    /// For each required permission, in order, the index of the first grant that covers it; then, where a
    /// scope was needed, the index of the first granted scope that covers it. On a refusal: those found so far.
    Grants {
        /// Indexes into the key's permissions as written.
        permissions: SmallVec<[u16; 4]>,
        /// Index into the key's scopes as written.
        scope: Option<u16>,
    },
    /// Index of the deciding rule as written; `None`: no rule applied.
    Rule(Option<u16>),
    /// The level that the key holds on the domain.
    Access {
        /// The domain asked for.
        domain: Arc<str>,
        /// What the key holds there.
        level: AccessLevel,
    },
}

/// What a refused request would have needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needed {
    /// This permission.
    Permission(String),
    /// One of these permissions.
    AnyPermission(Vec<String>),
    /// One of these scopes.
    Scope(Vec<String>),
    /// This organisation.
    Org(String),
    /// This workspace.
    Workspace(String),
    /// A rule for this action on this subject.
    Rule {
        /// The action.
        action: String,
        /// The subject.
        subject: String,
    },
    /// This level on this domain.
    Access {
        /// The domain.
        domain: String,
        /// The level.
        level: AccessLevel,
    },
    /// A key of this project.
    Project(String),
    /// A key that is not pinned to a project.
    AllProjects,
    /// A key of one of these families.
    Family(Vec<super::id::Family>),
    /// An identity that a trusted peer names.
    TrustedIdentity,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal;)*) => {
        /// The closed list of reasons for which Keyward refuses. The name is stable: it is in answers, logs and metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason, in the order of its status.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }

            /// The HTTP status that it is answered with.
            pub const fn status(self) -> u16 {
                match self { $(Reason::$variant => $status,)* }
            }
        }
    };
}

reasons! {
    /// The request is not canonical, or not HTTP.
    MalformedRequest = "malformed_request", 400;
    /// A query name or header that the route uses occurs more than once, or is not UTF-8.
    AmbiguousRequest = "ambiguous_request", 400;
    /// Two API keys, or one in a form that could be read as two.
    AmbiguousCredential = "ambiguous_credential", 400;
    /// The route needs a key and none was shown.
    MissingCredential = "missing_credential", 401;
    /// What was shown is of no known form.
    MalformedCredential = "malformed_credential", 401;
    /// No such key.
    UnknownKey = "unknown_key", 401;
    /// The key is switched off.
    DisabledKey = "disabled_key", 401;
    /// The key, or this secret of it, is switched off for ever.
    RevokedKey = "revoked_key", 401;
    /// The key's time has run out.
    ExpiredKey = "expired_key", 401;
    /// A user token alone, on a route that does not take one.
    UserTokenRejected = "user_token_rejected", 401;
    /// The key belongs to another organisation than the path.
    OrgMismatch = "org_mismatch", 403;
    /// The key belongs to another workspace than the path.
    WorkspaceMismatch = "workspace_mismatch", 403;
    /// A required permission is not granted.
    MissingPermission = "missing_permission", 403;
    /// No required scope is granted.
    OutOfScope = "out_of_scope", 403;
    /// No rule of the key applies.
    NoMatchingRule = "no_matching_rule", 403;
    /// A rule of the key denies.
    RuleDenied = "rule_denied", 403;
    /// The access map grants too little.
    InsufficientAccess = "insufficient_access", 403;
    /// The key is pinned to another project.
    ProjectMismatch = "project_mismatch", 403;
    /// The key is pinned to a project and the route does not say where a request states its own.
    ProjectUnknown = "project_unknown", 403;
    /// The route states nothing for keys of this family.
    FamilyNotAccepted = "family_not_accepted", 403;
    /// No route for this host and path.
    NoRoute = "no_route", 404;
    /// The path has routes, for other methods.
    MethodNotAllowed = "method_not_allowed", 405;
    /// The head or body came too slowly.
    RequestTimeout = "request_timeout", 408;
    /// The body is larger than the limit.
    BodyTooLarge = "body_too_large", 413;
    /// The target is longer than the limit.
    UriTooLong = "uri_too_long", 414;
    /// An `Expect` other than `100-continue`.
    ExpectationFailed = "expectation_failed", 417;
    /// Too many rate-limited requests.
    RateLimited = "rate_limited", 429;
    /// More header bytes or lines than the limit.
    HeadersTooLarge = "headers_too_large", 431;
    /// Our own fault.
    InternalError = "internal_error", 500;
    /// The upstream could not be reached.
    UpstreamUnreachable = "upstream_unreachable", 502;
    /// The upstream answered something that is not HTTP.
    UpstreamInvalid = "upstream_invalid", 502;
    /// The keys cannot be consulted now; says nothing about the key shown.
    KeysUnavailable = "keys_unavailable", 503;
    /// A named limit of the gateway itself is reached.
    Overloaded = "overloaded", 503;
    /// The upstream took too long.
    UpstreamTimeout = "upstream_timeout", 504;
}
