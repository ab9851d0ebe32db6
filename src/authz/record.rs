//! The stored facts of a key, as they come from the control plane: not yet compiled, not yet judged.

use super::id::{Family, KeyId, Revision, Timestamp};
use super::value::Value;

/// Everything stored about one key except its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyRecord {
    /// Its public name.
    pub id: KeyId,
    /// The organisation, workspace or project space that it belongs to; says the family too.
    pub tenant: Tenant,
    /// What people call it.
    pub name: String,
    /// Whom it was made for.
    pub owner: Option<Owner>,
    /// Whether it may be used at all.
    pub status: KeyStatus,
    /// The moment from which on it is expired (`now >= expires_at`); `None`: never.
    pub expires_at: Option<Timestamp>,
    /// What it may do, as written.
    pub grants: RawGrants,
    /// The change that made this version of the record.
    pub revision: Revision,
}

impl KeyRecord {
    /// The family, which the tenant decides.
    pub fn family(&self) -> Family {
        self.tenant.family()
    }
}

/// Whose key it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Tenant {
    /// An organisation, by slug.
    Org(String),
    /// A workspace, by id.
    Workspace(String),
    /// An orq.ai workspace: the installation has one.
    Access,
}

impl Tenant {
    /// The family of its keys.
    pub fn family(&self) -> Family {
        match self {
            Self::Org(_) => Family::Org,
            Self::Workspace(_) => Family::Workspace,
            Self::Access => Family::Access,
        }
    }
}

/// The person or thing that a key was made for. Informational.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// For example `agent`, `user`, `service_account`.
    pub kind: String,
    /// Identifier within the kind; empty where the kind has no identifiers.
    pub id: String,
}

/// The stored status. *Expired* is not stored: it follows from the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStatus {
    /// Usable.
    Active,
    /// Switched off, can be switched on again.
    Disabled,
    /// Switched off for ever.
    Revoked,
}

/// Grants as written, which may be malformed: what cannot be read grants nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum RawGrants {
    /// Family `org`.
    Org {
        /// Granted permissions, e.g. `orgs:*`.
        permissions: Vec<String>,
        /// Granted scopes, e.g. `agents:a1`.
        scopes: Vec<String>,
    },
    /// Family `workspace`.
    Workspace {
        /// CASL rules, in the order in which they were written.
        rules: Vec<RawRule>,
    },
    /// Family `access`.
    Access(RawAccess),
}

/// A CASL rule as written, with Prisme.ai's additions (`role`, `priority`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RawRule {
    /// Actions; `manage` is any.
    pub action: Vec<String>,
    /// Subjects; `all` is any. Empty: `all`, as in CASL.
    pub subject: Vec<String>,
    /// Roles, one of which the principal must hold; `None`: applies to everyone.
    pub role: Option<Vec<String>>,
    /// Whether it denies.
    pub inverted: bool,
    /// Why it denies, for people.
    pub reason: Option<String>,
    /// Conditions on the resource; `None`: every instance.
    pub conditions: Option<Value>,
    /// Field patterns; `None`: all fields.
    pub fields: Option<Vec<String>>,
    /// Rules with a priority come after those without, in ascending order.
    pub priority: Option<f64>,
    /// What could not be read of the rule; such an allow grants nothing, such a deny always applies.
    pub unreadable: Option<String>,
}

/// orq.ai's grants as written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RawAccess {
    /// `ALL`, `READ_ONLY`, `RESTRICTED`, in any accepted spelling.
    pub permission_mode: String,
    /// Domain to level, in any accepted spelling.
    pub access: Vec<(String, String)>,
    /// The one project that the key is pinned to; `None`: all projects.
    pub project: Option<String>,
}
