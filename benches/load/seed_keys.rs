//! Fills a database with organisation keys and prints their tokens, one a line.
//!
//! `seed-keys sqlite://PATH COUNT`. The keys may read agents, in the scope of agent `a1`.

use std::io::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use keyward::authz::{KeyStatus, RawGrants, Timestamp};
use keyward::control::{
    AdminToken, Caller, Config, Control, GivenSecret, KeyName, NewKey, OrgSlug, RawKey,
};

/// Keys written in one transaction.
const BATCH: usize = 1000;
/// Organisations that the keys are spread over.
const ORGS: usize = 1000;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(database), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: seed-keys sqlite://PATH COUNT".into());
    };
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        database,
        gateway_tokens: Vec::new(),
        admin_tokens: vec![AdminToken::new(&"benchmark-".repeat(4))?],
        pepper: None,
        tls: None,
        insecure: false,
    };
    let control = Control::open(&config, "seed-keys", Arc::new(now)).await?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let count: usize = count.parse()?;
    for start in (0..count).step_by(BATCH) {
        let orgs: Vec<OrgSlug> = (start..count.min(start + BATCH))
            .map(|i| OrgSlug::parse(&format!("org-{}", i % ORGS)))
            .collect::<Result<_, _>>()?;
        let raws = orgs.iter().map(|org| RawKey::of(&org.into(), now()));
        let raws: Vec<RawKey> = raws.collect::<Result<_, _>>()?;
        let keys = orgs
            .iter()
            .zip(&raws)
            .map(|(org, raw)| Ok((new_key(org)?, GivenSecret::Raw(raw))));
        let keys = keys.collect::<Result<_, Failure>>()?;
        control
            .keys()
            .insert_keys(Caller::program("seed-keys"), keys)
            .await?;
        for raw in &raws {
            writeln!(out, "{}", raw.expose())?;
        }
    }
    Ok(())
}

fn new_key(org: &OrgSlug) -> Result<NewKey, Failure> {
    Ok(NewKey {
        tenant: org.into(),
        slug: None,
        name: KeyName::parse("load")?,
        owner: None,
        status: KeyStatus::Active,
        expires_at: Some(Timestamp::from_millis(4_000_000_000_000)),
        grants: RawGrants::Org {
            permissions: vec!["agent-factory:agents:read".into()],
            scopes: vec!["agents:a1".into()],
        },
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program of its own, with a clock of its own"
)]
fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
