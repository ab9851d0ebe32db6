//! Pages of a list that begin where another ended, in order of creation.
//!
//! A key that comes or goes meanwhile moves no other to a page where it is missed or met twice.

use super::row::{KEY_COLUMNS, key, select_keys, tenant_text};
use super::sql::{self, Conn};
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
    connection: &mut Conn<'_>,
    after: Option<i64>,
) -> Result<Vec<ListedKey>, StoreError> {
    const QUERY: &str =
        select_keys!(", k.seq FROM keys k WHERE k.seq > $1 ORDER BY k.seq LIMIT $2");
    let rows = sql::query(QUERY)
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
    connection: &mut Conn<'_>,
    tenant: &Tenant,
    id: &str,
) -> Result<Option<Position>, StoreError> {
    let found = sql::query(
        "SELECT created_at, seq FROM keys WHERE id = $1 AND family = $2 AND tenant = $3",
    )
    .bind(id)
    .bind(tenant.family().as_str())
    .bind(tenant_text(tenant))
    .fetch_optional(connection)
    .await?;
    let position = found.map(|row| {
        Ok(Position {
            created_at: row.try_get(0)?,
            seq: row.try_get(1)?,
        })
    });
    position.transpose()
}

/// The first keys of a walk that are admitted, `length` at most.
pub(in crate::control) async fn page(
    connection: &mut Conn<'_>,
    tenant: &Tenant,
    (mut from, direction): (Position, Direction),
    length: usize,
    admits: impl Fn(&StoredKey) -> bool,
) -> Result<Vec<StoredKey>, StoreError> {
    const OLDER: &str = select_keys!(
        ", k.seq FROM keys k WHERE k.family = $1 AND k.tenant = $2 AND (k.created_at, k.seq) < ($3, $4) ",
        "ORDER BY k.created_at DESC, k.seq DESC LIMIT $5",
    );
    const NEWER: &str = select_keys!(
        ", k.seq FROM keys k WHERE k.family = $1 AND k.tenant = $2 AND (k.created_at, k.seq) > ($3, $4) ",
        "ORDER BY k.created_at, k.seq LIMIT $5",
    );
    let mut page = Vec::new();
    loop {
        let query = sql::query(match direction {
            Direction::Older => OLDER,
            Direction::Newer => NEWER,
        });
        let rows = query
            .bind(tenant.family().as_str())
            .bind(tenant_text(tenant))
            .bind(from.created_at)
            .bind(from.seq)
            .bind(CHUNK)
            .fetch_all(connection)
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
