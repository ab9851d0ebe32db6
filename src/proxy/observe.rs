//! A finished exchange becomes metrics and a line of the access log. Decides nothing, changes nothing.

use std::time::Duration;

use super::exchange::Exchange;
use super::socket::Client;
use crate::authz::Tenant;
use crate::telemetry::{Outcome, Record};

/// Counts and logs an exchange that has ended.
pub fn finished(exchange: &Exchange) {
    let regime = &exchange.regime;
    let took = exchange.started.elapsed();
    let outcome = exchange.outcome();
    regime.routes.finished(exchange.route, outcome, took);
    if let (Some(upstream), Some(took)) = (exchange.forward.upstream, exchange.forward.took) {
        regime.upstream_metrics.answered(upstream, took);
    }
    let refusals_max = regime.rules.log_refusals_per_second;
    if let Some(log) = regime.access_log()
        && log.takes(outcome, refusals_max)
    {
        log.log(&record(exchange, outcome, took));
    }
}

fn record(exchange: &Exchange, outcome: Outcome, duration: Duration) -> Record<'_> {
    let regime = &exchange.regime;
    let principal = exchange.principal.as_deref();
    Record {
        time: exchange.time,
        client: match &exchange.client {
            Client::Inet(address, _) => Some(address.ip()),
            Client::Unix => None,
        },
        method: exchange.method(),
        route: exchange.route.map(|route| regime.routes.name(Some(route))),
        path: exchange.target(),
        outcome,
        limit: exchange.line.limit_reached(),
        key_id: principal.map(|principal| &principal.id),
        org: principal.and_then(|principal| match &principal.tenant {
            Tenant::Org(org) => Some(org.as_str()),
            Tenant::Workspace(_) | Tenant::Access => None,
        }),
        upstream: exchange
            .forward
            .upstream
            .and_then(|index| regime.upstreams.get(index))
            .map(|upstream| upstream.config.name.as_str()),
        bytes_in: exchange.bytes_in,
        bytes_out: exchange.bytes_out,
        duration,
        decision: exchange.decision,
        upstream_duration: exchange.forward.took,
        correlation_id: exchange
            .trace
            .as_ref()
            .and_then(|trace| trace.correlation_id.to_str().ok())
            .unwrap_or_default(),
        redactor: &regime.redactor,
    }
}
