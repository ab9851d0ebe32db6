//! The commands: what was typed, what is printed, and with which code the process ends.
//!
//! Exit code 0: done. 1: it failed, and one line on standard error says what and what to do. 2: it was typed
//! wrongly. Nothing is decided here; commands call the floors below and put their answers into words.

mod check;
mod decide;
mod document;
mod explain;
mod failure;
mod keys;
mod quickstart;
mod run;
mod schema;
mod serve;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

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
Exit codes: 0 done; 1 it failed, one line on standard error says what and what to do; 2 usage")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Quickstart(quickstart::QuickstartArgs),
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Decide(decide::DecideArgs),
    Keys(Box<keys::KeysArgs>),
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
    let command = Cli::parse().command;
    // Not locked: the access log of `run` is written there by another thread.
    let mut out = io::stdout();
    let done = run(command, &mut out).and_then(|()| out.flush().map_err(Failure::from));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            // Standard error is the last place to complain; when it is gone, the code has to do.
            let _ = writeln!(io::stderr(), "keyward: {}", failure.line());
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        Command::Quickstart(args) => quickstart::run(&args, out),
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(&args, out),
        Command::Explain(args) => explain::run(&args, out),
        Command::Decide(_) => decide::run(&mut io::stdin().lock(), out),
        Command::Keys(args) => keys::run(*args, out),
        Command::Schema(_) => schema::run(out),
        Command::Completions(args) => {
            clap_complete::generate(args.shell, &mut Cli::command(), "keyward", &mut &mut *out);
            Ok(())
        }
    }
}
