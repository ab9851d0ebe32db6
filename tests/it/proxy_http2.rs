//! HTTP/2 from clients: the same decisions, answers, log lines and limits as HTTP/1.1, stream by stream.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use keyward::authz::KeyStatus;
use keyward::proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::proxy_every_limit::endless;
use super::support::frames::{
    CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NO_ERROR, PREFACE, REFUSED_STREAM,
    RST_STREAM, Raw, SETTINGS, ask, block, frame, request as fields,
};
use super::support::gateway::{KEY, Setup, TestGateway, key, request as text};
use super::support::{Recorder, upstream};

fn setup(upstream: SocketAddr) -> Setup {
    let mut setup = Setup::new(upstream);
    setup.listeners[0].h2c = true;
    setup
}

fn limited(upstream: SocketAddr, limits: Limits) -> Setup {
    Setup {
        limits,
        ..setup(upstream)
    }
}

/// A client of a library.
async fn client(gateway: &TestGateway) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://gw.test{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// Asks without a body.
async fn asked(client: &mut SendRequest<Bytes>, request: Request<()>) -> (Response<()>, String) {
    let (response, _) = client.send_request(request, true).unwrap();
    let (head, mut body) = response.await.unwrap().into_parts();
    (Response::from_parts(head, ()), rest(&mut body).await)
}

/// A body to its end.
async fn rest(body: &mut h2::RecvStream) -> String {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        bytes.extend(piece.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_request_goes_through_as_one_of_http_1() {
    let upstream = Recorder::start().await;
    let gateway = setup(upstream.address).start();
    let mut client = client(&gateway).await;
    let sent = [
        ("x-prismeai-api-key", KEY),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("te", "trailers"),
        ("x-keyward-org", "other"),
        ("x-forwarded-for", "9.9.9.9"),
        ("x-correlation-id", "mine"),
    ];
    let request = request("GET", "/v1/agents/%611?b=c", &sent);
    let (head, body) = asked(&mut client, request).await;
    assert_eq!((head.status().as_u16(), body.as_str()), (200, "ok"));
    assert_eq!(head.headers()["x-correlation-id"], "mine");
    assert!(head.headers().contains_key("date"));
    let received = upstream.one();
    assert_eq!(received.request_line(), "GET /v1/agents/a1?b=c HTTP/1.1");
    for (name, values) in [
        ("host", &["gw.test"][..]),
        ("cookie", &["a=1; b=2"]),
        ("te", &[]),
        ("transfer-encoding", &[]),
        ("x-prismeai-api-key", &[]),
        ("x-keyward-org", &["acme"]),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("x-correlation-id", &["mine"]),
    ] {
        assert_eq!(received.headers(name), values, "{name}");
    }
    let line = &gateway.log(1).await[0];
    for (name, value) in [
        ("method", "GET"),
        ("route", "agents"),
        ("key_id", "key-1"),
        ("correlation_id", "mine"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert_eq!(
        (&line["status"], &line["bytes_out"]),
        (&200.into(), &2.into())
    );
}

#[tokio::test]
async fn refusals_are_those_of_http_1() {
    let upstream = Recorder::start().await;
    let gateway = setup(upstream.address).start();
    let mut client = client(&gateway).await;
    let unknown = KEY.replace('0', "9");
    for (line, headers) in [
        ("GET /v1/agents/a1", &[][..]),
        ("GET /v1/agents/a1", &[("x-prismeai-api-key", &*unknown)]),
        ("GET /v1/agents/a2", &[("x-prismeai-api-key", KEY)]),
        ("GET /nowhere", &[]),
        ("PUT /v1/agents/a1", &[]),
        ("HEAD /any/x", &[]),
        ("GET /open/%2e%2e/x", &[]),
        ("GET /open/x", &[("expect", "200-ok")]),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let (head, body) = asked(&mut client, request(method, path, headers)).await;
        let lines: Vec<String> = headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut other = gateway.connect().await;
        other.send(text(line, &lines)).await;
        let answer = if method == "HEAD" {
            other.head_answer().await
        } else {
            other.answer().await
        };
        assert_eq!(
            (head.status().as_u16(), &body),
            (answer.status, &answer.body)
        );
        for name in [
            "www-authenticate",
            "allow",
            "content-type",
            "content-length",
        ] {
            let value = head
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap());
            assert_eq!(
                value,
                answer.headers(name).first().copied(),
                "{line} {name}"
            );
        }
    }
    assert!(upstream.requests().is_empty());
    // Of each request there is a line.
    assert_eq!(gateway.log(16).await.len(), 16);
}

#[tokio::test]
async fn limits_of_a_head_have_the_reasons_of_http_1() {
    let upstream = Recorder::start().await;
    let gateway = setup(upstream.address).start();
    let mut client = client(&gateway).await;
    let long = format!("/open/{}", "x".repeat(9000));
    let large = "x".repeat(64 * 1024);
    let many = vec![("x-a", "1"); 101];
    let crumbs = vec![("cookie", "a=1"); 150];
    for (path, headers, expected) in [
        (long.as_str(), &[][..], (414, "uri_too_long")),
        ("/open/x", &[("x-a", &*large)], (431, "headers_too_large")),
        ("/open/x", &many, (431, "headers_too_large")),
        ("/open/x", &crumbs, (200, "")),
    ] {
        let (head, body) = asked(&mut client, request("GET", path, headers)).await;
        let reason = serde_json::from_str::<serde_json::Value>(&body)
            .map(|body| body["details"]["reason"].as_str().unwrap().to_owned());
        let reason = reason.unwrap_or_default();
        assert_eq!((head.status().as_u16(), reason.as_str()), expected);
    }
    assert_eq!(upstream.one().headers("cookie")[0].len(), 150 * 5 - 2);
}

/// A POST whose body comes in these pieces and then ends by itself, or with trailers.
async fn upload(
    client: &mut SendRequest<Bytes>,
    pieces: &[&'static str],
    trailers: Option<HeaderMap>,
) -> u16 {
    let asked = request("POST", "/open/x", &[]);
    let (response, mut body) = client.send_request(asked, false).unwrap();
    for piece in pieces {
        body.send_data(Bytes::from_static(piece.as_bytes()), false)
            .unwrap();
    }
    match trailers {
        Some(trailers) => body.send_trailers(trailers).unwrap(),
        None => body.send_data(Bytes::new(), true).unwrap(),
    }
    response.await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_body_ends_once_and_its_trailers_stay_outside() {
    let upstream = Recorder::start().await;
    let gateway = setup(upstream.address).start();
    let mut client = client(&gateway).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-keyward-org", "other".parse().unwrap());
    trailers.insert("x_prismeai_api_key", KEY.parse().unwrap());
    assert_eq!(upload(&mut client, &["hello", "you"], None).await, 200);
    assert_eq!(upload(&mut client, &["hello"], Some(trailers)).await, 200);
    assert_eq!(upload(&mut client, &[], None).await, 200);
    let (head, _) = asked(&mut client, request("GET", "/open/y", &[])).await;
    assert_eq!(head.status(), 200);
    let requests = upstream.requests();
    let lines: Vec<_> = requests.iter().map(|one| one.request_line()).collect();
    let upload = "POST /open/x HTTP/1.1";
    assert_eq!(lines, [upload, upload, upload, "GET /open/y HTTP/1.1"]);
    for (request, chunks) in requests.iter().zip([
        "5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "0\r\n\r\n",
    ]) {
        let body = String::from_utf8(request.body.clone()).unwrap();
        // Pieces may be sent on together.
        let together = body.replace("8\r\nhelloyou", "5\r\nhello\r\n3\r\nyou");
        assert_eq!(together, chunks);
        assert!(!request.contains("other") && !request.contains(KEY));
    }
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_says_is_no_request() {
    let upstream = Recorder::start().await;
    let gateway = setup(upstream.address).start();
    for (length, sent) in [("5", "four"), ("3", "four"), ("5", "")] {
        let mut raw = Raw::open(gateway.address, &[]).await;
        let head = block(&fields("POST", "/open/x", &[("content-length", length)]));
        raw.send(frame(HEADERS, END_HEADERS, 1, head)).await;
        raw.send(frame(DATA, END_STREAM, 1, sent)).await;
        assert!(raw.answer().await.is_err(), "{length} {sent}");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_cut_when_that_is_seen() {
    let upstream = Recorder::start().await;
    let mut limits = Limits::default();
    limits.route.body_bytes = 10;
    let gateway = limited(upstream.address, limits).start();
    let mut client = client(&gateway).await;
    assert_eq!(upload(&mut client, &["12345", "67890"], None).await, 200);
    assert_eq!(upload(&mut client, &["12345", "678901"], None).await, 413);
    let declared = request("POST", "/open/x", &[("content-length", "11")]);
    let (response, _body) = client.send_request(declared, false).unwrap();
    assert_eq!(response.await.unwrap().status(), 413);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_slow_body_is_not_waited_for() {
    let upstream = Recorder::start().await;
    let mut limits = Limits::default();
    limits.route.body_timeout = Duration::from_millis(50);
    let gateway = limited(upstream.address, limits).start();
    let mut client = client(&gateway).await;
    let asked = request("POST", "/open/x", &[]);
    let (response, mut body) = client.send_request(asked, false).unwrap();
    body.send_data(Bytes::from_static(b"some"), false).unwrap();
    assert_eq!(response.await.unwrap().status(), 408);
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_stream_ends_when_its_time_is_over() {
    let limits = || {
        let mut limits = Limits::default();
        limits.route.total_timeout = Some(Duration::from_millis(300));
        limits
    };
    // However fast it runs.
    let gateway = limited(endless().await, limits()).start();
    let mut client = client(&gateway).await;
    for times in 1..=2 {
        let (response, _) = client
            .send_request(request("GET", "/open/x", &[]), true)
            .unwrap();
        let mut body = response.await.unwrap().into_body();
        let error = loop {
            match body.data().await.unwrap() {
                Ok(piece) => body.flow_control().release_capacity(piece.len()).unwrap(),
                Err(error) => break error,
            }
        };
        assert!(error.is_reset(), "{error}: the connection goes on");
        let ended = "keyward_streams_ended_total";
        gateway.counted(ended, f64::from(times)).await;
    }
    // Before an answer has begun, there is one.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = limited(silent.local_addr().unwrap(), limits()).start();
    let mut client = self::client(&gateway).await;
    let (head, body) = asked(&mut client, request("GET", "/open/x", &[])).await;
    assert_eq!(head.status(), 504);
    assert!(body.contains("upstream_timeout"), "{body}");
}

#[tokio::test]
async fn both_versions_are_served_where_both_are_and_one_where_not() {
    let upstream = Recorder::start().await;
    let gateway = setup(upstream.address).start();
    let one = text("GET /open/x", &[]);
    assert_eq!(gateway.ask(&one).await.status, 200);
    // What begins like the preface may still be something else.
    let mut other = gateway.connect().await;
    other.send("P").await;
    other.send("RI * HTTP/2.0\r\n\r\nsm\r\n\r\n").await;
    assert_eq!(other.answer().await.status, 400);
    let mut raw = Raw::connect(gateway.address).await;
    for byte in PREFACE {
        raw.send([*byte]).await;
    }
    raw.send(frame(SETTINGS, 0, 0, [])).await;
    raw.send(ask(1, &fields("GET", "/open/x", &[]))).await;
    assert_eq!(raw.answer().await, Ok(200));

    let gateway = Setup::new(upstream.address).start();
    let mut client = gateway.connect().await;
    client.send(PREFACE).await;
    assert_eq!(client.answer().await.status, 400);
}

/// A stream of which the head and one piece have come, and the upstream's side of it.
async fn streaming(
    client: &mut SendRequest<Bytes>,
    upstream: &TcpListener,
    key: &str,
) -> (h2::RecvStream, TcpStream) {
    let asked = request("GET", "/open/x", &[]);
    let asked = if key.is_empty() {
        asked
    } else {
        request("GET", "/any/x", &[("x-prismeai-api-key", key)])
    };
    let (response, _) = client.send_request(asked, true).unwrap();
    let mut serving = accepted(upstream).await;
    serving
        .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await
        .unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "hello");
    (body, serving)
}

/// A request that has reached the upstream.
async fn accepted(upstream: &TcpListener) -> TcpStream {
    let (mut serving, _) = upstream.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(serving.read_u8().await.unwrap());
    }
    serving
}

async fn played() -> (TestGateway, TcpListener) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = setup(upstream.local_addr().unwrap()).start();
    (gateway, upstream)
}

#[tokio::test]
async fn a_key_that_dies_ends_its_stream_and_no_other() {
    let (gateway, upstream) = played().await;
    let mut client = client(&gateway).await;
    let (mut other, mut other_serving) = streaming(&mut client, &upstream, "").await;
    let (mut body, mut serving) = streaming(&mut client, &upstream, KEY).await;
    gateway
        .change(|record| record.status = KeyStatus::Disabled)
        .await;
    // A connection that is gone takes nothing.
    let _gone = serving.write_all(b"5\r\nagain\r\n").await;
    let error = body.data().await.unwrap().unwrap_err();
    assert_eq!(error.reason().map(u32::from), Some(CANCEL));
    other_serving.write_all(b"5\r\nagain\r\n").await.unwrap();
    assert_eq!(other.data().await.unwrap().unwrap(), "again");
    gateway.counted("keyward_streams_ended_total", 1.0).await;
    assert_eq!(gateway.log(1).await[0]["key_id"], "key-1");
}

#[tokio::test]
async fn a_stream_that_waits_for_its_answer_is_refused_when_its_key_dies() {
    let (gateway, upstream) = played().await;
    let mut client = client(&gateway).await;
    let asked = request("GET", "/any/x", &[("x-prismeai-api-key", KEY)]);
    let (response, _) = client.send_request(asked, true).unwrap();
    let _serving = accepted(&upstream).await;
    gateway.remove_key().await;
    assert_eq!(response.await.unwrap().status(), 401);
    assert_eq!(gateway.log(1).await[0]["reason"], "revoked_key");
}

#[tokio::test]
async fn a_client_that_takes_its_request_back_is_gone() {
    let (gateway, upstream) = played().await;
    let mut raw = Raw::open(gateway.address, &[]).await;
    raw.send(ask(1, &fields("GET", "/open/x", &[]))).await;
    let mut serving = accepted(&upstream).await;
    let cancel = CANCEL.to_be_bytes();
    raw.send(frame(RST_STREAM, 0, 1, cancel)).await;
    let read = serving.read(&mut [0]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "the upstream is told too");
    assert_eq!(gateway.log(1).await[0]["status"], 499);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    let (gateway, upstream) = played().await;
    let mut client = client(&gateway).await;
    let (mut body, serving) = streaming(&mut client, &upstream, "").await;
    drop(serving);
    assert!(body.data().await.unwrap().is_err());
    gateway.counted("keyward_streams_ended_total", 1.0).await;
}

#[tokio::test]
async fn a_drain_says_so_and_waits_for_streams() {
    let (gateway, upstream) = played().await;
    let mut idle = Raw::open(gateway.address, &[]).await;
    idle.next(&[SETTINGS]).await.unwrap();
    let mut client = client(&gateway).await;
    let (mut body, mut serving) = streaming(&mut client, &upstream, "").await;
    let drain = gateway.gateway.drain();
    tokio::pin!(drain);
    tokio::select! {
        () = &mut drain => panic!("a stream is running"),
        farewell = idle.next(&[GOAWAY]) => assert_eq!(farewell.unwrap().code(), NO_ERROR),
    }
    serving.write_all(b"3\r\nend\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(rest(&mut body).await, "end");
    drain.await;
    assert_eq!(gateway.log(1).await[0]["status"], 200);
}

#[tokio::test]
async fn a_drain_cuts_streams_that_take_too_long() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Setup {
        graceful_shutdown: Duration::from_millis(100),
        ..setup(upstream.local_addr().unwrap())
    };
    let gateway = gateway.start();
    let mut client = client(&gateway).await;
    let (mut body, _serving) = streaming(&mut client, &upstream, "").await;
    gateway.gateway.drain().await;
    assert!(!matches!(body.data().await, Some(Ok(_))));
    assert_eq!(gateway.log(1).await.len(), 1);
}

#[tokio::test]
async fn streams_have_a_limit_on_a_connection() {
    let (gateway, upstream) = {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let limits = Limits {
            streams: 2,
            ..Limits::default()
        };
        let gateway = limited(upstream.local_addr().unwrap(), limits).start();
        (gateway, upstream)
    };
    let mut raw = Raw::open(gateway.address, &[]).await;
    let mut serving = Vec::new();
    for stream in [1, 3] {
        raw.send(ask(stream, &fields("GET", "/open/x", &[]))).await;
        serving.push(accepted(&upstream).await);
    }
    raw.send(ask(5, &fields("GET", "/open/x", &[]))).await;
    let refused = raw.next(&[RST_STREAM]).await.unwrap();
    assert_eq!((refused.stream, refused.code()), (5, REFUSED_STREAM));
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    serving[0].write_all(answer).await.unwrap();
    assert_eq!(raw.answer().await, Ok(200));
    raw.send(ask(7, &fields("GET", "/open/x", &[]))).await;
    // It reaches the upstream: by the connection that is free now, or by another one where that is not back yet.
    let mut head = [0; 3];
    tokio::select! {
        Ok(_) = serving[0].read_exact(&mut head) => assert_eq!(&head, b"GET"),
        _ = accepted(&upstream) => {}
    }
}

#[tokio::test]
async fn streams_of_all_connections_have_a_limit_too() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let gateway = limited(upstream.local_addr().unwrap(), limits).start();
    let mut raw = Raw::open(gateway.address, &[]).await;
    raw.send(ask(1, &fields("GET", "/open/x", &[]))).await;
    let _serving = accepted(&upstream).await;
    raw.send(ask(3, &fields("GET", "/open/x", &[]))).await;
    assert_eq!(raw.answer().await, Ok(503));
    assert_eq!(gateway.log(1).await[0]["reason"], "overloaded");
}

#[tokio::test]
async fn an_informational_answer_is_passed_on() {
    let (gateway, upstream) = played().await;
    let mut raw = Raw::open(gateway.address, &[]).await;
    raw.send(ask(1, &fields("GET", "/open/x", &[]))).await;
    let mut serving = accepted(&upstream).await;
    serving
        .write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(raw.answer().await, Ok(103));
    let last = raw.next(&[HEADERS]).await.unwrap();
    assert_eq!(last.status(), 200);
}

#[tokio::test]
async fn a_dead_upstream_is_another_ones_chance() {
    let good = Recorder::start().await;
    let dead = upstream::dead_address().await;
    let mut setup = Setup::of(super::support::gateway::upstream(&[dead, good.address]));
    setup.listeners[0].h2c = true;
    let gateway = setup.start();
    let mut client = client(&gateway).await;
    for _ in 0..4 {
        assert_eq!(upload(&mut client, &["hello"], None).await, 200);
    }
    assert_eq!(good.requests().len(), 4);
    let key = key();
    let asked = text("GET /any/x", &[&key]);
    assert_eq!(gateway.ask(asked).await.status, 200);
}
