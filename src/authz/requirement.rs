//! What a route asks of a key, family by family.
//!
//! These are the compiled statements of the configuration; `judge` holds a key's grants against them.

use std::sync::Arc;

use super::access::AccessLevel;
use super::id::Family;
use super::permission::{RequiredPermission, RequiredScope};
use super::request::RequestFacts;
use super::template::Template;
use super::value::Value;

/// Why a requirement does not load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRequirement(pub String);

/// What a route requires.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one a route, and it stays where it was made"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum Requirement {
    /// Nothing: everyone passes, keys are ignored and removed.
    Anonymous,
    /// Any live key.
    Authenticated,
    /// An identity that a trusted peer names; a key beside it must be live.
    TrustedIdentity,
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

impl FamilyRequirements {
    /// The families for which something is stated.
    pub fn families(&self) -> Vec<Family> {
        [
            (self.access.is_some(), Family::Access),
            (self.org.is_some(), Family::Org),
            (self.workspace.is_some(), Family::Workspace),
        ]
        .into_iter()
        .filter_map(|(stated, family)| stated.then_some(family))
        .collect()
    }

    /// Every template that it is made of.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let org = self.org.iter().flat_map(|org| {
            let lists = [&org.permissions, &org.any_permission, &org.scopes];
            org.org.iter().chain(lists.into_iter().flatten())
        });
        let workspace = self.workspace.iter().flat_map(|workspace| {
            let rule = workspace.rule.iter().flat_map(RuleRequirement::templates);
            workspace.workspace.iter().chain(rule)
        });
        let access = self
            .access
            .iter()
            .filter_map(|access| match &access.project {
                ProjectRequirement::At(template) => Some(template),
                ProjectRequirement::Unstated | ProjectRequirement::Any => None,
            });
        org.chain(workspace).chain(access)
    }
}

impl OrgRequirement {
    /// Checks that every permission and scope could be met: with any value in its places it is concrete.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check_concrete(&self) -> Result<(), InvalidRequirement> {
        for template in self.permissions.iter().chain(&self.any_permission) {
            if RequiredPermission::parse(&template.with_every_value("x")).is_none() {
                return Err(InvalidRequirement(format!(
                    "`{}` is no concrete permission: it needs two to eight segments of letters, digits, `_`, `.`, `-`, joined by `:`",
                    template.as_written()
                )));
            }
        }
        for template in &self.scopes {
            if RequiredScope::parse(&template.with_every_value("x")).is_none() {
                return Err(InvalidRequirement(format!(
                    "`{}` is no concrete scope: it needs the form `type:id` without `*`",
                    template.as_written()
                )));
            }
        }
        Ok(())
    }
}

impl RuleRequirement {
    fn templates(&self) -> impl Iterator<Item = &Template> {
        let resource = self.resource.iter().filter_map(|(_, value)| match value {
            ResourceValue::Template(template) => Some(template),
            ResourceValue::Literal(_) => None,
        });
        resource.chain(&self.field)
    }
}

impl Requirement {
    /// Whether it uses query names or headers, of which a request may hold more than one.
    pub(super) fn may_be_ambiguous(&self) -> bool {
        match self {
            Self::Anonymous | Self::Authenticated | Self::TrustedIdentity => false,
            Self::Families(families) => families.templates().any(Template::may_be_ambiguous),
        }
    }

    /// Whether a query name or header that it uses is ambiguous in this request.
    pub fn is_ambiguous(&self, facts: &RequestFacts<'_>) -> bool {
        match self {
            Self::Anonymous | Self::Authenticated | Self::TrustedIdentity => false,
            Self::Families(families) => families
                .templates()
                .any(|template| template.is_ambiguous(facts)),
        }
    }
}
