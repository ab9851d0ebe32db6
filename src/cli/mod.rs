//! The commands: what was typed, what is printed, and with which code the process ends.
//!
//! Exit code 0: done. 1: it failed, and one line on standard error says what and what to do. 2: it was typed
//! wrongly. Nothing is decided here; commands call the floors below and put their answers into words.

mod acknowledged;
mod audit;
mod check;
mod client;
mod columns;
mod control;
mod decide;
mod document;
mod explain;
mod failure;
mod gateways;
mod keys;
mod quickstart;
mod run;
mod schema;
mod serve;
mod span;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::app::secrecy;
use crate::config;
pub use document::markdown;
use failure::Failure;

/// An edge reverse proxy that validates API keys
///
/// Keyward stands in front of services, looks the API key of each request up, judges it against the
/// route, and forwards the request without the key, or refuses it and says why.
#[derive(Debug, Parser)]
#[command(name = "keyward", version, arg_required_else_help = true)]
#[command(after_help = "\
Try it:   keyward quickstart
Exit codes: 0 done; 1 it failed, one line on standard error says what and what to do; 2 usage

KEYWARD_CORE_DUMPS   `allow`: a crash may leave a core, with the secrets that were in memory; without it none is written")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Quickstart(quickstart::QuickstartArgs),
    Run(run::RunArgs),
    Control(control::ControlArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Decide(decide::DecideArgs),
    Keys(Box<keys::KeysArgs>),
    Gateways(gateways::GatewaysArgs),
    Audit(audit::AuditArgs),
    Schema(schema::SchemaArgs),
    Completions(CompletionsArgs),
}

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
  keyward completions bash > /etc/bash_completion.d/keyward
  keyward completions zsh  > ~/.zfunc/_keyward
  keyward completions fish > ~/.config/fish/completions/keyward.fish")]
struct CompletionsArgs {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Runs what the process was called with, and says with which code it ends.
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(Cli { command }) => command,
        Err(unusual) => return told_by_clap(&unusual),
    };
    match keep_secrets().and_then(|()| run(command, &mut io::stdout())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}

/// Keeps the memory of this process to itself, unless whoever looks for a fault says otherwise.
fn keep_secrets() -> Result<(), Failure> {
    const VARIABLE: &str = "KEYWARD_CORE_DUMPS";
    match config::environment(VARIABLE).as_deref() {
        Some("allow") => Ok(()),
        None | Some("") => secrecy::keep_memory_private().map_err(|error| {
            Failure::told(format!(
                "core dumps, in which keys would be, cannot be switched off ({error}): set {VARIABLE}=allow to go on with them"
            ))
        }),
        Some(_) => Err(Failure::told(format!("{VARIABLE}: only `allow` means something"))),
    }
}

/// Prints help, the version or what was typed wrongly.
fn told_by_clap(unusual: &clap::Error) -> ExitCode {
    let printed = unusual.print().and_then(|()| io::stdout().flush());
    match printed.map_err(Failure::from) {
        Err(failure) if !unusual.use_stderr() && !failure.is_closed_pipe() => {
            complain(&failure);
            ExitCode::from(failure.code())
        }
        Ok(()) | Err(_) => u8::try_from(unusual.exit_code()).map_or(ExitCode::FAILURE, Into::into),
    }
}

fn complain(failure: &Failure) {
    // Standard error is the last place to complain; when it is gone, the code has to do.
    let _ = writeln!(io::stderr(), "keyward: {}", failure.line());
}

fn run(command: Command, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        // Its standard output belongs to the access log, whose writer may hang in it for ever.
        Command::Run(args) => return run::run(args),
        Command::Control(args) => return control::run(args),
        Command::Quickstart(args) => quickstart::run(&args, out)?,
        Command::Check(args) => check::run(&args, out)?,
        Command::Explain(args) => explain::run(&args, out)?,
        Command::Decide(_) => decide::run(&mut io::stdin().lock(), out)?,
        Command::Keys(args) => keys::run(*args, out)?,
        Command::Gateways(args) => gateways::run(&args, out)?,
        Command::Audit(args) => audit::run(args, out)?,
        Command::Schema(_) => schema::run(out)?,
        Command::Completions(args) => completions(&args, out)?,
    }
    Ok(out.flush()?)
}

fn completions(args: &CompletionsArgs, out: &mut dyn Write) -> Result<(), Failure> {
    // The generator takes any output that fails for a bug.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "keyward", &mut script);
    Ok(out.write_all(&script)?)
}
