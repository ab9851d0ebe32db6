//! The audit log over HTTP, for administrators: the newest entry first, page by page.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::auth::administrator;
use super::error::{ApiError, Refusals};
use super::input::{moment, present, query};
use super::{Api, answer};
use crate::authz::{Tenant, Timestamp};
use crate::control::command::InvalidInput;
use crate::control::store::log::{Entry, WantedEntries};
use crate::wire::time::format_rfc3339;

/// Entries a page, where nothing is said.
const LIMIT_DEFAULT: u32 = 100;
/// Most entries a page.
const LIMIT_MAX: u32 = 1_000;

/// Which entries are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Entries a page, or fewer where they are long; 100 where absent.
    #[serde(default, deserialize_with = "present")]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Only entries before the one with this `seq`: the `next` of the page before.
    #[serde(default, deserialize_with = "present")]
    before: Option<i64>,
    /// Only entries of the key with this id. Entries of several keys, as an import makes them, are of none.
    #[serde(default, deserialize_with = "present")]
    key_id: Option<String>,
    /// Only entries of keys of this organization.
    #[serde(default, deserialize_with = "present")]
    org: Option<String>,
    /// Only entries of keys of this workspace.
    #[serde(default, deserialize_with = "present")]
    workspace: Option<String>,
    /// No entries before this moment (RFC 3339).
    #[serde(default, deserialize_with = "present")]
    since: Option<String>,
    /// No entries at this moment or later (RFC 3339).
    #[serde(default, deserialize_with = "present")]
    until: Option<String>,
}

/// One page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditPage {
    /// The entries, the newest first.
    entries: Vec<AuditEntry>,
    /// The `before` of the next page; absent: this was the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<i64>,
}

/// What somebody did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditEntry {
    /// Its number; a later entry has a greater one.
    seq: i64,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// The revision that it made.
    revision: u64,
    /// Who: `admin`, `key:ID`, `program:NAME`.
    actor: String,
    /// What.
    action: String,
    /// `org`, `workspace` or `access`; null: of several, or none.
    family: Option<String>,
    /// The organization or workspace; null: several, or none.
    tenant: Option<String>,
    /// The key; null: several, which are in `after`, or none.
    key_id: Option<String>,
    /// What was, without secrets; null: nothing.
    before: Value,
    /// What is, without secrets; null: nothing. Of several keys a list.
    after: Value,
}

/// List who did what, the newest first.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "listAuditEntries", tag = "Keyward",
    params(AuditQuery),
    responses((status = 200, description = "One page", body = AuditPage), Refusals),
    security(("admin" = []))
)]
pub(super) async fn list(
    State(api): State<Api>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    administrator(&api, &headers).await?;
    let wanted = wanted(query(&uri)?)?;
    let entries = api.0.keys.audit(&wanted).await?;
    let page = entries.map(|(entries, is_more)| AuditPage {
        next: entries.last().filter(|_| is_more).map(|entry| entry.seq),
        entries: entries.into_iter().map(shown).collect(),
    });
    Ok(answer::read(&page))
}

fn wanted(asked: AuditQuery) -> Result<WantedEntries, InvalidInput> {
    let limit = asked.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let problem = format!("is 1 to {LIMIT_MAX}");
        return Err(InvalidInput::new("limit", problem));
    }
    let tenant = match (asked.org, asked.workspace) {
        (Some(_), Some(_)) => {
            return Err(InvalidInput::new(
                "workspace",
                "and `org` exclude each other",
            ));
        }
        (Some(org), None) => Some(Tenant::Org(org)),
        (None, workspace) => workspace.map(Tenant::Workspace),
    };
    let at = |field: &str, text: Option<String>| -> Result<Option<Timestamp>, InvalidInput> {
        text.map(|text| moment(field, &text)).transpose()
    };
    Ok(WantedEntries {
        key_id: asked.key_id,
        tenant,
        since: at("since", asked.since)?,
        until: at("until", asked.until)?,
        before: asked.before,
        limit,
    })
}

fn shown(entry: Entry) -> AuditEntry {
    let named = |text: String| (!text.is_empty()).then_some(text);
    // It was JSON when it was written; what is not any more is shown as it is.
    let state = |text: Option<String>| {
        text.map_or(Value::Null, |text| {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        })
    };
    AuditEntry {
        seq: entry.seq,
        at: format_rfc3339(entry.at),
        revision: entry.revision.0,
        actor: entry.actor,
        action: entry.action,
        family: named(entry.family),
        tenant: named(entry.tenant),
        key_id: named(entry.key_id),
        before: state(entry.before),
        after: state(entry.after),
    }
}
