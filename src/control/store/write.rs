//! The one way in which the database changes: a transaction that makes rows, revision, change log and audit
//! entry together, and yields the change that gateways are told.

use sqlx::{Sqlite, SqliteConnection, Transaction};

use super::row::{
    digest_columns, entry, grants_text, owner_columns, status_text, stored_revision, tenant_text,
};
use super::{StoreError, StoredKey, Usage, batch, read};
use crate::authz::{KeyId, Revision, Rulebook, Timestamp};
use crate::control::audit;
use crate::wire::{Change, Secret, SecretDigest, SecretEntry};

/// Revisions that the change log goes back.
const CHANGES_KEPT: u64 = 100_000;
/// Secrets kept for a key, the current one and tombstones included.
const SECRETS_MAX: i64 = 32;
/// Former secrets of a key whose grace runs: none of them makes room for another.
pub(in crate::control) const SECRETS_IN_GRACE_MAX: i64 = SECRETS_MAX - 1;

/// Who did it and what it is called, for the audit log.
#[derive(Debug, Clone)]
pub(in crate::control) struct Audited {
    /// Who, e.g. `admin` or `key:01j…`.
    pub(in crate::control) actor: String,
    /// What, e.g. `create`.
    pub(in crate::control) action: &'static str,
    /// Where the act gave the key another secret.
    pub(in crate::control) rotation: Option<Rotation>,
}

/// What becomes of the former secrets of a key.
#[derive(Debug, Clone, Copy)]
pub(in crate::control) struct Rotation {
    /// As asked.
    pub(in crate::control) grace_seconds: u32,
    /// None of them lives longer.
    pub(in crate::control) retired_at: Timestamp,
}

/// A transaction that writes. Dropped without [`commit`](Self::commit), it never was.
pub(in crate::control) struct WriteTransaction<'c> {
    transaction: Transaction<'c, Sqlite>,
    now: Timestamp,
    /// The revision that this makes, if it changes anything.
    revision: Revision,
    put: Vec<Put>,
    removed: Vec<KeyId>,
}

/// A key that gateways must be told of.
enum Put {
    /// It was not there before, and this is all of it.
    New(SecretEntry),
    /// It is read once everything is written.
    Changed(KeyId),
}

impl Put {
    fn id(&self) -> &KeyId {
        match self {
            Self::New(entry) => &entry.record.id,
            Self::Changed(id) => id,
        }
    }
}

impl<'c> WriteTransaction<'c> {
    /// Begins, and keeps other writers out until the end.
    pub(in crate::control) async fn begin(
        writer: &'c mut SqliteConnection,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut transaction = sqlx::Connection::begin_with(writer, "BEGIN IMMEDIATE").await?;
        let Revision(last) = read::revision(&mut transaction).await?;
        Ok(Self {
            transaction,
            now,
            revision: Revision(last.saturating_add(1)),
            put: Vec::new(),
            removed: Vec::new(),
        })
    }

    /// The one moment at which everything in this transaction happens.
    pub(in crate::control) fn now(&self) -> Timestamp {
        self.now
    }

    /// The revision that changes of this transaction carry.
    pub(in crate::control) fn revision(&self) -> Revision {
        self.revision
    }

    /// What gateways were not told that have come as far as `known`: a commit can fail and have been made all the same.
    pub(in crate::control) async fn missed(
        &mut self,
        known: Revision,
    ) -> Result<Option<Change>, StoreError> {
        let last = Revision(self.revision.0.saturating_sub(1));
        if last <= known {
            return Ok(None);
        }
        let ids: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT key_id FROM changes WHERE revision > ?")
                .bind(stored_revision(known))
                .fetch_all(&mut *self.transaction)
                .await?;
        let mut missed = Change {
            previous: known,
            revision: last,
            put: Vec::new(),
            removed: Vec::new(),
        };
        for id in ids.into_iter().map(KeyId::new) {
            match read_entry(&mut self.transaction, &id).await? {
                Some(entry) => missed.put.push(entry),
                None => missed.removed.push(id),
            }
        }
        Ok(Some(missed))
    }

    /// Writes something that changes nothing, to see whether writing succeeds.
    pub(in crate::control) async fn touch(&mut self) -> Result<(), StoreError> {
        sqlx::query("UPDATE meta SET revision = revision")
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    /// For questions within the transaction.
    pub(in crate::control) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// Adds keys, each with its first secret. They are one entry of the audit log.
    pub(in crate::control) async fn insert(
        &mut self,
        by: &Audited,
        keys: &[(StoredKey, SecretDigest)],
    ) -> Result<(), StoreError> {
        batch::insert(&mut self.transaction, keys).await?;
        self.put.extend(keys.iter().map(|(key, digest)| {
            let secret = Secret {
                digest: *digest,
                retired_at: None,
            };
            Put::New(entry(key.record.clone(), vec![secret]))
        }));
        match keys {
            [] => Ok(()),
            [(key, _)] => self.audit(by, None, Some(key)).await,
            several => self.audit_several(by, several).await,
        }
    }

    /// Makes a key what it is to be. Id, tenant, slug and secrets stay.
    pub(in crate::control) async fn update(
        &mut self,
        by: &Audited,
        before: &StoredKey,
        after: &StoredKey,
    ) -> Result<(), StoreError> {
        let (owner_kind, owner_id) = owner_columns(after.record.owner.as_ref());
        sqlx::query(
            "UPDATE keys SET name = ?, owner_kind = ?, owner_id = ?, status = ?, expires_at = ?, grants = ?, \
             revision = ?, updated_at = ? WHERE id = ?",
        )
        .bind(&after.record.name)
        .bind(owner_kind)
        .bind(owner_id)
        .bind(status_text(after.record.status))
        .bind(after.record.expires_at.map(Timestamp::as_millis))
        .bind(grants_text(&after.record.grants))
        .bind(stored_revision(self.revision))
        .bind(after.updated_at.as_millis())
        .bind(before.record.id.as_str())
        .execute(&mut *self.transaction)
        .await?;
        self.put.push(Put::Changed(before.record.id.clone()));
        self.audit(by, Some(before), Some(after)).await
    }

    /// Ends at `retired_at` every secret of a key that would live longer, and says how many still live.
    pub(in crate::control) async fn retire_secrets(
        &mut self,
        id: &KeyId,
        retired_at: Timestamp,
    ) -> Result<i64, StoreError> {
        sqlx::query(
            "UPDATE secrets SET retired_at = min(coalesce(retired_at, ?1), ?1) \
             WHERE key_seq = (SELECT seq FROM keys WHERE id = ?2)",
        )
        .bind(retired_at.as_millis())
        .bind(id.as_str())
        .execute(&mut *self.transaction)
        .await?;
        let living = sqlx::query_scalar(
            "SELECT count(*) FROM secrets \
             WHERE key_seq = (SELECT seq FROM keys WHERE id = ?) AND retired_at > ?",
        )
        .bind(id.as_str())
        .bind(self.now.as_millis())
        .fetch_one(&mut *self.transaction)
        .await?;
        Ok(living)
    }

    /// Gives a key whose former secrets are retired another one. Tombstones that are too many are dropped.
    pub(in crate::control) async fn replace_secret(
        &mut self,
        id: &KeyId,
        digest: SecretDigest,
    ) -> Result<(), StoreError> {
        self.add_secret(id, digest).await?;
        sqlx::query(
            "DELETE FROM secrets WHERE digest IN (SELECT digest FROM secrets \
             WHERE key_seq = (SELECT seq FROM keys WHERE id = ?1) \
             ORDER BY retired_at IS NOT NULL, retired_at DESC, created_at DESC LIMIT -1 OFFSET ?2) \
             AND retired_at IS NOT NULL AND key_seq = (SELECT seq FROM keys WHERE id = ?1)",
        )
        .bind(id.as_str())
        .bind(SECRETS_MAX)
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Removes a key with all its secrets.
    pub(in crate::control) async fn delete(
        &mut self,
        by: &Audited,
        before: &StoredKey,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM keys WHERE id = ?")
            .bind(before.record.id.as_str())
            .execute(&mut *self.transaction)
            .await?;
        self.removed.push(before.record.id.clone());
        self.audit(by, Some(before), None).await
    }

    /// Adds up how often keys were used. No change of what anyone may do, and so no revision.
    pub(in crate::control) async fn add_usage(&mut self, usage: &Usage) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE keys SET uses = uses + ?, last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?",
        )
        .bind(i64::try_from(usage.count).unwrap_or(i64::MAX))
        .bind(usage.last_used.as_millis())
        .bind(usage.id.as_str())
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Makes it so, on disk. `None`: nothing that a gateway must know.
    pub(in crate::control) async fn commit(mut self) -> Result<Option<Change>, StoreError> {
        if self.put.is_empty() && self.removed.is_empty() {
            self.transaction.commit().await?;
            return Ok(None);
        }
        let change = self.change().await?;
        self.log().await?;
        self.transaction.commit().await?;
        Ok(Some(change))
    }

    /// What gateways are told: every key that is new or different, as it is now.
    async fn change(&mut self) -> Result<Change, StoreError> {
        let mut put = Vec::with_capacity(self.put.len());
        for key in &self.put {
            put.push(match key {
                Put::New(entry) => entry.clone(),
                Put::Changed(id) => {
                    let entry = read_entry(&mut self.transaction, id).await?;
                    entry.ok_or(StoreError::Unreadable("id"))?
                }
            });
        }
        Ok(Change {
            previous: Revision(self.revision.0.saturating_sub(1)),
            revision: self.revision,
            put,
            removed: self.removed.clone(),
        })
    }

    /// Moves the revision on and notes what it touched.
    async fn log(&mut self) -> Result<(), StoreError> {
        let revision = stored_revision(self.revision);
        sqlx::query("UPDATE meta SET revision = ?")
            .bind(revision)
            .execute(&mut *self.transaction)
            .await?;
        let put = self.put.iter().map(|key| (key.id().clone(), "put"));
        let removed = self.removed.iter().map(|id| (id.clone(), "removed"));
        let touched: Vec<_> = put.chain(removed).collect();
        batch::log(&mut self.transaction, self.revision, &touched).await?;
        let forgotten = Revision(self.revision.0.saturating_sub(CHANGES_KEPT));
        sqlx::query("DELETE FROM changes WHERE revision <= ?")
            .bind(stored_revision(forgotten))
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    async fn add_secret(&mut self, id: &KeyId, digest: SecretDigest) -> Result<(), StoreError> {
        let (kind, digest) = digest_columns(&digest);
        sqlx::query(
            "INSERT INTO secrets (digest, kind, key_seq, created_at) \
             VALUES (?, ?, (SELECT seq FROM keys WHERE id = ?), ?)",
        )
        .bind(digest)
        .bind(kind)
        .bind(id.as_str())
        .bind(self.now.as_millis())
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    async fn audit(
        &mut self,
        by: &Audited,
        before: Option<&StoredKey>,
        after: Option<&StoredKey>,
    ) -> Result<(), StoreError> {
        let Some(key) = after.or(before) else {
            return Ok(());
        };
        let about = About {
            family: key.record.family().as_str(),
            tenant: tenant_text(&key.record.tenant),
            key_id: key.record.id.as_str(),
            before: before.map(|key| audit::state(key, None)),
            after: after.map(|key| audit::state(key, by.rotation)),
        };
        self.note(by, about).await
    }

    /// What the keys have in common is said once; where they differ, it is empty.
    async fn audit_several(
        &mut self,
        by: &Audited,
        keys: &[(StoredKey, SecretDigest)],
    ) -> Result<(), StoreError> {
        let tenants = || keys.iter().map(|(key, _)| &key.record.tenant);
        let family = common(tenants().map(|tenant| tenant.family().as_str()));
        let about = About {
            family: family.unwrap_or_default(),
            tenant: common(tenants().map(tenant_text))
                .filter(|_| family.is_some())
                .unwrap_or_default(),
            key_id: "",
            before: None,
            after: Some(audit::states(keys.iter().map(|(key, _)| key))),
        };
        self.note(by, about).await
    }

    async fn note(&mut self, by: &Audited, about: About<'_>) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO audit (at, revision, actor, action, family, tenant, key_id, before_state, after_state) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(self.now.as_millis())
        .bind(stored_revision(self.revision))
        .bind(&by.actor)
        .bind(by.action)
        .bind(about.family)
        .bind(about.tenant)
        .bind(about.key_id)
        .bind(about.before)
        .bind(about.after)
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }
}

/// What an entry of the audit log is about.
struct About<'a> {
    family: &'a str,
    tenant: &'a str,
    key_id: &'a str,
    before: Option<String>,
    after: Option<String>,
}

/// What all of them are.
fn common<'a>(mut all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// A key as it is now, if it is still there.
async fn read_entry(
    connection: &mut SqliteConnection,
    id: &KeyId,
) -> Result<Option<SecretEntry>, StoreError> {
    let Some(key) = read::by_id(connection, id).await? else {
        return Ok(None);
    };
    let secrets = read::secrets(connection, id.as_str()).await?;
    Ok(Some(entry(key.record, secrets)))
}

/// Drops secrets that were rotated away so long ago that they are as unknown as any.
pub(super) async fn forget_tombstones(
    writer: &mut SqliteConnection,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM secrets WHERE retired_at <= ?")
        .bind(forgotten_before(now).as_millis())
        .execute(writer)
        .await?;
    Ok(())
}

/// Secrets retired before this moment are forgotten at `now`.
fn forgotten_before(now: Timestamp) -> Timestamp {
    now.plus_seconds(-Rulebook::TOMBSTONE_DAYS * 24 * 60 * 60)
}
