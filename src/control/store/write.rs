//! The one way in which the database changes: a transaction that makes rows, revision, change log and audit
//! entry together, and yields the change that gateways are told.

use super::changes::{self, Since};
use super::notes::Notes;
use super::row::{digest_columns, entry, grants_text, owner_columns, status_text, stored_revision};
use super::sql::{self, Conn, Connection, Dialect, Purpose, Transaction};
use super::{StoreError, StoredKey, Usage, batch, epoch, read, retention};
use crate::authz::{KeyId, Revision, Timestamp};
use crate::wire::{Change, Epoch, Secret, SecretDigest, SecretEntry};

/// What control planes of one server tell each other through.
pub(in crate::control) const CHANNEL: &str = "keyward_changes";
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

/// A transaction that writes, in steps: each makes one revision, if it changes anything, or is undone alone. Dropped
/// without [`commit`](Self::commit), none of them ever was.
pub(in crate::control) struct WriteTransaction<'c> {
    transaction: Transaction<'c>,
    now: Timestamp,
    /// The history that this goes on with.
    epoch: Epoch,
    /// The last revision before this.
    former: Revision,
    /// The last revision, those of former steps included.
    last: Revision,
    /// Whether there are several steps. One alone needs no savepoint, which has SQLite copy each page that it touches.
    has_savepoints: bool,
    /// Whether the one step was undone.
    is_void: bool,
    /// What the present step puts.
    put: Vec<Put>,
    /// What the present step removes.
    removed: Vec<KeyId>,
    /// What former steps made.
    changes: Vec<Change>,
    /// What is written at the end.
    notes: Notes,
}

/// A key that gateways must be told of.
enum Put {
    /// It was not there before, and this is all of it.
    New(SecretEntry),
    /// It is read once everything is written.
    Changed(KeyId),
}

impl<'c> WriteTransaction<'c> {
    /// Begins, and keeps other writers out until the end.
    pub(in crate::control) async fn begin(
        writer: &'c mut Connection,
        now: Timestamp,
        steps: usize,
    ) -> Result<Self, StoreError> {
        let mut transaction = writer.conn().begin(Purpose::Write).await?;
        let at = read::lock_identity(&mut transaction.conn()).await?;
        Ok(Self {
            transaction,
            now,
            epoch: at.epoch,
            former: at.revision,
            last: at.revision,
            has_savepoints: steps > 1,
            is_void: false,
            put: Vec::new(),
            removed: Vec::new(),
            changes: Vec::new(),
            notes: Notes::default(),
        })
    }

    /// Begins a step.
    pub(in crate::control) async fn open_step(&mut self) -> Result<(), StoreError> {
        self.notes.open_step();
        self.mark("SAVEPOINT step").await
    }

    /// Ends a step: what it changed is a revision.
    pub(in crate::control) async fn keep_step(&mut self) -> Result<(), StoreError> {
        if !self.put.is_empty() || !self.removed.is_empty() {
            let change = self.change().await?;
            self.notes.touched(&change);
            self.last = change.revision;
            self.changes.push(change);
        }
        self.mark("RELEASE step").await
    }

    /// Undoes a step.
    pub(in crate::control) async fn undo_step(&mut self) -> Result<(), StoreError> {
        self.put.clear();
        self.removed.clear();
        self.notes.undo_step();
        self.is_void = !self.has_savepoints;
        self.mark("ROLLBACK TO step").await?;
        self.mark("RELEASE step").await
    }

    async fn mark(&mut self, statement: &'static str) -> Result<(), StoreError> {
        if self.has_savepoints {
            sql::query(statement)
                .execute(&mut self.transaction.conn())
                .await?;
        }
        Ok(())
    }

    /// The one moment at which everything in this transaction happens.
    pub(in crate::control) fn now(&self) -> Timestamp {
        self.now
    }

    /// The revision that changes of the present step carry.
    pub(in crate::control) fn revision(&self) -> Revision {
        Revision(self.last.0.saturating_add(1))
    }

    /// The last revision, those of former steps included.
    pub(in crate::control) fn last(&self) -> Revision {
        self.last
    }

    /// The history that this goes on with.
    pub(in crate::control) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What gateways were not told that have come as far as `known`: what other control planes committed, and what was
    /// committed here though it seemed to fail. Asked before the first step.
    pub(in crate::control) async fn missed(
        &mut self,
        known: Revision,
    ) -> Result<Since, StoreError> {
        changes::up_to(&mut self.transaction.conn(), known, self.last).await
    }

    /// Begins another history, which goes on with the keys and the revision of this one. Nothing else may be in it.
    pub(in crate::control) async fn begin_epoch(&mut self) -> Result<(), StoreError> {
        epoch::renew(&mut self.transaction.conn(), self.now).await?;
        self.announce().await
    }

    /// Writes something that changes nothing, to see whether writing succeeds.
    pub(in crate::control) async fn touch(&mut self) -> Result<(), StoreError> {
        sql::query("UPDATE meta SET revision = revision")
            .execute(&mut self.transaction.conn())
            .await?;
        Ok(())
    }

    /// Notes in the audit log what was done to something that is no key, of which this was known before and is after.
    pub(in crate::control) fn note(
        &mut self,
        actor: &str,
        action: &'static str,
        states: (Option<String>, Option<String>),
    ) {
        self.notes.other(self.last, actor, action, states);
    }

    /// For questions within the transaction.
    pub(in crate::control) fn connection(&mut self) -> Conn<'_> {
        self.transaction.conn()
    }

    /// Adds keys, each with its first secret. They are one entry of the audit log.
    pub(in crate::control) async fn insert(
        &mut self,
        by: &Audited,
        keys: &[(StoredKey, SecretDigest)],
    ) -> Result<(), StoreError> {
        batch::insert(&mut self.transaction.conn(), keys).await?;
        self.put.extend(keys.iter().map(|(key, digest)| {
            let secret = Secret {
                digest: *digest,
                retired_at: None,
            };
            Put::New(entry(key.record.clone(), vec![secret]))
        }));
        match keys {
            [] => {}
            [(key, _)] => self.audit(by, None, Some(key)),
            several => self.notes.several(self.revision(), by, several),
        }
        Ok(())
    }

    /// Makes a key what it is to be. Id, tenant, slug and secrets stay.
    pub(in crate::control) async fn update(
        &mut self,
        by: &Audited,
        before: &StoredKey,
        after: &StoredKey,
    ) -> Result<(), StoreError> {
        let (owner_kind, owner_id) = owner_columns(after.record.owner.as_ref());
        sql::query(
            "UPDATE keys SET name = $1, owner_kind = $2, owner_id = $3, status = $4, expires_at = $5, \
             grants = $6, revision = $7, updated_at = $8 WHERE id = $9",
        )
        .bind(after.record.name.as_str())
        .bind(owner_kind)
        .bind(owner_id)
        .bind(status_text(after.record.status))
        .bind(after.record.expires_at.map(Timestamp::as_millis))
        .bind(grants_text(&after.record.grants))
        .bind(stored_revision(self.revision()))
        .bind(after.updated_at.as_millis())
        .bind(before.record.id.as_str())
        .execute(&mut self.transaction.conn())
        .await?;
        self.put.push(Put::Changed(before.record.id.clone()));
        self.audit(by, Some(before), Some(after));
        Ok(())
    }

    /// Ends at `retired_at` every secret of a key that would live longer, and says how many still live.
    pub(in crate::control) async fn retire_secrets(
        &mut self,
        id: &KeyId,
        retired_at: Timestamp,
    ) -> Result<i64, StoreError> {
        sql::query(
            "UPDATE secrets SET retired_at = CASE WHEN retired_at < $1 THEN retired_at ELSE $1 END \
             WHERE key_seq = (SELECT seq FROM keys WHERE id = $2)",
        )
        .bind(retired_at.as_millis())
        .bind(id.as_str())
        .execute(&mut self.transaction.conn())
        .await?;
        let living = sql::query(
            "SELECT count(*) FROM secrets \
             WHERE key_seq = (SELECT seq FROM keys WHERE id = $1) AND retired_at > $2",
        )
        .bind(id.as_str())
        .bind(self.now.as_millis())
        .fetch_scalar(&mut self.transaction.conn())
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
        sql::query(
            "DELETE FROM secrets WHERE digest NOT IN (SELECT digest FROM secrets \
             WHERE key_seq = (SELECT seq FROM keys WHERE id = $1) \
             ORDER BY retired_at IS NOT NULL, retired_at DESC, created_at DESC LIMIT $2) \
             AND retired_at IS NOT NULL AND key_seq = (SELECT seq FROM keys WHERE id = $1)",
        )
        .bind(id.as_str())
        .bind(SECRETS_MAX)
        .execute(&mut self.transaction.conn())
        .await?;
        Ok(())
    }

    /// Removes a key with all its secrets.
    pub(in crate::control) async fn delete(
        &mut self,
        by: &Audited,
        before: &StoredKey,
    ) -> Result<(), StoreError> {
        sql::query("DELETE FROM keys WHERE id = $1")
            .bind(before.record.id.as_str())
            .execute(&mut self.transaction.conn())
            .await?;
        self.removed.push(before.record.id.clone());
        self.audit(by, Some(before), None);
        Ok(())
    }

    /// Adds up how often keys were used. No change of what anyone may do, and so no revision.
    pub(in crate::control) async fn add_usage(
        &mut self,
        usage: &[Usage],
    ) -> Result<(), StoreError> {
        batch::add_usage(&mut self.transaction.conn(), usage).await
    }

    /// Makes it so, on disk. Gives what gateways must know, in the order of revisions.
    pub(in crate::control) async fn commit(mut self) -> Result<Vec<Change>, StoreError> {
        if self.is_void {
            return Ok(Vec::new());
        }
        let notes = std::mem::take(&mut self.notes);
        notes.write(&mut self.transaction.conn(), self.now).await?;
        if !self.changes.is_empty() {
            sql::query("UPDATE meta SET revision = $1")
                .bind(stored_revision(self.last))
                .execute(&mut self.transaction.conn())
                .await?;
            let made = (self.former, self.last);
            retention::forget_some(&mut self.transaction.conn(), made, self.now).await?;
            self.announce().await?;
        }
        self.transaction.commit().await?;
        Ok(self.changes)
    }

    /// What gateways are told: every key that is new or different, as it is now.
    async fn change(&mut self) -> Result<Change, StoreError> {
        let mut put = Vec::with_capacity(self.put.len());
        let mut changed = Vec::new();
        for key in std::mem::take(&mut self.put) {
            match key {
                Put::New(entry) => put.push(entry),
                Put::Changed(id) => changed.push(id),
            }
        }
        let found = changes::entries_of(&mut self.transaction.conn(), &changed).await?;
        if found.len() != changed.len() {
            return Err(StoreError::Unreadable("id"));
        }
        put.extend(found);
        Ok(Change {
            previous: self.last,
            revision: self.revision(),
            put,
            removed: std::mem::take(&mut self.removed),
        })
    }

    /// Tells the other control planes of the same server, as soon as it is committed.
    async fn announce(&mut self) -> Result<(), StoreError> {
        let mut connection = self.transaction.conn();
        if connection.dialect() == Dialect::Postgres {
            sql::query("SELECT pg_notify($1, '')")
                .bind(CHANNEL)
                .execute(&mut connection)
                .await?;
        }
        Ok(())
    }

    async fn add_secret(&mut self, id: &KeyId, digest: SecretDigest) -> Result<(), StoreError> {
        let (kind, digest) = digest_columns(&digest);
        sql::query(
            "INSERT INTO secrets (digest, kind, key_seq, created_at) \
             VALUES ($1, $2, (SELECT seq FROM keys WHERE id = $3), $4)",
        )
        .bind(digest)
        .bind(kind)
        .bind(id.as_str())
        .bind(self.now.as_millis())
        .execute(&mut self.transaction.conn())
        .await?;
        Ok(())
    }

    fn audit(&mut self, by: &Audited, before: Option<&StoredKey>, after: Option<&StoredKey>) {
        self.notes.changed(self.revision(), by, before, after);
    }
}
