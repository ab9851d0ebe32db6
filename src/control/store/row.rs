//! Rows of the database as types, and back.

use std::sync::Arc;

use super::sql::Row;
use super::{StoreError, StoredKey};
use crate::authz::{
    KeyDigest, KeyId, KeyRecord, KeyStatus, Owner, RawGrants, Revision, Sha256Digest, Tenant,
    Timestamp,
};
use crate::wire::{Epoch, Secret, SecretDigest, SecretEntry, grants};

/// A query of keys `k`, with the columns that [`key`] reads.
macro_rules! select_keys {
    ($($rest:literal),+ $(,)?) => {
        concat!(
            "SELECT k.id, k.family, k.tenant, k.slug, k.name, k.owner_kind, k.owner_id, k.status, ",
            "k.expires_at, k.grants, k.revision, k.created_at, k.updated_at, k.last_used_at ",
            $($rest),+
        )
    };
}
pub(super) use select_keys;

/// Columns that [`key`] reads, and with which others may follow.
pub(super) const KEY_COLUMNS: usize = 14;

/// Reads the columns of [`select_keys`].
pub(super) fn key(row: &Row) -> Result<StoredKey, StoreError> {
    let tenant = tenant(row.try_get(1)?, row.try_get(2)?)?;
    let owner_kind: Option<String> = row.try_get(5)?;
    let owner_id: Option<String> = row.try_get(6)?;
    let record = KeyRecord {
        id: KeyId::new(row.try_get::<String>(0)?),
        name: row.try_get(4)?,
        owner: owner_kind
            .zip(owner_id)
            .map(|(kind, id)| Owner { kind, id }),
        status: status(row.try_get(7)?)?,
        expires_at: moment(row.try_get(8)?),
        grants: grants::from_text(tenant.family(), row.try_get(9)?),
        revision: revision(row.try_get(10)?)?,
        tenant,
    };
    Ok(StoredKey {
        record,
        slug: row.try_get(3)?,
        created_at: Timestamp::from_millis(row.try_get(11)?),
        updated_at: Timestamp::from_millis(row.try_get(12)?),
        last_used_at: moment(row.try_get(13)?),
    })
}

/// Reads `digest, kind, retired_at` from the column `first` on; `None` where a key has no secret.
pub(super) fn secret(row: &Row, first: usize) -> Result<Option<Secret>, StoreError> {
    let Some(digest) = row.try_get::<Option<&[u8]>>(first)? else {
        return Ok(None);
    };
    let digest: [u8; 32] = digest
        .try_into()
        .map_err(|_| StoreError::Unreadable("digest"))?;
    let digest = match row.try_get(first + 1)? {
        "blake3" => SecretDigest::Blake3(KeyDigest::from_bytes(digest)),
        "sha256" => SecretDigest::Sha256(Sha256Digest(digest)),
        _ => return Err(StoreError::Unreadable("kind")),
    };
    let retired_at = moment(row.try_get(first + 2)?);
    Ok(Some(Secret { digest, retired_at }))
}

/// Reads an epoch.
pub(super) fn epoch(row: &Row, index: usize) -> Result<Epoch, StoreError> {
    let bytes: &[u8] = row.try_get(index)?;
    let bytes = bytes.try_into();
    bytes
        .map(|bytes| Epoch(u128::from_be_bytes(bytes)))
        .map_err(|_| StoreError::Unreadable("epoch"))
}

/// A key as gateways take it.
pub(super) fn entry(record: KeyRecord, secrets: Vec<Secret>) -> SecretEntry {
    SecretEntry {
        record: Arc::new(record),
        secrets,
    }
}

/// A tenant of what is stored of it.
pub(super) fn tenant(family: &str, text: String) -> Result<Tenant, StoreError> {
    match family {
        "access" => Ok(Tenant::Access),
        "org" => Ok(Tenant::Org(text)),
        "workspace" => Ok(Tenant::Workspace(text)),
        _ => Err(StoreError::Unreadable("family")),
    }
}

/// The columns of an owner.
pub(super) fn owner_columns(owner: Option<&Owner>) -> (Option<&str>, Option<&str>) {
    owner
        .map(|owner| (owner.kind.as_str(), owner.id.as_str()))
        .unzip()
}

/// The text of a tenant beside its family.
pub(super) fn tenant_text(tenant: &Tenant) -> &str {
    match tenant {
        Tenant::Org(slug) => slug,
        Tenant::Workspace(id) => id,
        Tenant::Access => "",
    }
}

/// The text of a status.
pub(super) const fn status_text(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Active => "active",
        KeyStatus::Disabled => "disabled",
        KeyStatus::Revoked => "revoked",
    }
}

/// The text of grants.
pub(super) fn grants_text(grants: &RawGrants) -> String {
    grants::to_text(grants)
}

/// The table's name for a digest, and its bytes.
pub(super) fn digest_columns(digest: &SecretDigest) -> (&'static str, &[u8]) {
    match digest {
        SecretDigest::Blake3(digest) => ("blake3", digest.as_bytes()),
        SecretDigest::Sha256(Sha256Digest(digest)) => ("sha256", digest),
    }
}

/// A revision as stored.
pub(super) fn revision(stored: i64) -> Result<Revision, StoreError> {
    u64::try_from(stored)
        .map(Revision)
        .map_err(|_| StoreError::Unreadable("revision"))
}

/// A revision for storing.
pub(super) fn stored_revision(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

fn moment(stored: Option<i64>) -> Option<Timestamp> {
    stored.map(Timestamp::from_millis)
}

fn status(text: &str) -> Result<KeyStatus, StoreError> {
    match text {
        "active" => Ok(KeyStatus::Active),
        "disabled" => Ok(KeyStatus::Disabled),
        "revoked" => Ok(KeyStatus::Revoked),
        _ => Err(StoreError::Unreadable("status")),
    }
}
