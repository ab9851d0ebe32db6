//! Pages of a list that begin where another ended, in order of creation.
//!
//! A key that comes or goes meanwhile moves no other to a page where it is missed or met twice.

use sqlx::{Row as _, SqliteConnection};

use super::row::{KEY_COLUMNS, key, select_keys, tenant_text};
use super::{StoreError, StoredKey};
use crate::authz::Tenant;

/// Keys looked at before the next are asked for.
const CHUNK: i64 = 256;
/// Keys on a page of those of all families.
const KEYS_OF_ALL: i64 = 1000;

/// A key of a walk over those of all families.
#[derive(Debug)]
pub(in crate::control) struct ListedKey {
    /// Where it stands.
    pub(in crate::control) place: i64,
    /// The key.
    pub(in crate::control) key: StoredKey,
}

/// Keys of all families in the order in which they were added, from behind a place on.
pub(in crate::control) async fn of_all(
    connection: &mut SqliteConnection,
    after: Option<i64>,
) -> Result<Vec<ListedKey>, StoreError> {
    const QUERY: &str = select_keys!(", k.seq FROM keys k WHERE k.seq > ? ORDER BY k.seq LIMIT ?");
    let rows = sqlx::query(QUERY)
        .bind(after.unwrap_or(i64::MIN))
        .bind(KEYS_OF_ALL)
        .fetch_all(connection)
        .await?;
    let listed = rows.iter().map(|row| {
        Ok(ListedKey {
            place: row.try_get(KEY_COLUMNS)?,
            key: key(row)?,
        })
    });
    listed.collect()
}

/// Which way a list is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Direction {
    /// From a key to those made before it.
    Older,
    /// From a key to those made after it.
    Newer,
}

/// A place in the order of creation: its moment, and among the keys of one moment their number.
#[derive(Debug, Clone, Copy)]
pub(in crate::control) struct Position {
    created_at: i64,
    seq: i64,
}

impl Position {
    /// Where a walk begins that leaves nothing out.
    pub(in crate::control) const fn edge(direction: Direction) -> Self {
        let end = match direction {
            Direction::Older => i64::MAX,
            Direction::Newer => i64::MIN,
        };
        Self {
            created_at: end,
            seq: end,
        }
    }
}

/// Where the key with this id stands.
pub(in crate::control) async fn position(
    connection: &mut SqliteConnection,
    tenant: &Tenant,
    id: &str,
) -> Result<Option<Position>, StoreError> {
    let found = sqlx::query_as(
        "SELECT created_at, seq FROM keys WHERE id = ? AND family = ? AND tenant = ?",
    )
    .bind(id)
    .bind(tenant.family().as_str())
    .bind(tenant_text(tenant))
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|(created_at, seq)| Position { created_at, seq }))
}

/// The first keys of a walk that are admitted, `length` at most.
pub(in crate::control) async fn page(
    connection: &mut SqliteConnection,
    tenant: &Tenant,
    (mut from, direction): (Position, Direction),
    length: usize,
    admits: impl Fn(&StoredKey) -> bool,
) -> Result<Vec<StoredKey>, StoreError> {
    const OLDER: &str = select_keys!(
        ", k.seq FROM keys k WHERE k.family = ? AND k.tenant = ? AND (k.created_at, k.seq) < (?, ?) ",
        "ORDER BY k.created_at DESC, k.seq DESC LIMIT ?",
    );
    const NEWER: &str = select_keys!(
        ", k.seq FROM keys k WHERE k.family = ? AND k.tenant = ? AND (k.created_at, k.seq) > (?, ?) ",
        "ORDER BY k.created_at, k.seq LIMIT ?",
    );
    let mut page = Vec::new();
    loop {
        let query = sqlx::query(match direction {
            Direction::Older => OLDER,
            Direction::Newer => NEWER,
        });
        let rows = query
            .bind(tenant.family().as_str())
            .bind(tenant_text(tenant))
            .bind(from.created_at)
            .bind(from.seq)
            .bind(CHUNK)
            .fetch_all(&mut *connection)
            .await?;
        for row in &rows {
            if page.len() == length {
                return Ok(page);
            }
            let key = key(row)?;
            from = Position {
                created_at: key.created_at.as_millis(),
                seq: row.try_get(KEY_COLUMNS)?,
            };
            if admits(&key) {
                page.push(key);
            }
        }
        if i64::try_from(rows.len()).is_ok_and(|rows| rows < CHUNK) {
            return Ok(page);
        }
    }
}
