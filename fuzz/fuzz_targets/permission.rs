//! See `tests/it/fuzz/permission.rs`.
#![no_main]

keyward_fuzz::program!("permission");
