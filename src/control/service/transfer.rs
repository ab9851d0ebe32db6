//! Keys of all families in and out, many at a time.

use super::incoming::{Incoming, Present};
use super::key::{audited, in_the_future};
use super::{Applied, Command, Keys};
use crate::authz::Timestamp;
use crate::control::caller::Caller;
use crate::control::command::{InvalidInput, NewKey};
use crate::control::error::CommandError;
use crate::control::store::page::{self, ListedKey};
use crate::control::store::{StoreError, StoredKey, WriteTransaction};
use crate::control::token::GivenSecret;
use crate::wire::SecretDigest;

/// One line of an import, as far as it could be judged by itself.
#[derive(Debug)]
pub(in crate::control) struct NewLine {
    /// Which; the first is 1.
    pub(in crate::control) number: u64,
    /// The key and the field that its secret came from, or why there is none.
    pub(in crate::control) key: Result<(Incoming, &'static str), InvalidInput>,
}

/// What became of some lines of an import.
#[derive(Debug, Default)]
pub(in crate::control) struct Imported {
    /// Lines that made a key.
    pub(in crate::control) created: u64,
    /// Lines whose key was there.
    pub(in crate::control) unchanged: u64,
    /// Lines that were refused, by number.
    pub(in crate::control) refused: Vec<(u64, InvalidInput)>,
}

impl Keys {
    /// A key that is checked by itself, with a secret that was made elsewhere.
    ///
    /// # Errors
    /// Grants that are refused on write or are of another family, or no random bytes for its id.
    pub(in crate::control) fn incoming(
        &self,
        key: NewKey,
        secret: &GivenSecret<'_>,
    ) -> Result<Incoming, CommandError> {
        let key = key.checked()?;
        Ok(Incoming {
            id: secret.id(&key.tenant, self.now())?,
            digest: secret.digest(self.0.pepper.as_ref()),
            other_digest: secret.other_digest(),
            key,
        })
    }

    /// Makes the keys of some lines as one change. Where it `stops`, the first line that is refused is the last one
    /// that is looked at; those before it are carried out.
    ///
    /// # Errors
    /// The store failed, and no line was carried out.
    pub(in crate::control) async fn import(
        &self,
        caller: Caller,
        lines: Vec<NewLine>,
        stops: bool,
    ) -> Result<Applied<Imported>, CommandError> {
        let command = Import {
            caller,
            lines,
            stops,
        };
        self.write(command).await
    }

    /// Keys of all families in the order in which they were made, from behind a place on.
    ///
    /// # Errors
    /// The store failed.
    pub(in crate::control) async fn page_after(
        &self,
        place: Option<i64>,
    ) -> Result<Vec<ListedKey>, StoreError> {
        let mut connection = self.0.store.readers().acquire().await?;
        page::of_all(&mut connection.conn(), place).await
    }
}

struct Import {
    caller: Caller,
    lines: Vec<NewLine>,
    stops: bool,
}

impl Command for Import {
    type Answer = Imported;

    async fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<Imported, CommandError> {
        let actor = self.caller.judge_within(transaction).await?;
        let readable = self.lines.iter();
        let readable = readable.filter_map(|line| Some(&line.key.as_ref().ok()?.0));
        let mut present = Present::of(transaction, &readable.collect::<Vec<_>>()).await?;
        let mut imported = Imported::default();
        let mut keys = Vec::with_capacity(self.lines.len());
        for line in self.lines {
            let admitted = match line.key {
                Ok((new, field)) => admit(&mut present, new, transaction, field)?,
                Err(fault) => Err(fault),
            };
            match admitted {
                Ok(Some(key)) => keys.push(key),
                Ok(None) => imported.unchanged += 1,
                Err(fault) => {
                    imported.refused.push((line.number, fault));
                    if self.stops {
                        break;
                    }
                }
            }
        }
        imported.created = keys.len() as u64;
        transaction
            .insert(&audited(&actor, "import"), &keys)
            .await?;
        Ok(imported)
    }
}

/// The record of a key of an import, `None` where it is there, or why its line is refused.
fn admit(
    present: &mut Present,
    new: Incoming,
    transaction: &WriteTransaction<'_>,
    secret_field: &'static str,
) -> Result<Result<Option<(StoredKey, SecretDigest)>, InvalidInput>, CommandError> {
    match admit_unless_there(present, new, transaction.now()) {
        Ok(key) => Ok(Ok(key)),
        Err(CommandError::Invalid(fault)) => Ok(Err(fault)),
        Err(CommandError::SlugTaken(slug)) => {
            let problem = format!("is taken: `{slug}`");
            Ok(Err(InvalidInput::new("slug", problem)))
        }
        Err(CommandError::SecretTaken) => {
            let problem = "belongs to a key that is there with other grants, under another organisation or workspace, \
                           or with a newer secret";
            Ok(Err(InvalidInput::new(secret_field, problem)))
        }
        Err(other) => Err(other),
    }
}

/// A key that is there is not looked at any further: that it has expired since is no fault of the line.
fn admit_unless_there(
    present: &mut Present,
    new: Incoming,
    now: Timestamp,
) -> Result<Option<(StoredKey, SecretDigest)>, CommandError> {
    if present.has(&new)? {
        return Ok(None);
    }
    if let Some(expires_at) = new.key.expires_at {
        in_the_future(new.key.tenant.family(), expires_at, now)?;
    }
    present.admit(new).map(Some)
}
