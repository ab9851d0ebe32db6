//! What is asked of the control plane, as types that cannot hold what would be refused.
//!
//! Parsing happens here and names the field at fault. Nothing here knows who asks, or the state that it meets.

mod access;

use std::fmt;

use super::scoping::scoped;
use super::token::is_key_id;
use crate::authz::{
    InvalidGrants, InvalidRule, KeyStatus, Owner, RawGrants, RawRule, Tenant, Timestamp,
    validate_grants,
};

pub use access::{
    ACCESS_KEY_NAME_CHARACTERS_MAX, AccessMap, AccessOwner, Cursor, ListAccessKeys, PatchAccessKey,
    new_access_grants, parse_access_name, parse_access_status, parse_permission_mode,
    parse_project,
};

/// A value that is not acceptable, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct InvalidInput {
    /// The field, as the caller wrote it.
    pub field: String,
    /// What is wrong with it, to be read after the field's name.
    pub problem: String,
}

impl InvalidInput {
    /// A fault of `field`.
    pub fn new(field: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self {
            field: field.into(),
            problem: problem.to_string(),
        }
    }
}

/// The name of an organisation in paths and keys: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OrgSlug(String);

impl OrgSlug {
    /// Most bytes of a slug.
    pub const BYTES_MAX: usize = 63;

    /// Takes a slug.
    ///
    /// # Errors
    /// It is not of the grammar.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let alphabet = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = text.len() <= Self::BYTES_MAX
            && text.bytes().next().is_some_and(alphabet)
            && text.bytes().all(|byte| alphabet(byte) || byte == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            let problem = "consists of 1 to 63 lower-case letters, digits and hyphens, and begins with none of the latter";
            Err(InvalidInput::new("orgSlug", problem))
        }
    }

    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&OrgSlug> for Tenant {
    fn from(org: &OrgSlug) -> Self {
        Self::Org(org.0.clone())
    }
}

/// The id of a workspace in paths: `[A-Za-z0-9._-]{1,128}`, but neither `.` nor `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkspaceId(String);

impl WorkspaceId {
    /// Most bytes of an id.
    pub const BYTES_MAX: usize = 128;

    /// Takes an id.
    ///
    /// # Errors
    /// It is not of the grammar.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = (1..=Self::BYTES_MAX).contains(&text.len()) && text.bytes().all(alphabet);
        if fits && !matches!(text, "." | "..") {
            Ok(Self(text.to_owned()))
        } else {
            let problem = "consists of 1 to 128 letters, digits, `.`, `_` and `-`";
            Err(InvalidInput::new("workspaceId", problem))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&WorkspaceId> for Tenant {
    fn from(workspace: &WorkspaceId) -> Self {
        Self::Workspace(workspace.0.clone())
    }
}

/// The name of a key within its organisation, for machines: `[A-Za-z0-9._-]{1,128}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeySlug(String);

impl KeySlug {
    /// Most bytes of a slug.
    pub const BYTES_MAX: usize = 128;
    /// Slugs that could not be reached in a path.
    const RESERVED: [&'static str; 3] = [".", "..", "validate"];

    /// Takes a slug.
    ///
    /// # Errors
    /// It is not of the grammar, reserved, or could be the id of a key.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.is_empty() || text.len() > Self::BYTES_MAX || !text.bytes().all(alphabet) {
            let problem = "consists of 1 to 128 letters, digits, `.`, `_` and `-`";
            return Err(InvalidInput::new("slug", problem));
        }
        if Self::RESERVED.contains(&text) {
            return Err(InvalidInput::new("slug", "is reserved"));
        }
        if is_key_id(text) {
            let problem = "has the form of the id of a key, by which paths name keys too";
            return Err(InvalidInput::new("slug", problem));
        }
        Ok(Self(text.to_owned()))
    }

    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What people call a key: 1 to 256 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

impl KeyName {
    /// Most characters of a name.
    pub const CHARACTERS_MAX: usize = 256;

    /// Takes a name.
    ///
    /// # Errors
    /// It is empty, too long or holds a control character.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        label("name", text, Self::CHARACTERS_MAX).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Most characters of an owner's kind.
pub const OWNER_KIND_CHARACTERS_MAX: usize = 64;
/// Most characters of an owner's id.
pub const OWNER_ID_CHARACTERS_MAX: usize = 256;
/// The kind of owner of the keys that this program makes as samples, and ends again. Nobody else's key has it.
pub const SAMPLE_OWNER_KIND: &str = "keyward-sample";
/// Longest grace of a rotated secret: 30 days.
pub const GRACE_SECONDS_MAX: u32 = 2_592_000;

/// Takes an owner; an id alone says nothing.
///
/// # Errors
/// The field at fault.
pub fn parse_owner(kind: Option<&str>, id: Option<&str>) -> Result<Option<Owner>, InvalidInput> {
    let Some(kind) = kind else {
        return match id {
            None => Ok(None),
            Some(_) => Err(InvalidInput::new("ownerId", "needs an `ownerType`")),
        };
    };
    let kind = label("ownerType", kind, OWNER_KIND_CHARACTERS_MAX)?;
    if kind == SAMPLE_OWNER_KIND {
        let problem = format!("is not `{SAMPLE_OWNER_KIND}`, by which samples are found and ended");
        return Err(InvalidInput::new("ownerType", problem));
    }
    let id = id.map(|id| label("ownerId", id, OWNER_ID_CHARACTERS_MAX));
    Ok(Some(Owner {
        kind,
        id: id.transpose()?.unwrap_or_default(),
    }))
}

fn label(field: &str, text: &str, characters_max: usize) -> Result<String, InvalidInput> {
    let characters = text.chars().count();
    if characters == 0 || characters > characters_max {
        let problem = format!("has 1 to {characters_max} characters");
        return Err(InvalidInput::new(field, problem));
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidInput::new(field, "holds a control character"));
    }
    Ok(text.to_owned())
}

/// Checks grants of any family on write, and names the field at fault as that family's API calls it.
pub(super) fn check_grants(grants: &RawGrants) -> Result<(), InvalidInput> {
    validate_grants(grants).map_err(|fault| {
        let field = match &fault {
            InvalidGrants::Permission(_) => "permissions",
            InvalidGrants::Scope(_) => "scopes",
            InvalidGrants::Rule(fault) => return invalid_rule(fault),
            InvalidGrants::Access(_) => "access",
        };
        InvalidInput::new(field, format_args!("is refused: {fault}"))
    })
}

fn invalid_rule(fault: &InvalidRule) -> InvalidInput {
    let InvalidRule {
        rule,
        place,
        message,
    } = fault;
    let field = match place.as_str() {
        "rules" => "rules".to_owned(),
        "rule" => format!("rules[{rule}]"),
        place => format!("rules[{rule}].{place}"),
    };
    InvalidInput::new(field, format_args!("is refused: {message}"))
}

/// What is to be different about a key; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchOrgKey {
    /// Its name for people.
    pub name: Option<KeyName>,
    /// What it may do.
    pub permissions: Option<Vec<String>>,
    /// To which resources.
    pub scopes: Option<Vec<String>>,
    /// The kind of its owner; `Some(None)` takes it away.
    pub owner_kind: Option<Option<String>>,
    /// The id of its owner; `Some(None)` takes it away.
    pub owner_id: Option<Option<String>>,
    /// When it expires. A moment in the past ends it now.
    pub expires_at: Option<Timestamp>,
    /// Whether it is switched off.
    pub disabled: Option<bool>,
}

impl PatchOrgKey {
    /// Whether this switches the key off and does nothing else.
    pub(super) fn only_disables(&self) -> bool {
        let disable = Self {
            disabled: Some(true),
            ..Self::default()
        };
        *self == disable
    }
}

/// A new secret for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotateOrgKey {
    /// When the key expires from now on, in the future; `None`: as before.
    pub expires_at: Option<Timestamp>,
    /// For how many seconds the former secret still works.
    pub grace_seconds: u32,
}

impl RotateOrgKey {
    /// Takes a rotation.
    ///
    /// # Errors
    /// The grace is longer than [`GRACE_SECONDS_MAX`].
    pub fn new(
        expires_at: Option<Timestamp>,
        grace_seconds: Option<u32>,
    ) -> Result<Self, InvalidInput> {
        let grace_seconds = grace_seconds.unwrap_or(0);
        if grace_seconds > GRACE_SECONDS_MAX {
            let problem = format!("is 0 to {GRACE_SECONDS_MAX}");
            return Err(InvalidInput::new("gracePeriodSeconds", problem));
        }
        Ok(Self {
            expires_at,
            grace_seconds,
        })
    }
}

/// What a key of a workspace is to be.
#[derive(Debug, Clone)]
pub struct PutWorkspaceKey {
    pub(super) name: KeyName,
    pub(super) grants: RawGrants,
    pub(super) disabled: Option<bool>,
}

impl PutWorkspaceKey {
    /// Takes a name, rules as written, and whether the key is switched off; absent: as before.
    ///
    /// # Errors
    /// The rules are refused for keys of this workspace.
    pub fn new(
        workspace: &WorkspaceId,
        name: KeyName,
        rules: Vec<RawRule>,
        disabled: Option<bool>,
    ) -> Result<Self, InvalidInput> {
        let grants = scoped(workspace, rules)?;
        Ok(Self {
            name,
            grants,
            disabled,
        })
    }
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortField {
    /// When the key was made.
    CreatedAt,
    /// When it was changed last.
    UpdatedAt,
    /// Its name for people.
    Name,
    /// Its name for machines.
    Slug,
    /// When it expires.
    ExpiresAt,
}

/// An order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub field: SortField,
    /// Whether the greatest comes first.
    pub descending: bool,
}

impl Sort {
    /// The newest first.
    pub const NEWEST_FIRST: Self = Self {
        field: SortField::CreatedAt,
        descending: true,
    };

    /// Takes a field's name, with `-` before it for descending order.
    ///
    /// # Errors
    /// No such field.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let (name, descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let field = match name {
            "createdAt" => SortField::CreatedAt,
            "updatedAt" => SortField::UpdatedAt,
            "name" => SortField::Name,
            "slug" => SortField::Slug,
            "expiresAt" => SortField::ExpiresAt,
            _ => {
                let problem = "is one of `createdAt`, `updatedAt`, `name`, `slug`, `expiresAt`, with `-` before it for descending order";
                return Err(InvalidInput::new("sort", problem));
            }
        };
        Ok(Self { field, descending })
    }
}

/// One page of the keys of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListKeys {
    /// Keys a page.
    pub limit: u32,
    /// Which page; the first is 1.
    pub page: u32,
    /// In which order.
    pub sort: Sort,
    /// Only keys of this kind of owner.
    pub owner_kind: Option<String>,
    /// Only keys of this owner.
    pub owner_id: Option<String>,
}

impl ListKeys {
    /// Keys a page where nothing else is asked for.
    pub const LIMIT_DEFAULT: u32 = 50;
    /// Most keys a page.
    pub const LIMIT_MAX: u32 = 200;

    /// Keys before the page.
    pub(super) fn offset(&self) -> i64 {
        i64::from(self.page.saturating_sub(1)) * i64::from(self.limit)
    }
}

impl Default for ListKeys {
    fn default() -> Self {
        Self {
            limit: Self::LIMIT_DEFAULT,
            page: 1,
            sort: Sort::NEWEST_FIRST,
            owner_kind: None,
            owner_id: None,
        }
    }
}

/// A new key of any family.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Whose it is; says the family too.
    pub tenant: Tenant,
    /// Its name for machines, where the family has one.
    pub slug: Option<KeySlug>,
    /// Its name for people.
    pub name: KeyName,
    /// Whom it is for.
    pub owner: Option<Owner>,
    /// Whether it may be used.
    pub status: KeyStatus,
    /// When it expires; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// What it may do; of the family of the tenant.
    pub grants: RawGrants,
}

impl NewKey {
    /// The key with its grants as they are stored: of the tenant's family, nothing that would be refused on write,
    /// and rules confined to their workspace.
    pub(super) fn checked(self) -> Result<Self, InvalidInput> {
        let grants = match (&self.tenant, self.grants) {
            (Tenant::Workspace(id), RawGrants::Workspace { rules }) => {
                scoped(&WorkspaceId::parse(id)?, rules)?
            }
            (Tenant::Org(slug), grants @ RawGrants::Org { .. }) => {
                OrgSlug::parse(slug)?;
                check_grants(&grants)?;
                grants
            }
            (Tenant::Access, grants @ RawGrants::Access(_)) => {
                check_grants(&grants)?;
                grants
            }
            (tenant, _) => {
                let problem = format!("are not those of family {}", tenant.family());
                return Err(InvalidInput::new("grants", problem));
            }
        };
        Ok(Self { grants, ..self })
    }
}
