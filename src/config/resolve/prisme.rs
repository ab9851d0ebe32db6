//! A platform: what it is followed with.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use super::super::mistake::Mistake;
use super::super::node::Spot;
use super::super::raw::{OnStale, Prisme};
use crate::replica::prisme::{self, Access};
use crate::wire::sync;

/// For a whole list request: the platform may have to think, and the list may be long.
const LIST_TIME: Duration = Duration::from_secs(10);
/// For a whole validation, for which a request waits.
const VALIDATE_TIME: Duration = Duration::from_secs(3);
/// How long a request with a key that is known waits for its being validated again: longer is an outage.
const KNOWN_PATIENCE: Duration = Duration::from_secs(1);
/// How long a request with an unknown key waits: for one validation, and for a place.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(4);

/// The platform that is followed.
pub(super) fn followed(
    raw: &Prisme,
    at: &Spot<'_>,
    faults: &mut Vec<Mistake>,
) -> Option<prisme::Config> {
    // What was wrong in the lists is reported already, and is not in them any more.
    let reported = faults.iter().any(|fault| fault.key.starts_with(at.path()));
    if raw.orgs.is_empty() && raw.workspaces.is_empty() && !reported {
        faults.push(at.mistake("follows nothing: name `orgs` or `workspaces`"));
    }
    let orgs: Vec<String> = raw.orgs.iter().map(|org| org.0.clone()).collect();
    let workspaces: Vec<String> = raw.workspaces.iter().map(|id| id.0.clone()).collect();
    name_once(&orgs, &at.key("orgs"), faults);
    name_once(&workspaces, &at.key("workspaces"), faults);
    let token = raw.token.clone()?;
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = "is empty, or holds bytes that no header can carry";
        faults.push(at.key("token").mistake(message));
    }
    if raw.state.as_deref() == Some("") {
        faults.push(at.key("state").mistake("is no path of a file"));
    }
    Some(prisme::Config {
        access: Access {
            url: raw.url.as_ref()?.0.clone(),
            token,
            list_time: LIST_TIME,
            validate_time: VALIDATE_TIME,
        },
        orgs,
        workspaces,
        poll: raw.poll.0,
        validate_cache: raw.validate_cache.0,
        state: raw.state.as_ref().map(PathBuf::from),
        max_staleness: raw.max_staleness.0,
        on_stale: on_stale(raw.on_stale),
        known_patience: KNOWN_PATIENCE,
        unknown_patience: UNKNOWN_PATIENCE,
    })
}

pub(super) fn on_stale(raw: OnStale) -> sync::OnStale {
    match raw {
        OnStale::Serve => sync::OnStale::Serve,
        OnStale::Deny => sync::OnStale::Deny,
    }
}

fn name_once(names: &[String], at: &Spot<'_>, faults: &mut Vec<Mistake>) {
    let mut seen = HashSet::new();
    for (index, name) in names.iter().enumerate() {
        if !seen.insert(name) {
            faults.push(at.index(index).mistake("is in the list twice"));
        }
    }
}
