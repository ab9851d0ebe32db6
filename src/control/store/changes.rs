//! What became of the keys since a revision: read from the log of changes and the keys as they are now.

use std::collections::HashSet;

use super::load::entries;
use super::row::{revision as read_revision, select_keys, stored_revision};
use super::sql::{self, Builder, Conn};
use super::{StoreError, read};
use crate::authz::{KeyId, Revision};
use crate::wire::sync::Position;
use crate::wire::{Change, SecretEntry};

/// Keys that one change leads over, at most. Beyond that a whole snapshot costs less than the way there.
const KEYS_MAX: usize = 10_000;
/// Keys read at once.
const BATCH_KEYS: usize = 500;

/// What leads from a revision to the last one.
#[derive(Debug)]
pub(in crate::control) enum Since {
    /// There is nothing later.
    Nothing,
    /// One change, of every key that changed since.
    Change(Change),
    /// The log does not go back so far, or too many keys have changed: only the whole state helps.
    TooOld,
}

/// What leads from `known` to the last revision, and where that is. To be asked within one
/// transaction, so that keys, log and revision are of one moment.
pub(in crate::control) async fn since(
    connection: &mut Conn<'_>,
    known: Revision,
) -> Result<(Since, Position), StoreError> {
    let at = read::identity(connection).await?;
    let since = up_to(connection, known, at.revision).await?;
    Ok((since, at))
}

/// What leads from `known` to `last`, which is the last revision within the transaction.
pub(super) async fn up_to(
    connection: &mut Conn<'_>,
    known: Revision,
    last: Revision,
) -> Result<Since, StoreError> {
    if last <= known {
        return Ok(Since::Nothing);
    }
    if !reaches(connection, known).await? {
        return Ok(Since::TooOld);
    }
    let ids = changed_keys(connection, known).await?;
    if ids.len() > KEYS_MAX {
        return Ok(Since::TooOld);
    }
    let put = entries_of(connection, &ids).await?;
    let present: HashSet<&KeyId> = put.iter().map(|entry| &entry.record.id).collect();
    let removed = ids.iter().filter(|id| !present.contains(id));
    let removed = removed.cloned().collect();
    Ok(Since::Change(Change {
        previous: known,
        revision: last,
        put,
        removed,
    }))
}

/// Whether the log has everything that came after a revision. Each revision has at least one line in it.
pub(in crate::control) async fn reaches(
    connection: &mut Conn<'_>,
    known: Revision,
) -> Result<bool, StoreError> {
    let oldest: Option<i64> = sql::query("SELECT min(revision) FROM changes")
        .fetch_scalar(connection)
        .await?;
    let oldest = oldest.map(read_revision).transpose()?;
    Ok(oldest.is_some_and(|oldest| oldest.0 <= known.0.saturating_add(1)))
}

/// The keys that changed after a revision, or more than are looked at.
async fn changed_keys(
    connection: &mut Conn<'_>,
    known: Revision,
) -> Result<Vec<KeyId>, StoreError> {
    let limit = i64::try_from(KEYS_MAX.saturating_add(1)).unwrap_or(i64::MAX);
    let rows = sql::query("SELECT DISTINCT key_id FROM changes WHERE revision > $1 LIMIT $2")
        .bind(stored_revision(known))
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| Ok(KeyId::new(row.try_get::<String>(0)?)))
        .collect()
}

/// Those of these keys that are there, with all their secrets.
pub(super) async fn entries_of(
    connection: &mut Conn<'_>,
    ids: &[KeyId],
) -> Result<Vec<SecretEntry>, StoreError> {
    const SECRETS: &str = select_keys!(
        ", s.digest, s.kind, s.retired_at ",
        "FROM keys k LEFT JOIN secrets s ON s.key_seq = k.seq WHERE k.id IN (",
    );
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(BATCH_KEYS) {
        let mut query = Builder::new(SECRETS);
        query
            .list(ids.iter().map(KeyId::as_str))
            .push(") ORDER BY k.seq, s.created_at");
        let is_usual = ids.len() == 1 || ids.len() == BATCH_KEYS;
        let rows = query.build().kept(is_usual).fetch_all(connection).await?;
        found.extend(entries(&rows)?);
    }
    Ok(found)
}
