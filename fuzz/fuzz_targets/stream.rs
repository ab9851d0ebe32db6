//! See `tests/it/fuzz/stream.rs`.
#![no_main]

keyward_fuzz::program!("stream");
