//! Answers in every order, and what the copy must be after them.

use super::*;
use crate::authz::{KeyStatus, RawGrants, Tenant};

const ACME: usize = 0;
const OTHER: usize = 1;

fn follower() -> Follower {
    Follower::new(Epoch(1), 2)
}

fn digest(byte: u8) -> KeyDigest {
    KeyDigest::from_bytes([byte; 32])
}

fn key(id: &str, updated_at: Option<&str>) -> PlatformKey {
    PlatformKey {
        record: KeyRecord {
            id: KeyId::new(id),
            tenant: Tenant::Org("acme".to_owned()),
            name: String::new(),
            owner: None,
            status: KeyStatus::Active,
            expires_at: None,
            grants: RawGrants::Org {
                permissions: vec!["a:b".to_owned()],
                scopes: Vec::new(),
            },
            revision: Revision(0),
        },
        updated_at: updated_at.map(Into::into),
        digest: None,
    }
}

fn disabled(mut key: PlatformKey) -> PlatformKey {
    key.record.status = KeyStatus::Disabled;
    key
}

impl Follower {
    fn list(&mut self, keys: Vec<PlatformKey>) -> Option<Change> {
        let began = self.begin();
        self.listed(ACME, began, keys).unwrap().change
    }

    /// Validates at once.
    fn learn(&mut self, byte: u8, key: PlatformKey) -> Learned {
        let began = self.begin();
        self.validated(ACME, began, digest(byte), key)
    }

    /// The key that a digest leads to.
    fn bound(&self, byte: u8) -> Option<&str> {
        let id = self.followed[ACME].by_digest.get(&digest(byte))?;
        let known = &self.followed[ACME].keys[id];
        assert_eq!(known.digest, Some(digest(byte)));
        Some(id.as_str())
    }
}

#[track_caller]
fn is_bound(learned: &Learned) {
    assert!(matches!(learned, Learned::Bound(_)), "{learned:?}");
}

#[test]
fn a_list_is_taken_once_and_then_only_what_is_new_in_it() {
    let mut follower = follower();
    let first = follower.list(vec![key("a", Some("1")), key("b", Some("1"))]);
    assert_eq!(first.unwrap().put.len(), 2);
    assert!(
        follower
            .list(vec![key("b", Some("1")), key("a", Some("1"))])
            .is_none()
    );
    let change = follower
        .list(vec![disabled(key("a", Some("2"))), key("c", None)])
        .unwrap();
    let put: Vec<_> = change.put.iter().map(|e| e.record.id.as_str()).collect();
    assert_eq!(put, ["a", "c"]);
    assert_eq!(change.removed, [KeyId::new("b")]);
    assert_eq!(change.revision, Revision(2));
    assert!(change.put.iter().all(|e| e.record.revision == Revision(2)));
}

#[test]
fn a_binding_is_in_doubt_when_the_key_moves_and_ends_with_the_key() {
    let mut follower = follower();
    follower.list(vec![key("a", Some("1"))]);
    is_bound(&follower.learn(1, key("a", Some("1"))));
    assert!(!follower.is_moved(ACME, &digest(1)));
    // A list that says nothing of updates moves nothing.
    for same in [Some("1"), None] {
        assert!(follower.list(vec![key("a", same)]).is_none());
        assert!(!follower.is_moved(ACME, &digest(1)), "nothing moved");
    }
    let began = follower.begin();
    let taken = follower.listed(ACME, began, vec![key("a", Some("2"))]);
    assert_eq!(taken.unwrap().moved, [digest(1)]);
    assert!(follower.is_moved(ACME, &digest(1)));
    // What goes on under it is not cut for that.
    assert_eq!(follower.bound(1), Some("a"));
    assert!(follower.list(vec![key("a", Some("2"))]).is_none());

    let kept: Vec<Kept> = follower.keys().map(|(_, kept)| kept).collect();
    let mut again = Follower::new(Epoch(2), 1);
    again.restore(ACME, Revision(9), kept.into_iter());
    assert!(again.is_moved(ACME, &digest(1)));
    assert_eq!(again.revision(), Revision(9));

    is_bound(&follower.learn(1, key("a", Some("2"))));
    assert!(!follower.is_moved(ACME, &digest(1)));
    let removed = follower.list(Vec::new()).unwrap().removed;
    assert_eq!(removed, [KeyId::new("a")]);
    assert_eq!(follower.bound(1), None);
    assert!(follower.is_moved(ACME, &digest(1)), "nobody can say");
}

#[test]
fn a_second_secret_takes_the_place_of_the_first() {
    let mut follower = follower();
    follower.list(vec![key("a", None)]);
    is_bound(&follower.learn(1, key("a", None)));
    let old = follower.begin();
    is_bound(&follower.learn(2, key("a", None)));
    assert_eq!((follower.bound(1), follower.bound(2)), (None, Some("a")));
    // An answer about the first that was asked for before the second was known says nothing any more.
    let late = follower.validated(ACME, old, digest(1), key("a", None));
    assert!(matches!(late, Learned::Outdated), "{late:?}");
    assert_eq!(follower.bound(2), Some("a"));
}

#[test]
fn a_digest_leads_to_one_key() {
    let mut follower = follower();
    follower.list(vec![key("a", None), key("b", None)]);
    is_bound(&follower.learn(1, key("a", None)));
    let Learned::Bound(Some(change)) = follower.learn(1, key("b", None)) else {
        panic!("it is news");
    };
    let secrets: Vec<_> = change.put.iter().map(|e| e.secrets.len()).collect();
    assert_eq!(secrets, [0, 1], "from the one, to the other");
    assert_eq!(follower.bound(1), Some("b"));
}

#[test]
fn a_new_key_is_there_before_it_is_listed() {
    let mut follower = follower();
    follower.list(Vec::new());
    let Learned::Bound(Some(change)) = follower.learn(1, key("new", Some("1"))) else {
        panic!("it is news");
    };
    assert_eq!(change.put[0].secrets.len(), 1);
    assert!(follower.list(vec![key("new", Some("1"))]).is_none());
    assert_eq!(follower.bound(1), Some("new"));
}

#[test]
fn what_lists_have_ceased_to_name_is_not_let_in_again_by_an_answer() {
    let mut follower = follower();
    follower.list(vec![key("a", Some("1"))]);
    follower.list(Vec::new());
    let learned = follower.learn(1, key("a", Some("1")));
    assert!(matches!(learned, Learned::Contradicted), "{learned:?}");
    follower.list(vec![key("a", Some("1"))]);
    is_bound(&follower.learn(1, key("a", Some("1"))));
}

#[test]
fn a_key_that_came_while_a_list_was_made_is_only_asked_for_again() {
    let mut follower = follower();
    follower.list(Vec::new());
    let list = follower.begin();
    is_bound(&follower.learn(1, key("new", Some("1"))));
    follower.listed(ACME, list, Vec::new()).unwrap();
    assert_eq!(follower.bound(1), None);
    is_bound(&follower.learn(1, key("new", Some("1"))));
}

#[test]
fn an_answer_from_before_a_list_counts_only_for_the_version_of_the_list() {
    let mut follower = follower();
    follower.list(vec![key("a", Some("1")), key("b", None)]);
    for (named, told, is_taken) in [
        ("a", Some("2"), true),
        ("a", Some("1"), false),
        ("a", None, false),
        ("b", None, false),
        ("c", Some("1"), false),
    ] {
        let began = follower.begin();
        follower.list(vec![key("a", Some("2")), key("b", None)]);
        let learned = follower.validated(ACME, began, digest(9), key(named, told));
        let taken = matches!(learned, Learned::Bound(_));
        assert_eq!(taken, is_taken, "{named} {told:?}: {learned:?}");
    }
}

#[test]
fn a_refusal_ends_the_binding_that_it_was_asked_for() {
    let mut follower = follower();
    follower.list(vec![key("a", None)]);
    let before = follower.begin();
    is_bound(&follower.learn(1, key("a", None)));
    assert!(follower.refused(ACME, before, digest(1)).is_none());
    let now = follower.begin();
    let change = follower.refused(ACME, now, digest(1)).unwrap();
    assert!(change.put[0].secrets.is_empty());
    assert_eq!(follower.bound(1), None);
    assert!(follower.refused(ACME, now, digest(1)).is_none());
}

#[test]
fn a_refusal_of_a_key_that_is_switched_off_says_nothing_of_its_binding() {
    let mut follower = follower();
    follower.list(vec![key("a", Some("1"))]);
    is_bound(&follower.learn(1, key("a", Some("1"))));
    follower.list(vec![disabled(key("a", Some("2")))]);
    let now = follower.begin();
    assert!(follower.refused(ACME, now, digest(1)).is_none());
    assert_eq!(follower.bound(1), Some("a"));
    // Switched on again, it is in doubt, and this time the refusal is about the secret.
    follower.list(vec![key("a", Some("3"))]);
    assert!(follower.is_moved(ACME, &digest(1)));
    let now = follower.begin();
    assert!(follower.refused(ACME, now, digest(1)).is_some());
    assert_eq!(follower.bound(1), None);
}

#[test]
fn a_key_of_another_tenant_is_taken_from_nobody() {
    let mut follower = follower();
    follower.list(vec![key("a", None)]);
    let began = follower.begin();
    let theirs = follower.listed(OTHER, began, vec![key("a", None), key("b", None)]);
    assert_eq!(theirs.map(drop).unwrap_err(), Foreign);
    assert!(follower.followed[OTHER].listed.is_none());
    follower.listed(OTHER, began, vec![key("b", None)]).unwrap();
    let learned = follower.learn(1, key("b", None));
    assert!(matches!(learned, Learned::Contradicted), "{learned:?}");
    let began = follower.begin();
    let twice = vec![key("c", None), key("c", None)];
    assert!(follower.listed(ACME, began, twice).is_err());
}
