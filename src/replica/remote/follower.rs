//! What a gateway does to keep its copy of the keys current: the part without network, disk, clock or chance.
//!
//! Told what happened and when, it says what to do. Whatever comes, in whatever order: within one history the applied
//! revision never falls, a change is applied only to a state that it leads on from, and the copy counts as current only
//! as of a moment at which something was sent that a control plane has answered since.

use std::collections::VecDeque;
use std::time::Duration;

use super::endpoints::Endpoints;
use super::event::{Action, Counted, Ended, Event, Exchange, Notice, Why};
use super::exchange::{Begun, Fetch, Life, Stream};
use super::freshness::Freshness;
use crate::authz::{Revision, Timestamp};
use crate::replica::Moment;
use crate::wire::sync::{Ack, Message, Position};
use crate::wire::{Change, Epoch};

/// From a request to the head of its answer.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Three heartbeats: a stream of changes from which nothing comes for so long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// A stream that does not confirm the copy is given up after half the staleness that is allowed, and not before this.
const UNCONFIRMED_MIN: Duration = Duration::from_secs(3);
/// From one acknowledgement to the next: with many changes a second, one answers for several.
const ACK_SPACING: Duration = Duration::from_millis(4);
/// Heartbeats that tell of a revision which has not come before something is missing.
const HEARTBEATS_AHEAD_MAX: u32 = 3;
/// Flaws in streams, with no change applied between them, after which a whole snapshot is asked for.
const FLAWS_MAX: u32 = 2;
/// How long nothing must have been heard of a history before one that was left for it is gone back to: two stores behind
/// one name are not followed in turn.
pub(super) const EPOCH_RETURN_TIME: Duration = Duration::from_secs(60);
/// Histories that were left and are remembered.
const EPOCHS_LEFT_MAX: usize = 8;

/// What is being done; the states of `docs/spec/sync.md`.
#[derive(Debug)]
enum State {
    /// Until then nothing is asked.
    Waiting { until: Duration },
    /// Changes were asked for.
    Connecting { asked: Duration },
    /// Changes come.
    Following(Stream),
    /// A snapshot was asked for, or comes.
    Fetching(Fetch),
    /// A snapshot that has come whole is being put in place of the copy.
    Loading { position: Position, asked: Duration },
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Follower {
    state: State,
    exchange: Exchange,
    endpoints: Endpoints,
    freshness: Freshness,
    unconfirmed_max: Duration,
    /// What the copy is, from the moment at which it was told to be.
    applied: Option<Position>,
    /// What of it is settled.
    settled: Option<Position>,
    /// Histories that were left.
    left: VecDeque<Epoch>,
    /// When a control plane last told of the present one.
    epoch_heard: Duration,
    wants_snapshot: bool,
    /// Whether a snapshot was taken since a stream was last in order.
    fetched: bool,
    flaws: u32,
    /// The tag of the acknowledgement that is under way.
    acknowledging: Option<u64>,
    /// Whether there is more to acknowledge than is under way.
    is_due: bool,
    /// Before that nothing is acknowledged.
    acknowledges_from: Duration,
    counted: Counted,
    actions: Vec<Action>,
}

impl Follower {
    /// One that has a copy already, current at the time that is given where it is known, or has none.
    pub(super) fn new(
        endpoints: usize,
        max_staleness: Duration,
        restored: Option<(Position, Option<Timestamp>)>,
        seed: u64,
        now: Moment,
    ) -> Self {
        let mut freshness = Freshness::new(now);
        if let Some((_, Some(confirmed))) = restored {
            freshness.restore(confirmed, now);
        }
        let position = restored.map(|(position, _)| position);
        Self {
            state: State::Waiting { until: now.steady },
            exchange: 0,
            endpoints: Endpoints::new(endpoints, seed),
            freshness,
            unconfirmed_max: UNCONFIRMED_MIN.max(max_staleness / 2),
            applied: position,
            settled: position,
            left: VecDeque::new(),
            epoch_heard: now.steady,
            wants_snapshot: false,
            fetched: false,
            flaws: 0,
            acknowledging: None,
            is_due: false,
            acknowledges_from: now.steady,
            counted: Counted::default(),
            actions: Vec::new(),
        }
    }

    /// When to say [`Event::Tick`], by the steady clock, unless something else happens first.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match &self.state {
            State::Waiting { until } => Some(*until),
            State::Connecting { asked } => Some(*asked + HEAD_TIME),
            State::Following(stream) => {
                let due = self.to_acknowledge().map(|_| self.acknowledges_from);
                Some(due.unwrap_or(Duration::MAX).min(self.dead_at(stream)))
            }
            State::Fetching(fetch) => Some(fetch.ends()),
            State::Loading { .. } => None,
        }
    }

    /// The control plane whose turn it is.
    pub(super) fn endpoint(&self) -> usize {
        self.endpoints.current()
    }

    /// Whether changes come.
    pub(super) fn is_following(&self) -> bool {
        matches!(self.state, State::Following(_))
    }

    /// The last moment at which the copy is known to have been current, in microseconds of the steady clock.
    pub(super) fn confirmed(&self) -> Option<i64> {
        self.applied.and(self.freshness.confirmed())
    }

    /// What has happened, in numbers.
    pub(super) fn counted(&self) -> Counted {
        self.counted
    }

    /// What to do about `event`.
    pub(super) fn handle(&mut self, event: Event, now: Moment) -> Vec<Action> {
        let of_current = |exchange: Exchange| exchange == self.exchange;
        match event {
            Event::Opened(exchange) if of_current(exchange) => self.opened(now),
            Event::Heard(exchange) if of_current(exchange) => {
                if let Some(life) = self.life() {
                    life.heard = now.steady;
                }
            }
            Event::Message(exchange, message) if of_current(exchange) => {
                self.message(message, now);
            }
            Event::Ended(exchange, ended) if of_current(exchange) => self.ended(ended, now),
            Event::Opened(_) | Event::Heard(_) | Event::Message(..) | Event::Ended(..) => {}
            Event::Loaded(in_place) => self.loaded(in_place, now),
            Event::Settled(position) => self.settled(position),
            Event::Acknowledged(tag) => {
                if self.acknowledging == Some(tag) {
                    self.acknowledging = None;
                }
            }
            Event::Tick => self.tick(now),
        }
        self.acknowledge(now);
        std::mem::take(&mut self.actions)
    }

    fn settled(&mut self, position: Position) {
        let is_of_copy = self.applied.is_some_and(|applied| {
            applied.epoch == position.epoch && applied.revision >= position.revision
        });
        let is_news = self.settled.is_none_or(|settled| {
            settled.epoch != position.epoch || settled.revision < position.revision
        });
        if is_of_copy && is_news {
            self.settled = Some(position);
            self.is_due = true;
        }
    }

    fn life(&mut self) -> Option<&mut Life> {
        match &mut self.state {
            State::Following(stream) => Some(&mut stream.life),
            State::Fetching(fetch) => Some(&mut fetch.life),
            State::Waiting { .. } | State::Connecting { .. } | State::Loading { .. } => None,
        }
    }

    /// When a stream is given up on which nothing comes, or nothing that confirms the copy.
    fn dead_at(&self, stream: &Stream) -> Duration {
        let confirmed = self.freshness.confirmed().unwrap_or(0);
        let confirmed = Duration::from_micros(u64::try_from(confirmed).unwrap_or(0));
        let unconfirmed = confirmed.max(stream.opened) + self.unconfirmed_max;
        stream.life.ends(SILENCE_MAX).min(unconfirmed)
    }

    fn tick(&mut self, now: Moment) {
        if self.deadline().is_none_or(|deadline| now.steady < deadline) {
            return;
        }
        match &self.state {
            State::Waiting { .. } => self.ask(now),
            // It is only an acknowledgement that is due.
            State::Following(stream) if now.steady < self.dead_at(stream) => {}
            State::Following(stream) if now.steady < stream.life.ends(SILENCE_MAX) => {
                self.leave(Why::NotCurrent, now);
            }
            State::Connecting { .. } | State::Following(_) | State::Fetching(_) => {
                self.leave(Why::Silent, now);
            }
            State::Loading { .. } => {}
        }
    }

    fn ask(&mut self, now: Moment) {
        let after = self.applied.filter(|_| !self.wants_snapshot);
        self.exchange += 1;
        self.actions.push(Action::Ask {
            exchange: self.exchange,
            endpoint: self.endpoints.current(),
            after,
        });
        let asked = now.steady;
        self.state = match after {
            Some(_) => State::Connecting { asked },
            None => State::Fetching(Fetch::new(asked)),
        };
    }

    fn opened(&mut self, now: Moment) {
        match &mut self.state {
            State::Connecting { asked } => {
                self.state = State::Following(Stream::new(*asked, now.steady));
                self.is_due = true;
            }
            State::Fetching(fetch) => fetch.life = Life::new(now.steady),
            State::Waiting { .. } | State::Following(_) | State::Loading { .. } => {}
        }
    }

    fn ended(&mut self, ended: Ended, now: Moment) {
        match (&self.state, ended) {
            // What was asked for has come.
            (State::Waiting { .. } | State::Loading { .. }, _) => {}
            (State::Connecting { .. }, Ended::SnapshotNeeded) => self.needs_snapshot(now),
            (_, Ended::Damaged) => self.flawed(Why::Ended(ended), now),
            (State::Connecting { .. } | State::Following(_) | State::Fetching(_), _) => {
                self.leave(Why::Ended(ended), now);
            }
        }
    }

    /// The control plane has no changes that lead on from the copy. Of one that says so of its own snapshot as well,
    /// enough is known for now.
    fn needs_snapshot(&mut self, now: Moment) {
        self.wants_snapshot = true;
        if self.fetched {
            self.leave(Why::Ended(Ended::SnapshotNeeded), now);
        } else {
            self.hang_up();
            self.ask(now);
        }
    }

    /// Something is missing or damaged. What is applied is whole, so that the stream is asked for anew from there, and
    /// if that is no better, a snapshot.
    fn flawed(&mut self, why: Why, now: Moment) {
        self.counted.flaws += 1;
        self.flaws += 1;
        if self.flaws >= FLAWS_MAX {
            self.wants_snapshot = true;
        }
        self.leave(why, now);
    }

    /// Of the exchange that is under way, and of its acknowledgement, nothing more is heard.
    fn hang_up(&mut self) {
        self.actions.push(Action::HangUp);
        self.exchange += 1;
        self.acknowledging = None;
    }

    /// Gives a control plane up for now, and turns to the next in a while.
    fn leave(&mut self, why: Why, now: Moment) {
        let endpoint = self.endpoints.current();
        self.hang_up();
        self.actions
            .push(Action::Say(Notice::Lost { endpoint, why }));
        let retry_after = match why {
            Why::Ended(Ended::Refused(retry_after)) => retry_after,
            Why::Ended(_) | Why::Silent | Why::NotCurrent | Why::Gap => None,
            Why::Nonsense | Why::NotAccepted | Why::NotLoaded => None,
        };
        let until = now.steady + self.endpoints.failed(retry_after);
        self.state = State::Waiting { until };
    }

    fn message(&mut self, message: Message, now: Moment) {
        if let Some(life) = self.life() {
            *life = Life::new(now.steady);
        }
        let flaw = match &mut self.state {
            State::Following(stream) => match message {
                Message::Put(entries) => stream.coming.put(entries).err().map(|_| Why::Nonsense),
                Message::Removed(ids) => stream.coming.remove(ids).err().map(|_| Why::Nonsense),
                Message::Apply { previous, revision } => {
                    let change = stream.coming.finish(previous, revision);
                    self.change(change)
                }
                Message::Heartbeat {
                    revision,
                    age,
                    echo,
                } => self.heartbeat(revision, age, echo, now),
                Message::Resync => return self.needs_snapshot(now),
                Message::Begin { .. } | Message::End { .. } => Some(Why::Nonsense),
            },
            State::Fetching(fetch) => match (message, &mut fetch.begun) {
                (
                    Message::Begin {
                        epoch,
                        revision,
                        keys,
                    },
                    None,
                ) => return self.begin(Position { epoch, revision }, keys, now),
                (Message::Put(entries), Some(begun)) => begun.take(entries, &mut self.actions),
                (Message::End { keys }, Some(begun)) if begun.is_whole(keys) => {
                    let (position, asked) = (begun.position, fetch.asked);
                    self.actions.push(Action::Finish);
                    self.state = State::Loading { position, asked };
                    None
                }
                (_, _) => Some(Why::Nonsense),
            },
            State::Waiting { .. } | State::Connecting { .. } | State::Loading { .. } => None,
        };
        if let Some(why) = flaw {
            self.flawed(why, now);
        }
    }

    /// Applies a change, unless it is applied already. Gives what is wrong with it.
    fn change(&mut self, change: Change) -> Option<Why> {
        let applied = self.applied.as_mut()?;
        if change.revision <= applied.revision {
            self.counted.repeated += 1;
            return None;
        }
        if change.previous > applied.revision {
            return Some(Why::Gap);
        }
        applied.revision = change.revision;
        self.flaws = 0;
        self.actions.push(Action::Apply(change));
        None
    }

    /// Takes it that the copy is current as of when something was sent that the control plane has had.
    fn heartbeat(
        &mut self,
        revision: Revision,
        age: Duration,
        echo: u64,
        now: Moment,
    ) -> Option<Why> {
        let State::Following(stream) = &mut self.state else {
            return None;
        };
        self.is_due = true;
        self.epoch_heard = now.steady;
        if self
            .applied
            .is_none_or(|applied| applied.revision < revision)
        {
            stream.ahead += 1;
            return (stream.ahead >= HEARTBEATS_AHEAD_MAX).then_some(Why::Gap);
        }
        stream.ahead = 0;
        stream.confirmed = stream.confirmed.saturating_add(1);
        let is_first = stream.confirmed == 1;
        let is_steady = stream.confirmed == 2;
        // The control plane had the request for this stream, at least, when it wrote this.
        let asked = stream.asked;
        let heard = self.freshness.sent(echo).unwrap_or(asked).max(asked);
        if self.freshness.confirm(heard, age)
            && let Some(time) = self.freshness.confirmed_time(now)
        {
            self.actions.push(Action::Confirm(time));
        }
        if is_first {
            self.counted.streams += 1;
            let endpoint = self.endpoints.current();
            self.actions.push(Action::Say(Notice::Follows { endpoint }));
        }
        if is_steady {
            self.endpoints.succeeded();
            self.flaws = 0;
            self.fetched = false;
        }
        None
    }

    /// A snapshot begins.
    fn begin(&mut self, position: Position, keys: u64, now: Moment) {
        if let Some(refusal) = self.refusal(position, now) {
            self.counted.refused += 1;
            self.actions.push(Action::Say(refusal));
            // The changes after what is applied are what a control plane can see from that something is wrong with it.
            self.wants_snapshot = false;
            return self.leave(Why::NotAccepted, now);
        }
        if let State::Fetching(fetch) = &mut self.state {
            fetch.begun = Some(Begun::new(position, keys));
            self.actions.push(Action::Begin(position, keys));
        }
    }

    /// Why a snapshot may not take the place of the copy.
    fn refusal(&self, offered: Position, now: Moment) -> Option<Notice> {
        let applied = self.applied?;
        if offered.epoch == applied.epoch {
            return (offered.revision < applied.revision).then_some(Notice::Older {
                offered: offered.revision,
                applied: applied.revision,
            });
        }
        let epoch = offered.epoch;
        let lives = now.steady.saturating_sub(self.epoch_heard) < EPOCH_RETURN_TIME;
        (lives && self.left.contains(&epoch)).then_some(Notice::Former { epoch })
    }

    fn loaded(&mut self, in_place: bool, now: Moment) {
        let State::Loading { position, asked } = self.state else {
            return;
        };
        if !in_place {
            return self.leave(Why::NotLoaded, now);
        }
        if let Some(former) = self.applied
            && former.epoch != position.epoch
        {
            if self.left.len() >= EPOCHS_LEFT_MAX {
                self.left.pop_front();
            }
            self.left.push_back(former.epoch);
            let (from, to) = (former.epoch, position.epoch);
            self.actions.push(Action::Say(Notice::Epoch { from, to }));
        }
        self.applied = Some(position);
        self.epoch_heard = now.steady;
        self.counted.snapshots += 1;
        self.freshness.confirm(asked, Duration::ZERO);
        self.wants_snapshot = false;
        self.fetched = true;
        self.ask(now);
    }

    /// What is settled and not acknowledged, unless an acknowledgement is under way: then when it is answered.
    fn to_acknowledge(&self) -> Option<Position> {
        let applied = self.applied?;
        let is_next = self.is_due && self.acknowledging.is_none();
        let settled = self.settled.filter(|_| is_next)?;
        (applied.epoch == settled.epoch).then_some(settled)
    }

    fn acknowledge(&mut self, now: Moment) {
        let (State::Following(_), Some(settled)) = (&self.state, self.to_acknowledge()) else {
            return;
        };
        if now.steady < self.acknowledges_from {
            return;
        }
        self.acknowledges_from = now.steady + ACK_SPACING;
        let tag = self.freshness.tag(now);
        self.acknowledging = Some(tag);
        self.is_due = false;
        let endpoint = self.endpoints.current();
        self.actions
            .push(Action::Acknowledge(endpoint, Ack::new(settled, tag)));
    }
}
