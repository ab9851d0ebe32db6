//! Control planes, links and gateways around the real follower, with simulated time; and what must hold at each step.
//!
//! Everything that happens follows from one seed. Frames are written and read by the code that ships.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use super::store::{Dice, Keys, Store, apply};
use crate::authz::{Revision, Timestamp};
use crate::replica::Moment;
use crate::replica::remote::event::{Action, Ended, Event, Exchange};
use crate::replica::remote::follower::{EPOCH_RETURN_TIME, Follower};
use crate::replica::remote::freshness::staleness;
use crate::wire::sync::{Ack, FrameReader, FrameWriter, Message, Position, encode_change};
use crate::wire::{Epoch, SecretEntry};

/// The last control plane is of another store.
const CONTROLS: usize = 3;
const FOREIGN: usize = CONTROLS - 1;
const NODES: usize = 3;
/// A request for an acknowledgement is given up by then.
const ACK_TIME: Duration = Duration::from_secs(2);
/// By the calendar, when the simulation begins.
const BEGINNING: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;

pub(super) type Outcome = Result<(), String>;

/// What happens at some time.
enum Happening {
    Write,
    Trouble,
    Poll {
        control: usize,
    },
    Up {
        control: usize,
        life: u32,
    },
    Arrive {
        connection: usize,
        after: Option<Position>,
    },
    Beat {
        connection: usize,
    },
    Deliver {
        connection: usize,
        delivery: Delivery,
    },
    Acknowledged {
        control: usize,
        node: usize,
        life: u32,
        ack: Ack,
    },
    Answered {
        node: usize,
        life: u32,
        tag: u64,
    },
    Tick {
        node: usize,
        life: u32,
    },
    Loaded {
        node: usize,
        life: u32,
        in_place: bool,
    },
    Settled {
        node: usize,
        life: u32,
        at: Position,
    },
    Start {
        node: usize,
        life: u32,
    },
    InForce {
        at: Position,
    },
}

enum Delivery {
    Head,
    Bytes(Vec<u8>),
    End(Ended),
}

struct Due(Duration, u64, Happening);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

struct Control {
    store: usize,
    life: u32,
    up: bool,
    known: Position,
    /// When it last looked at the store.
    looked: Duration,
    looks_not_before: Duration,
    /// The oldest revision that its log in memory leads on from.
    log: u64,
    tags: HashMap<usize, u64>,
    /// What it does wrong next.
    mischief: Option<Mischief>,
}

#[derive(Debug, Clone, Copy)]
enum Mischief {
    Skip,
    Repeat,
    Ahead,
    Half,
    Miscount,
    OldSnapshot,
}

struct Connection {
    node: usize,
    life: u32,
    exchange: Exchange,
    control: usize,
    control_life: u32,
    /// Whether the gateway still wants it.
    is_wanted: bool,
    /// Whether the control plane still writes to it.
    is_open: bool,
    /// Whether nothing arrives any more, and nobody knows.
    is_half_open: bool,
    arrives_not_before: Duration,
    sent: Position,
    writer: FrameWriter,
    reader: FrameReader,
}

struct Disk {
    at: Position,
    keys: Rc<Keys>,
    confirmed: Option<(Timestamp, i64)>,
}

pub(super) struct Node {
    life: u32,
    follower: Option<Follower>,
    started: Duration,
    shift: i64,
    max_staleness: Duration,
    denies: bool,
    lease: Duration,
    copy: Option<(Position, Rc<Keys>)>,
    loading: Option<(Position, Keys)>,
    connection: Option<usize>,
    settled: Option<Position>,
    settles_not_before: Duration,
    acknowledged: Option<Position>,
    acknowledging: Option<u64>,
    disk: Option<Disk>,
    disk_fails: bool,
    /// Whether something that should be on disk is not.
    disk_lacks: bool,
    /// Whether the calendar was set back while it was down, so that its file looks younger than it is.
    is_misled: bool,
    ticks_at: Option<Duration>,
    left: Vec<Epoch>,
    heard: Duration,
    up_blocked: Duration,
    down_blocked: Duration,
    misdirected: Duration,
}

/// Rates of what goes wrong with pieces of a stream, in a thousand.
#[derive(Debug, Default)]
struct Rates {
    lost: u64,
    repeated: u64,
    late: u64,
    damaged: u64,
    cut: u64,
    stalled: u64,
}

pub(super) struct World {
    dice: Dice,
    pub(super) now: Duration,
    queue: BinaryHeap<Reverse<Due>>,
    number: u64,
    stores: Vec<Store>,
    controls: Vec<Control>,
    nodes: Vec<Node>,
    connections: Vec<Connection>,
    open: Vec<usize>,
    rates: Rates,
    pub(super) is_troubled: bool,
    pub(super) has_foreign: bool,
    /// Whether what is written must be in force at once everywhere.
    pub(super) is_strict: bool,
    pub(super) seen: Seen,
    pub(super) trace: Option<VecDeque<String>>,
}

/// What a run has come across, so that it can be told that runs are worth something.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Seen {
    pub(super) applied: u64,
    pub(super) loaded: u64,
    pub(super) epochs: u64,
    pub(super) restarts: u64,
    pub(super) restored: u64,
    pub(super) acknowledged: u64,
    pub(super) flaws: u64,
    pub(super) refused: u64,
    pub(super) denied: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        self.applied += other.applied;
        self.loaded += other.loaded;
        self.epochs += other.epochs;
        self.restarts += other.restarts;
        self.restored += other.restored;
        self.acknowledged += other.acknowledged;
        self.flaws += other.flaws;
        self.refused += other.refused;
        self.denied += other.denied;
    }

    /// A simulation in which nothing goes wrong proves nothing.
    pub(super) fn assert_varied(&self) {
        let Self {
            applied,
            loaded,
            epochs,
            restarts,
            restored,
            acknowledged,
            flaws,
            refused,
            denied,
        } = *self;
        for seen in [
            applied,
            loaded,
            epochs,
            restarts,
            restored,
            acknowledged,
            flaws,
            refused,
            denied,
        ] {
            assert!(seen > 100, "{self:?}");
        }
    }
}

impl World {
    pub(super) fn new(seed: u64, traced: bool) -> Self {
        let mut dice = Dice(seed);
        let mut rate = |most: u64| {
            if dice.happens(500) {
                dice.below(most)
            } else {
                0
            }
        };
        let rates = Rates {
            lost: rate(30),
            repeated: rate(30),
            late: rate(30),
            damaged: rate(30),
            cut: rate(30),
            stalled: rate(20),
        };
        let has_foreign = dice.happens(150);
        let stores = vec![Store::new(1), Store::new(1_000_000)];
        let controls = (0..CONTROLS).map(|n| Control::new(n, &stores)).collect();
        let nodes = (0..NODES).map(|_| Node::new(&mut dice)).collect();
        let mut world = Self {
            dice,
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            number: 0,
            stores,
            controls,
            nodes,
            connections: Vec::new(),
            open: Vec::new(),
            rates,
            is_troubled: true,
            has_foreign,
            is_strict: false,
            seen: Seen::default(),
            trace: traced.then(VecDeque::new),
        };
        for _ in 0..5 {
            world.stores[0].write(&mut world.dice, Duration::ZERO);
            world.stores[1].write(&mut world.dice, Duration::ZERO);
        }
        world.after(Duration::ZERO, Happening::Write);
        world.after(Duration::from_secs(1), Happening::Trouble);
        for control in 0..CONTROLS {
            world.after(Duration::ZERO, Happening::Poll { control });
        }
        for node in 0..NODES {
            let life = world.nodes[node].life;
            world.after(Duration::ZERO, Happening::Start { node, life });
        }
        world
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.number += 1;
        let due = Due(self.now + delay, self.number, happening);
        self.queue.push(Reverse(due));
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            if trace.len() >= 60 {
                trace.pop_front();
            }
            trace.push_back(format!("{:>10.4} {}", now.as_secs_f64(), what()));
        }
    }

    /// Everything that happens until `end`.
    pub(super) fn run_until(&mut self, end: Duration) -> Outcome {
        while let Some(Reverse(Due(at, ..))) = self.queue.peek() {
            if *at > end {
                break;
            }
            let Some(Reverse(Due(at, _, happening))) = self.queue.pop() else {
                break;
            };
            // What was true a moment before holds until now, whatever happens now.
            self.now = at;
            self.check()?;
            self.happen(happening)?;
            self.check()?;
        }
        self.now = end;
        self.check()
    }

    fn happen(&mut self, happening: Happening) -> Outcome {
        match happening {
            Happening::Write => self.write(),
            Happening::Trouble => self.trouble(),
            Happening::Poll { control } => self.poll(control),
            Happening::Up { control, life } => self.up(control, life),
            Happening::Arrive { connection, after } => self.arrive(connection, after),
            Happening::Beat { connection } => self.beat(connection),
            Happening::Acknowledged {
                control,
                node,
                life,
                ack,
            } => self.acknowledged(control, node, life, &ack),
            Happening::Deliver {
                connection,
                delivery,
            } => return self.deliver(connection, delivery),
            Happening::Answered { node, life, tag } => {
                let it = &mut self.nodes[node];
                // Of one that was given up nothing is heard.
                if it.life == life && it.acknowledging == Some(tag) {
                    it.acknowledging = None;
                    return self.tell(node, life, Event::Acknowledged(tag));
                }
            }
            Happening::Tick { node, life } => {
                self.nodes[node].ticks_at = None;
                return self.tell(node, life, Event::Tick);
            }
            Happening::Loaded {
                node,
                life,
                in_place,
            } => return self.loaded(node, life, in_place),
            Happening::Settled { node, life, at } => return self.settled(node, life, at),
            Happening::Start { node, life } => return self.start(node, life),
            Happening::InForce { at } => return self.in_force(at),
        }
        Ok(())
    }

    // The store and its control planes.

    fn write(&mut self) {
        let next = self.dice.millis(20, 800);
        self.after(next, Happening::Write);
        if self.stores[0].put_back {
            return;
        }
        self.stores[0].write(&mut self.dice, self.now);
        let at = self.stores[0].head;
        self.note(|| format!("store: {at:?}"));
        if self.is_strict {
            self.after(Duration::from_secs(2), Happening::InForce { at });
        }
    }

    fn poll(&mut self, control: usize) {
        let next = self.dice.millis(10, 200);
        self.after(next, Happening::Poll { control });
        let (now, head) = (self.now, self.stores[self.controls[control].store].head);
        let at = &mut self.controls[control];
        if !at.up || now < at.looks_not_before {
            return;
        }
        at.looked = now;
        let is_same = at.known.epoch == head.epoch;
        if !is_same {
            at.log = head.revision.0;
        }
        at.known = head;
        for connection in self.open_at(control) {
            if is_same {
                self.send_changes(connection);
            } else {
                self.send(connection, &[Message::Resync.encode()]);
                self.end(connection, Ended::Broken);
            }
        }
    }

    /// The streams that a control plane writes to.
    fn open_at(&mut self, control: usize) -> Vec<usize> {
        let connections = &self.connections;
        self.open.retain(|at| connections[*at].is_open);
        let open = self.open.iter().copied();
        open.filter(|at| connections[*at].control == control)
            .collect()
    }

    fn up(&mut self, control: usize, life: u32) {
        if self.controls[control].life != life {
            return;
        }
        let head = self.stores[self.controls[control].store].head;
        let at = &mut self.controls[control];
        at.up = true;
        at.known = head;
        at.looked = self.now;
        at.log = head.revision.0;
        self.note(|| format!("control {control} is up at {head:?}"));
    }

    fn arrive(&mut self, connection: usize, after: Option<Position>) {
        let it = &self.connections[connection];
        let (node, control) = (it.node, it.control);
        if self.now < self.nodes[node].up_blocked {
            self.connections[connection].is_half_open = true;
            return;
        }
        let at = &self.controls[control];
        self.connections[connection].control_life = at.life;
        if !at.up {
            return self.end(connection, Ended::Broken);
        }
        self.register(node);
        match after {
            None => self.send_snapshot(connection),
            Some(after) => self.open_changes(connection, after),
        }
    }

    /// A control plane counts on the gateway from now on.
    fn register(&mut self, node: usize) {
        let (now, node) = (self.now, &mut self.nodes[node]);
        node.lease = node.lease.max(now + node.max_staleness);
    }

    fn open_changes(&mut self, connection: usize, after: Position) {
        let control = self.connections[connection].control;
        let store = self.controls[control].store;
        let head = self.stores[store].head;
        if after.epoch == head.epoch && after.revision > head.revision {
            self.stores[store].notice(self.now);
            let head = self.stores[store].head;
            self.note(|| format!("control {control} begins a new epoch: {head:?}"));
            return self.end(connection, Ended::SnapshotNeeded);
        }
        let at = &self.controls[control];
        if after.epoch != at.known.epoch || after.epoch != head.epoch {
            return self.end(connection, Ended::SnapshotNeeded);
        }
        if after.revision.0 < at.log && self.dice.happens(500) {
            return self.end(connection, Ended::SnapshotNeeded);
        }
        self.connections[connection].sent = after;
        self.connections[connection].is_open = true;
        self.open.push(connection);
        self.deliver_after(connection, Delivery::Head);
        self.send_changes(connection);
        self.beat(connection);
    }

    /// All that is new, in one change or in one each.
    fn send_changes(&mut self, connection: usize) {
        let it = &self.connections[connection];
        let (sent, at) = (it.sent, &self.controls[it.control]);
        let (store, known) = (at.store, at.known);
        if sent.epoch != known.epoch || sent.revision >= known.revision {
            return;
        }
        let step = if self.dice.happens(300) { u64::MAX } else { 1 };
        let mut from = sent.revision;
        while from < known.revision {
            let to = Revision(from.0.saturating_add(step).min(known.revision.0));
            let change = self.stores[store].change(from, to);
            let mut payloads = encode_change(&change.expect("the log is whole"));
            let control = self.connections[connection].control;
            match self.controls[control]
                .mischief
                .take_if(|_| self.is_troubled)
            {
                Some(Mischief::Skip) => payloads.clear(),
                Some(Mischief::Repeat) => payloads = [payloads.clone(), payloads].concat(),
                Some(Mischief::Half) => {
                    payloads.pop();
                    self.send(connection, &payloads);
                    return self.end(connection, Ended::Broken);
                }
                None => {}
                Some(other @ (Mischief::Ahead | Mischief::Miscount | Mischief::OldSnapshot)) => {
                    self.controls[control].mischief = Some(other);
                }
            }
            self.send(connection, &payloads);
            from = to;
        }
        self.connections[connection].sent = known;
    }

    fn beat(&mut self, connection: usize) {
        let it = &self.connections[connection];
        let at = &self.controls[it.control];
        if !it.is_open || !at.up || at.life != it.control_life {
            return;
        }
        let mut revision = it.sent.revision;
        if let Some(Mischief::Ahead) = at.mischief {
            revision.0 += 1;
        }
        let heartbeat = Message::Heartbeat {
            revision,
            age: self.now.saturating_sub(at.looked),
            echo: at.tags.get(&it.node).copied().unwrap_or(0),
        };
        self.send(connection, &[heartbeat.encode()]);
        self.after(Duration::from_secs(1), Happening::Beat { connection });
    }

    fn send_snapshot(&mut self, connection: usize) {
        let control = self.connections[connection].control;
        let store = &self.stores[self.controls[control].store];
        let mut at = store.head;
        let mischief = self.controls[control]
            .mischief
            .take_if(|_| self.is_troubled);
        if let Some(Mischief::OldSnapshot) = mischief {
            let older = Position {
                revision: Revision(at.revision.0.saturating_sub(3)),
                ..at
            };
            // One that has less would take it, and could not know.
            let copy = self.nodes[self.connections[connection].node].copy.as_ref();
            let has_more = copy.is_some_and(|(copy, _)| {
                copy.epoch == older.epoch && copy.revision > older.revision
            });
            if has_more && store.state(older).is_some() {
                at = older;
            }
        }
        let keys = Rc::clone(store.state(at).expect("it was there"));
        let entries: Vec<SecretEntry> = keys.values().cloned().collect();
        let count = entries.len() as u64;
        let (epoch, revision) = (at.epoch, at.revision);
        let mut payloads = vec![
            Message::Begin {
                epoch,
                revision,
                keys: count,
            }
            .encode(),
        ];
        payloads.extend(
            entries
                .chunks(3)
                .map(|some| Message::Put(some.to_vec()).encode()),
        );
        if let Some(Mischief::Miscount) = mischief
            && payloads.len() > 1
        {
            payloads.pop();
        }
        payloads.push(Message::End { keys: count }.encode());
        self.deliver_after(connection, Delivery::Head);
        self.send(connection, &payloads);
        self.end(connection, Ended::Broken);
    }

    fn acknowledged(&mut self, control: usize, node: usize, life: u32, ack: &Ack) {
        if !self.controls[control].up || self.now < self.nodes[node].up_blocked {
            return;
        }
        self.register(node);
        self.controls[control].tags.insert(node, ack.tag);
        let tag = ack.tag;
        if self.now >= self.nodes[node].down_blocked {
            let delay = self.dice.millis(1, 30);
            self.after(delay, Happening::Answered { node, life, tag });
        }
    }

    // The link.

    fn send(&mut self, connection: usize, payloads: &[Vec<u8>]) {
        let mut bytes = Vec::new();
        let it = &mut self.connections[connection];
        for payload in payloads {
            it.writer.frame(payload, &mut bytes).expect("it is short");
        }
        if self.now < self.nodes[it.node].down_blocked {
            it.is_half_open = true;
        }
        while !bytes.is_empty() {
            let whole = !self.is_troubled || self.dice.happens(700);
            let length = if whole {
                bytes.len()
            } else {
                1 + self.dice.below(bytes.len() as u64) as usize
            };
            let rest = bytes.split_off(length);
            self.send_piece(connection, std::mem::replace(&mut bytes, rest));
        }
    }

    fn send_piece(&mut self, connection: usize, mut piece: Vec<u8>) {
        if self.is_troubled {
            if self.dice.happens(self.rates.lost) {
                return;
            }
            if self.dice.happens(self.rates.damaged) {
                let at = self.dice.below(piece.len() as u64) as usize;
                piece[at] ^= 1 << self.dice.below(8);
            }
            if self.dice.happens(self.rates.cut) {
                piece.truncate(self.dice.below(piece.len() as u64) as usize);
                self.deliver_after(connection, Delivery::Bytes(piece));
                return self.end(connection, Ended::Broken);
            }
            if self.dice.happens(self.rates.stalled) {
                let stall = self.dice.millis(500, 10_000);
                let it = &mut self.connections[connection];
                it.arrives_not_before = it.arrives_not_before.max(self.now) + stall;
            }
            if self.dice.happens(self.rates.repeated) {
                self.deliver_after(connection, Delivery::Bytes(piece.clone()));
            }
            if self.dice.happens(self.rates.late) {
                let delay = self.dice.millis(30, 300);
                let delivery = Delivery::Bytes(piece);
                return self.after(
                    delay,
                    Happening::Deliver {
                        connection,
                        delivery,
                    },
                );
            }
        }
        self.deliver_after(connection, Delivery::Bytes(piece));
    }

    fn deliver_after(&mut self, connection: usize, delivery: Delivery) {
        let delay = self.dice.millis(1, 30);
        let it = &mut self.connections[connection];
        it.arrives_not_before = it.arrives_not_before.max(self.now + delay);
        let delay = it.arrives_not_before - self.now;
        self.after(
            delay,
            Happening::Deliver {
                connection,
                delivery,
            },
        );
    }

    /// The control plane closes its end.
    fn end(&mut self, connection: usize, ended: Ended) {
        self.connections[connection].is_open = false;
        self.deliver_after(connection, Delivery::End(ended));
    }

    fn deliver(&mut self, connection: usize, delivery: Delivery) -> Outcome {
        let it = &mut self.connections[connection];
        let (node, life, exchange) = (it.node, it.life, it.exchange);
        if !it.is_wanted || it.is_half_open || self.now < self.nodes[node].down_blocked {
            it.is_half_open = true;
            return Ok(());
        }
        let bytes = match delivery {
            Delivery::Head => return self.tell(node, life, Event::Opened(exchange)),
            Delivery::End(ended) => {
                return self.tell(node, life, Event::Ended(exchange, ended));
            }
            Delivery::Bytes(bytes) => bytes,
        };
        it.reader.push(&bytes);
        self.tell(node, life, Event::Heard(exchange))?;
        loop {
            let it = &mut self.connections[connection];
            if !it.is_wanted {
                return Ok(());
            }
            let message = match it.reader.next_payload() {
                Ok(None) => return Ok(()),
                Ok(Some(payload)) => Message::decode(payload).ok(),
                Err(_) => None,
            };
            let Some(message) = message else {
                it.is_half_open = true;
                return self.tell(node, life, Event::Ended(exchange, Ended::Damaged));
            };
            self.note(|| format!("node {node} hears {}", brief(&message)));
            if let Message::Heartbeat { .. } = &message {
                self.nodes[node].heard = self.now;
            }
            self.tell(node, life, Event::Message(exchange, message))?;
        }
    }

    // The gateways.

    fn start(&mut self, node: usize, life: u32) -> Outcome {
        let at = &mut self.nodes[node];
        if at.life != life {
            return Ok(());
        }
        at.started = self.now;
        let now = at.moment(self.now);
        at.is_misled = false;
        let mut restored = None;
        if let Some(disk) = &at.disk {
            at.is_misled = disk.confirmed.is_some_and(|(_, shift)| at.shift < shift);
            restored = Some((disk.at, disk.confirmed.map(|(time, _)| time)));
            at.copy = Some((disk.at, Rc::clone(&disk.keys)));
            at.settled = Some(disk.at);
            self.seen.restored += 1;
            if let Some(acknowledged) = at.acknowledged
                && !at.disk_lacks
                && acknowledged.epoch == disk.at.epoch
                && acknowledged.revision > disk.at.revision
            {
                return Err(format!("node {node} begins with less than it acknowledged"));
            }
        }
        at.acknowledged = None;
        let seed = self.dice.below(u64::MAX);
        let follower = Follower::new(2, at.max_staleness, restored, seed, now);
        at.follower = Some(follower);
        self.note(|| format!("node {node} starts with {restored:?}"));
        self.check_copy(node)?;
        self.tell(node, life, Event::Tick)
    }

    fn stop(&mut self, node: usize) {
        self.seen.restarts += 1;
        let keeps_disk = self.dice.happens(700);
        let delay = self.dice.millis(10, 8000);
        let at = &mut self.nodes[node];
        at.life += 1;
        at.follower = None;
        at.copy = None;
        at.loading = None;
        at.settled = None;
        at.left.clear();
        at.ticks_at = None;
        at.acknowledging = None;
        if !keeps_disk {
            at.disk = None;
            at.acknowledged = None;
        }
        let life = at.life;
        self.hang_up(node);
        self.after(delay, Happening::Start { node, life });
    }

    fn hang_up(&mut self, node: usize) {
        if let Some(connection) = self.nodes[node].connection.take() {
            self.connections[connection].is_wanted = false;
            self.connections[connection].is_open = false;
        }
    }

    fn tell(&mut self, node: usize, life: u32, event: Event) -> Outcome {
        let at = &mut self.nodes[node];
        let now = at.moment(self.now);
        if at.life != life {
            return Ok(());
        }
        let Some(follower) = &mut at.follower else {
            return Ok(());
        };
        let before = follower.counted();
        let actions = follower.handle(event, now);
        let counted = follower.counted();
        self.seen.flaws += counted.flaws - before.flaws;
        self.seen.refused += counted.refused - before.refused;
        for action in actions {
            self.act(node, action)?;
        }
        let at = &mut self.nodes[node];
        let deadline = at.follower.as_ref().and_then(Follower::deadline);
        if let Some(deadline) = deadline {
            let due = (at.started + deadline).max(self.now);
            if at.ticks_at.is_none_or(|ticks_at| due < ticks_at) {
                at.ticks_at = Some(due);
                let delay = due - self.now;
                self.after(delay, Happening::Tick { node, life });
            }
        }
        Ok(())
    }

    fn act(&mut self, node: usize, action: Action) -> Outcome {
        self.note(|| format!("node {node}: {}", brief_action(&action)));
        let life = self.nodes[node].life;
        match action {
            Action::Ask {
                exchange,
                endpoint,
                after,
            } => self.ask(node, exchange, endpoint, after),
            Action::HangUp => {
                self.hang_up(node);
                self.nodes[node].loading = None;
                self.nodes[node].acknowledging = None;
            }
            Action::Begin(at, _) => self.nodes[node].loading = Some((at, Keys::new())),
            Action::Load(entries) => {
                let loading = self.nodes[node].loading.as_mut();
                let (_, keys) = loading.ok_or("keys of no snapshot are loaded")?;
                keys.extend(entries.into_iter().map(|e| (e.record.id.clone(), e)));
            }
            Action::Finish => {
                self.hang_up(node);
                let in_place = !(self.is_troubled && self.dice.happens(50));
                let delay = self.dice.millis(1, 100);
                self.after(
                    delay,
                    Happening::Loaded {
                        node,
                        life,
                        in_place,
                    },
                );
            }
            Action::Apply(change) => {
                let copy = self.nodes[node].copy.as_mut();
                let (at, keys) = copy.ok_or("a change is applied to nothing")?;
                if change.revision <= at.revision {
                    return Err(format!("node {node} falls from {at:?} by {change:?}"));
                }
                at.revision = change.revision;
                apply(Rc::make_mut(keys), &change);
                self.seen.applied += 1;
                self.check_copy(node)?;
                self.keep(node, false);
                self.settle(node);
            }
            Action::Acknowledge(endpoint, ack) => self.acknowledge(node, endpoint, ack)?,
            Action::Confirm(time) => {
                let at = &mut self.nodes[node];
                at.is_misled = false;
                if !at.disk_fails
                    && !at.disk_lacks
                    && let Some(disk) = &mut at.disk
                {
                    disk.confirmed = Some((time, at.shift));
                }
            }
            Action::Say(_) => {}
        }
        Ok(())
    }

    fn ask(&mut self, node: usize, exchange: Exchange, endpoint: usize, after: Option<Position>) {
        let misdirected = self.now < self.nodes[node].misdirected;
        let control = if misdirected { FOREIGN } else { endpoint };
        self.hang_up(node);
        self.nodes[node].connection = Some(self.connections.len());
        let connection = self.connections.len();
        self.connections.push(Connection {
            node,
            life: self.nodes[node].life,
            exchange,
            control,
            control_life: 0,
            is_wanted: true,
            is_open: false,
            is_half_open: false,
            arrives_not_before: self.now,
            sent: self.controls[control].known,
            writer: FrameWriter::new(None),
            reader: FrameReader::new(None),
        });
        let delay = self.dice.millis(1, 30);
        self.after(delay, Happening::Arrive { connection, after });
    }

    fn acknowledge(&mut self, node: usize, endpoint: usize, ack: Ack) -> Outcome {
        self.seen.acknowledged += 1;
        let misdirected = self.now < self.nodes[node].misdirected;
        let control = if misdirected { FOREIGN } else { endpoint };
        let at = &mut self.nodes[node];
        let said = ack.position().map_err(|invalid| invalid.to_string())?;
        if at.acknowledging.replace(ack.tag).is_some() {
            return Err(format!("node {node} acknowledges twice at a time"));
        }
        let holds = |held: Option<Position>| {
            held.is_some_and(|held| held.epoch == said.epoch && held.revision >= said.revision)
        };
        if !holds(at.copy.as_ref().map(|(at, _)| *at)) || !holds(at.settled) {
            return Err(format!(
                "node {node} acknowledges {said:?} and has {:?}",
                at.settled
            ));
        }
        at.acknowledged = Some(said);
        let (life, tag) = (at.life, ack.tag);
        let delay = self.dice.millis(1, 30);
        if !self.is_troubled || !self.dice.happens(self.rates.lost) {
            self.after(
                delay,
                Happening::Acknowledged {
                    control,
                    node,
                    life,
                    ack,
                },
            );
        }
        self.after(ACK_TIME, Happening::Answered { node, life, tag });
        Ok(())
    }

    fn loaded(&mut self, node: usize, life: u32, in_place: bool) -> Outcome {
        let now = self.now;
        let at = &mut self.nodes[node];
        if at.life != life {
            return Ok(());
        }
        let (to, keys) = at.loading.take().ok_or("no snapshot is loaded")?;
        if in_place {
            self.seen.loaded += 1;
            if let Some((from, _)) = &at.copy {
                if from.epoch == to.epoch && from.revision > to.revision {
                    return Err(format!("node {node} falls from {from:?} to {to:?}"));
                }
                if from.epoch != to.epoch {
                    self.seen.epochs += 1;
                    at.left.push(from.epoch);
                    if at.left.contains(&to.epoch) && now < at.heard + EPOCH_RETURN_TIME {
                        return Err(format!("node {node} goes back to {to:?} at once"));
                    }
                }
            }
            at.copy = Some((to, Rc::new(keys)));
            at.is_misled = false;
            at.heard = now;
            self.check_copy(node)?;
            self.keep(node, true);
            self.settle(node);
        }
        self.tell(node, life, Event::Loaded(in_place))
    }

    /// What the copy has become goes to disk, unless that fails; then all of it, once it does not any more.
    fn keep(&mut self, node: usize, is_new: bool) {
        let at = &mut self.nodes[node];
        let Some((position, keys)) = &at.copy else {
            return;
        };
        at.disk_lacks = at.disk_fails;
        if !at.disk_fails {
            let kept = at.disk.take().and_then(|disk| disk.confirmed);
            at.disk = Some(Disk {
                at: *position,
                keys: Rc::clone(keys),
                confirmed: kept.filter(|_| !is_new),
            });
        }
    }

    fn settle(&mut self, node: usize) {
        let delay = self.dice.millis(0, 20);
        let it = &mut self.nodes[node];
        let Some((at, _)) = &it.copy else {
            return;
        };
        let (at, life) = (*at, it.life);
        it.settles_not_before = it.settles_not_before.max(self.now + delay);
        let delay = it.settles_not_before - self.now;
        self.after(delay, Happening::Settled { node, life, at });
    }

    fn settled(&mut self, node: usize, life: u32, at: Position) -> Outcome {
        let it = &mut self.nodes[node];
        if it.life != life {
            return Ok(());
        }
        it.settled = Some(at);
        self.tell(node, life, Event::Settled(at))
    }

    // What must hold.

    fn store_of(&self, epoch: Epoch) -> &Store {
        let known = self.stores.iter().find(|store| store.knows(epoch));
        known.unwrap_or(&self.stores[0])
    }

    fn check_copy(&self, node: usize) -> Outcome {
        let Some((at, keys)) = &self.nodes[node].copy else {
            return Ok(());
        };
        if self.store_of(at.epoch).state(*at) != Some(keys) {
            return Err(format!("node {node} has what was never there at {at:?}"));
        }
        Ok(())
    }

    fn check(&mut self) -> Outcome {
        for number in 0..self.nodes.len() {
            let node = &self.nodes[number];
            let (Some(follower), Some((at, _))) = (&node.follower, &node.copy) else {
                continue;
            };
            let now = node.moment(self.now);
            let Some(confirmed) = follower.confirmed() else {
                continue;
            };
            let age = staleness(confirmed, now.steady);
            if node.is_misled {
                continue;
            }
            let then = self.now.saturating_sub(age);
            if age < self.now && !self.store_of(at.epoch).covers(*at, then) {
                return Err(format!(
                    "node {number} at {at:?} claims to be {age:?} old only"
                ));
            }
            if node.denies {
                if age > node.max_staleness {
                    self.seen.denied += 1;
                } else if self.now > node.lease {
                    return Err(format!(
                        "node {number} serves at {age:?} although its lease ended at {:?}",
                        node.lease
                    ));
                }
            }
        }
        Ok(())
    }

    fn in_force(&self, written: Position) -> Outcome {
        for (number, node) in self.nodes.iter().enumerate() {
            let at = node.copy.as_ref().map(|(at, _)| *at);
            let has =
                at.is_some_and(|at| at.epoch == written.epoch && at.revision >= written.revision);
            if !has {
                return Err(format!(
                    "{written:?} is not in force at node {number}: {at:?}"
                ));
            }
        }
        Ok(())
    }

    /// Whether every gateway has what the store has, and knows it.
    pub(super) fn has_converged(&self) -> Outcome {
        for (number, node) in self.nodes.iter().enumerate() {
            let Some(follower) = &node.follower else {
                return Err(format!("node {number} is down"));
            };
            let now = node.moment(self.now).steady;
            let age = follower
                .confirmed()
                .map(|confirmed| staleness(confirmed, now));
            let is_fresh = age.is_some_and(|age| age < Duration::from_secs(3));
            let at = node.copy.as_ref().map(|(at, _)| *at);
            let is_of_epoch = at.is_some_and(|at| at.epoch == self.stores[0].head.epoch);
            if !is_fresh || !is_of_epoch || !follower.is_following() {
                return Err(format!(
                    "node {number} has not come back: {at:?}, {age:?} old"
                ));
            }
        }
        Ok(())
    }

    // What goes wrong.

    fn trouble(&mut self) {
        if !self.is_troubled {
            return;
        }
        let next = self.dice.millis(50, 1500);
        self.after(next, Happening::Trouble);
        let node = self.dice.below(NODES as u64) as usize;
        let control = self.dice.below(CONTROLS as u64) as usize;
        let until = self.now + self.dice.millis(100, 9000);
        let what = self.dice.below(12);
        self.note(|| format!("trouble {what}: node {node}, control {control}, until {until:?}"));
        match what {
            0 => self.restart_control(control),
            1 => self.stop(node),
            2 => {
                let jumps = [HOUR, -HOUR, 87_600 * HOUR, -87_600 * HOUR, 3000, -3000];
                let jump = jumps[self.dice.below(6) as usize];
                self.nodes[node].shift += jump;
            }
            3 => self.nodes[node].down_blocked = until,
            4 => self.nodes[node].up_blocked = until,
            5 => {
                self.nodes[node].down_blocked = until;
                self.nodes[node].up_blocked = until;
            }
            6 if self.dice.happens(300) => self.restore(),
            7 => self.controls[control].log = self.controls[control].known.revision.0,
            8 => self.nodes[node].disk_fails = !self.nodes[node].disk_fails,
            9 => self.controls[control].looks_not_before = until,
            10 if self.has_foreign => self.nodes[node].misdirected = until,
            _ => {
                let mischiefs = [
                    Mischief::Skip,
                    Mischief::Repeat,
                    Mischief::Ahead,
                    Mischief::Half,
                    Mischief::Miscount,
                    Mischief::OldSnapshot,
                ];
                let mischief = mischiefs[self.dice.below(6) as usize];
                self.controls[control].mischief = Some(mischief);
            }
        }
    }

    fn restart_control(&mut self, control: usize) {
        let delay = self.dice.millis(10, 5000);
        let at = &mut self.controls[control];
        at.life += 1;
        at.up = false;
        at.tags.clear();
        at.mischief = None;
        let life = at.life;
        for connection in self.open_at(control) {
            self.end(connection, Ended::Broken);
        }
        self.after(delay, Happening::Up { control, life });
    }

    /// A backup is put in place of the store; its control planes start anew.
    fn restore(&mut self) {
        self.stores[0].restore(&mut self.dice, self.now);
        for control in 0..FOREIGN {
            self.restart_control(control);
        }
    }

    /// Nothing goes wrong any more.
    pub(super) fn heal(&mut self) {
        self.is_troubled = false;
        if self.stores[0].put_back {
            self.stores[0].notice(self.now);
        }
        for control in &mut self.controls {
            control.mischief = None;
            control.looks_not_before = self.now;
        }
        for node in &mut self.nodes {
            node.up_blocked = self.now;
            node.down_blocked = self.now;
            node.misdirected = self.now;
            node.disk_fails = false;
        }
        self.note(|| "nothing goes wrong any more".to_owned());
    }
}

impl Control {
    fn new(number: usize, stores: &[Store]) -> Self {
        let store = usize::from(number == FOREIGN);
        Self {
            store,
            life: 0,
            up: true,
            known: stores[store].head,
            looked: Duration::ZERO,
            looks_not_before: Duration::ZERO,
            log: 0,
            tags: HashMap::new(),
            mischief: None,
        }
    }
}

impl Node {
    fn new(dice: &mut Dice) -> Self {
        Self {
            life: 0,
            follower: None,
            started: Duration::ZERO,
            shift: 0,
            max_staleness: dice.millis(2000, 20_000),
            denies: dice.happens(700),
            lease: Duration::ZERO,
            copy: None,
            loading: None,
            connection: None,
            settled: None,
            settles_not_before: Duration::ZERO,
            acknowledged: None,
            acknowledging: None,
            disk: None,
            disk_fails: false,
            disk_lacks: false,
            is_misled: false,
            ticks_at: None,
            left: Vec::new(),
            heard: Duration::ZERO,
            up_blocked: Duration::ZERO,
            down_blocked: Duration::ZERO,
            misdirected: Duration::ZERO,
        }
    }

    fn moment(&self, now: Duration) -> Moment {
        let millis = i64::try_from(now.as_millis()).expect("it is short");
        Moment {
            steady: now - self.started,
            time: Timestamp::from_millis(BEGINNING + self.shift + millis),
        }
    }
}

fn brief(message: &Message) -> String {
    if let Message::Put(entries) = message {
        return format!("Put {}", entries.len());
    }
    format!("{message:?}")
}

fn brief_action(action: &Action) -> String {
    let mut text = if let Action::Load(entries) = action {
        format!("Load {}", entries.len())
    } else if let Action::Apply(change) = action {
        format!("Apply {:?} {:?}", change.previous, change.revision)
    } else {
        format!("{action:?}")
    };
    if text.len() > 200 {
        text.truncate(200);
        let _ = write!(text, "…");
    }
    text
}
