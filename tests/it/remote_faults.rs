//! A gateway and a control plane between which everything goes wrong that can: cuts at every byte, repetitions, gaps,
//! silence, and no control plane at all.

use std::time::Duration;

use keyward::authz::{KeyLookup, KeyStatus, PresentedKey, Revision};
use keyward::replica::remote::disk;
use keyward::replica::{self, Replica, Settled, Source as _};
use keyward::wire::sync::{Message, OnStale, encode_change};
use keyward::wire::{Change, Epoch, SecretDigest};
use tokio::io::AsyncWriteExt as _;

use crate::remote_support::{
    Control, EPOCH, Following, Hands, MAX_STALENESS, TOKEN, config, entry, follow, id, put,
};

const ACTIVE: KeyStatus = KeyStatus::Active;
const REVOKED: KeyStatus = KeyStatus::Revoked;

/// A control plane, and a gateway that has keys 1 to 3 of it as of revision 5.
async fn following() -> (Control, Following) {
    let mut control = Control::start().await;
    let following = follow(config(vec![control.url.clone()]), &Hands::default());
    let entries = (1..=3).map(|number| entry(number, ACTIVE)).collect();
    control.give(EPOCH, 5, entries).await;
    (control, following)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_holds_when_it_is_acknowledged() {
    let (mut control, following) = following().await;
    let mut stream = control.asked_after(5).await.open().await;
    control.acknowledged(5).await;
    stream.change(&put(6, entry(2, REVOKED))).await;
    control.acknowledged(6).await;
    assert_eq!(following.status_of(2), Some(REVOKED));
    assert_eq!(following.status_of(1), Some(ACTIVE));
}

/// S1.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_cut_at_any_byte_is_applied_whole_or_not_at_all() {
    let (mut control, following) = following().await;
    let change = |revision: u64| Change {
        previous: Revision(revision - 1),
        revision: Revision(revision),
        put: Vec::new(),
        removed: vec![id(1)],
    };
    let (mut revision, mut cut) = (5, 0);
    loop {
        let mut stream = control.asked_after(revision).await.open().await;
        // Two heartbeats, after which nothing counts as failing any more.
        stream.heartbeat(revision, 0).await;
        stream.heartbeat(revision, 0).await;
        let whole = stream.frames(&encode_change(&change(revision + 1)));
        stream.write(&whole[..cut]).await;
        if cut == whole.len() {
            revision += 1;
            break;
        }
        cut += 1;
    }
    let stream = control.asked_after(revision).await;
    assert_eq!(following.revision(), Some(revision));
    assert_eq!(following.status_of(1), None);
    drop(stream);
}

/// S2.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_again_changes_nothing_and_is_counted() {
    let (mut control, following) = following().await;
    let mut stream = control.asked_after(5).await.open().await;
    stream.change(&put(6, entry(2, REVOKED))).await;
    stream.change(&put(7, entry(1, REVOKED))).await;
    for old in [
        put(6, entry(1, ACTIVE)),
        put(7, entry(1, ACTIVE)),
        put(3, entry(2, ACTIVE)),
    ] {
        stream.change(&old).await;
    }
    stream.change(&put(8, entry(3, REVOKED))).await;
    control.acknowledged(8).await;
    for number in 1..=3 {
        assert_eq!(following.status_of(number), Some(REVOKED));
    }
    stream.heartbeat(8, 0).await;
    control.acknowledged(8).await;
    assert_eq!(following.remote.counted().repeated, 3);
}

/// S3.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_altered_is_not_applied_and_a_snapshot_is_fetched() {
    let (mut control, following) = following().await;
    let mut gap = control.asked_after(5).await.open().await;
    gap.change(&put(7, entry(1, REVOKED))).await;
    let mut altered = control.asked_after(5).await.open().await;
    let mut bytes = altered.frames(&encode_change(&put(6, entry(1, REVOKED))));
    bytes[10] ^= 1;
    altered.write(&bytes).await;
    let snapshot = control.asked_for_snapshot().await;
    assert_eq!(following.revision(), Some(5), "the last good copy serves");
    assert_eq!(following.status_of(1), Some(ACTIVE));
    let mut stream = snapshot.open().await;
    stream.snapshot(EPOCH, 7, vec![entry(1, REVOKED)]).await;
    let changes = control.asked_after(7).await;
    assert_eq!(following.status_of(1), Some(REVOKED));
    assert_eq!(following.status_of(2), None, "what is absent is gone");
    drop(changes);
}

/// A page of somebody on the way says nothing of the keys: a fleet that has seen one needs no snapshots.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_of_a_control_plane_is_no_flaw() {
    let (mut control, following) = following().await;
    for _ in 0..3 {
        control.asked_after(5).await.refuse(200).await;
    }
    control.asked_after(5).await.refuse(302).await;
    let _stream = control.asked_after(5).await.open().await;
    control.acknowledged(5).await;
    assert_eq!(following.remote.counted().flaws, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_breaks_off_replaces_nothing() {
    let (mut control, following) = following().await;
    let mut stream = control.asked_after(5).await.open().await;
    stream.say(&Message::Resync).await;
    let mut half = control.asked_for_snapshot().await.open().await;
    let (revision, keys) = (Revision(9), 2);
    half.say(&Message::Begin {
        epoch: Epoch(0xe2),
        revision,
        keys,
    })
    .await;
    half.say(&Message::Put(vec![entry(9, ACTIVE)])).await;
    drop(half);
    let again = control.asked_for_snapshot().await;
    assert_eq!(
        (following.revision(), following.status_of(9)),
        (Some(5), None)
    );
    let mut stream = again.open().await;
    stream
        .snapshot(Epoch(0xe2), 9, vec![entry(9, ACTIVE)])
        .await;
    let changes = control.asked_after(9).await.open().await;
    control.acknowledged(9).await;
    assert_eq!(following.status_of(9), Some(ACTIVE));
    drop(changes);
}

/// S6: the connection stands, and nothing comes.
#[tokio::test(flavor = "multi_thread")]
async fn silence_makes_the_gateway_turn_to_the_next_control_plane() {
    let (mut first, mut second) = (Control::start().await, Control::start().await);
    let urls = vec![first.url.clone(), second.url.clone()];
    let following = follow(config(urls), &Hands::default());
    first.give(EPOCH, 5, vec![entry(1, ACTIVE)]).await;
    let mut silent = first.asked_after(5).await.open().await;
    silent.heartbeat(5, 0).await;
    first.acknowledged(5).await;
    let mut stream = second.asked_after(5).await.open().await;
    stream.heartbeat(5, 0).await;
    second.acknowledged(5).await;
    assert_eq!(following.remote.status().state, "current");
    drop(silent);
}

/// S15 without a copy.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_control_plane_nothing_is_known_until_there_is_one() {
    let mut control = Control::start().await;
    let following = follow(config(vec![control.url.clone()]), &Hands::default());
    for status in [503, 401, 404, 500] {
        control.asked_for_snapshot().await.refuse(status).await;
    }
    let asked = control.asked_for_snapshot().await;
    let status = following.remote.status();
    assert_eq!((status.state, status.usable), ("starting", false));
    let mut stream = asked.open().await;
    stream.snapshot(EPOCH, 5, vec![entry(1, ACTIVE)]).await;
    control.asked_after(5).await.refuse(503).await;
    let status = following.remote.status();
    assert_eq!((status.state, status.usable), ("retrying", true));
}

/// S15 with a copy on disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_on_disk_serves_at_once_and_is_gone_on_from() {
    let state = tempfile::tempdir().unwrap();
    let hands = Hands::default();
    let mut control = Control::start().await;
    let mut settings = config(vec![control.url.clone()]);
    settings.state = Some(state.path().join("state"));
    let before = follow(settings.clone(), &hands);
    control
        .give(EPOCH, 5, vec![entry(1, ACTIVE), entry(2, ACTIVE)])
        .await;
    let mut stream = control.asked_after(5).await.open().await;
    stream.change(&put(6, entry(2, REVOKED))).await;
    control.acknowledged(6).await;
    let goodbye = async {
        let last = control.asked().await;
        assert!(
            last.target.starts_with("/sync/v1/leave?"),
            "{}",
            last.target
        );
        last.refuse(204).await;
    };
    tokio::join!(before.remote.end(), goodbye);
    // What would not be kept any more is not taken any more.
    stream.hung_up().await;
    let after = follow(settings, &hands);
    assert_eq!(
        (after.revision(), after.status_of(2)),
        (Some(6), Some(REVOKED))
    );
    control.asked_after(6).await;
}

/// What becomes of a key that the copy does not have.
fn settled(following: &Following) -> KeyLookup {
    let key = "iak_acme_0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";
    let key = PresentedKey::parse(key.as_bytes()).unwrap();
    let secret = SecretDigest::Blake3(key.digest(None));
    match following.remote.settle(&key, &secret, KeyLookup::Unknown) {
        Settled::Now(lookup) => lookup,
        Settled::Ask(_) => panic!("nobody is asked"),
    }
}

/// Who is killed after that begins with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_acknowledged_when_it_is_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut control = Control::start().await;
    let mut settings = config(vec![control.url.clone()]);
    settings.state = Some(state.clone());
    let _following = follow(settings, &Hands::default());
    let entries = (0..20_000).map(|number| entry(number, ACTIVE)).collect();
    control.give(EPOCH, 5, entries).await;
    let _stream = control.asked_after(5).await.open().await;
    control.acknowledged(5).await;
    let found = Replica::new(replica::Config::default());
    let kept = disk::look(&state, &[TOKEN.to_owned()], None, &*found);
    assert_eq!(kept.unwrap().map(|kept| kept.at.revision.0), Some(5));
}

/// S16.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_ends_in_refusal_only_where_that_is_wanted() {
    for (on_stale, usable) in [(OnStale::Serve, true), (OnStale::Deny, false)] {
        let mut control = Control::start().await;
        let hands = Hands::default();
        let mut settings = config(vec![control.url.clone()]);
        settings.on_stale = on_stale;
        let following = follow(settings, &hands);
        control.give(EPOCH, 5, vec![entry(1, ACTIVE)]).await;
        let mut stream = control.asked_after(5).await.open().await;
        let ack = control.acknowledged(5).await;
        stream.heartbeat(5, ack.tag).await;
        control.acknowledged(5).await;
        assert!(following.remote.status().usable);
        let denies = on_stale == OnStale::Deny;
        let lasts = following.remote.lasts();
        assert_eq!(lasts <= MAX_STALENESS, denies, "{lasts:?}");
        assert!(!lasts.is_zero());
        assert!(matches!(settled(&following), KeyLookup::Unknown));
        drop(stream);
        // What goes on ends a little before the lease does.
        hands.forward(MAX_STALENESS - Duration::from_millis(40));
        assert_eq!(following.remote.lasts().is_zero(), denies);
        hands.forward(Duration::from_secs(1));
        assert!(matches!(settled(&following), KeyLookup::Unavailable));
        let status = following.remote.status();
        assert_eq!(
            (status.state, status.usable),
            ("stale", usable),
            "{on_stale:?}"
        );
        assert!(status.staleness > Duration::from_secs(60));
        assert_eq!(
            following.status_of(1),
            Some(ACTIVE),
            "it is known all the same"
        );
    }
}

/// S17: rules that cannot be read grant nothing; the other keys of the change are not held up by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_makes_no_sense_holds_up_no_other() {
    let (mut control, following) = following().await;
    let mut stream = control.asked_after(5).await.open().await;
    let mut poison = entry(1, ACTIVE);
    std::sync::Arc::make_mut(&mut poison.record).tenant =
        keyward::authz::Tenant::Workspace("w".to_owned());
    let mut change = put(6, poison);
    change.put.push(entry(2, REVOKED));
    stream.change(&change).await;
    control.acknowledged(6).await;
    assert_eq!(following.status_of(2), Some(REVOKED));
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_are_reported_until_they_are_answered_and_under_one_number() {
    let (mut control, following) = following().await;
    let at = keyward::authz::Timestamp::from_millis(77);
    following.replica.record_use(&id(1), at);
    let remote = following.remote.clone();
    let reporting = tokio::spawn(async move { remote.report().await });
    let (first, unanswered) = control.used().await;
    drop(unanswered);
    reporting.await.unwrap();
    following.replica.record_use(&id(1), at);
    let remote = following.remote.clone();
    let reporting = tokio::spawn(async move { remote.report().await });
    for expected in [first.sequence, first.sequence + 1] {
        let (report, mut stream) = control.used().await;
        assert_eq!((report.sequence, report.uses[0].count), (expected, 1));
        assert_eq!(report.incarnation, first.incarnation);
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
    }
    reporting.await.unwrap();
}
