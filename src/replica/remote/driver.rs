//! Carries out what the follower says, and tells it what comes of it: one task, in which everything happens in turn.
//!
//! A change is put in force, then kept, then waited for until nothing goes on that it put an end to; only then it is
//! acknowledged.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Response;

use super::Shared;
use super::event::{Action, Ended, Event, Exchange, Notice, Why};
use super::follower::Follower;
use super::link::Fault;
use super::loading::Load;
use crate::wire::sync::{FrameReader, Message, Position};
use crate::wire::{Change, ChangeSink};

/// Longest time between two looks at the clock.
const LOOK_MAX: Duration = Duration::from_secs(60);

type Asking = Pin<Box<dyn Future<Output = Result<Response, Fault>> + Send>>;
type Acknowledging = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>;

/// See the head of this file.
pub(super) struct Driver {
    shared: Arc<Shared>,
    sink: Arc<dyn ChangeSink>,
    follower: Follower,
    under_way: UnderWay,
    acknowledging: Option<(u64, Acknowledging)>,
    load: Option<Load>,
    /// What is in force and perhaps not settled.
    unsettled: Unsettled,
    /// What is settled and not told, because it is not on disk yet.
    settled: Option<Position>,
    events: VecDeque<Event>,
    /// Why the last exchange failed, for people.
    cause: Option<String>,
    /// Why a control plane was left last, unless one has been followed since.
    said: Option<Why>,
}

/// An exchange with a control plane.
enum UnderWay {
    Nothing,
    Asking(Exchange, Asking),
    Reading(Exchange, Box<Response>, FrameReader),
}

#[derive(Default)]
enum Unsettled {
    #[default]
    Nothing,
    /// All that these changes touch.
    Changes(Change),
    /// Whatever the state before had.
    Everything,
}

/// What a driver waits for.
enum Came {
    Acknowledged(u64, Result<(), Fault>),
    Answer(Exchange, Result<Box<Response>, Fault>),
    Piece(Exchange, Vec<u8>),
    End(Exchange, Fault),
    Kept,
    Time,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, sink: Arc<dyn ChangeSink>, follower: Follower) -> Self {
        Self {
            shared,
            sink,
            follower,
            under_way: UnderWay::Nothing,
            acknowledging: None,
            load: None,
            unsettled: Unsettled::Nothing,
            settled: None,
            events: VecDeque::new(),
            cause: None,
            said: None,
        }
    }

    /// Follows until the task is dropped.
    pub(super) async fn run(mut self) {
        loop {
            match self.next().await {
                Came::Acknowledged(tag, answered) => self.acknowledged(tag, answered).await,
                Came::Answer(exchange, Ok(response)) => {
                    let reader = FrameReader::new(None);
                    self.under_way = UnderWay::Reading(exchange, response, reader);
                    self.handle(Event::Opened(exchange)).await;
                }
                Came::Answer(exchange, Err(fault)) | Came::End(exchange, fault) => {
                    self.ended(exchange, fault).await;
                }
                Came::Piece(exchange, piece) => {
                    self.read(exchange, &piece).await;
                    // Where something comes all the time, nothing else tells that time passes.
                    self.handle(Event::Tick).await;
                }
                Came::Time => self.handle(Event::Tick).await,
                Came::Kept => {}
            }
            self.settle().await;
            self.shared.publish(&self.follower);
        }
    }

    async fn next(&mut self) -> Came {
        let now = (self.shared.clock)().steady;
        let deadline = self.follower.deadline();
        let wait = deadline.map_or(LOOK_MAX, |deadline| deadline.saturating_sub(now));
        tokio::select! {
            biased;
            (tag, answered) = answer(&mut self.acknowledging) => Came::Acknowledged(tag, answered),
            () = self.shared.disk.caught_up(), if self.settled.is_some() => Came::Kept,
            came = self.under_way.next() => came,
            () = tokio::time::sleep(wait.min(LOOK_MAX)) => Came::Time,
        }
    }

    async fn acknowledged(&mut self, tag: u64, answered: Result<(), Fault>) {
        self.acknowledging = None;
        if let Err(fault) = answered {
            let cause = fault.cause;
            tracing::debug!(cause, "an acknowledgement was not taken");
        }
        self.handle(Event::Acknowledged(tag)).await;
    }

    async fn ended(&mut self, exchange: Exchange, fault: Fault) {
        self.under_way = UnderWay::Nothing;
        self.cause = fault.cause;
        self.handle(Event::Ended(exchange, fault.ended)).await;
        self.cause = None;
    }

    /// Takes a piece of a stream apart, for as long as it is wanted.
    async fn read(&mut self, exchange: Exchange, piece: &[u8]) {
        if let UnderWay::Reading(_, _, reader) = &mut self.under_way {
            reader.push(piece);
        }
        self.handle(Event::Heard(exchange)).await;
        loop {
            let message = match &mut self.under_way {
                UnderWay::Reading(current, _, reader) if *current == exchange => {
                    match reader.next_payload() {
                        Ok(None) => return,
                        Ok(Some(payload)) => {
                            Message::decode(payload).map_err(|error| error.to_string())
                        }
                        Err(error) => Err(error.to_string()),
                    }
                }
                UnderWay::Nothing | UnderWay::Asking(..) | UnderWay::Reading(..) => return,
            };
            match message {
                Ok(message) => self.handle(Event::Message(exchange, message)).await,
                Err(cause) => {
                    let ended = Ended::Damaged;
                    let cause = Some(cause);
                    return self.ended(exchange, Fault { ended, cause }).await;
                }
            }
        }
    }

    async fn handle(&mut self, event: Event) {
        self.events.push_back(event);
        while let Some(event) = self.events.pop_front() {
            let now = (self.shared.clock)();
            for action in self.follower.handle(event, now) {
                self.act(action).await;
            }
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Ask {
                exchange,
                endpoint,
                after,
            } => {
                let shared = Arc::clone(&self.shared);
                let asking = Box::pin(async move { shared.link.ask(endpoint, after).await });
                self.under_way = UnderWay::Asking(exchange, asking);
            }
            Action::HangUp => {
                self.under_way = UnderWay::Nothing;
                self.acknowledging = None;
                self.load = None;
            }
            Action::Begin(position, keys) => {
                let (sink, disk) = (Arc::clone(&self.sink), self.shared.disk.clone());
                self.load = Some(Load::begin(position, keys, sink, disk));
            }
            Action::Load(entries) => {
                if let Some(load) = &self.load {
                    load.take(entries).await;
                }
            }
            Action::Finish => self.finish().await,
            Action::Apply(change) => self.apply(change),
            Action::Acknowledge(endpoint, ack) => {
                let (shared, tag) = (Arc::clone(&self.shared), ack.tag);
                let asking = Box::pin(async move { shared.link.acknowledge(endpoint, &ack).await });
                self.acknowledging = Some((tag, asking));
            }
            Action::Confirm(time) => self.shared.disk.confirmed(time),
            Action::Say(notice) => self.say(notice),
        }
    }

    async fn finish(&mut self) {
        self.under_way = UnderWay::Nothing;
        let before = self.shared.replica.pin();
        let in_place = match self.load.take() {
            Some(load) => load.finish().await,
            None => false,
        };
        if in_place {
            let now = (self.shared.clock)().time;
            self.shared.disk.loaded(before.as_deref(), now);
            self.unsettled = Unsettled::Everything;
        }
        self.events.push_back(Event::Loaded(in_place));
    }

    fn apply(&mut self, change: Change) {
        let before = self.shared.replica.pin();
        self.sink.apply(&change);
        if let Some(before) = before {
            let now = (self.shared.clock)().time;
            self.shared.disk.append(&before, &change, now);
        }
        match &mut self.unsettled {
            Unsettled::Nothing => self.unsettled = Unsettled::Changes(change),
            Unsettled::Changes(all) => {
                all.revision = change.revision;
                all.put.extend(change.put);
                all.removed.extend(change.removed);
            }
            Unsettled::Everything => {}
        }
    }

    /// Waits until nothing goes on that what was applied put an end to, and tells so once it would be there after a
    /// restart.
    async fn settle(&mut self) {
        match std::mem::take(&mut self.unsettled) {
            Unsettled::Nothing => {}
            Unsettled::Changes(change) => {
                self.sink.settle(&change).await;
                self.settled = self.position();
            }
            Unsettled::Everything => {
                self.sink.settle_all().await;
                self.settled = self.position();
            }
        }
        if !self.shared.disk.is_behind()
            && let Some(settled) = self.settled.take()
        {
            self.handle(Event::Settled(settled)).await;
        }
    }

    /// Where the copy is: whatever is applied is applied here, in turn.
    fn position(&self) -> Option<Position> {
        let snapshot = self.shared.replica.pin()?;
        let (epoch, revision) = (snapshot.epoch(), snapshot.revision());
        Some(Position { epoch, revision })
    }

    fn say(&mut self, notice: Notice) {
        match notice {
            Notice::Follows { endpoint } => {
                self.said = None;
                let control = self.shared.link.name(endpoint);
                tracing::info!(control, "{notice}");
            }
            Notice::Lost { endpoint, why } => {
                let control = self.shared.link.name(endpoint);
                let cause = self.cause.as_deref();
                if self.said.replace(why) == Some(why) {
                    tracing::debug!(control, cause, "{notice}");
                } else {
                    tracing::warn!(control, cause, "{notice}");
                }
            }
            Notice::Older { .. } | Notice::Former { .. } => tracing::error!("{notice}"),
            Notice::Epoch { .. } => tracing::warn!("{notice}"),
        }
    }
}

impl UnderWay {
    /// What comes next of it. Nothing is lost where something else comes first.
    async fn next(&mut self) -> Came {
        match self {
            Self::Nothing => std::future::pending().await,
            Self::Asking(exchange, asking) => {
                let answer = asking.await;
                Came::Answer(*exchange, answer.map(Box::new))
            }
            Self::Reading(exchange, response, _) => match response.chunk().await {
                Ok(Some(piece)) => Came::Piece(*exchange, piece.into()),
                Ok(None) => {
                    let ended = Ended::Broken;
                    let cause = Some("the stream has ended".to_owned());
                    Came::End(*exchange, Fault { ended, cause })
                }
                Err(error) => Came::End(*exchange, Fault::broken(error)),
            },
        }
    }
}

async fn answer(under_way: &mut Option<(u64, Acknowledging)>) -> (u64, Result<(), Fault>) {
    match under_way {
        Some((tag, asking)) => (*tag, asking.await),
        None => std::future::pending().await,
    }
}
