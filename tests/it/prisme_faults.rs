//! A platform that is not well, in every way: nobody is let in who should not be, no known key is refused, and no key
//! is called unknown that may only be unheard of.

use std::time::Duration;

use keyward::wire::sync::OnStale;
use serde_json::json;

use crate::prisme_support::{Edge, Hands, config, refusal};
use crate::support::gateway::request;
use crate::support::platform::{Fault, Platform};

const SECOND: Duration = Duration::from_secs(1);

/// Every way not to be well, with the record of a key of another organisation for answers that are about it.
fn faults(foreign: &serde_json::Value) -> Vec<Fault> {
    let html = "<html>maintenance</html>";
    let page = json!({"results": [foreign], "total": 1});
    let mut faults = vec![
        Fault::Slow,
        Fault::Down,
        Fault::Truncated,
        Fault::Status(429, "retry-after: 0.2\r\n", "{}"),
        Fault::Status(429, "", "{}"),
        Fault::Status(500, "", r#"{"error":"Internal"}"#),
        Fault::Status(502, "", html),
        Fault::Status(503, "retry-after: 1\r\n", ""),
        Fault::Status(403, "", r#"{"error":"ForbiddenError"}"#),
        Fault::Status(404, "", r#"{"error":"ObjectNotFound"}"#),
        // Somebody who stands before the platform.
        Fault::Status(401, "", html),
        Fault::Status(302, "location: http://127.0.0.1:1/\r\n", ""),
        Fault::Status(204, "", ""),
    ];
    let bodies = [
        "",
        html,
        "null",
        "[]",
        "{}",
        "[1]",
        r#"{"results":1}"#,
        r#"{"results":[{}],"total":1}"#,
        r#"{"results":[],"total":7}"#,
        r#"{"id":7}"#,
        r#"{"id":"role-acme-known","disabled":"no"}"#,
        &foreign.to_string(),
        &page.to_string(),
    ];
    faults.extend(bodies.map(|body| Fault::Body(body.to_owned())));
    faults
}

/// Reads the lists. Where they are not answered, the first reading goes on beside the test.
async fn poll(edge: &Edge, platform: &Platform, fault: &Fault, is_first: bool) {
    if *fault != Fault::Slow {
        edge.prisme.poll().await;
    } else if is_first {
        let before = platform.seen().lists;
        let prisme = edge.prisme.clone();
        tokio::spawn(async move { prisme.poll().await });
        platform.wait(|seen| seen.lists > before).await;
    }
}

#[tokio::test]
async fn no_fault_lets_anybody_in_or_refuses_a_known_key() {
    let platform = Platform::start().await;
    platform.make("other", "foreign");
    let known = platform.make("acme", "known");
    let disabled = platform.make("acme", "disabled");
    let foreign = platform.record("foreign");
    for fault in faults(&foreign) {
        let told = format!("{fault:?}");
        let mut config = config(platform.url());
        config.unknown_patience = Duration::from_millis(50);
        let edge = Edge::of(config, &Hands::default()).await;
        platform.patch("disabled", json!({"disabled": false}));
        edge.prisme.poll().await;
        for key in [&known, &disabled] {
            edge.lets_in(key).await;
        }
        platform.patch("disabled", json!({"disabled": true}));
        edge.prisme.poll().await;

        platform.fail_all(fault.clone());
        let nobody = known.replace("-4000-", "-4001-");
        let made = platform.make("acme", "made");
        // Through the time of a secret and beyond, as long as the lists are not stale.
        for round in 0..6 {
            edge.hands.forward(9 * SECOND);
            poll(&edge, &platform, &fault, round == 0).await;
            edge.lets_in(&known).await;
            assert_eq!(edge.refuses(&disabled).await, refusal(401, "disabled_key"));
            for unknown in [&nobody, &made] {
                let refused = edge.refuses(unknown).await;
                assert_eq!(refused, refusal(503, "keys_unavailable"), "{told}");
            }
        }
        assert_eq!(platform.seen().at_once, 1, "{told}");
        let status = edge.status();
        assert!(
            status.usable && status.staleness >= 54 * SECOND,
            "{told}: {status:?}"
        );

        platform.heal();
        // The longest that a fault is waited for.
        edge.hands.forward(70 * SECOND);
        edge.prisme.poll().await;
        edge.lets_in(&known).await;
        edge.lets_in(&made).await;
        assert_eq!(
            edge.refuses(&nobody).await,
            refusal(401, "unknown_key"),
            "{told}"
        );
        assert_eq!(edge.status().state, "current", "{told}");
        platform.delete("made");
    }
}

#[tokio::test]
async fn faults_of_the_lists_alone_leave_validation_alone() {
    let platform = Platform::start().await;
    let edge = Edge::before(&platform).await;
    platform.fail(Fault::Status(500, "", ""), Fault::None);
    edge.prisme.poll().await;
    assert_eq!(edge.status().state, "retrying");
    let key = platform.make("acme", "a");
    edge.lets_in(&key).await;
    assert_eq!(
        edge.refuses(&key.replace("-4000-", "-4001-")).await,
        refusal(401, "unknown_key")
    );
}

#[tokio::test]
async fn a_gateway_that_has_read_no_list_knows_nothing() {
    let platform = Platform::start().await;
    let key = platform.make("acme", "a");
    platform.fail(Fault::Status(403, "", "{}"), Fault::None);
    let edge = Edge::of(config(platform.url()), &Hands::default()).await;
    edge.prisme.poll().await;
    assert_eq!(edge.refuses(&key).await, refusal(503, "keys_unavailable"));
    assert_eq!(edge.status().state, "starting");
    assert!(!edge.status().usable);
    platform.heal();
    edge.prisme.poll().await;
    edge.lets_in(&key).await;
}

#[tokio::test]
async fn a_key_that_moved_before_an_outage_waits_for_its_end() {
    let platform = Platform::start().await;
    let key = platform.make("acme", "a");
    let edge = Edge::before(&platform).await;
    edge.lets_in(&key).await;
    // It may have been rotated: whoever shows the former secret now may not be its holder any more.
    platform.patch("a", json!({"name": "another"}));
    edge.prisme.poll().await;
    platform.fail_all(Fault::Down);
    assert_eq!(edge.refuses(&key).await, refusal(503, "keys_unavailable"));
    platform.heal();
    edge.hands.forward(20 * SECOND);
    edge.lets_in(&key).await;
}

#[tokio::test]
async fn the_platform_is_left_alone_after_it_said_so() {
    let platform = Platform::start().await;
    let edge = Edge::before(&platform).await;
    platform.fail(Fault::None, Fault::Status(429, "retry-after: 30\r\n", ""));
    for number in 0..10 {
        let key = format!("iak_acme_00000000-0000-4000-8000-{number:012}");
        assert_eq!(edge.refuses(&key).await, refusal(503, "keys_unavailable"));
    }
    assert_eq!(platform.seen().validates, 1);
    platform.heal();
    edge.hands.forward(29 * SECOND);
    let key = platform.make("acme", "a");
    assert_eq!(edge.refuses(&key).await, refusal(503, "keys_unavailable"));
    edge.hands.forward(SECOND);
    edge.lets_in(&key).await;
    assert_eq!(platform.seen().validates, 2);
}

#[tokio::test]
async fn stale_lists_serve_or_deny_as_they_are_told_to() {
    let platform = Platform::start().await;
    let key = platform.make("acme", "a");
    for on_stale in [OnStale::Serve, OnStale::Deny] {
        let mut config = config(platform.url());
        config.on_stale = on_stale;
        let edge = Edge::of(config, &Hands::default()).await;
        edge.prisme.poll().await;
        edge.lets_in(&key).await;
        platform.fail_all(Fault::Down);
        edge.hands.forward(60 * SECOND);
        edge.prisme.poll().await;
        edge.lets_in(&key).await;
        assert_eq!(
            (edge.status().state, edge.status().usable),
            ("retrying", true)
        );
        edge.hands.forward(SECOND);
        let status = edge.status();
        assert_eq!((status.state, status.staleness), ("stale", 61 * SECOND));
        let ready = operators(&edge, "/readyz").await;
        if on_stale == OnStale::Serve {
            edge.lets_in(&key).await;
            assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        } else {
            assert_eq!(edge.refuses(&key).await, refusal(503, "keys_unavailable"));
            assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        }
        let told = operators(&edge, "/status").await;
        assert!(
            told.contains(r#""source":"stale","staleness_seconds":61.0"#),
            "{told}"
        );
        let metrics = operators(&edge, "/metrics").await;
        assert!(
            metrics.contains("keyward_staleness_seconds 61\n"),
            "{metrics}"
        );
        platform.heal();
        edge.prisme.poll().await;
        edge.lets_in(&key).await;
    }
}

async fn operators(edge: &Edge, path: &str) -> String {
    let address = edge.gateway.gateway.ops_address().unwrap();
    let mut client = crate::support::Client::connect(address).await;
    client
        .send(request(&format!("GET {path}"), &["Connection: close"]))
        .await;
    let answer = client.answer().await;
    answer.head + &answer.body
}
