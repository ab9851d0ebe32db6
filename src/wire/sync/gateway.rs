//! What a gateway tells a control plane: who it is, what it has applied, what was used.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::authz::Revision;
use crate::wire::Epoch;

/// Most characters of a gateway's name.
pub const GATEWAY_NAME_CHARACTERS_MAX: usize = 64;
/// Longest time that a gateway may say it serves without news: what a control plane would have to wait for it.
pub const MAX_STALENESS_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Keys in one report of uses.
pub const USES_MAX: usize = 1000;

/// What becomes of known keys when the copy of them is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStale {
    /// They are judged by it all the same.
    #[default]
    Serve,
    /// They are refused as unavailable.
    Deny,
}

impl OnStale {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Deny => "deny",
        }
    }
}

/// Which gateway: made once, kept with its copy of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayId(pub u128);

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A field of what a gateway says that is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct InvalidSync {
    /// Which.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// A number of 128 bits in 32 hexadecimal digits of lower case.
///
/// # Errors
/// It is written otherwise.
pub fn parse_hex(field: &'static str, text: &str) -> Result<u128, InvalidSync> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let problem = "has to be 32 hexadecimal digits in lower case";
    if text.len() != 32 || !text.bytes().all(is_digit) {
        return Err(InvalidSync { field, problem });
    }
    u128::from_str_radix(text, 16).map_err(|_| InvalidSync { field, problem })
}

/// Who asks, as every request of a gateway says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayInfo {
    /// Which gateway.
    pub id: GatewayId,
    /// What people call it.
    pub name: String,
    /// What it does with a stale copy.
    pub on_stale: OnStale,
    /// From which age on its copy is stale.
    pub max_staleness: Duration,
}

/// That as members of a query. What only some requests have is optional here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncQuery {
    gateway: String,
    name: String,
    on_stale: OnStale,
    max_staleness_ms: u64,
    /// In hexadecimal digits, see [`Pepper::check_value`](crate::authz::Pepper::check_value).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pepper: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
}

fn hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*bytes).to_hex().to_string()
}

/// Up to where a gateway has the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The history.
    pub epoch: Epoch,
    /// The last change applied.
    pub revision: Revision,
}

impl SyncQuery {
    /// The query of a gateway, with where it stands in a request for changes.
    pub fn new(gateway: &GatewayInfo, position: Option<Position>) -> Self {
        Self {
            gateway: gateway.id.to_string(),
            name: gateway.name.clone(),
            on_stale: gateway.on_stale,
            max_staleness_ms: u64::try_from(gateway.max_staleness.as_millis()).unwrap_or(u64::MAX),
            epoch: position.map(|position| position.epoch.to_string()),
            after: position.map(|position| position.revision.0),
            pepper: None,
        }
    }

    /// The same with what tells the pepper that the gateway hashes keys with from any other.
    #[must_use]
    pub fn with_pepper(mut self, check_value: &[u8; 32]) -> Self {
        self.pepper = Some(hex(check_value));
        self
    }

    /// Whether it is said that keys are hashed with another pepper than this.
    pub fn has_other_pepper(&self, check_value: &[u8; 32]) -> bool {
        self.pepper
            .as_ref()
            .is_some_and(|pepper| *pepper != hex(check_value))
    }

    /// What it says, checked.
    ///
    /// # Errors
    /// The first member that is not acceptable.
    pub fn read(self) -> Result<(GatewayInfo, Option<Position>), InvalidSync> {
        let invalid = |field, problem| Err(InvalidSync { field, problem });
        let id = GatewayId(parse_hex("gateway", &self.gateway)?);
        let characters = self.name.chars().count();
        if !(1..=GATEWAY_NAME_CHARACTERS_MAX).contains(&characters) {
            return invalid("name", "has 1 to 64 characters");
        }
        if self.name.chars().any(char::is_control) {
            return invalid("name", "has no control characters");
        }
        let max_staleness = Duration::from_millis(self.max_staleness_ms);
        if max_staleness.is_zero() || max_staleness > MAX_STALENESS_MAX {
            return invalid("max_staleness_ms", "has to be 1 to 604800000");
        }
        let position = match (self.epoch, self.after) {
            (None, None) => None,
            (Some(epoch), Some(after)) => Some(Position {
                epoch: Epoch(parse_hex("epoch", &epoch)?),
                revision: Revision(after),
            }),
            (None, Some(_)) => return invalid("epoch", "is missing beside `after`"),
            (Some(_), None) => return invalid("after", "is missing beside `epoch`"),
        };
        let gateway = GatewayInfo {
            id,
            name: self.name,
            on_stale: self.on_stale,
            max_staleness,
        };
        Ok((gateway, position))
    }
}

/// What a gateway has applied: its next request is judged by it, and what it put an end to is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    epoch: String,
    revision: u64,
    /// Counts the acknowledgements of a gateway; a later heartbeat echoes it.
    pub tag: u64,
}

impl Ack {
    /// That `position` is applied.
    pub fn new(position: Position, tag: u64) -> Self {
        Self {
            epoch: position.epoch.to_string(),
            revision: position.revision.0,
            tag,
        }
    }

    /// What is applied.
    ///
    /// # Errors
    /// The member that is not acceptable.
    pub fn position(&self) -> Result<Position, InvalidSync> {
        Ok(Position {
            epoch: Epoch(parse_hex("epoch", &self.epoch)?),
            revision: Revision(self.revision),
        })
    }
}

/// How often keys were used since the last report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageReport {
    /// The life of the gateway's process that counted it.
    pub incarnation: String,
    /// Counts the reports of a life from 1 on. One is sent until it is answered, and counted once.
    pub sequence: u64,
    /// At most [`USES_MAX`].
    pub uses: Vec<Use>,
}

/// Uses of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Use {
    /// The key's id.
    pub id: String,
    /// When it was last used, in milliseconds since the Unix epoch.
    pub last_used: i64,
    /// How often.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> GatewayInfo {
        GatewayInfo {
            id: GatewayId(0xab),
            name: "edge-1".to_owned(),
            on_stale: OnStale::Deny,
            max_staleness: Duration::from_secs(60),
        }
    }

    #[test]
    fn who_asks_comes_back_as_it_was_said() {
        let at = Position {
            epoch: Epoch(u128::MAX),
            revision: Revision(7),
        };
        for position in [None, Some(at)] {
            let json = serde_json::to_value(SyncQuery::new(&info(), position)).unwrap();
            let query: SyncQuery = serde_json::from_value(json).unwrap();
            assert_eq!(query.read(), Ok((info(), position)));
        }
        assert_eq!(Ack::new(at, 3).position(), Ok(at));
    }

    #[test]
    fn another_pepper_is_told_from_the_same_and_from_none_that_is_said() {
        let query = SyncQuery::new(&info(), None);
        assert!(!query.has_other_pepper(&[1; 32]));
        let query = query.with_pepper(&[1; 32]);
        assert!(!query.has_other_pepper(&[1; 32]));
        assert!(query.has_other_pepper(&[2; 32]));
    }

    #[test]
    fn what_is_not_acceptable_is_named() {
        let field = |change: &dyn Fn(&mut SyncQuery)| {
            let mut query = SyncQuery::new(&info(), None);
            change(&mut query);
            query.read().map(drop).map_err(|invalid| invalid.field)
        };
        assert_eq!(field(&|_| {}), Ok(()));
        for id in [
            "",
            "0",
            "000000000000000000000000000000AB",
            "+000000000000000000000000000000a",
        ] {
            assert_eq!(
                field(&|query| query.gateway = id.to_owned()),
                Err("gateway")
            );
        }
        for name in [String::new(), "n".repeat(65), "a\nb".to_owned()] {
            assert_eq!(field(&|query| query.name.clone_from(&name)), Err("name"));
        }
        for millis in [0, 604_800_001, u64::MAX] {
            assert_eq!(
                field(&|query| query.max_staleness_ms = millis),
                Err("max_staleness_ms")
            );
        }
        assert_eq!(field(&|query| query.after = Some(1)), Err("epoch"));
        assert_eq!(
            field(&|query| query.epoch = Some("0".repeat(32))),
            Err("after")
        );
        let wrong = Ack {
            epoch: "x".to_owned(),
            revision: 0,
            tag: 0,
        };
        assert_eq!(
            wrong.position().map_err(|invalid| invalid.field),
            Err("epoch")
        );
    }
}
