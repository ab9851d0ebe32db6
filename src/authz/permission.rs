//! Permissions and scopes of organisation keys: grammar and what covers what.

/// Why a permission is refused on write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPermission(pub String);

/// Why a scope is refused on write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidScope(pub String);

/// One granted permission or scope, compiled. What is malformed is kept in its place and covers nothing, so that
/// indexes stay those of the grants as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant(pub(super) GrantKind);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GrantKind {
    Any,
    Exact(Box<str>),
    /// Covers what begins with this text, which ends in `:`, and has more behind it.
    Below(Box<str>),
    /// `P:manage`: covers itself and what begins with `P:`, which this text is.
    Manage(Box<str>),
    Malformed,
}

/// A required permission that has been checked to be concrete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequiredPermission<'a>(&'a str);

impl<'a> RequiredPermission<'a> {
    /// Takes a concrete permission: two to eight segments, no `*`, at most 256 bytes. `None` otherwise.
    pub fn parse(text: &'a str) -> Option<Self> {
        let _ = text;
        unimplemented!()
    }

    /// As text.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

/// A required scope that has been checked to be concrete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequiredScope<'a>(&'a str);

impl<'a> RequiredScope<'a> {
    /// Takes a concrete scope `type:id`: no `*`, no control byte. `None` otherwise.
    pub fn parse(text: &'a str) -> Option<Self> {
        let _ = text;
        unimplemented!()
    }
}

/// The permissions that a key holds, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PermissionSet {
    grants: Vec<Grant>,
}

impl PermissionSet {
    /// Compiles permissions as written; malformed ones grant nothing.
    pub fn compile(written: &[String]) -> Self {
        let _ = written;
        unimplemented!()
    }

    /// Index of the first grant that covers `required`.
    pub fn covers(&self, required: RequiredPermission<'_>) -> Option<u16> {
        let _ = required;
        unimplemented!()
    }

    /// Whether this set covers every requirement that `other` covers (for delegation: no escalation).
    pub fn covers_all_of(&self, other: &Self) -> bool {
        let _ = other;
        unimplemented!()
    }

    /// Checks permissions on write.
    ///
    /// # Errors
    /// The first that is not of the grammar, named.
    pub fn validate(written: &[String]) -> Result<(), InvalidPermission> {
        let _ = written;
        unimplemented!()
    }
}

/// The scopes that a key holds, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeSet {
    grants: Vec<Grant>,
}

impl ScopeSet {
    /// Compiles scopes as written; malformed ones grant nothing.
    pub fn compile(written: &[String]) -> Self {
        let _ = written;
        unimplemented!()
    }

    /// Whether no scope was written at all, which a route may take as "unlimited" (`empty_scopes: allow`).
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// Index of the first grant that covers `required`.
    pub fn covers(&self, required: RequiredScope<'_>) -> Option<u16> {
        let _ = required;
        unimplemented!()
    }

    /// Whether this set covers every requirement that `other` covers.
    pub fn covers_all_of(&self, other: &Self) -> bool {
        let _ = other;
        unimplemented!()
    }

    /// Checks scopes on write.
    ///
    /// # Errors
    /// The first that is not of the grammar, named.
    pub fn validate(written: &[String]) -> Result<(), InvalidScope> {
        let _ = written;
        unimplemented!()
    }
}
