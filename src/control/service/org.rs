//! What only keys of organisations have: patches that leave what they do not state, and rotation.

use super::key::{Edit, Target, audited, in_the_future, replace, switched};
use super::{Applied, Command, Keys, Minted};
use crate::authz::{Family, KeyDigest, KeyStatus, Owner, RawGrants, Tenant, Timestamp};
use crate::control::caller::{Actor, Caller};
use crate::control::command::{
    InvalidInput, OrgSlug, PatchOrgKey, RotateOrgKey, check_grants, parse_owner,
};
use crate::control::error::CommandError;
use crate::control::store::{Audited, Rotation, SECRETS_IN_GRACE_MAX, StoredKey, WriteTransaction};
use crate::control::token::RawKey;
use crate::wire::SecretDigest;

impl Keys {
    /// Makes a key different.
    ///
    /// # Errors
    /// There is no such key, the outcome is not acceptable, the caller may not, or the store failed.
    pub async fn patch_org_key(
        &self,
        caller: Caller,
        org: &OrgSlug,
        id_or_slug: &str,
        patch: PatchOrgKey,
    ) -> Result<Applied<StoredKey>, CommandError> {
        let target = self.target(caller, org.into(), id_or_slug);
        self.update_key(target, patch).await
    }

    /// Gives a key a new secret.
    ///
    /// # Errors
    /// There is no such key, the new expiry has passed, the caller may not, or the store failed.
    pub async fn rotate_org_key(
        &self,
        caller: Caller,
        org: &OrgSlug,
        id_or_slug: &str,
        rotate: RotateOrgKey,
    ) -> Result<Applied<Minted>, CommandError> {
        let tenant = Tenant::from(org);
        let raw = RawKey::of(&tenant, self.now())?;
        let command = Rotate {
            target: self.target(caller, tenant, id_or_slug),
            rotate,
            digest: self.digest(&raw),
        };
        let rotated = self.write(command).await?;
        Ok(rotated.map(|key| Minted { key, raw }))
    }
}

impl Edit for PatchOrgKey {
    fn apply(
        self,
        before: &StoredKey,
        actor: &Actor,
        _now: Timestamp,
    ) -> Result<StoredKey, CommandError> {
        let after = patched(before, &self)?;
        if let Some(authority) = actor.authority().filter(|_| !self.only_disables()) {
            if after.record.owner != before.record.owner {
                authority.covers_owner(after.record.owner.as_ref())?;
            }
            authority.covers(&before.record.grants)?;
            authority.covers_key(&after.record.grants, after.record.expires_at)?;
        }
        Ok(after)
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
            in_the_future(Family::Org, expires_at, now)?;
            after.record.expires_at = Some(expires_at);
        }
        if let Some(authority) = actor.authority() {
            // Whoever has the new secret is taken for the owner.
            authority.covers_owner(after.record.owner.as_ref())?;
            authority.covers_key(&after.record.grants, after.record.expires_at)?;
        }
        let digest = SecretDigest::Blake3(self.digest);
        let rotation = Rotation {
            grace_seconds: self.rotate.grace_seconds,
            retired_at: now.plus_seconds(i64::from(self.rotate.grace_seconds)),
        };
        let id = &before.record.id;
        if transaction.retire_secrets(id, rotation.retired_at).await? > SECRETS_IN_GRACE_MAX {
            return Err(CommandError::SecretsInGrace);
        }
        transaction.replace_secret(id, digest).await?;
        let by = Audited {
            rotation: Some(rotation),
            ..audited(&actor, "rotate")
        };
        replace(transaction, &by, &before, &mut after).await?;
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
    record.status = switched(record.status, patch.disabled)?;
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
    check_grants(&RawGrants::Org {
        permissions: patch.permissions.clone().unwrap_or_default(),
        scopes: patch.scopes.clone().unwrap_or_default(),
    })?;
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
