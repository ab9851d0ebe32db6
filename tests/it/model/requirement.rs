//! Section 4: the requirement of a route, its templates, and the judging of grants against it.

use keyward::authz::{
    AccessLevel, Determination, KeyRecord, RawAccess, RawGrants, Reason, Tenant, Value,
};

use super::condition::Placeholders;
use super::grants;
use super::request::{Ambiguous, header_value, query_value};
use super::route::Captures;
use super::rule::{self, Resource};

/// What a route requires.
#[derive(Debug, Clone)]
pub enum Requirement {
    Anonymous,
    Authenticated,
    TrustedIdentity,
    Families(Box<Families>),
}

/// By family; nothing stated for a family refuses it.
#[derive(Debug, Clone, Default)]
pub struct Families {
    pub org: Option<Org>,
    pub workspace: Option<Workspace>,
    pub access: Option<Access>,
}

/// All texts of requirements are templates.
#[derive(Debug, Clone, Default)]
pub struct Org {
    pub org: Option<String>,
    pub permissions: Vec<String>,
    pub any_permission: Vec<String>,
    pub scopes: Vec<String>,
    pub empty_scopes_allow: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Workspace {
    pub workspace: Option<String>,
    pub rule: Option<Rule>,
}

#[derive(Debug, Clone, Default)]
pub struct Rule {
    pub action: String,
    pub subject: String,
    pub resource: Vec<(String, Stated)>,
    pub complete: bool,
    pub field: Option<String>,
    pub any_field: bool,
}

/// How a route states an attribute.
#[derive(Debug, Clone)]
pub enum Stated {
    Template(String),
    Literal(Value),
}

#[derive(Debug, Clone)]
pub struct Access {
    pub domain: String,
    pub level: AccessLevel,
    pub project: Project,
}

/// Where a request states its project.
#[derive(Debug, Clone)]
pub enum Project {
    Unstated,
    Any,
    At(String),
}

/// What templates are filled from. All empty: every template is literal.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub captures: Captures,
    pub host: String,
    pub query: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub trusted_identity: bool,
}

/// The values in a template, which lie at the odd positions: `a{x}b` is `["a", "x", "b"]`.
fn parts(template: &str) -> Vec<&str> {
    template.split(['{', '}']).collect()
}

impl Scope {
    fn value(&self, name: &str) -> Result<Option<String>, Ambiguous> {
        if let Some(name) = name.strip_prefix("query:") {
            return query_value(&self.query, name);
        }
        if let Some(name) = name.strip_prefix("header:") {
            return header_value(&self.headers, name);
        }
        let captured = self.captures.iter().find(|(n, _)| n == name);
        Ok(match captured {
            None if name == "host" => Some(self.host.clone()),
            captured => captured.map(|(_, value)| value.clone()),
        })
    }

    /// The filled text; `None` where a value is absent or not `good`. Ambiguous values have been refused before.
    fn fill(&self, template: &str, good: fn(&str) -> bool) -> Option<String> {
        let mut filled = String::new();
        for (at, part) in parts(template).into_iter().enumerate() {
            if at % 2 == 0 {
                filled.push_str(part);
            } else {
                filled.push_str(&self.value(part).ok()?.filter(|value| good(value))?);
            }
        }
        Some(filled)
    }

    /// Whether a name that the requirement uses is ambiguous in the request (section 1).
    pub fn is_ambiguous(&self, requirement: &Requirement) -> bool {
        let Requirement::Families(families) = requirement else {
            return false;
        };
        let ambiguous = |name: &&str| self.value(name).is_err();
        let used = |template: &String| parts(template).iter().skip(1).step_by(2).any(ambiguous);
        families.templates().iter().any(used)
    }
}

impl Families {
    fn templates(&self) -> Vec<String> {
        let org = self.org.clone().unwrap_or_default();
        let workspace = self.workspace.clone().unwrap_or_default();
        let rule = workspace.rule.unwrap_or_default();
        let mut all = [org.permissions, org.any_permission, org.scopes].concat();
        all.extend(
            [org.org, workspace.workspace, rule.field]
                .into_iter()
                .flatten(),
        );
        for (_, stated) in rule.resource {
            if let Stated::Template(template) = stated {
                all.push(template);
            }
        }
        if let Some(Access {
            project: Project::At(template),
            ..
        }) = &self.access
        {
            all.push(template.clone());
        }
        all
    }
}

/// What grants come to: what determined it, and the reason of a refusal.
pub type Judgement = Result<Determination, (Reason, Determination)>;

/// Judges a live key.
pub fn judge(record: &KeyRecord, requirement: &Requirement, scope: &Scope) -> Judgement {
    let families = match requirement {
        Requirement::Anonymous | Requirement::Authenticated => return Ok(Determination::Nothing),
        Requirement::TrustedIdentity if scope.trusted_identity => {
            return Ok(Determination::Nothing);
        }
        Requirement::TrustedIdentity => {
            return Err((Reason::FamilyNotAccepted, Determination::Nothing));
        }
        Requirement::Families(families) => families,
    };
    let mismatch = |reason| Err((reason, Determination::Nothing));
    let belongs = |template: &Option<String>, to: &str| {
        template
            .as_ref()
            .is_none_or(|it| scope.fill(it, |_| true).is_some_and(|it| it == to))
    };
    if let (Tenant::Org(slug), Some(org)) = (&record.tenant, &families.org)
        && !belongs(&org.org, slug)
    {
        return mismatch(Reason::OrgMismatch);
    }
    let mut placeholders = Placeholders::default();
    if let (Tenant::Workspace(id), Some(workspace)) = (&record.tenant, &families.workspace) {
        if !belongs(&workspace.workspace, id) {
            return mismatch(Reason::WorkspaceMismatch);
        }
        let user = record.owner.as_ref().filter(|owner| owner.kind == "user");
        placeholders.user_id = user.map(|owner| owner.id.clone());
        placeholders.subject_id = Some(id.clone());
    }
    judge_grants(&record.grants, families, scope, &placeholders)
}

/// Judges grants alone, as `keyward decide` does.
pub fn judge_grants(
    grants: &RawGrants,
    families: &Families,
    scope: &Scope,
    placeholders: &Placeholders,
) -> Judgement {
    match (grants, families) {
        (
            RawGrants::Org {
                permissions,
                scopes,
            },
            Families { org: Some(org), .. },
        ) => org_grants(permissions, scopes, org, scope),
        (
            RawGrants::Workspace { rules },
            Families {
                workspace: Some(workspace),
                ..
            },
        ) => match &workspace.rule {
            None => Ok(Determination::Nothing),
            Some(wanted) => workspace_rules(rules, wanted, scope, placeholders),
        },
        (
            RawGrants::Access(held),
            Families {
                access: Some(access),
                ..
            },
        ) => access_map(held, access, scope),
        _ => Err((Reason::FamilyNotAccepted, Determination::Nothing)),
    }
}

fn org_grants(permissions: &[String], scopes: &[String], org: &Org, scope: &Scope) -> Judgement {
    let granting = |template: &String| {
        let required = scope.fill(template, grants::is_permission_value)?;
        grants::first(permissions, &required, grants::permission_covers)
    };
    let covering = |template: &String| {
        let required = scope.fill(template, grants::is_scope_text)?;
        grants::first(scopes, &required, grants::scope_covers)
    };
    let mut found = Vec::new();
    let by = |permissions: &[u16], scope| Determination::Grants {
        permissions: permissions.into(),
        scope,
    };
    for template in &org.permissions {
        match granting(template) {
            Some(index) => found.push(index),
            None => return Err((Reason::MissingPermission, by(&found, None))),
        }
    }
    if !org.any_permission.is_empty() {
        match org.any_permission.iter().find_map(granting) {
            Some(index) => found.push(index),
            None => return Err((Reason::MissingPermission, by(&found, None))),
        }
    }
    if org.scopes.is_empty() || scopes.is_empty() && org.empty_scopes_allow {
        return Ok(by(&found, None));
    }
    match org.scopes.iter().find_map(covering) {
        Some(index) => Ok(by(&found, Some(index))),
        None => Err((Reason::OutOfScope, by(&found, None))),
    }
}

fn workspace_rules(
    rules: &[keyward::authz::RawRule],
    wanted: &Rule,
    scope: &Scope,
    placeholders: &Placeholders,
) -> Judgement {
    let attribute = |(name, stated): &(String, Stated)| {
        let value = match stated {
            Stated::Literal(value) => Some(value.clone()),
            Stated::Template(template) => scope
                .fill(template, |_| true)
                .map(|text| Value::String(text.into())),
        };
        (name.clone(), value)
    };
    let field = match &wanted.field {
        None => None,
        Some(template) => match scope.fill(template, |_| true) {
            // The field that is asked for cannot be told: no rule is about it.
            None => return Err((Reason::NoMatchingRule, Determination::Rule(None))),
            named => named,
        },
    };
    let check = rule::Check {
        action: wanted.action.clone(),
        subject: wanted.subject.clone(),
        resource: Resource {
            attributes: wanted.resource.iter().map(attribute).collect(),
            complete: wanted.complete,
        },
        field,
        any_field: wanted.any_field,
    };
    let (allowed, index) = rule::judge(rules, &check, placeholders);
    let by = Determination::Rule(index);
    match index {
        _ if allowed => Ok(by),
        Some(_) => Err((Reason::RuleDenied, by)),
        None => Err((Reason::NoMatchingRule, by)),
    }
}

fn access_map(held: &RawAccess, wanted: &Access, scope: &Scope) -> Judgement {
    let level = grants::held(held, &wanted.domain);
    let by = Determination::Access {
        domain: wanted.domain.as_str().into(),
        level,
    };
    if level < wanted.level {
        return Err((Reason::InsufficientAccess, by));
    }
    match (&held.project, &wanted.project) {
        (None, _) | (_, Project::Any) => Ok(by),
        (Some(_), Project::Unstated) => Err((Reason::ProjectUnknown, by)),
        (Some(pinned), Project::At(template)) => match scope.fill(template, |_| true) {
            Some(stated) if stated == *pinned => Ok(by),
            _ => Err((Reason::ProjectMismatch, by)),
        },
    }
}
