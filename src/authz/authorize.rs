//! Grants against one check, without any route: what `keyward decide`, the model and the fuzzers drive.

use super::decision::{Determination, Reason};
use super::record::RawGrants;
use super::requirement::FamilyRequirements;
use super::{
    access::InvalidAccess,
    permission::{InvalidPermission, InvalidScope},
    rule::InvalidRule,
};

/// A check with literal values only.
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
    let _ = grants;
    unimplemented!()
}

/// Judges grants against a check by the very code that judges requests.
pub fn evaluate(grants: &RawGrants, check: &Check) -> CheckOutcome {
    let _ = (grants, check);
    unimplemented!()
}
