//! Access maps of orq.ai keys: permission mode, domain to level, project scope.
//!
//! It knows no catalogue of domains: what the map does not list, nobody holds.

use std::sync::Arc;

use super::record::RawAccess;

/// Entries of an access map, at most.
pub const ACCESS_DOMAINS_MAX: usize = 256;
/// Bytes of a domain's name or a project's identifier, at most.
pub const ACCESS_NAME_BYTES_MAX: usize = 256;

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
        match short_name(text, "ACCESS_LEVEL_") {
            "none" | "NONE" => Some(Self::None),
            "read" | "READ" => Some(Self::Read),
            "write" | "WRITE" => Some(Self::Write),
            _ => None,
        }
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

impl PermissionMode {
    /// Reads `read_only`, `READ_ONLY`, `PERMISSION_MODE_READ_ONLY` and the like; numbers and unknown names are `None`.
    pub fn parse(text: &str) -> Option<Self> {
        match short_name(text, "PERMISSION_MODE_") {
            "all" | "ALL" => Some(Self::All),
            "read_only" | "READ_ONLY" => Some(Self::ReadOnly),
            "restricted" | "RESTRICTED" => Some(Self::Restricted),
            _ => None,
        }
    }

    /// The lower-case short name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::ReadOnly => "read_only",
            Self::Restricted => "restricted",
        }
    }
}

/// The name without the prefix of its enum. A prefix is followed by upper case only, so that no third spelling passes.
fn short_name<'a>(text: &'a str, prefix: &str) -> &'a str {
    match text.strip_prefix(prefix) {
        Some(name) if !name.bytes().any(|byte| byte.is_ascii_lowercase()) => name,
        Some(_) | None => text,
    }
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
        let map = written.access.iter().take(ACCESS_DOMAINS_MAX);
        Self {
            mode: PermissionMode::parse(&written.permission_mode),
            map: map
                .map(|(domain, level)| {
                    let level = AccessLevel::parse(level).unwrap_or(AccessLevel::None);
                    (domain.as_str().into(), level)
                })
                .collect(),
            project: match &written.project {
                None => ProjectScope::All,
                Some(id) => ProjectScope::Single(id.as_str().into()),
            },
        }
    }

    /// The level held on `domain`.
    pub fn level(&self, domain: &str) -> AccessLevel {
        match self.mode {
            None => AccessLevel::None,
            Some(PermissionMode::All) => AccessLevel::Write,
            Some(PermissionMode::ReadOnly) => AccessLevel::Read,
            Some(PermissionMode::Restricted) => {
                // A domain that is written twice holds the lesser level.
                let levels = self.map.iter().filter(|(name, _)| **name == *domain);
                levels.map(|(_, level)| *level).min().unwrap_or_default()
            }
        }
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
        if PermissionMode::parse(&written.permission_mode).is_none() {
            return refuse(format!(
                "permission_mode: `{}` is none of `ALL`, `READ_ONLY`, `RESTRICTED`",
                written.permission_mode.escape_debug()
            ));
        }
        if written.access.len() > ACCESS_DOMAINS_MAX {
            return refuse(format!("access: more than {ACCESS_DOMAINS_MAX} domains"));
        }
        for (index, (domain, level)) in written.access.iter().enumerate() {
            if domain.is_empty() || domain.len() > ACCESS_NAME_BYTES_MAX {
                return refuse(format!(
                    "access: a domain has 1 to {ACCESS_NAME_BYTES_MAX} bytes"
                ));
            }
            let place = domain.escape_debug();
            if AccessLevel::parse(level).is_none() {
                let level = level.escape_debug();
                return refuse(format!(
                    "access.{place}: `{level}` is none of `none`, `read`, `write`"
                ));
            }
            if written
                .access
                .iter()
                .take(index)
                .any(|(earlier, _)| earlier == domain)
            {
                return refuse(format!("access.{place}: the domain is written twice"));
            }
        }
        match &written.project {
            Some(id) if id.is_empty() || id.len() > ACCESS_NAME_BYTES_MAX => refuse(format!(
                "project_scope: a project id has 1 to {ACCESS_NAME_BYTES_MAX} bytes"
            )),
            Some(_) | None => Ok(()),
        }
    }
}

fn refuse(message: String) -> Result<(), InvalidAccess> {
    Err(InvalidAccess(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(mode: &str, access: &[(&str, &str)]) -> RawAccess {
        RawAccess {
            permission_mode: mode.to_owned(),
            access: access
                .iter()
                .map(|(d, l)| ((*d).to_owned(), (*l).to_owned()))
                .collect(),
            project: None,
        }
    }

    #[test]
    fn names_are_read_in_both_spellings_and_in_no_third() {
        for text in ["read", "READ", "ACCESS_LEVEL_READ"] {
            assert_eq!(AccessLevel::parse(text), Some(AccessLevel::Read), "{text}");
        }
        for text in [
            "Read",
            "ACCESS_LEVEL_read",
            "access_level_read",
            "1",
            "",
            "ACCESS_LEVEL_UNSPECIFIED",
            "admin",
            " read",
        ] {
            assert_eq!(AccessLevel::parse(text), None, "{text}");
        }
        for text in ["read_only", "READ_ONLY", "PERMISSION_MODE_READ_ONLY"] {
            assert_eq!(
                PermissionMode::parse(text),
                Some(PermissionMode::ReadOnly),
                "{text}"
            );
        }
        for text in ["readonly", "2", "", "PERMISSION_MODE_UNSPECIFIED"] {
            assert_eq!(PermissionMode::parse(text), None, "{text}");
        }
        for level in [AccessLevel::None, AccessLevel::Read, AccessLevel::Write] {
            assert_eq!(AccessLevel::parse(level.as_str()), Some(level));
        }
        for mode in [
            PermissionMode::All,
            PermissionMode::ReadOnly,
            PermissionMode::Restricted,
        ] {
            assert_eq!(PermissionMode::parse(mode.as_str()), Some(mode));
        }
    }

    #[test]
    fn the_mode_decides_and_the_map_only_when_restricted() {
        let level = |mode, access: &[(&str, &str)]| {
            AccessGrant::compile(&written(mode, access)).level("file")
        };
        assert_eq!(level("ALL", &[("file", "none")]), AccessLevel::Write);
        assert_eq!(level("read_only", &[("file", "write")]), AccessLevel::Read);
        assert_eq!(
            level("RESTRICTED", &[("file", "write")]),
            AccessLevel::Write
        );
        assert_eq!(
            level("RESTRICTED", &[("file", "ACCESS_LEVEL_READ")]),
            AccessLevel::Read
        );
        assert_eq!(
            level("RESTRICTED", &[("files", "write")]),
            AccessLevel::None
        );
        assert_eq!(level("RESTRICTED", &[]), AccessLevel::None);
    }

    #[test]
    fn what_cannot_be_read_grants_nothing() {
        let level = |mode, access: &[(&str, &str)]| {
            AccessGrant::compile(&written(mode, access)).level("file")
        };
        assert_eq!(level("1", &[("file", "write")]), AccessLevel::None);
        assert_eq!(level("RESTRICTED", &[("file", "2")]), AccessLevel::None);
        assert_eq!(
            level("RESTRICTED", &[("file", "write"), ("file", "read")]),
            AccessLevel::Read
        );
    }

    #[test]
    fn bad_grants_are_refused_with_their_place() {
        let refusal = |raw: RawAccess| AccessGrant::validate(&raw).unwrap_err().0;
        assert!(refusal(written("1", &[])).contains("permission_mode"));
        assert!(refusal(written("RESTRICTED", &[("file", "3")])).contains("access.file"));
        assert!(refusal(written("RESTRICTED", &[("", "read")])).contains("domain"));
        assert!(refusal(written("RESTRICTED", &[("a", "read"), ("a", "read")])).contains("twice"));
        let many: Vec<_> = (0..=ACCESS_DOMAINS_MAX)
            .map(|n| (n.to_string(), "read".to_owned()))
            .collect();
        assert!(
            refusal(RawAccess {
                access: many,
                ..written("ALL", &[])
            })
            .contains("more than")
        );
        let unpinned = RawAccess {
            project: Some(String::new()),
            ..written("ALL", &[])
        };
        assert!(refusal(unpinned).contains("project_scope"));
        assert_eq!(
            AccessGrant::validate(&written("all", &[("file", "none")])),
            Ok(())
        );
    }

    #[test]
    fn a_pinned_grant_says_where() {
        let pinned = RawAccess {
            project: Some("p1".into()),
            ..written("ALL", &[])
        };
        assert_eq!(
            AccessGrant::compile(&pinned).project(),
            &ProjectScope::Single("p1".into())
        );
        assert_eq!(
            AccessGrant::compile(&written("ALL", &[])).project(),
            &ProjectScope::All
        );
    }
}
