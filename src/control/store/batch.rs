//! Many rows in one statement: what new keys would collide with, and the new keys themselves.
//!
//! A statement costs two changes of thread, and so a thousand keys one by one cost a thousand times that.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::row::{
    digest_columns, grants_text, owner_columns, status_text, stored_revision, tenant, tenant_text,
};
use super::sql::{self, Builder, Conn, Row, Value};
use super::{StoreError, StoredKey, Usage};
use crate::authz::{KeyId, RawGrants, Tenant, Timestamp};
use crate::wire::{SecretDigest, grants};

/// Rows of one statement. SQLite takes 32,766 values, PostgreSQL 65,535, and a key has 14.
pub(super) const ROWS_MAX: usize = 1000;

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
    connection: &mut Conn<'_>,
    digests: &[SecretDigest],
) -> Result<HashMap<SecretDigest, Holder>, StoreError> {
    let mut found = HashMap::new();
    for digests in digests.chunks(ROWS_MAX) {
        let mut query = Builder::new(
            "SELECT s.digest, s.kind, s.retired_at, k.family, k.tenant, k.grants \
             FROM secrets s JOIN keys k ON k.seq = s.key_seq WHERE s.digest IN (",
        );
        query
            .list(digests.iter().map(|digest| digest_columns(digest).1))
            .push(")");
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
    connection: &mut Conn<'_>,
    slugs: &[(Tenant, String)],
) -> Result<HashSet<(Tenant, String)>, StoreError> {
    let mut taken = HashSet::new();
    for slugs in slugs.chunks(ROWS_MAX) {
        let mut query = Builder::new("WITH wanted (family, tenant, slug) AS (");
        query.rows(slugs.iter().map(|(tenant, slug)| {
            let family = tenant.family().as_str();
            [
                family.into(),
                tenant_text(tenant).into(),
                slug.as_str().into(),
            ]
        }));
        // In SQLite a cross join goes through the wanted ones and asks the index for each.
        query.push(
            ") SELECT k.family, k.tenant, k.slug FROM wanted w CROSS JOIN keys k \
             WHERE k.family = w.family AND k.tenant = w.tenant AND k.slug = w.slug",
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
    connection: &mut Conn<'_>,
    ids: &[KeyId],
) -> Result<HashSet<KeyId>, StoreError> {
    let mut taken = HashSet::new();
    for ids in ids.chunks(ROWS_MAX) {
        let mut query = Builder::new("SELECT id FROM keys WHERE id IN (");
        query.list(ids.iter().map(KeyId::as_str)).push(")");
        for row in fetch(query, ids.len(), connection).await? {
            taken.insert(KeyId::new(row.try_get::<String>(0)?));
        }
    }
    Ok(taken)
}

/// How many keys these tenants of one family have. One that has none is not among them.
pub(in crate::control) async fn keys_of(
    connection: &mut Conn<'_>,
    tenants: &[Tenant],
) -> Result<HashMap<Tenant, u32>, StoreError> {
    let mut counts = HashMap::new();
    for tenants in tenants.chunks(ROWS_MAX) {
        let Some(first) = tenants.first() else {
            continue;
        };
        let mut query = Builder::new("SELECT family, tenant, count(*) FROM keys WHERE family = ");
        query
            .bind(first.family().as_str())
            .push(" AND tenant IN (")
            .list(tenants.iter().map(tenant_text))
            .push(") GROUP BY family, tenant");
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
    connection: &mut Conn<'_>,
    keys: &[(StoredKey, SecretDigest)],
) -> Result<(), StoreError> {
    let last: Option<i64> = sql::query("SELECT max(seq) FROM keys")
        .fetch_scalar(connection)
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
    connection: &mut Conn<'_>,
    first: i64,
    keys: &[(StoredKey, SecretDigest)],
) -> Result<(), StoreError> {
    let mut query = Builder::new(
        "INSERT INTO keys (seq, id, family, tenant, slug, name, owner_kind, owner_id, status, expires_at, grants, \
         revision, created_at, updated_at) ",
    );
    query.rows((first..).zip(keys).map(|(seq, (key, _))| {
        let record = &key.record;
        let (owner_kind, owner_id) = owner_columns(record.owner.as_ref());
        let row: [Value<'_>; 14] = [
            seq.into(),
            record.id.as_str().into(),
            record.family().as_str().into(),
            tenant_text(&record.tenant).into(),
            key.slug.as_deref().into(),
            record.name.as_str().into(),
            owner_kind.into(),
            owner_id.into(),
            status_text(record.status).into(),
            record.expires_at.map(Timestamp::as_millis).into(),
            grants_text(&record.grants).into(),
            stored_revision(record.revision).into(),
            key.created_at.as_millis().into(),
            key.updated_at.as_millis().into(),
        ];
        row
    }));
    execute(query, keys.len(), connection).await
}

async fn insert_secrets(
    connection: &mut Conn<'_>,
    first: i64,
    keys: &[(StoredKey, SecretDigest)],
) -> Result<(), StoreError> {
    let mut query = Builder::new("INSERT INTO secrets (digest, kind, key_seq, created_at) ");
    query.rows((first..).zip(keys).map(|(seq, (key, digest))| {
        let (kind, digest) = digest_columns(digest);
        let created_at = key.created_at.as_millis();
        [digest.into(), kind.into(), seq.into(), created_at.into()]
    }));
    execute(query, keys.len(), connection).await
}

/// Adds up how often keys were used, to a limit beyond which a number would be none.
pub(super) async fn add_usage(
    connection: &mut Conn<'_>,
    usage: &[Usage],
) -> Result<(), StoreError> {
    let mut sums: BTreeMap<&str, (Timestamp, u64)> = BTreeMap::new();
    for used in usage {
        let (last, count) = sums.entry(used.id.as_str()).or_insert((used.last_used, 0));
        *last = used.last_used.max(*last);
        *count = count.saturating_add(used.count);
    }
    let sums: Vec<_> = sums.into_iter().collect();
    for sums in sums.chunks(ROWS_MAX) {
        let mut query = Builder::new("WITH used (id, last, count) AS (");
        query.rows(sums.iter().map(|(id, (last, count))| {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            [(*id).into(), last.as_millis().into(), count.into()]
        }));
        query.push(
            ") UPDATE keys SET \
             uses = CASE WHEN uses > 9223372036854775807 - used.count THEN 9223372036854775807 ELSE uses + used.count END, \
             last_used_at = CASE WHEN last_used_at > used.last THEN last_used_at ELSE used.last END \
             FROM used WHERE keys.id = used.id",
        );
        execute(query, sums.len(), connection).await?;
    }
    Ok(())
}

async fn fetch(
    query: Builder<'_>,
    rows: usize,
    connection: &mut Conn<'_>,
) -> Result<Vec<Row>, StoreError> {
    let query = query.build().kept(is_usual(rows));
    Ok(query.fetch_all(connection).await?)
}

/// Carries a statement of so many rows out.
pub(super) async fn execute(
    query: Builder<'_>,
    rows: usize,
    connection: &mut Conn<'_>,
) -> Result<(), StoreError> {
    let query = query.build().kept(is_usual(rows));
    query.execute(connection).await?;
    Ok(())
}

/// Whether a statement of so many rows is worth being kept: a large one takes a megabyte.
fn is_usual(rows: usize) -> bool {
    rows == 1 || rows == ROWS_MAX
}
