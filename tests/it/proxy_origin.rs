//! Who the client is: the address that is logged, and that limits go by, behind proxies that are trusted and others.

use std::time::Duration;

use http::Request;
use keyward::proxy::{Limits, ListenAddr, ListenerConfig, TrustedPeers};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::support::gateway::{Setup, request};
use super::support::{Client, Recorder, TestGateway};

async fn behind_proxies(upstream: &Recorder, proxy_protocol: bool) -> TestGateway {
    let limits = Limits {
        header_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    limited_behind_proxies(upstream, proxy_protocol, limits)
}

fn limited_behind_proxies(
    upstream: &Recorder,
    proxy_protocol: bool,
    limits: Limits,
) -> TestGateway {
    let networks = ["127.0.0.1/32", "10.0.0.0/8"];
    let trusted_proxies = TrustedPeers {
        unix: false,
        networks: networks.map(|network| network.parse().unwrap()).to_vec(),
    };
    let address = ListenAddr::Tcp(([127, 0, 0, 1], 0).into());
    Setup {
        listeners: vec![ListenerConfig {
            trusted_proxies,
            proxy_protocol,
            h2c: true,
            ..address.into()
        }],
        limits,
        ..Setup::new(upstream.address)
    }
    .start()
}

#[tokio::test]
async fn the_client_that_is_logged_is_the_nearest_that_is_no_proxy() {
    let upstream = Recorder::start().await;
    let gateway = behind_proxies(&upstream, false).await;
    let asked = [
        (vec![], "127.0.0.1"),
        (vec!["x-forwarded-for: 6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        (vec!["x-forwarded-for: 1.2.3.4, 10.1.2.3"], "1.2.3.4"),
        (vec!["forwarded: for=\"[2001:db8::1]:9\""], "2001:db8::1"),
        (vec!["x-real-ip: 1.2.3.5"], "1.2.3.5"),
        (vec!["x-forwarded-for: nonsense"], "127.0.0.1"),
    ];
    for (index, (lines, client)) in asked.iter().enumerate() {
        assert_eq!(gateway.ask(request("GET /open/x", lines)).await.status, 200);
        let log = gateway.log(index + 1).await;
        assert_eq!(log[index]["client"], *client, "{lines:?}");
    }
}

#[tokio::test]
async fn the_client_of_one_request_is_not_that_of_the_next() {
    let upstream = Recorder::start().await;
    let gateway = behind_proxies(&upstream, false).await;
    let mut client = gateway.connect().await;
    for line in [&["x-forwarded-for: 1.2.3.4"][..], &[]] {
        client.send(request("GET /open/x", line)).await;
        assert_eq!(client.answer().await.status, 200);
    }
    let log = gateway.log(2).await;
    assert_eq!(
        (&log[0]["client"], &log[1]["client"]),
        (&"1.2.3.4".into(), &"127.0.0.1".into())
    );
}

#[tokio::test]
async fn a_connection_is_whose_its_proxy_says() {
    let upstream = Recorder::start().await;
    let gateway = behind_proxies(&upstream, true).await;
    let mut client = gateway.connect().await;
    client.send("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n").await;
    for _ in 0..2 {
        client
            .send(request("GET /open/x", &["x-forwarded-for: 6.6.6.6"]))
            .await;
        assert_eq!(client.answer().await.status, 200);
    }
    let log = gateway.log(2).await;
    assert!(
        log.iter().all(|line| line["client"] == "1.2.3.4"),
        "{log:?}"
    );
}

#[tokio::test]
async fn nobody_but_a_trusted_proxy_says_whose_a_connection_is() {
    let upstream = Recorder::start().await;
    let gateway = behind_proxies(&upstream, true).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let mut stranger = Client::over(socket.connect(gateway.address).await.unwrap());
    let asked = request("GET /open/x", &[]);
    let claimed = format!("PROXY TCP4 10.0.0.1 5.6.7.8 1 2\r\n{asked}");
    stranger.send(claimed).await;
    assert_eq!(stranger.answer().await.status, 400);
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_connection_that_does_not_say_whose_it_is_ends_in_time() {
    let upstream = Recorder::start().await;
    let gateway = behind_proxies(&upstream, true).await;
    assert!(gateway.connect().await.closed().await.is_empty());
    for begin in ["PROXY TCP4 1.2.3.4", "\r\n\r\n\0\r\nQUIT\n"] {
        let mut client: Client = gateway.connect().await;
        client.send(begin).await;
        let answer = client.answer().await;
        assert_eq!(
            (answer.status, answer.headers("connection")),
            (400, vec!["close"])
        );
        assert!(client.closed().await.is_empty());
    }
    assert!(upstream.requests().is_empty());
    let log = gateway.log(2).await;
    assert!(log.iter().all(|line| line["status"] == 400), "{log:?}");
}

/// A connection that begins so, and the status of its first answer.
async fn introduced(gateway: &TestGateway, preamble: &[u8]) -> (Client, u16) {
    let mut client = gateway.connect().await;
    let asked = request("GET /open/x", &[]);
    client.send([preamble, asked.as_bytes()].concat()).await;
    let status = client.answer().await.status;
    (client, status)
}

#[tokio::test]
async fn whom_a_proxy_names_has_so_many_connections_and_others_are_unharmed() {
    let upstream = Recorder::start().await;
    let limits = Limits {
        connections_per_client: Some(2),
        ..Limits::default()
    };
    let gateway = limited_behind_proxies(&upstream, true, limits);
    let mut held = Vec::new();
    for (preamble, expected) in [
        (&b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"[..], 200),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02",
            200,
        ),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 3 2\r\n", 503),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", 200),
        (b"PROXY TCP6 2001:db8::2 ::1 1 2\r\n", 200),
        (b"PROXY TCP6 2001:db8::3 ::1 1 2\r\n", 503),
        (b"PROXY TCP4 1.2.3.5 5.6.7.8 1 2\r\n", 200),
    ] {
        let (mut client, status) = introduced(&gateway, preamble).await;
        assert_eq!(status, expected, "{}", preamble.escape_ascii());
        if status == 503 {
            assert!(client.closed().await.is_empty());
        }
        held.push(client);
    }
    // Of another proxy, of none, and of one that does not say whose: nobody's.
    for preamble in [
        &b"PROXY TCP4 10.0.0.9 5.6.7.8 1 2\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        b"PROXY UNKNOWN\r\n",
    ] {
        for _ in 0..3 {
            let (client, status) = introduced(&gateway, preamble).await;
            assert_eq!(status, 200, "{}", preamble.escape_ascii());
            held.push(client);
        }
    }
    // What it gives back it may have again.
    gateway.counted("keyward_connections", 14.0).await;
    drop(held.swap_remove(0));
    gateway.counted("keyward_connections", 13.0).await;
    let (_client, status) = introduced(&gateway, b"PROXY TCP4 1.2.3.4 5.6.7.8 9 2\r\n").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn each_stream_of_http_2_has_its_own_client() {
    let upstream = Recorder::start().await;
    let gateway = behind_proxies(&upstream, true).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream
        .write_all(b"PROXY TCP4 10.0.0.9 5.6.7.8 1 2\r\n")
        .await
        .unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for (chain, client_of_it) in [("1.2.3.4", "1.2.3.4"), ("6.6.6.6, 1.2.3.5", "1.2.3.5")] {
        let request = Request::get("http://gw.test/open/x").header("x-forwarded-for", chain);
        let (answer, _) = client
            .send_request(request.body(()).unwrap(), true)
            .unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
        let received = upstream.requests().pop().unwrap();
        let seen = format!("{chain}, 10.0.0.9");
        assert_eq!(received.headers("x-forwarded-for"), [seen.as_str()]);
        let log = gateway.log(upstream.requests().len()).await;
        assert_eq!(log.last().unwrap()["client"], client_of_it);
    }
}
