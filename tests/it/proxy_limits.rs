//! Routes that take less than others: targets, header lines, requests at a time.

use std::net::SocketAddr;

use keyward::proxy::Ceilings;
use tokio::net::TcpListener;

use super::support::gateway::{Setup, TestGateway, key, request};
use super::support::{Client, Recorder};

fn setup(upstream: SocketAddr, ceilings: Ceilings) -> Setup {
    Setup {
        ceilings,
        ..Setup::new(upstream)
    }
}

fn gateway(upstream: SocketAddr, ceilings: Ceilings) -> TestGateway {
    setup(upstream, ceilings).start()
}

#[tokio::test]
async fn a_long_target_is_refused_once_it_is_permitted() {
    let upstream = Recorder::start().await;
    let ceilings = Ceilings {
        uri_bytes: Some(20),
        ..Ceilings::default()
    };
    let gateway = gateway(upstream.address, ceilings);
    let asked = |bytes: usize, query: &str| {
        let rest = "x".repeat(bytes - "/open/".len() - query.len());
        request(&format!("GET /open/{rest}{query}"), &[])
    };
    for query in ["", "?", "?x=1"] {
        let answer = gateway.ask(asked(21, query)).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (414, "uri_too_long")
        );
        assert!(upstream.requests().is_empty());
    }
    assert_eq!(gateway.ask(asked(20, "?x=1")).await.status, 200);
    // Who may not do it at all is not told how long it may be.
    let long = "GET /any/0123456789012345678901234567890";
    assert_eq!(gateway.ask(request(long, &[])).await.status, 401);
}

#[tokio::test]
async fn cookie_lines_count_as_one_header() {
    let upstream = Recorder::start().await;
    let ceilings = Ceilings {
        headers: Some(3),
        ..Ceilings::default()
    };
    let gateway = gateway(upstream.address, ceilings);
    // `Host` is the first.
    let cookies = ["cookie: a=1", "cookie: b=2", "cookie: c=3", "x-a: 1"];
    assert_eq!(
        gateway.ask(request("GET /open/x", &cookies)).await.status,
        200
    );
    let many = ["cookie: a=1", "x-a: 1", "x-b: 2"];
    let answer = gateway.ask(request("GET /open/x", &many)).await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (431, "headers_too_large")
    );
}

/// Accepts a connection, reads a request of it and leaves it unanswered.
async fn receive(listener: &TcpListener) -> Client {
    let (stream, _) = listener.accept().await.unwrap();
    let mut client = Client::over(stream);
    client.head().await.unwrap();
    client
}

const LAST: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn places_of_a_route_are_its_own_and_given_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ceilings = Ceilings {
        connections: Some(1),
        ..Ceilings::default()
    };
    let gateway = gateway(address, ceilings.clone());
    let passes = async |path: &str| {
        let asked = request(&format!("GET {path}"), &[&key()]);
        let answer = async { gateway.ask(asked).await.status };
        let upstream = async { receive(&listener).await.send(LAST).await };
        assert_eq!(tokio::join!(answer, upstream).0, 200, "{path}");
    };
    let mut busy = gateway.connect().await;
    busy.send(request("GET /open/x", &[])).await;
    let mut upstream = receive(&listener).await;
    let answer = gateway.ask(request("GET /open/y", &[])).await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (503, "overloaded")
    );
    passes("/any/y").await;
    // A place is taken under the rules that come after as well.
    gateway
        .gateway
        .reload(setup(address, ceilings).rules())
        .await;
    let answer = gateway.ask(request("GET /open/y", &[])).await;
    assert_eq!(answer.status, 503);
    upstream.send(LAST).await;
    assert_eq!(busy.answer().await.status, 200);
    gateway.log(4).await;
    passes("/open/y").await;
}
