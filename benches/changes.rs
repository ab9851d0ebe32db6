//! How many changes a second a store takes from many clients at once: each answered when it is on disk.
//!
//! `cargo bench --bench changes` on a SQLite file in the temporary directory, or with `KEYWARD_BENCH_DATABASE` on any
//! database, which it fills. Run as a test it makes a few changes only.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench says what it measured, and may fail"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use keyward::authz::{KeyStatus, RawGrants, Tenant, Timestamp};
use keyward::control::{
    AdminToken, Caller, Config, Control, KeyName, KeySlug, NewKey, OrgSlug, PatchOrgKey,
};

const CLIENTS: usize = 50;
const CALLER: Caller = Caller::program("bench");
/// How long it is measured.
const TIME: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let time = if std::env::args().any(|argument| argument == "--bench") {
        TIME
    } else {
        Duration::from_millis(50)
    };
    let directory = tempfile::tempdir().unwrap();
    let control = Arc::new(open(&directory.path().join("keyward.db")).await);
    let org = OrgSlug::parse("bench").unwrap();
    let run = std::process::id();
    let slugs: Vec<_> = (0..CLIENTS)
        .map(|client| format!("k{run}-{client}"))
        .collect();
    for slug in &slugs {
        let made = control.keys().create_key(CALLER, new_key(&org, slug));
        made.await.unwrap();
    }
    let begun = Instant::now();
    let clients = slugs.into_iter().map(|slug| {
        let (control, org) = (Arc::clone(&control), org.clone());
        tokio::spawn(async move { patch_until(&control, &org, &slug, begun + time).await })
    });
    let clients: Vec<_> = clients.collect();
    let mut waits = Vec::new();
    for client in clients {
        waits.extend(client.await.unwrap());
    }
    report(waits, begun.elapsed());
}

async fn open(file: &Path) -> Control {
    let database = std::env::var("KEYWARD_BENCH_DATABASE")
        .unwrap_or_else(|_| format!("sqlite://{}", file.display()));
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        database,
        admin_tokens: vec![AdminToken::new(&"0".repeat(32)).unwrap()],
        gateway_tokens: Vec::new(),
        pepper: None,
        tls: None,
        insecure: false,
    };
    let now = AtomicI64::new(0);
    let clock = Arc::new(move || Timestamp::from_millis(now.fetch_add(1, Ordering::Relaxed)));
    Control::open(&config, "a bench", clock).await.unwrap()
}

fn new_key(org: &OrgSlug, slug: &str) -> NewKey {
    NewKey {
        tenant: Tenant::from(org),
        slug: Some(KeySlug::parse(slug).unwrap()),
        name: KeyName::parse("bench").unwrap(),
        owner: None,
        status: KeyStatus::Active,
        expires_at: None,
        grants: RawGrants::Org {
            permissions: vec![],
            scopes: vec![],
        },
    }
}

/// One client: as soon as a change is answered it asks for the next. Gives how long each took.
async fn patch_until(control: &Control, org: &OrgSlug, slug: &str, end: Instant) -> Vec<Duration> {
    let mut waits = Vec::new();
    while Instant::now() < end {
        let asked = Instant::now();
        let patch = PatchOrgKey {
            name: Some(KeyName::parse(&format!("n{}", waits.len())).unwrap()),
            ..PatchOrgKey::default()
        };
        let patched = control.keys().patch_org_key(CALLER, org, slug, patch);
        patched.await.unwrap();
        waits.push(asked.elapsed());
    }
    waits
}

fn report(mut waits: Vec<Duration>, time: Duration) {
    waits.sort_unstable();
    let count = waits.len();
    let percentile = |percent: usize| {
        waits
            .get(count * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    let rate = u128::try_from(count).unwrap() * 1_000 / time.as_millis().max(1);
    println!(
        "{count} changes from {CLIENTS} clients in {time:.1?}: {rate} a second, p50 {:.1?}, p99 {:.1?}",
        percentile(50),
        percentile(99)
    );
}
