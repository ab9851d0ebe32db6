//! `keyward quickstart`: everything on this machine, with keys to try.

mod sample;
mod sample_keys;
mod tour;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde_json::json;

use super::failure::Failure;
use super::serve;
use crate::app::{self, Running, admin_token};
use crate::config::{self, Flags, Mistake, Mistakes, Resolved};
use crate::proxy::ListenAddr;
use sample::Sample;
use tour::{Places, SampleKeys};

/// The configuration that is run, as it is in the repository.
const CONFIGURATION: &str = include_str!("../../../config/quickstart.yaml");

/// Run everything on this machine and print lines to paste
#[derive(Debug, Args)]
#[command(after_help = "\
Starts a gateway, a control plane on SQLite, and a sample upstream that answers with what reached it.
Every start makes fresh sample keys and revokes the former ones. SIGTERM or Ctrl-C ends it.

KEYWARD_ADMIN_TOKEN   admin token of the control plane; without it one is made in DIR/admin-token
KEYWARD_LOG           events on standard error: warn (default), info, keyward=debug, …")]
pub struct QuickstartArgs {
    /// Where the database and the admin token are kept
    #[arg(long, value_name = "DIR", default_value = "keyward-data")]
    dir: PathBuf,
    /// Where the gateway listens; with port 0 all three ports are free ones
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the control plane listens [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR", value_parser = loopback)]
    control_listen: Option<SocketAddr>,
    /// Where metrics, health and reload are [default: 127.0.0.1:9900]
    #[arg(long, value_name = "ADDR")]
    ops_listen: Option<SocketAddr>,
    /// Print one line of JSON when ready
    #[arg(long)]
    json: bool,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "write IP:PORT".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("it is not a loopback address, and admin tokens would travel unencrypted".to_owned())
    }
}

/// What a data directory may have unencoded in a URL.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What is typed, by the key of the configuration that it becomes.
const TYPED: [(&str, &str); 5] = [
    ("listen[0].address", "--listen"),
    ("keys.embedded.listen", "--control-listen"),
    ("ops.listen", "--ops-listen"),
    ("keys.embedded.database", "--dir"),
    ("credentials.pepper", "KEYWARD_PEPPER"),
];

/// Mistakes in the words of who typed the command, who need not have the file.
fn as_typed(mistakes: &Mistakes) -> String {
    let lines = mistakes.list().iter().map(|Mistake { key, message, .. }| {
        let line = format!("{key}: {message}");
        let in_other_words = |line: String, (key, typed): &(&str, &str)| line.replace(key, typed);
        TYPED.iter().fold(line, in_other_words)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs `keyward quickstart`.
///
/// # Errors
/// What is in the way of starting.
pub fn run(args: &QuickstartArgs, out: &mut dyn Write) -> Result<(), Failure> {
    serve::events("warn")?;
    let sample = Sample::bind().map_err(|error| {
        Failure::told(format!(
            "there is no free port for the sample upstream: {error}"
        ))
    })?;
    let resolved = configuration(args, sample.address())?;
    let rules = Arc::new(|| Err("the quickstart has no file to read again".to_owned()));
    let prepared = serve::prepare(
        resolved,
        "keyward quickstart",
        Box::new(io::stderr()),
        rules,
    )?;
    let running = app::start(prepared.plan).map_err(|error| Failure::chain(&error))?;
    running.runtime().spawn(sample.serve());
    let (Some(keys), Some(admin)) = (running.keys(), prepared.admin) else {
        return Err(Failure::told("config/quickstart.yaml has no control plane"));
    };
    let keys = running.runtime().block_on(sample_keys::refresh(keys))?;
    let places = places(&running)?;
    if args.json {
        writeln!(out, "{}", line(&places, &keys, admin.reveal()))?;
    } else {
        tour::print(out, &places, &keys, &whereabouts(&args.dir))?;
    }
    out.flush()?;
    running.until_ended();
    Ok(())
}

/// The repository's configuration with this command's addresses.
fn configuration(args: &QuickstartArgs, sample: SocketAddr) -> Result<Resolved, Failure> {
    let free = args.listen.port() == 0;
    let beside = |given: Option<SocketAddr>, port| {
        given
            .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, if free { 0 } else { port })))
    };
    let data = percent_encode(args.dir.as_os_str().as_bytes(), PATH).to_string();
    let variables = |name: &str| match name {
        "KEYWARD_LISTEN" => Some(args.listen.to_string()),
        "KEYWARD_CONTROL_LISTEN" => Some(beside(args.control_listen, 8081).to_string()),
        "KEYWARD_OPS_LISTEN" => Some(beside(args.ops_listen, 9900).to_string()),
        "KEYWARD_DATA" => Some(data.clone()),
        "KEYWARD_SAMPLE_UPSTREAM" => Some(sample.to_string()),
        other => config::environment(other),
    };
    config::load_text(
        "config/quickstart.yaml",
        CONFIGURATION,
        &variables,
        Flags::default(),
    )
    .map_err(|mistakes| Failure::told(as_typed(&mistakes)))
}

fn places(running: &Running) -> Result<Places, Failure> {
    let gateway = running
        .gateway()
        .addresses()
        .iter()
        .find_map(|address| match address {
            ListenAddr::Tcp(address) => Some(*address),
            ListenAddr::Unix(_) => None,
        });
    let (ops, control) = (running.gateway().ops_address(), running.control_address());
    let (Some(gateway), Some(ops), Some(control)) = (gateway, ops, control) else {
        return Err(Failure::told(
            "config/quickstart.yaml has no listener for the gateway, for operators or of the control plane",
        ));
    };
    Ok(Places {
        gateway: format!("http://{gateway}"),
        control: format!("http://{control}"),
        ops: format!("http://{ops}"),
    })
}

fn line(places: &Places, keys: &SampleKeys, admin_token: &str) -> serde_json::Value {
    json!({
        "gateway": places.gateway,
        "control": places.control,
        "ops": places.ops,
        "admin_token": admin_token,
        "keys": { "org": keys.org, "workspace": keys.workspace, "access": keys.access },
    })
}

fn whereabouts(dir: &Path) -> String {
    match config::environment(admin_token::VARIABLE) {
        Some(_) => admin_token::VARIABLE.to_owned(),
        None => dir.join(admin_token::FILE_NAME).display().to_string(),
    }
}
