//! See `tests/it/fuzz/config.rs`.
#![no_main]

keyward_fuzz::program!("config");
