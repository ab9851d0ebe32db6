//! The audit log, read page by page: the newest entry first.

use super::StoreError;
use super::row::{revision, tenant_text};
use super::sql::{Builder, Conn, Row};
use crate::authz::{Revision, Tenant, Timestamp};

/// Bytes of what was and what is that are on one page, unless its first entry has more.
const PAGE_BYTES_MAX: i64 = 4 * 1024 * 1024;

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

/// The newest entries that are wanted, and whether there may be more: as many as are asked for, but not more than may be
/// in memory at once. An entry of an import holds a thousand keys.
pub(in crate::control) async fn entries(
    connection: &mut Conn<'_>,
    wanted: &WantedEntries,
) -> Result<(Vec<Entry>, bool), StoreError> {
    let (oldest, is_more) = page(connection, wanted).await?;
    let Some(oldest) = oldest else {
        return Ok((Vec::new(), false));
    };
    let mut query = Builder::new(
        "SELECT seq, at, revision, actor, action, family, tenant, key_id, before_state, after_state \
         FROM audit WHERE seq >= ",
    );
    query.bind(oldest).push(" AND ");
    push_wanted(&mut query, wanted);
    let rows = query.build().fetch_all(connection).await?;
    let entries = rows.iter().map(entry).collect::<Result<_, _>>()?;
    Ok((entries, is_more))
}

/// Which entry is the last one of a page, and whether there may be another page.
async fn page(
    connection: &mut Conn<'_>,
    wanted: &WantedEntries,
) -> Result<(Option<i64>, bool), StoreError> {
    let mut query = Builder::new(
        "SELECT seq, CAST(coalesce(octet_length(before_state), 0) + coalesce(octet_length(after_state), 0) AS BIGINT) \
         FROM audit WHERE ",
    );
    push_wanted(&mut query, wanted);
    let rows = query.build().fetch_all(connection).await?;
    let (mut last, mut bytes) = (None, 0_i64);
    for row in &rows {
        bytes = bytes.saturating_add(row.try_get(1)?);
        if last.is_some() && bytes > PAGE_BYTES_MAX {
            return Ok((last, true));
        }
        last = Some(row.try_get(0)?);
    }
    Ok((last, u32::try_from(rows.len()) == Ok(wanted.limit)))
}

fn push_wanted<'q>(query: &mut Builder<'q>, wanted: &'q WantedEntries) {
    query.push("seq < ").bind(wanted.before.unwrap_or(i64::MAX));
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
