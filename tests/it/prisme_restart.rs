//! What is kept over a restart, and what is made of a file that is not what was written.

use std::fs;
use std::time::Duration;

use keyward::authz::Pepper;
use keyward::replica::prisme::{Config, OpenError};
use keyward::wire::sync::OnStale;
use serde_json::json;
use tempfile::TempDir;

use crate::prisme_support::{Edge, Hands, config, open, refusal, state_in};
use crate::support::platform::{Fault, Platform};

const SECOND: Duration = Duration::from_secs(1);
const UUID: &str = "0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";

fn keeping(platform: &Platform, directory: &TempDir) -> Config {
    let mut config = config(platform.url());
    config.state = Some(state_in(directory));
    config.workspaces = vec!["w1".to_owned()];
    platform.set_workspace("w1", &[(UUID, false)]);
    config
}

#[tokio::test]
async fn known_keys_outlive_a_restart_during_an_outage() {
    let (platform, directory) = (Platform::start().await, TempDir::new().unwrap());
    let keys = ["used", "unused", "disabled"].map(|slug| platform.make("acme", slug));
    let (config, hands) = (keeping(&platform, &directory), Hands::default());
    let edge = Edge::of(config.clone(), &hands).await;
    edge.prisme.poll().await;
    edge.lets_in(&keys[0]).await;
    edge.lets_in(&keys[2]).await;
    edge.lets_in(UUID).await;
    platform.patch("disabled", json!({"disabled": true}));
    platform.moves_updates(false);
    let revision = edge.revision();
    platform.patch("disabled", json!({"name": "unmoved"}));
    edge.prisme.save().unwrap();
    drop(edge);
    let kept = fs::read_to_string(state_in(&directory)).unwrap();
    for key in keys.iter().map(String::as_str).chain([UUID]) {
        let secret = key.rsplit('_').next().unwrap();
        assert!(!kept.contains(secret), "a key is in the file");
    }

    platform.fail_all(Fault::Down);
    hands.forward(30 * SECOND);
    let edge = Edge::of(config.clone(), &hands).await;
    assert_eq!(edge.status().staleness, 30 * SECOND);
    assert!(edge.revision() >= revision, "it never falls");
    edge.lets_in(&keys[0]).await;
    edge.lets_in(UUID).await;
    assert_eq!(
        edge.refuses(&keys[1]).await,
        refusal(503, "keys_unavailable")
    );
    edge.prisme.poll().await;
    edge.lets_in(&keys[0]).await;

    // A list that is new in the configuration knows nothing yet; one that is gone from it lets nobody in.
    let mut other = config.clone();
    other.orgs = vec!["new".to_owned()];
    let edge = Edge::of(other, &hands).await;
    assert_eq!(edge.refuses(&keys[0]).await, refusal(401, "unknown_key"));
    let of_new = keys[0].replace("acme", "new");
    assert_eq!(
        edge.refuses(&of_new).await,
        refusal(503, "keys_unavailable")
    );
    edge.lets_in(UUID).await;

    platform.heal();
    hands.forward(20 * SECOND);
    let edge = Edge::of(config, &hands).await;
    assert_eq!(edge.status().staleness, 50 * SECOND);
    edge.prisme.poll().await;
    edge.lets_in(&keys[1]).await;
    assert_eq!(edge.refuses(&keys[2]).await, refusal(401, "disabled_key"));
}

#[tokio::test]
async fn a_secret_is_validated_again_after_a_restart() {
    let (platform, directory) = (Platform::start().await, TempDir::new().unwrap());
    platform.moves_updates(false);
    let key = platform.make("acme", "a");
    let (config, hands) = (keeping(&platform, &directory), Hands::default());
    let edge = Edge::of(config.clone(), &hands).await;
    edge.prisme.poll().await;
    edge.lets_in(&key).await;
    edge.prisme.save().unwrap();
    platform.rotate("acme", "a");
    let edge = Edge::of(config, &hands).await;
    assert_eq!(edge.refuses(&key).await, refusal(401, "unknown_key"));
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_a_kept_list_stale() {
    let (platform, directory) = (Platform::start().await, TempDir::new().unwrap());
    let mut config = keeping(&platform, &directory);
    config.on_stale = OnStale::Deny;
    let hands = Hands::default();
    hands.forward(3600 * SECOND);
    let edge = Edge::of(config.clone(), &hands).await;
    edge.prisme.poll().await;
    edge.prisme.save().unwrap();
    let edge = Edge::of(config, &Hands::default()).await;
    assert_eq!(
        (edge.status().state, edge.status().usable),
        ("stale", false)
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_believed_is_as_good_as_none() {
    let (platform, directory) = (Platform::start().await, TempDir::new().unwrap());
    let key = platform.make("acme", "a");
    let (config, hands) = (keeping(&platform, &directory), Hands::default());
    let edge = Edge::of(config.clone(), &hands).await;
    edge.prisme.poll().await;
    edge.lets_in(&key).await;
    edge.prisme.save().unwrap();
    let path = state_in(&directory);
    let whole = fs::read(&path).unwrap();
    platform.fail_all(Fault::Down);
    for damaged in [&whole[..whole.len() / 2], b"", b"\xff\n", &whole.repeat(2)] {
        fs::write(&path, damaged).unwrap();
        let edge = Edge::of(config.clone(), &hands).await;
        assert_eq!(edge.refuses(&key).await, refusal(503, "keys_unavailable"));
        assert_eq!(fs::read(&path).unwrap(), damaged, "it is left alone");
    }
    fs::write(&path, &whole).unwrap();
    let mut elsewhere = config.clone();
    elsewhere.access.url = "http://127.0.0.1:1".to_owned();
    let edge = Edge::of(elsewhere, &hands).await;
    assert_eq!(edge.refuses(&key).await, refusal(503, "keys_unavailable"));
    let pepper = Pepper::derive("another");
    let refused = open(config.clone(), pepper, &hands).unwrap_err();
    assert!(matches!(refused, OpenError::Pepper(named) if named == path));
    Edge::of(config, &hands).await.lets_in(&key).await;
}
