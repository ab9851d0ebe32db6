//! What `run`, `quickstart` and `control` have in common: from settings to a plan that `app` starts.

use std::io::Write;

use super::failure::Failure;
use crate::app::{AdminSecret, KeysFrom, Plan, ReadRules, admin_token, data};
use crate::config::{self, Resolved};
use crate::control::{self, AdminToken, GatewayToken, sqlite_path};

/// Environment variable that holds the token of the gateways that follow, or two with a space between.
const GATEWAY_TOKEN: &str = "KEYWARD_GATEWAY_TOKEN";

/// Environment variable that filters the events on standard error, e.g. `info` or `keyward=debug`.
const LOG_VARIABLE: &str = "KEYWARD_LOG";

/// Sends events to standard error, filtered by the environment or else by `default`.
///
/// # Errors
/// The filter in the environment is none.
pub fn events(default: &str) -> Result<(), Failure> {
    let filter = config::environment(LOG_VARIABLE).unwrap_or_else(|| default.to_owned());
    crate::telemetry::init_tracing(true, &filter)
        .map_err(|error| Failure::told(format!("{LOG_VARIABLE}: {error}")))
}

/// A plan, and the admin token to make requests with.
pub struct Prepared {
    /// What to start.
    pub plan: Plan,
    /// The first of the admin tokens, where there is a control plane to administer.
    pub admin: Option<AdminSecret>,
}

/// Puts the plan together, with the data directory and the admin token that a control plane needs.
///
/// # Errors
/// There is no source of keys, or the data directory or the admin token cannot be had.
pub fn prepare(
    resolved: Resolved,
    purpose: &'static str,
    access_log: Box<dyn Write + Send>,
    rules: ReadRules,
) -> Result<Prepared, Failure> {
    let (keys, admin) = match (resolved.control, resolved.prisme, resolved.remote) {
        (Some(control), ..) => {
            let (control, admin) = administered(control)?;
            (KeysFrom::Embedded(control), Some(admin))
        }
        (None, Some(prisme), _) => (KeysFrom::Prisme(prisme), None),
        (None, None, Some(remote)) => (KeysFrom::Remote(remote), None),
        (None, None, None) => {
            let message = "the configuration has no source of keys: set `keys`";
            return Err(Failure::told(message));
        }
    };
    let plan = Plan {
        gateway: resolved.proxy,
        keys,
        replica: resolved.replica,
        purpose,
        access_log,
        rules,
    };
    Ok(Prepared { plan, admin })
}

/// Makes the data directory and the admin token where they are needed and not there yet.
///
/// # Errors
/// One of them cannot be had, or what was given is no admin token.
pub fn administered(
    mut control: control::Config,
) -> Result<(control::Config, AdminSecret), Failure> {
    let given = config::environment(admin_token::VARIABLE).filter(|given| !given.trim().is_empty());
    if given.is_none() && control::is_at_server(&control.database) {
        return Err(Failure::told(format!(
            "control planes that share a PostgreSQL have the same admin token: set {}",
            admin_token::VARIABLE
        )));
    }
    let directory = data::directory_of(&control.database);
    if given.is_none() || sqlite_path(&control.database).is_some() {
        data::make(&directory).map_err(|error| Failure::chain(&error))?;
    }
    let secrets = admin_token::obtain(given.as_deref(), &directory)
        .map_err(|error| Failure::chain(&error))?;
    let tokens: Result<Vec<AdminToken>, _> = secrets.iter().map(AdminSecret::to_token).collect();
    control.admin_tokens = tokens.map_err(|error| Failure::chain(&error))?;
    control.gateway_tokens = gateway_tokens()?;
    let admin = secrets
        .into_iter()
        .next()
        .ok_or_else(|| Failure::told("there is no admin token"))?;
    Ok((control, admin))
}

/// The tokens of gateways in the environment; there need be none.
fn gateway_tokens() -> Result<Vec<GatewayToken>, Failure> {
    let given = config::environment(GATEWAY_TOKEN).unwrap_or_default();
    let tokens = given.split_ascii_whitespace().map(GatewayToken::new);
    let tokens: Result<_, _> = tokens.collect();
    tokens.map_err(|error| Failure::told(format!("{GATEWAY_TOKEN}: {error}")))
}
