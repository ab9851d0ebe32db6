//! `keyward control`: a control plane alone, which gateways elsewhere follow.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::{serve, span};
use crate::app::{self, AlonePlan};
use crate::authz::Pepper;
use crate::config;
use crate::control::{self, TlsFiles};

/// Environment variable that holds what digests of keys are keyed with.
const PEPPER: &str = "KEYWARD_PEPPER";

/// Serve the keys to gateways elsewhere: a control plane alone
#[derive(Debug, Args)]
#[command(after_help = "\
  keyward control --listen 127.0.0.1:8081 --database sqlite://keyward-data/keyward.db

Gateways follow it with `keys: { remote: { url: …, token: … } }` in their configuration.

KEYWARD_ADMIN_TOKEN    admin token, at least 32 characters (two with a space between while you change it); without it
                       one is made at the first start, in the file `admin-token` beside the database
KEYWARD_GATEWAY_TOKEN  token of the gateways that follow, at least 32 characters (two with a space between while you
                       change it); more are made with `keyward gateways token create`
KEYWARD_PEPPER         what digests of keys are keyed with: the same as `credentials.pepper` of the gateways
KEYWARD_DATABASE       the database, where --database is not given: an argument can be read by whoever is on the machine
KEYWARD_LOG            events on standard error: info (default), warn, keyward=debug, …

Beyond loopback it takes --tls-certificate and --tls-key, or --insecure where something else encrypts.
SIGHUP reads the files of TLS again. SIGTERM or SIGINT drains and exits 0; a second one exits at once. Whatever was answered is on disk.")]
pub struct ControlArgs {
    /// Where the API listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value_t = config::defaults::CONTROL_LISTEN)]
    listen: SocketAddr,
    /// Where keys are stored: sqlite://PATH, or postgres://USER:PASSWORD@HOST/NAME, which several may share
    #[arg(
        long,
        value_name = "URL",
        env = "KEYWARD_DATABASE",
        hide_env = true,
        default_value = config::defaults::DATABASE
    )]
    database: String,
    /// How long requests in flight may take to end after SIGTERM, before they are cut
    #[arg(long, value_name = "SPAN", value_parser = span::parse_seconds, default_value = "30s")]
    graceful_shutdown: i64,
    /// The certificate that it shows, PEM, and after it those between it and a root
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Serve no client without a certificate of one of these authorities, PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    client_ca: Option<PathBuf>,
    /// Listen beyond loopback without TLS
    #[arg(long)]
    insecure: bool,
}

/// Runs `keyward control`.
///
/// # Errors
/// What is in the way of starting.
pub fn run(args: ControlArgs) -> Result<(), Failure> {
    serve::events("info")?;
    let grace = u64::try_from(args.graceful_shutdown).unwrap_or_default();
    let (control, _) = serve::administered(settings(args))?;
    let plan = AlonePlan {
        control,
        purpose: "keyward control",
        grace: Duration::from_secs(grace),
    };
    let alone = app::start_alone(plan).map_err(|error| Failure::chain(&error))?;
    tracing::info!(
        control = alone.address().map(tracing::field::display),
        "ready"
    );
    alone.until_ended();
    Ok(())
}

/// The settings, still without admin tokens.
fn settings(args: ControlArgs) -> control::Config {
    let pepper = config::environment(PEPPER).unwrap_or_default();
    let tls = args.tls_certificate.zip(args.tls_key);
    let client_ca = args.client_ca;
    control::Config {
        listen: args.listen,
        database: args.database,
        admin_tokens: Vec::new(),
        gateway_tokens: Vec::new(),
        pepper: Pepper::derive(&pepper),
        tls: tls.map(|(certificate, private_key)| TlsFiles {
            certificate,
            private_key,
            client_ca,
        }),
        insecure: args.insecure,
    }
}
