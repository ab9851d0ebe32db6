//! Whom a key speaks for: a key record with its grants compiled.

use super::access::AccessGrant;
use super::id::{Family, KeyId, Revision, Timestamp};
use super::permission::{PermissionSet, ScopeSet};
use super::record::{KeyRecord, KeyStatus, Owner, RawGrants, Tenant};
use super::rule::{PlaceholderValues, RuleSet};

/// Compiled grants, by family.
#[derive(Debug, Clone)]
pub enum Grants {
    /// Family `org`.
    Org {
        /// What it may do.
        permissions: PermissionSet,
        /// To which resources.
        scopes: ScopeSet,
    },
    /// Family `workspace`.
    Workspace(RuleSet),
    /// Family `access`.
    Access(AccessGrant),
}

impl Grants {
    /// Compiles grants as written. Total: what cannot be read grants nothing.
    pub fn compile(written: &RawGrants, placeholders: PlaceholderValues<'_>) -> Self {
        match written {
            RawGrants::Org {
                permissions,
                scopes,
            } => Self::Org {
                permissions: PermissionSet::compile(permissions),
                scopes: ScopeSet::compile(scopes),
            },
            RawGrants::Workspace { rules } => {
                Self::Workspace(RuleSet::compile(rules, placeholders))
            }
            RawGrants::Access(access) => Self::Access(AccessGrant::compile(access)),
        }
    }
}

/// A key, compiled once per revision of its record and shared by all requests that show it.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Its public name.
    pub id: KeyId,
    /// Whose key it is.
    pub tenant: Tenant,
    /// Whom it was made for.
    pub owner: Option<Owner>,
    /// Stored status.
    pub status: KeyStatus,
    /// Expired from this moment on.
    pub expires_at: Option<Timestamp>,
    /// The version of the record that this was compiled from.
    pub revision: Revision,
    /// What it may do.
    pub grants: Grants,
}

/// Two principals are the same when they were compiled from the same version of the same record.
impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.revision == other.revision
    }
}

impl Principal {
    /// Compiles a record.
    pub fn compile(record: &KeyRecord) -> Self {
        let user_id = record
            .owner
            .as_ref()
            .filter(|owner| owner.kind == "user")
            .map(|owner| owner.id.as_str());
        let subject_id = match &record.tenant {
            Tenant::Workspace(id) => Some(id.as_str()),
            Tenant::Org(_) | Tenant::Access => None,
        };
        let placeholders = PlaceholderValues {
            user_id,
            session_id: None,
            subject_id,
        };
        Self {
            id: record.id.clone(),
            tenant: record.tenant.clone(),
            owner: record.owner.clone(),
            status: record.status,
            expires_at: record.expires_at,
            revision: record.revision,
            grants: Grants::compile(&record.grants, placeholders),
        }
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.tenant.family()
    }
}
