//! Durations and sizes.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::text_value;

/// Longest duration: what is longer is more likely a slip of the unit than meant.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

text_value!(
    /// A duration that may be zero, at most a day.
    Span(Duration),
    "duration-or-zero",
    "30s"
);

text_value!(
    /// A duration above zero, at most a day.
    Timeout(Duration),
    "duration",
    "10s"
);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        duration(text).map(Self)
    }
}

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration = duration(text)?;
        if duration.is_zero() {
            return Err(format!("`{text}` must be longer than nothing"));
        }
        Ok(Self(duration))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_duration(self.0, f)
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_duration(self.0, f)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (count, unit) = count_and_unit(text)
        .ok_or_else(|| format!("`{text}` is no duration; write for example 500ms, 10s or 5m"))?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{text}` needs one of the units ms, s, m, h")),
    };
    let duration = Duration::from_millis(count.saturating_mul(millis));
    if duration > DURATION_MAX {
        return Err(format!("`{text}` is longer than a day"));
    }
    Ok(duration)
}

fn write_duration(duration: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match duration.subsec_millis() {
        0 => write!(f, "{}s", duration.as_secs()),
        _ => write!(f, "{}ms", duration.as_millis()),
    }
}

fn count_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at_checked(digits)?;
    Some((count.parse().ok()?, unit.trim_start()))
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "u64")]
pub struct Size(pub u64);

impl Size {
    /// What the schema calls it.
    pub const FORMAT: &str = "size";
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (count, unit) = count_and_unit(text).ok_or_else(|| {
            format!("`{text}` is no size; write bytes, or for example 64KiB or 16MiB")
        })?;
        let shift = match unit {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => {
                return Err(format!(
                    "`{text}` needs one of the units B, KiB, MiB, GiB, or none for bytes"
                ));
            }
        };
        let bytes = count.checked_mul(1 << shift);
        bytes
            .map(Self)
            .ok_or_else(|| format!("`{text}` is too large"))
    }
}

impl TryFrom<Value> for Size {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value.as_u64() {
            Some(bytes) => Ok(Self(bytes)),
            None => value.as_str().unwrap_or_default().parse(),
        }
    }
}

impl From<Size> for u64 {
    fn from(size: Size) -> Self {
        size.0
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "format": Size::FORMAT,
            "minimum": 0,
            "examples": [65_536, "16MiB"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_a_bound() {
        let millis = |text: &str| text.parse::<Span>().map(|span| span.0.as_millis());
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("5m"), Ok(300_000));
        assert_eq!(millis("24h"), Ok(86_400_000));
        assert_eq!(millis("0s"), Ok(0));
        for wrong in [
            "",
            "s",
            "10",
            "-1s",
            "1.5s",
            "10 parsecs",
            "25h",
            "99999999999999999999s",
        ] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
        assert!("0s".parse::<Timeout>().is_err());
        assert_eq!(Span(Duration::from_millis(1500)).to_string(), "1500ms");
    }

    #[test]
    fn sizes_are_bytes_or_binary_units() {
        let bytes = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(bytes("16MiB"), Ok(16_777_216));
        assert_eq!(bytes("64 KiB"), Ok(65_536));
        assert_eq!(bytes("7"), Ok(7));
        for wrong in ["", "MiB", "1MB", "-1", "99999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
