//! What only access keys have: pages that begin where another ended, patches of their own, a status that is final.

use super::key::Edit;
use super::{Applied, Keys};
use crate::authz::{KeyStatus, RawGrants, Tenant, Timestamp};
use crate::control::caller::{Actor, Caller};
use crate::control::command::{Cursor, InvalidInput, ListAccessKeys, PatchAccessKey, check_grants};
use crate::control::error::CommandError;
use crate::control::store::{StoredKey, page};

impl Keys {
    /// One page of the access keys, the newest first.
    ///
    /// # Errors
    /// The caller may not see them, the page begins or ends at a key that is not there, or the store failed.
    pub async fn list_access_keys(
        &self,
        caller: &Caller,
        asked: &ListAccessKeys,
    ) -> Result<Applied<Vec<StoredKey>>, CommandError> {
        let (mut lent, revision) = self.reader(caller, &Tenant::Access).await?;
        let mut connection = lent.conn();
        let (field, id, direction) = match &asked.cursor {
            None => ("", None, page::Direction::Older),
            Some(Cursor::After(id)) => ("starting_after", Some(id), page::Direction::Older),
            Some(Cursor::Before(id)) => ("ending_before", Some(id), page::Direction::Newer),
        };
        let start = match id {
            None => page::Position::edge(direction),
            Some(id) => page::position(&mut connection, &Tenant::Access, id)
                .await?
                .ok_or_else(|| InvalidInput::new(field, "is the id of no API key"))?,
        };
        let mut value = page::page(
            &mut connection,
            &Tenant::Access,
            (start, direction),
            asked.page_length(),
            |key| asked.admits(key),
        )
        .await?;
        if direction == page::Direction::Newer {
            value.reverse();
        }
        Ok(Applied { value, revision })
    }

    /// Makes an access key different.
    ///
    /// # Errors
    /// There is no such key, the outcome is not acceptable, the key was revoked and is to be used again, the caller
    /// may not, or the store failed.
    pub async fn patch_access_key(
        &self,
        caller: Caller,
        id: &str,
        patch: PatchAccessKey,
    ) -> Result<Applied<StoredKey>, CommandError> {
        let target = self.target(caller, Tenant::Access, id);
        self.update_key(target, patch).await
    }
}

impl Edit for PatchAccessKey {
    fn apply(
        self,
        before: &StoredKey,
        _actor: &Actor,
        _now: Timestamp,
    ) -> Result<StoredKey, CommandError> {
        let mut after = before.clone();
        let record = &mut after.record;
        if let RawGrants::Access(former) = &before.record.grants {
            let grants = RawGrants::Access(self.grants(former)?);
            if grants != before.record.grants {
                check_grants(&grants)?;
            }
            record.grants = grants;
        }
        if let Some(name) = &self.name {
            name.as_str().clone_into(&mut record.name);
        }
        if let Some(expires_at) = self.expires_at {
            record.expires_at = expires_at;
        }
        record.status = match (record.status, self.status) {
            (unchanged, None) => unchanged,
            (KeyStatus::Revoked, Some(KeyStatus::Active | KeyStatus::Disabled)) => {
                return Err(CommandError::Revoked);
            }
            (_, Some(status)) => status,
        };
        Ok(after)
    }
}
