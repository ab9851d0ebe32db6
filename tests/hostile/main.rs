//! Hostile requests, as raw bytes, against a real `keyward run`: a table of what must be refused, and of what the
//! upstream must see, byte for byte, of what is let through.
//!
//! It knows the gateway by its configuration, its sockets and its answers only.
// Says to clippy that helpers here are test code too.
#![cfg(test)]

mod row;
mod rows;
mod upstream;
mod wire;
mod world;

use std::collections::BTreeSet;

use world::World;

/// What issue and outside suites expect of a table that deserves its name.
const ROWS_MIN: usize = 400;

#[test]
fn every_request_is_refused_or_seen_as_it_was_judged() {
    let world = World::start();
    let mut distinct = BTreeSet::new();
    let mut wrong = Vec::new();
    for (theme, rows) in rows::all() {
        for row in rows {
            // A row may stand in two themes; it counts once.
            if !distinct.insert(row.key()) {
                continue;
            }
            if let Err(why) = row.run(&world) {
                wrong.push(format!("{theme}: {row}\n    {why}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{}",
        wrong.len(),
        distinct.len(),
        wrong.join("\n")
    );
    assert!(distinct.len() >= ROWS_MIN, "only {} rows", distinct.len());
    world.stop_without_keys_in_output();
}
