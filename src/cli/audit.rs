//! `keyward audit`: who did what to which key, from the control plane's log.

use std::io::Write;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::client::{Call, Client, Place};
use super::columns::{aligned, text};
use super::failure::Failure;

/// Show who did what to which key, the newest first
#[derive(Debug, Args)]
#[command(after_help = "\
  keyward audit --org acme --since 2026-11-01T00:00:00Z
  keyward audit --key-id 0b6f… --json      with what was before and after

The admin token is taken from KEYWARD_ADMIN_TOKEN, else from the file that the control plane made.")]
pub struct AuditArgs {
    /// Which control plane.
    #[command(flatten)]
    place: Place,
    /// Only keys of this organisation
    #[arg(long, value_name = "SLUG", conflicts_with = "workspace")]
    org: Option<String>,
    /// Only keys of this workspace
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    /// Only the key with this id
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// From this moment on, e.g. 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Up to this moment
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// So many at most (1–1000) [default: 100]
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Only those before this number: the last one of the page before
    #[arg(long, value_name = "SEQ")]
    before: Option<i64>,
}

/// Titles of columns and the fields in them.
const COLUMNS: [(&str, &str); 8] = [
    ("SEQ", "seq"),
    ("AT", "at"),
    ("REVISION", "revision"),
    ("ACTOR", "actor"),
    ("ACTION", "action"),
    ("FAMILY", "family"),
    ("TENANT", "tenant"),
    ("KEY", "keyId"),
];

/// Runs `keyward audit`.
///
/// # Errors
/// There is no token, the control plane cannot be reached, or it refuses.
pub fn run(args: AuditArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let client = Client::new(&args.place)?;
    let as_json = args.place.json;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::chain(&error))?;
    let query = [
        ("limit", args.limit.map(|limit| limit.to_string())),
        ("before", args.before.map(|seq| seq.to_string())),
        ("keyId", args.key_id),
        ("org", args.org),
        ("workspace", args.workspace),
        ("since", args.since),
        ("until", args.until),
    ];
    let call = Call {
        method: Method::GET,
        path: &["v1", "audit"],
        query: query
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        body: None,
    };
    let page = runtime.block_on(client.call(call))?;
    if as_json {
        return Ok(writeln!(out, "{page}")?);
    }
    let entries = page.get("entries").and_then(Value::as_array);
    let titles = COLUMNS.map(|(title, _)| title.to_owned()).to_vec();
    let mut rows = vec![titles];
    rows.extend(entries.into_iter().flatten().map(|entry| {
        let cells = COLUMNS.map(|(_, field)| text(entry.get(field)));
        cells.to_vec()
    }));
    aligned(out, &rows)?;
    if let Some(next) = page.get("next").and_then(Value::as_i64) {
        writeln!(out, "\nmore with --before {next}")?;
    }
    Ok(())
}
