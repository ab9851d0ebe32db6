//! `keyward keys`: the control API from a terminal.
//!
//! Knows which requests each action is, a file a family. What a field may hold is the control plane's to say.

mod access;
mod args;
mod org;
mod show;
mod transfer;
mod workspace;

use std::io::{self, Write};

use serde_json::Value;

use crate::app::clock;
use crate::cli::acknowledged;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::wire::time::format_rfc3339;

pub use args::KeysArgs;
use args::{Action, Asked, Expiry, Whose};
use show::Form;

/// What an answer is, which says how people are shown it.
enum Answer {
    Key(&'static Form, Value),
    Secret(&'static Form, Value),
    List(&'static Form, Value),
    Gone(Value),
}

/// Runs `keyward keys`.
///
/// # Errors
/// There is no token, the control plane cannot be reached, or it refuses.
pub fn run(args: KeysArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let client = Client::new(&args.place)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::chain(&error))?;
    match args.asked {
        Asked::Action(action) => {
            let wait = action.wait();
            let client = client.waiting(wait);
            let answer = runtime.block_on(act(&client, *action))?;
            let as_json = args.place.json;
            print(out, answer, as_json)?;
            match wait {
                None => Ok(()),
                // Standard output is one line of JSON; the exit code says it too.
                Some(_) if as_json => runtime.block_on(tell(&client, &mut io::sink())),
                Some(_) => runtime.block_on(tell(&client, out)),
            }
        }
        Asked::Import(import) => {
            runtime.block_on(transfer::import(&client, &import, args.place.json, out))
        }
        Asked::Export => runtime.block_on(transfer::export(&client, out)),
    }
}

async fn tell(client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
    acknowledged::tell(client, client.acknowledged(), out).await
}

async fn act(client: &Client, action: Action) -> Result<Answer, Failure> {
    let Whose { org, workspace, .. } = action.whose();
    match (org.clone(), workspace.clone()) {
        (Some(org), _) => org::act(client, &org, action).await,
        (None, Some(workspace)) => workspace::act(client, &workspace, action).await,
        (None, None) => access::act(client, action).await,
    }
}

fn nothing_to_update() -> Failure {
    Failure::usage("nothing to update: give what is to be different (see --help)")
}

/// When a key is to expire.
fn moment(expiry: Expiry) -> Option<String> {
    let from_now = expiry
        .expires_in
        .map(|seconds| format_rfc3339(clock::now().plus_seconds(seconds)));
    expiry.expires_at.or(from_now)
}

fn print(out: &mut dyn Write, answer: Answer, as_json: bool) -> Result<(), Failure> {
    match (&answer, as_json) {
        (
            Answer::Key(_, body)
            | Answer::Secret(_, body)
            | Answer::List(_, body)
            | Answer::Gone(body),
            true,
        ) => {
            writeln!(out, "{body}")?;
        }
        (Answer::Key(form, body), false) => show::key(out, form, body)?,
        (Answer::Secret(form, body), false) => show::secret(out, form, body)?,
        (Answer::List(form, body), false) => show::table(out, form, body)?,
        (Answer::Gone(_), false) => writeln!(out, "deleted")?,
    }
    Ok(())
}
