//! Gateways that follow: let in, heard, waited for.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Applied, Command, Keys};
use crate::authz::{Revision, Timestamp};
use crate::control::caller::Caller;
use crate::control::error::{CommandError, chain};
use crate::control::fleet::{
    Count, Fleet, GatewayRow, HEARD_LATELY, LeaseClock, NamedToken, Seen, between,
};
use crate::control::store::fleet::{self as stored, ReportNumber};
use crate::control::store::{StoreError, Usage, WriteTransaction};
use crate::wire::sync::{GatewayId, GatewayInfo, Position};

/// How often it is looked whether something of the fleet is to be written down or read.
const UPKEEP: Duration = Duration::from_secs(1);
/// How long what gateways say is gathered before it is written down for other control planes.
const GATHERED: Duration = Duration::from_millis(5);
/// How often those who wait look for what gateways have said to other control planes.
const LOOKED_UP: Duration = Duration::from_millis(20);
/// Numbers of reports of uses are kept for so long: no gateway sends one again after that.
const REPORTS_KEPT: i64 = 7 * 24 * 60 * 60;
/// What stands in place of a token's name for gateways that need none.
const OWN_TOKEN: &str = "-";
impl Keys {
    /// Those who follow.
    pub(in crate::control) fn fleet(&self) -> &Fleet {
        &self.0.fleet
    }

    /// Lets a gateway follow that stands somewhere, or nowhere yet: from now on it is waited for, also after a restart.
    ///
    /// # Errors
    /// There are too many, or the store failed.
    pub(in crate::control) async fn arrive(
        &self,
        info: GatewayInfo,
        token: &str,
        at: Option<Position>,
    ) -> Result<(), CommandError> {
        let fleet = self.fleet();
        if !fleet.has_room_for(info.id) {
            let gone = fleet.longest_silent();
            self.left(gone.ok_or(CommandError::TooManyGateways)?)
                .await?;
        }
        let row = fleet.arriving(info, token, at);
        let (row, before) = self.write(Arrive(row, fleet.clock())).await?.value;
        fleet.arrived(row, before);
        Ok(())
    }

    /// A gateway has ended: nothing is judged by its copy any more, and nobody waits for it.
    ///
    /// # Errors
    /// The store failed, and it is waited for until its lease is over.
    pub(in crate::control) async fn left(&self, id: GatewayId) -> Result<(), CommandError> {
        self.write(Leave(id)).await?;
        self.fleet().registry().left(id);
        self.fleet().tell();
        Ok(())
    }

    /// Forgets a gateway of which an administrator knows that it runs no more.
    ///
    /// # Errors
    /// There is none with this id, it was heard a moment ago, or the store failed.
    pub(in crate::control) async fn forget_gateway(
        &self,
        caller: Caller,
        id: &str,
    ) -> Result<Revision, CommandError> {
        let fleet = self.fleet();
        let known = self.list_gateways().await?.into_iter();
        let row = known.map(|seen| seen.row);
        let mut row = row.filter(|row| row.info.id.to_string() == id);
        let row = row.next().ok_or(CommandError::NoSuchGateway)?;
        if between(row.contact, fleet.now()) < HEARD_LATELY {
            return Err(CommandError::GatewayLives);
        }
        let info = row.info;
        let id = info.id;
        let forgotten = self.write(ForgetOne { caller, info }).await?;
        fleet.registry().left(id);
        fleet.tell();
        Ok(forgotten.revision)
    }

    /// A gateway says what it has applied.
    ///
    /// # Errors
    /// It had not arrived here, and could not be let in.
    pub(in crate::control) async fn acked(
        &self,
        info: GatewayInfo,
        token: &str,
        position: Position,
        tag: u64,
    ) -> Result<(), CommandError> {
        if !self.fleet().acked(&info, position, tag) {
            self.arrive(info.clone(), token, Some(position)).await?;
            self.fleet().acked(&info, position, tag);
        }
        Ok(())
    }

    /// Adds up the uses that a gateway reports, if it is not a report that was counted before.
    ///
    /// # Errors
    /// The store failed; nothing was added up.
    pub(in crate::control) async fn count_report(
        &self,
        gateway: GatewayId,
        incarnation: u128,
        sequence: u64,
        uses: Vec<Usage>,
    ) -> Result<(), CommandError> {
        let number = ReportNumber {
            gateway,
            incarnation,
            sequence,
        };
        self.write(CountReport { number, uses }).await.map(drop)
    }

    /// All gateways.
    ///
    /// # Errors
    /// What other control planes know of them cannot be read.
    pub(in crate::control) async fn list_gateways(&self) -> Result<Vec<Seen>, StoreError> {
        self.look_up().await?;
        Ok(self.fleet().list())
    }

    /// Waits until every gateway whose lease runs has applied a change, for `wait` at most, and says how far it has
    /// come. `closing` turns when nobody should wait any longer.
    pub(in crate::control) async fn acknowledged(
        &self,
        revision: Revision,
        wait: Duration,
        mut closing: watch::Receiver<bool>,
    ) -> Count {
        let until = Instant::now() + wait;
        let mut news = self.fleet().news();
        loop {
            news.mark_unchanged();
            let is_known = self.knows_others().await;
            let (count, lease_end) = self.progress(revision);
            let is_over = Instant::now() >= until || *closing.borrow();
            if is_over || is_known && count.acked == count.leased {
                return count;
            }
            let mut next = lease_end.map_or(until, |end| until.min(Instant::now() + end));
            if self.is_shared() {
                next = next.min(Instant::now() + LOOKED_UP);
            }
            tokio::select! {
                _ = news.changed() => {}
                _ = closing.changed() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// How far a change has come, and how long it is until the next lease ends.
    fn progress(&self, revision: Revision) -> (Count, Option<Duration>) {
        let (fleet, epoch) = (self.fleet(), self.epoch());
        let now = fleet.now();
        let registry = fleet.registry();
        let own = fleet.own_gateway().id;
        let mut count = registry.count(Position { epoch, revision }, Some(own), now);
        // The gateway of this process applied it before the command was over.
        count.acked += self.gateways();
        count.leased += self.gateways();
        let end = registry.next_lease_end(now);
        (count, end.map(|end| between(now, end)))
    }

    /// Whether other control planes may serve from the same store.
    pub(super) fn is_shared(&self) -> bool {
        self.0.store.is_shared()
    }

    /// Reads what gateways have said to other control planes. `false`: it cannot be read.
    async fn knows_others(&self) -> bool {
        let known = self.look_up().await;
        if let Err(error) = &known {
            tracing::warn!(
                error = chain(error),
                "what other control planes know of gateways cannot be read"
            );
        }
        known.is_ok()
    }

    async fn look_up(&self) -> Result<(), StoreError> {
        if !self.is_shared() {
            return Ok(());
        }
        let reading = async {
            let mut lent = self.0.store.readers().acquire().await?;
            let here = self.fleet().registry().here();
            let rows = stored::gateways(&mut lent.conn(), self.fleet().clock()).await?;
            self.fleet().registry().read(rows, &here);
            Ok(())
        };
        self.0.fleet_reading.run(reading).await
    }

    /// Writes down what there is to write down of the fleet, and reads what others have, for as long as it is polled.
    /// `checked` is called with the tokens that are valid.
    pub(in crate::control) async fn keep_fleet(&self, checked: impl Fn(&[NamedToken])) {
        // Leases are written down also while nothing can be read.
        tokio::join!(self.keep_read(checked), self.keep_written());
    }

    async fn keep_read(&self, checked: impl Fn(&[NamedToken])) {
        loop {
            let next = Instant::now() + UPKEEP;
            self.knows_others().await;
            self.read_tokens().await;
            checked(&self.fleet().tokens().valid());
            sleep_until(next).await;
        }
    }

    async fn keep_written(&self) {
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(next) => {
                    next = Instant::now() + UPKEEP;
                    self.forget().await;
                }
                () = self.0.head.advanced(), if self.has_own_to_speak_for() => {
                    tokio::time::sleep(GATHERED).await;
                }
                () = self.fleet().unwritten() => tokio::time::sleep(GATHERED).await,
            }
            self.acknowledge_own().await;
            self.save_fleet().await;
        }
    }

    /// Lets the gateway of this process be known to other control planes of the same store.
    pub(super) async fn register_own(&self) -> Result<(), StoreError> {
        if !self.is_shared() || self.gateways() > 0 {
            return Ok(());
        }
        let own = self.fleet().own_gateway();
        match self.arrive(own, OWN_TOKEN, None).await {
            Ok(()) => Ok(()),
            Err(CommandError::Store(error)) => Err(error),
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "the gateway of this process cannot be made known to other control planes"
                );
                Err(StoreError::Interrupted)
            }
        }
    }

    /// Whether there is a gateway in this process that other control planes wait for.
    fn has_own_to_speak_for(&self) -> bool {
        self.is_shared() && self.gateways() > 0
    }

    /// Says to other control planes what the gateway of this process has applied: they wait for it as for any.
    async fn acknowledge_own(&self) {
        if !self.has_own_to_speak_for() {
            return;
        }
        let own = self.fleet().own_gateway();
        let at = self.0.head.position();
        if let Err(error) = self.acked(own, OWN_TOKEN, at, 0).await {
            tracing::warn!(
                error = chain(&error),
                "other control planes cannot be told what the gateway of this process has applied"
            );
        }
    }

    /// Says to other control planes that the gateway of this process has ended.
    pub(in crate::control) async fn leave_fleet(&self) {
        if !self.has_own_to_speak_for() {
            return;
        }
        let own = self.fleet().own_gateway().id;
        if let Err(error) = self.left(own).await {
            tracing::warn!(
                error = chain(&error),
                "other control planes cannot be told that the gateway of this process has ended"
            );
        }
    }

    async fn save_fleet(&self) {
        let rows = self.fleet().registry().take_unwritten(self.is_shared());
        if rows.is_empty() {
            return;
        }
        match self.write(Save(rows.clone(), self.fleet().clock())).await {
            Ok(Applied { value, .. }) => {
                let mut registry = self.fleet().registry();
                for (row, is_ours) in rows.iter().zip(value) {
                    registry.written(row, is_ours);
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "leases of gateways cannot be written down"
                );
                self.fleet().registry().not_written(&rows);
            }
        }
        self.fleet().tell();
    }

    async fn forget(&self) {
        let fleet = self.fleet();
        let now = fleet.now();
        let (known, long_ago) = {
            let mut registry = fleet.registry();
            let known = registry.len();
            let long_ago = registry.forget_silent(now);
            (known - registry.len(), long_ago)
        };
        if known > 0
            && let Err(error) = self.write(Forget(long_ago, fleet.clock())).await
        {
            tracing::warn!(
                error = chain(&error),
                "gateways that are gone cannot be forgotten"
            );
        }
    }
}

struct Arrive(GatewayRow, LeaseClock);

impl Command for Arrive {
    type Answer = (GatewayRow, Option<Timestamp>);

    async fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<Self::Answer, CommandError> {
        Ok(stored::arrive(&mut transaction.connection(), &self.0, self.1).await?)
    }
}

struct Save(Vec<GatewayRow>, LeaseClock);

impl Command for Save {
    type Answer = Vec<bool>;

    async fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<Vec<bool>, CommandError> {
        Ok(stored::save(&mut transaction.connection(), &self.0, self.1).await?)
    }
}

struct Leave(GatewayId);

impl Command for Leave {
    type Answer = ();

    async fn perform(self, transaction: &mut WriteTransaction<'_>) -> Result<(), CommandError> {
        stored::leave(&mut transaction.connection(), self.0).await?;
        Ok(())
    }
}

struct ForgetOne {
    caller: Caller,
    info: GatewayInfo,
}

impl Command for ForgetOne {
    type Answer = ();

    async fn perform(self, transaction: &mut WriteTransaction<'_>) -> Result<(), CommandError> {
        let actor = self.caller.judge_within(transaction).await?.name();
        if !stored::leave(&mut transaction.connection(), self.info.id).await? {
            return Err(CommandError::NoSuchGateway);
        }
        let gateway = serde_json::json!({
            "gateway": self.info.id.to_string(),
            "name": self.info.name,
        });
        let state = Some(gateway.to_string());
        transaction.note(&actor, "gateway.forget", (state, None));
        Ok(())
    }
}

struct Forget(Timestamp, LeaseClock);

impl Command for Forget {
    type Answer = ();

    async fn perform(self, transaction: &mut WriteTransaction<'_>) -> Result<(), CommandError> {
        Ok(stored::forget(&mut transaction.connection(), self.0, self.1).await?)
    }
}

struct CountReport {
    number: ReportNumber,
    uses: Vec<Usage>,
}

impl Command for CountReport {
    type Answer = ();

    async fn perform(self, transaction: &mut WriteTransaction<'_>) -> Result<(), CommandError> {
        let now = transaction.now();
        let is_new = stored::number_report(&mut transaction.connection(), self.number, now).await?;
        if !is_new {
            return Ok(());
        }
        // A gateway whose clock is ahead has not used a key in the future.
        let until_now = |usage: Usage| Usage {
            last_used: usage.last_used.min(now),
            ..usage
        };
        let uses: Vec<Usage> = self.uses.into_iter().map(until_now).collect();
        transaction.add_usage(&uses).await?;
        let before = now.plus_seconds(-REPORTS_KEPT);
        stored::forget_reports(&mut transaction.connection(), before).await?;
        Ok(())
    }
}
