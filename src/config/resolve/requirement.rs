//! Requirements: texts to templates, families to what is judged; what could never be met or would be met by too many
//! does not load.

use super::super::mistake::Mistake;
use super::super::node::Spot;
use super::super::raw::{self, EmptyScopes, Families, Level, Require, RequireWord};
use crate::authz::{
    AccessLevel, AccessRequirement, FamilyRequirements, OrgRequirement, ProjectRequirement,
    Requirement, ResourceValue, RuleRequirement, Template, WorkspaceRequirement,
};
use crate::wire::value::to_authz;

/// The capture that names a workspace on the platform.
const WORKSPACE_CAPTURE: &str = "workspaceId";

/// The value of `access.project` that says that projects do not matter.
const ANY_PROJECT: &str = "any";

/// Resolves what a route requires; `captures` are the names that its path binds, in order. What is wrong is pushed to
/// `faults`; the requirement is then not to be used.
pub(super) fn requirement(
    raw: &Require,
    captures: &[&str],
    at: &Spot<'_>,
    faults: &mut Vec<Mistake>,
) -> Requirement {
    match raw {
        Require::Word(RequireWord::Anonymous) => Requirement::Anonymous,
        Require::Word(RequireWord::Authenticated) => Requirement::Authenticated,
        // For no family is anything stated, so each is refused.
        Require::Word(RequireWord::Nobody) => Requirement::Families(FamilyRequirements::default()),
        Require::Word(RequireWord::TrustedIdentity) => Requirement::TrustedIdentity,
        Require::Families(families) => {
            let mut reader = Reader { captures, faults };
            Requirement::Families(reader.families(families, at))
        }
    }
}

struct Reader<'a> {
    captures: &'a [&'a str],
    faults: &'a mut Vec<Mistake>,
}

impl Reader<'_> {
    fn families(&mut self, raw: &Families, at: &Spot<'_>) -> FamilyRequirements {
        let families = FamilyRequirements {
            org: self.org(raw, at),
            workspace: self.workspace(raw, at),
            access: raw
                .access
                .as_ref()
                .map(|access| self.access(access, &at.key("access"))),
        };
        if families == FamilyRequirements::default() {
            self.report(
                at,
                "states nothing, so every key would be refused; state what a family of keys needs, or write `authenticated`, `anonymous` or, where that is meant, `nobody`",
            );
        }
        families
    }

    fn org(&mut self, raw: &Families, at: &Spot<'_>) -> Option<OrgRequirement> {
        let empty_scopes_allow = raw.empty_scopes == EmptyScopes::Allow;
        if empty_scopes_allow && raw.scopes.is_empty() {
            self.report(&at.key("empty_scopes"), "has no meaning without `scopes`");
        }
        let requirement = OrgRequirement {
            org: self.optional(raw.org.as_deref(), &at.key("org")),
            permissions: self.list(&raw.permissions, &at.key("permissions"), as_permission),
            any_permission: self.list(
                &raw.any_permission,
                &at.key("any_permission"),
                as_permission,
            ),
            scopes: self.list(&raw.scopes, &at.key("scopes"), as_scope),
            empty_scopes_allow,
        };
        let stated = raw.org.is_some()
            || [&raw.permissions, &raw.any_permission, &raw.scopes]
                .into_iter()
                .any(|list| !list.is_empty());
        stated.then_some(requirement)
    }

    /// Templates of a list, each of which could be met.
    fn list(
        &mut self,
        raw: &[String],
        at: &Spot<'_>,
        alone: fn(Template) -> OrgRequirement,
    ) -> Vec<Template> {
        let mut templates: Vec<Template> = Vec::new();
        for (index, text) in raw.iter().enumerate() {
            let at = at.index(index);
            let Some(template) = self.template(text, &at) else {
                continue;
            };
            if let Err(error) = alone(template.clone()).check_concrete() {
                self.report(&at, error.to_string());
            }
            if templates.contains(&template) {
                self.report(&at, "is in the list twice");
            }
            templates.push(template);
        }
        templates
    }

    fn workspace(&mut self, raw: &Families, at: &Spot<'_>) -> Option<WorkspaceRequirement> {
        if raw.workspace.is_none() && raw.rule.is_none() {
            return None;
        }
        if raw.workspace.is_none() && self.captures.contains(&WORKSPACE_CAPTURE) {
            self.report(
                &at.key("rule"),
                format!(
                    "needs `workspace` beside it, or the rules of every workspace's keys would open this one: write workspace: \"{{{WORKSPACE_CAPTURE}}}\""
                ),
            );
        }
        Some(WorkspaceRequirement {
            workspace: self.optional(raw.workspace.as_deref(), &at.key("workspace")),
            rule: raw
                .rule
                .as_ref()
                .and_then(|rule| self.rule(rule, &at.key("rule"))),
        })
    }

    fn rule(&mut self, raw: &raw::Rule, at: &Spot<'_>) -> Option<RuleRequirement> {
        let resource = raw.resource.iter().filter_map(|(name, value)| {
            let value = match value.as_str() {
                Some(text) => {
                    let at = at.key("resource").key(name);
                    ResourceValue::Template(self.template(text, &at)?)
                }
                None => ResourceValue::Literal(to_authz(value)),
            };
            Some((name.clone(), value))
        });
        let resource = resource.collect();
        let field = self.optional(raw.field.as_deref(), &at.key("field"));
        if raw.any_field && raw.field.is_some() {
            self.report(&at.key("any_field"), "has no meaning beside `field`");
        }
        Some(RuleRequirement {
            action: self.name(raw.action.as_deref()?, &at.key("action")),
            subject: self.name(raw.subject.as_deref()?, &at.key("subject")),
            resource,
            complete: raw.complete,
            field,
            any_field: raw.any_field,
        })
    }

    fn access(&mut self, raw: &raw::Access, at: &Spot<'_>) -> AccessRequirement {
        let project = match raw.project.as_deref() {
            None => ProjectRequirement::Unstated,
            Some(ANY_PROJECT) => ProjectRequirement::Any,
            text @ Some(_) => match self.optional(text, &at.key("project")) {
                Some(template) => ProjectRequirement::At(template),
                None => ProjectRequirement::Unstated,
            },
        };
        let domain = raw.domain.as_deref().unwrap_or_default();
        if raw.domain.is_some() {
            self.name(domain, &at.key("domain"));
        }
        AccessRequirement {
            domain: domain.into(),
            level: match raw.level {
                Some(Level::Read) => AccessLevel::Read,
                Some(Level::Write) | None => AccessLevel::Write,
            },
            project,
        }
    }

    /// A word that is compared as it is; braces in it would mean that a template was meant.
    fn name(&mut self, text: &str, at: &Spot<'_>) -> String {
        if text.is_empty() {
            self.report(at, "must not be empty");
        } else if text.contains(['{', '}']) {
            self.report(at, "is compared as it is: no `{…}` here");
        }
        text.to_owned()
    }

    fn optional(&mut self, text: Option<&str>, at: &Spot<'_>) -> Option<Template> {
        self.template(text?, at)
    }

    fn template(&mut self, text: &str, at: &Spot<'_>) -> Option<Template> {
        if text.is_empty() {
            self.report(at, "must not be empty");
            return None;
        }
        match Template::parse(text, self.captures) {
            Ok(template) => Some(template),
            Err(error) => {
                self.report(at, error.to_string());
                None
            }
        }
    }

    fn report(&mut self, at: &Spot<'_>, message: impl Into<String>) {
        self.faults.push(at.mistake(message));
    }
}

fn as_permission(template: Template) -> OrgRequirement {
    OrgRequirement {
        permissions: vec![template],
        ..OrgRequirement::default()
    }
}

fn as_scope(template: Template) -> OrgRequirement {
    OrgRequirement {
        scopes: vec![template],
        ..OrgRequirement::default()
    }
}
