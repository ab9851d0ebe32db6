//! What a look-up finds, and that it never finds what was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::{Keys, digest, entry, plain, presented, put, removal, replica, token};
use crate::authz::{
    KeyDigest, KeyId, KeyLookup, Pepper, Principal, Revision, Sha256Digest, Timestamp,
};
use crate::replica::{Config, Replica, Status};
use crate::wire::{Change, ChangeSink, Epoch, SecretDigest};

fn find(replica: &Replica, token: &str) -> KeyLookup {
    replica.look_up(&replica.pin().expect("loaded"), &presented(token))
}

fn principal(lookup: KeyLookup) -> Arc<Principal> {
    match lookup {
        KeyLookup::Found { principal, .. } => principal,
        other @ (KeyLookup::Unknown | KeyLookup::Unavailable) => panic!("{other:?}"),
    }
}

fn is_unknown(lookup: &KeyLookup) -> bool {
    matches!(lookup, KeyLookup::Unknown)
}

#[test]
fn before_the_first_load_there_is_no_snapshot() {
    let replica = Replica::new(Config::default());
    assert!(replica.pin().is_none());
    replica.apply(&put(1, vec![plain(1, 1)]));
    assert!(replica.pin().is_none(), "a change alone is no state");
    assert_eq!(replica.status(), Status::default());
}

#[test]
fn keys_are_found_with_when_their_secret_was_retired() {
    let old = digest(&token(9), None);
    let replica = replica(vec![
        plain(1, 1),
        entry(2, 1, &[(digest(&token(2), None), None), (old, Some(77))]),
    ]);
    let found = find(&replica, &token(9));
    let KeyLookup::Found {
        principal,
        retired_at,
    } = found
    else {
        panic!("{found:?}");
    };
    assert_eq!(principal.id, KeyId::new("k2"));
    assert_eq!(retired_at, Some(Timestamp::from_millis(77)));
    assert!(matches!(
        find(&replica, &token(2)),
        KeyLookup::Found {
            retired_at: None,
            ..
        }
    ));
    assert!(is_unknown(&find(&replica, &token(3))));
}

#[test]
fn a_place_that_is_taken_holds_nobody_up() {
    let replica = replica(vec![plain(1, 1)]);
    replica.principals.while_places_are_taken(|| {
        let first = principal(find(&replica, &token(1)));
        let again = principal(find(&replica, &token(1)));
        assert!(Arc::ptr_eq(&first, &again), "the cache has it");
    });
    let status = replica.status();
    assert_eq!((status.cache_misses, status.cache_hits), (1, 1));
}

#[test]
fn a_key_is_found_by_its_id() {
    let replica = replica(vec![plain(1, 1)]);
    replica.apply(&put(2, vec![plain(2, 2)]));
    let snapshot = replica.pin().unwrap();
    for number in [1, 2] {
        let id = KeyId::new(format!("k{number}"));
        assert_eq!(replica.by_id(&snapshot, &id).unwrap().id, id);
    }
    assert!(replica.by_id(&snapshot, &KeyId::new("k3")).is_none());
}

#[test]
fn digests_of_another_pepper_find_nothing() {
    let pepper = Pepper::derive("a pepper of some length, for tests");
    let replica = Replica::new(Config {
        pepper: pepper.clone(),
        ..Config::default()
    });
    replica
        .load(&mut Keys {
            epoch: 1,
            revision: 1,
            entries: vec![
                entry(1, 1, &[(digest(&token(1), pepper.as_ref()), None)]),
                entry(2, 1, &[(digest(&token(2), None), None)]),
            ],
        })
        .unwrap();
    assert_eq!(principal(find(&replica, &token(1))).id, KeyId::new("k1"));
    assert!(is_unknown(&find(&replica, &token(2))));
}

#[test]
fn sha256_digests_are_found_as_such_only() {
    let sha256 = |number| SecretDigest::Sha256(presented(&token(number)).sha256());
    // The bytes of one kind of digest under the name of the other.
    let as_sha256 = SecretDigest::Sha256(Sha256Digest(
        *KeyDigest::of(token(2).as_bytes(), None).as_bytes(),
    ));
    let as_blake3 = SecretDigest::Blake3(KeyDigest::from_bytes(presented(&token(3)).sha256().0));
    let replica = replica(vec![
        entry(1, 1, &[(sha256(1), None)]),
        entry(2, 1, &[(as_sha256, None)]),
        entry(3, 1, &[(as_blake3, None)]),
    ]);
    assert_eq!(principal(find(&replica, &token(1))).id, KeyId::new("k1"));
    assert!(is_unknown(&find(&replica, &token(2))));
    assert!(is_unknown(&find(&replica, &token(3))));

    replica.apply(&put(2, vec![entry(4, 2, &[(sha256(4), None)])]));
    assert_eq!(principal(find(&replica, &token(4))).id, KeyId::new("k4"));
}

#[test]
fn every_change_is_what_the_next_look_up_sees() {
    let replica = replica(vec![plain(1, 1)]);
    assert_eq!(principal(find(&replica, &token(1))).revision, Revision(1));
    replica.apply(&put(2, vec![plain(1, 2)]));
    assert_eq!(principal(find(&replica, &token(1))).revision, Revision(2));
    replica.apply(&removal(3, 1));
    assert!(is_unknown(&find(&replica, &token(1))));
    replica.apply(&put(4, vec![plain(1, 4)]));
    assert_eq!(principal(find(&replica, &token(1))).revision, Revision(4));
}

#[test]
fn a_request_that_pinned_an_older_snapshot_stays_with_it() {
    let replica = replica(vec![plain(1, 1)]);
    let (before, token) = (replica.pin().unwrap(), token(1));
    replica.apply(&put(2, vec![plain(1, 2)]));
    for _ in 0..2 {
        assert_eq!(principal(find(&replica, &token)).revision, Revision(2));
        let older = replica.look_up(&before, &presented(&token));
        assert_eq!(principal(older).revision, Revision(1));
    }
}

#[test]
fn another_epoch_counts_its_revisions_anew() {
    let replica = replica(vec![plain(1, 1)]);
    principal(find(&replica, &token(1)));
    let mut other = plain(1, 1);
    Arc::make_mut(&mut other.record).id = KeyId::new("other");
    replica
        .load(&mut Keys {
            epoch: 2,
            revision: 1,
            entries: vec![other],
        })
        .unwrap();
    assert_eq!(principal(find(&replica, &token(1))).id, KeyId::new("other"));
    assert_eq!(replica.status().epoch, Some(Epoch(2)));
}

#[test]
fn a_change_that_others_must_come_before_is_not_applied() {
    let replica = replica(vec![plain(1, 1)]);
    replica.apply(&put(3, vec![plain(2, 3)]));
    assert_eq!(replica.status().revision, Revision(1));
    assert!(is_unknown(&find(&replica, &token(2))));
    let change = put(3, vec![plain(2, 3)]);
    let previous = Revision(0);
    replica.apply(&Change { previous, ..change });
    assert_eq!(replica.status().revision, Revision(3));
    principal(find(&replica, &token(2)));
}

#[test]
fn the_status_counts() {
    let replica = replica(vec![plain(1, 1), plain(2, 1)]);
    for number in [1, 1, 2, 3] {
        find(&replica, &token(number));
    }
    let change = put(5, vec![plain(2, 5), plain(4, 5)]);
    let previous = Revision(1);
    replica.apply(&Change { previous, ..change });
    replica.apply(&put(5, vec![plain(6, 5)]));
    find(&replica, &token(2));
    let expected = Status {
        epoch: Some(Epoch(1)),
        revision: Revision(5),
        keys: 3,
        changed_keys: 2,
        changes: 1,
        cache_hits: 1,
        cache_stale: 1,
        cache_misses: 2,
        cache_unknown: 1,
        usage_dropped: 0,
    };
    assert_eq!(replica.status(), expected);
}

#[test]
fn a_warm_look_up_and_its_count_allocate_nothing() {
    const KEYS: u32 = 500;
    let replica = replica((0..KEYS).map(|number| plain(number, 1)).collect());
    let tokens: Vec<String> = (0..KEYS).map(token).collect();
    let now = Timestamp::from_millis(1);
    let pass = || {
        for token in &tokens {
            let found = principal(find(&replica, token));
            replica.record_use(&found.id, now);
        }
    };
    pass();
    pass();
    let allocated = allocation_counter::measure(pass);
    assert_eq!(allocated.count_total, 0, "{allocated:?}");
    assert_eq!(replica.status().cache_misses, u64::from(KEYS));
}

/// One thread changes keys, others look them up: nobody ever sees less than what was applied before it pinned, and
/// a principal is always the version that the pinned snapshot has.
#[test]
fn no_thread_sees_what_was() {
    const KEYS: u32 = 8;
    const CHANGES: u64 = 3000;
    const READERS: u32 = 3;
    /// So that readers end also when the thread that changes keys has failed.
    const LOOK_UPS_MAX: u32 = 20_000_000;
    let replica = replica((0..KEYS).map(|number| plain(number, 1)).collect());
    let applied: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(1)).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for reader in 0..READERS {
            let (replica, applied, done) = (&replica, &applied, &done);
            scope.spawn(move || {
                let mut number = reader;
                for _ in 0..LOOK_UPS_MAX {
                    if done.load(Ordering::Acquire) {
                        return;
                    }
                    number = (number + 1) % KEYS;
                    let token = token(number);
                    let before = applied[number as usize].load(Ordering::Acquire);
                    let snapshot = replica.pin().unwrap();
                    let stored = snapshot
                        .find(&digest(&token, None))
                        .map(|found| found.revision());
                    match replica.look_up(&snapshot, &presented(&token)) {
                        KeyLookup::Found { principal, .. } => {
                            assert!(principal.revision.0 >= before, "an older version");
                            assert_eq!(Some(principal.revision), stored);
                        }
                        KeyLookup::Unknown => assert_eq!(stored, None),
                        KeyLookup::Unavailable => panic!("a damaged snapshot"),
                    }
                }
            });
        }
        for revision in 2..CHANGES {
            let number = (revision % u64::from(KEYS)) as u32;
            if revision % 5 == 0 {
                replica.apply(&removal(revision, number));
            } else {
                replica.apply(&put(revision, vec![plain(number, revision)]));
            }
            applied[number as usize].store(revision, Ordering::Release);
        }
        done.store(true, Ordering::Release);
    });
}
