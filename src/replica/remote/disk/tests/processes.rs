//! Processes that are killed at every step, and two of them in one directory.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const KEYS: u64 = 5;
/// Tells a child where to work, and at which step to die.
const CHILD: &str = "KEYWARD_TEST_DISK_CHILD";

/// The child of the test below; without its variable it does nothing.
#[test]
fn child() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let (step_number, directory) = told.split_once(' ').unwrap();
    let die_at: usize = step_number.parse().unwrap();
    let taken = AtomicUsize::new(0);
    let script = move |_: &'static str| {
        if taken.fetch_add(1, Ordering::Relaxed) == die_at {
            // As by `kill -9`: nothing is flushed, nothing dropped.
            std::process::abort();
        }
        Ok(())
    };
    let steps = Steps {
        script: Some(Arc::new(script)),
    };
    let gateway = Gateway::with(Path::new(directory), &[TOKEN], steps);
    let applied = |revision: u64| {
        println!("applied {revision}");
        std::io::stdout().flush().unwrap();
    };
    let from = gateway.restore().map_or(0, |kept| kept.at.revision.0);
    if from == 0 {
        gateway.load(first(KEYS));
        gateway.turn();
        applied(1);
    }
    for revision in from.max(1) + 1..=from.max(1) + 3 {
        gateway.apply(&step(revision));
        applied(revision);
        gateway.turn();
    }
    // A new snapshot and a new journal.
    let next = from.max(1) + 4;
    gateway.load(State {
        revision: next,
        entries: expected(KEYS, next).into_values().collect(),
        ..first(0)
    });
    gateway.turn();
    applied(next);
    println!("whole");
}

/// What a child that dies at this step has said that it had applied, and whether it lived to the end.
fn run(directory: &Path, die_at: usize) -> (u64, bool) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "replica::remote::disk::tests::processes::child",
            "--nocapture",
        ])
        .env(CHILD, format!("{die_at} {}", directory.display()))
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    let applied = said.lines().filter_map(|line| line.rsplit_once("applied "));
    let last = applied
        .filter_map(|(_, revision)| revision.trim().parse().ok())
        .max();
    (last.unwrap_or(0), said.contains("whole"))
}

#[test]
fn whichever_step_a_process_dies_at_the_copy_is_whole_and_not_older_than_what_it_said() {
    let directory = tempfile::tempdir().unwrap();
    let mut at_least = 0;
    let mut lived = 0;
    for die_at in 0..usize::MAX {
        let (applied, is_whole) = run(directory.path(), die_at);
        at_least = at_least.max(applied);
        let replica = fresh();
        let kept = look(directory.path(), &[TOKEN.to_owned()], &*replica).expect("never damaged");
        let revision = kept.map_or(0, |kept| kept.at.revision.0);
        assert!(
            revision >= at_least,
            "{revision} after {at_least}, died at {die_at}"
        );
        if revision > 0 {
            assert_eq!(content(&replica.pin().unwrap()), expected(KEYS, revision));
        }
        at_least = revision;
        lived += usize::from(is_whole);
        if lived == 2 {
            return;
        }
    }
}

#[test]
fn a_second_process_writes_when_the_first_has_ended_and_never_over_what_is_newer() {
    let directory = tempfile::tempdir().unwrap();
    let (first_one, _) = Gateway::restored(directory.path());
    first_one.load(first(KEYS));
    first_one.turn();
    (2..=4).for_each(|revision| first_one.apply(&step(revision)));

    let (second, kept) = Gateway::restored(directory.path());
    assert_eq!(
        kept.unwrap().at,
        at(4),
        "it begins with what the first has kept"
    );
    assert_ne!(second.disk.gateway_id(), first_one.disk.gateway_id());
    second.apply(&step(5));
    second.turn();
    (5..=8).for_each(|revision| first_one.apply(&step(revision)));
    let seen = || {
        let replica = fresh();
        let kept = look(directory.path(), &[TOKEN.to_owned()], &*replica).unwrap();
        assert_eq!(
            content(&replica.pin().unwrap()),
            expected(KEYS, kept.unwrap().at.revision.0)
        );
        kept.unwrap().at
    };
    assert_eq!(seen(), at(8), "the second has not written");
    let id = first_one.disk.gateway_id();
    drop(first_one);
    second.turn();
    assert_eq!(seen(), at(8), "the second is behind");
    (6..=9).for_each(|revision| second.apply(&step(revision)));
    second.turn();
    assert_eq!(seen(), at(9));
    second.apply(&step(10));
    assert_eq!(seen(), at(10));
    drop(second);
    let (third, kept) = Gateway::restored(directory.path());
    assert_eq!(kept.unwrap().at, at(10));
    assert_eq!(third.disk.gateway_id(), id, "made once, kept with the copy");
}

#[test]
fn the_thread_does_what_the_turns_of_the_tests_do() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::open(directory.path());
    assert_eq!(gateway.disk.restore(&*gateway.replica), None);
    gateway.load(first(KEYS));
    (2..=4).for_each(|revision| gateway.apply(&step(revision)));
    gateway.disk.end();
    let (again, kept) = Gateway::restored(directory.path());
    assert_eq!(kept.unwrap().at, at(4));
    assert_eq!(again.content(), expected(KEYS, 4));
}
