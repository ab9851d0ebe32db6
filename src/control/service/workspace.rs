//! What only keys of workspaces have: an update that states the whole key.

use super::incoming::WORKSPACE_KEYS_MAX;
use super::key::{Edit, switched};
use super::{Applied, Keys};
use crate::authz::{Tenant, Timestamp};
use crate::control::caller::{Actor, Caller};
use crate::control::command::{ListKeys, PutWorkspaceKey, Sort, SortField, WorkspaceId};
use crate::control::error::CommandError;
use crate::control::store::StoredKey;

impl Keys {
    /// All keys of a workspace, the oldest first.
    ///
    /// # Errors
    /// The caller may not see them, or the store failed.
    pub async fn list_workspace_keys(
        &self,
        caller: &Caller,
        workspace: &WorkspaceId,
    ) -> Result<Applied<Vec<StoredKey>>, CommandError> {
        let all = ListKeys {
            limit: WORKSPACE_KEYS_MAX,
            sort: Sort {
                field: SortField::CreatedAt,
                descending: false,
            },
            ..ListKeys::default()
        };
        let tenant = Tenant::from(workspace);
        let page = self.list_keys(caller, &tenant, &all).await?;
        Ok(page.map(|page| page.keys))
    }

    /// Makes a key, named by its id or its secret, what it is to be.
    ///
    /// # Errors
    /// There is no such key, the caller may not, or the store failed.
    pub async fn put_workspace_key(
        &self,
        caller: Caller,
        workspace: &WorkspaceId,
        id_or_secret: &str,
        put: PutWorkspaceKey,
    ) -> Result<Applied<StoredKey>, CommandError> {
        let target = self.target(caller, workspace.into(), id_or_secret);
        self.update_key(target, put).await
    }
}

impl Edit for PutWorkspaceKey {
    fn apply(
        self,
        before: &StoredKey,
        _actor: &Actor,
        _now: Timestamp,
    ) -> Result<StoredKey, CommandError> {
        let mut after = before.clone();
        self.name.as_str().clone_into(&mut after.record.name);
        after.record.grants = self.grants;
        after.record.status = switched(before.record.status, self.disabled)?;
        Ok(after)
    }
}
