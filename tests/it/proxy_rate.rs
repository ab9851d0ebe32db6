//! Routes that may be asked only so often: by each key, by each client, by all together.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use keyward::proxy::{Rate, RateBy};

use super::support::client::Answer;
use super::support::gateway::{DISABLED, KEY, Setup, TestGateway, UNKNOWN, key, request};
use super::support::{Client, Recorder};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A rate by which nothing comes back while a test runs.
fn rate(requests: u32, by: RateBy) -> Rate {
    Rate {
        requests: NonZeroU32::new(requests).unwrap(),
        per: DAY,
        by,
    }
}

fn setup(upstream: SocketAddr, rate: Rate) -> Setup {
    Setup {
        rate: Some(rate),
        ..Setup::new(upstream)
    }
}

fn number(answer: &Answer, name: &str) -> u64 {
    let values = answer.headers(name);
    let [value] = values.as_slice() else {
        panic!("{name}: {values:?}")
    };
    value.parse().unwrap()
}

/// The status, and what the answer says of the limit, of what is left, and of when to come again.
fn told(answer: &Answer) -> (u16, u64, u64, Option<u64>) {
    let again = !answer.headers("retry-after").is_empty();
    (
        answer.status,
        number(answer, "ratelimit-limit"),
        number(answer, "ratelimit-remaining"),
        again.then(|| number(answer, "retry-after")),
    )
}

async fn get(gateway: &TestGateway, path: &str, lines: &[&str]) -> Answer {
    gateway.ask(request(&format!("GET {path}"), lines)).await
}

#[tokio::test]
async fn a_key_has_a_share_that_other_secrets_of_it_and_nobody_else_take_of() {
    let upstream = Recorder::start().await;
    let gateway = setup(upstream.address, rate(3, RateBy::Key)).start();
    let half = DAY.as_secs() / 3;
    for left in [2, 1] {
        let answer = get(&gateway, "/any/x", &[&key()]).await;
        assert_eq!(told(&answer), (200, 3, left, None));
        let back = number(&answer, "ratelimit-reset");
        assert_eq!(back, half * (3 - left));
    }
    // A rotation gives nobody a fresh share.
    let other = "iak_acme_22222222-2222-4333-8444-555555555555";
    gateway
        .rotate(KEY, other, super::support::gateway::NOW.plus_seconds(60))
        .await;
    let shown = format!("x-prismeai-api-key: {other}");
    let answer = get(&gateway, "/any/x", &[&shown]).await;
    assert_eq!(told(&answer), (200, 3, 0, None));

    let answer = get(&gateway, "/any/x", &[&key()]).await;
    let (status, limit, left, again) = told(&answer);
    assert_eq!((status, limit, left), (429, 3, 0));
    assert_eq!(answer.reason(), "rate_limited");
    assert_eq!(answer.json()["error"], "TooManyRequests");
    // One of three comes back after a third of the day, of which hardly a second is over.
    let again = again.expect("a time");
    assert!((half - 60..=half).contains(&again), "{again}");
    assert!(number(&answer, "ratelimit-reset") >= again);
    assert_eq!(answer.headers("cache-control"), ["no-store"]);
    assert_eq!(upstream.requests().len(), 3);

    // Another route has a share of its own, and so has whoever passes without a key.
    assert_eq!(
        told(&get(&gateway, "/v1/agents/a1", &[&key()]).await).0,
        200
    );
    assert_eq!(told(&get(&gateway, "/open/x", &[]).await).2, 2);
    gateway
        .counted(
            "keyward_requests_total{reason=\"rate_limited\",route=\"any\",status=\"429\"}",
            1.0,
        )
        .await;
    let log = gateway.log(6).await;
    let line = log.iter().find(|line| line["status"] == 429).unwrap();
    assert_eq!(
        (&line["reason"], &line["key_id"]),
        (&"rate_limited".into(), &"key-1".into())
    );
}

/// What is refused before counts against nobody: not the key that is named, not the client, not the route.
#[tokio::test]
async fn refusals_take_nothing_of_anybodys_share() {
    let upstream = Recorder::start().await;
    for by in [RateBy::Key, RateBy::Client, RateBy::Route] {
        let gateway = setup(upstream.address, rate(1, by)).start();
        for bad in [DISABLED, UNKNOWN, "iak_acme_0b8f2c1e-5a4d-4c3b-9e2f"] {
            for _ in 0..20 {
                let shown = format!("x-prismeai-api-key: {bad}");
                let answer = get(&gateway, "/any/x", &[&shown]).await;
                assert_eq!(answer.status, 401, "{by:?} {bad}");
                assert!(answer.headers("ratelimit-limit").is_empty());
            }
        }
        assert_eq!(get(&gateway, "/v1/agents/a2", &[&key()]).await.status, 403);
        let answer = get(&gateway, "/any/x", &[&key()]).await;
        assert_eq!(told(&answer), (200, 1, 0, None), "{by:?}");
    }
}

#[tokio::test]
async fn clients_are_told_apart_by_address_and_all_share_a_route() {
    let upstream = Recorder::start().await;
    for (by, second_client) in [(RateBy::Client, 200), (RateBy::Route, 429)] {
        let gateway = setup(upstream.address, rate(2, by)).start();
        assert_eq!(get(&gateway, "/any/x", &[&key()]).await.status, 200);
        // With a key or without makes no difference, another connection neither.
        assert_eq!(told(&get(&gateway, "/open/x", &[]).await).2, 1);
        assert_eq!(get(&gateway, "/any/x", &[&key()]).await.status, 200);
        assert_eq!(get(&gateway, "/any/x", &[&key()]).await.status, 429);
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let mut other = Client::over(socket.connect(gateway.address).await.unwrap());
        other.send(request("GET /any/x", &[&key()])).await;
        assert_eq!(other.answer().await.status, second_client, "{by:?}");
    }
}

#[tokio::test]
async fn whoever_passes_without_a_key_has_the_share_of_its_address_of_a_rate_by_key() {
    let upstream = Recorder::start().await;
    let gateway = setup(upstream.address, rate(1, RateBy::Key)).start();
    assert_eq!(get(&gateway, "/open/x", &[]).await.status, 200);
    assert_eq!(get(&gateway, "/open/x", &[]).await.status, 429);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let mut other = Client::over(socket.connect(gateway.address).await.unwrap());
    other.send(request("GET /open/x", &[])).await;
    assert_eq!(other.answer().await.status, 200);
}

#[tokio::test]
async fn a_shadow_route_lets_pass_what_is_too_much_without_key_and_identity() {
    let upstream = Recorder::start().await;
    let gateway = setup(upstream.address, rate(1, RateBy::Key)).start();
    assert_eq!(get(&gateway, "/shadow/x", &[&key()]).await.status, 200);
    let answer = get(&gateway, "/shadow/x", &[&key()]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers("ratelimit-limit").is_empty());
    assert!(answer.headers("retry-after").is_empty());
    let requests = upstream.requests();
    let [first, second] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert!(first.contains("x-keyward-key-id: key-1"), "{first:?}");
    assert!(!second.contains("x-keyward-"), "{second:?}");
    assert!(!second.contains(KEY), "{second:?}");
    let passed = "keyward_unauthenticated_total{kind=\"shadow\",route=\"shadow\"}";
    gateway.counted(passed, 1.0).await;
}

#[tokio::test]
async fn a_reload_leaves_shares_as_they_are_unless_the_rate_is_another() {
    let upstream = Recorder::start().await;
    let gateway = setup(upstream.address, rate(1, RateBy::Key)).start();
    let reload = async |rate| {
        let rules = setup(upstream.address, rate).rules();
        gateway.gateway.reload(rules).await;
        get(&gateway, "/any/x", &[&key()]).await.status
    };
    assert_eq!(get(&gateway, "/any/x", &[&key()]).await.status, 200);
    assert_eq!(reload(rate(1, RateBy::Key)).await, 429);
    assert_eq!(reload(rate(2, RateBy::Key)).await, 200);
    // What was left under the rate before the last is not remembered, and means nothing now.
    assert_eq!(reload(rate(1, RateBy::Key)).await, 200);
    assert_eq!(reload(rate(1, RateBy::Key)).await, 429);
}

#[tokio::test]
async fn an_upstream_that_says_how_its_client_stands_is_not_overruled() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = setup(listener.local_addr().unwrap(), rate(9, RateBy::Key)).start();
    let asked = async { get(&gateway, "/open/x", &[]).await };
    let answered = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut upstream = Client::over(stream);
        upstream.head().await.unwrap();
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nRateLimit-Remaining: 5\r\n\r\n";
        upstream.send(answer).await;
    };
    let (answer, ()) = tokio::join!(asked, answered);
    assert_eq!(answer.headers("ratelimit-remaining"), ["5"]);
    assert!(answer.headers("ratelimit-limit").is_empty());
}

/// Whoever knows all of a key but its end, or the key of a neighbour, can ask as often as they like.
#[tokio::test]
async fn ten_thousand_bad_attempts_leave_the_owner_unaffected() {
    const ATTEMPTS: usize = 10_000;
    const AT_ONCE: usize = 100;
    let upstream = Recorder::start().await;
    for by in [RateBy::Key, RateBy::Client] {
        let gateway = setup(upstream.address, rate(2, by)).start();
        let mut attacker = gateway.connect().await;
        let (known, _) = KEY.split_at(KEY.len() - 12);
        for round in 0..ATTEMPTS / AT_ONCE {
            let bad = (0..AT_ONCE).map(|n| {
                let shown = match n % 3 {
                    0 => format!("x-prismeai-api-key: {known}{:012x}", round * AT_ONCE + n),
                    1 => format!("authorization: Bearer {known}"),
                    _ => format!("x-prismeai-api-key: {DISABLED}"),
                };
                request("GET /any/x", &[&shown])
            });
            attacker.send(bad.collect::<String>()).await;
            for _ in 0..AT_ONCE {
                assert_eq!(attacker.answer().await.status, 401);
            }
        }
        for left in [1, 0] {
            let answer = get(&gateway, "/any/x", &[&key()]).await;
            assert_eq!(told(&answer), (200, 2, left, None), "{by:?}");
        }
    }
}
