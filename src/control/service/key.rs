//! What the commands of all families have in common: letting a caller near, finding a key, and making, changing,
//! listing and deleting keys.
//!
//! It knows no family's fields.

use super::incoming::{Incoming, Present};
use super::{Applied, Command, Keys, Minted, Page};
use crate::authz::{Family, KeyStatus, PresentedKey, Revision, Tenant, Timestamp};
use crate::control::caller::{Actor, Caller};
use crate::control::command::{InvalidInput, ListKeys, NewKey};
use crate::control::error::CommandError;
use crate::control::store::{Audited, Lent, Shown, StoredKey, Wanted, WriteTransaction, read};
use crate::control::token::{GivenSecret, RawKey};

impl Keys {
    /// Makes a key and its secret.
    ///
    /// # Errors
    /// Grants that are refused on write or are of another family, a slug that is taken, an expiry that has passed,
    /// a caller that may not, or the store failed.
    pub async fn create_key(
        &self,
        caller: Caller,
        key: NewKey,
    ) -> Result<Applied<Minted>, CommandError> {
        let raw = RawKey::of(&key.tenant, self.now())?;
        let new = self.incoming(key, &GivenSecret::Raw(&raw))?;
        let made = self.write(Create { caller, new }).await?;
        Ok(made.map(|key| Minted { key, raw }))
    }

    /// One page of the keys of a tenant.
    ///
    /// # Errors
    /// The caller may not see them, or the store failed.
    pub async fn list_keys(
        &self,
        caller: &Caller,
        tenant: &Tenant,
        asked: &ListKeys,
    ) -> Result<Applied<Page>, CommandError> {
        let (mut connection, revision) = self.reader(caller, tenant).await?;
        let (keys, total) = read::list(&mut connection.conn(), tenant, asked).await?;
        let total = u64::try_from(total).unwrap_or(0);
        let value = Page { keys, total };
        Ok(Applied { value, revision })
    }

    /// One key of a tenant. It is named by its id; by its slug where its family has slugs; by its secret where it is of
    /// a workspace.
    ///
    /// # Errors
    /// There is none, the caller may not see it, or the store failed.
    pub async fn key(
        &self,
        caller: &Caller,
        tenant: &Tenant,
        name: &str,
    ) -> Result<Applied<StoredKey>, CommandError> {
        let (mut connection, revision) = self.reader(caller, tenant).await?;
        let value = read::find(&mut connection.conn(), tenant, &self.wanted(tenant, name))
            .await?
            .ok_or(CommandError::NotFound)?;
        Ok(Applied { value, revision })
    }

    /// Removes a key, named as for [`Keys::key`], and says what it was.
    ///
    /// # Errors
    /// There is no such key, the caller may not, or the store failed.
    pub async fn delete_key(
        &self,
        caller: Caller,
        tenant: Tenant,
        name: &str,
    ) -> Result<Applied<StoredKey>, CommandError> {
        self.write(Delete(self.target(caller, tenant, name))).await
    }

    /// A key that somebody wants something of, named as for [`Keys::key`].
    pub(super) fn target(&self, caller: Caller, tenant: Tenant, name: &str) -> Target {
        Target {
            wanted: self.wanted(&tenant, name),
            caller,
            tenant,
        }
    }

    /// What a key is found by. Whatever has the form of a secret is hashed here and goes no further.
    fn wanted(&self, tenant: &Tenant, name: &str) -> Wanted {
        let secret = match tenant {
            Tenant::Workspace(_) => PresentedKey::parse(name.as_bytes())
                .filter(|secret| secret.family() == Family::Workspace),
            Tenant::Org(_) | Tenant::Access => None,
        };
        match secret {
            Some(secret) => Wanted::Secret(Shown::new(&secret, self.0.pepper.as_ref())),
            None => Wanted::Name(name.to_owned()),
        }
    }

    /// Makes a key what `edit` makes of it.
    pub(super) async fn update_key<E: Edit>(
        &self,
        target: Target,
        edit: E,
    ) -> Result<Applied<StoredKey>, CommandError> {
        self.write(Update { target, edit }).await
    }

    /// A connection for a caller that may manage the keys of a tenant, and the revision that what it reads is at
    /// least of.
    pub(super) async fn reader(
        &self,
        caller: &Caller,
        tenant: &Tenant,
    ) -> Result<(Lent, Revision), CommandError> {
        let revision = self.revision();
        let mut connection = self.0.store.readers().acquire().await?;
        let actor = caller.judge(&mut connection.conn(), self.now()).await?;
        actor.admit(tenant)?;
        Ok((connection, revision))
    }
}

/// A key of a tenant, and who wants something of it.
pub(super) struct Target {
    caller: Caller,
    tenant: Tenant,
    wanted: Wanted,
}

impl Target {
    /// Judges the caller and finds the key.
    pub(super) async fn resolve(
        &self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<(Actor, StoredKey), CommandError> {
        let actor = judged(&self.caller, &self.tenant, transaction).await?;
        let key = read::find(&mut transaction.connection(), &self.tenant, &self.wanted)
            .await?
            .ok_or(CommandError::NotFound)?;
        Ok((actor, key))
    }
}

async fn judged(
    caller: &Caller,
    tenant: &Tenant,
    transaction: &mut WriteTransaction<'_>,
) -> Result<Actor, CommandError> {
    let actor = caller.judge_within(transaction).await?;
    actor.admit(tenant)?;
    Ok(actor)
}

struct Create {
    caller: Caller,
    new: Incoming,
}

impl Command for Create {
    type Answer = StoredKey;

    async fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<StoredKey, CommandError> {
        let key = &self.new.key;
        let actor = judged(&self.caller, &key.tenant, transaction).await?;
        if let Some(expires_at) = key.expires_at {
            in_the_future(key.tenant.family(), expires_at, transaction.now())?;
        }
        if let Some(authority) = actor.authority() {
            authority.covers_owner(key.owner.as_ref())?;
            authority.covers_key(&key.grants, key.expires_at)?;
        }
        let by = audited(&actor, "create");
        let made = Present::of(transaction, &[&self.new])
            .await?
            .admit_unknown(self.new)?;
        transaction.insert(&by, std::slice::from_ref(&made)).await?;
        Ok(made.0)
    }
}

/// What makes a key different.
pub(super) trait Edit: Send + 'static {
    /// The key as it is to be, for this actor; revision and time of change are still the former ones.
    fn apply(
        self,
        before: &StoredKey,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<StoredKey, CommandError>;
}

struct Update<E> {
    target: Target,
    edit: E,
}

impl<E: Edit> Command for Update<E> {
    type Answer = StoredKey;

    async fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<StoredKey, CommandError> {
        let (actor, before) = self.target.resolve(transaction).await?;
        let mut after = self.edit.apply(&before, &actor, transaction.now())?;
        if after == before {
            return Ok(before);
        }
        replace(transaction, &audited(&actor, "update"), &before, &mut after).await?;
        Ok(after)
    }
}

/// Makes a key what it is to be, as of now.
pub(super) async fn replace(
    transaction: &mut WriteTransaction<'_>,
    by: &Audited,
    before: &StoredKey,
    after: &mut StoredKey,
) -> Result<(), CommandError> {
    after.record.revision = transaction.revision();
    after.updated_at = transaction.now();
    transaction.update(by, before, after).await?;
    Ok(())
}

struct Delete(Target);

impl Command for Delete {
    /// The key as it was.
    type Answer = StoredKey;

    async fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<StoredKey, CommandError> {
        let (actor, key) = self.0.resolve(transaction).await?;
        transaction.delete(&audited(&actor, "delete"), &key).await?;
        Ok(key)
    }
}

/// The status of a key that is switched off or on; absent: as it was.
///
/// # Errors
/// It was revoked, which is final.
pub(super) fn switched(
    status: KeyStatus,
    disabled: Option<bool>,
) -> Result<KeyStatus, CommandError> {
    match (status, disabled) {
        (KeyStatus::Revoked, Some(false)) => Err(CommandError::Revoked),
        (KeyStatus::Revoked, _) => Ok(KeyStatus::Revoked),
        (_, Some(true)) => Ok(KeyStatus::Disabled),
        (_, Some(false)) => Ok(KeyStatus::Active),
        (unchanged, None) => Ok(unchanged),
    }
}

/// Checks an expiry, and names the field as the family's API calls it.
pub(super) fn in_the_future(
    family: Family,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<(), InvalidInput> {
    let field = match family {
        Family::Org | Family::Workspace => "expiresAt",
        Family::Access => "expires_at",
    };
    if expires_at > now {
        Ok(())
    } else {
        Err(InvalidInput::new(field, "is not in the future"))
    }
}

/// What the audit log says of an act.
pub(super) fn audited(actor: &Actor, action: &'static str) -> Audited {
    Audited {
        actor: actor.name(),
        action,
        rotation: None,
    }
}
