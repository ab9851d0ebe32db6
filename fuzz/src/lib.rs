//! The targets that the ordinary tests have, for a fuzzer. Nothing of its own.

#[path = "../../tests/it/bridge.rs"]
mod bridge;
#[path = "../../tests/it/fuzz/mod.rs"]
mod fuzz;
#[path = "../../tests/it/generate/mod.rs"]
mod generate;
#[path = "../../tests/it/model/mod.rs"]
mod model;

pub use libfuzzer_sys;

/// Runs the target of this name.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = fuzz::TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target");
    target(data);
}

/// A program that fuzzes the target of this name.
#[macro_export]
macro_rules! program {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::run($name, data));
    };
}
