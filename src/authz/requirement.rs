//! What a route asks of a key, family by family, and the judging of a key's grants against it.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::access::{AccessGrant, AccessLevel, ProjectScope};
use super::decision::{Determination, Needed, Reason};
use super::id::Family;
use super::permission::{PermissionSet, RequiredPermission, RequiredScope, ScopeSet};
use super::principal::{Grants, Principal};
use super::record::Tenant;
use super::request::InvalidRequest;
use super::rule::{RuleCheck, RuleSet, RuleVerdict};
use super::template::{Template, TemplateScope};
use super::value::{Attribute, Resource, Value, ValueRef};

/// Why a requirement does not load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRequirement(pub String);

/// What a route requires.
#[derive(Debug, Clone, PartialEq)]
pub enum Requirement {
    /// Nothing: everyone passes, keys are ignored and removed.
    Anonymous,
    /// Any live key.
    Authenticated,
    /// What is stated for the family of the key.
    Families(FamilyRequirements),
}

/// Requirements by family; a family for which nothing is stated is refused.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FamilyRequirements {
    /// For organisation keys.
    pub org: Option<OrgRequirement>,
    /// For workspace keys.
    pub workspace: Option<WorkspaceRequirement>,
    /// For access keys.
    pub access: Option<AccessRequirement>,
}

/// What an organisation key needs: organisation, permissions, scopes, judged in that order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OrgRequirement {
    /// The key's organisation must be this.
    pub org: Option<Template>,
    /// All of these.
    pub permissions: Vec<Template>,
    /// One of these, where not empty.
    pub any_permission: Vec<Template>,
    /// One of these, where not empty.
    pub scopes: Vec<Template>,
    /// Whether a key without any scope is unlimited here.
    pub empty_scopes_allow: bool,
}

/// What a workspace key needs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WorkspaceRequirement {
    /// The key's workspace must be this.
    pub workspace: Option<Template>,
    /// Its rules must allow this.
    pub rule: Option<RuleRequirement>,
}

/// What the rules of a workspace key must allow.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleRequirement {
    /// The action.
    pub action: String,
    /// The subject.
    pub subject: String,
    /// The attributes of the instance that the request states.
    pub resource: Vec<(String, ResourceValue)>,
    /// Whether what is not listed is missing rather than unknown.
    pub complete: bool,
    /// The field asked for.
    pub field: Option<Template>,
    /// CASL's reading of a check without a field.
    pub any_field: bool,
}

/// Where an attribute of a resource comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ResourceValue {
    /// Text filled from the request.
    Template(Template),
    /// Any JSON value, as it is.
    Literal(Value),
}

/// What an access key needs.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessRequirement {
    /// The domain.
    pub domain: Arc<str>,
    /// The level on it.
    pub level: AccessLevel,
    /// Where the request states its project.
    pub project: ProjectRequirement,
}

/// Where a request states its project.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ProjectRequirement {
    /// Nowhere: keys pinned to a project are refused.
    #[default]
    Unstated,
    /// It does not matter here.
    Any,
    /// Here.
    At(Template),
}

/// Why a key's grants do not meet a requirement. Becomes a `Denial`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unmet {
    pub(super) reason: Reason,
    pub(super) determined_by: Determination,
    pub(super) needed: Option<Needed>,
}
