//! `keyward gateways`: who follows a control plane, how far each is, and the tokens by which they do.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Call, Client, Place};
use super::columns::{aligned, text};
use super::failure::Failure;

/// Show the gateways that follow a control plane, and manage the tokens by which they do
#[derive(Debug, Args)]
#[command(after_help = "\
  keyward gateways list
  keyward gateways forget 4f0c…          one that runs no more
  keyward gateways token create edge-eu
  keyward gateways token revoke edge-eu

The admin token is taken from KEYWARD_ADMIN_TOKEN, else from the file that the control plane made.")]
pub struct GatewaysArgs {
    /// Which control plane.
    #[command(flatten)]
    place: Place,
    /// What to do.
    #[command(subcommand)]
    asked: Asked,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Asked {
    /// List gateways: how far each is, when it was last heard from, until when it may act on what it has
    List,
    /// Forget a gateway that runs no more, so that nobody waits for it
    Forget {
        /// Its id, as `list` shows it
        id: String,
    },
    /// Manage the tokens by which gateways follow
    #[command(subcommand)]
    Token(Token),
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
enum Token {
    /// Make a token and print it, this once
    Create {
        /// Its name, by which it is listed and revoked
        name: String,
    },
    /// List tokens, by name
    List,
    /// End a token; gateways that follow by it are cut off at once
    Revoke {
        /// Its name
        name: String,
    },
}

/// Titles of columns and the fields in them.
type Columns = &'static [(&'static str, &'static str)];

const GATEWAYS: Columns = &[
    ("NAME", "name"),
    ("ID", "id"),
    ("STATE", "state"),
    ("REVISION", "revision"),
    ("LAG", "lag"),
    ("LAST CONTACT", "lastContact"),
    ("LEASE ENDS", "leaseEnds"),
    ("ON STALE", "onStale"),
];

const TOKENS: Columns = &[
    ("NAME", "name"),
    ("FROM", "source"),
    ("CREATED", "createdAt"),
];

/// Runs `keyward gateways`.
///
/// # Errors
/// There is no token, the control plane cannot be reached, or it refuses.
pub fn run(args: &GatewaysArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let client = Client::new(&args.place)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::chain(&error))?;
    let (method, path, body) = request(&args.asked);
    let call = Call {
        method,
        path: &path,
        query: Vec::new(),
        body,
    };
    let answer = runtime.block_on(client.call(call))?;
    if args.place.json {
        return Ok(writeln!(out, "{answer}")?);
    }
    match &args.asked {
        Asked::List => list(out, GATEWAYS, &answer)?,
        Asked::Forget { .. } => writeln!(out, "forgotten")?,
        Asked::Token(Token::List) => list(out, TOKENS, &answer)?,
        Asked::Token(Token::Create { .. }) => made(out, &answer)?,
        Asked::Token(Token::Revoke { .. }) => writeln!(out, "revoked")?,
    }
    Ok(())
}

fn request(asked: &Asked) -> (Method, Vec<&str>, Option<Value>) {
    match asked {
        Asked::List => (Method::GET, vec!["v1", "gateways"], None),
        Asked::Forget { id } => (Method::DELETE, vec!["v1", "gateways", id.as_str()], None),
        Asked::Token(Token::List) => (Method::GET, vec!["v1", "gateway-tokens"], None),
        Asked::Token(Token::Create { name }) => {
            let body = json!({ "name": name });
            (Method::POST, vec!["v1", "gateway-tokens"], Some(body))
        }
        Asked::Token(Token::Revoke { name }) => (
            Method::DELETE,
            vec!["v1", "gateway-tokens", name.as_str()],
            None,
        ),
    }
}

fn list(out: &mut dyn Write, columns: Columns, answer: &Value) -> io::Result<()> {
    let entries = answer.get("results").unwrap_or(answer).as_array();
    let entries = entries.map_or(&[][..], Vec::as_slice);
    let titles = columns.iter().map(|(title, _)| (*title).to_owned());
    let mut rows = vec![titles.collect::<Vec<_>>()];
    rows.extend(entries.iter().map(|entry| {
        let cells = columns.iter().map(|(_, field)| text(entry.get(field)));
        cells.collect()
    }));
    aligned(out, &rows)?;
    writeln!(out, "\n{}", entries.len())
}

fn made(out: &mut dyn Write, answer: &Value) -> io::Result<()> {
    writeln!(out, "{:<8} {}", "name", text(answer.get("name")))?;
    writeln!(out, "{:<8} {}", "token", text(answer.get("token")))?;
    writeln!(
        out,
        "\nThe token is shown this once. Give it to gateways as KEYWARD_GATEWAY_TOKEN."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_a_row_each() {
        let answer = json!({ "results": [
            { "id": "4f", "name": "edge-1", "state": "live", "revision": 7, "lag": 0, "lastContact": "2026-11-21T17:00:00Z",
              "leaseEnds": "2026-11-21T17:01:00Z", "onStale": "deny" },
        ]});
        let mut out = Vec::new();
        list(&mut out, GATEWAYS, &answer).unwrap();
        let expected = "\
NAME    ID  STATE  REVISION  LAG  LAST CONTACT          LEASE ENDS            ON STALE
edge-1  4f  live   7         0    2026-11-21T17:00:00Z  2026-11-21T17:01:00Z  deny

1
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_token_is_shown_with_what_it_is_for() {
        let mut out = Vec::new();
        made(&mut out, &json!({ "name": "edge", "token": "kgt_1" })).unwrap();
        let said = String::from_utf8(out).unwrap();
        assert!(
            said.starts_with("name     edge\ntoken    kgt_1\n"),
            "{said}"
        );
    }
}
