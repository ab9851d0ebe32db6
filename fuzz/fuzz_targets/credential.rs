//! See `tests/it/fuzz/credential.rs`.
#![no_main]

keyward_fuzz::program!("credential");
