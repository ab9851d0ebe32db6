//! What can be typed after `keyward keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use crate::cli::acknowledged::WaitArgs;
use crate::cli::client::Place;
use crate::wire::value::{InvalidJson, parse_json};

/// Manage API keys through a control plane.
#[derive(Debug, Args)]
#[command(after_help = "\
The admin token is taken from KEYWARD_ADMIN_TOKEN, else from the file that the control plane made.

  keyward keys create --org acme --slug ci --name CI --expires-in 90d --permission 'agents:*' --scope '*'
  keyward keys list --org acme
  keyward keys rotate --org acme ci --grace-period 24h
  keyward keys revoke --org acme ci --wait
  keyward keys create --access --name models --mode restricted --level deployment=read
  keyward keys create --workspace w1 --name pages --rule '{\"action\":\"read\",\"subject\":\"pages\"}'
  keyward keys import keys.ndjson")]
pub struct KeysArgs {
    /// Which control plane.
    #[command(flatten)]
    pub place: Place,
    /// What to do.
    #[command(subcommand)]
    pub asked: Asked,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Asked {
    /// With keys of one family.
    #[command(flatten)]
    Action(Box<Action>),
    /// Make many keys, of any family, with secrets that there are already
    Import(ImportArgs),
    /// Print all keys, of all families, without their secrets, a JSON object a line
    Export,
}

/// Where keys come from.
#[derive(Debug, Args)]
#[command(after_help = "\
A line is a JSON object with the fields of its family's create call, and beside them `family`; `org` or `workspace`;
`token` or `digest` (`blake3:HEX`, `sha256:HEX`); `status` where the key is not active:

  {\"family\":\"org\",\"org\":\"acme\",\"slug\":\"ci\",\"name\":\"CI\",\"expiresAt\":\"2030-01-01T00:00:00Z\",\"token\":\"iak_acme_…\"}

A line whose key is there with the same grants changes nothing, so that a file can be imported again.")]
pub struct ImportArgs {
    /// The file, a JSON object a line; `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: String,
    /// Leave out lines that are refused, and name them, instead of stopping at the first
    #[arg(long)]
    pub skip_refused: bool,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make a key and print it, this once
    Create(CreateArgs),
    /// List keys
    List(ListArgs),
    /// Show one key
    Get(OneKey),
    /// Change what is given, and leave the rest
    Update(UpdateArgs),
    /// Give a key a new secret and print it, this once
    Rotate(RotateArgs),
    /// Switch a key off; `update --disabled false` switches it on again
    Disable(EndArgs),
    /// End a key for ever (only access keys know such a status: another key is deleted)
    Revoke(EndArgs),
    /// Delete a key
    Delete(EndArgs),
}

impl Action {
    /// Whose keys it is about.
    pub fn whose(&self) -> &Whose {
        match self {
            Self::Create(args) => &args.whose,
            Self::List(args) => &args.whose,
            Self::Get(key) => &key.whose,
            Self::Disable(args) | Self::Revoke(args) | Self::Delete(args) => &args.key.whose,
            Self::Update(args) => &args.key.whose,
            Self::Rotate(args) => &args.key.whose,
        }
    }
}

impl Action {
    /// How long to wait for the gateways, in seconds.
    pub fn wait(&self) -> Option<u32> {
        let args = match self {
            Self::List(_) | Self::Get(_) => return None,
            Self::Create(args) => &args.wait,
            Self::Update(args) => &args.wait,
            Self::Rotate(args) => &args.wait,
            Self::Disable(args) | Self::Revoke(args) | Self::Delete(args) => &args.wait,
        };
        args.wait
    }
}

/// Whose keys; says the family too. One of them is there.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Whose {
    /// Slug of the organisation
    #[arg(long, value_name = "SLUG")]
    pub org: Option<String>,
    /// Id of the workspace
    #[arg(long, value_name = "ID")]
    pub workspace: Option<String>,
    /// Access keys (sk-orq-…), which are those of the whole installation
    #[arg(long)]
    pub access: bool,
}

/// One key.
#[derive(Debug, Args)]
pub struct OneKey {
    /// Whose it is.
    #[command(flatten)]
    pub whose: Whose,
    /// Id of the key, its slug in the organisation, or the raw key of a workspace
    #[arg(value_name = "KEY")]
    pub key: String,
}

/// A key that is to end.
#[derive(Debug, Args)]
pub struct EndArgs {
    /// Which.
    #[command(flatten)]
    pub key: OneKey,
    /// Whether to wait for the gateways.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// How far an access key reaches.
#[derive(Debug, Args)]
#[group(multiple = true, conflicts_with_all = ["org", "workspace"])]
pub struct Reach {
    /// How far an access key reaches: all, read_only, restricted
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// What a restricted access key may do, e.g. deployment=read; may be repeated
    #[arg(long = "level", value_name = "DOMAIN=LEVEL", value_parser = parse_level)]
    pub levels: Vec<(String, String)>,
    /// The one project that an access key reaches
    #[arg(long, value_name = "ID")]
    pub project: Option<String>,
}

fn parse_level(text: &str) -> Result<(String, String), &'static str> {
    let (domain, level) = text.split_once('=').ok_or("write DOMAIN=LEVEL")?;
    Ok((domain.to_owned(), level.to_owned()))
}

/// Rules of a key of a workspace.
#[derive(Debug, Args)]
#[group(multiple = false, conflicts_with_all = ["org", "access"])]
pub struct Rules {
    /// A rule of a workspace key, as JSON; may be repeated
    #[arg(long = "rule", value_name = "JSON", value_parser = parse_rule)]
    pub rules: Vec<Value>,
    /// A file that holds the rules of a workspace key, as a JSON array; - is standard input
    #[arg(long = "rules", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

fn parse_rule(text: &str) -> Result<Value, InvalidJson> {
    parse_json(text)
}

/// A moment, absolute or from now.
#[derive(Debug, Args)]
#[group(multiple = false, conflicts_with = "workspace")]
pub struct Expiry {
    /// When it expires, e.g. 2030-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub expires_at: Option<String>,
    /// When it expires, from now on: 90d, 12h, 30m, 45s
    #[arg(long, value_name = "SPAN", value_parser = crate::cli::span::parse_seconds)]
    pub expires_in: Option<i64>,
}

/// Whom a key is for.
#[derive(Debug, Args)]
#[group(conflicts_with = "workspace")]
pub struct OwnerArgs {
    /// The kind of its owner, e.g. agent, user
    #[arg(long, value_name = "TYPE")]
    pub owner_type: Option<String>,
    /// The owner's id
    #[arg(long, value_name = "ID")]
    pub owner_id: Option<String>,
}

/// A new key.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Whose it is to be.
    #[command(flatten)]
    pub whose: Whose,
    /// Name for machines, unique in the organisation
    #[arg(
        long,
        value_name = "SLUG",
        required_unless_present_any = ["workspace", "access"],
        conflicts_with_all = ["workspace", "access"]
    )]
    pub slug: Option<String>,
    /// Name for people [default: the slug, where there is one]
    #[arg(long, value_name = "TEXT", required_unless_present = "slug")]
    pub name: Option<String>,
    /// What it may do, e.g. 'orgs:*'; may be repeated
    #[arg(
        long = "permission",
        value_name = "PERMISSION",
        conflicts_with_all = ["workspace", "access"]
    )]
    pub permissions: Vec<String>,
    /// To which resources, e.g. agents:a1; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", conflicts_with_all = ["workspace", "access"])]
    pub scopes: Vec<String>,
    /// What a key of a workspace may do, and may not.
    #[command(flatten)]
    pub rules: Rules,
    /// How far an access key reaches.
    #[command(flatten)]
    pub reach: Reach,
    /// Whom it is for.
    #[command(flatten)]
    pub owner: OwnerArgs,
    /// When it expires.
    #[command(flatten)]
    pub expiry: Expiry,
    /// Whether to wait for the gateways.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Which keys, and how many.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Whose keys.
    #[command(flatten)]
    pub whose: Whose,
    /// Keys on a page (1–200)
    #[arg(long, value_name = "N", conflicts_with = "workspace")]
    pub limit: Option<u32>,
    /// Which page, from 1
    #[arg(long, value_name = "N", conflicts_with_all = ["workspace", "access"])]
    pub page: Option<u32>,
    /// Field to sort by, downwards with `-` before it
    #[arg(
        long,
        allow_hyphen_values = true,
        value_name = "FIELD",
        conflicts_with_all = ["workspace", "access"]
    )]
    pub sort: Option<String>,
    /// Only access keys after this one in the list, which is the last of the page before
    #[arg(long, value_name = "KEY", conflicts_with_all = ["org", "workspace"])]
    pub after: Option<String>,
    /// Only access keys whose names hold this, in any case
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["org", "workspace"])]
    pub search: Option<String>,
    /// Only access keys of this status: active, disabled, revoked
    #[arg(long, value_name = "STATUS", conflicts_with_all = ["org", "workspace"])]
    pub status: Option<String>,
    /// Only access keys of this mode: all, read_only, restricted
    #[arg(long, value_name = "MODE", conflicts_with_all = ["org", "workspace"])]
    pub mode: Option<String>,
    /// Only access keys of this one project
    #[arg(long, value_name = "ID", conflicts_with_all = ["org", "workspace"])]
    pub project: Option<String>,
    /// Only keys of this owner.
    #[command(flatten)]
    pub owner: OwnerArgs,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Switch {
    /// Yes
    True,
    /// No
    False,
}

impl From<Switch> for Value {
    fn from(switch: Switch) -> Self {
        matches!(switch, Switch::True).into()
    }
}

/// What is to be different.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Which key.
    #[command(flatten)]
    pub key: OneKey,
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// What it may do, in place of what it could; may be repeated
    #[arg(
        long = "permission",
        value_name = "PERMISSION",
        conflicts_with_all = ["workspace", "access"]
    )]
    pub permissions: Vec<String>,
    /// Take all permissions away
    #[arg(long, conflicts_with_all = ["permissions", "workspace", "access"])]
    pub no_permissions: bool,
    /// To which resources, in place of the former ones; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", conflicts_with_all = ["workspace", "access"])]
    pub scopes: Vec<String>,
    /// Take all scopes away
    #[arg(long, conflicts_with_all = ["scopes", "workspace", "access"])]
    pub no_scopes: bool,
    /// What a key of a workspace may do, and may not, in place of the former rules.
    #[command(flatten)]
    pub rules: Rules,
    /// How far an access key reaches.
    #[command(flatten)]
    pub reach: Reach,
    /// Take all levels of a restricted access key away
    #[arg(long, conflicts_with_all = ["levels", "org", "workspace"])]
    pub no_levels: bool,
    /// Let an access key reach all projects
    #[arg(long, conflicts_with_all = ["project", "org", "workspace"])]
    pub all_projects: bool,
    /// Let an access key never expire
    #[arg(long, conflicts_with_all = ["Expiry", "org", "workspace"])]
    pub never_expires: bool,
    /// Switch it off or on
    #[arg(long, value_name = "BOOL")]
    pub disabled: Option<Switch>,
    /// Whom it is for.
    #[command(flatten)]
    pub owner: OwnerArgs,
    /// When it expires.
    #[command(flatten)]
    pub expiry: Expiry,
    /// Whether to wait for the gateways.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// How to rotate.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Which key.
    #[command(flatten)]
    pub key: OneKey,
    /// How long the old secret goes on working: 24h, 30m [default: not at all]
    #[arg(long, value_name = "SPAN", value_parser = crate::cli::span::parse_seconds)]
    pub grace_period: Option<i64>,
    /// When the key expires.
    #[command(flatten)]
    pub expiry: Expiry,
    /// Whether to wait for the gateways.
    #[command(flatten)]
    pub wait: WaitArgs,
}
