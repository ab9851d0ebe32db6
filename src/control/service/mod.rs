//! Commands carried out: judged, checked against the state that they meet, and made one change each.
//!
//! It knows no HTTP. Every change is on disk and applied by the gateway before its command returns, in the
//! order of revisions, whether or not anybody still waits for the answer. Commands share commits ([`group`]); what was
//! committed, here or by another control plane, is handed on at one place ([`head`]).

mod access;
mod direct;
mod fleet;
mod follow;
mod group;
mod head;
mod incoming;
mod key;
mod org;
mod reading;
mod tail;
mod tokens;
mod transfer;
mod workspace;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::bearer::GatewayToken;
use super::caller::Caller;
use super::command::InvalidInput;
use super::error::CommandError;
use super::fleet::{Fleet, GatewayRow, LeaseClock, NamedToken, Tokens};
use super::store::log::{self, Entry, WantedEntries};
use super::store::{
    self, OpenError, Shown, Store, StoreError, StoredKey, Usage, WriteTransaction, read,
};
use super::token::{RawKey, random};
use crate::authz::{
    KeyDigest, KeyLookup, Pepper, PresentedKey, Principal, Revision, Tenant, Timestamp,
};
use crate::wire::sync::Position;
use crate::wire::{ChangeSink, Epoch};

pub(super) use follow::{Followable, FollowedBy};
pub(super) use transfer::{Imported, NewLine};

/// How long a write may take that is to show that writing succeeds.
const TOUCH_WAIT: Duration = Duration::from_secs(1);

/// What a command came to, and the revision at which it is so.
#[derive(Debug)]
pub struct Applied<T> {
    /// The outcome.
    pub value: T,
    /// The revision of the change, or the present one where nothing had to change.
    pub revision: Revision,
}

impl<T> Applied<T> {
    /// The same of another outcome.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Applied<U> {
        Applied {
            value: change(self.value),
            revision: self.revision,
        }
    }
}

/// A key and its secret, which nobody will see again.
#[derive(Debug)]
pub struct Minted {
    /// The key.
    pub key: StoredKey,
    /// Its secret.
    pub raw: RawKey,
}

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    /// The keys on it.
    pub keys: Vec<StoredKey>,
    /// How many keys all pages have together.
    pub total: u64,
}

/// The keys of all families, to be read and changed. Cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    store: Store,
    pepper: Option<Pepper>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    queue: group::Queue,
    head: head::Head,
    /// What follows other control planes, where there can be any.
    tail: OnceLock<tail::Tail>,
    /// Gateways that follow over the network.
    fleet: Fleet,
    /// What other control planes have written down of them.
    fleet_reading: reading::Reading,
    /// The tokens by which they are known.
    token_reading: reading::Reading,
    /// How many keys there are, and where the store stood when they were counted.
    counted: tokio::sync::Mutex<Option<(Position, u64)>>,
    /// Whether the last write failed.
    is_failing: AtomicBool,
}

/// Something that changes keys, within one transaction.
trait Command: Send + 'static {
    /// What it answers.
    type Answer: Send + 'static;

    /// Does it. An error undoes everything.
    fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> impl Future<Output = Result<Self::Answer, CommandError>> + Send;
}

impl Keys {
    pub(super) async fn new(
        store: Store,
        pepper: Option<Pepper>,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        gateway_tokens: &[GatewayToken],
    ) -> Result<Self, OpenError> {
        let leases = LeaseClock::starting(clock());
        let known = Known::read(&store, leases).await;
        let known = known.map_err(OpenError::Unreadable)?;
        let tokens = Tokens::new(gateway_tokens, known.tokens);
        let plane = u128::from_ne_bytes(random()?);
        let is_shared = store.is_shared();
        let inner = Arc::new(Inner {
            fleet: Fleet::new(known.gateways, tokens, plane, is_shared, leases),
            store,
            pepper,
            clock,
            queue: group::Queue::default(),
            head: head::Head::new(known.position),
            tail: OnceLock::new(),
            fleet_reading: reading::Reading::default(),
            token_reading: reading::Reading::default(),
            counted: tokio::sync::Mutex::default(),
            is_failing: AtomicBool::new(false),
        });
        if is_shared {
            inner.tail.get_or_init(|| tail::Tail::begin(&inner));
        }
        Ok(Self(inner))
    }

    /// Gives `sink` every key, and from then on every change. There is one sink; a second is refused.
    ///
    /// # Errors
    /// The store failed, and the sink has what it had before. Or there is a sink already.
    pub async fn attach(&self, sink: Arc<dyn ChangeSink>) -> Result<(), StoreError> {
        // Before the keys are read, so that no change falls between: other control planes wait for this gateway from here on.
        self.register_own().await?;
        let mut connection = self.0.store.readers().acquire().await?;
        self.0.head.attach(&mut connection.conn(), sink).await
    }

    /// Gateways that every change is applied by before it is answered: 1 when one is attached, else 0.
    pub fn gateways(&self) -> u32 {
        u32::from(self.0.head.has_sink())
    }

    /// The history that the store is.
    pub fn epoch(&self) -> Epoch {
        self.0.head.position().epoch
    }

    /// The last revision that is on disk and applied.
    pub fn revision(&self) -> Revision {
        self.0.head.position().revision
    }

    /// Whether the store answers, and takes what is written.
    pub(super) async fn is_available(&self) -> bool {
        let answers = match self.0.store.readers().acquire().await {
            Ok(mut connection) => {
                let is_writable = read::is_writable(&mut connection.conn()).await;
                is_writable.unwrap_or(false)
            }
            Err(_) => false,
        };
        answers && self.takes_writes().await
    }

    /// Whether the last write succeeded or, since nobody may come who writes, another one does now, and soon.
    async fn takes_writes(&self) -> bool {
        if !self.0.is_failing.load(Ordering::Acquire) {
            return true;
        }
        let touched = tokio::time::timeout(TOUCH_WAIT, self.write(direct::Touch)).await;
        if !matches!(touched, Ok(Ok(_))) {
            return false;
        }
        self.0.is_failing.store(false, Ordering::Release);
        true
    }

    /// How many keys there are, of all families. Strangers may ask, and counting takes longer the more there are: they are
    /// counted once after a change, however many ask.
    ///
    /// # Errors
    /// The store failed.
    pub async fn count(&self) -> Result<u64, StoreError> {
        let mut counted = self.0.counted.lock().await;
        let position = self.0.head.position();
        if let Some((at, keys)) = *counted
            && at == position
        {
            return Ok(keys);
        }
        let count = read::count(&mut self.0.store.readers().acquire().await?.conn()).await?;
        let keys = u64::try_from(count).unwrap_or(0);
        *counted = Some((position, keys));
        Ok(keys)
    }

    /// A page of the audit log, and whether there may be another one.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn audit(
        &self,
        wanted: &WantedEntries,
    ) -> Result<Applied<(Vec<Entry>, bool)>, StoreError> {
        let revision = self.revision();
        let mut connection = self.0.store.readers().acquire().await?;
        let value = log::entries(&mut connection.conn(), wanted).await?;
        Ok(Applied { value, revision })
    }

    /// The present moment.
    pub(super) fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    /// The caller that shows this key.
    pub(super) fn caller(&self, key: &PresentedKey<'_>) -> Caller {
        Caller::key(Shown::new(key, self.0.pepper.as_ref()))
    }

    /// What a path names, for a caller with a live key that may do something there.
    ///
    /// # Errors
    /// As any command of this caller on that tenant would fail; or the path names none, which only a live caller is
    /// told.
    pub(super) async fn admit<T>(
        &self,
        caller: &Caller,
        named: Result<T, InvalidInput>,
    ) -> Result<T, CommandError>
    where
        Tenant: for<'a> From<&'a T>,
    {
        let mut connection = self.0.store.readers().acquire().await?;
        let actor = caller.judge(&mut connection.conn(), self.now()).await?;
        let named = named?;
        actor.admit(&Tenant::from(&named))?;
        Ok(named)
    }

    /// The key of this organisation that was shown, if it may be used now. Says nothing of any other.
    ///
    /// # Errors
    /// The store failed.
    pub async fn validate_org_key(
        &self,
        org: &str,
        shown: &PresentedKey<'_>,
    ) -> Result<Option<Applied<StoredKey>>, StoreError> {
        let revision = self.revision();
        let shown = Shown::new(shown, self.0.pepper.as_ref());
        let mut connection = self.0.store.readers().acquire().await?;
        let Some(located) = read::by_secret(&mut connection.conn(), &shown).await? else {
            return Ok(None);
        };
        let lookup = KeyLookup::Found {
            principal: Arc::new(Principal::compile(&located.key.record)),
            retired_at: located.retired_at,
        };
        let is_live = lookup.live(self.now()).is_ok();
        let is_theirs = located.key.record.tenant == Tenant::Org(org.to_owned());
        Ok((is_live && is_theirs).then_some(Applied {
            value: located.key,
            revision,
        }))
    }

    /// Notes down how often keys were used. No change of what anyone may do, and so no revision.
    ///
    /// # Errors
    /// The store failed; nothing was noted down.
    pub async fn record_usage(&self, usage: Vec<Usage>) -> Result<(), CommandError> {
        self.write(direct::RecordUsage(usage)).await.map(drop)
    }

    /// Tells the pepper that keys are hashed with from any other.
    pub(super) fn pepper_check(&self) -> [u8; 32] {
        Pepper::check_value(self.0.pepper.as_ref())
    }

    fn digest(&self, raw: &RawKey) -> KeyDigest {
        raw.digest(self.0.pepper.as_ref())
    }
}

/// What the store has when it is opened.
struct Known {
    position: Position,
    gateways: Vec<GatewayRow>,
    tokens: Vec<NamedToken>,
}

impl Known {
    async fn read(store: &Store, leases: LeaseClock) -> Result<Self, StoreError> {
        let mut lent = store.readers().acquire().await?;
        let mut connection = lent.conn();
        Ok(Self {
            position: read::identity(&mut connection).await?,
            gateways: store::fleet::gateways(&mut connection, leases).await?,
            tokens: store::tokens::all(&mut connection).await?,
        })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}
