//! Resolution: from what was typed to what each component is started with, field held against field.
//!
//! Is silent about what is absent: the structural check has reported that. Everything else that is wrong is reported
//! here, all of it, at its place.

mod credentials;
mod listen;
mod prisme;
mod remote;
mod requirement;
mod route;
mod source;
mod table;
mod upstream;

use super::Flags;
use super::advise;
use super::mistake::Mistake;
use super::node::Spot;
use super::raw::{AccessLog, Errors, File, Limits};
use super::restart::Fixed;
use crate::authz::{Pepper, Rulebook};
use crate::proxy::{self, ErrorStyle, RouteLimits, Rules};
use crate::{control, replica};

pub use route::RouteSummary;
use source::Followed;
pub(super) use table::Table;

/// What a configuration comes to.
#[derive(Debug)]
pub struct Resolved {
    /// What the data plane is started with.
    pub proxy: proxy::Config,
    /// What the control plane in this process is started with. Its admin tokens are not in the file: whoever starts
    /// it adds them.
    pub control: Option<control::Config>,
    /// The platform that is followed in place of a control plane in this process.
    pub prisme: Option<replica::prisme::Config>,
    /// The control planes elsewhere that are followed in place of one in this process.
    pub remote: Option<replica::remote::Config>,
    /// What the gateway's copy of the keys is started with.
    pub replica: replica::Config,
    /// The settings that a reload cannot change.
    pub fixed: Fixed,
    /// The routes, for people.
    pub routes: Vec<RouteSummary>,
    /// What is not wrong, but should be looked at; in the order of their places.
    pub warnings: Vec<Mistake>,
}

/// Resolves `file`, whose places are below `root`; `None` only where something was pushed to `faults`.
pub(super) fn resolve(
    file: &File,
    root: &Spot<'_>,
    flags: Flags,
    faults: &mut Vec<Mistake>,
) -> Option<Resolved> {
    let listeners = listen::listeners(file, root, faults);
    listen::need_trusted_peers(file, root, faults);
    let control = listen::control(file, root, flags, faults);
    let Followed { prisme, remote } = source::source(file, root, faults);
    let (credentials, pepper) = credentials::credentials(&file.credentials, root, faults);
    let denied = credentials::denied(&file.credentials, root, pepper.as_ref(), faults);
    let identity = credentials::identity(&file.identity, &root.key("identity"), faults);
    let limits = limits(&file.limits, &root.key("limits"), faults);
    let upstreams = upstream::upstreams(file, &root.key("upstreams"), faults);
    let table = table::table(file, root, &upstreams, &limits.route, faults);
    let table = table.filter(|_| faults.is_empty())?;

    let warnings = advise::advise(file, root, &table);
    let proxy = proxy::Config {
        listeners,
        ops: Some(file.ops.listen.0),
        threads: file.server.threads,
        graceful_shutdown: file.server.graceful_shutdown.0,
        rules: Rules {
            rulebook: Rulebook::new(table.routes, table.policies, credentials),
            routes: table.settings,
            upstreams,
            identity,
            errors: errors(file.errors),
            limits,
            denied,
            access_log: file.access_log == AccessLog::Json,
            log_refusals_per_second: file.log_refusals_per_second,
        },
    };
    let control = control.map(|mut control| {
        control.pepper.clone_from(&pepper);
        control
    });
    let replica = replica(file, pepper);
    Some(Resolved {
        fixed: Fixed::of(&proxy, control.as_ref(), (&prisme, &remote), &replica),
        proxy,
        control,
        prisme,
        remote,
        replica,
        routes: route::summaries(file),
        warnings,
    })
}

fn limits(raw: &Limits, at: &Spot<'_>, faults: &mut Vec<Mistake>) -> proxy::Limits {
    if raw.uri_bytes.0 > raw.header_bytes.0 {
        let message = "must not be more than `header_bytes`, of which the request line is a part";
        faults.push(at.key("uri_bytes").mistake(message));
    }
    // Both fit: the schema bounds them far below.
    let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    proxy::Limits {
        header_bytes: bytes(raw.header_bytes.0),
        headers: raw.headers,
        uri_bytes: bytes(raw.uri_bytes.0),
        header_timeout: raw.header_timeout.0,
        keep_alive: raw.keep_alive.0,
        connections: raw.connections,
        connections_per_client: Some(raw.connections_per_client).filter(|most| *most > 0),
        streams: raw.streams,
        route: RouteLimits {
            body_bytes: raw.body_bytes.0,
            body_timeout: raw.body_timeout.0,
            request_timeout: raw.request_timeout.0,
            stream_idle: raw.stream_idle.0,
            total_timeout: route::total(&raw.total_timeout),
            min_rate: route::min_rate(raw.min_rate.0, raw.min_rate_over.0),
        },
    }
}

fn errors(raw: Errors) -> ErrorStyle {
    match raw {
        Errors::Prisme => ErrorStyle::Prisme,
        Errors::Minimal => ErrorStyle::Minimal,
        Errors::Problem => ErrorStyle::Problem,
    }
}

fn replica(file: &File, pepper: Option<Pepper>) -> replica::Config {
    replica::Config {
        pepper,
        principals: file.cache.principals,
        negative: file.cache.negative,
        negative_ttl: file.cache.negative_ttl.0,
    }
}
