//! What is asked about access keys, as types that cannot hold what would be refused.
//!
//! Names of enumerations are read in the two spellings that are published, `PERMISSION_MODE_ALL` and `all`.

use super::{InvalidInput, KeyName, OWNER_ID_CHARACTERS_MAX, label};
use crate::authz::{
    ACCESS_NAME_BYTES_MAX, AccessLevel, KeyStatus, Owner, PermissionMode, RawAccess, RawGrants,
    Timestamp,
};
use crate::control::store::StoredKey;

/// Whom an access key is for: informational, and what lists are filtered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessOwner {
    /// A person, by id.
    User(String),
    /// The workspace.
    ServiceAccount,
}

impl AccessOwner {
    /// The kind of owner that people are.
    pub const USER: &'static str = "user";
    /// The kind of owner that the workspace is.
    pub const SERVICE_ACCOUNT: &'static str = "service_account";

    /// A person.
    ///
    /// # Errors
    /// The id is empty, too long or holds a control character.
    pub fn user(field: &str, id: &str) -> Result<Self, InvalidInput> {
        label(field, id, OWNER_ID_CHARACTERS_MAX).map(Self::User)
    }

    /// The owner of a key. Whatever is no person belongs to the workspace.
    pub fn of(owner: Option<&Owner>) -> Self {
        match owner {
            Some(owner) if owner.kind == Self::USER => Self::User(owner.id.clone()),
            Some(_) | None => Self::ServiceAccount,
        }
    }

    /// The kind, in lower case.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => Self::USER,
            Self::ServiceAccount => Self::SERVICE_ACCOUNT,
        }
    }

    /// Reads the kind of an owner: `user`, `OWNER_TYPE_USER` and the like.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse_kind(field: &str, text: &str) -> Result<&'static str, InvalidInput> {
        match short_name(text, "OWNER_TYPE_").as_deref() {
            Some(Self::USER) => Ok(Self::USER),
            Some(Self::SERVICE_ACCOUNT) => Ok(Self::SERVICE_ACCOUNT),
            Some(_) | None => Err(InvalidInput::new(
                field,
                "is none of `user`, `service_account`",
            )),
        }
    }
}

impl From<AccessOwner> for Owner {
    fn from(owner: AccessOwner) -> Self {
        let kind = owner.kind().to_owned();
        match owner {
            AccessOwner::User(id) => Self { kind, id },
            AccessOwner::ServiceAccount => Self {
                kind,
                id: String::new(),
            },
        }
    }
}

/// Reads a status: `active`, `API_KEY_STATUS_ACTIVE` and the like.
///
/// # Errors
/// It is none.
pub fn parse_access_status(text: &str) -> Result<KeyStatus, InvalidInput> {
    match short_name(text, "API_KEY_STATUS_").as_deref() {
        Some("active") => Ok(KeyStatus::Active),
        Some("disabled") => Ok(KeyStatus::Disabled),
        Some("revoked") => Ok(KeyStatus::Revoked),
        Some(_) | None => Err(InvalidInput::new(
            "status",
            "is none of `active`, `disabled`, `revoked`",
        )),
    }
}

/// Reads a permission mode: `read_only`, `PERMISSION_MODE_READ_ONLY` and the like.
///
/// # Errors
/// It is none.
pub fn parse_permission_mode(text: &str) -> Result<PermissionMode, InvalidInput> {
    PermissionMode::parse(text).ok_or_else(|| {
        InvalidInput::new(
            "permission_mode",
            "is none of `all`, `read_only`, `restricted`",
        )
    })
}

/// The name of an enumeration's member in lower case, where all of it is in one case and its prefix in upper case.
fn short_name(text: &str, prefix: &str) -> Option<String> {
    let upper = |text: &str| !text.bytes().any(|byte| byte.is_ascii_lowercase());
    let name = match text.strip_prefix(prefix) {
        Some(name) if upper(name) => name,
        Some(_) | None => text,
    };
    let lower = name.to_ascii_lowercase();
    (upper(name) || name == lower).then_some(lower)
}

/// Levels by domain, each domain once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessMap(Vec<(String, AccessLevel)>);

impl AccessMap {
    /// Takes levels by domain, as written. A domain need not be known.
    ///
    /// # Errors
    /// The first domain or level that is none.
    pub fn parse(written: Vec<(String, String)>) -> Result<Self, InvalidInput> {
        let entries = written.into_iter().map(|(domain, level)| {
            let field = format!("access.{}", domain.escape_debug());
            let domain = label(&field, &domain, ACCESS_NAME_BYTES_MAX)?;
            match AccessLevel::parse(&level) {
                Some(level) => Ok((domain, level)),
                None => Err(InvalidInput::new(
                    field,
                    "is none of `none`, `read`, `write`",
                )),
            }
        });
        entries.collect::<Result<_, _>>().map(Self)
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn written(self) -> Vec<(String, String)> {
        let entries = self.0.into_iter();
        entries
            .map(|(domain, level)| (domain, level.as_str().to_owned()))
            .collect()
    }
}

/// Takes the project of a key.
///
/// # Errors
/// The id is too long or holds a control character.
pub fn parse_project(field: &str, id: &str) -> Result<String, InvalidInput> {
    label(field, id, ACCESS_NAME_BYTES_MAX)
}

/// Takes the name of an access key: as other names, but shorter.
///
/// # Errors
/// It is empty, too long or holds a control character.
pub fn parse_access_name(text: &str) -> Result<KeyName, InvalidInput> {
    label("name", text, ACCESS_KEY_NAME_CHARACTERS_MAX).map(KeyName)
}

/// Most characters of the name of an access key.
pub const ACCESS_KEY_NAME_CHARACTERS_MAX: usize = 128;

/// What a new access key may do.
///
/// # Errors
/// A restricted key without a map; or a map without a mode, which would be of no effect on a key that may do
/// everything.
pub fn new_access_grants(
    mode: Option<PermissionMode>,
    access: Option<AccessMap>,
    project: Option<String>,
) -> Result<RawAccess, InvalidInput> {
    if mode.is_none() && access.as_ref().is_some_and(|access| !access.is_empty()) {
        let problem = "takes effect only with the `permission_mode` `restricted`";
        return Err(InvalidInput::new("access", problem));
    }
    let mode = mode.unwrap_or(PermissionMode::All);
    let access = match mode {
        PermissionMode::Restricted => access.ok_or_else(restricted_needs_access)?,
        PermissionMode::All | PermissionMode::ReadOnly => AccessMap::default(),
    };
    Ok(RawAccess {
        permission_mode: mode.as_str().to_owned(),
        access: access.written(),
        project,
    })
}

fn restricted_needs_access() -> InvalidInput {
    let problem = "is needed with the `permission_mode` `restricted`; `{}` grants nothing";
    InvalidInput::new("access", problem)
}

/// What is to be different about an access key; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchAccessKey {
    /// Its name.
    pub name: Option<KeyName>,
    /// Whether it may be used.
    pub status: Option<KeyStatus>,
    /// How far it reaches.
    pub mode: Option<PermissionMode>,
    /// The whole of its access map; of no effect on a key that is not restricted.
    pub access: Option<AccessMap>,
    /// Its one project; `Some(None)`: all.
    pub project: Option<Option<String>>,
    /// When it expires; `Some(None)`: never. A moment in the past ends it now.
    pub expires_at: Option<Option<Timestamp>>,
}

impl PatchAccessKey {
    /// What the key may do afterwards.
    ///
    /// # Errors
    /// The key becomes restricted and is given no map.
    pub(in crate::control) fn grants(&self, before: &RawAccess) -> Result<RawAccess, InvalidInput> {
        let mut after = before.clone();
        if let Some(project) = &self.project {
            after.project.clone_from(project);
        }
        if self.mode.is_none() && self.access.is_none() {
            return Ok(after);
        }
        let former = PermissionMode::parse(&before.permission_mode);
        let Some(mode) = self.mode.or(former) else {
            let problem = "is needed: the present one cannot be read";
            return Err(InvalidInput::new("permission_mode", problem));
        };
        after.access = match (mode, &self.access) {
            (PermissionMode::All | PermissionMode::ReadOnly, _) => Vec::new(),
            (PermissionMode::Restricted, Some(access)) => access.clone().written(),
            (PermissionMode::Restricted, None) if former == Some(mode) => after.access,
            (PermissionMode::Restricted, None) => return Err(restricted_needs_access()),
        };
        mode.as_str().clone_into(&mut after.permission_mode);
        Ok(after)
    }
}

/// Where a page of a list begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// With the key before this one, which is the last of the former page.
    After(String),
    /// Just before this key, which is the first of the later page.
    Before(String),
}

/// One page of the access keys, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListAccessKeys {
    /// Keys a page.
    pub limit: Option<u32>,
    /// Where the page is; `None`: the first.
    pub cursor: Option<Cursor>,
    /// Only keys that are limited to this project.
    pub project: Option<String>,
    /// Only keys of this status.
    pub status: Option<KeyStatus>,
    /// Only keys whose names hold this, in any case.
    pub search: Option<String>,
    /// Only keys of owners of one of these kinds; empty: of any.
    pub owner_kinds: Vec<&'static str>,
    /// Only keys of one of these modes; empty: of any.
    pub modes: Vec<PermissionMode>,
}

impl ListAccessKeys {
    /// Keys a page where nothing else is asked for.
    pub const LIMIT_DEFAULT: u32 = 25;
    /// Most keys a page.
    pub const LIMIT_MAX: u32 = 200;

    /// Keys a page, as asked or as it is.
    pub(in crate::control) fn page_length(&self) -> usize {
        let limit = self.limit.unwrap_or(Self::LIMIT_DEFAULT);
        usize::try_from(limit.min(Self::LIMIT_MAX)).unwrap_or(0)
    }

    /// Whether a key is among those asked for.
    pub(in crate::control) fn admits(&self, key: &StoredKey) -> bool {
        let RawGrants::Access(grants) = &key.record.grants else {
            return false;
        };
        let project = self.project.as_ref();
        let owner = AccessOwner::of(key.record.owner.as_ref()).kind();
        let mode = PermissionMode::parse(&grants.permission_mode);
        project.is_none_or(|project| grants.project.as_ref() == Some(project))
            && self.status.is_none_or(|status| key.record.status == status)
            && self.search.as_ref().is_none_or(|search| {
                let name = key.record.name.to_lowercase();
                name.contains(&search.to_lowercase())
            })
            && (self.owner_kinds.is_empty() || self.owner_kinds.contains(&owner))
            && (self.modes.is_empty() || mode.is_some_and(|mode| self.modes.contains(&mode)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_enumerations_have_two_spellings_and_no_third() {
        for text in ["API_KEY_STATUS_DISABLED", "DISABLED", "disabled"] {
            assert_eq!(parse_access_status(text), Ok(KeyStatus::Disabled), "{text}");
        }
        for text in [
            "",
            "Disabled",
            "API_KEY_STATUS_disabled",
            "api_key_status_disabled",
            "API_KEY_STATUS_UNSPECIFIED",
            "2",
        ] {
            assert!(parse_access_status(text).is_err(), "{text}");
        }
        for text in ["OWNER_TYPE_SERVICE_ACCOUNT", "service_account"] {
            assert_eq!(
                AccessOwner::parse_kind("owner_type", text),
                Ok("service_account")
            );
        }
    }

    fn map(entries: &[(&str, &str)]) -> AccessMap {
        let entries = entries.iter().map(|(d, l)| ((*d).into(), (*l).into()));
        AccessMap::parse(entries.collect()).unwrap()
    }

    #[test]
    fn a_restricted_key_needs_a_map_and_no_other_key_has_one() {
        let deployment = map(&[("deployment", "ACCESS_LEVEL_READ")]);
        let new = |mode, access| new_access_grants(mode, access, None);
        let restricted = new(Some(PermissionMode::Restricted), Some(deployment.clone())).unwrap();
        assert_eq!(
            restricted.access,
            [("deployment".to_owned(), "read".to_owned())]
        );
        assert!(new(Some(PermissionMode::Restricted), None).is_err());
        assert!(new(None, Some(deployment.clone())).is_err());
        let all = new(Some(PermissionMode::All), Some(deployment)).unwrap();
        assert_eq!(all.access, []);
        assert_eq!(new(None, Some(AccessMap::default())).unwrap(), all);
    }

    #[test]
    fn a_patch_replaces_the_map_whole_and_only_of_a_restricted_key() {
        let before = |mode: &str| RawAccess {
            permission_mode: mode.to_owned(),
            access: match mode {
                "restricted" => vec![("file".to_owned(), "write".to_owned())],
                _ => Vec::new(),
            },
            project: Some("p".to_owned()),
        };
        let patched = |mode, access, former: &str| {
            let patch = PatchAccessKey {
                mode,
                access,
                ..PatchAccessKey::default()
            };
            patch.grants(&before(former))
        };
        let tool = || Some(map(&[("tool", "read")]));
        let changed = patched(None, tool(), "restricted").unwrap();
        assert_eq!(changed.access, [("tool".to_owned(), "read".to_owned())]);
        assert_eq!(changed.project, Some("p".to_owned()));
        let cleared = patched(None, Some(AccessMap::default()), "restricted").unwrap();
        assert_eq!(cleared.access, []);
        assert_eq!(patched(None, tool(), "all").unwrap(), before("all"));
        let mode = Some(PermissionMode::Restricted);
        assert!(patched(mode, None, "all").is_err());
        assert_eq!(
            patched(mode, None, "restricted").unwrap(),
            before("restricted")
        );
        let widened = patched(Some(PermissionMode::All), None, "restricted").unwrap();
        assert_eq!(widened, before("all"));
        assert!(patched(None, tool(), "unreadable").is_err());
        assert!(patched(mode, tool(), "unreadable").is_ok());
    }
}
