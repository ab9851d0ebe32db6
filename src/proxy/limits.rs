//! What a route takes less of than others: shorter targets, fewer header lines, fewer requests at a time.
//!
//! Checked last, of requests that are permitted. It knows the limits of one route and nothing of what it is for.

use std::sync::Arc;

use http::HeaderMap;
use http::header::COOKIE;
use tokio::sync::Semaphore;

use super::config::{Ceilings, Rules};
use super::exchange::Exchange;
use crate::authz::{Reason, RouteId};

/// Places on routes, by `RouteId`; `None` where as many requests are taken as there are connections.
#[derive(Debug)]
pub struct Places(Vec<Option<Arc<Semaphore>>>);

impl Places {
    /// Makes places. A route that `former` has with the same name and limit goes on with those that are taken.
    pub fn new(rules: &Rules, former: Option<(&Rules, &Self)>) -> Self {
        let places = limited(rules).map(|(name, limit)| {
            let limit = limit?;
            let kept = former.and_then(|(rules, places)| {
                let mut all = limited(rules).zip(&places.0);
                let same = all.find(|(route, _)| *route == (name, Some(limit)));
                same?.1.clone()
            });
            Some(kept.unwrap_or_else(|| Arc::new(Semaphore::new(limit))))
        });
        Self(places.collect())
    }

    fn of(&self, route: RouteId) -> Option<&Arc<Semaphore>> {
        self.0.get(route.0 as usize)?.as_ref()
    }
}

/// The routes with the number of requests that each takes at a time.
fn limited(rules: &Rules) -> impl Iterator<Item = (&str, Option<usize>)> {
    let specs = rules.rulebook.routes().specs().iter();
    let limits = rules.routes.iter().map(|route| route.ceilings.connections);
    specs.map(|spec| spec.name.as_str()).zip(limits)
}

/// Refuses a permitted request that is beyond what its route takes; gives it its place where places are counted.
pub fn check(exchange: &mut Exchange, headers: &HeaderMap) {
    let Some(route) = exchange.permit().map(|permit| permit.route()) else {
        return;
    };
    let Some(settings) = exchange.regime.route(route) else {
        return;
    };
    if let Some(reason) = exceeded(&settings.ceilings, exchange.target(), headers) {
        exchange.refuse(reason, Some("this route takes less than others"));
        return;
    }
    let Some(places) = exchange.regime.places.of(route) else {
        return;
    };
    match Arc::clone(places).try_acquire_owned() {
        Ok(place) => exchange.place = Some(place),
        Err(_) => exchange.refuse(
            Reason::Overloaded,
            Some("too many requests are on this route"),
        ),
    }
}

fn exceeded(ceilings: &Ceilings, target: &[u8], headers: &HeaderMap) -> Option<Reason> {
    if ceilings.uri_bytes.is_some_and(|most| target.len() > most) {
        return Some(Reason::UriTooLong);
    }
    let most = ceilings.headers?;
    let more_cookies = headers.get_all(COOKIE).iter().skip(1).count();
    (headers.len().saturating_sub(more_cookies) > most).then_some(Reason::HeadersTooLarge)
}
