//! What a key may do to other keys of its organisation: nothing that gives anyone more than it has itself.
//!
//! Pure. It knows no store and no request, only two keys.

use crate::authz::{Grants, PermissionSet, Principal, RawGrants, ScopeSet, Timestamp};

/// How far a key may delegate: what it holds itself, as long as it holds it.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'a> {
    permissions: &'a PermissionSet,
    scopes: &'a ScopeSet,
    expires_at: Option<Timestamp>,
}

/// In what a key would go beyond the one that makes or changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// In its permissions.
    #[error("it has permissions that your key does not cover")]
    Permissions,
    /// In its scopes.
    #[error("it has scopes that your key does not cover")]
    Scopes,
    /// It has no scopes and so would be limited by none, where the other is.
    #[error("it has no scopes, but your key is limited by scopes")]
    NoScopes,
    /// It would live longer.
    #[error("it expires later than your key")]
    Expiry,
    /// It is of another family.
    #[error("it is a key of another family")]
    Family,
}

impl<'a> Authority<'a> {
    /// The authority of a key; `None` for a family that manages no keys.
    pub fn of(principal: &'a Principal) -> Option<Self> {
        match &principal.grants {
            Grants::Org {
                permissions,
                scopes,
            } => Some(Self {
                permissions,
                scopes,
                expires_at: principal.expires_at,
            }),
            Grants::Workspace(_) | Grants::Access(_) => None,
        }
    }

    /// Whether it covers grants.
    ///
    /// # Errors
    /// In what they exceed it.
    pub fn covers(&self, grants: &RawGrants) -> Result<(), Excess> {
        let RawGrants::Org {
            permissions,
            scopes,
        } = grants
        else {
            return Err(Excess::Family);
        };
        if !self
            .permissions
            .covers_all_of(&PermissionSet::compile(permissions))
        {
            return Err(Excess::Permissions);
        }
        let scopes = ScopeSet::compile(scopes);
        if scopes.is_empty() && !self.scopes.is_empty() {
            return Err(Excess::NoScopes);
        }
        if !self.scopes.covers_all_of(&scopes) {
            return Err(Excess::Scopes);
        }
        Ok(())
    }

    /// Whether it covers a whole key: grants, for no longer than it lives itself.
    ///
    /// # Errors
    /// In what the key exceeds it.
    pub fn covers_key(
        &self,
        grants: &RawGrants,
        expires_at: Option<Timestamp>,
    ) -> Result<(), Excess> {
        self.covers(grants)?;
        match (self.expires_at, expires_at) {
            (None, _) => Ok(()),
            (Some(mine), Some(theirs)) if theirs <= mine => Ok(()),
            (Some(_), Some(_) | None) => Err(Excess::Expiry),
        }
    }
}
