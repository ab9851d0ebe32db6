//! New keys on their way into the store, one or a thousand: what each meets there, and its record.
//!
//! It knows no family's fields and no caller.

use std::collections::{HashMap, HashSet};

use crate::authz::{Family, KeyId, KeyRecord, Revision, Tenant, Timestamp};
use crate::control::command::{InvalidInput, NewKey};
use crate::control::error::CommandError;
use crate::control::store::batch::{self, Holder};
use crate::control::store::{StoreError, StoredKey, WriteTransaction};
use crate::wire::{SecretDigest, grants};

/// Most keys of one workspace: their list has no pages.
pub(super) const WORKSPACE_KEYS_MAX: u32 = 10_000;

/// A key that was checked by itself, with its secret.
#[derive(Debug)]
pub(in crate::control) struct Incoming {
    pub(super) id: KeyId,
    pub(super) key: NewKey,
    /// What it will be looked up by.
    pub(super) digest: SecretDigest,
    /// What another key with the same secret may be looked up by.
    pub(super) other_digest: Option<SecretDigest>,
}

/// What the store has that new keys must not collide with, those admitted before included.
pub(super) struct Present {
    now: Timestamp,
    revision: Revision,
    holders: HashMap<SecretDigest, Holder>,
    slugs: HashSet<(Tenant, String)>,
    ids: HashSet<KeyId>,
    workspaces: HashMap<Tenant, u32>,
}

impl Present {
    /// What is there that concerns these keys.
    pub(super) async fn of(
        transaction: &mut WriteTransaction<'_>,
        keys: &[&Incoming],
    ) -> Result<Self, StoreError> {
        let keys = || keys.iter().copied();
        let digests = keys().flat_map(|new| [Some(new.digest), new.other_digest]);
        let slugs = keys().filter_map(|new| Some((new.key.tenant.clone(), slug(&new.key)?)));
        // Only the secrets of access keys hold an id, which then may be any.
        let is_given = |new: &&Incoming| new.key.tenant.family() == Family::Access;
        let ids = keys().filter(is_given).map(|new| new.id.clone());
        let tenants = keys().map(|new| &new.key.tenant);
        let workspaces: HashSet<Tenant> = tenants
            .filter(|tenant| tenant.family() == Family::Workspace)
            .cloned()
            .collect();
        let digests: Vec<_> = digests.flatten().collect();
        let slugs: Vec<_> = slugs.collect();
        let ids: Vec<_> = ids.collect();
        let workspaces: Vec<_> = workspaces.into_iter().collect();
        let (now, revision) = (transaction.now(), transaction.revision());
        let connection = &mut transaction.connection();
        Ok(Self {
            now,
            revision,
            holders: batch::holders(connection, &digests).await?,
            slugs: batch::slugs_taken(connection, &slugs).await?,
            ids: batch::ids_taken(connection, &ids).await?,
            workspaces: batch::keys_of(connection, &workspaces).await?,
        })
    }

    /// Whether this very key is there: its secret with the same grants.
    ///
    /// # Errors
    /// The secret belongs to a key of another tenant or with other grants, or to one that has a newer secret.
    pub(super) fn has(&self, new: &Incoming) -> Result<bool, CommandError> {
        let other = new.other_digest.as_ref();
        let holder = self
            .holders
            .get(&new.digest)
            .or_else(|| self.holders.get(other?));
        match holder {
            None => Ok(false),
            Some(holder) if is_same(holder, &new.key) => Ok(true),
            Some(_) => Err(CommandError::SecretTaken),
        }
    }

    /// The record of a key that is not there.
    ///
    /// # Errors
    /// Its slug or its id is taken, or its workspace is full.
    pub(super) fn admit(
        &mut self,
        new: Incoming,
    ) -> Result<(StoredKey, SecretDigest), CommandError> {
        let Incoming {
            id, key, digest, ..
        } = new;
        let slug = slug(&key);
        let named = slug.clone().map(|slug| (key.tenant.clone(), slug));
        if let Some(named) = &named
            && self.slugs.contains(named)
        {
            return Err(CommandError::SlugTaken(named.1.clone()));
        }
        if self.ids.contains(&id) {
            let problem = "holds the id of another key";
            return Err(InvalidInput::new("token", problem).into());
        }
        if key.tenant.family() == Family::Workspace {
            let keys = self.workspaces.entry(key.tenant.clone()).or_default();
            if *keys >= WORKSPACE_KEYS_MAX {
                let problem = format!("has {WORKSPACE_KEYS_MAX} keys, and can have no more");
                return Err(InvalidInput::new("workspaceId", problem).into());
            }
            *keys += 1;
        }
        let holder = Holder {
            tenant: key.tenant.clone(),
            grants: key.grants.clone(),
            is_current: true,
        };
        self.slugs.extend(named);
        self.ids.insert(id.clone());
        self.holders.insert(digest, holder);
        Ok((self.stored(id, key, slug), digest))
    }

    /// The same of a key whose secret nobody must have, whatever its grants.
    ///
    /// # Errors
    /// As [`Self::admit`]; or there is a key with the secret.
    pub(super) fn admit_unknown(
        &mut self,
        new: Incoming,
    ) -> Result<(StoredKey, SecretDigest), CommandError> {
        if self.has(&new)? {
            return Err(CommandError::SecretTaken);
        }
        self.admit(new)
    }

    fn stored(&self, id: KeyId, key: NewKey, slug: Option<String>) -> StoredKey {
        StoredKey {
            record: KeyRecord {
                id,
                tenant: key.tenant,
                name: key.name.as_str().to_owned(),
                owner: key.owner,
                status: key.status,
                expires_at: key.expires_at,
                grants: key.grants,
                revision: self.revision,
            },
            slug,
            created_at: self.now,
            updated_at: self.now,
            last_used_at: None,
        }
    }
}

fn slug(key: &NewKey) -> Option<String> {
    key.slug.as_ref().map(|slug| slug.as_str().to_owned())
}

/// Grants are compared as they are stored, so that what reads the same is the same.
fn is_same(holder: &Holder, key: &NewKey) -> bool {
    holder.is_current
        && holder.tenant == key.tenant
        && (holder.grants == key.grants
            || grants::to_text(&holder.grants) == grants::to_text(&key.grants))
}
