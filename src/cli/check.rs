//! `keyward check`: names every mistake of a configuration, or what it comes to.
//!
//! Starts nothing and opens nothing but the file.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::failure::Failure;
use crate::config::{self, Flags, Mistake, Resolved, RouteSummary};

/// Check a configuration: every mistake with file, line and key
///
/// Warns of routes that are more open than they look: passed without a judged key, not limited by scopes, or taken for
/// another by an upstream that reads paths differently. Starts nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
  keyward check --config keyward.yaml
  keyward check --config keyward.yaml --strict --json")]
pub struct CheckArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// As for `run`: let the control plane listen beyond loopback without TLS
    #[arg(long)]
    insecure: bool,
}

/// What is printed with `--json`.
#[derive(Debug, Default, Serialize)]
struct Report<'a> {
    /// Whether it loads, and with `--strict` has no warnings either.
    ok: bool,
    mistakes: &'a [Mistake],
    warnings: &'a [Mistake],
    routes: &'a [RouteSummary],
}

/// Checks the configuration.
///
/// # Errors
/// It has mistakes, or with `--strict` warnings; or the output cannot be written.
pub fn run(args: &CheckArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let flags = Flags {
        insecure: args.insecure,
    };
    let file = args.config.display();
    match config::load(&args.config, &config::environment, flags) {
        Err(mistakes) => {
            if args.json {
                let mistakes = mistakes.list();
                print_json(
                    out,
                    &Report {
                        mistakes,
                        ..Report::default()
                    },
                )?;
            }
            Err(Failure::told(mistakes.to_string()))
        }
        Ok(resolved) => {
            let warnings = resolved.warnings.len();
            let refused = args.strict && warnings > 0;
            if args.json {
                print_json(out, &report(&resolved, !refused))?;
            } else {
                print_summary(out, &resolved)?;
            }
            if refused {
                let message =
                    format!("{file}: {warnings} warnings, which --strict does not let pass");
                return Err(Failure::told(message));
            }
            Ok(())
        }
    }
}

fn report(resolved: &Resolved, ok: bool) -> Report<'_> {
    Report {
        ok,
        mistakes: &[],
        warnings: &resolved.warnings,
        routes: &resolved.routes,
    }
}

fn print_json(out: &mut dyn Write, report: &Report<'_>) -> Result<(), Failure> {
    let json = serde_json::to_string(report).map_err(io::Error::from)?;
    Ok(writeln!(out, "{json}")?)
}

fn print_summary(out: &mut dyn Write, resolved: &Resolved) -> Result<(), Failure> {
    for warning in &resolved.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let counted = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    };
    writeln!(
        out,
        "loads: {}, {}, {}; {}",
        counted(resolved.proxy.listeners.len(), "listener"),
        counted(resolved.routes.len(), "route"),
        counted(resolved.proxy.rules.upstreams.len(), "upstream"),
        counted(resolved.warnings.len(), "warning"),
    )?;
    Ok(())
}
