//! See `tests/it/fuzz/rules.rs`.
#![no_main]

keyward_fuzz::program!("rules");
