//! Upstreams, in the order of their names: a route's upstream is an index into them.

use super::super::mistake::Mistake;
use super::super::node::Spot;
use super::super::raw::{self, File, RetryOn};
use super::super::scalar::Name;
use crate::proxy::{Balance, Endpoint, HealthCheck, Retries, UpstreamConfig};

/// All upstreams. One that is not usable keeps its place, so that routes to it are not called wrong as well.
pub(super) fn upstreams(
    file: &File,
    at: &Spot<'_>,
    faults: &mut Vec<Mistake>,
) -> Vec<UpstreamConfig> {
    let raw = file.upstreams.iter().flatten();
    raw.map(|(name, raw)| upstream(name, raw, &at.key(name), faults))
        .collect()
}

fn upstream(
    name: &str,
    raw: &raw::Upstream,
    at: &Spot<'_>,
    faults: &mut Vec<Mistake>,
) -> UpstreamConfig {
    if let Err(message) = name.parse::<Name>() {
        faults.push(at.mistake(message));
    }
    UpstreamConfig {
        name: name.to_owned(),
        endpoints: endpoints(raw, &at.key("endpoints"), faults),
        balance: balance(&raw.balance),
        health: raw
            .health
            .as_ref()
            .and_then(|health| health_check(health, &at.key("health"), faults)),
        retries: retries(&raw.retries),
    }
}

fn endpoints(raw: &raw::Upstream, at: &Spot<'_>, faults: &mut Vec<Mistake>) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for (index, endpoint) in raw.endpoints.iter().flatten().enumerate() {
        if endpoints.contains(&endpoint.0) {
            faults.push(at.index(index).mistake("is in the list twice"));
        }
        endpoints.push(endpoint.0.clone());
    }
    endpoints
}

fn balance(raw: &raw::Balance) -> Balance {
    match raw {
        raw::Balance::RoundRobin => Balance::RoundRobin,
        raw::Balance::LeastRequest => Balance::LeastRequest,
        raw::Balance::Consistent(header) => Balance::Consistent(header.0.clone()),
    }
}

fn health_check(
    raw: &raw::Health,
    at: &Spot<'_>,
    faults: &mut Vec<Mistake>,
) -> Option<HealthCheck> {
    if raw.timeout.0 > raw.interval.0 {
        let message = "must not be longer than `interval`: probes would overtake each other";
        faults.push(at.key("timeout").mistake(message));
    }
    Some(HealthCheck {
        path: raw.path.clone()?.0,
        interval: raw.interval.0,
        timeout: raw.timeout.0,
        unhealthy_after: raw.unhealthy_after,
        healthy_after: raw.healthy_after,
    })
}

fn retries(raw: &raw::Retries) -> Retries {
    let status = |reason: &RetryOn| match reason {
        RetryOn::Connect => None,
        RetryOn::Status(status) => Some(*status),
    };
    Retries {
        attempts: raw.attempts,
        on_connect: raw.on.contains(&RetryOn::Connect),
        on_statuses: raw.on.iter().filter_map(status).collect(),
        methods: raw.methods.iter().map(|method| method.0.clone()).collect(),
    }
}
