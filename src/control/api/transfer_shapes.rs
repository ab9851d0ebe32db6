//! Lines of imports and exports, and what is said of an import.
//!
//! A line is the body of its family's create call beside the few fields that a path or an answer would hold there. It
//! is taken apart here and each part goes where that of a call goes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::input::{moment, object_of, strict_object};
use super::{access_answered, access_keys, org_keys, org_shapes, workspace_keys, workspace_shapes};
use crate::authz::{Family, KeyStatus, Tenant};
use crate::control::command::{InvalidInput, NewKey, OrgSlug, WorkspaceId};
use crate::control::store::StoredKey;
use crate::control::token::{GivenSecret, RawKey};
use crate::telemetry::redact::Redactor;

/// Most refusals that an answer lists; all are counted.
const REFUSALS_MAX: usize = 100;
/// Most characters of a field or a problem in an answer.
const TEXT_CHARACTERS_MAX: usize = 300;

/// How an import deals with lines that are refused.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportQuery {
    /// Absent: `stop`.
    #[serde(default)]
    #[param(inline, required = false)]
    pub(super) on_refusal: OnRefusal,
}

/// What is done when a line is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnRefusal {
    /// The lines before it are imported; it and what follows is not.
    #[default]
    Stop,
    /// It is left out.
    Skip,
}

/// What became of an import.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct ImportReport {
    /// Lines that were looked at, blank ones aside.
    pub(super) lines: u64,
    /// Of them, those that made a key.
    pub(super) created: u64,
    /// Of them, those whose key was there already, with the same grants. Nothing about it was changed.
    pub(super) unchanged: u64,
    /// Of them, those that were refused.
    pub(super) refused: u64,
    /// The first 100 lines that were refused.
    #[schema(max_items = 100)]
    pub(super) refusals: Vec<Refusal>,
    /// The line at which the import stopped. Those before it are imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) stopped_at: Option<u64>,
    /// The revision of the last change.
    pub(super) revision: u64,
}

/// A line that was refused, and why.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refusal {
    /// Which; the first is 1.
    #[schema(minimum = 1)]
    pub(super) line: u64,
    /// The field at fault; `line` where it is none in particular.
    pub(super) field: String,
    /// What is wrong with it, to be read after the field's name.
    pub(super) problem: String,
}

impl ImportReport {
    /// Counts a refusal, and lists it while there is room. What looks like a secret is not repeated.
    pub(super) fn refuse(&mut self, line: u64, fault: &InvalidInput) {
        self.refused += 1;
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push(Refusal {
                line,
                field: shown(field_of_line(&fault.field)),
                problem: shown(&fault.problem),
            });
        }
    }
}

fn shown(text: &str) -> String {
    let text = Redactor::default().text(text.as_bytes()).into_owned();
    let is_short = text.chars().nth(TEXT_CHARACTERS_MAX).is_none();
    if is_short {
        return text;
    }
    let beginning = text.chars().take(TEXT_CHARACTERS_MAX);
    beginning.chain(['…']).collect()
}

/// What a line calls a field that is a part of a path in the calls of its family.
fn field_of_line(field: &str) -> &str {
    match field {
        "orgSlug" => "org",
        "workspaceId" => "workspace",
        "body" => "line",
        other => other,
    }
}

/// A key as a line says that it is to be.
pub(super) struct ImportedKey {
    pub(super) key: NewKey,
    pub(super) secret: ImportedSecret,
}

/// Its secret, or what is known of it.
pub(super) enum ImportedSecret {
    Token(RawKey),
    Digest(GivenSecret<'static>),
}

impl ImportedSecret {
    pub(super) fn given(&self) -> GivenSecret<'_> {
        match self {
            Self::Token(raw) => GivenSecret::Raw(raw),
            Self::Digest(digest) => *digest,
        }
    }

    /// The field that it came from.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Digest(_) => "digest",
        }
    }
}

/// Reads a line of an import.
///
/// # Errors
/// The field at fault.
pub(super) fn read_line(text: &[u8]) -> Result<ImportedKey, InvalidInput> {
    let mut members = strict_object(text)?;
    let family = take(&mut members, "family")?;
    let org = take(&mut members, "org")?;
    let workspace = take(&mut members, "workspace")?;
    let token = take(&mut members, "token")?;
    let digest = take(&mut members, "digest")?;
    let status = take(&mut members, "status")?;
    if status.is_some() && members.contains_key("disabled") {
        let problem = "is there beside `disabled`: give one of them";
        return Err(InvalidInput::new("status", problem));
    }
    let mut key = match read_family(family)? {
        Family::Org => {
            absent("workspace", workspace)?;
            org_keys::new_key(&OrgSlug::parse(&needed("org", org)?)?, object_of(members)?)?
        }
        Family::Workspace => {
            absent("org", org)?;
            let workspace = WorkspaceId::parse(&needed("workspace", workspace)?)?;
            let expires_at = take(&mut members, "expiresAt")?;
            let expires_at = expires_at.map(|text| moment("expiresAt", &text));
            NewKey {
                expires_at: expires_at.transpose()?,
                ..workspace_keys::new_key(&workspace, object_of(members)?)?
            }
        }
        Family::Access => {
            absent("org", org)?;
            absent("workspace", workspace)?;
            access_keys::new_key(object_of(members)?)?
        }
    };
    if let Some(status) = status {
        key.status = read_status(&status)?;
    }
    let secret = secret(token, digest, &key.tenant)?;
    Ok(ImportedKey { key, secret })
}

fn take(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, InvalidInput> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(InvalidInput::new(name, "is not a string")),
    }
}

fn needed(name: &str, value: Option<String>) -> Result<String, InvalidInput> {
    value.ok_or_else(|| InvalidInput::new(name, "is missing"))
}

fn absent(name: &str, value: Option<String>) -> Result<(), InvalidInput> {
    match value {
        None => Ok(()),
        Some(_) => Err(InvalidInput::new(
            name,
            "is no field of keys of this family",
        )),
    }
}

fn read_family(text: Option<String>) -> Result<Family, InvalidInput> {
    match needed("family", text)?.as_str() {
        "org" => Ok(Family::Org),
        "workspace" => Ok(Family::Workspace),
        "access" => Ok(Family::Access),
        _ => {
            let problem = "is none of `org`, `workspace`, `access`";
            Err(InvalidInput::new("family", problem))
        }
    }
}

fn read_status(text: &str) -> Result<KeyStatus, InvalidInput> {
    match text {
        "active" => Ok(KeyStatus::Active),
        "disabled" => Ok(KeyStatus::Disabled),
        "revoked" => Ok(KeyStatus::Revoked),
        _ => {
            let problem = "is none of `active`, `disabled`, `revoked`";
            Err(InvalidInput::new("status", problem))
        }
    }
}

fn secret(
    token: Option<String>,
    digest: Option<String>,
    tenant: &Tenant,
) -> Result<ImportedSecret, InvalidInput> {
    match (token, digest) {
        (Some(token), None) => RawKey::given(token, tenant).map(ImportedSecret::Token),
        (None, Some(digest)) => GivenSecret::parse(&digest).map(ImportedSecret::Digest),
        (None, None) => Err(InvalidInput::new("token", "is missing, and so is `digest`")),
        (Some(_), Some(_)) => {
            let problem = "is there beside `token`: give one of them";
            Err(InvalidInput::new("digest", problem))
        }
    }
}

/// A line of an export: what an import takes but for the secret.
#[derive(Serialize)]
struct ExportedKey<'a> {
    family: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace: Option<&'a str>,
    /// Absent: active.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(flatten)]
    body: Map<String, Value>,
}

/// Writes a line of an export, with its end.
///
/// # Errors
/// It cannot be written as JSON, which is a fault of this program.
pub(super) fn write_line(into: &mut Vec<u8>, key: StoredKey) -> Result<(), serde_json::Error> {
    let tenant = key.record.tenant.clone();
    let (org, workspace) = match &tenant {
        Tenant::Org(slug) => (Some(slug.as_str()), None),
        Tenant::Workspace(id) => (None, Some(id.as_str())),
        Tenant::Access => (None, None),
    };
    let line = ExportedKey {
        family: tenant.family().as_str(),
        org,
        workspace,
        status: match key.record.status {
            KeyStatus::Active => None,
            KeyStatus::Disabled => Some("disabled"),
            KeyStatus::Revoked => Some("revoked"),
        },
        body: match &tenant {
            Tenant::Org(_) => org_shapes::as_created(key),
            Tenant::Workspace(_) => workspace_shapes::as_created(key),
            Tenant::Access => access_answered::as_created(key),
        },
    };
    serde_json::to_writer(&mut *into, &line)?;
    into.push(b'\n');
    Ok(())
}
