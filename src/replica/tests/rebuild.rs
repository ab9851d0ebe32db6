//! When a base is rebuilt, by whom, and what becomes of changes that come meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use super::{Broken, Keys, digest, entry, plain, put, replica, token};
use crate::authz::Revision;
use crate::replica::current::{Applied, Current, Rebuild};
use crate::wire::{Change, ChangeSink, Incomplete};

fn loaded(overlay_keys_min: usize, keys: u32) -> Current {
    let current = Current::with_overlay(overlay_keys_min);
    current
        .load(&mut Keys {
            epoch: 1,
            revision: 1,
            entries: (0..keys).map(|number| plain(number, 1)).collect(),
        })
        .unwrap();
    current
}

fn apply(current: &Current, change: &Change) -> Option<Rebuild> {
    match current.apply(change) {
        Applied::Now(rebuild) => rebuild,
        other @ (Applied::Already | Applied::Gap | Applied::NothingLoaded) => panic!("{other:?}"),
    }
}

fn change(revision: u64) -> Change {
    put(revision, vec![plain(revision as u32, revision)])
}

fn changed_keys(current: &Current) -> usize {
    current.pin().unwrap().changed_keys()
}

#[test]
fn a_rebuild_is_due_when_the_overlay_passes_its_limit_and_one_at_a_time() {
    let current = loaded(2, 1);
    assert!(apply(&current, &change(2)).is_none());
    assert!(apply(&current, &change(3)).is_none());
    let rebuild = apply(&current, &change(4)).expect("three keys are more than two");
    assert!(apply(&current, &change(5)).is_none(), "one is under way");

    assert!(current.install(&rebuild, rebuild.build()).is_none());
    assert_eq!(changed_keys(&current), 1, "what came meanwhile is kept");
    let snapshot = current.pin().unwrap();
    snapshot.check_invariants();
    for number in [0, 2, 3, 4, 5] {
        assert!(
            snapshot.find(&digest(&token(number), None)).is_some(),
            "key {number}"
        );
    }
}

#[test]
fn a_large_base_bears_a_larger_overlay() {
    let current = loaded(0, 160);
    for revision in 2..22 {
        assert!(
            apply(
                &current,
                &put(revision, vec![plain(revision as u32, revision)])
            )
            .is_none()
        );
    }
    assert_eq!(changed_keys(&current), 20);
    assert!(apply(&current, &change(22)).is_some());
}

#[test]
fn changes_beyond_the_limit_during_a_rebuild_make_the_next_one_due() {
    let current = loaded(1, 1);
    assert!(apply(&current, &change(2)).is_none());
    let rebuild = apply(&current, &change(3)).unwrap();
    assert!(apply(&current, &change(4)).is_none());
    assert!(apply(&current, &change(5)).is_none());
    let next = current
        .install(&rebuild, rebuild.build())
        .expect("two came meanwhile");
    assert!(current.install(&next, next.build()).is_none());
    assert_eq!(changed_keys(&current), 0);
}

#[test]
fn a_rebuild_of_a_state_that_was_replaced_is_void() {
    let current = loaded(0, 1);
    let rebuild = apply(&current, &change(2)).unwrap();
    current
        .load(&mut Keys {
            epoch: 2,
            revision: 7,
            entries: vec![plain(7, 7)],
        })
        .unwrap();
    let other = apply(&current, &change(8)).expect("its own rebuild, beside the void one");
    assert!(current.install(&rebuild, rebuild.build()).is_none());
    current.abandon(&rebuild);
    let snapshot = current.pin().unwrap();
    assert!(snapshot.find(&digest(&token(2), None)).is_none());
    assert!(snapshot.find(&digest(&token(8), None)).is_some());
    assert!(current.install(&other, other.build()).is_none());
    assert_eq!(changed_keys(&current), 0);
}

#[test]
fn a_state_that_breaks_off_changes_nothing() {
    let current = loaded(0, 1);
    let rebuild = apply(&current, &change(2)).unwrap();
    let broken = current.load(&mut Broken(Keys {
        epoch: 2,
        revision: 7,
        entries: vec![plain(7, 7)],
    }));
    assert_eq!(broken, Err(Incomplete));
    let snapshot = current.pin().unwrap();
    assert_eq!(snapshot.revision(), Revision(2));
    assert!(snapshot.find(&digest(&token(2), None)).is_some());
    assert!(snapshot.find(&digest(&token(7), None)).is_none());
    assert!(current.install(&rebuild, rebuild.build()).is_none());
    assert_eq!(changed_keys(&current), 0, "the rebuild went on");
}

#[test]
fn one_that_was_given_up_is_due_again() {
    let current = loaded(0, 1);
    let rebuild = apply(&current, &change(2)).unwrap();
    current.abandon(&rebuild);
    assert!(apply(&current, &change(3)).is_some());
}

/// With the real thread: whenever it is done, everything is there.
#[test]
fn a_replica_rebuilds_beside_its_readers() {
    const KEYS: u32 = 6000;
    let replica = replica(Vec::new());
    let half = KEYS / 2;
    replica.apply(&put(2, (0..half).map(|number| plain(number, 2)).collect()));
    replica.apply(&put(
        3,
        (half..KEYS).map(|number| plain(number, 3)).collect(),
    ));
    let deadline = Instant::now() + Duration::from_secs(120);
    while replica.status().changed_keys > 0 {
        assert!(Instant::now() < deadline, "no rebuild");
        thread::yield_now();
    }
    let snapshot = replica.pin().unwrap();
    snapshot.check_invariants();
    assert_eq!(snapshot.keys(), u64::from(KEYS));
    assert!((0..KEYS).all(|number| snapshot.find(&digest(&token(number), None)).is_some()));
}

/// No source has two keys with one digest at the same time. Were there one, the base would still be sound.
#[test]
fn where_two_keys_claim_a_digest_the_later_one_has_it() {
    let shared = [(digest(&token(1), None), None)];
    for [first, second] in [[3, 4], [4, 3]] {
        let current = Current::default();
        current
            .load(&mut Keys {
                epoch: 1,
                revision: 4,
                entries: vec![entry(1, first, &shared), entry(2, second, &shared)],
            })
            .unwrap();
        let snapshot = current.pin().unwrap();
        snapshot.check_invariants();
        let found = snapshot.find(&shared[0].0).unwrap();
        assert_eq!(found.revision(), Revision(4));
    }
}
