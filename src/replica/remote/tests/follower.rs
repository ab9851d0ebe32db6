//! What a follower does, event by event.

use std::time::Duration;

use crate::authz::{KeyId, Revision, Timestamp};
use crate::replica::Moment;
use crate::replica::remote::event::{Action, Ended, Event, Exchange, Notice, Why};
use crate::replica::remote::follower::{EPOCH_RETURN_TIME, Follower};
use crate::replica::remote::freshness::staleness;
use crate::wire::Epoch;
use crate::wire::sync::{Ack, Message, Position};

const SECOND: Duration = Duration::from_secs(1);
const MAX_STALENESS: Duration = Duration::from_secs(10);

fn position(epoch: u128, revision: u64) -> Position {
    Position {
        epoch: Epoch(epoch),
        revision: Revision(revision),
    }
}

/// A follower with a clock that tests move.
struct Bench {
    follower: Follower,
    now: Duration,
    exchange: Exchange,
}

impl Bench {
    fn new(restored: Option<Position>) -> Self {
        let restored = restored.map(|at| (at, Some(Timestamp::from_millis(1_000_000))));
        let now = moment(Duration::ZERO);
        Self {
            follower: Follower::new(2, MAX_STALENESS, restored, 7, now),
            now: Duration::ZERO,
            exchange: 0,
        }
    }

    /// One that follows the changes after a position.
    fn following(at: Position) -> Self {
        let mut bench = Self::new(Some(at));
        assert!(
            matches!(bench.tick()[..], [Action::Ask { after: Some(after), .. }] if after == at)
        );
        let actions = bench.tell(Event::Opened);
        assert_eq!(acknowledged(&actions), [at]);
        bench
    }

    fn handle(&mut self, event: Event) -> Vec<Action> {
        let actions = self.follower.handle(event, moment(self.now));
        for action in &actions {
            if let Action::Ask { exchange, .. } = action {
                self.exchange = *exchange;
            }
        }
        actions
    }

    fn tell(&mut self, event: impl FnOnce(Exchange) -> Event) -> Vec<Action> {
        let event = event(self.exchange);
        self.handle(event)
    }

    fn hear(&mut self, message: Message) -> Vec<Action> {
        self.tell(|exchange| Event::Message(exchange, message))
    }

    fn change(&mut self, previous: u64, revision: u64) -> Vec<Action> {
        let id = KeyId::new(format!("k{revision}"));
        let mut actions = self.hear(Message::Removed(vec![id]));
        actions.extend(self.hear(Message::Apply {
            previous: Revision(previous),
            revision: Revision(revision),
        }));
        actions
    }

    fn heartbeat(&mut self, revision: u64, age: Duration, echo: u64) -> Vec<Action> {
        self.hear(Message::Heartbeat {
            revision: Revision(revision),
            age,
            echo,
        })
    }

    fn tick(&mut self) -> Vec<Action> {
        self.handle(Event::Tick)
    }

    /// Goes to the next deadline.
    fn wait(&mut self) -> Vec<Action> {
        let deadline = self.follower.deadline().expect("there is one");
        self.now = self.now.max(deadline);
        self.tick()
    }

    fn staleness(&self) -> Option<Duration> {
        let confirmed = self.follower.confirmed()?;
        Some(staleness(confirmed, self.now))
    }

    fn snapshot(&mut self, at: Position) -> Vec<Action> {
        self.hear(Message::Begin {
            epoch: at.epoch,
            revision: at.revision,
            keys: 0,
        })
    }
}

/// The calendar is 60 s further than what was kept when the process begins.
fn moment(steady: Duration) -> Moment {
    let millis = i64::try_from(steady.as_millis()).unwrap();
    Moment {
        steady,
        time: Timestamp::from_millis(1_060_000 + millis),
    }
}

fn acknowledged(actions: &[Action]) -> Vec<Position> {
    acks(actions)
        .iter()
        .map(|ack| ack.position().unwrap())
        .collect()
}

fn acks(actions: &[Action]) -> Vec<Ack> {
    let mut acks = Vec::new();
    for action in actions {
        if let Action::Acknowledge(_, ack) = action {
            acks.push(ack.clone());
        }
    }
    acks
}

fn applied(actions: &[Action]) -> Vec<(u64, u64, usize)> {
    let mut applied = Vec::new();
    for action in actions {
        if let Action::Apply(change) = action {
            let (previous, revision) = (change.previous.0, change.revision.0);
            applied.push((previous, revision, change.removed.len()));
        }
    }
    applied
}

fn lost(actions: &[Action]) -> Option<(usize, Why)> {
    actions.iter().find_map(|action| {
        let Action::Say(Notice::Lost { endpoint, why }) = action else {
            return None;
        };
        Some((*endpoint, *why))
    })
}

fn asked(actions: &[Action]) -> Option<(usize, Option<Position>)> {
    actions.iter().find_map(|action| {
        let Action::Ask {
            endpoint, after, ..
        } = action
        else {
            return None;
        };
        Some((*endpoint, *after))
    })
}

#[test]
fn without_a_copy_a_snapshot_comes_first_and_is_acknowledged_when_it_is_settled() {
    let mut bench = Bench::new(None);
    assert_eq!(asked(&bench.tick()), Some((0, None)));
    assert_eq!(bench.staleness(), None);
    bench.tell(Event::Opened);
    let begun = bench.snapshot(position(1, 5));
    assert!(matches!(begun[..], [Action::Begin(at, 0)] if at == position(1, 5)));
    let finished = bench.hear(Message::End { keys: 0 });
    assert!(matches!(finished[..], [Action::Finish]));
    bench.now += SECOND;
    let loaded = bench.handle(Event::Loaded(true));
    assert_eq!(asked(&loaded), Some((0, Some(position(1, 5)))));
    let age = bench.staleness().unwrap();
    assert!(
        age > SECOND && age < 2 * SECOND,
        "from when it was asked for: {age:?}"
    );
    assert_eq!(acknowledged(&bench.tell(Event::Opened)), []);
    let settled = bench.handle(Event::Settled(position(1, 5)));
    assert_eq!(acknowledged(&settled), [position(1, 5)]);
}

#[test]
fn a_change_is_applied_once_and_acknowledged_when_it_is_settled() {
    let mut bench = Bench::following(position(1, 5));
    let tag = bench.handle(Event::Acknowledged(1_060_000_001));
    assert!(tag.is_empty());
    assert_eq!(applied(&bench.change(5, 6)), [(5, 6, 1)]);
    for (previous, revision) in [(5, 6), (4, 6), (0, 1)] {
        assert!(bench.change(previous, revision).is_empty(), "it is known");
    }
    assert_eq!(bench.follower.counted().repeated, 3);
    assert_eq!(applied(&bench.change(3, 9)), [(3, 9, 1)], "several in one");
    bench.now += SECOND;
    let settled = bench.handle(Event::Settled(position(1, 6)));
    assert_eq!(acknowledged(&settled), [position(1, 6)]);
    let settled = bench.handle(Event::Settled(position(1, 9)));
    assert_eq!(acknowledged(&settled), [], "one is under way");
    bench.now += SECOND;
    let answered = bench.handle(Event::Acknowledged(acks_tag(2)));
    assert_eq!(acknowledged(&answered), [position(1, 9)]);
}

/// The tag of the acknowledgement of that number.
fn acks_tag(number: u64) -> u64 {
    1_060_000_000 + number
}

#[test]
fn a_gap_is_not_applied_and_after_a_second_one_a_snapshot_is_asked_for() {
    let mut bench = Bench::following(position(1, 5));
    let gap = bench.change(6, 7);
    assert_eq!(lost(&gap), Some((0, Why::Gap)));
    assert_eq!(applied(&gap), []);
    assert_eq!(asked(&bench.wait()), Some((1, Some(position(1, 5)))));
    bench.tell(Event::Opened);
    assert_eq!(lost(&bench.change(6, 7)), Some((1, Why::Gap)));
    assert_eq!(asked(&bench.wait()), Some((0, None)));
    assert_eq!(bench.follower.counted().flaws, 2);
}

/// Whose acknowledgement is given up with the stream is not waited for on the next.
#[test]
fn where_a_snapshot_is_needed_in_between_what_it_brings_is_acknowledged() {
    let mut bench = Bench::following(position(1, 5));
    let resync = bench.hear(Message::Resync);
    assert!(matches!(
        resync[..],
        [Action::HangUp, Action::Ask { after: None, .. }]
    ));
    bench.tell(Event::Opened);
    bench.snapshot(position(2, 9));
    bench.hear(Message::End { keys: 0 });
    bench.handle(Event::Loaded(true));
    bench.tell(Event::Opened);
    bench.now += SECOND;
    let settled = bench.handle(Event::Settled(position(2, 9)));
    assert_eq!(acknowledged(&settled), [position(2, 9)]);
}

#[test]
fn a_snapshot_that_drips_is_given_up() {
    let mut bench = Bench::new(None);
    bench.tick();
    bench.tell(Event::Opened);
    bench.hear(Message::Begin {
        epoch: Epoch(1),
        revision: Revision(5),
        keys: u64::MAX,
    });
    let mut given_up = None;
    while given_up.is_none() {
        bench.now += 10 * SECOND;
        assert!(bench.now <= 700 * SECOND, "it is waited for");
        let mut actions = bench.hear(Message::Put(Vec::new()));
        actions.extend(bench.tick());
        given_up = lost(&actions);
    }
    assert_eq!(given_up, Some((0, Why::Silent)));
}

#[test]
fn what_was_begun_on_one_stream_is_not_finished_on_another() {
    let mut bench = Bench::following(position(1, 5));
    bench.hear(Message::Removed(vec![KeyId::new("k1"), KeyId::new("k2")]));
    bench.tell(|exchange| Event::Ended(exchange, Ended::Broken));
    let old = bench.exchange;
    bench.wait();
    bench.tell(Event::Opened);
    bench.handle(Event::Message(old, Message::Resync));
    assert!(bench.follower.is_following(), "that was the other stream");
    assert_eq!(applied(&bench.change(5, 6)), [(5, 6, 1)]);
}

#[test]
fn a_stream_from_which_nothing_comes_is_left_after_three_heartbeats_for_the_next() {
    let mut bench = Bench::following(position(1, 5));
    bench.heartbeat(5, Duration::ZERO, 0);
    let heard = bench.now;
    let mut left = bench.wait();
    while lost(&left).is_none() {
        left = bench.wait();
    }
    assert_eq!(lost(&left), Some((0, Why::Silent)));
    assert_eq!(bench.now, heard + 3 * SECOND);
    assert_eq!(asked(&bench.wait()), Some((1, Some(position(1, 5)))));
}

#[test]
fn a_stream_whose_other_end_hears_nothing_is_left() {
    let mut bench = Bench::following(position(1, 5));
    let mut left = Vec::new();
    while lost(&left).is_none() {
        bench.now += SECOND;
        left = bench.heartbeat(5, Duration::ZERO, 0);
        left.extend(bench.tick());
        assert!(bench.now < 2 * MAX_STALENESS, "it is kept");
    }
    assert_eq!(lost(&left), Some((0, Why::NotCurrent)));
}

#[test]
fn the_copy_is_as_old_as_what_was_sent_last_and_heard() {
    let mut bench = Bench::new(Some(position(1, 5)));
    assert_eq!(
        bench.staleness(),
        Some(60 * SECOND + Duration::from_millis(1))
    );
    bench.tick();
    bench.now = SECOND;
    let tag = acks(&bench.tell(Event::Opened))[0].tag;
    bench.now = 2 * SECOND;
    let age = Duration::from_millis(100);
    let confirmed = bench.heartbeat(5, age, 0);
    assert!(matches!(confirmed[0], Action::Confirm(_)));
    let rounding = Duration::from_millis(1);
    assert_eq!(
        bench.staleness(),
        Some(2 * SECOND + age + rounding),
        "the request"
    );
    bench.heartbeat(5, age, tag);
    assert_eq!(
        bench.staleness(),
        Some(SECOND + age + rounding),
        "the acknowledgement"
    );
    bench.heartbeat(6, Duration::ZERO, tag);
    assert_eq!(
        bench.staleness(),
        Some(SECOND + age + rounding),
        "it is behind"
    );
}

#[test]
fn an_older_snapshot_of_the_same_history_is_refused() {
    let mut bench = Bench::following(position(1, 5));
    let resync = bench.hear(Message::Resync);
    assert_eq!(asked(&resync), Some((0, None)));
    bench.tell(Event::Opened);
    let refused = bench.snapshot(position(1, 4));
    let (offered, applied) = (Revision(4), Revision(5));
    assert!(refused.iter().any(|action| {
        matches!(action, Action::Say(notice) if *notice == Notice::Older { offered, applied })
    }));
    assert_eq!(lost(&refused), Some((0, Why::NotAccepted)));
    assert_eq!(asked(&bench.wait()), Some((1, Some(position(1, 5)))));
}

/// Two stores behind one name.
#[test]
fn a_history_that_was_left_is_not_gone_back_to_while_the_other_one_lives() {
    let mut bench = Bench::following(position(1, 5));
    let replace = |bench: &mut Bench, at: Position| {
        bench.tell(|exchange| Event::Ended(exchange, Ended::Broken));
        bench.wait();
        bench.tell(|exchange| Event::Ended(exchange, Ended::SnapshotNeeded));
        bench.tell(Event::Opened);
        let begun = bench.snapshot(at);
        bench.hear(Message::End { keys: 0 });
        bench.handle(Event::Loaded(true));
        bench.tell(Event::Opened);
        lost(&begun).map(|(_, why)| why)
    };
    assert_eq!(replace(&mut bench, position(2, 3)), None);
    bench.heartbeat(3, Duration::ZERO, 0);
    bench.now += SECOND;
    bench.heartbeat(3, Duration::ZERO, 0);
    let back = replace(&mut bench, position(1, 9));
    assert_eq!(back, Some(Why::NotAccepted));
    assert_eq!(bench.follower.counted().refused, 1);
    // Only when nothing has been heard of the other for a while.
    bench.now += EPOCH_RETURN_TIME;
    while bench.follower.is_following() || asked(&bench.wait()).is_none() {}
    bench.tell(|exchange| Event::Ended(exchange, Ended::SnapshotNeeded));
    bench.tell(Event::Opened);
    assert_eq!(lost(&bench.snapshot(position(1, 9))), None);
}

#[test]
fn a_snapshot_that_is_not_whole_is_not_put_in_place() {
    for keys in [1, 2] {
        let mut bench = Bench::new(None);
        bench.tick();
        bench.tell(Event::Opened);
        bench.hear(Message::Begin {
            epoch: Epoch(1),
            revision: Revision(5),
            keys,
        });
        let ended = bench.hear(Message::End { keys: 1 });
        assert_eq!(lost(&ended), Some((0, Why::Nonsense)));
        assert!(!ended.iter().any(|action| matches!(action, Action::Finish)));
    }
}

#[test]
fn many_changes_share_an_acknowledgement() {
    let mut bench = Bench::following(position(1, 0));
    let mut under_way = vec![acks_tag(1)];
    let mut said = 0;
    for revision in 1..=1000 {
        bench.now += Duration::from_millis(1);
        let mut actions = bench.change(revision - 1, revision);
        actions.extend(bench.handle(Event::Settled(position(1, revision))));
        for tag in under_way.drain(..) {
            actions.extend(bench.handle(Event::Acknowledged(tag)));
        }
        let acks = acks(&actions);
        said += acks.len();
        under_way.extend(acks.iter().map(|ack| ack.tag));
    }
    assert!((150..=260).contains(&said), "{said}");
}
