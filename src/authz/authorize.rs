//! Grants against one check, without any route: what `keyward decide`, the model and the fuzzers drive.

use super::access::{AccessGrant, InvalidAccess};
use super::decision::{Determination, Reason};
use super::judge::judge;
use super::permission::{InvalidPermission, InvalidScope, PermissionSet, ScopeSet};
use super::principal::Grants;
use super::record::RawGrants;
use super::requirement::FamilyRequirements;
use super::route::Captures;
use super::rule::{InvalidRule, PlaceholderValues, RuleSet};
use super::template::TemplateScope;

/// A check whose templates are all literal.
#[derive(Debug, Clone, PartialEq)]
pub struct Check(pub FamilyRequirements);

/// Why grants are refused on write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrants {
    /// In a permission.
    #[error(transparent)]
    Permission(#[from] InvalidPermission),
    /// In a scope.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// In a rule.
    #[error(transparent)]
    Rule(#[from] InvalidRule),
    /// In an access map.
    #[error(transparent)]
    Access(#[from] InvalidAccess),
}

/// What a check comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckOutcome {
    /// `None`: allowed.
    pub reason: Option<Reason>,
    /// What determined it.
    pub determined_by: Determination,
}

/// Checks grants on write, all families alike.
///
/// # Errors
/// The first fault, with its place.
pub fn validate_grants(grants: &RawGrants) -> Result<(), InvalidGrants> {
    match grants {
        RawGrants::Org {
            permissions,
            scopes,
        } => {
            PermissionSet::validate(permissions)?;
            ScopeSet::validate(scopes)?;
        }
        RawGrants::Workspace { rules } => RuleSet::validate(rules)?,
        RawGrants::Access(access) => AccessGrant::validate(access)?,
    }
    Ok(())
}

/// Judges grants against a check by the very code that judges requests.
pub fn evaluate(grants: &RawGrants, check: &Check) -> CheckOutcome {
    let compiled = Grants::compile(grants, PlaceholderValues::default());
    let captures = Captures::default();
    let scope = TemplateScope {
        facts: None,
        captures: &captures,
    };
    match judge(&check.0, None, &compiled, scope) {
        Ok(determined_by) => CheckOutcome {
            reason: None,
            determined_by,
        },
        Err(unmet) => CheckOutcome {
            reason: Some(unmet.reason),
            determined_by: unmet.determined_by,
        },
    }
}
