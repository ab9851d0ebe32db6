//! See `tests/it/fuzz/body.rs`.
#![no_main]

keyward_fuzz::program!("body");
