//! What the database forgets: logs and tombstones, little by little, in the transactions that add to them.
//!
//! No step takes long, so nobody waits for one; each takes away more than was added since the one before.

use super::StoreError;
use super::row::stored_revision;
use super::sql::{self, Conn};
use crate::authz::{Revision, Rulebook, Timestamp};

/// Revisions that the change log goes back: how far a gateway may be behind that is brought up by changes.
const CHANGES_KEPT: u64 = 100_000;
/// How long an entry of the audit log is kept.
const AUDIT_DAYS: i64 = 400;
/// Entries of the audit log, whatever their age.
const AUDIT_ENTRIES_MAX: i64 = 1_000_000;
/// Revisions after which something is forgotten again.
const EVERY_REVISIONS: u64 = 16;
/// Revisions of the change log, entries of the audit log, and tombstones that are forgotten at once.
const AT_ONCE: i64 = 64;
/// Tombstones that are forgotten at once when the database is opened.
const AT_ONCE_AT_OPENING: i64 = 1_000;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Forgets a little, if it is time to, in a transaction that made the revisions after `former` up to `last`.
pub(super) async fn forget_some(
    conn: &mut Conn<'_>,
    (former, last): (Revision, Revision),
    now: Timestamp,
) -> Result<(), StoreError> {
    if former.0 / EVERY_REVISIONS == last.0 / EVERY_REVISIONS {
        return Ok(());
    }
    forget_changes(conn, last).await?;
    forget_audit(conn, now).await?;
    forget_tombstones(conn, now, AT_ONCE).await?;
    Ok(())
}

/// Forgets every tombstone that is old enough.
pub(super) async fn forget_all_tombstones(
    conn: &mut Conn<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    while forget_tombstones(conn, now, AT_ONCE_AT_OPENING).await? > 0 {}
    Ok(())
}

async fn forget_changes(conn: &mut Conn<'_>, last: Revision) -> Result<(), StoreError> {
    let oldest: Option<i64> = sql::query("SELECT min(revision) FROM changes")
        .fetch_scalar(conn)
        .await?;
    let Some(oldest) = oldest else {
        return Ok(());
    };
    let kept_after = Revision(last.0.saturating_sub(CHANGES_KEPT));
    let until = stored_revision(kept_after).min(oldest.saturating_add(AT_ONCE));
    sql::query("DELETE FROM changes WHERE revision <= $1")
        .bind(until)
        .execute(conn)
        .await?;
    Ok(())
}

async fn forget_audit(conn: &mut Conn<'_>, now: Timestamp) -> Result<(), StoreError> {
    let ends = sql::query("SELECT min(seq), max(seq) FROM audit")
        .fetch_one(conn)
        .await?;
    let (oldest, newest): (Option<i64>, Option<i64>) = (ends.try_get(0)?, ends.try_get(1)?);
    let Some((oldest, newest)) = oldest.zip(newest) else {
        return Ok(());
    };
    sql::query("DELETE FROM audit WHERE seq < $1 AND (seq <= $2 OR at < $3)")
        .bind(oldest.saturating_add(AT_ONCE))
        .bind(newest.saturating_sub(AUDIT_ENTRIES_MAX))
        .bind(now.plus_seconds(-AUDIT_DAYS * DAY_SECONDS).as_millis())
        .execute(conn)
        .await?;
    Ok(())
}

/// Drops secrets that were rotated away so long ago that they are as unknown as any. Says how many.
async fn forget_tombstones(
    conn: &mut Conn<'_>,
    now: Timestamp,
    at_once: i64,
) -> Result<u64, StoreError> {
    let forgotten_before = now.plus_seconds(-Rulebook::TOMBSTONE_DAYS * DAY_SECONDS);
    let forgotten = sql::query(
        "DELETE FROM secrets WHERE (digest, kind) IN \
         (SELECT digest, kind FROM secrets WHERE retired_at <= $1 LIMIT $2)",
    )
    .bind(forgotten_before.as_millis())
    .bind(at_once)
    .execute(conn)
    .await?;
    Ok(forgotten)
}
