//! `keyward run`: the gateway, with the control plane that its configuration has.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::failure::Failure;
use super::serve;
use crate::app;
use crate::config::{self, Fixed, Flags, Resolved};
use crate::proxy::{ListenAddr, Rules};

/// Serve: the gateway, with the control plane where the configuration has one
#[derive(Debug, Args)]
#[command(after_help = "\
SIGHUP, or POST /reload on the ops listener with the header x-keyward-reload: 1, reads the file again; a file
with mistakes changes nothing. SIGTERM or SIGINT drains and exits 0; a second one exits at once.

KEYWARD_ADMIN_TOKEN   admin token of the control plane, at least 32 characters (two with a space between while you
                      change it); without it one is made at the first start, in the file `admin-token` beside the
                      database
KEYWARD_GATEWAY_TOKEN token of the gateways that follow this control plane, at least 32 characters (two with a space
                      between while you change it); more are made with `keyward gateways token create`
KEYWARD_LOG           events on standard error: info (default), warn, keyward=debug, …

The access log goes to standard output.")]
pub struct RunArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Let the control plane listen beyond loopback without TLS
    #[arg(long)]
    insecure: bool,
}

/// Runs `keyward run`.
///
/// # Errors
/// Mistakes in the configuration, or what is in the way of starting.
pub fn run(args: RunArgs) -> Result<(), Failure> {
    let flags = Flags {
        insecure: args.insecure,
    };
    let resolved = load(&args.config, flags)?;
    serve::events("info")?;
    for warning in &resolved.warnings {
        tracing::warn!("{warning}");
    }
    let fixed = resolved.fixed.clone();
    let file = args.config;
    let rules = Arc::new(move || reload(&file, flags, &fixed));
    let prepared = serve::prepare(resolved, "keyward run", Box::new(io::stdout()), rules)?;
    let running = app::start(prepared.plan).map_err(|error| Failure::chain(&error))?;
    tracing::info!(
        gateway = listed(running.gateway().addresses()),
        control = running.control_address().map(tracing::field::display),
        ops = running.gateway().ops_address().map(tracing::field::display),
        "ready"
    );
    running.until_ended();
    Ok(())
}

fn listed(addresses: &[ListenAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ListenAddr::to_string).collect();
    addresses.join(", ")
}

fn load(file: &Path, flags: Flags) -> Result<Resolved, Failure> {
    config::load(file, &config::environment, flags)
        .map_err(|mistakes| Failure::told(mistakes.to_string()))
}

/// The rules of the file as it is now; `Err` says why the old ones stay in force.
fn reload(file: &Path, flags: Flags, fixed: &Fixed) -> Result<Rules, String> {
    let resolved = load(file, flags).map_err(|failure| failure.line())?;
    let changed = fixed.changes(&resolved.fixed);
    if !changed.is_empty() {
        return Err(format!(
            "a restart is needed to change {}",
            changed.join(", ")
        ));
    }
    Ok(resolved.proxy.rules)
}
