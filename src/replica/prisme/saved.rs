//! What is kept over a restart: the lists and the digests that were learned, never a key. One line of JSON about all
//! of it, then one for each key.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::follower::Kept;
use super::{NEVER, OpenError, Shared, millis};
use crate::authz::{Pepper, Revision, Tenant};
use crate::replica::{StateError, StateFile};
use crate::wire::entry::Entry;
use crate::wire::{ChangeSink as _, SecretEntry};

/// What such files are marked with.
const KIND: &str = "prisme";
/// From one writing to the next, at least: a second, or this many times what it took.
const PART_OF_TIME: u32 = 10;
const SPACING_MIN: Duration = Duration::from_secs(1);

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    url: String,
    pepper: String,
    revision: u64,
    lists: Vec<List>,
}

/// A list that was read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    family: String,
    tenant: String,
    /// When it was asked for, by the calendar, in milliseconds.
    confirmed: i64,
}

/// One key of a list.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    /// The position of its list in the head.
    list: usize,
    key: Entry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updated_at: Option<Box<str>>,
    /// Whether it was changed since its digest was learned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    moved: bool,
}

/// All of a file, each key with the position of its list.
struct Saved {
    head: Head,
    keys: Vec<(usize, Kept)>,
}

impl Shared {
    fn file(&self) -> Option<StateFile> {
        let path = self.config.state.as_ref()?;
        Some(StateFile::new(path, KIND))
    }

    pub(super) async fn save_when_changed(self: Arc<Self>) {
        if self.config.state.is_none() {
            return;
        }
        loop {
            self.changed.notified().await;
            let began = Instant::now();
            let saving = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || saving.save()).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(error)) => {
                    let cause = std::error::Error::source(&error).map(tracing::field::display);
                    tracing::error!(%error, cause, "the keys would not be there after a restart");
                }
            }
            let spacing = began.elapsed().saturating_mul(PART_OF_TIME);
            tokio::time::sleep(spacing.max(SPACING_MIN)).await;
        }
    }

    pub(super) fn save(&self) -> Result<(), StateError> {
        let Some(file) = self.file() else {
            return Ok(());
        };
        // Writing to memory does not fail, and every value here has a form in JSON.
        let content = self.content().unwrap_or_default();
        file.write(&content)
    }

    fn content(&self) -> serde_json::Result<Vec<u8>> {
        let now = (self.clock)();
        let (mut lists, mut positions) = (Vec::new(), Vec::new());
        let follower = self.follower();
        for followed in &self.followed {
            let confirmed = followed.confirmed.load(Ordering::Relaxed);
            positions.push((confirmed != NEVER).then_some(lists.len()));
            if confirmed != NEVER {
                let age = millis(now.steady).saturating_sub(confirmed);
                let (family, tenant) = names(&followed.tenant);
                lists.push(List {
                    family: family.to_owned(),
                    tenant: tenant.to_owned(),
                    confirmed: now.time.as_millis().saturating_sub(age),
                });
            }
        }
        let head = Head {
            url: self.config.access.url.clone(),
            pepper: pepper_check(self.pepper.as_ref()),
            revision: follower.revision().0,
            lists,
        };
        let mut content = serde_json::to_vec(&head)?;
        for (tenant, kept) in follower.keys() {
            let Some(list) = positions.get(tenant).copied().flatten() else {
                continue;
            };
            let key = Key {
                list,
                key: Entry::from(&kept.entry),
                updated_at: kept.updated_at,
                moved: kept.moved,
            };
            content.push(b'\n');
            serde_json::to_writer(&mut content, &key)?;
        }
        Ok(content)
    }

    /// Takes up what was kept. A file that cannot be believed is named in the log and left alone.
    pub(super) fn restore(&self) -> Result<(), OpenError> {
        let Some(file) = self.file() else {
            return Ok(());
        };
        let read = file.read().and_then(|content| {
            let saved = content.map(|content| parse(&content));
            saved.transpose().map_err(|why| file.damaged(why))
        });
        let saved = match read {
            Ok(None) => return Ok(()),
            Ok(Some(saved)) => saved,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(tracing::field::display);
                tracing::error!(%error, cause, "starting without the keys of before");
                return Ok(());
            }
        };
        if saved.head.url != self.config.access.url {
            let file = file.path().display();
            tracing::error!(%file, "the state file is of another platform: it is not used");
            return Ok(());
        }
        if saved.head.pepper != pepper_check(self.pepper.as_ref()) {
            return Err(OpenError::Pepper(file.path().to_owned()));
        }
        self.take_up(saved);
        Ok(())
    }

    fn take_up(&self, saved: Saved) {
        let now = (self.clock)();
        let mut follower = self.follower();
        let mut keys = saved.keys;
        for (position, list) in saved.head.lists.iter().enumerate() {
            let is_it = |tenant: &Tenant| {
                let (family, tenant) = names(tenant);
                family == list.family && tenant == list.tenant
            };
            let mut numbered = self.followed.iter().enumerate();
            let Some((number, followed)) = numbered.find(|(_, f)| is_it(&f.tenant)) else {
                continue;
            };
            let of_list = keys.extract_if(.., |(list, kept)| {
                *list == position && kept.entry.record.tenant == followed.tenant
            });
            let of_list = of_list.map(|(_, kept)| kept);
            follower.restore(number, Revision(saved.head.revision), of_list);
            let age = now.time.as_millis().saturating_sub(list.confirmed);
            // From the future: a clock was set, and how old it is cannot be told.
            let unknown = millis(self.config.max_staleness).saturating_add(1);
            let age = if age < 0 { unknown } else { age };
            let confirmed = millis(now.steady).saturating_sub(age);
            followed.confirmed.store(confirmed, Ordering::Relaxed);
            followed.read.store(confirmed, Ordering::Relaxed);
        }
        if self.followed.iter().any(|f| f.age(now).is_some()) {
            // All of it is in memory: it does not break off.
            let _ = self.replica.load(&mut &*follower);
        }
    }
}

fn parse(content: &[u8]) -> Result<Saved, &'static str> {
    let mut lines = content.split(|byte| *byte == b'\n');
    let head = lines.next().unwrap_or_default();
    let head = serde_json::from_slice(head).map_err(|_| "its head cannot be read")?;
    let key = |line: &[u8]| {
        let key: Key = serde_json::from_slice(line).map_err(|_| "a key cannot be read")?;
        let entry = SecretEntry::try_from(key.key).map_err(|_| "a key cannot be read")?;
        let kept = Kept {
            entry,
            updated_at: key.updated_at,
            moved: key.moved,
        };
        Ok((key.list, kept))
    };
    let keys = lines.map(key).collect::<Result<_, &str>>()?;
    Ok(Saved { head, keys })
}

fn names(tenant: &Tenant) -> (&'static str, &str) {
    let name = match tenant {
        Tenant::Org(name) | Tenant::Workspace(name) => name,
        Tenant::Access => "",
    };
    (tenant.family().as_str(), name)
}

fn pepper_check(pepper: Option<&Pepper>) -> String {
    blake3::Hash::from_bytes(Pepper::check_value(pepper))
        .to_hex()
        .to_string()
}
