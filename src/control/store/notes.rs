//! What a transaction notes down beside the rows that it changes: entries of the audit log, and which keys each revision
//! touched.
//!
//! Notes wait for the end of the transaction and are then written together, in the order in which they were made: a
//! statement costs two changes of thread, or a way to a server and back, and each change has two notes.

use super::batch::{self, ROWS_MAX};
use super::row::{stored_revision, tenant_text};
use super::sql::{Builder, Conn, Value};
use super::write::Audited;
use super::{StoreError, StoredKey};
use crate::authz::{KeyId, Revision, Timestamp};
use crate::control::audit;
use crate::wire::{Change, SecretDigest};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Notes {
    entries: Vec<Entry>,
    touched: Vec<Touched>,
    /// How many of both were there when the present step began.
    kept: (usize, usize),
}

/// An entry of the audit log. What is not said is empty.
#[derive(Debug, Default)]
struct Entry {
    revision: Revision,
    actor: String,
    action: &'static str,
    family: &'static str,
    tenant: String,
    key_id: String,
    before: Option<String>,
    after: Option<String>,
}

/// A key that a revision touched.
#[derive(Debug)]
struct Touched {
    revision: Revision,
    id: KeyId,
    effect: &'static str,
}

impl Notes {
    /// Another step begins.
    pub(super) fn open_step(&mut self) {
        self.kept = (self.entries.len(), self.touched.len());
    }

    /// Nothing of the present step is to be known.
    pub(super) fn undo_step(&mut self) {
        self.entries.truncate(self.kept.0);
        self.touched.truncate(self.kept.1);
    }

    /// What a key was, and what it is.
    pub(super) fn changed(
        &mut self,
        revision: Revision,
        by: &Audited,
        before: Option<&StoredKey>,
        after: Option<&StoredKey>,
    ) {
        let Some(key) = after.or(before) else {
            return;
        };
        self.entries.push(Entry {
            family: key.record.family().as_str(),
            tenant: tenant_text(&key.record.tenant).to_owned(),
            key_id: key.record.id.as_str().to_owned(),
            before: before.map(|key| audit::state(key, None)),
            after: after.map(|key| audit::state(key, by.rotation)),
            ..Entry::by(by, revision)
        });
    }

    /// Several keys that are new. What they have in common is said once; where they differ, it is empty.
    pub(super) fn several(
        &mut self,
        revision: Revision,
        by: &Audited,
        keys: &[(StoredKey, SecretDigest)],
    ) {
        let tenants = || keys.iter().map(|(key, _)| &key.record.tenant);
        let family = common(tenants().map(|tenant| tenant.family().as_str()));
        let tenant = common(tenants().map(tenant_text)).filter(|_| family.is_some());
        self.entries.push(Entry {
            family: family.unwrap_or_default(),
            tenant: tenant.unwrap_or_default().to_owned(),
            after: Some(audit::states(keys.iter().map(|(key, _)| key))),
            ..Entry::by(by, revision)
        });
    }

    /// Something that is no key: what is known of it stands where else the state of a key does.
    pub(super) fn other(
        &mut self,
        revision: Revision,
        actor: &str,
        action: &'static str,
        (before, after): (Option<String>, Option<String>),
    ) {
        self.entries.push(Entry {
            revision,
            actor: actor.to_owned(),
            action,
            before,
            after,
            ..Entry::default()
        });
    }

    /// What a revision touched.
    pub(super) fn touched(&mut self, change: &Change) {
        let put = change.put.iter().map(|entry| (&entry.record.id, "put"));
        let removed = change.removed.iter().map(|id| (id, "removed"));
        self.touched
            .extend(put.chain(removed).map(|(id, effect)| Touched {
                revision: change.revision,
                id: id.clone(),
                effect,
            }));
    }

    /// Writes all of it.
    pub(super) async fn write(
        &self,
        connection: &mut Conn<'_>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for entries in self.entries.chunks(ROWS_MAX) {
            let mut query = Builder::new(
                "INSERT INTO audit \
                 (at, revision, actor, action, family, tenant, key_id, before_state, after_state) ",
            );
            query.rows(entries.iter().map(|entry| entry.row(now)));
            batch::execute(query, entries.len(), connection).await?;
        }
        for touched in self.touched.chunks(ROWS_MAX) {
            let mut query = Builder::new("INSERT INTO changes (revision, key_id, effect) ");
            query.rows(touched.iter().map(Touched::row));
            batch::execute(query, touched.len(), connection).await?;
        }
        Ok(())
    }
}

impl Entry {
    fn by(by: &Audited, revision: Revision) -> Self {
        Self {
            revision,
            actor: by.actor.clone(),
            action: by.action,
            ..Self::default()
        }
    }

    fn row(&self, now: Timestamp) -> [Value<'_>; 9] {
        [
            now.as_millis().into(),
            stored_revision(self.revision).into(),
            self.actor.as_str().into(),
            self.action.into(),
            self.family.into(),
            self.tenant.as_str().into(),
            self.key_id.as_str().into(),
            self.before.as_deref().into(),
            self.after.as_deref().into(),
        ]
    }
}

impl Touched {
    fn row(&self) -> [Value<'_>; 3] {
        let revision = stored_revision(self.revision);
        [revision.into(), self.id.as_str().into(), self.effect.into()]
    }
}

/// What all of them are.
fn common<'a>(mut all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(notes: &mut Notes, revision: u64) {
        notes.open_step();
        notes.other(Revision(revision), "admin", "try", (None, None));
        notes.touched(&Change {
            previous: Revision(revision - 1),
            revision: Revision(revision),
            put: Vec::new(),
            removed: vec![KeyId::new("k")],
        });
    }

    #[test]
    fn a_step_that_is_undone_takes_its_own_notes_with_it_and_no_others() {
        let mut notes = Notes::default();
        step(&mut notes, 1);
        step(&mut notes, 2);
        notes.undo_step();
        step(&mut notes, 3);
        let entries: Vec<_> = notes.entries.iter().map(|entry| entry.revision.0).collect();
        let touched: Vec<_> = notes.touched.iter().map(|key| key.revision.0).collect();
        assert_eq!((entries, touched), (vec![1, 3], vec![1, 3]));
    }
}
