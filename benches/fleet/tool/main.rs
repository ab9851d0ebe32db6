//! The parts of `benches/fleet` and `benches/hostile` that must be fast: probers, load, floods, writers, streams, and the
//! service behind the gateways.
//!
//! `fleet-tool WHAT NAME=VALUE…`; `run.py` says which, and reads the one line of JSON that each prints.
#![expect(clippy::print_stdout, reason = "it is a command")]

mod flood;
mod http;
mod load;
mod revoke;
mod streams;
mod upstream;
mod writes;

use std::collections::HashMap;
use std::fs;
use std::str::FromStr;

/// Whatever ends a measurement.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What was given as `NAME=VALUE`.
struct Options(HashMap<String, String>);

/// A key that is shown and changed.
#[derive(Clone)]
struct Key {
    /// The path at the control plane.
    path: String,
    /// The raw key.
    token: String,
}

impl Options {
    fn text(&self, name: &str) -> Result<&str, Failure> {
        let found = self.0.get(name).map(String::as_str);
        found.ok_or_else(|| format!("{name}=… is missing").into())
    }

    fn list(&self, name: &str) -> Result<Vec<String>, Failure> {
        Ok(self.text(name)?.split(',').map(str::to_owned).collect())
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<T, Failure>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        Ok(self.text(name)?.parse()?)
    }

    /// The keys of a file, `org slug token` a line.
    fn keys(&self) -> Result<Vec<Key>, Failure> {
        let text = fs::read_to_string(self.text("keys")?)?;
        let keys = text.lines().map(|line| {
            let mut words = line.split(' ');
            let (org, slug) = (words.next()?, words.next()?);
            Some(Key {
                path: format!("/v2/orgs/{org}/api-keys/{slug}"),
                token: words.next()?.to_owned(),
            })
        });
        let keys: Option<Vec<Key>> = keys.collect();
        keys.ok_or_else(|| "a line is not `org slug token`".into())
    }

    /// The line with which an administrator asks.
    fn admin(&self) -> Result<String, Failure> {
        Ok(format!("authorization: Bearer {}\r\n", self.text("admin")?))
    }
}

impl Key {
    /// The line with which it is shown.
    fn line(&self) -> String {
        format!("x-prismeai-api-key: {}\r\n", self.token)
    }
}

/// The value that this share of `sorted` is not above.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    let last = sorted.len().saturating_sub(1);
    sorted.get(place.min(last)).copied().unwrap_or(f64::NAN)
}

/// The middle, the tail and the end of measured times in milliseconds, as members of a JSON object.
fn figures(mut millis: Vec<f64>) -> String {
    millis.sort_by(f64::total_cmp);
    format!(
        "\"count\":{},\"p50\":{:.3},\"p99\":{:.3},\"max\":{:.3}",
        millis.len(),
        percentile(&millis, 0.5),
        percentile(&millis, 0.99),
        millis.last().copied().unwrap_or(f64::NAN)
    )
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let pairs = arguments.filter_map(|argument| {
        let (name, value) = argument.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let options = Options(pairs.collect());
    let line = match what.as_str() {
        "upstream" => return Ok(upstream::serve(options.text("listen")?)?),
        "revoke" => revoke::run(&options)?,
        "load" => load::run(&options)?,
        "flood" => flood::run(&options)?,
        "writes" => writes::run(&options)?,
        "streams" => streams::run(&options)?,
        _ => {
            return Err(
                "usage: fleet-tool upstream|revoke|load|flood|writes|streams NAME=VALUE…".into(),
            );
        }
    };
    println!("{line}");
    Ok(())
}
