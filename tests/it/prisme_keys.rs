//! A platform that is well: its keys, and what becomes of them there, as a gateway sees it.

use std::time::Duration;

use serde_json::json;

use crate::prisme_support::{Edge, Hands, config, refusal};
use crate::support::platform::{Fault, Platform};

const SECOND: Duration = Duration::from_secs(1);
const UUID: &str = "0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";
const UUID_2: &str = "1b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";

#[tokio::test]
async fn a_key_is_asked_about_once() {
    let platform = Platform::start().await;
    let key = platform.make("acme", "a");
    let edge = Edge::before(&platform).await;
    assert_eq!(platform.seen().validates, 0);
    for _ in 0..5 {
        edge.lets_in(&key).await;
    }
    assert_eq!(platform.seen().validates, 1);
    let answer = edge.show(&key.replace("acme", "other")).await;
    assert_eq!(
        answer.status, 401,
        "the same secret of another organisation"
    );
}

#[tokio::test]
async fn a_key_that_was_just_made_works_at_once() {
    let platform = Platform::start().await;
    let edge = Edge::before(&platform).await;
    let key = platform.make("acme", "new");
    edge.lets_in(&key).await;
    assert_eq!(platform.seen().validates, 1);
    edge.prisme.poll().await;
    edge.lets_in(&key).await;
    assert_eq!(platform.seen().validates, 1, "the list says the same");
}

#[tokio::test]
async fn two_hundred_first_requests_ask_once() {
    let platform = Platform::start().await;
    let key = platform.make("acme", "a");
    let edge = Edge::before(&platform).await;
    platform.fail(Fault::None, Fault::Slow);
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = edge.gateway.connect().await;
        client
            .send(format!(
                "GET /v1/agents/a1 HTTP/1.1\r\nHost: gw.test\r\nx-prismeai-api-key: {key}\r\n\r\n"
            ))
            .await;
        clients.push(client);
    }
    edge.gateway.counted("keyward_connections", 200.0).await;
    platform.wait(|seen| seen.validates > 0).await;
    platform.heal();
    for client in &mut clients {
        assert_eq!(client.answer().await.status, 200);
    }
    let seen = platform.seen();
    assert_eq!((seen.validates, seen.at_once), (1, 1));
}

#[tokio::test]
async fn what_is_disabled_rotated_or_deleted_stops_with_the_next_list() {
    let platform = Platform::start().await;
    let keys =
        ["disabled", "rotated", "deleted", "expired"].map(|slug| platform.make("acme", slug));
    let edge = Edge::before(&platform).await;
    for key in &keys {
        edge.lets_in(key).await;
    }
    platform.patch("disabled", json!({"disabled": true}));
    let fresh = platform.rotate("acme", "rotated");
    platform.delete("deleted");
    platform.patch("expired", json!({"expiresAt": "2020-01-01T00:00:00Z"}));
    edge.prisme.poll().await;
    let reasons = ["disabled_key", "unknown_key", "unknown_key", "expired_key"];
    for (key, reason) in keys.iter().zip(reasons) {
        assert_eq!(edge.refuses(key).await, refusal(401, reason));
    }
    edge.lets_in(&fresh).await;
    platform.patch("disabled", json!({"disabled": false}));
    edge.prisme.poll().await;
    edge.lets_in(&keys[0]).await;
}

#[tokio::test]
async fn a_secret_that_was_rotated_unseen_stops_when_its_time_is_over() {
    let platform = Platform::start().await;
    platform.moves_updates(false);
    let old = platform.make("acme", "a");
    let edge = Edge::before(&platform).await;
    edge.lets_in(&old).await;
    platform.rotate("acme", "a");
    edge.prisme.poll().await;
    edge.lets_in(&old).await;
    edge.hands.forward(60 * SECOND);
    assert_eq!(edge.refuses(&old).await, refusal(401, "unknown_key"));

    // Once the new one is known, the old one has no time left.
    let old = platform.make("acme", "b");
    edge.lets_in(&old).await;
    let new = platform.rotate("acme", "b");
    edge.lets_in(&old).await;
    edge.lets_in(&new).await;
    assert_eq!(edge.refuses(&old).await, refusal(401, "unknown_key"));
}

#[tokio::test]
async fn a_secret_in_use_is_validated_again_beside_its_requests() {
    let platform = Platform::start().await;
    let key = platform.make("acme", "a");
    let edge = Edge::before(&platform).await;
    edge.lets_in(&key).await;
    edge.hands.forward(29 * SECOND);
    edge.lets_in(&key).await;
    assert_eq!(platform.seen().validates, 1, "not yet");
    edge.hands.forward(2 * SECOND);
    platform.fail(Fault::None, Fault::Slow);
    edge.lets_in(&key).await;
    platform.wait(|seen| seen.validates == 2).await;
    edge.lets_in(&key).await;
    assert_eq!(platform.seen().at_once, 1);
    platform.heal();
}

#[tokio::test]
async fn unknown_keys_are_remembered_until_a_list_brings_something_new() {
    let platform = Platform::start().await;
    let edge = Edge::before(&platform).await;
    let key = platform.make("acme", "a");
    platform.delete("a");
    for _ in 0..3 {
        assert_eq!(edge.refuses(&key).await, refusal(401, "unknown_key"));
    }
    assert_eq!(platform.seen().validates, 1);
    edge.hands.forward(6 * SECOND);
    assert_eq!(edge.refuses(&key).await, refusal(401, "unknown_key"));
    assert_eq!(platform.seen().validates, 2);
    let late = platform.make("acme", "b");
    platform.patch("b", json!({"disabled": true}));
    assert_eq!(edge.refuses(&late).await, refusal(401, "unknown_key"));
    platform.patch("b", json!({"disabled": false}));
    edge.prisme.poll().await;
    edge.lets_in(&late).await;
}

#[tokio::test]
async fn keys_of_nobody_here_are_not_asked_about() {
    let platform = Platform::start().await;
    let stranger = platform.make("stranger", "a");
    let edge = Edge::before(&platform).await;
    assert_eq!(edge.refuses(&stranger).await, refusal(401, "unknown_key"));
    assert_eq!(edge.refuses(UUID).await, refusal(401, "unknown_key"));
    platform.fail_all(Fault::Down);
    edge.prisme.poll().await;
    assert_eq!(edge.refuses(&stranger).await, refusal(401, "unknown_key"));
    assert_eq!(platform.seen().validates, 0);
}

#[tokio::test]
async fn a_list_of_many_pages_is_read_whole() {
    let platform = Platform::with_pages_of(3).await;
    let keys: Vec<String> = (0..10)
        .map(|n| platform.make("acme", &format!("k{n}")))
        .collect();
    let edge = Edge::before(&platform).await;
    assert_eq!(
        platform.seen().lists,
        4 + 1,
        "and one of the other organisation"
    );
    platform.fail(Fault::None, Fault::Down);
    platform.patch("k9", json!({"disabled": true}));
    platform.heal();
    edge.prisme.poll().await;
    edge.lets_in(&keys[0]).await;
    assert_eq!(edge.refuses(&keys[9]).await, refusal(401, "unknown_key"));
}

#[tokio::test]
async fn workspace_keys_come_from_their_list() {
    let platform = Platform::start().await;
    platform.set_workspace("w1", &[(UUID, false)]);
    platform.set_workspace("w2", &[(UUID_2, true)]);
    let mut config = config(platform.url());
    config.workspaces = vec!["w1".to_owned(), "w2".to_owned()];
    let edge = Edge::of(config, &Hands::default()).await;
    assert_eq!(edge.refuses(UUID).await, refusal(503, "keys_unavailable"));
    edge.prisme.poll().await;
    edge.lets_in(UUID).await;
    assert_eq!(edge.refuses(UUID_2).await, refusal(401, "disabled_key"));
    platform.set_workspace("w1", &[]);
    platform.set_workspace("w2", &[(UUID_2, false)]);
    edge.prisme.poll().await;
    assert_eq!(edge.refuses(UUID).await, refusal(401, "unknown_key"));
    edge.lets_in(UUID_2).await;
    // Nobody can say any more that there is no such key.
    platform.fail_all(Fault::Down);
    edge.prisme.poll().await;
    assert_eq!(edge.refuses(UUID).await, refusal(503, "keys_unavailable"));
    edge.lets_in(UUID_2).await;
    platform.heal();
    edge.prisme.poll().await;
    edge.hands.forward(21 * SECOND);
    assert_eq!(edge.refuses(UUID).await, refusal(503, "keys_unavailable"));
}
