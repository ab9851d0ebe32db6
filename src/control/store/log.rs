//! The audit log, read page by page: the newest entry first.

use super::StoreError;
use super::row::{revision, tenant_text};
use super::sql::{Builder, Conn, Row};
use crate::authz::{Revision, Tenant, Timestamp};

/// Which entries are wanted.
#[derive(Debug, Default)]
pub(in crate::control) struct WantedEntries {
    /// Only those of this key.
    pub(in crate::control) key_id: Option<String>,
    /// Only those of this tenant.
    pub(in crate::control) tenant: Option<Tenant>,
    /// None before this moment.
    pub(in crate::control) since: Option<Timestamp>,
    /// None at this moment or later.
    pub(in crate::control) until: Option<Timestamp>,
    /// Only those before this one.
    pub(in crate::control) before: Option<i64>,
    /// How many at most.
    pub(in crate::control) limit: u32,
}

/// What somebody did.
#[derive(Debug)]
pub(in crate::control) struct Entry {
    /// Its number; a later entry has a greater one.
    pub(in crate::control) seq: i64,
    /// When.
    pub(in crate::control) at: Timestamp,
    /// The revision that it made.
    pub(in crate::control) revision: Revision,
    /// Who.
    pub(in crate::control) actor: String,
    /// What.
    pub(in crate::control) action: String,
    /// Of which family the keys are; empty: of several, or none.
    pub(in crate::control) family: String,
    /// Of which tenant; empty likewise.
    pub(in crate::control) tenant: String,
    /// Which key; empty: several, or none.
    pub(in crate::control) key_id: String,
    /// What was, as JSON text.
    pub(in crate::control) before: Option<String>,
    /// What is, as JSON text.
    pub(in crate::control) after: Option<String>,
}

/// The newest entries that are wanted.
pub(in crate::control) async fn entries(
    connection: &mut Conn<'_>,
    wanted: &WantedEntries,
) -> Result<Vec<Entry>, StoreError> {
    let mut query = Builder::new(
        "SELECT seq, at, revision, actor, action, family, tenant, key_id, before_state, after_state \
         FROM audit WHERE seq < ",
    );
    query.bind(wanted.before.unwrap_or(i64::MAX));
    if let Some(id) = &wanted.key_id {
        query.push(" AND key_id = ").bind(id.as_str());
    }
    if let Some(tenant) = &wanted.tenant {
        query
            .push(" AND family = ")
            .bind(tenant.family().as_str())
            .push(" AND tenant = ")
            .bind(tenant_text(tenant));
    }
    if let Some(since) = wanted.since {
        query.push(" AND at >= ").bind(since.as_millis());
    }
    if let Some(until) = wanted.until {
        query.push(" AND at < ").bind(until.as_millis());
    }
    query
        .push(" ORDER BY seq DESC LIMIT ")
        .bind(i64::from(wanted.limit));
    let rows = query.build().fetch_all(connection).await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &Row) -> Result<Entry, StoreError> {
    Ok(Entry {
        seq: row.try_get(0)?,
        at: Timestamp::from_millis(row.try_get(1)?),
        revision: revision(row.try_get(2)?)?,
        actor: row.try_get(3)?,
        action: row.try_get(4)?,
        family: row.try_get(5)?,
        tenant: row.try_get(6)?,
        key_id: row.try_get(7)?,
        before: row.try_get(8)?,
        after: row.try_get(9)?,
    })
}
