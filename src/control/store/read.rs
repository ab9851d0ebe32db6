//! Questions to the database.

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use super::row::{KEY_COLUMNS, key, secret, select_keys, tenant_text};
use super::{ReadOnlyStore, Store, StoreError, StoredKey};
use crate::authz::{
    KeyDigest, KeyId, Pepper, PresentedKey, Revision, Sha256Digest, Tenant, Timestamp,
};
use crate::control::command::{ListKeys, SortField};
use crate::wire::{Epoch, Secret};

/// The digests by which a key that somebody showed is found.
#[derive(Debug, Clone, Copy)]
pub(in crate::control) struct Shown {
    blake3: KeyDigest,
    sha256: Sha256Digest,
}

impl Shown {
    /// Hashes a key as shown.
    pub(in crate::control) fn new(key: &PresentedKey<'_>, pepper: Option<&Pepper>) -> Self {
        Self {
            blake3: key.digest(pepper),
            sha256: key.sha256(),
        }
    }
}

/// What a key is found by.
#[derive(Debug)]
pub(in crate::control) enum Wanted {
    /// Its id, else its slug.
    Name(String),
    /// Its current secret.
    Secret(Shown),
}

/// A key found by one of its secrets.
#[derive(Debug)]
pub(in crate::control) struct Located {
    /// The key.
    pub(in crate::control) key: StoredKey,
    /// When that secret was, or will be, rotated away.
    pub(in crate::control) retired_at: Option<Timestamp>,
}

impl Store {
    /// The history that this is.
    pub(in crate::control) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Connections for reading.
    pub(in crate::control) fn readers(&self) -> &SqlitePool {
        &self.readers
    }
}

impl ReadOnlyStore {
    /// The history that this is.
    pub(in crate::control) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The connection for reading.
    pub(in crate::control) fn connection(&self) -> &tokio::sync::Mutex<SqliteConnection> {
        &self.connection
    }
}

/// The last revision committed.
pub(in crate::control) async fn revision(
    connection: &mut SqliteConnection,
) -> Result<Revision, StoreError> {
    let stored = sqlx::query_scalar("SELECT revision FROM meta")
        .fetch_one(connection)
        .await?;
    super::row::revision(stored)
}

/// How many keys there are.
pub(in crate::control) async fn count(
    connection: &mut SqliteConnection,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM keys")
        .fetch_one(connection)
        .await?)
}

/// The key with this id, of any family.
pub(super) async fn by_id(
    connection: &mut SqliteConnection,
    id: &KeyId,
) -> Result<Option<StoredKey>, StoreError> {
    const QUERY: &str = select_keys!("FROM keys k WHERE k.id = ?");
    let row = sqlx::query(QUERY)
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(key).transpose()
}

/// The key that a secret belongs to.
pub(in crate::control) async fn by_secret(
    connection: &mut SqliteConnection,
    shown: &Shown,
) -> Result<Option<Located>, StoreError> {
    const QUERY: &str = select_keys!(
        ", s.digest, s.kind, s.retired_at FROM secrets s JOIN keys k ON k.seq = s.key_seq ",
        "WHERE (s.digest = ?1 AND s.kind = 'blake3') OR (s.digest = ?2 AND s.kind = 'sha256') ",
        "ORDER BY s.kind LIMIT 1",
    );
    let row = sqlx::query(QUERY)
        .bind(shown.blake3.as_bytes().as_slice())
        .bind(shown.sha256.0.as_slice())
        .fetch_optional(connection)
        .await?;
    row.map(|row| {
        Ok(Located {
            key: key(&row)?,
            retired_at: secret(&row, KEY_COLUMNS)?.and_then(|secret| secret.retired_at),
        })
    })
    .transpose()
}

/// The key of a tenant that is wanted. Another tenant's is none.
pub(in crate::control) async fn find(
    connection: &mut SqliteConnection,
    tenant: &Tenant,
    wanted: &Wanted,
) -> Result<Option<StoredKey>, StoreError> {
    match wanted {
        Wanted::Name(name) => by_name(connection, tenant, name).await,
        Wanted::Secret(shown) => {
            let located = by_secret(connection, shown).await?;
            Ok(located
                .filter(|located| located.retired_at.is_none())
                .map(|located| located.key)
                .filter(|key| key.record.tenant == *tenant))
        }
    }
}

/// The key of a tenant that has this id, else the one that has this slug.
async fn by_name(
    connection: &mut SqliteConnection,
    tenant: &Tenant,
    id_or_slug: &str,
) -> Result<Option<StoredKey>, StoreError> {
    const QUERY: &str = select_keys!(
        "FROM keys k WHERE k.family = ?1 AND k.tenant = ?2 AND (k.id = ?3 OR k.slug = ?3) ",
        "ORDER BY k.id = ?3 DESC LIMIT 1",
    );
    let row = sqlx::query(QUERY)
        .bind(tenant.family().as_str())
        .bind(tenant_text(tenant))
        .bind(id_or_slug)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(key).transpose()
}

/// Keys of this kind of owner, of all families.
pub(in crate::control) async fn owned_by(
    connection: &mut SqliteConnection,
    owner_kind: &str,
) -> Result<Vec<StoredKey>, StoreError> {
    const QUERY: &str = select_keys!("FROM keys k WHERE k.owner_kind = ? ORDER BY k.seq");
    let rows = sqlx::query(QUERY)
        .bind(owner_kind)
        .fetch_all(connection)
        .await?;
    rows.iter().map(key).collect()
}

/// One page of the keys of a tenant, and how many keys all pages have together.
pub(in crate::control) async fn list(
    connection: &mut SqliteConnection,
    tenant: &Tenant,
    asked: &ListKeys,
) -> Result<(Vec<StoredKey>, i64), StoreError> {
    let mut transaction = connection.begin().await?;
    let mut total = QueryBuilder::new("SELECT count(*) FROM keys k");
    push_filter(&mut total, tenant, asked);
    let total = total
        .build_query_scalar()
        .fetch_one(&mut *transaction)
        .await?;
    let mut page = QueryBuilder::new(select_keys!("FROM keys k"));
    push_filter(&mut page, tenant, asked);
    push_page(&mut page, asked);
    let rows: Vec<SqliteRow> = page.build().fetch_all(&mut *transaction).await?;
    let keys = rows.iter().map(key).collect::<Result<_, _>>()?;
    Ok((keys, total))
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, tenant: &Tenant, asked: &ListKeys) {
    query
        .push(" WHERE k.family = ")
        .push_bind(tenant.family().as_str())
        .push(" AND k.tenant = ")
        .push_bind(tenant_text(tenant).to_owned());
    if let Some(kind) = &asked.owner_kind {
        query.push(" AND k.owner_kind = ").push_bind(kind.clone());
    }
    if let Some(id) = &asked.owner_id {
        query.push(" AND k.owner_id = ").push_bind(id.clone());
    }
}

/// Order and section. The id breaks ties, so that no key is on two pages.
///
/// Where an owner is asked for, a `+` keeps SQLite from walking all keys in order of creation instead of going
/// straight to the few of that owner.
fn push_page(query: &mut QueryBuilder<Sqlite>, asked: &ListKeys) {
    let column = match asked.sort.field {
        SortField::CreatedAt => "k.created_at",
        SortField::UpdatedAt => "k.updated_at",
        SortField::Name => "k.name",
        SortField::Slug => "k.slug",
        SortField::ExpiresAt => "k.expires_at",
    };
    let by_owner = asked.owner_kind.is_some() || asked.owner_id.is_some();
    let hint = if by_owner { "+" } else { "" };
    let direction = if asked.sort.descending { "DESC" } else { "ASC" };
    query
        .push(format_args!(
            " ORDER BY {hint}{column} {direction}, k.id {direction} LIMIT "
        ))
        .push_bind(i64::from(asked.limit))
        .push(" OFFSET ")
        .push_bind(asked.offset());
}

/// The secrets of a key.
pub(super) async fn secrets(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<Vec<Secret>, StoreError> {
    let rows = sqlx::query(
        "SELECT s.digest, s.kind, s.retired_at FROM secrets s JOIN keys k ON k.seq = s.key_seq \
         WHERE k.id = ? ORDER BY s.created_at",
    )
    .bind(id)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .filter_map(|row| secret(row, 0).transpose())
        .collect()
}
