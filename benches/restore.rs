//! How long a gateway takes from its copy on disk to serving, beside what reading it and building it take alone.
//!
//! `cargo bench --bench restore [-- KEYS]`; a million keys without. Prints seconds, the median of five.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench says its figures, and stops where it has none"
)]

#[expect(
    dead_code,
    reason = "this bench needs keys, and no requests to show them"
)]
mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward::authz::{Revision, Timestamp};
use keyward::replica::remote::disk::{self, Disk};
use keyward::replica::{Config, Replica};
use keyward::wire::{Change, ChangeSink, Incomplete, KeySource};

// As in the product: most of the work is small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOKENS: &str = "a gateway token that is long enough";
const RUNS: usize = 5;

/// Draws everything and keeps nothing.
struct Nowhere;

impl ChangeSink for Nowhere {
    fn load(&self, source: &mut dyn KeySource) -> Result<(), Incomplete> {
        let drawn = source.entries().count();
        assert!(drawn > 0 && source.is_whole());
        Ok(())
    }

    fn apply(&self, _: &Change) {}
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .map_or(0.0, Duration::as_secs_f64)
}

fn timed(mut work: impl FnMut()) -> f64 {
    let once = |_| {
        let began = Instant::now();
        work();
        began.elapsed()
    };
    median((0..RUNS).map(once).collect())
}

/// Writes a copy of so many keys; says what that took.
fn write(directory: &Path, keys: u64) -> f64 {
    let replica = Replica::new(Config::default());
    let disk = Disk::open(Some(directory), &[TOKENS.to_owned()], &replica).expect("a directory");
    assert!(disk.restore(&*replica).is_none());
    let loaded = replica.load(&mut common::Generated { keys });
    loaded.expect("what is generated does not break off");
    let began = Instant::now();
    disk.loaded(None, Timestamp::from_millis(0));
    disk.end();
    began.elapsed().as_secs_f64()
}

fn main() {
    let keys = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let keys = keys.unwrap_or(if is_measured { 1_000_000 } else { 1_000 });
    let directory = tempfile::tempdir().expect("a temporary directory");
    let written = write(directory.path(), keys);
    let size = std::fs::metadata(directory.path().join("keys.snapshot"));
    let size = size.expect("it was written").len();
    println!("{keys} keys, {} MiB, written in {written:.2} s", size >> 20);

    let look = |sink: &dyn ChangeSink| {
        let kept = disk::look(directory.path(), &[TOKENS.to_owned()], None, sink);
        let kept = kept.expect("it is whole").expect("it is there");
        assert_eq!(kept.at.revision, Revision(keys));
    };
    let read = timed(|| look(&Nowhere));
    let build = timed(|| drop(common::replica(keys)));
    let restore = timed(|| {
        let replica: Arc<Replica> = Replica::new(Config::default());
        look(&*replica);
        assert_eq!(replica.status().keys, keys);
    });
    println!(
        "read {read:.2} s, build (with making the keys up) {build:.2} s, restore {restore:.2} s"
    );
}
