//! Peers that may say for whom they ask: what is kept of their requests, what passes on their word, and what does not.

use std::path::Path;

use keyward::authz::{ForwardKey, UserTokens};
use keyward::proxy::{ListenAddr, ListenerConfig, TrustedPeers};

use super::support::Recorder;
use super::support::gateway::{DISABLED, KEY, Setup, TestGateway, UNKNOWN, key, request};

const USER: &str = "x-prismeai-user-id: u1";

/// A gateway that trusts peers from `networks` and one that has the same routes and trusts nobody.
fn gateway(upstream: &Recorder, networks: &[&str], user_tokens: UserTokens) -> TestGateway {
    let mut setup = Setup {
        user_tokens,
        forward: ForwardKey::Keep,
        ..Setup::new(upstream.address)
    };
    for listener in &mut setup.listeners {
        let networks = networks.iter().map(|network| network.parse().unwrap());
        listener.trusted_identity_from.networks = networks.collect();
    }
    setup.start()
}

#[tokio::test]
async fn names_of_a_trusted_peer_arrive_and_nobody_elses() {
    let upstream = Recorder::start().await;
    let spellings = [USER, "x_prismeai_role: r1", "x-keyward-org: other"];
    for (networks, kept) in [
        (&["127.0.0.0/8"][..], 1),
        (&["10.0.0.0/8", "127.0.0.1/32"], 1),
        (&["127.0.0.2/32", "::1/128"], 0),
        (&[], 0),
    ] {
        let gateway = gateway(&upstream, networks, UserTokens::Reject);
        let answer = gateway.ask(request("GET /open/x", &spellings)).await;
        assert_eq!(answer.status, 200);
        let received = upstream.requests().pop().unwrap();
        for name in ["x-prismeai-user-id", "x_prismeai_role", "x-keyward-org"] {
            assert_eq!(received.headers(name).len(), kept, "{networks:?} {name}");
        }
    }
}

#[tokio::test]
async fn what_is_never_forwarded_is_not_forwarded_of_a_trusted_peer_either() {
    let upstream = Recorder::start().await;
    let gateway = gateway(&upstream, &["127.0.0.1/32"], UserTokens::Reject);
    let lines = [
        &format!("x-prismeai-api-key: {KEY}"),
        &format!("x_prismeai_api_key: {KEY}"),
        "x-original-url: /other",
        "x-forwarded-for: 1.2.3.4",
        "x-http-method-override: DELETE",
        USER,
    ];
    gateway.ask(request("GET /open/x", &lines)).await;
    let received = upstream.one();
    assert!(!received.contains("iak_acme") && !received.contains("other"));
    assert!(!received.contains("DELETE") && !received.contains("1.2.3.4"));
    assert_eq!(received.headers("x-prismeai-user-id"), ["u1"]);
}

/// With a judged key the identity of the key is ours alone to tell, whatever the peer says of it in whatever spelling.
#[tokio::test]
async fn a_trusted_peer_does_not_speak_for_a_key() {
    let upstream = Recorder::start().await;
    let gateway = gateway(&upstream, &["127.0.0.1/32"], UserTokens::Reject);
    let lines = [
        &key(),
        USER,
        "x-keyward-org: other",
        "x-keyward-workspace: other",
        "x_keyward_owner: other",
    ];
    let answer = gateway.ask(request("GET /v1/agents/a1", &lines)).await;
    assert_eq!(answer.status, 200);
    let received = upstream.one();
    assert_eq!(received.headers("x-keyward-org"), ["acme"]);
    assert!(!received.contains("other"), "{received:?}");
    // The user of whom the peer says that the key is used for stays beside it.
    assert_eq!(received.headers("x-prismeai-user-id"), ["u1"]);
    assert_eq!(received.headers("x-prismeai-api-key"), [KEY]);
}

/// Status or reason of requests on the route that requires a trusted identity.
async fn outcome(gateway: &TestGateway, path: &str, lines: &[&str]) -> String {
    let answer = gateway.ask(request(&format!("GET {path}"), lines)).await;
    match answer.status {
        200 => "allowed".to_owned(),
        _ => answer.reason(),
    }
}

#[tokio::test]
async fn a_route_can_require_an_identity_that_a_trusted_peer_names() {
    let upstream = Recorder::start().await;
    let trusting = gateway(&upstream, &["127.0.0.1/32"], UserTokens::Reject);
    let strict = gateway(&upstream, &["127.0.0.2/32"], UserTokens::Reject);
    let token = "authorization: Bearer at:0123456789";
    let disabled = format!("x-prismeai-api-key: {DISABLED}");
    let unknown = format!("x-prismeai-api-key: {UNKNOWN}");
    for (lines, trusted, untrusted) in [
        (&[USER][..], "allowed", "missing_credential"),
        (&[], "missing_credential", "missing_credential"),
        (&["x-other: u1"], "missing_credential", "missing_credential"),
        (&[&key()], "family_not_accepted", "family_not_accepted"),
        (&[USER, &key()], "allowed", "family_not_accepted"),
        (&[USER, &disabled], "disabled_key", "disabled_key"),
        (&[USER, &unknown], "unknown_key", "unknown_key"),
        (&[token], "user_token_rejected", "user_token_rejected"),
        (&[USER, token], "allowed", "user_token_rejected"),
    ] {
        let path = "/named/x";
        assert_eq!(outcome(&trusting, path, lines).await, trusted, "{lines:?}");
        assert_eq!(outcome(&strict, path, lines).await, untrusted, "{lines:?}");
    }
    let counted = r#"keyward_unauthenticated_total{kind="trusted_identity",route="named"}"#;
    trusting.counted(counted, 2.0).await;
}

/// On a route for keys it is a user's credential, and follows `user_tokens` as a user token does.
#[tokio::test]
async fn an_identity_without_a_key_follows_the_user_tokens_of_the_route() {
    let upstream = Recorder::start().await;
    let networks = &["127.0.0.1/32"];
    let rejecting = gateway(&upstream, networks, UserTokens::Reject);
    let forwarding = gateway(&upstream, networks, UserTokens::Forward);
    let path = "/v1/agents/a1";
    assert_eq!(
        outcome(&rejecting, path, &[USER]).await,
        "user_token_rejected"
    );
    assert_eq!(outcome(&forwarding, path, &[USER]).await, "allowed");
    assert_eq!(outcome(&forwarding, path, &[]).await, "missing_credential");
    // A key is judged all the same.
    let elsewhere = "/v1/agents/a2";
    let lines = [USER, &key()];
    assert_eq!(
        outcome(&forwarding, elsewhere, &lines).await,
        "out_of_scope"
    );
}

async fn ask_over(path: &Path, text: &str) -> String {
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)
        .await
        .unwrap();
    answer
}

#[tokio::test]
async fn trust_is_a_matter_of_the_listener() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = Recorder::start().await;
    let mut setup = Setup::new(upstream.address);
    let place = |name: &str| directory.path().join(name);
    for (name, unix) in [("trusting", true), ("strict", false)] {
        let networks = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        setup.listeners.push(ListenerConfig {
            trusted_identity_from: TrustedPeers { unix, networks },
            ..ListenAddr::Unix(place(name)).into()
        });
    }
    let gateway = setup.start();
    let text = request("GET /named/x", &[USER, "connection: close"]);
    let answer = ask_over(&place("trusting"), &text).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = ask_over(&place("strict"), &text).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    // The listener over TCP trusts nobody.
    assert_eq!(
        outcome(&gateway, "/named/x", &[USER]).await,
        "missing_credential"
    );
    assert_eq!(upstream.one().headers("x-prismeai-user-id"), ["u1"]);
}

#[tokio::test]
async fn a_header_that_says_nothing_or_says_it_twice_names_nobody() {
    let upstream = Recorder::start().await;
    let gateway = gateway(&upstream, &["127.0.0.1/32"], UserTokens::Reject);
    for (lines, status) in [
        (&[USER][..], 200),
        (&["x-prismeai-user-id:"], 401),
        (&["x-keyward-org: "], 401),
        (&[USER, "x-prismeai-user-id: u2"], 401),
    ] {
        let answer = gateway.ask(request("GET /named/x", lines)).await;
        assert_eq!(answer.status, status, "{lines:?}");
    }
}
