//! A Prisme.ai platform as the source of keys.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::defaults;
use super::super::scalar::{OrgSlug, PlatformUrl, Span, Timeout, WorkspaceId};

/// A Prisme.ai platform, whose keys are taken as they are there.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prisme {
    /// Where it is: `https://HOST`.
    #[schemars(with = "PlatformUrl")]
    pub url: Option<PlatformUrl>,
    /// What its lists are read with: the token of a user or service account, or an organisation key that may manage
    /// keys. A secret: take it from the environment.
    #[schemars(with = "String")]
    pub token: Option<String>,
    /// Organisations whose keys are taken, by slug.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub orgs: Vec<OrgSlug>,
    /// Workspaces whose keys are taken, by id.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub workspaces: Vec<WorkspaceId>,
    /// How often each list is read. What the platform ends or takes back has ended here after that.
    #[serde(default = "poll")]
    pub poll: Timeout,
    /// How long a secret is used without being validated again, while the platform can be reached.
    #[serde(default = "validate_cache")]
    pub validate_cache: Timeout,
    /// The file that all of this is kept in over a restart; absent: nothing is kept.
    pub state: Option<String>,
    /// From this age on, counted since the platform was last heard, the keys are stale.
    #[serde(default = "max_staleness")]
    pub max_staleness: Span,
    /// What becomes of known keys then. Unknown ones are refused as unavailable either way.
    #[serde(default)]
    pub on_stale: OnStale,
}

/// What becomes of known keys when the copy is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnStale {
    /// They are judged by it all the same.
    #[default]
    Serve,
    /// They are refused as unavailable.
    Deny,
}

/// Without the token.
impl fmt::Debug for Prisme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prisme")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

fn poll() -> Timeout {
    Timeout(defaults::POLL)
}

fn validate_cache() -> Timeout {
    Timeout(defaults::VALIDATE_CACHE)
}

fn max_staleness() -> Span {
    Span(defaults::MAX_STALENESS)
}
