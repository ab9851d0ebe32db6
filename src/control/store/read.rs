//! Questions to the database.

use std::sync::PoisonError;

use sqlx::postgres::PgListener;

use super::row::{KEY_COLUMNS, key, secret, select_keys, tenant_text};
use super::sql::{self, Builder, Conn, Connection, Dialect, Pool, Purpose};
use super::{ReadOnlyStore, Store, StoreError, StoredKey};
use crate::authz::{KeyDigest, Pepper, PresentedKey, Revision, Sha256Digest, Tenant, Timestamp};
use crate::control::command::{ListKeys, SortField};
use crate::wire::sync::Position;

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
    /// Notes that it has come so far, and that it is on disk.
    pub(in crate::control) fn note(&self, revision: Revision) {
        let Some(witness) = &self.witness else {
            return;
        };
        let mut witness = witness.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = witness.note(revision) {
            tracing::warn!(%error, "the file that remembers how far the database has come was not written");
        }
    }

    /// Whether other control planes may serve from it, too.
    pub(in crate::control) fn is_shared(&self) -> bool {
        matches!(self.readers, Pool::Postgres(_))
    }

    /// What is told through a channel, where there is anybody who would.
    pub(in crate::control) async fn listener(
        &self,
        channel: &str,
    ) -> Result<Option<PgListener>, StoreError> {
        let Pool::Postgres(pool) = &self.readers else {
            return Ok(None);
        };
        let mut listener = PgListener::connect_with(pool).await?;
        listener.eager_reconnect(false);
        listener.listen(channel).await?;
        Ok(Some(listener))
    }

    /// Connections for reading.
    pub(in crate::control) fn readers(&self) -> &Pool {
        &self.readers
    }
}

impl ReadOnlyStore {
    /// The connection for reading.
    pub(in crate::control) fn connection(&self) -> &tokio::sync::Mutex<Connection> {
        &self.connection
    }
}

/// Which history it is, and the last revision committed.
pub(in crate::control) async fn identity(
    connection: &mut Conn<'_>,
) -> Result<Position, StoreError> {
    position(sql::query("SELECT epoch, revision FROM meta"), connection).await
}

/// The same. From here on nobody else makes a revision: SQLite has one writer as it is, and in PostgreSQL the row is
/// locked, so that revisions come in the order of commits.
pub(super) async fn lock_identity(connection: &mut Conn<'_>) -> Result<Position, StoreError> {
    match connection.dialect() {
        Dialect::Sqlite => identity(connection).await,
        Dialect::Postgres => {
            let locking = sql::query("SELECT epoch, revision FROM meta FOR UPDATE");
            position(locking, connection).await
        }
    }
}

async fn position(
    query: sql::Query<'static>,
    connection: &mut Conn<'_>,
) -> Result<Position, StoreError> {
    let row = query.fetch_one(connection).await?;
    Ok(Position {
        epoch: super::row::epoch(&row, 0)?,
        revision: super::row::revision(row.try_get(1)?)?,
    })
}

/// Whether it answers, and does not say that it takes no writes, as a server does that has become a copy of another.
pub(in crate::control) async fn is_writable(connection: &mut Conn<'_>) -> Result<bool, StoreError> {
    const READ_ONLY: &str = "SELECT current_setting('transaction_read_only') FROM meta";
    match connection.dialect() {
        Dialect::Sqlite => revision(connection).await.map(|_| true),
        Dialect::Postgres => {
            let is_read_only: String = sql::query(READ_ONLY).fetch_scalar(connection).await?;
            Ok(is_read_only == "off")
        }
    }
}

/// The last revision committed.
pub(in crate::control) async fn revision(
    connection: &mut Conn<'_>,
) -> Result<Revision, StoreError> {
    let stored = sql::query("SELECT revision FROM meta")
        .fetch_scalar(connection)
        .await?;
    super::row::revision(stored)
}

/// How many keys there are.
pub(in crate::control) async fn count(connection: &mut Conn<'_>) -> Result<i64, StoreError> {
    Ok(sql::query("SELECT count(*) FROM keys")
        .fetch_scalar(connection)
        .await?)
}

/// The key that a secret belongs to.
pub(in crate::control) async fn by_secret(
    connection: &mut Conn<'_>,
    shown: &Shown,
) -> Result<Option<Located>, StoreError> {
    const QUERY: &str = select_keys!(
        ", s.digest, s.kind, s.retired_at FROM secrets s JOIN keys k ON k.seq = s.key_seq ",
        "WHERE (s.digest = $1 AND s.kind = 'blake3') OR (s.digest = $2 AND s.kind = 'sha256') ",
        "ORDER BY s.kind LIMIT 1",
    );
    let row = sql::query(QUERY)
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
    connection: &mut Conn<'_>,
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
    connection: &mut Conn<'_>,
    tenant: &Tenant,
    id_or_slug: &str,
) -> Result<Option<StoredKey>, StoreError> {
    const QUERY: &str = select_keys!(
        "FROM keys k WHERE k.family = $1 AND k.tenant = $2 AND (k.id = $3 OR k.slug = $3) ",
        "ORDER BY k.id = $3 DESC LIMIT 1",
    );
    let row = sql::query(QUERY)
        .bind(tenant.family().as_str())
        .bind(tenant_text(tenant))
        .bind(id_or_slug)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(key).transpose()
}

/// Keys of this kind of owner, of all families.
pub(in crate::control) async fn owned_by(
    connection: &mut Conn<'_>,
    owner_kind: &str,
) -> Result<Vec<StoredKey>, StoreError> {
    const QUERY: &str = select_keys!("FROM keys k WHERE k.owner_kind = $1 ORDER BY k.seq");
    let rows = sql::query(QUERY)
        .bind(owner_kind)
        .fetch_all(connection)
        .await?;
    rows.iter().map(key).collect()
}

/// One page of the keys of a tenant, and how many keys all pages have together.
pub(in crate::control) async fn list(
    connection: &mut Conn<'_>,
    tenant: &Tenant,
    asked: &ListKeys,
) -> Result<(Vec<StoredKey>, i64), StoreError> {
    let mut transaction = connection.reborrow().begin(Purpose::Read).await?;
    let mut connection = transaction.conn();
    let mut total = Builder::new("SELECT count(*) FROM keys k");
    push_filter(&mut total, tenant, asked);
    let total = total.build().fetch_scalar(&mut connection).await?;
    let mut page = Builder::new(select_keys!("FROM keys k"));
    push_filter(&mut page, tenant, asked);
    push_page(&mut page, asked, connection.dialect());
    let rows = page.build().fetch_all(&mut connection).await?;
    let keys = rows.iter().map(key).collect::<Result<_, _>>()?;
    Ok((keys, total))
}

fn push_filter<'q>(query: &mut Builder<'q>, tenant: &'q Tenant, asked: &'q ListKeys) {
    query
        .push(" WHERE k.family = ")
        .bind(tenant.family().as_str())
        .push(" AND k.tenant = ")
        .bind(tenant_text(tenant));
    if let Some(kind) = &asked.owner_kind {
        query.push(" AND k.owner_kind = ").bind(kind.as_str());
    }
    if let Some(id) = &asked.owner_id {
        query.push(" AND k.owner_id = ").bind(id.as_str());
    }
}

/// Order and section. The id breaks ties, so that no key is on two pages.
///
/// Where an owner is asked for, a `+` keeps SQLite from walking all keys in order of creation instead of going
/// straight to the few of that owner.
fn push_page(query: &mut Builder<'_>, asked: &ListKeys, dialect: Dialect) {
    let column = match asked.sort.field {
        SortField::CreatedAt => "k.created_at",
        SortField::UpdatedAt => "k.updated_at",
        SortField::Name => "k.name",
        SortField::Slug => "k.slug",
        SortField::ExpiresAt => "k.expires_at",
    };
    let by_owner = asked.owner_kind.is_some() || asked.owner_id.is_some();
    let hinted = by_owner && dialect == Dialect::Sqlite;
    let direction = if asked.sort.descending {
        " DESC"
    } else {
        " ASC"
    };
    query
        .push(if hinted { " ORDER BY +" } else { " ORDER BY " })
        .push(column)
        .push(direction)
        .push(", k.id")
        .push(direction)
        .push(" LIMIT ")
        .bind(i64::from(asked.limit))
        .push(" OFFSET ")
        .bind(asked.offset());
}
