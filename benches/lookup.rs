//! Looking a key up, from the token to its compiled principal, at a thousand to a million keys, of which ten
//! thousand are in use one after the other. Beside it its parts, loading, changing, counting.
//!
//! `cargo bench --profile dist --bench lookup`
#![expect(clippy::expect_used, reason = "a bench that finds no key is to stop")]

#[expect(
    dead_code,
    reason = "this bench needs keys, and no requests to show them"
)]
mod common;

use std::hint::black_box;

use common::{IN_USE, KINDS};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use keyward::authz::{KeyId, KeyLookup, PresentedKey, Principal, Revision};
use keyward::wire::{Change, ChangeSink, SecretDigest};

// As in the product: how memory is laid out decides how a million keys are reached.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// All that are measured, or only the first when each bench is run once to see that it works.
fn sizes() -> &'static [u64] {
    const SIZES: &[u64] = &[1_000, 100_000, 1_000_000];
    let measured = std::env::args().any(|argument| argument == "--bench");
    SIZES.get(..if measured { 3 } else { 1 }).unwrap_or(SIZES)
}

fn presented(token: &str) -> PresentedKey<'_> {
    PresentedKey::parse(token.as_bytes()).expect("a key")
}

/// Tokens of all families in turn.
fn tokens_in_use(keys: u64) -> Vec<String> {
    let of_family = KINDS.map(|kind| common::tokens_in_use(keys, kind));
    (0..IN_USE)
        .filter_map(|at| of_family.get(at % 3)?.get(at / 3).cloned())
        .collect()
}

fn look_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("look-up");
    for &keys in sizes() {
        let replica = common::replica(keys);
        let snapshot = replica.pin().expect("a snapshot");
        let tokens = tokens_in_use(keys);
        let mut in_turn = tokens.iter().cycle();
        let mut next = || presented(in_turn.next().expect("endless"));

        group.bench_function(BenchmarkId::new("digest", keys), |b| {
            b.iter(|| next().digest(None));
        });
        group.bench_function(BenchmarkId::new("digest, find", keys), |b| {
            b.iter(|| {
                let found = snapshot.find(&SecretDigest::Blake3(next().digest(None)));
                found.map(|found| found.revision())
            });
        });
        group.bench_function(BenchmarkId::new("digest, find, read, compile", keys), |b| {
            b.iter(|| {
                let found = snapshot.find(&SecretDigest::Blake3(next().digest(None)));
                let record = found.and_then(|found| found.record());
                Principal::compile(&record.expect("a record"))
            });
        });
        for token in tokens.iter().chain(&tokens) {
            let lookup = replica.look_up(&snapshot, &presented(token));
            assert!(matches!(lookup, KeyLookup::Found { .. }));
        }
        group.bench_function(BenchmarkId::new("warm", keys), |b| {
            b.iter(|| {
                let snapshot = replica.pin().expect("a snapshot");
                replica.look_up(&snapshot, &next())
            });
        });
        let unknown: Vec<_> = (keys..keys + 1000).map(common::token).collect();
        let mut unknown = unknown.iter().cycle();
        group.bench_function(BenchmarkId::new("unknown", keys), |b| {
            b.iter(|| replica.look_up(&snapshot, &presented(unknown.next().expect("endless"))));
        });
    }
    group.finish();
}

fn record_use(c: &mut Criterion) {
    let replica = common::replica(1);
    let ids: Vec<_> = (0..IN_USE)
        .map(|i| KeyId::new(format!("key-{i}")))
        .collect();
    ids.iter()
        .for_each(|id| replica.record_use(id, common::NOW));
    let mut in_turn = ids.iter().cycle();
    c.bench_function("record a use", |b| {
        b.iter(|| replica.record_use(in_turn.next().expect("endless"), common::NOW));
    });
}

fn load(c: &mut Criterion) {
    let mut group = c.benchmark_group("load");
    group.sample_size(10);
    for &keys in sizes() {
        group.bench_function(BenchmarkId::new("make the keys", keys), |b| {
            b.iter(|| (0..keys).for_each(|i| drop(black_box(common::entry(i)))));
        });
        group.bench_function(BenchmarkId::new("make the keys and load them", keys), |b| {
            b.iter(|| common::replica(keys));
        });
    }
    group.finish();
}

fn apply(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply");
    for &keys in sizes() {
        let replica = common::replica(keys);
        let mut revision = keys;
        let mut change = || {
            revision += 1;
            Change {
                previous: Revision(revision - 1),
                revision: Revision(revision),
                put: vec![common::entry(revision % keys)],
                removed: Vec::new(),
            }
        };
        group.bench_function(BenchmarkId::new("a change of one key", keys), |b| {
            b.iter_batched(
                &mut change,
                |change| replica.apply(&change),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, look_up, record_use, load, apply);
criterion_main!(benches);
