//! Access maps of orq.ai keys: permission mode, domain to level, project scope.

use std::sync::Arc;

use super::record::RawAccess;

/// Why an access map is refused on write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidAccess(pub String);

/// What may be done within a domain. `Write` includes `Read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum AccessLevel {
    /// Nothing.
    #[default]
    None,
    /// List and view.
    Read,
    /// Everything.
    Write,
}

impl AccessLevel {
    /// Reads `read`, `READ`, `ACCESS_LEVEL_READ` and the like; numbers and unknown names are `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let _ = text;
        unimplemented!()
    }

    /// The lower-case short name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// How far an access key reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PermissionMode {
    /// Every domain, read and write.
    All,
    /// Every domain, read.
    ReadOnly,
    /// What the access map says.
    Restricted,
}

/// Which projects an access key reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectScope {
    /// All.
    All,
    /// This one.
    Single(Arc<str>),
}

/// A compiled access grant; what could not be read grants nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessGrant {
    mode: Option<PermissionMode>,
    map: Vec<(Arc<str>, AccessLevel)>,
    project: ProjectScope,
}

impl AccessGrant {
    /// Compiles grants as written. An unreadable mode grants nothing, an unreadable level is `none`.
    pub fn compile(written: &RawAccess) -> Self {
        let _ = written;
        unimplemented!()
    }

    /// The level held on `domain`.
    pub fn level(&self, domain: &str) -> AccessLevel {
        let _ = domain;
        unimplemented!()
    }

    /// The projects that it reaches.
    pub fn project(&self) -> &ProjectScope {
        &self.project
    }

    /// Checks grants on write.
    ///
    /// # Errors
    /// An unknown mode or level (numbers included), an empty domain, named.
    pub fn validate(written: &RawAccess) -> Result<(), InvalidAccess> {
        let _ = written;
        unimplemented!()
    }
}
