//! Upstreams: whose turn it is, what is tried again, what a failure is answered with, rules that change.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyward::authz::RouteId;
use keyward::proxy::{Balance, HealthCheck, Retries};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::support::gateway::{Setup, name, request, upstream};
use super::support::upstream::dead_address;
use super::support::{Client, Recorder, TestGateway};

async fn failure(gateway: &TestGateway) -> (u16, String) {
    let answer = gateway.ask(request("GET /open/x", &[])).await;
    (answer.status, answer.reason())
}

#[tokio::test]
async fn endpoints_take_turns() {
    let (one, two) = (Recorder::start().await, Recorder::start().await);
    let gateway = Setup::of(upstream(&[one.address, two.address])).start();
    for _ in 0..6 {
        assert_eq!(gateway.ask(request("GET /open/x", &[])).await.status, 200);
    }
    assert_eq!((one.requests().len(), two.requests().len()), (3, 3));
}

#[tokio::test]
async fn a_header_can_bind_requests_to_an_endpoint() {
    let (one, two) = (Recorder::start().await, Recorder::start().await);
    let mut config = upstream(&[one.address, two.address]);
    config.balance = Balance::Consistent(name("x-session"));
    let gateway = Setup::of(config).start();
    for _ in 0..4 {
        gateway
            .ask(request("GET /open/x", &["x-session: s1"]))
            .await;
    }
    let mut counts = [one.requests().len(), two.requests().len()];
    counts.sort_unstable();
    assert_eq!(counts, [0, 4]);
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_tried_elsewhere_even_for_a_post() {
    let (dead, alive) = (dead_address().await, Recorder::start().await);
    let gateway = Setup::of(upstream(&[dead, alive.address])).start();
    for count in 1..=4 {
        let answer = gateway
            .ask(request("POST /open/x", &["content-length: 4"]) + "body")
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(alive.requests().len(), count);
        assert_eq!(alive.requests()[count - 1].body, b"body");
    }
}

#[tokio::test]
async fn retries_end() {
    let dead = dead_address().await;
    let mut config = upstream(&[dead]);
    config.retries.attempts = 3;
    let gateway = Setup::of(config).start();
    let answered = failure(&gateway).await;
    assert_eq!(answered, (502, "upstream_unreachable".to_owned()));
}

#[tokio::test]
async fn an_unavailable_endpoint_is_asked_again_for_what_may_be_repeated() {
    let calls = AtomicUsize::new(0);
    let flaky = Recorder::answering(move |_| match calls.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec(),
        _ => super::support::upstream::ok(),
    })
    .await;
    let gateway = Setup::new(flaky.address).start();
    assert_eq!(gateway.ask(request("GET /open/x", &[])).await.status, 200);
    assert_eq!(flaky.requests().len(), 2);
    let post = request("POST /open/x", &["content-length: 0"]);
    assert_eq!(
        gateway.ask(post).await.status,
        503,
        "a POST is not repeated"
    );
    assert_eq!(flaky.requests().len(), 3);
}

#[tokio::test]
async fn the_last_answer_is_passed_on_as_it_is() {
    let down = Recorder::answering(|_| {
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\ndown".to_vec()
    })
    .await;
    let gateway = Setup::new(down.address).start();
    let answer = gateway.ask(request("GET /open/x", &[])).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "down"));
    assert_eq!(down.requests().len(), 2);
    let counted = r#"keyward_requests_total{reason="allowed",route="open",status="503"}"#;
    gateway.counted(counted, 1.0).await;
}

#[tokio::test]
async fn what_is_no_answer_is_a_bad_gateway() {
    for answer in [&b"nonsense\r\n\r\n"[..], b""] {
        let bad = Recorder::answering(move |_| answer.to_vec()).await;
        let gateway = Setup::new(bad.address).start();
        let answered = failure(&gateway).await;
        assert_eq!(answered, (502, "upstream_invalid".to_owned()), "{answer:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_times_out_and_the_client_may_go_on() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::new(silent.local_addr().unwrap());
    setup.timeouts.first_byte = Duration::from_millis(100);
    let gateway = setup.start();
    let mut client = gateway.connect().await;
    for _ in 0..2 {
        client.send(request("GET /open/x", &[])).await;
        let answer = client.answer().await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (504, "upstream_timeout")
        );
    }
}

#[tokio::test]
async fn a_stream_that_stops_is_cut() {
    let upstream =
        Recorder::answering(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()).await;
    let mut setup = Setup::new(upstream.address);
    setup.limits.route.stream_idle = Duration::from_millis(100);
    let gateway = setup.start();
    let mut client = gateway.connect().await;
    client.send(request("GET /open/x", &[])).await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(client.closed().await, b"half");
    gateway.gateway.drain().await;
    gateway.counted("keyward_streams_ended_total", 1.0).await;
}

#[tokio::test]
async fn a_pooled_connection_that_died_is_replaced() {
    let upstream = Recorder::answering(|received| {
        let mut answer = super::support::upstream::ok();
        if received.connection == 0 {
            answer =
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_vec();
        }
        answer
    })
    .await;
    let gateway = Setup::new(upstream.address).start();
    for _ in 0..3 {
        assert_eq!(gateway.ask(request("GET /open/x", &[])).await.status, 200);
    }
}

#[tokio::test]
async fn what_comes_behind_an_answer_is_nobodys_however_late() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Setup::new(listener.local_addr().unwrap()).start();
    let mut client = gateway.connect().await;
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for framing in [
        "content-length: 99\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\nContent-Length: 99",
        "transfer-encoding: chunked",
    ] {
        client.send(request("GET /open/x", &[])).await;
        let mut upstream = Client::over(listener.accept().await.unwrap().0);
        upstream.head().await.unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        upstream.send(answer).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
        assert_eq!(answer.headers("content-length"), [""; 0], "{framing}");
        // The connection is idle by now, and this its end: the next request takes another one.
        upstream.send(poison).await;
        assert!(upstream.closed().await.is_empty(), "{framing}");
    }
}

#[tokio::test]
async fn a_probe_takes_an_endpoint_out_and_back() {
    let healthy = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let says = std::sync::Arc::clone(&healthy);
    let sick = Recorder::answering(move |received| {
        if received.request_line().contains("/health") && !says.load(Ordering::SeqCst) {
            return b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec();
        }
        super::support::upstream::ok()
    })
    .await;
    let mut config = upstream(&[sick.address]);
    config.health = Some(HealthCheck {
        interval: Duration::from_millis(20),
        unhealthy_after: 1,
        healthy_after: 1,
        ..HealthCheck::of("/health")
    });
    config.retries = Retries {
        attempts: 1,
        ..Retries::default()
    };
    let gateway = Setup::of(config).start();
    while failure_status(&gateway).await != 502 {}
    healthy.store(true, Ordering::SeqCst);
    while failure_status(&gateway).await != 200 {}
}

async fn failure_status(gateway: &TestGateway) -> u16 {
    gateway.ask(request("GET /open/x", &[])).await.status
}

#[tokio::test]
async fn a_reload_holds_from_the_next_request_on() {
    let (one, two) = (Recorder::start().await, Recorder::start().await);
    let gateway = Setup::new(one.address).start();
    let mut client = gateway.connect().await;
    client.send(request("GET /open/x", &[])).await;
    client.answer().await;
    let rules = Setup::new(two.address).rules();
    assert!(rules.rulebook.policy(RouteId(0)).is_some());
    gateway.gateway.reload(rules).await;
    client.send(request("GET /open/x", &[])).await;
    client.answer().await;
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));
}

#[tokio::test]
async fn an_endpoint_can_be_a_name() {
    let upstream_server = Recorder::start().await;
    let mut config = upstream(&[upstream_server.address]);
    config.endpoints = vec![keyward::proxy::Endpoint::Tcp {
        host: "localhost".to_owned(),
        port: upstream_server.address.port(),
    }];
    let gateway = Setup::of(config).start();
    // From the first request on: nothing is accepted before names have been looked up.
    assert_eq!(failure_status(&gateway).await, 200);
    assert!(!upstream_server.requests().is_empty());
}

#[tokio::test]
async fn endless_informational_answers_are_none() {
    let chatty = Recorder::answering(|_| b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100)).await;
    let gateway = Setup::new(chatty.address).start();
    let mut client = gateway.connect().await;
    client.send(request("GET /open/x", &[])).await;
    loop {
        let answer = client.answer().await;
        if answer.status != 103 {
            assert_eq!(
                (answer.status, answer.reason().as_str()),
                (502, "upstream_invalid")
            );
            return;
        }
    }
}

#[tokio::test]
async fn an_upstream_that_takes_no_body_times_out() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::new(deaf.local_addr().unwrap());
    setup.timeouts.first_byte = Duration::from_millis(100);
    setup.limits.route.stream_idle = Duration::from_millis(100);
    let gateway = setup.start();
    let client = gateway.connect().await;
    let (mut reading, mut writing) = client.split();
    let head = request("POST /open/x", &["content-length: 16000000"]);
    let upload = tokio::spawn(async move {
        let body = vec![b'x'; 16_000_000];
        // The gateway stops listening in the middle.
        let _ = writing.write_all(head.as_bytes()).await;
        let _ = writing.write_all(&body).await;
    });
    let (_unread, _) = deaf.accept().await.unwrap();
    let answer = reading.answer().await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (504, "upstream_timeout")
    );
    upload.await.unwrap();
}
