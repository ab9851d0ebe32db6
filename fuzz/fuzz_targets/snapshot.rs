//! See `tests/it/fuzz/snapshot.rs`.
#![no_main]

keyward_fuzz::program!("snapshot");
