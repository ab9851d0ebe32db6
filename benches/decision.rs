//! From header to decision, and the parts of it: hashing, judging, the whole, at a thousand to a million keys.
//!
//! `cargo bench --profile dist --bench decision`
#![expect(
    clippy::expect_used,
    clippy::unreachable,
    reason = "a bench that judges something else is to stop"
)]

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{KINDS, Kind, NOW};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use keyward::authz::{
    Admission, Decision, KeyDigest, KeyLookup, Pepper, PresentedKey, RequestFacts, Rulebook,
};
use keyward::replica::Replica;

// As in the product: how memory is laid out decides how a million keys are reached.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];
const OTHER_ROUTES: usize = 500;

/// What the data plane does between the header and the permit.
fn decide(replica: &Replica, rulebook: &Rulebook, headers: &HeaderMap, target: &[u8]) -> Decision {
    let Ok(facts) = RequestFacts::new(&Method::GET, b"api.example.com", target, headers) else {
        unreachable!("the request is canonical")
    };
    match rulebook.admit(&facts) {
        Admission::Decided(decision) => decision,
        Admission::NeedsKey(pending) => {
            let lookup = match replica.pin() {
                Some(snapshot) => replica.look_up(&snapshot, &pending.key),
                None => KeyLookup::Unavailable,
            };
            rulebook.conclude(&pending, lookup, &facts, NOW)
        }
    }
}

fn hashing(c: &mut Criterion) {
    let token = common::token(0);
    let key = PresentedKey::parse(token.as_bytes()).expect("a key");
    let pepper = Pepper::derive("a pepper of some length");
    let mut group = c.benchmark_group("hash");
    group.bench_function("blake3", |b| b.iter(|| black_box(key).digest(None)));
    group.bench_function("blake3, peppered", |b| {
        b.iter(|| black_box(key).digest(pepper.as_ref()))
    });
    group.bench_function("sha256", |b| b.iter(|| black_box(key).sha256()));
    group.finish();
    assert_eq!(key.digest(None), KeyDigest::of(token.as_bytes(), None));
}

/// Route, requirement and grants, with the key at hand.
fn authorise(c: &mut Criterion) {
    let replica = common::replica(3);
    let snapshot = replica.pin().expect("a snapshot");
    let rulebook = common::rulebook(OTHER_ROUTES);
    let mut group = c.benchmark_group("authorise");
    for (i, kind) in KINDS.into_iter().enumerate() {
        let token = common::token(i as u64);
        let (headers, target) = common::request(kind, &token);
        let facts = RequestFacts::new(&Method::GET, b"api.example.com", target, &headers)
            .expect("canonical");
        let Admission::NeedsKey(pending) = rulebook.admit(&facts) else {
            unreachable!("a key is shown")
        };
        let lookup = replica.look_up(&snapshot, &pending.key);
        group.bench_function(format!("{kind:?}"), |b| {
            b.iter(|| rulebook.conclude(black_box(&pending), lookup.clone(), &facts, NOW));
        });
    }
    group.finish();
}

fn whole(c: &mut Criterion) {
    let rulebook = common::rulebook(OTHER_ROUTES);
    let mut group = c.benchmark_group("decision");
    for keys in SIZES {
        let replica = common::replica(keys);
        for kind in KINDS {
            bench_family(&mut group, &replica, &rulebook, keys, kind);
        }
    }
    group.finish();
}

fn bench_family(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    replica: &Replica,
    rulebook: &Rulebook,
    keys: u64,
    kind: Kind,
) {
    let tokens = common::tokens_in_use(keys, kind);
    for token in &tokens {
        let (headers, target) = common::request(kind, token);
        assert!(matches!(
            decide(replica, rulebook, &headers, target),
            Decision::Allow(_)
        ));
    }
    let id = BenchmarkId::new(format!("{kind:?}, {} in use", tokens.len()), keys);
    group.bench_function(id, |b| {
        let mut next = tokens.iter().cycle();
        // As in the proxy, each request's head was just read: it is made anew, off the clock. The two
        // readings of the clock are inside the figure.
        b.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for token in next.by_ref().take(iterations as usize) {
                let (headers, target) = common::request(kind, token);
                let began = Instant::now();
                black_box(decide(replica, rulebook, black_box(&headers), target));
                spent += began.elapsed();
            }
            spent
        });
    });
}

criterion_group!(benches, hashing, authorise, whole);
criterion_main!(benches);
