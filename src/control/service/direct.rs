//! Commands of this program itself: keys of any family written with secrets that were made elsewhere, and usage.

use super::incoming::{Incoming, Present};
use super::key::{self, replace};
use super::{Applied, Command, Keys};
use crate::authz::KeyStatus;
use crate::control::caller::Caller;
use crate::control::command::{NewKey, SAMPLE_OWNER_KIND};
use crate::control::error::CommandError;
use crate::control::store::{Audited, StoredKey, Usage, WriteTransaction, read};
use crate::control::token::GivenSecret;

impl Keys {
    /// Writes many keys, of any family, whose secrets the caller made, as one change: all of them or none.
    ///
    /// # Errors
    /// Of the first key at fault: grants that are refused on write or are of another family, a slug or a secret that
    /// is taken. Or the store failed.
    pub async fn insert_keys(
        &self,
        caller: Caller,
        keys: Vec<(NewKey, GivenSecret<'_>)>,
    ) -> Result<Applied<Vec<StoredKey>>, CommandError> {
        let keys = keys.into_iter();
        let keys = keys.map(|(key, secret)| self.incoming(key, &secret));
        let keys = keys.collect::<Result<_, CommandError>>()?;
        self.write(Insert { caller, keys }).await
    }

    /// Ends every sample, of all families: those that still lived are revoked, and those that an earlier call revoked
    /// are removed. Says how many lived.
    ///
    /// # Errors
    /// The store failed.
    pub async fn retire_samples(&self, caller: Caller) -> Result<Applied<u64>, CommandError> {
        self.write(Retire { caller }).await
    }
}

struct Insert {
    caller: Caller,
    keys: Vec<Incoming>,
}

impl Command for Insert {
    type Answer = Vec<StoredKey>;

    async fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<Vec<StoredKey>, CommandError> {
        let by = audited(&self.caller, "create", transaction).await?;
        let mut present = Present::of(transaction, &self.keys.iter().collect::<Vec<_>>()).await?;
        let keys = self.keys.into_iter().map(|new| present.admit_unknown(new));
        let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
        transaction.insert(&by, &keys).await?;
        Ok(keys.into_iter().map(|(key, _)| key).collect())
    }
}

struct Retire {
    caller: Caller,
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
        for before in read::owned_by(&mut transaction.connection(), SAMPLE_OWNER_KIND).await? {
            if before.record.status == KeyStatus::Revoked {
                transaction.delete(&delete, &before).await?;
                continue;
            }
            let mut after = before.clone();
            after.record.status = KeyStatus::Revoked;
            replace(transaction, &revoke, &before, &mut after).await?;
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
        Ok(transaction.add_usage(&self.0).await?)
    }
}

/// Nothing, written.
pub(super) struct Touch;

impl Command for Touch {
    type Answer = ();

    async fn perform(self, transaction: &mut WriteTransaction<'_>) -> Result<(), CommandError> {
        Ok(transaction.touch().await?)
    }
}

async fn audited(
    caller: &Caller,
    action: &'static str,
    transaction: &mut WriteTransaction<'_>,
) -> Result<Audited, CommandError> {
    let actor = caller.judge_within(transaction).await?;
    Ok(key::audited(&actor, action))
}
