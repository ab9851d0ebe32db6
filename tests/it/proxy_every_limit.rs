//! Every limit of the section `limits` has a test that reaches it; those that have no better place are here.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use keyward::proxy::{Limits, ListenAddr, ListenerConfig, MinRate, TrustedPeers};
use tokio::net::TcpListener;

use super::support::gateway::{Setup, request};
use super::support::{Client, Recorder, TestGateway};

/// A limit, and the file and the function in which it is reached.
const REACHED: &[(&str, &str, &str)] = &[
    (
        "header_bytes",
        "proxy_refusals",
        "limits_of_a_head_have_answers_of_their_own",
    ),
    (
        "headers",
        "proxy_refusals",
        "limits_of_a_head_have_answers_of_their_own",
    ),
    (
        "uri_bytes",
        "proxy_refusals",
        "limits_of_a_head_have_answers_of_their_own",
    ),
    (
        "body_bytes",
        "proxy_refusals",
        "a_chunked_body_is_cut_where_it_becomes_too_large",
    ),
    (
        "header_timeout",
        "proxy_connection",
        "a_head_that_drips_is_cut_at_its_deadline",
    ),
    (
        "body_timeout",
        "proxy_connection",
        "a_body_that_stops_is_cut",
    ),
    (
        "request_timeout",
        "proxy_every_limit",
        "a_body_that_drips_is_cut",
    ),
    (
        "stream_idle",
        "proxy_every_limit",
        "a_client_that_does_not_read_is_cut",
    ),
    (
        "total_timeout",
        "proxy_every_limit",
        "an_exchange_ends_when_its_time_is_over",
    ),
    (
        "min_rate",
        "proxy_every_limit",
        "a_client_that_takes_little_is_cut",
    ),
    (
        "min_rate_over",
        "proxy_every_limit",
        "a_body_that_comes_too_slowly_is_cut",
    ),
    (
        "keep_alive",
        "proxy_connection",
        "a_kept_connection_closes_when_nothing_comes",
    ),
    (
        "connections",
        "proxy_connection",
        "connections_beyond_the_limit_are_told_so",
    ),
    (
        "connections_per_client",
        "proxy_every_limit",
        "a_client_has_so_many_connections_and_others_are_unharmed",
    ),
    (
        "streams",
        "proxy_http2",
        "streams_have_a_limit_on_a_connection",
    ),
];

#[cfg(feature = "cli")]
#[test]
fn every_limit_is_reached_by_a_test() {
    let schema = keyward::config::schema();
    let limits = schema.as_value()["$defs"]["Limits"]["properties"].clone();
    let limits: BTreeSet<String> = limits.as_object().unwrap().keys().cloned().collect();
    let listed = REACHED.iter().map(|(limit, ..)| *limit);
    let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
    assert_eq!(limits, listed);
    for (limit, file, test) in REACHED {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/{file}.rs"));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("fn {test}()")), "{limit}");
    }
}

/// Little by little, as long as the other end takes it.
async fn drip(mut writing: tokio::net::tcp::OwnedWriteHalf) {
    let mut pause = tokio::time::interval(Duration::from_millis(10));
    while tokio::io::AsyncWriteExt::write_all(&mut writing, b"x")
        .await
        .is_ok()
    {
        pause.tick().await;
    }
}

/// Sends a body little by little until it is refused for that, and the connection closed.
async fn cut_while_dripping(gateway: &TestGateway) {
    let mut client = gateway.connect().await;
    client
        .send(request("POST /open/x", &["content-length: 1000000"]))
        .await;
    let (mut client, writing) = client.split();
    let dripping = tokio::spawn(drip(writing));
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (408, "request_timeout")
    );
    dripping.abort();
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn a_body_that_drips_is_cut() {
    let upstream = Recorder::start().await;
    let mut setup = Setup::new(upstream.address);
    setup.limits.route.request_timeout = Duration::from_millis(300);
    let gateway = setup.start();
    cut_while_dripping(&gateway).await;
}

/// An upstream that answers at once and then goes on for as long as somebody reads.
pub async fn endless() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut upstream = Client::over(stream);
                upstream.head().await;
                upstream.send("HTTP/1.1 200 OK\r\n\r\n").await;
                let (_reading, mut writing) = upstream.split();
                let piece = [b'x'; 65_536];
                while tokio::io::AsyncWriteExt::write_all(&mut writing, &piece)
                    .await
                    .is_ok()
                {
                    tokio::task::yield_now().await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let mut setup = Setup::new(endless().await);
    setup.limits.route.stream_idle = Duration::from_millis(200);
    let gateway = setup.start();
    let mut client = gateway.connect().await;
    client.send(request("GET /open/x", &[])).await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
    // What it does not take fills the buffers on the way, and then nothing moves.
    gateway.counted("keyward_streams_ended_total", 1.0).await;
    gateway.counted("keyward_connections", 0.0).await;
}

/// Nor does it hold what it was never allowed.
#[tokio::test]
async fn a_client_that_does_not_read_its_refusals_is_cut() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.connect().await;
    let (unread, mut writing) = client.split();
    // Until what is not read fills the buffers on the way, and the gateway reads no further request either; then it ends.
    let refused = request("GET /any/x", &[]).repeat(1000);
    let asking = async {
        while tokio::io::AsyncWriteExt::write_all(&mut writing, refused.as_bytes())
            .await
            .is_ok()
        {}
    };
    asking.await;
    gateway.counted("keyward_connections", 0.0).await;
    drop(unread);
}

/// More than any client can take or send of this machine's.
const TOO_MUCH: MinRate = MinRate {
    bytes: u64::MAX / 1_000_000,
    over: Duration::from_millis(200),
};

fn demanding(upstream: SocketAddr) -> TestGateway {
    let mut setup = Setup::new(upstream);
    setup.limits.route.min_rate = Some(TOO_MUCH);
    setup.start()
}

#[tokio::test]
async fn a_client_that_takes_little_is_cut() {
    let gateway = demanding(endless().await);
    let mut client = gateway.connect().await;
    client.send(request("GET /open/x", &[])).await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
    // A little now and then, so that something always moves.
    let reading = tokio::spawn(async move {
        let mut pause = tokio::time::interval(Duration::from_millis(10));
        while !client.next_bytes().await.is_empty() {
            pause.tick().await;
        }
    });
    gateway.counted("keyward_slow_clients_total", 1.0).await;
    gateway.counted("keyward_streams_ended_total", 1.0).await;
    let line = gateway.log(1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["limit"]),
        (&200.into(), &"min_rate".into())
    );
    reading.await.unwrap();
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_cut() {
    let upstream = Recorder::start().await;
    let gateway = demanding(upstream.address);
    cut_while_dripping(&gateway).await;
    gateway.counted("keyward_slow_clients_total", 1.0).await;
    let line = gateway.log(1).await.remove(0);
    assert_eq!(line["limit"], "min_rate");
}

#[tokio::test]
async fn a_pause_of_the_upstream_is_not_held_against_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = demanding(listener.local_addr().unwrap());
    let mut client = gateway.connect().await;
    client.send(request("GET /open/x", &[])).await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut upstream = Client::over(stream);
    upstream.head().await.unwrap();
    upstream
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
    // Longer in all than a client may be slow.
    let mut events = tokio::time::interval(TOO_MUCH.over / 4);
    for _ in 0..12 {
        events.tick().await;
        upstream.send("7\r\ndata: x\r\n").await;
        assert_eq!(client.chunk().await, b"data: x");
    }
    upstream.send("0\r\n\r\n").await;
    assert!(client.chunk().await.is_empty());
    gateway.counted("keyward_slow_clients_total", 0.0).await;
}

#[tokio::test]
async fn an_exchange_ends_when_its_time_is_over() {
    let limited = |upstream| {
        let mut setup = Setup::new(upstream);
        setup.limits.route.total_timeout = Some(Duration::from_millis(300));
        setup.start()
    };
    // However fast it runs.
    let gateway = limited(endless().await);
    let mut client = gateway.connect().await;
    client.send(request("GET /open/x", &[])).await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
    while !client.next_bytes().await.is_empty() {}
    gateway.counted("keyward_streams_ended_total", 1.0).await;
    // Before an answer has begun, there is one.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = limited(silent.local_addr().unwrap());
    let answer = gateway.ask(request("GET /open/x", &[])).await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (504, "upstream_timeout")
    );
}

fn few_for_each_client(upstream: SocketAddr) -> Setup {
    Setup {
        limits: Limits {
            connections_per_client: Some(2),
            ..Limits::default()
        },
        ..Setup::new(upstream)
    }
}

async fn from_another_address(gateway: &TestGateway) -> Client {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    Client::over(socket.connect(gateway.address).await.unwrap())
}

#[tokio::test]
async fn a_client_has_so_many_connections_and_others_are_unharmed() {
    let upstream = Recorder::start().await;
    let gateway = few_for_each_client(upstream.address).start();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.connect().await;
        client.send(request("GET /open/x", &[])).await;
        assert_eq!(client.answer().await.status, 200);
        held.push(client);
    }
    let mut third = gateway.connect().await;
    let answer = third.answer().await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (503, "overloaded")
    );
    assert!(third.closed().await.is_empty());
    let counted = "keyward_requests_total{reason=\"overloaded\",route=\"-\",status=\"503\"}";
    gateway.counted(counted, 1.0).await;

    let mut other = from_another_address(&gateway).await;
    other.send(request("GET /open/x", &[])).await;
    assert_eq!(other.answer().await.status, 200);
    // What it has goes on, and what it gives back it may have again.
    let mut first = held.swap_remove(0);
    first
        .send(request("GET /open/x", &["connection: close"]))
        .await;
    assert_eq!(first.answer().await.status, 200);
    assert!(first.closed().await.is_empty());
    gateway.counted("keyward_connections", 2.0).await;
    assert_eq!(gateway.ask(request("GET /open/x", &[])).await.status, 200);
}

#[tokio::test]
async fn a_peer_that_speaks_for_others_has_as_many_connections_as_there_are() {
    let upstream = Recorder::start().await;
    let mut setup = few_for_each_client(upstream.address);
    setup.listeners = vec![ListenerConfig {
        trusted_identity_from: TrustedPeers {
            unix: false,
            networks: vec!["127.0.0.1/32".parse().unwrap()],
        },
        ..ListenAddr::Tcp(([127, 0, 0, 1], 0).into()).into()
    }];
    let gateway = setup.start();
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut client = gateway.connect().await;
        client.send(request("GET /open/x", &[])).await;
        assert_eq!(client.answer().await.status, 200);
        held.push(client);
    }
}
