//! Every integration test in one binary. One file a topic.
// Says to clippy that helpers here are test code too.
#![cfg(test)]

mod authz_corpus;
mod authz_properties;
mod bridge;
#[cfg(feature = "cli")]
mod casl;
#[cfg(feature = "cli")]
mod compose;
#[cfg(feature = "cli")]
mod config_check;
#[cfg(feature = "cli")]
mod config_coverage;
#[cfg(feature = "cli")]
mod config_files;
#[cfg(feature = "cli")]
mod config_mistakes;
#[cfg(feature = "control")]
mod control_abuse;
#[cfg(feature = "control")]
mod control_access;
#[cfg(feature = "control")]
mod control_callers;
#[cfg(feature = "control")]
mod control_care;
#[cfg(feature = "control")]
mod control_file;
#[cfg(feature = "control")]
mod control_gateway;
#[cfg(feature = "control")]
mod control_kill;
#[cfg(feature = "control")]
mod control_openapi;
#[cfg(feature = "control")]
mod control_org;
#[cfg(feature = "control")]
mod control_shared;
#[cfg(feature = "control")]
mod control_store;
#[cfg(feature = "control")]
mod control_support;
#[cfg(feature = "control")]
mod control_sync;
#[cfg(feature = "control")]
mod control_transfer;
#[cfg(feature = "control")]
mod control_workspace;
mod docs;
#[cfg(feature = "cli")]
mod e2e_changes;
#[cfg(feature = "cli")]
mod e2e_cli;
#[cfg(feature = "cli")]
mod e2e_control;
#[cfg(feature = "cli")]
mod e2e_control_tls;
#[cfg(feature = "cli")]
mod e2e_explain;
#[cfg(feature = "cli")]
mod e2e_gateways;
#[cfg(feature = "cli")]
mod e2e_kept;
#[cfg(feature = "cli")]
mod e2e_output;
#[cfg(feature = "cli")]
mod e2e_policies;
#[cfg(feature = "cli")]
mod e2e_prisme;
#[cfg(feature = "cli")]
mod e2e_process;
#[cfg(feature = "cli")]
mod e2e_quickstart;
#[cfg(feature = "cli")]
mod e2e_run;
#[cfg(feature = "cli")]
mod e2e_secrets;
#[cfg(feature = "cli")]
mod e2e_support;
#[cfg(feature = "cli")]
mod e2e_tour;
#[cfg(feature = "cli")]
mod fuzz;
#[cfg(feature = "cli")]
mod fuzz_targets;
mod generate;
#[cfg(feature = "cli")]
mod golden;
#[cfg(feature = "cli")]
mod matrix;
mod model;
#[cfg(feature = "control")]
mod on_postgres;
#[cfg(feature = "cli")]
mod prisme_faults;
#[cfg(feature = "cli")]
mod prisme_keys;
#[cfg(feature = "cli")]
mod prisme_restart;
#[cfg(feature = "cli")]
mod prisme_support;
#[cfg(feature = "proxy")]
mod proxy_connection;
#[cfg(feature = "proxy")]
mod proxy_denied;
#[cfg(feature = "proxy")]
mod proxy_every_limit;
#[cfg(feature = "proxy")]
mod proxy_forward;
#[cfg(feature = "proxy")]
mod proxy_http2;
#[cfg(feature = "proxy")]
mod proxy_http2_hostile;
#[cfg(feature = "proxy")]
mod proxy_identity;
#[cfg(feature = "proxy")]
mod proxy_limits;
#[cfg(feature = "proxy")]
mod proxy_live;
#[cfg(feature = "proxy")]
mod proxy_origin;
#[cfg(feature = "proxy")]
mod proxy_rate;
#[cfg(feature = "proxy")]
mod proxy_refusals;
#[cfg(feature = "proxy")]
mod proxy_upstreams;
#[cfg(feature = "control")]
mod python_clients;
#[cfg(feature = "cli")]
mod remote_faults;
#[cfg(feature = "cli")]
mod remote_support;
#[cfg(feature = "cli")]
mod remote_tls;
mod request_allocations;
#[cfg(feature = "proxy")]
mod support;
#[cfg(feature = "control")]
mod support_postgres;

// What the suites of the control plane begin with; `on_postgres` has others of the same names.
#[cfg(feature = "control")]
use control_support::{directory, plane};
