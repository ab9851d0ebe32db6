//! Commands on the keys of organisations.

use super::{Applied, Command, Keys, Minted};
use crate::authz::{KeyDigest, KeyId, KeyRecord, KeyStatus, Owner, RawGrants, Timestamp};
use crate::control::caller::{Actor, Caller};
use crate::control::command::{
    CreateOrgKey, InvalidInput, OrgGrants, OrgSlug, PatchOrgKey, RotateOrgKey, parse_owner,
};
use crate::control::error::CommandError;
use crate::control::store::{Audited, StoredKey, WriteTransaction, read};
use crate::control::token::{self, RawKey};
use crate::wire::SecretDigest;

impl Keys {
    /// Makes a key.
    ///
    /// # Errors
    /// The slug is taken, the expiry has passed, the caller may not, or the store failed.
    pub async fn create_org_key(
        &self,
        caller: Caller,
        org: OrgSlug,
        create: CreateOrgKey,
    ) -> Result<Applied<Minted>, CommandError> {
        let raw = RawKey::org(&org)?;
        let command = Create {
            caller,
            org,
            create,
            id: token::new_id(self.now())?,
            digest: self.digest(&raw),
        };
        let Applied {
            value: key,
            revision,
        } = self.write(command).await?;
        let value = Minted { key, raw };
        Ok(Applied { value, revision })
    }

    /// Makes a key different.
    ///
    /// # Errors
    /// There is no such key, the outcome is not acceptable, the caller may not, or the store failed.
    pub async fn patch_org_key(
        &self,
        caller: Caller,
        org: OrgSlug,
        id_or_slug: String,
        patch: PatchOrgKey,
    ) -> Result<Applied<StoredKey>, CommandError> {
        let target = Target {
            caller,
            org,
            id_or_slug,
        };
        self.write(Patch { target, patch }).await
    }

    /// Removes a key.
    ///
    /// # Errors
    /// There is no such key, the caller may not, or the store failed.
    pub async fn delete_org_key(
        &self,
        caller: Caller,
        org: OrgSlug,
        id_or_slug: String,
    ) -> Result<Applied<()>, CommandError> {
        let target = Target {
            caller,
            org,
            id_or_slug,
        };
        self.write(Delete(target)).await
    }

    /// Gives a key a new secret.
    ///
    /// # Errors
    /// There is no such key, the new expiry has passed, the caller may not, or the store failed.
    pub async fn rotate_org_key(
        &self,
        caller: Caller,
        org: OrgSlug,
        id_or_slug: String,
        rotate: RotateOrgKey,
    ) -> Result<Applied<Minted>, CommandError> {
        let raw = RawKey::org(&org)?;
        let target = Target {
            caller,
            org,
            id_or_slug,
        };
        let command = Rotate {
            target,
            rotate,
            digest: self.digest(&raw),
        };
        let Applied {
            value: key,
            revision,
        } = self.write(command).await?;
        let value = Minted { key, raw };
        Ok(Applied { value, revision })
    }
}

/// A key of an organisation, and who wants something of it.
struct Target {
    caller: Caller,
    org: OrgSlug,
    id_or_slug: String,
}

impl Target {
    /// Judges the caller and finds the key.
    async fn resolve(
        &self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<(Actor, StoredKey), CommandError> {
        let now = transaction.now();
        let connection = transaction.connection();
        let actor = self.caller.judge(connection, now).await?;
        actor.admit(&self.org)?;
        let key = read::org_key(connection, &self.org, &self.id_or_slug)
            .await?
            .ok_or(CommandError::NotFound)?;
        Ok((actor, key))
    }
}

struct Create {
    caller: Caller,
    org: OrgSlug,
    create: CreateOrgKey,
    id: KeyId,
    digest: KeyDigest,
}

impl Command for Create {
    type Answer = StoredKey;

    async fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<StoredKey, CommandError> {
        let now = transaction.now();
        let actor = self.caller.judge(transaction.connection(), now).await?;
        actor.admit(&self.org)?;
        let CreateOrgKey {
            slug,
            name,
            grants,
            owner,
            expires_at,
        } = self.create;
        in_the_future(expires_at, now)?;
        if let Some(authority) = actor.authority() {
            authority.covers_key(&grants.raw(), Some(expires_at))?;
        }
        let tenant = self.org.tenant();
        if read::slug_is_taken(transaction.connection(), &tenant, slug.as_str()).await? {
            return Err(CommandError::SlugTaken(slug.as_str().to_owned()));
        }
        let key = StoredKey {
            record: KeyRecord {
                id: self.id,
                tenant,
                name: name.as_str().to_owned(),
                owner,
                status: KeyStatus::Active,
                expires_at: Some(expires_at),
                grants: grants.raw(),
                revision: transaction.revision(),
            },
            slug: Some(slug.as_str().to_owned()),
            created_at: now,
            updated_at: now,
        };
        let by = audited(&actor, "create");
        let digest = SecretDigest::Blake3(self.digest);
        transaction.insert(&by, &key, digest).await?;
        Ok(key)
    }
}

struct Patch {
    target: Target,
    patch: PatchOrgKey,
}

impl Command for Patch {
    type Answer = StoredKey;

    async fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<StoredKey, CommandError> {
        let (actor, before) = self.target.resolve(transaction).await?;
        let mut after = patched(&before, &self.patch)?;
        if let Some(authority) = actor.authority().filter(|_| !self.patch.only_disables()) {
            authority.covers(&before.record.grants)?;
            authority.covers_key(&after.record.grants, after.record.expires_at)?;
        }
        if after == before {
            return Ok(before);
        }
        after.record.revision = transaction.revision();
        after.updated_at = transaction.now();
        let by = audited(&actor, "update");
        transaction.update(&by, &before, &after).await?;
        Ok(after)
    }
}

struct Delete(Target);

impl Command for Delete {
    type Answer = ();

    async fn perform(self, transaction: &mut WriteTransaction<'_>) -> Result<(), CommandError> {
        let (actor, key) = self.0.resolve(transaction).await?;
        transaction.delete(&audited(&actor, "delete"), &key).await?;
        Ok(())
    }
}

struct Rotate {
    target: Target,
    rotate: RotateOrgKey,
    digest: KeyDigest,
}

impl Command for Rotate {
    type Answer = StoredKey;

    async fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<StoredKey, CommandError> {
        let (actor, before) = self.target.resolve(transaction).await?;
        let now = transaction.now();
        if before.record.status == KeyStatus::Revoked {
            return Err(CommandError::Revoked);
        }
        let mut after = before.clone();
        if let Some(expires_at) = self.rotate.expires_at {
            in_the_future(expires_at, now)?;
            after.record.expires_at = Some(expires_at);
        }
        if let Some(authority) = actor.authority() {
            authority.covers_key(&after.record.grants, after.record.expires_at)?;
        }
        after.record.revision = transaction.revision();
        after.updated_at = now;
        let digest = SecretDigest::Blake3(self.digest);
        let retired_at = now.plus_seconds(i64::from(self.rotate.grace_seconds));
        transaction
            .replace_secret(&before.record.id, digest, retired_at)
            .await?;
        let by = audited(&actor, "rotate");
        transaction.update(&by, &before, &after).await?;
        Ok(after)
    }
}

/// The key as the patch makes it; revision and time of change are still the former ones.
fn patched(before: &StoredKey, patch: &PatchOrgKey) -> Result<StoredKey, CommandError> {
    let mut after = before.clone();
    let record = &mut after.record;
    if let Some(name) = &patch.name {
        name.as_str().clone_into(&mut record.name);
    }
    record.grants = patched_grants(&record.grants, patch)?;
    if patch.owner_kind.is_some() || patch.owner_id.is_some() {
        record.owner = patched_owner(before.record.owner.as_ref(), patch)?;
    }
    if let Some(expires_at) = patch.expires_at {
        record.expires_at = Some(expires_at);
    }
    record.status = match (record.status, patch.disabled) {
        (KeyStatus::Revoked, Some(false)) => return Err(CommandError::Revoked),
        (KeyStatus::Revoked, _) => KeyStatus::Revoked,
        (_, Some(true)) => KeyStatus::Disabled,
        (_, Some(false)) => KeyStatus::Active,
        (unchanged, None) => unchanged,
    };
    Ok(after)
}

/// Grants as the patch makes them; only what it states is checked anew.
fn patched_grants(before: &RawGrants, patch: &PatchOrgKey) -> Result<RawGrants, InvalidInput> {
    let RawGrants::Org {
        permissions,
        scopes,
    } = before
    else {
        return Ok(before.clone());
    };
    OrgGrants::parse(
        patch.permissions.clone().unwrap_or_default(),
        patch.scopes.clone().unwrap_or_default(),
    )?;
    Ok(RawGrants::Org {
        permissions: patch.permissions.as_ref().unwrap_or(permissions).clone(),
        scopes: patch.scopes.as_ref().unwrap_or(scopes).clone(),
    })
}

/// The owner as the patch makes it. Without a kind there is no owner.
fn patched_owner(
    before: Option<&Owner>,
    patch: &PatchOrgKey,
) -> Result<Option<Owner>, InvalidInput> {
    let (former_kind, former_id) = before
        .map(|owner| (owner.kind.as_str(), owner.id.as_str()))
        .unzip();
    let kind = patch
        .owner_kind
        .as_ref()
        .map_or(former_kind, Option::as_deref);
    let kept_id = former_id.filter(|id| kind.is_some() && !id.is_empty());
    let id = patch.owner_id.as_ref().map_or(kept_id, Option::as_deref);
    parse_owner(kind, id)
}

fn in_the_future(expires_at: Timestamp, now: Timestamp) -> Result<(), InvalidInput> {
    if expires_at > now {
        Ok(())
    } else {
        Err(InvalidInput::new("expiresAt", "is not in the future"))
    }
}

fn audited(actor: &Actor, action: &'static str) -> Audited {
    Audited {
        actor: actor.name(),
        action,
    }
}
