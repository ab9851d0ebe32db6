//! What a connection and its current exchange tell each other, and the clock of every wait.
//!
//! Knows no socket: only that something is waited for, for how long, and what became of it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::config::RouteLimits;
use super::exchange::Exchange;
use super::live::Seat;
use super::pace::{MinRate, Pace};
use super::wire::Wire;

/// Longest wait that is ever armed: a limit beyond it is none.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// What a connection waits for; each wait has its own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Wait {
    /// The next request, nothing of which has come.
    Request = 1,
    /// The rest of a head.
    Head,
    /// The next piece of a body.
    Body,
    /// The first byte of the upstream's response.
    FirstByte,
    /// Any byte of a running response or tunnel.
    Stream,
    /// The client, to take or to send as much as it must.
    Rate,
}

impl Wait {
    const ALL: [Self; 6] = [
        Self::Request,
        Self::Head,
        Self::Body,
        Self::FirstByte,
        Self::Stream,
        Self::Rate,
    ];
}

/// How long an exchange may wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the next piece of the request's body.
    pub body: Duration,
    /// From now for all of the request's body, however it drips.
    pub request: Duration,
    /// For the first byte of the response, once the request is complete.
    pub first_byte: Duration,
    /// For any byte of a running response or tunnel.
    pub stream: Duration,
    /// From now for everything, if there is such a limit.
    pub total: Option<Duration>,
    /// How slow the client may be, if that is limited.
    pub rate: Option<MinRate>,
}

/// What moments in the life of a connection are counted from, so that an atomic can hold them.
#[derive(Debug)]
struct Beginning(Instant);

impl Default for Beginning {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Beginning {
    /// The moment `limit` from now.
    fn until(&self, limit: Duration) -> u64 {
        millis(self.0.elapsed().saturating_add(limit.min(FAR)))
    }

    fn moment(&self, millis: u64) -> Option<Instant> {
        self.0.checked_add(Duration::from_millis(millis))
    }
}

impl Patience {
    /// How long a request may wait of which no route is known yet.
    pub fn before_route(limits: &RouteLimits) -> Self {
        Self {
            body: limits.body_timeout,
            request: limits.request_timeout,
            first_byte: limits.stream_idle,
            stream: limits.stream_idle,
            total: limits.total_timeout,
            rate: limits.min_rate,
        }
    }
}

/// Shared by a connection and its current exchange.
#[derive(Debug, Default)]
pub struct Line {
    accepted: AtomicBool,
    responding: AtomicBool,
    tunnel: AtomicBool,
    malformed: AtomicBool,
    expired: AtomicU8,
    beginning: Beginning,
    request_due: AtomicU64,
    total_due: AtomicU64,
    body_ms: AtomicU64,
    first_byte_ms: AtomicU64,
    stream_ms: AtomicU64,
    /// No bytes: no limit.
    rate_bytes: AtomicU64,
    rate_ms: AtomicU64,
    returned: Mutex<Option<Wire>>,
    seat: Arc<Seat>,
    exchange: Mutex<Option<Box<Exchange>>>,
}

impl Line {
    /// The line of a connection with this seat.
    pub fn new(seat: Arc<Seat>) -> Self {
        Self {
            seat,
            ..Self::default()
        }
    }

    /// The place of its exchange among those in flight.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Forgets the last exchange.
    pub fn begin(&self, patience: Patience) {
        self.accepted.store(false, Ordering::Relaxed);
        self.responding.store(false, Ordering::Relaxed);
        self.tunnel.store(false, Ordering::Relaxed);
        self.malformed.store(false, Ordering::Relaxed);
        self.expired.store(0, Ordering::Relaxed);
        self.set_patience(patience);
    }

    /// Sets how long the current exchange may wait.
    pub fn set_patience(&self, patience: Patience) {
        let Patience {
            body,
            request,
            first_byte,
            stream,
            total,
            rate,
        } = patience;
        let due = |limit| self.beginning.until(limit);
        self.request_due.store(due(request), Ordering::Relaxed);
        let total = total.unwrap_or(FAR);
        self.total_due.store(due(total), Ordering::Relaxed);
        self.body_ms.store(millis(body), Ordering::Relaxed);
        self.first_byte_ms
            .store(millis(first_byte), Ordering::Relaxed);
        self.stream_ms.store(millis(stream), Ordering::Relaxed);
        let (bytes, over) = rate.map_or((0, 0), |rate| (rate.bytes, millis(rate.over)));
        self.rate_bytes.store(bytes, Ordering::Relaxed);
        self.rate_ms.store(over, Ordering::Relaxed);
    }

    /// Pingora took the head.
    pub fn accept(&self) {
        self.accepted.store(true, Ordering::Relaxed);
    }

    /// Whether pingora took the head. What it writes before is its own short answer to one that it does not take.
    pub fn is_accepted(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The final response begins.
    pub fn respond(&self) {
        self.responding.store(true, Ordering::Relaxed);
    }

    /// Whether the final response has begun.
    pub fn is_responding(&self) -> bool {
        self.responding.load(Ordering::Relaxed)
    }

    /// The protocol is switched: bytes pass both ways until the end.
    pub fn open_tunnel(&self) {
        self.tunnel.store(true, Ordering::Relaxed);
    }

    /// Whether the protocol was switched.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel.load(Ordering::Relaxed)
    }

    /// The body's chunks are malformed.
    pub fn spoil(&self) {
        self.malformed.store(true, Ordering::Relaxed);
    }

    /// Whether the body's chunks were malformed.
    pub fn is_spoilt(&self) -> bool {
        self.malformed.load(Ordering::Relaxed)
    }

    /// The wait that took too long, if one did.
    pub fn expired(&self) -> Option<Wait> {
        let expired = self.expired.load(Ordering::Relaxed);
        Wait::ALL.into_iter().find(|wait| *wait as u8 == expired)
    }

    fn expire(&self, wait: Wait) {
        self.expired.store(wait as u8, Ordering::Relaxed);
    }

    /// The limit of time that ended the exchange, by its name, if one did.
    pub fn limit_reached(&self) -> Option<&'static str> {
        let expired = self.expired()?;
        let over = |due: &AtomicU64| {
            let due = self.beginning.moment(due.load(Ordering::Relaxed));
            due.is_some_and(|due| due <= Instant::now())
        };
        Some(match expired {
            Wait::Rate => "min_rate",
            _ if over(&self.total_due) => "total_timeout",
            Wait::Request | Wait::Head | Wait::Body if over(&self.request_due) => "request_timeout",
            Wait::Request | Wait::Head | Wait::Body => "body_timeout",
            Wait::FirstByte => "first_byte",
            Wait::Stream => "stream_idle",
        })
    }

    /// Puts the connection where the door finds it when the exchange has ended.
    pub fn give_back(&self, wire: Wire) {
        put(&self.returned, wire);
    }

    /// The connection, once the exchange that it was lent to has ended.
    pub fn take_back(&self) -> Option<Wire> {
        take(&self.returned)
    }

    /// Puts the exchange where the next of its two holders finds it: pingora's callbacks, then the door again.
    pub fn hand_over(&self, exchange: Box<Exchange>) {
        put(&self.exchange, exchange);
    }

    /// Takes the exchange over. `None`: the other holder has lost it.
    pub fn take_over(&self) -> Option<Box<Exchange>> {
        take(&self.exchange)
    }

    fn limit(&self, wait: Wait) -> Duration {
        let millis = match wait {
            Wait::Request | Wait::Head | Wait::Body => &self.body_ms,
            Wait::FirstByte => &self.first_byte_ms,
            Wait::Stream | Wait::Rate => &self.stream_ms,
        };
        Duration::from_millis(millis.load(Ordering::Relaxed))
    }

    fn rate(&self) -> Option<MinRate> {
        let rate = MinRate {
            bytes: self.rate_bytes.load(Ordering::Relaxed),
            over: Duration::from_millis(self.rate_ms.load(Ordering::Relaxed)),
        };
        Some(rate).filter(|rate| rate.bytes > 0)
    }

    /// When `wait` is over however often what is waited for comes.
    fn due(&self, wait: Wait) -> Option<Instant> {
        let total = self.total_due.load(Ordering::Relaxed);
        let due = match wait {
            Wait::Request | Wait::Head | Wait::Body => {
                total.min(self.request_due.load(Ordering::Relaxed))
            }
            Wait::FirstByte | Wait::Stream | Wait::Rate => total,
        };
        self.beginning.moment(due)
    }
}

fn put<T>(slot: &Mutex<Option<T>>, thing: T) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(thing);
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The moment `limit` from now.
pub fn deadline_after(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit.min(FAR)).unwrap_or(now)
}

/// One timer a connection, for all its waits. Re-armed only when it would ring too late: a busy connection touches
/// the runtime's timers about once in the longest wait, not once a request.
#[derive(Debug, Default)]
pub struct Watch {
    waiting: Option<(Wait, Instant)>,
    sleep: Option<Pin<Box<Sleep>>>,
    sending: Pace,
    taking: Pace,
}

impl Watch {
    /// Something came or went: the next wait begins anew.
    pub fn touch(&mut self) {
        self.waiting = None;
        self.sending.rest();
        self.taking.rest();
    }

    /// What waited for the client is gone, which is nobody's turn yet.
    pub fn rest(&mut self) {
        self.taking.rest();
    }

    /// Another exchange begins: how fast the client was in the last one says nothing of it.
    pub fn begin(&mut self) {
        self.sending = Pace::default();
        self.taking = Pace::default();
    }

    /// Ready once the time for `wait` on this line is over, which the line is told.
    pub fn poll(&mut self, wait: Wait, line: &Line, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline(wait, line);
        ready!(self.poll_until(wait, deadline, cx));
        line.expire(wait);
        Poll::Ready(())
    }

    /// The same where the client alone is waited for, to send ([`Wait::Body`]) or to take: also ready once it is slower
    /// than it may be. `moved`: all that it has sent or taken so far.
    pub fn poll_client(
        &mut self,
        wait: Wait,
        line: &Line,
        moved: impl Fn() -> u64,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(rate) = line.rate() else {
            return self.poll(wait, line, cx);
        };
        let deadline = self.deadline(wait, line);
        loop {
            let pace = if wait == Wait::Body {
                &mut self.sending
            } else {
                &mut self.taking
            };
            let Ok(look) = pace.wait(rate, Instant::now(), &moved) else {
                line.expire(Wait::Rate);
                return Poll::Ready(());
            };
            self.waiting = Some((wait, deadline));
            ready!(self.poll_sleep(look.min(deadline), cx));
            if deadline <= look {
                line.expire(wait);
                return Poll::Ready(());
            }
        }
    }

    /// Ready once `deadline` is over.
    pub fn poll_until(&mut self, wait: Wait, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.waiting = Some((wait, deadline));
        self.poll_sleep(deadline, cx)
    }

    fn deadline(&self, wait: Wait, line: &Line) -> Instant {
        let deadline = match self.waiting {
            Some((same, deadline)) if same == wait => deadline,
            Some(_) | None => deadline_after(line.limit(wait)),
        };
        line.due(wait).map_or(deadline, |due| due.min(deadline))
    }

    fn poll_sleep(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        if until < sleep.deadline() {
            sleep.as_mut().reset(until);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
        Poll::Pending
    }
}
