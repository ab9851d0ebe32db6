//! The fuzz targets without a fuzzer: the committed corpus, and what is made of it by a few steps, each run.
//!
//! What fails prints its bytes; as a file in the corpus of its target they are a case for ever.

use std::fs;
use std::path::{Path, PathBuf};

use crate::authz_properties::{SEED, setting};
use crate::fuzz::{TARGETS, Target};
use crate::generate::Gen;

/// What means something to some target.
const WORDS: &[&[u8]] = &[
    b"/",
    b"..",
    b"%2F",
    b"%2e",
    b"%25",
    b"%00",
    b";",
    b"\r\n",
    b"\n",
    b"\t",
    b" ",
    b":",
    b",",
    b"*",
    b"manage",
    b"\0",
    b"\xff",
    b"\xc2\xa0",
    b"GET ",
    b" HTTP/1.1\r\n",
    b"Host: a\r\n",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: x\r\n",
    b"Bearer ",
    b"authorization: ",
    b"$ne",
    b"$regex",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"- ",
    b"&a *a",
    b"0\r\n\r\n",
    b"ffffffffffffffff",
    b"10000000000000000",
];

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name)
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(corpus(name)).expect("a corpus");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("a seed"))
        .collect()
}

/// Shows the bytes when the target panics over them.
struct Shown<'a>(&'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the bytes are b\"{}\"", self.0.escape_ascii());
        }
    }
}

fn try_out(target: Target, bytes: &[u8]) {
    let shown = Shown(bytes);
    target(bytes);
    drop(shown);
}

/// One step away from `bytes`.
fn changed(g: &mut Gen, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = g.below(bytes.len() + 1);
    let end = (at + g.below(16)).min(bytes.len());
    match g.below(7) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let word = g.pick(WORDS).to_vec();
            bytes.splice(at..at, word);
        }
        2 => {
            let word = g.pick(WORDS).to_vec();
            bytes.splice(at..end, word);
        }
        3 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        4 => {
            let other = g.one(seeds);
            let from = g.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        5 => bytes.truncate(at),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << g.below(8);
            }
        }
    }
}

/// The corpus, and so many of a thousand of all checks beside it.
fn run(name: &str, share: u64) {
    let (_, target) = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target");
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "fuzz/corpus/{name} is empty");
    seeds.iter().for_each(|seed| try_out(*target, seed));
    let count = setting("KEYWARD_CHECKS", 100_000) * share / 1000;
    for number in 0..count {
        let g = &mut Gen::new(setting("KEYWARD_SEED", SEED) + number);
        let mut bytes = g.one(&seeds);
        for _ in 0..=g.below(5) {
            changed(g, &mut bytes, &seeds);
        }
        try_out(*target, &bytes);
    }
    println!(
        "{name}: {} seeds and {count} cases made of them",
        seeds.len()
    );
}

#[test]
fn body() {
    run("body", 100);
}

#[test]
fn config() {
    run("config", 2);
}

#[test]
fn credential() {
    run("credential", 100);
}

#[test]
fn permission() {
    run("permission", 100);
}

#[test]
fn request() {
    run("request", 200);
}

#[test]
fn rules() {
    run("rules", 50);
}

#[test]
fn snapshot() {
    run("snapshot", 5);
}

#[test]
fn stream() {
    run("stream", 50);
}

#[test]
fn each_target_is_a_program_of_the_fuzzer_with_a_corpus_and_is_run_here() {
    let here = include_str!("fuzz_targets.rs");
    let manifest = include_str!("../../fuzz/Cargo.toml");
    for (name, _) in TARGETS {
        assert!(
            here.contains(&format!("run(\"{name}\"")),
            "{name} is not run"
        );
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} has no program"
        );
        assert!(corpus(name).is_dir(), "{name} has no corpus");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}
