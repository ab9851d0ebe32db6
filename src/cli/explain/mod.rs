//! `keyward explain`: one request judged by the code that serves, from the configuration and the keys on disk.
//!
//! Decides nothing itself. The steps are the gateway's, called in its order on its types.

mod asked;
mod report;

use std::io::{self, IsTerminal as _, Read as _, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::failure::Failure;
use crate::app::clock;
use crate::authz::{
    Admission, Decision, Denial, Family, KeyId, KeyLookup, KeyRecord, Pending, Pepper, Reason,
    RequestFacts, Rulebook,
};
use crate::config::{self, Flags, Resolved};
use crate::control::ReadOnly;
use crate::proxy::Rules;
use crate::replica::prisme::Prisme;
use crate::replica::remote::{self, disk};
use crate::replica::{Replica, Snapshot};
use crate::telemetry::redact::Redactor;
use asked::Asked;
use report::{Report, Step, key_in_words};

/// Longest key that is read from standard input.
const KEY_BYTES_MAX: u64 = 4_096;

/// Show the decision on one request, step by step
#[derive(Debug, Args)]
#[command(after_help = "\
  keyward explain --config keyward.yaml --key-id key_1 GET /v1/agents/a1
  pass show ci-key | keyward explain --config keyward.yaml --key - GET http://api.example.com/v1/agents/a1

The keys are read from the database of the configuration, also while a process serves from it, or from what a process
that follows a platform or a control plane has kept: nobody is asked.
A key on the command line can be seen by other users of the machine: prefer --key - or --key-id.")]
pub struct ExplainArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The key to show, or - to read it from standard input
    #[arg(long, value_name = "TOKEN", conflicts_with = "key_id")]
    key: Option<String>,
    /// Judge the key with this id as if it had been shown
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Ask as a peer in `trusted_identity_from` that names an identity
    #[arg(long)]
    trusted_identity: bool,
    /// The method
    method: String,
    /// The URL, or a path alone
    url: String,
    /// A header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
}

/// Runs `keyward explain`.
///
/// # Errors
/// Mistakes in the configuration, keys that cannot be read, or words that are no request. A refusal is an answer.
pub fn run(args: &ExplainArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let mut asked = Asked::new(&args.method, &args.url, &args.headers)?;
    asked.trusted_identity = args.trusted_identity;
    let token = args.key.as_deref().map(read_key).transpose()?;
    let resolved = config::load(&args.config, &config::environment, Flags::default())
        .map_err(|mistakes| Failure::told(mistakes.to_string()))?;
    let keys = Keys::load(&resolved)?;
    let rules = &resolved.proxy.rules;
    let rulebook = &rules.rulebook;
    let named = args.key_id.as_ref().map(|id| keys.by_id(id)).transpose()?;
    if let Some(token) = token.or_else(|| named.as_ref().map(stand_in)) {
        asked.show(&token, &rulebook.credentials().sources)?;
    }
    let mut report = explain(&asked, rulebook, &keys, named);
    report.steps.extend(rate_of(&report, rules));
    if args.json {
        let line = serde_json::to_string(&report).map_err(|error| Failure::chain(&error))?;
        writeln!(out, "{line}")?;
    } else {
        report.print(out, io::stdout().is_terminal())?;
    }
    Ok(())
}

/// The key that was given, or that is on standard input.
fn read_key(given: &str) -> Result<String, Failure> {
    let mut token = given.to_owned();
    if given == "-" {
        token.clear();
        let input = io::stdin().take(KEY_BYTES_MAX + 1);
        let read = { input }.read_to_string(&mut token);
        read.map_err(|error| {
            Failure::told(format!(
                "the key cannot be read from standard input: {error}"
            ))
        })?;
    }
    let token = token.trim();
    if token.is_empty() {
        return Err(Failure::usage(
            "the key is empty: give --key TOKEN, or --key - and the key on standard input",
        ));
    }
    if token.len() as u64 > KEY_BYTES_MAX {
        return Err(Failure::usage(format!(
            "the key is longer than {KEY_BYTES_MAX} bytes, which no key is"
        )));
    }
    Ok(token.to_owned())
}

/// For a key that is known by its id: a token that has the form of its family and is nobody's.
fn stand_in(record: &KeyRecord) -> String {
    let token = match record.family() {
        Family::Org => "iak_org_00000000-0000-4000-8000-000000000000",
        Family::Workspace => "00000000-0000-4000-8000-000000000000",
        Family::Access => "sk-orq-00000000000000000000000000-000000000000000000000000",
    };
    token.to_owned()
}

/// The keys on disk, as a gateway holds them.
struct Keys {
    replica: Arc<Replica>,
    snapshot: Arc<Snapshot>,
    /// Whether there are no others, because nobody need be asked.
    is_all: bool,
}

impl Keys {
    fn load(resolved: &Resolved) -> Result<Self, Failure> {
        let replica = Replica::new(resolved.replica.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::chain(&error))?;
        match (&resolved.control, &resolved.prisme, &resolved.remote) {
            (Some(source), ..) => {
                let database = runtime.block_on(ReadOnly::open(source));
                let database = database.map_err(|error| Failure::chain(&error))?;
                let loaded = runtime.block_on(database.load_into(Arc::clone(&replica) as _));
                loaded.map_err(|error| Failure::chain(&error))?;
            }
            (None, Some(platform), _) => {
                let (copy, clock) = (Arc::clone(&replica), clock::moments());
                let runtime = runtime.handle().clone();
                // What was kept is read; nothing is asked.
                Prisme::open(platform.clone(), &resolved.replica, copy, clock, runtime)
                    .map_err(|error| Failure::chain(&error))?;
            }
            (None, None, Some(remote)) => {
                kept(remote, resolved.replica.pepper.as_ref(), &replica)?;
            }
            (None, None, None) => {}
        }
        replica.deny(resolved.proxy.rules.denied.clone());
        let snapshot = replica.pin().ok_or_else(|| {
            Failure::told(
                "the configuration has no keys on this machine: `explain` needs `keys.embedded`, or what `keyward run` has kept: the file `keys.prisme.state`, or the directory `keys.remote.state`",
            )
        })?;
        Ok(Self {
            replica,
            snapshot,
            is_all: resolved.prisme.is_none(),
        })
    }

    fn by_id(&self, id: &str) -> Result<KeyRecord, Failure> {
        self.record(&KeyId::new(id)).ok_or_else(|| {
            let id = Redactor::default().text(id.as_bytes()).into_owned();
            Failure::told(format!(
                "there is no key with the id `{id}`: `keyward keys list` shows them"
            ))
        })
    }

    fn record(&self, id: &KeyId) -> Option<KeyRecord> {
        self.snapshot.record(id).map(|record| record.into_owned())
    }

    /// What the gateway finds; for a key that was named by its id, that key.
    fn look_up(&self, pending: &Pending<'_>, named: Option<&KeyRecord>) -> KeyLookup {
        let Some(named) = named else {
            return match self.replica.look_up(&self.snapshot, &pending.key) {
                KeyLookup::Unknown if !self.is_all => KeyLookup::Unavailable,
                lookup
                @ (KeyLookup::Found { .. } | KeyLookup::Unknown | KeyLookup::Unavailable) => lookup,
            };
        };
        match self.replica.by_id(&self.snapshot, &named.id) {
            Some(principal) => KeyLookup::Found {
                principal,
                retired_at: None,
            },
            None => KeyLookup::Unknown,
        }
    }
}

/// Takes what a process that follows control planes has kept; it may run meanwhile.
fn kept(
    remote: &remote::Config,
    pepper: Option<&Pepper>,
    replica: &Replica,
) -> Result<(), Failure> {
    let Some(directory) = &remote.state else {
        return Ok(());
    };
    let kept = disk::look(directory, &remote.access.tokens, pepper, replica);
    kept.map(drop).map_err(|error| Failure::chain(&error))
}

/// Takes the request through the steps, noting what each came to.
fn explain(asked: &Asked, rulebook: &Rulebook, keys: &Keys, named: Option<KeyRecord>) -> Report {
    let mut steps = Vec::new();
    let routes = rulebook.routes();
    let framed = asked.check_framing().map_err(|error| error.detail);
    let facts = framed.and_then(|()| {
        RequestFacts::new(
            &asked.method,
            asked.host.as_bytes(),
            asked.target.as_bytes(),
            &asked.headers,
        )
        .map(|facts| facts.with_trusted_identity(asked.trusted_identity))
        .map_err(|error| error.0)
    });
    let facts = match facts {
        Ok(facts) => facts,
        Err(detail) => {
            note(&mut steps, "request", format!("is not canonical: {detail}"));
            let denial = Denial {
                detail: Some(detail),
                ..Denial::new(Reason::MalformedRequest)
            };
            return Report::new(&Decision::Deny(denial), routes, None, steps);
        }
    };
    note(&mut steps, "request", request_in_words(&facts, rulebook));
    let pending = match rulebook.admit(&facts) {
        Admission::Decided(decision) => {
            note_route(&mut steps, rulebook, &decision);
            note(
                &mut steps,
                "key",
                "none was needed, or none could be judged".to_owned(),
            );
            return Report::new(&decision, routes, None, steps);
        }
        Admission::NeedsKey(pending) => pending,
    };
    let route = routes
        .spec(pending.route)
        .map_or("-", |spec| spec.name.as_str());
    note(&mut steps, "route", route.to_owned());
    note(
        &mut steps,
        "credential",
        format!("one key, of the form of family {}", pending.key.family()),
    );
    let lookup = keys.look_up(&pending, named.as_ref());
    let record = match &lookup {
        KeyLookup::Found { principal, .. } => keys.record(&principal.id),
        KeyLookup::Unknown | KeyLookup::Unavailable => None,
    };
    note(&mut steps, "key", found_in_words(record.as_ref(), &lookup));
    if let Some(record) = &record {
        let shown = named.is_none().then_some(&pending.key);
        if let Some(at) = keys.replica.denied_at(&keys.snapshot, &record.id, shown) {
            note(
                &mut steps,
                "denied",
                format!("the list of refused keys names it: {at}"),
            );
        }
    }
    let decision = rulebook.conclude(&pending, lookup, &facts, clock::now());
    Report::new(&decision, routes, record.as_ref(), steps)
}

/// The rate that holds for what is permitted. Only gateways count, so what is left is not told.
fn rate_of(report: &Report, rules: &Rules) -> Option<Step> {
    let specs = rules.rulebook.routes().specs();
    let mut routes = specs.iter().zip(&rules.routes);
    let (_, settings) = routes.find(|(spec, _)| report.route.as_ref() == Some(&spec.name))?;
    let rate = settings.rate.filter(|_| report.decision == "allow")?;
    Some(Step {
        step: "rate",
        outcome: format!("{rate}, counted by each gateway for itself"),
    })
}

/// The request as it is judged, with secrets replaced as in the access log.
fn request_in_words(facts: &RequestFacts<'_>, rulebook: &Rulebook) -> String {
    let redactor = Redactor::of(&rulebook.credentials().sources);
    format!(
        "{} {} on {}",
        redactor.text(facts.method.as_str().as_bytes()),
        redactor.target(facts.path.canonical().as_bytes()),
        redactor.text(facts.host.as_str().as_bytes())
    )
}

fn found_in_words(record: Option<&KeyRecord>, lookup: &KeyLookup) -> String {
    match (record, lookup) {
        (Some(record), _) => key_in_words(record),
        (None, KeyLookup::Unavailable) => {
            "is not known here: the gateway asks the platform".to_owned()
        }
        (None, KeyLookup::Found { .. } | KeyLookup::Unknown) => "there is no such key".to_owned(),
    }
}

fn note_route(steps: &mut Vec<Step>, rulebook: &Rulebook, decision: &Decision) {
    let route = match decision {
        Decision::Allow(permit) => Some(permit.route()),
        Decision::Deny(denial) => denial.route,
    };
    let name = route
        .and_then(|route| rulebook.routes().spec(route))
        .map(|spec| spec.name.clone());
    note(
        steps,
        "route",
        name.unwrap_or_else(|| "none takes it".to_owned()),
    );
}

fn note(steps: &mut Vec<Step>, step: &'static str, outcome: String) {
    steps.push(Step { step, outcome });
}
