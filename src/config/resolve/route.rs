//! One route: its place in the table, its policy, its settings.

use std::time::Duration;

use serde::Serialize;

use super::super::advise::OpenWay;
use super::super::mistake::Mistake;
use super::super::node::Spot;
use super::super::raw::{self, Case, File, Forward, Require, Taking, TrailingSlash, UserTokens};
use super::super::scalar::{Size, Span};
use super::super::wording::unknown_name;
use super::requirement::requirement;
use crate::authz::{self, CaseMatch, ForwardKey, MatchOptions, Policy, RoutePattern, RouteSpec};
use crate::proxy::{
    Ceilings, MinRate, Rate, RateBy, RouteLimits, RouteSettings, Timeouts, UpstreamConfig,
};

/// Shortest time of a rate.
const RATE_PER_MIN: Duration = Duration::from_secs(1);

/// A route, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouteSummary {
    /// Its name.
    pub name: String,
    /// Its hosts; empty: any.
    pub hosts: Vec<String>,
    /// Its path as written.
    pub path: String,
    /// Its methods.
    pub methods: Vec<String>,
    /// What it requires, as written.
    pub require: Require,
    /// How often it may be asked, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<raw::Rate>,
    /// Where it goes.
    pub upstream: String,
    /// The ways past it without a judged key.
    pub passes_without_key: Vec<OpenWay>,
}

/// The routes of a file in which nothing is missing.
pub(super) fn summaries(file: &File) -> Vec<RouteSummary> {
    let routes = file.routes.iter().flatten();
    routes
        .filter_map(|route| {
            Some(RouteSummary {
                name: route.name.clone()?.0,
                hosts: route.hosts.iter().map(|host| host.0.clone()).collect(),
                path: route.path.clone()?,
                methods: route.methods.iter().map(ToString::to_string).collect(),
                require: route.require.clone()?,
                rate: route.rate.clone(),
                upstream: route.upstream.clone()?,
                passes_without_key: OpenWay::past(route),
            })
        })
        .collect()
}

/// What routes take from the rest of the file.
pub(super) struct Around<'a> {
    pub(super) file: &'a File,
    pub(super) upstreams: &'a [UpstreamConfig],
    pub(super) limits: &'a RouteLimits,
}

impl Around<'_> {
    /// What the table, the rulebook and the data plane keep of one route; `None` where it cannot be told because of
    /// something that is missing or was pushed to `faults`.
    pub(super) fn route(
        &self,
        raw: &raw::Route,
        at: &Spot<'_>,
        faults: &mut Vec<Mistake>,
    ) -> (Option<RouteSpec>, Option<Policy>, Option<RouteSettings>) {
        let settings = self.settings(raw, at, faults);
        refuse_repetition(&raw.hosts, &at.key("hosts"), faults);
        refuse_repetition(&raw.methods, &at.key("methods"), faults);
        let pattern = raw.path.as_deref().and_then(|path| {
            let pattern = RoutePattern::parse(path);
            pattern
                .map_err(|message| faults.push(at.key("path").mistake(message)))
                .ok()
        });
        let Some(pattern) = pattern else {
            return (None, None, settings);
        };
        let captures = pattern.captures();
        let policy = raw.require.as_ref().map(|require| {
            self.policy(
                raw,
                requirement(require, &captures, &at.key("require"), faults),
            )
        });
        (Some(self.spec(raw, pattern, at)), policy, settings)
    }

    fn spec(&self, raw: &raw::Route, pattern: RoutePattern, at: &Spot<'_>) -> RouteSpec {
        RouteSpec {
            // A route whose name is missing is still held against the others.
            name: raw
                .name
                .as_ref()
                .map_or_else(|| at.path().to_owned(), |name| name.0.clone()),
            hosts: raw.hosts.iter().map(|host| host.0.clone()).collect(),
            pattern,
            methods: raw.methods.iter().map(|method| method.0.clone()).collect(),
            options: self.options(raw),
        }
    }

    fn options(&self, raw: &raw::Route) -> MatchOptions {
        let whole = &self.file.matching;
        MatchOptions {
            case: match raw.matching.case.unwrap_or(whole.case) {
                Case::Sensitive => CaseMatch::Sensitive,
                Case::Insensitive => CaseMatch::Insensitive,
            },
            trailing_slash: match raw.matching.trailing_slash.unwrap_or(whole.trailing_slash) {
                TrailingSlash::Significant => authz::TrailingSlash::Significant,
                TrailingSlash::Ignored => authz::TrailingSlash::Ignored,
            },
        }
    }

    fn policy(&self, raw: &raw::Route, requirement: authz::Requirement) -> Policy {
        let forward = raw
            .credentials
            .forward
            .unwrap_or(self.file.credentials.forward);
        Policy {
            requirement,
            optional: raw.optional,
            user_tokens: match raw.user_tokens {
                UserTokens::Reject => authz::UserTokens::Reject,
                UserTokens::Forward => authz::UserTokens::Forward,
            },
            shadow: raw.shadow,
            forward: match forward {
                Forward::Strip => ForwardKey::Strip,
                Forward::Keep => ForwardKey::Keep,
            },
            encoded_slash: raw.encoded_slash == Taking::Allow,
            matrix: raw.matrix == Taking::Allow,
        }
    }

    /// What is said for the route of the lowest rate, and otherwise for all.
    fn min_rate(&self, raw: &raw::RouteLimits) -> Option<MinRate> {
        let whole = &self.file.limits;
        let bytes = raw.min_rate.as_ref().unwrap_or(&whole.min_rate);
        let over = raw.min_rate_over.as_ref().unwrap_or(&whole.min_rate_over);
        min_rate(bytes.0, over.0)
    }

    fn settings(
        &self,
        raw: &raw::Route,
        at: &Spot<'_>,
        faults: &mut Vec<Mistake>,
    ) -> Option<RouteSettings> {
        let name = raw.upstream.as_deref()?;
        let Some(upstream) = self.upstreams.iter().position(|u| u.name == name) else {
            let known = self.upstreams.iter().map(|upstream| upstream.name.as_str());
            let message = unknown_name("upstream", name, known);
            faults.push(at.key("upstream").mistake(message));
            return None;
        };
        let of_upstream = &self.file.upstreams.as_ref()?.get(name)?.timeouts;
        let (own, limits) = (&raw.timeouts, &raw.limits);
        let ceilings = self.ceilings(limits, &at.key("limits"), faults);
        Some(RouteSettings {
            upstream,
            limits: RouteLimits {
                body_bytes: limits
                    .body_bytes
                    .map_or(self.limits.body_bytes, |size| size.0),
                body_timeout: limits
                    .body_timeout
                    .as_ref()
                    .map_or(self.limits.body_timeout, |timeout| timeout.0),
                request_timeout: limits
                    .request_timeout
                    .as_ref()
                    .map_or(self.limits.request_timeout, |timeout| timeout.0),
                stream_idle: limits
                    .stream_idle
                    .as_ref()
                    .map_or(self.limits.stream_idle, |timeout| timeout.0),
                total_timeout: limits
                    .total_timeout
                    .as_ref()
                    .map_or(self.limits.total_timeout, total),
                min_rate: self.min_rate(limits),
            },
            ceilings,
            timeouts: Timeouts {
                connect: own.connect.as_ref().unwrap_or(&of_upstream.connect).0,
                first_byte: own.first_byte.as_ref().unwrap_or(&of_upstream.first_byte).0,
                idle: own.idle.as_ref().unwrap_or(&of_upstream.idle).0,
            },
            rate: raw
                .rate
                .as_ref()
                .and_then(|raw| rate(raw, &at.key("rate"), faults)),
        })
    }
}

/// No time at all stands for as much as may be.
pub(super) fn total(raw: &Span) -> Option<Duration> {
    Some(raw.0).filter(|total| !total.is_zero())
}

/// No bytes at all stand for no such limit.
pub(super) fn min_rate(bytes: u64, over: Duration) -> Option<MinRate> {
    (bytes > 0).then_some(MinRate { bytes, over })
}

/// `None` where something of it is missing, which the structural check has reported.
fn rate(raw: &raw::Rate, at: &Spot<'_>, faults: &mut Vec<Mistake>) -> Option<Rate> {
    let per = raw.per.as_ref()?.0;
    if per < RATE_PER_MIN {
        let message = "must be at least 1s: answers tell clients whole seconds";
        faults.push(at.key("per").mistake(message));
    }
    Some(Rate {
        requests: raw.requests?,
        per,
        by: match raw.by? {
            raw::RateBy::Key => RateBy::Key,
            raw::RateBy::Client => RateBy::Client,
            raw::RateBy::Route => RateBy::Route,
        },
    })
}

impl Around<'_> {
    /// What holds for every request holds before a route is chosen, so a route can only have less of it.
    fn ceilings(
        &self,
        raw: &raw::RouteLimits,
        at: &Spot<'_>,
        faults: &mut Vec<Mistake>,
    ) -> Ceilings {
        let whole = &self.file.limits;
        let mut lower = |key: &str, own: Option<usize>, most: usize| {
            if own.is_some_and(|own| own > most) {
                let message = format!(
                    "must not be more than {most}, which holds for every request: see `limits.{key}`"
                );
                faults.push(at.key(key).mistake(message));
            }
            own.filter(|own| *own < most)
        };
        // All of them fit: the schema bounds them far below.
        let bytes = |size: &Size| usize::try_from(size.0).unwrap_or(usize::MAX);
        Ceilings {
            headers: lower("headers", raw.headers, whole.headers),
            uri_bytes: lower(
                "uri_bytes",
                raw.uri_bytes.as_ref().map(bytes),
                bytes(&whole.uri_bytes),
            ),
            connections: lower("connections", raw.connections, whole.connections),
        }
    }
}

fn refuse_repetition<T: PartialEq>(list: &[T], at: &Spot<'_>, faults: &mut Vec<Mistake>) {
    for (index, item) in list.iter().enumerate() {
        if list.iter().take(index).any(|earlier| earlier == item) {
            faults.push(at.index(index).mistake("is in the list twice"));
        }
    }
}
