//! What is fuzzed: each target takes any bytes, and panics where something that was promised does not hold.
//!
//! `fuzz/` runs them with coverage for as long as one likes; `fuzz_targets` runs them here on the committed corpus
//! and what is made of it, for a bounded number of cases. They use what the library shows to everybody, and the model.

mod body;
mod config;
mod credential;
mod permission;
mod request;
mod rules;
mod snapshot;
mod stream;

/// One target.
pub type Target = fn(&[u8]);

/// All of them by their names, which are those of the programs in `fuzz/` and of their corpora.
pub const TARGETS: &[(&str, Target)] = &[
    ("body", body::body),
    ("config", config::config),
    ("credential", credential::credential),
    ("permission", permission::permission),
    ("request", request::request),
    ("rules", rules::rules),
    ("snapshot", snapshot::snapshot),
    ("stream", stream::stream),
];
