//! A key's grants against a route's requirement, family by family, in the order of the norm.

use std::sync::Arc;

use smallvec::SmallVec;

use super::access::{AccessGrant, ProjectScope};
use super::decision::{Determination, Needed, Reason};
use super::permission::{PermissionSet, RequiredPermission, RequiredScope, ScopeSet};
use super::principal::Grants;
use super::record::Tenant;
use super::requirement::{
    AccessRequirement, FamilyRequirements, OrgRequirement, ProjectRequirement, ResourceValue,
    RuleRequirement, WorkspaceRequirement,
};
use super::rule::{RuleCheck, RuleSet, RuleVerdict};
use super::template::{Filled, Template, TemplateScope};
use super::value::{Attribute, Resource, ValueRef};

/// Why grants do not meet a requirement.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unmet {
    pub(super) reason: Reason,
    pub(super) determined_by: Determination,
    pub(super) needed: Needed,
}

impl Unmet {
    fn new(reason: Reason, determined_by: Determination, needed: Needed) -> Self {
        Self {
            reason,
            determined_by,
            needed,
        }
    }
}

/// Judges compiled grants. `tenant` is the key's own; `None` in `keyward decide`, where none is asked for.
pub(super) fn judge(
    required: &FamilyRequirements,
    tenant: Option<&Tenant>,
    grants: &Grants,
    scope: TemplateScope<'_, '_>,
) -> Result<Determination, Unmet> {
    match (grants, &required.org, &required.workspace, &required.access) {
        (
            Grants::Org {
                permissions,
                scopes,
            },
            Some(org),
            _,
            _,
        ) => judge_org(org, tenant, permissions, scopes, scope),
        (Grants::Workspace(rules), _, Some(workspace), _) => {
            judge_workspace(workspace, tenant, rules, scope)
        }
        (Grants::Access(grant), _, _, Some(access)) => judge_access(access, grant, scope),
        (Grants::Org { .. }, None, _, _)
        | (Grants::Workspace(_), _, None, _)
        | (Grants::Access(_), _, _, None) => Err(Unmet::new(
            Reason::FamilyNotAccepted,
            Determination::Nothing,
            Needed::Family(required.families()),
        )),
    }
}

/// Any live key passes beside an identity that a trusted peer names, and none without.
pub(super) fn judge_identity(scope: TemplateScope<'_, '_>) -> Result<Determination, Unmet> {
    if scope.facts.is_some_and(|facts| facts.trusted_identity) {
        return Ok(Determination::Nothing);
    }
    Err(Unmet::new(
        Reason::FamilyNotAccepted,
        Determination::Nothing,
        Needed::TrustedIdentity,
    ))
}

fn judge_org(
    required: &OrgRequirement,
    tenant: Option<&Tenant>,
    permissions: &PermissionSet,
    scopes: &ScopeSet,
    scope: TemplateScope<'_, '_>,
) -> Result<Determination, Unmet> {
    let held = match tenant {
        Some(Tenant::Org(slug)) => Some(slug.as_str()),
        Some(Tenant::Workspace(_) | Tenant::Access) | None => None,
    };
    if let Some(org) = &required.org
        && !is_filled_with(org, scope, held)
    {
        let needed = Needed::Org(shown(org, scope));
        return Err(Unmet::new(
            Reason::OrgMismatch,
            Determination::Nothing,
            needed,
        ));
    }
    let mut covering = SmallVec::new();
    judge_permissions(required, permissions, scope, &mut covering)?;
    match covering_scope(required, scopes, scope) {
        Ok(index) => Ok(Determination::Grants {
            permissions: covering,
            scope: index,
        }),
        Err(needed) => {
            let found = Determination::Grants {
                permissions: covering,
                scope: None,
            };
            Err(Unmet::new(Reason::OutOfScope, found, needed))
        }
    }
}

/// All of `permissions`, then one of `any_permission`; pushes the index of each grant that covered.
fn judge_permissions(
    required: &OrgRequirement,
    held: &PermissionSet,
    scope: TemplateScope<'_, '_>,
    covering: &mut SmallVec<[u16; 4]>,
) -> Result<(), Unmet> {
    let cover = |template: &Template| {
        let filled = template.fill(scope, is_permission_segment)?;
        held.covers(RequiredPermission::parse(filled.as_str())?)
    };
    let missing = |covering: &SmallVec<[u16; 4]>, needed| {
        let found = Determination::Grants {
            permissions: covering.clone(),
            scope: None,
        };
        Unmet::new(Reason::MissingPermission, found, needed)
    };
    for template in &required.permissions {
        let index = cover(template)
            .ok_or_else(|| missing(covering, Needed::Permission(shown(template, scope))))?;
        covering.push(index);
    }
    if !required.any_permission.is_empty() {
        let index = required
            .any_permission
            .iter()
            .find_map(cover)
            .ok_or_else(|| {
                let all = required
                    .any_permission
                    .iter()
                    .map(|template| shown(template, scope));
                missing(covering, Needed::AnyPermission(all.collect()))
            })?;
        covering.push(index);
    }
    Ok(())
}

/// The granted scope that covers one of the required ones; `Ok(None)` where none is needed.
fn covering_scope(
    required: &OrgRequirement,
    held: &ScopeSet,
    scope: TemplateScope<'_, '_>,
) -> Result<Option<u16>, Needed> {
    if required.scopes.is_empty() || (required.empty_scopes_allow && held.is_empty()) {
        return Ok(None);
    }
    let cover = |template: &Template| {
        let filled = template.fill(scope, is_scope_value)?;
        held.covers(RequiredScope::parse(filled.as_str())?)
    };
    required
        .scopes
        .iter()
        .find_map(cover)
        .map(Some)
        .ok_or_else(|| {
            Needed::Scope(
                required
                    .scopes
                    .iter()
                    .map(|template| shown(template, scope))
                    .collect(),
            )
        })
}

fn judge_workspace(
    required: &WorkspaceRequirement,
    tenant: Option<&Tenant>,
    rules: &RuleSet,
    scope: TemplateScope<'_, '_>,
) -> Result<Determination, Unmet> {
    let held = match tenant {
        Some(Tenant::Workspace(id)) => Some(id.as_str()),
        Some(Tenant::Org(_) | Tenant::Access) | None => None,
    };
    if let Some(workspace) = &required.workspace
        && !is_filled_with(workspace, scope, held)
    {
        let needed = Needed::Workspace(shown(workspace, scope));
        return Err(Unmet::new(
            Reason::WorkspaceMismatch,
            Determination::Nothing,
            needed,
        ));
    }
    match &required.rule {
        Some(rule) => judge_rule(rule, rules, scope),
        None => Ok(Determination::Nothing),
    }
}

fn judge_rule(
    required: &RuleRequirement,
    rules: &RuleSet,
    scope: TemplateScope<'_, '_>,
) -> Result<Determination, Unmet> {
    let needed = || Needed::Rule {
        action: required.action.clone(),
        subject: required.subject.clone(),
    };
    // Filled where they are: collected, a kilobyte would be moved.
    let mut filled = SmallVec::<[Option<Filled<'_>>; 8]>::new();
    filled.extend(required.resource.iter().map(|(_, value)| match value {
        ResourceValue::Template(template) => template.fill(scope, is_any_value),
        ResourceValue::Literal(_) => None,
    }));
    let mut attributes = SmallVec::<[(&str, Attribute<'_>); 8]>::new();
    let stated = required.resource.iter().zip(&filled);
    attributes.extend(
        stated.map(|((name, value), text)| (name.as_str(), attribute(value, text.as_ref()))),
    );
    let resource = Resource {
        attributes: &attributes,
        complete: required.complete,
    };
    let field = match &required.field {
        None => None,
        // A field that the request does not state cannot be judged as the whole: no rule is consulted.
        Some(template) => Some(template.fill(scope, is_any_value).ok_or_else(|| {
            Unmet::new(Reason::NoMatchingRule, Determination::Rule(None), needed())
        })?),
    };
    let verdict = rules.judge(&RuleCheck {
        action: &required.action,
        subject: &required.subject,
        resource: &resource,
        field: field.as_ref().map(Filled::as_str),
        any_field: required.any_field,
    });
    match verdict {
        RuleVerdict::Allowed(index) => Ok(Determination::Rule(Some(index))),
        RuleVerdict::Denied(index) => Err(Unmet::new(
            Reason::RuleDenied,
            Determination::Rule(Some(index)),
            needed(),
        )),
        RuleVerdict::NoMatch => Err(Unmet::new(
            Reason::NoMatchingRule,
            Determination::Rule(None),
            needed(),
        )),
    }
}

/// What the request states of one attribute; `text` is its filled template.
fn attribute<'a>(value: &'a ResourceValue, text: Option<&'a Filled<'_>>) -> Attribute<'a> {
    match (value, text) {
        (ResourceValue::Literal(value), _) => Attribute::Known(value.as_ref()),
        (ResourceValue::Template(_), Some(text)) => {
            Attribute::Known(ValueRef::String(text.as_str()))
        }
        (ResourceValue::Template(_), None) => Attribute::Unknown,
    }
}

fn judge_access(
    required: &AccessRequirement,
    grant: &AccessGrant,
    scope: TemplateScope<'_, '_>,
) -> Result<Determination, Unmet> {
    let level = grant.level(&required.domain);
    let determined_by = Determination::Access {
        domain: Arc::clone(&required.domain),
        level,
    };
    if level < required.level {
        let needed = Needed::Access {
            domain: required.domain.to_string(),
            level: required.level,
        };
        return Err(Unmet::new(
            Reason::InsufficientAccess,
            determined_by,
            needed,
        ));
    }
    match (grant.project(), &required.project) {
        (ProjectScope::All, _) | (ProjectScope::Single(_), ProjectRequirement::Any) => {
            Ok(determined_by)
        }
        (ProjectScope::Single(_), ProjectRequirement::Unstated) => Err(Unmet::new(
            Reason::ProjectUnknown,
            determined_by,
            Needed::AllProjects,
        )),
        (ProjectScope::Single(pinned), ProjectRequirement::At(template)) => {
            if is_filled_with(template, scope, Some(pinned)) {
                return Ok(determined_by);
            }
            let needed = Needed::Project(shown(template, scope));
            Err(Unmet::new(Reason::ProjectMismatch, determined_by, needed))
        }
    }
}

/// Whether the template fills to exactly `held`; an absent value equals nothing.
fn is_filled_with(template: &Template, scope: TemplateScope<'_, '_>, held: Option<&str>) -> bool {
    let filled = template.fill(scope, is_any_value);
    matches!((filled, held), (Some(filled), Some(held)) if filled.as_str() == held)
}

/// For people: the filled text, or the template where it cannot be filled.
fn shown(template: &Template, scope: TemplateScope<'_, '_>) -> String {
    match template.fill(scope, is_any_value) {
        Some(filled) => filled.as_str().to_owned(),
        None => template.as_written().to_owned(),
    }
}

fn is_any_value(_: &str) -> bool {
    true
}

/// A value inside a required permission is one segment of the grammar, so that it cannot add segments.
fn is_permission_segment(value: &str) -> bool {
    !value.is_empty()
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// A value inside a required scope may hold `:` but nothing that a grant could read as a wildcard.
fn is_scope_value(value: &str) -> bool {
    !value.chars().any(|c| c == '*' || c.is_control())
}
