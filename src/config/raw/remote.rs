//! Control planes elsewhere as the source of keys.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::defaults;
use super::super::scalar::{ControlUrl, Span};
use super::OnStale;

/// Control planes elsewhere, whose keys are followed change by change.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// Where it is: `https://HOST:PORT`; or several of one store, tried in this order when one fails.
    #[schemars(with = "Urls")]
    pub url: Option<Urls>,
    /// The gateway token, or two with a space between while it is being changed: the first is shown. A secret: take it
    /// from the environment.
    #[schemars(with = "String")]
    pub token: Option<String>,
    /// The directory, for one gateway alone, that the keys are kept in over a restart, so that the gateway starts without a control plane;
    /// absent: nothing is kept.
    pub state: Option<String>,
    /// From this age on, counted since the control plane was last heard, the keys are stale.
    #[serde(default = "max_staleness")]
    pub max_staleness: Span,
    /// What becomes of known keys then. An unknown one is refused either way.
    #[serde(default)]
    pub on_stale: OnStale,
    /// What people call this gateway; absent: as its machine is called.
    #[schemars(length(min = 1, max = 64))]
    pub name: Option<String>,
    /// A file of certificates, in PEM, of those who sign the control planes'; absent: those that the machine trusts.
    pub ca: Option<String>,
    /// The certificate that the gateway shows, a file in PEM.
    pub client_certificate: Option<String>,
    /// The private key of that certificate, a file in PEM.
    pub client_key: Option<String>,
}

/// One place, or several in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Urls {
    /// One.
    One(ControlUrl),
    /// Several.
    Several(#[schemars(length(min = 1, max = 16))] Vec<ControlUrl>),
}

impl Urls {
    /// All of them.
    pub fn all(&self) -> &[ControlUrl] {
        match self {
            Self::One(url) => std::slice::from_ref(url),
            Self::Several(urls) => urls,
        }
    }
}

/// Without the token.
impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

fn max_staleness() -> Span {
    Span(defaults::MAX_STALENESS)
}
