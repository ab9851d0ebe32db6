//! Who may do what: request facts in, a decision out.
//!
//! This floor is pure. It knows no proxy, no runtime, no serialization, no clock, no
//! file and no log; `now` is an argument. What it decides is written down in
//! `docs/spec/authorization.md`.

mod access;
mod authorize;
mod bytes;
mod credential;
mod decision;
mod id;
mod judge;
mod permission;
mod principal;
mod record;
mod request;
mod requirement;
mod route;
mod rule;
mod rulebook;
mod strip;
mod template;
mod value;

pub use access::{
    ACCESS_DOMAINS_MAX, ACCESS_NAME_BYTES_MAX, AccessGrant, AccessLevel, InvalidAccess,
    PermissionMode, ProjectScope,
};
pub use authorize::{Check, CheckOutcome, InvalidGrants, evaluate, validate_grants};
pub use credential::{
    CredentialRules, CredentialSource, Credentials, KeyDigest, KeyForm, Pepper, PresentedKey,
    RawKey, Sha256Digest, UserTokenSource,
};
pub use decision::{Decision, Denial, Determination, Needed, Permit, Reason};
pub use id::{Family, KeyId, Revision, Timestamp};
pub use permission::{
    GRANTS_MAX, InvalidPermission, InvalidScope, PERMISSION_BYTES_MAX, PERMISSION_SEGMENTS_MAX,
    PERMISSION_SEGMENTS_MIN, PermissionSet, RequiredPermission, RequiredScope, SCOPE_BYTES_MAX,
    ScopeSet,
};
pub use principal::{Grants, Principal};
pub use record::{KeyRecord, KeyStatus, Owner, RawAccess, RawGrants, RawRule, Tenant};
pub use request::{
    FramingError, HeadView, Host, InvalidRequest, Path, Query, RequestFacts, check_framing,
};
pub use requirement::{
    AccessRequirement, FamilyRequirements, InvalidRequirement, OrgRequirement, ProjectRequirement,
    Requirement, ResourceValue, RuleRequirement, WorkspaceRequirement,
};
pub use route::{
    Captures, CaseMatch, Confusion, Difference, InvalidRoute, MatchOptions, RouteId, RouteMatch,
    RoutePattern, RouteSpec, RouteTable, TrailingSlash,
};
pub use rule::{
    CONDITIONS_MAX, FIELD_BYTES_MAX, FIELDS_MAX, InvalidRule, LEVELS_MAX, NAMES_MAX, OPERANDS_MAX,
    PATH_SEGMENTS_MAX, PATTERN_BYTES_MAX, PATTERN_REPEAT_MAX, PATTERNS_MAX, PlaceholderValues,
    RULES_MAX, RuleCheck, RuleSet, RuleVerdict,
};
pub use rulebook::{
    Admission, Anonymous, ForwardKey, KeyLookup, Pending, Policy, Rulebook, UserTokens,
};
pub use strip::Stripped;
pub use template::{Filled, InvalidTemplate, Template, TemplateScope};
pub use value::{Attribute, Resource, Value, ValueRef};
