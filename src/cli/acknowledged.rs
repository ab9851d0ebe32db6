//! `--wait`: whether a change is in force at every gateway, and where it is not.
//!
//! The control plane counts; this reads the count and puts it into words.

use std::io::Write;

use clap::Args;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::client::{Call, Client};
use super::columns::text;
use super::failure::Failure;

/// Gateways that are named at most where a change is not in force.
const NAMED_MAX: usize = 10;

/// Whether to wait for the gateways.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Wait until every gateway has applied it, for 10 seconds or as many as are given (1–60); fail when one has not
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "10",
        value_parser = clap::value_parser!(u32).range(1..=60)
    )]
    pub wait: Option<u32>,
}

/// What the answer to a change says about gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Acknowledged {
    /// So many have applied it …
    by: u32,
    /// … of so many that may act on what they have.
    of: u32,
    /// Not heard from, and refusing everything by now.
    silent_deny: u32,
    /// Not heard from, and perhaps acting on what was before.
    silent_serve: u32,
    /// The revision of the change.
    revision: u64,
}

impl Acknowledged {
    /// Reads it from the head of an answer; `None`: it says nothing about gateways.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let line = |name: &str| headers.get(name)?.to_str().ok();
        let (by, of) = line("keyward-acknowledged")?.split_once('/')?;
        let silent = line("keyward-silent").unwrap_or_default();
        let count = |name: &str| {
            let pairs = silent.split(',').filter_map(|pair| pair.split_once('='));
            let mut found = pairs.filter(|(key, _)| key.trim() == name);
            found.find_map(|(_, count)| count.trim().parse().ok())
        };
        Some(Self {
            by: by.trim().parse().ok()?,
            of: of.trim().parse().ok()?,
            silent_deny: count("deny").unwrap_or_default(),
            silent_serve: count("serve").unwrap_or_default(),
            revision: line("keyward-revision")?.parse().ok()?,
        })
    }

    /// Whether no gateway acts on what was before.
    fn is_everywhere(self) -> bool {
        self.by >= self.of && self.silent_serve == 0
    }

    fn in_words(self) -> String {
        let mut words = match (self.of, self.silent_deny + self.silent_serve) {
            (0, 0) => "no gateway follows this control plane".to_owned(),
            _ => format!("in force at {} of {} gateways", self.by, self.of),
        };
        if self.silent_deny > 0 {
            words += &format!(
                "; {} more not heard from, which by their settings refuse every key by now",
                self.silent_deny
            );
        }
        if self.silent_serve > 0 {
            words += &format!(
                "; {} more not heard from, which by their settings go on with what they had",
                self.silent_serve
            );
        }
        words
    }
}

/// Tells how far a change has come.
///
/// # Errors
/// Some gateway may still act on what was before; it is named where the control plane can name it. Or the control plane
/// says nothing about gateways.
pub async fn tell(
    client: &Client,
    acknowledged: Option<Acknowledged>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Some(acknowledged) = acknowledged else {
        let line = "the change is made; the control plane does not say which gateways have it: run a newer one";
        return Err(Failure::told(line));
    };
    let words = acknowledged.in_words();
    let hint = match acknowledged.silent_serve {
        0 => "",
        _ => ", `keyward gateways forget ID` ends it for one that runs no more",
    };
    if acknowledged.is_everywhere() {
        return Ok(writeln!(out, "{words}")?);
    }
    let call = Call {
        method: Method::GET,
        path: &["v1", "gateways"],
        query: Vec::new(),
        body: None,
    };
    let behind = client
        .call(call)
        .await
        .map(|list| behind(&list, acknowledged.revision));
    let named = match behind {
        Ok(names) if !names.is_empty() => format!(" ({})", names.join("; ")),
        Ok(_) | Err(_) => String::new(),
    };
    Err(Failure::told(format!(
        "the change is made, and not everywhere yet: {words}{named}: `keyward gateways list` shows how they are{hint}"
    )))
}

/// The gateways that have not applied this revision of the store's present history, by name, and how far they are.
fn behind(list: &Value, revision: u64) -> Vec<String> {
    let gateways = list.get("results").unwrap_or(list).as_array();
    let epoch = list.get("epoch");
    let mut names: Vec<String> = gateways
        .into_iter()
        .flatten()
        .filter(|gateway| {
            let applied = gateway.get("revision").and_then(Value::as_u64);
            gateway.get("epoch") != epoch || applied.is_none_or(|applied| applied < revision)
        })
        .map(in_short)
        .collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names
}

fn in_short(gateway: &Value) -> String {
    let field = |name: &str| text(gateway.get(name));
    let [name, revision, heard] = ["name", "revision", "lastContact"].map(field);
    format!("{name} at revision {revision}, last heard {heard}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(lines: &[(&'static str, &'static str)]) -> Option<Acknowledged> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, value.parse().unwrap());
        }
        Acknowledged::read(&headers)
    }

    #[test]
    fn a_count_is_read_from_the_head() {
        let all = read(&[("keyward-revision", "7"), ("keyward-acknowledged", "3/3")]).unwrap();
        assert!(all.is_everywhere());
        assert_eq!(all.in_words(), "in force at 3 of 3 gateways");
        let some = read(&[("keyward-revision", "7"), ("keyward-acknowledged", "2/3")]).unwrap();
        assert!(!some.is_everywhere());
        assert_eq!(read(&[("keyward-revision", "7")]), None);
        assert_eq!(read(&[("keyward-acknowledged", "7")]), None);
    }

    #[test]
    fn a_silent_gateway_that_refuses_everything_is_safe_and_one_that_serves_is_not() {
        let head = [("keyward-revision", "7"), ("keyward-acknowledged", "1/1")];
        let safe = read(&[&head[..], &[("keyward-silent", "deny=2")]].concat()).unwrap();
        assert!(safe.is_everywhere());
        assert!(safe.in_words().contains("2 more not heard from"));
        let unsafe_one =
            read(&[&head[..], &[("keyward-silent", "deny=2, serve=1")]].concat()).unwrap();
        assert!(!unsafe_one.is_everywhere());
        assert!(unsafe_one.in_words().contains("1 more not heard from"));
    }

    #[test]
    fn no_gateway_is_said_to_be_none() {
        let none = read(&[("keyward-revision", "7"), ("keyward-acknowledged", "0/0")]).unwrap();
        assert!(none.is_everywhere());
        assert_eq!(none.in_words(), "no gateway follows this control plane");
    }

    #[test]
    fn those_behind_are_named() {
        let list = json!({ "epoch": "b", "results": [
            { "name": "edge-1", "epoch": "b", "revision": 7 },
            { "name": "edge-2", "epoch": "b", "revision": 5, "lastContact": "2026-11-21T17:00:00Z" },
            { "name": "edge-3", "revision": null },
            { "name": "edge-4", "epoch": "a", "revision": 9 },
        ]});
        let named = [
            "edge-2 at revision 5, last heard 2026-11-21T17:00:00Z",
            "edge-3 at revision -, last heard -",
            "edge-4 at revision 9, last heard -",
        ];
        assert_eq!(behind(&list, 7), named);
        let many: Vec<Value> = (0..12).map(|_| json!({ "name": "e" })).collect();
        assert_eq!(behind(&many.into(), 7).last().unwrap(), "2 more");
    }
}
