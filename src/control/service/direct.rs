//! Commands of this program itself: keys of any family written straight to the store, and usage.

use super::{Applied, Command, Keys};
use crate::authz::{KeyDigest, KeyId, KeyRecord, KeyStatus};
use crate::control::caller::Caller;
use crate::control::command::NewKey;
use crate::control::error::CommandError;
use crate::control::store::{Audited, StoredKey, Usage, WriteTransaction, read};
use crate::control::token::{self, RawKey};
use crate::wire::SecretDigest;

impl Keys {
    /// Writes a key of any family whose secret the caller made.
    ///
    /// # Errors
    /// Grants that would be refused on write or are of another family, a slug or a secret that is taken, or the
    /// store failed.
    pub async fn insert_key(
        &self,
        caller: Caller,
        key: NewKey,
        raw: &RawKey,
    ) -> Result<Applied<StoredKey>, CommandError> {
        let applied = self.insert_keys(caller, vec![(key, raw)]).await?;
        let revision = applied.revision;
        let mut keys = applied.value;
        let value = keys.pop().ok_or(CommandError::NotFound)?;
        Ok(Applied { value, revision })
    }

    /// Writes many keys as one change: all of them or none.
    ///
    /// # Errors
    /// As [`Keys::insert_key`], for the first key at fault.
    pub async fn insert_keys(
        &self,
        caller: Caller,
        keys: Vec<(NewKey, &RawKey)>,
    ) -> Result<Applied<Vec<StoredKey>>, CommandError> {
        let now = self.now();
        let keys = keys.into_iter().map(|(key, raw)| {
            key.check()?;
            Ok((token::new_id(now)?, key, self.digest(raw)))
        });
        let keys = keys.collect::<Result<_, CommandError>>()?;
        self.write(Insert { caller, keys }).await
    }

    /// Ends every key, of all families, that was made for this kind of owner: those that still lived are revoked, and
    /// those that an earlier call revoked are removed. Says how many lived.
    ///
    /// # Errors
    /// The store failed.
    pub async fn retire_keys_owned_by(
        &self,
        caller: Caller,
        owner_kind: &str,
    ) -> Result<Applied<u64>, CommandError> {
        let owner_kind = owner_kind.to_owned();
        self.write(Retire { caller, owner_kind }).await
    }
}

struct Insert {
    caller: Caller,
    keys: Vec<(KeyId, NewKey, KeyDigest)>,
}

impl Command for Insert {
    type Answer = Vec<StoredKey>;

    async fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<Vec<StoredKey>, CommandError> {
        let by = audited(&self.caller, "create", transaction).await?;
        let mut stored = Vec::with_capacity(self.keys.len());
        for (id, key, digest) in self.keys {
            stored.push(insert(transaction, &by, id, key, SecretDigest::Blake3(digest)).await?);
        }
        Ok(stored)
    }
}

async fn insert(
    transaction: &mut WriteTransaction<'_>,
    by: &Audited,
    id: KeyId,
    key: NewKey,
    digest: SecretDigest,
) -> Result<StoredKey, CommandError> {
    let slug = key.slug.map(|slug| slug.as_str().to_owned());
    if let Some(slug) = &slug
        && read::slug_is_taken(transaction.connection(), &key.tenant, slug).await?
    {
        return Err(CommandError::SlugTaken(slug.clone()));
    }
    if read::secret_is_taken(transaction.connection(), &digest).await? {
        return Err(CommandError::SecretTaken);
    }
    let now = transaction.now();
    let key = StoredKey {
        record: KeyRecord {
            id,
            tenant: key.tenant,
            name: key.name.as_str().to_owned(),
            owner: key.owner,
            status: key.status,
            expires_at: key.expires_at,
            grants: key.grants,
            revision: transaction.revision(),
        },
        slug,
        created_at: now,
        updated_at: now,
    };
    transaction.insert(by, &key, digest).await?;
    Ok(key)
}

struct Retire {
    caller: Caller,
    owner_kind: String,
}

impl Command for Retire {
    type Answer = u64;

    async fn perform(self, transaction: &mut WriteTransaction<'_>) -> Result<u64, CommandError> {
        let revoke = audited(&self.caller, "revoke", transaction).await?;
        let delete = Audited {
            action: "delete",
            ..revoke.clone()
        };
        let mut revoked = 0;
        for before in read::owned_by(transaction.connection(), &self.owner_kind).await? {
            if before.record.status == KeyStatus::Revoked {
                transaction.delete(&delete, &before).await?;
                continue;
            }
            let mut after = before.clone();
            after.record.status = KeyStatus::Revoked;
            after.record.revision = transaction.revision();
            after.updated_at = transaction.now();
            transaction.update(&revoke, &before, &after).await?;
            revoked += 1;
        }
        Ok(revoked)
    }
}

/// Usage as gateways report it.
pub(super) struct RecordUsage(pub(super) Vec<Usage>);

impl Command for RecordUsage {
    type Answer = ();

    async fn perform(self, transaction: &mut WriteTransaction<'_>) -> Result<(), CommandError> {
        for usage in &self.0 {
            transaction.add_usage(usage).await?;
        }
        Ok(())
    }
}

async fn audited(
    caller: &Caller,
    action: &'static str,
    transaction: &mut WriteTransaction<'_>,
) -> Result<Audited, CommandError> {
    let now = transaction.now();
    let actor = caller.judge(transaction.connection(), now).await?;
    Ok(Audited {
        actor: actor.name(),
        action,
    })
}
