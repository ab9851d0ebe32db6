//! See `tests/it/fuzz/request.rs`.
#![no_main]

keyward_fuzz::program!("request");
