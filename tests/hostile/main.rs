//! Hostile requests, as raw bytes, against a real `keyward run`: a table of what must be refused, and of what the
//! upstream must see, byte for byte, of what is let through.
//!
//! It knows the gateway by its configuration, its sockets and its answers only.
// Says to clippy that helpers here are test code too.
#![cfg(test)]

#[path = "../it/support/frames.rs"]
#[expect(dead_code, reason = "each of the two suites uses its part of it")]
mod frames;
mod http2;
mod row;
mod rows;
mod upstream;
mod wire;
mod world;

use std::collections::BTreeSet;

use world::World;

/// What issue and outside suites expect of a table that deserves its name.
const ROWS_MIN: usize = 400;

/// The same of HTTP/2.
const HTTP2_ROWS_MIN: usize = 250;

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
    is_right(&wrong, distinct.len(), ROWS_MIN);
    world.stop_without_keys_in_output(ROWS_MIN);
}

#[test]
fn every_request_of_http_2_is_refused_or_seen_as_it_was_judged() {
    let world = World::start();
    let mut distinct = BTreeSet::new();
    let mut wrong = Vec::new();
    for row in rows::http2::rows() {
        if !distinct.insert(row.key()) {
            continue;
        }
        if let Err(why) = row.run(&world) {
            wrong.push(format!("{row}\n    {why}"));
        }
    }
    is_right(&wrong, distinct.len(), HTTP2_ROWS_MIN);
    world.stop_without_keys_in_output(HTTP2_ROWS_MIN);
}

fn is_right(wrong: &[String], rows: usize, least: usize) {
    assert!(
        wrong.is_empty(),
        "{} of {rows} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(rows >= least, "only {rows} rows");
}
