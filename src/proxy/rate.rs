//! How often routes may be asked: by each key, by each client, or by all together. This gateway counts for itself
//! alone: several of them permit as many times as much.
//!
//! Asked of permitted requests only, so that a flood of keys that are nobody's counts against nobody. Decides nothing: it
//! says how a sender stands.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::{Quota, RateLimiter};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::config::{Rate, RateBy, Rules};
use super::shares::{Share, Shares};
use super::socket::Client;
use crate::authz::{KeyId, Principal, RouteId};

/// Who has a share of its own.
#[derive(Hash)]
enum Sharer<'a> {
    Key(&'a KeyId),
    /// `None`: all processes of this machine, which no address tells apart.
    Client(Option<IpAddr>),
    Everyone,
}

/// The rates of all routes, by `RouteId`.
#[derive(Debug)]
pub struct Rates {
    shares: Shares,
    limiters: Vec<Option<Arc<Limiter>>>,
}

/// The rate of one route and what is left of it.
#[derive(Debug)]
struct Limiter {
    rate: Rate,
    /// Its name among those that keep shares in the same place.
    id: u64,
    gcra: RateLimiter<Share, Shares, DefaultClock, StateInformationMiddleware>,
}

impl Rates {
    /// Prepares rates. A route that `former` has with the same name and rate goes on with what is left.
    pub fn new(rules: &Rules, former: Option<(&Rules, &Self)>) -> Self {
        let shares = former.map_or_else(Shares::default, |(_, rates)| rates.shares.clone());
        let limiters = rated(rules).map(|(name, rate)| {
            let rate = rate?;
            let kept = former.and_then(|(rules, rates)| {
                let mut all = rated(rules).zip(&rates.limiters);
                all.find(|(route, _)| *route == (name, Some(rate)))?
                    .1
                    .clone()
            });
            kept.or_else(|| Limiter::new(rate, &shares).map(Arc::new))
        });
        Self {
            limiters: limiters.collect(),
            shares,
        }
    }

    /// Takes one request of the share of whoever sent it, if one is left. `None`: the route has no rate.
    pub fn take(
        &self,
        route: RouteId,
        key: Option<&Principal>,
        client: &Client,
    ) -> Option<Standing> {
        let limiter = self.limiters.get(route.0 as usize)?.as_ref()?;
        let sharer = match (limiter.rate.by, key) {
            (RateBy::Route, _) => Sharer::Everyone,
            (RateBy::Key, Some(key)) => Sharer::Key(&key.id),
            (RateBy::Key, None) | (RateBy::Client, _) => Sharer::Client(client.network()),
        };
        Some(limiter.take(&self.shares, &sharer))
    }
}

/// The routes with their rates.
fn rated(rules: &Rules) -> impl Iterator<Item = (&str, Option<Rate>)> {
    let specs = rules.rulebook.routes().specs().iter();
    let rates = rules.routes.iter().map(|route| route.rate);
    specs.map(|spec| spec.name.as_str()).zip(rates)
}

impl Limiter {
    /// `None`: a rate of so much in so little time that it is none.
    fn new(rate: Rate, shares: &Shares) -> Option<Self> {
        let quota = Quota::with_period(rate.per / rate.requests.get())?;
        let quota = quota.allow_burst(rate.requests);
        Some(Self {
            rate,
            id: shares.next_limiter(),
            gcra: RateLimiter::new(quota, shares.clone(), DefaultClock::default()),
        })
    }

    fn take(&self, shares: &Shares, sharer: &Sharer<'_>) -> Standing {
        let is_of_client = matches!(sharer, Sharer::Client(_));
        let share = shares.of(is_of_client, &(self.id, sharer));
        let limit = self.rate.requests.get();
        let each = self.rate.per / limit;
        match self.gcra.check_key(&share) {
            Ok(left) => {
                let remaining = left.remaining_burst_capacity();
                Standing {
                    limit,
                    remaining,
                    reset: seconds(each * limit.saturating_sub(remaining)),
                    retry_after: None,
                }
            }
            Err(until) => {
                let wait = until.wait_time_from(self.gcra.clock().now());
                Standing {
                    limit,
                    remaining: 0,
                    reset: seconds(wait + each * (limit - 1)),
                    retry_after: Some(seconds(wait)),
                }
            }
        }
    }
}

/// Whole seconds after which it is certain that so much time is over; never none.
fn seconds(time: Duration) -> u64 {
    let more = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(more).max(1)
}

/// How a sender stands with a rate after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    limit: u32,
    remaining: u32,
    /// Seconds until everything is there again.
    reset: u64,
    /// Seconds until one request is there again, where there was none.
    retry_after: Option<u64>,
}

impl Standing {
    /// Whether the request was one too many.
    pub fn is_exceeded(&self) -> bool {
        self.retry_after.is_some()
    }

    /// The lines of an answer that tell it. The names are those that clients read: of draft-ietf-httpapi-ratelimit-headers
    /// up to its sixth version. The later ones put all in two structured fields, anew in almost every version, and the
    /// tenth expired in March 2026 without a successor.
    pub fn lines(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let standing = [
            ("ratelimit-limit", u64::from(self.limit)),
            ("ratelimit-remaining", u64::from(self.remaining)),
            ("ratelimit-reset", self.reset),
        ];
        let retry_after = self.retry_after.map(|seconds| ("retry-after", seconds));
        retry_after.into_iter().chain(standing)
    }

    /// Adds it to an upstream's answer, unless the upstream says how its client stands with a limit of its own.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        if self.lines().any(|(name, _)| headers.contains_key(name)) {
            return;
        }
        for (name, value) in self.lines() {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
    }
}
