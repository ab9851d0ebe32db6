//! A warm decision allocates nothing: counted by an allocator, for each family.
#![cfg(test)]
#![cfg(feature = "replica")]

#[path = "../benches/common/mod.rs"]
mod common;

use http::Method;
use keyward::authz::{Admission, Decision, Reason, RequestFacts};

#[test]
fn a_warm_decision_allocates_nothing() {
    let replica = common::replica(3_000);
    let rulebook = common::rulebook(100);
    for kind in common::KINDS {
        let requests: Vec<_> = common::tokens_in_use(3_000, kind)
            .iter()
            .map(|token| common::request(kind, token))
            .collect();
        let pass = || {
            for (headers, target) in &requests {
                let facts = RequestFacts::new(&Method::GET, b"api.example.com", target, headers)
                    .expect("canonical");
                let snapshot = replica.pin().expect("a snapshot");
                let Admission::NeedsKey(pending) = rulebook.admit(&facts) else {
                    panic!("a key is shown")
                };
                let lookup = replica.look_up(&snapshot, &pending.key);
                let decision = rulebook.conclude(&pending, lookup, &facts, common::NOW);
                assert!(matches!(decision, Decision::Allow(_)), "{decision:?}");
            }
        };
        // The first compiles the keys; the second lets moka finish what it puts off of an insertion.
        pass();
        pass();
        let counted = allocation_counter::measure(pass);
        assert_eq!(counted.count_total, 0, "{kind:?}: {counted:?}");
    }
}

/// There is no list of keys that are nobody's for a flood to grow: the snapshot says of each that it has none.
#[test]
fn refusing_keys_that_are_nobodys_keeps_nothing_of_them() {
    const FLOOD: u64 = 20_000;
    let replica = common::replica(3_000);
    let rulebook = common::rulebook(100);
    let refuse = |token: &str| {
        let kind = common::Kind::Org;
        let (headers, target) = common::request(kind, token);
        let facts = RequestFacts::new(&Method::GET, b"api.example.com", target, &headers)
            .expect("canonical");
        let snapshot = replica.pin().expect("a snapshot");
        let Admission::NeedsKey(pending) = rulebook.admit(&facts) else {
            panic!("a key is shown")
        };
        let lookup = replica.look_up(&snapshot, &pending.key);
        let decision = rulebook.conclude(&pending, lookup, &facts, common::NOW);
        match decision {
            Decision::Deny(denial) => assert_eq!(denial.reason, Reason::UnknownKey),
            Decision::Allow(permit) => panic!("{permit:?}"),
        }
    };
    let unknown = |n: u64| common::token(3 * (1_000_000 + n));
    (0..100).for_each(|n| refuse(&unknown(n)));
    let kept = allocation_counter::measure(|| {
        (100..FLOOD).for_each(|n| refuse(&unknown(n)));
    });
    assert_eq!(kept.bytes_current, 0, "{kept:?}");
    assert_eq!(replica.status().cache_unknown, FLOOD);
}
