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
        key.check()?;
        let command = Insert {
            caller,
            key,
            id: token::new_id(self.now())?,
            digest: self.digest(raw),
        };
        self.write(command).await
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
    key: NewKey,
    id: KeyId,
    digest: KeyDigest,
}

impl Command for Insert {
    type Answer = StoredKey;

    async fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<StoredKey, CommandError> {
        let now = transaction.now();
        let by = audited(&self.caller, "create", transaction).await?;
        let NewKey {
            tenant,
            slug,
            name,
            owner,
            status,
            expires_at,
            grants,
        } = self.key;
        let slug = slug.map(|slug| slug.as_str().to_owned());
        if let Some(slug) = &slug
            && read::slug_is_taken(transaction.connection(), &tenant, slug).await?
        {
            return Err(CommandError::SlugTaken(slug.clone()));
        }
        let digest = SecretDigest::Blake3(self.digest);
        if read::secret_is_taken(transaction.connection(), &digest).await? {
            return Err(CommandError::SecretTaken);
        }
        let key = StoredKey {
            record: KeyRecord {
                id: self.id,
                tenant,
                name: name.as_str().to_owned(),
                owner,
                status,
                expires_at,
                grants,
                revision: transaction.revision(),
            },
            slug,
            created_at: now,
            updated_at: now,
        };
        transaction.insert(&by, &key, digest).await?;
        Ok(key)
    }
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
