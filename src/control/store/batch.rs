//! Many rows in one statement: what new keys would collide with, and the new keys themselves.
//!
//! A statement costs two changes of thread, and so a thousand keys one by one cost a thousand times that.

use std::collections::{HashMap, HashSet};

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::row::{
    digest_columns, grants_text, owner_columns, status_text, stored_revision, tenant, tenant_text,
};
use super::{StoreError, StoredKey};
use crate::authz::{KeyId, RawGrants, Revision, Tenant, Timestamp};
use crate::wire::{SecretDigest, grants};

/// Rows of one statement. SQLite takes 32,766 values, and a key has 14.
const ROWS_MAX: usize = 1000;

/// The key that has a secret.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::control) struct Holder {
    /// Whose it is.
    pub(in crate::control) tenant: Tenant,
    /// What it may do.
    pub(in crate::control) grants: RawGrants,
    /// Whether this is its present secret.
    pub(in crate::control) is_current: bool,
}

/// The keys that have these secrets.
pub(in crate::control) async fn holders(
    connection: &mut SqliteConnection,
    digests: &[SecretDigest],
) -> Result<HashMap<SecretDigest, Holder>, StoreError> {
    let mut found = HashMap::new();
    for digests in digests.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::new(
            "SELECT s.digest, s.kind, s.retired_at, k.family, k.tenant, k.grants \
             FROM secrets s JOIN keys k ON k.seq = s.key_seq WHERE s.digest IN (",
        );
        let mut list = query.separated(", ");
        for digest in digests {
            list.push_bind(digest_columns(digest).1.to_vec());
        }
        query.push(")");
        for row in fetch(query, digests.len(), connection).await? {
            if let Some(secret) = super::row::secret(&row, 0)? {
                let tenant = tenant(row.try_get(3)?, row.try_get(4)?)?;
                let holder = Holder {
                    grants: grants::from_text(tenant.family(), row.try_get(5)?),
                    is_current: secret.retired_at.is_none(),
                    tenant,
                };
                found.insert(secret.digest, holder);
            }
        }
    }
    Ok(found)
}

/// Which of these slugs are taken.
pub(in crate::control) async fn slugs_taken(
    connection: &mut SqliteConnection,
    slugs: &[(Tenant, String)],
) -> Result<HashSet<(Tenant, String)>, StoreError> {
    let mut taken = HashSet::new();
    for slugs in slugs.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::new("WITH wanted (family, tenant, slug) AS (");
        query.push_values(slugs, |mut values, (tenant, slug)| {
            values
                .push_bind(tenant.family().as_str())
                .push_bind(tenant_text(tenant).to_owned())
                .push_bind(slug.clone());
        });
        // A cross join goes through the wanted ones and asks the index for each.
        query.push(
            ") SELECT k.family, k.tenant, k.slug FROM wanted w CROSS JOIN keys k \
             ON k.family = w.family AND k.tenant = w.tenant AND k.slug = w.slug",
        );
        for row in fetch(query, slugs.len(), connection).await? {
            let tenant = tenant(row.try_get(0)?, row.try_get(1)?)?;
            taken.insert((tenant, row.try_get(2)?));
        }
    }
    Ok(taken)
}

/// Which of these ids are taken.
pub(in crate::control) async fn ids_taken(
    connection: &mut SqliteConnection,
    ids: &[KeyId],
) -> Result<HashSet<KeyId>, StoreError> {
    let mut taken = HashSet::new();
    for ids in ids.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::new("SELECT id FROM keys WHERE id IN (");
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(id.as_str().to_owned());
        }
        query.push(")");
        for row in fetch(query, ids.len(), connection).await? {
            taken.insert(KeyId::new(row.try_get::<String, _>(0)?));
        }
    }
    Ok(taken)
}

/// How many keys these tenants of one family have. One that has none is not among them.
pub(in crate::control) async fn keys_of(
    connection: &mut SqliteConnection,
    tenants: &[Tenant],
) -> Result<HashMap<Tenant, u32>, StoreError> {
    let mut counts = HashMap::new();
    for tenants in tenants.chunks(ROWS_MAX) {
        let Some(first) = tenants.first() else {
            continue;
        };
        let mut query =
            QueryBuilder::new("SELECT family, tenant, count(*) FROM keys WHERE family = ");
        query.push_bind(first.family().as_str());
        query.push(" AND tenant IN (");
        let mut list = query.separated(", ");
        for tenant in tenants {
            list.push_bind(tenant_text(tenant).to_owned());
        }
        query.push(") GROUP BY family, tenant");
        for row in fetch(query, tenants.len(), connection).await? {
            let count: i64 = row.try_get(2)?;
            let tenant = tenant(row.try_get(0)?, row.try_get(1)?)?;
            counts.insert(tenant, u32::try_from(count).unwrap_or(u32::MAX));
        }
    }
    Ok(counts)
}

/// Adds keys, each with its first secret.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    keys: &[(StoredKey, SecretDigest)],
) -> Result<(), StoreError> {
    let last: Option<i64> = sqlx::query_scalar("SELECT max(seq) FROM keys")
        .fetch_one(&mut *connection)
        .await?;
    let mut first = last.unwrap_or(0).saturating_add(1);
    for keys in keys.chunks(ROWS_MAX) {
        insert_keys(connection, first, keys).await?;
        insert_secrets(connection, first, keys).await?;
        first = first.saturating_add_unsigned(keys.len() as u64);
    }
    Ok(())
}

async fn insert_keys(
    connection: &mut SqliteConnection,
    first: i64,
    keys: &[(StoredKey, SecretDigest)],
) -> Result<(), StoreError> {
    let mut query = QueryBuilder::new(
        "INSERT INTO keys (seq, id, family, tenant, slug, name, owner_kind, owner_id, status, expires_at, grants, \
         revision, created_at, updated_at) ",
    );
    query.push_values((first..).zip(keys), |mut values, (seq, (key, _))| {
        let record = &key.record;
        let (owner_kind, owner_id) = owner_columns(record.owner.as_ref());
        values
            .push_bind(seq)
            .push_bind(record.id.as_str().to_owned())
            .push_bind(record.family().as_str())
            .push_bind(tenant_text(&record.tenant).to_owned())
            .push_bind(key.slug.clone())
            .push_bind(record.name.clone())
            .push_bind(owner_kind.map(str::to_owned))
            .push_bind(owner_id.map(str::to_owned))
            .push_bind(status_text(record.status))
            .push_bind(record.expires_at.map(Timestamp::as_millis))
            .push_bind(grants_text(&record.grants))
            .push_bind(stored_revision(record.revision))
            .push_bind(key.created_at.as_millis())
            .push_bind(key.updated_at.as_millis());
    });
    execute(query, keys.len(), connection).await
}

async fn insert_secrets(
    connection: &mut SqliteConnection,
    first: i64,
    keys: &[(StoredKey, SecretDigest)],
) -> Result<(), StoreError> {
    let mut query = QueryBuilder::new("INSERT INTO secrets (digest, kind, key_seq, created_at) ");
    query.push_values((first..).zip(keys), |mut values, (seq, (key, digest))| {
        let (kind, digest) = digest_columns(digest);
        values
            .push_bind(digest.to_vec())
            .push_bind(kind)
            .push_bind(seq)
            .push_bind(key.created_at.as_millis());
    });
    execute(query, keys.len(), connection).await
}

/// Notes down which keys a revision touched.
pub(super) async fn log(
    connection: &mut SqliteConnection,
    revision: Revision,
    touched: &[(KeyId, &'static str)],
) -> Result<(), StoreError> {
    for touched in touched.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::new("INSERT INTO changes (revision, key_id, effect) ");
        query.push_values(touched, |mut values, (id, effect)| {
            values
                .push_bind(stored_revision(revision))
                .push_bind(id.as_str().to_owned())
                .push_bind(*effect);
        });
        execute(query, touched.len(), connection).await?;
    }
    Ok(())
}

async fn fetch(
    mut query: QueryBuilder<Sqlite>,
    rows: usize,
    connection: &mut SqliteConnection,
) -> Result<Vec<SqliteRow>, StoreError> {
    let query = query.build().persistent(is_usual(rows));
    Ok(query.fetch_all(connection).await?)
}

async fn execute(
    mut query: QueryBuilder<Sqlite>,
    rows: usize,
    connection: &mut SqliteConnection,
) -> Result<(), StoreError> {
    let query = query.build().persistent(is_usual(rows));
    query.execute(connection).await?;
    Ok(())
}

/// Whether a statement of so many rows is worth being kept: a large one takes a megabyte.
fn is_usual(rows: usize) -> bool {
    rows == 1 || rows == ROWS_MAX
}
