//! `keyward check`: names every mistake of a configuration, or what it comes to; with an OpenAPI document, which route
//! takes each of its operations.
//!
//! Starts nothing and opens nothing but the files.

mod coverage;
mod openapi;
mod table;

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use self::coverage::Coverage;
use self::openapi::Api;
use super::failure::Failure;
use crate::config::{self, Flags, Mistake, Resolved, RouteSummary};

/// Check a configuration: every mistake with file, line and key
///
/// Warns of routes that are more open than they look: passed without a judged key, not limited by scopes, or taken for
/// another by an upstream that reads paths differently. Starts nothing.
///
/// With --openapi, asks the route table for each operation of an API: which route takes it and what that requires, and
/// which routes no operation needs. Fails when an operation has no route.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
  keyward check --config keyward.yaml
  keyward check --config keyward.yaml --strict --json
  keyward check --config keyward.yaml --openapi api.yaml")]
pub struct CheckArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// An OpenAPI 3 document, JSON or YAML, whose operations must all have a route
    #[arg(long, value_name = "SPEC")]
    openapi: Option<PathBuf>,
    /// The host that requests for these operations name; else that of a server of SPEC, where a route names it
    #[arg(long, value_name = "HOST", requires = "openapi")]
    host: Option<String>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    openapi: Option<&'a Coverage<'a>>,
}

/// Checks the configuration.
///
/// # Errors
/// It has mistakes, or with `--strict` warnings; an operation has no route; a file cannot be read, or the output not
/// be written.
pub fn run(args: &CheckArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let flags = Flags {
        insecure: args.insecure,
    };
    match config::load(&args.config, &config::environment, flags) {
        Err(mistakes) => {
            let report = Report {
                mistakes: mistakes.list(),
                ..Report::default()
            };
            let printed = match args.json {
                true => print_json(out, &report),
                false => Ok(()),
            };
            judged(printed, Some(mistakes.to_string()))
        }
        Ok(resolved) => {
            let api = args.openapi.as_deref().map(openapi::read).transpose();
            let api = api.map_err(Failure::told)?;
            report(args, &resolved, api.as_ref(), out)
        }
    }
}

/// Prints what a configuration that loads comes to, and judges it.
fn report(
    args: &CheckArgs,
    resolved: &Resolved,
    api: Option<&Api>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let coverage = args.openapi.as_ref().zip(api).map(|(spec, api)| {
        let table = resolved.proxy.rules.rulebook.routes();
        let spec = spec.display().to_string();
        coverage::cover(spec, api, args.host.as_deref(), table, &resolved.routes)
    });
    let refusal = refusal(args, resolved, coverage.as_ref());
    let printed = match (args.json, &coverage) {
        (true, _) => {
            let report = Report {
                ok: refusal.is_none(),
                mistakes: &[],
                warnings: &resolved.warnings,
                routes: &resolved.routes,
                openapi: coverage.as_ref(),
            };
            print_json(out, &report)
        }
        // The question was about operations; the warnings are still counted.
        (false, Some(coverage)) => table::print(out, coverage)
            .map_err(Failure::from)
            .and_then(|()| print_summary(out, resolved)),
        (false, None) => print_warnings(out, resolved).and_then(|()| print_summary(out, resolved)),
    };
    judged(printed, refusal)
}

/// What a check comes to. Whoever reads no more of it (`keyward check … | head`) still gets the right code.
fn judged(printed: Result<(), Failure>, refusal: Option<String>) -> Result<(), Failure> {
    match (printed, refusal) {
        (Err(failure), refusal) if !(failure.is_closed_pipe() && refusal.is_some()) => Err(failure),
        (_, Some(refusal)) => Err(Failure::told(refusal)),
        (printed, None) => printed,
    }
}

/// Why a configuration that loads is not good enough.
fn refusal(
    args: &CheckArgs,
    resolved: &Resolved,
    coverage: Option<&Coverage<'_>>,
) -> Option<String> {
    let file = args.config.display();
    let uncovered = coverage.filter(|coverage| coverage.uncovered > 0);
    if let Some(Coverage {
        uncovered,
        spec,
        host,
        ..
    }) = uncovered
    {
        let specs = resolved.proxy.rules.rulebook.routes().specs();
        let hint = match specs.iter().any(|route| !route.hosts.is_empty()) {
            true => format!(" at the host {host}; --host names another"),
            false => String::new(),
        };
        return Some(format!(
            "{file}: {uncovered} operations of {spec} have no route{hint}"
        ));
    }
    let warnings = resolved.warnings.len();
    (args.strict && warnings > 0)
        .then(|| format!("{file}: {warnings} warnings, which --strict does not let pass"))
}

fn print_json(out: &mut dyn Write, report: &Report<'_>) -> Result<(), Failure> {
    let json = serde_json::to_string(report).map_err(io::Error::from)?;
    Ok(writeln!(out, "{json}")?)
}

fn print_warnings(out: &mut dyn Write, resolved: &Resolved) -> Result<(), Failure> {
    for warning in &resolved.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}

fn print_summary(out: &mut dyn Write, resolved: &Resolved) -> Result<(), Failure> {
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
