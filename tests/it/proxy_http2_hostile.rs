//! Clients of HTTP/2 that mean harm: malformed requests, floods, streams that nobody reads. Each limit is reached.

use std::net::SocketAddr;
use std::time::Duration;

use keyward::proxy::{Limits, MinRate};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::Recorder;
use super::support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, NO_ERROR,
    PADDED, PING, PREFACE, PRIORITY, PROTOCOL_ERROR, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE,
    WITH_PRIORITY, ask, block, frame, request,
};
use super::support::gateway::{Setup, TestGateway};
use super::support::upstream::ok;

/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const WINDOW: u16 = 4;

/// Streams of a connection that may be left alone.
const UNREAD_MAX: u32 = 16;

fn gateway_with(upstream: SocketAddr, limits: Limits) -> TestGateway {
    let mut setup = Setup {
        limits,
        ..Setup::new(upstream)
    };
    setup.listeners[0].h2c = true;
    setup.start()
}

fn gateway(upstream: SocketAddr) -> TestGateway {
    gateway_with(upstream, Limits::default())
}

/// A client that is served whatever another one does.
async fn is_served(gateway: &TestGateway) {
    let mut good = Raw::open(gateway.address, &[]).await;
    good.send(ask(1, &request("GET", "/open/good", &[]))).await;
    assert_eq!(good.answer().await, Ok(200));
}

async fn ended_for(gateway: &TestGateway, why: &str, times: usize) {
    let line = format!("keyward_connections_ended_total{{why=\"{why}\"}}");
    gateway.counted(&line, times as f64).await;
}

type Fields = Vec<(&'static str, &'static str)>;

const SCHEME: (&str, &str) = (":scheme", "http");
const GET: (&str, &str) = (":method", "GET");
const HOST: (&str, &str) = (":authority", "gw.test");
const PATH: (&str, &str) = (":path", "/open/x");

fn with(more: &[(&'static str, &'static str)]) -> Fields {
    request("GET", "/open/x", more)
}

/// Targets that are no paths, and methods that are none.
fn targets() -> Vec<Fields> {
    let to = |path: &'static str| request("GET", path, &[]);
    vec![
        to(""),
        to("*"),
        to("open/x"),
        to("?open"),
        to("http://gw.test/open/x"),
        to("//gw.test/open/x"),
        to("/open/../x"),
        to("/open/%2e%2e/x"),
        to("/open//x"),
        to("/open/a%2fb"),
        to("/open/a;b"),
        to("/open/a\\b"),
        to("/open/a b"),
        to("/open/a\r\nx: y"),
        to("/open/a\0"),
        to("/open/\u{e9}"),
        request("OPTIONS", "*", &[]),
        request("CONNECT", "/open/x", &[]),
        request("GE T", "/open/x", &[]),
        request("GET /open/y HTTP/1.1\r\nx:", "/open/x", &[]),
        vec![(":method", "CONNECT"), HOST],
    ]
}

/// Pseudo-headers that are missing, doubled, unknown, late or of answers; hosts that are not one.
fn pseudo_headers() -> Vec<Fields> {
    vec![
        vec![GET, SCHEME, HOST],
        vec![SCHEME, HOST, PATH],
        vec![GET, HOST, PATH],
        vec![GET, SCHEME, PATH],
        vec![GET, GET, SCHEME, HOST, PATH],
        vec![GET, SCHEME, HOST, PATH, PATH],
        vec![GET, SCHEME, HOST, HOST, PATH],
        vec![GET, SCHEME, HOST, PATH, (":status", "200")],
        vec![GET, SCHEME, HOST, PATH, (":protocol", "websocket")],
        vec![GET, SCHEME, HOST, PATH, (":other", "x")],
        vec![GET, SCHEME, HOST, ("x-a", "1"), PATH],
        vec![GET, (":scheme", "ftp"), HOST, PATH],
        with(&[("host", "other")]),
        with(&[("host", "gw.test:80")]),
        with(&[("host", "gw.test"), ("host", "gw.test")]),
        vec![GET, SCHEME, (":authority", ""), PATH],
        vec![GET, SCHEME, (":authority", "a, b"), PATH],
        vec![GET, SCHEME, (":authority", "user@gw.test"), PATH],
        vec![GET, SCHEME, (":authority", "gw.test/admin"), PATH],
        vec![GET, SCHEME, (":authority", "gw.test:0"), PATH],
        vec![GET, SCHEME, (":authority", "[::1"), PATH],
        vec![GET, SCHEME, PATH, ("host", "a"), ("host", "b")],
        vec![GET, SCHEME, PATH, ("host", "")],
    ]
}

/// Fields that are a hop's of HTTP/1.1, or are written as they may not be.
fn other_fields() -> Vec<Fields> {
    vec![
        with(&[("connection", "close")]),
        with(&[("connection", "x-keyward-org")]),
        with(&[("keep-alive", "1")]),
        with(&[("proxy-connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "websocket")]),
        with(&[("te", "gzip")]),
        with(&[("Host", "gw.test")]),
        with(&[("X-Upper", "1")]),
        with(&[("x a", "1")]),
        with(&[("", "1")]),
        with(&[("x-a", "1\r\nx-keyward-org: acme")]),
        with(&[("x-a", "1\0")]),
        with(&[("content-length", "1")]),
        with(&[("content-length", "0"), ("content-length", "0")]),
        with(&[("content-length", "+0")]),
        with(&[("content-length", "0, 0")]),
        with(&[("content_length", "0")]),
        with(&[("transfer_encoding", "chunked")]),
    ]
}

#[tokio::test]
async fn malformed_requests_never_reach_the_upstream() {
    let cases = [targets(), pseudo_headers(), other_fields()].concat();
    let upstream = Recorder::start().await;
    let gateway = gateway(upstream.address);
    for fields in &cases {
        let mut raw = Raw::open(gateway.address, &[]).await;
        raw.send(ask(1, fields)).await;
        if let Ok(status) = raw.answer().await {
            assert!((400..500).contains(&status), "{status} {fields:?}");
        }
        assert!(upstream.requests().is_empty(), "{fields:?}");
    }
    is_served(&gateway).await;
}

#[tokio::test]
async fn what_is_to_come_at_once_is_not_waited_for() {
    let upstream = Recorder::start().await;
    let limits = Limits {
        header_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let gateway = gateway_with(upstream.address, limits);
    // Nothing, and part of the preface: nobody knows yet that it is HTTP/2.
    let mut raw = Raw::connect(gateway.address).await;
    assert_eq!(raw.end().await, None);
    let mut client = gateway.connect().await;
    client.send(&PREFACE[..10]).await;
    assert_eq!(client.answer().await.status, 408);

    let settings = frame(SETTINGS, 0, 0, []);
    let head = block(&request("GET", "/open/x", &[]));
    let open = frame(HEADERS, END_STREAM, 1, &head[..20]);
    let more = frame(CONTINUATION, 0, 1, &head[20..]);
    let beginnings = [
        Vec::new(),
        settings[..5].to_vec(),
        [&settings[..], &open].concat(),
        [&settings[..], &open, &more].concat(),
        [&settings[..], &open[..15]].concat(),
        [&settings[..], &frame(PING, 0, 0, [0; 8])[..12]].concat(),
    ];
    for (times, beginning) in beginnings.iter().enumerate() {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send([PREFACE, beginning].concat()).await;
        assert_eq!(raw.end().await, Some(ENHANCE_YOUR_CALM), "{beginning:?}");
        ended_for(&gateway, "slow_head", times + 1).await;
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_connection_without_streams_ends() {
    let upstream = Recorder::start().await;
    let limits = Limits {
        keep_alive: Duration::from_millis(100),
        ..Limits::default()
    };
    let gateway = gateway_with(upstream.address, limits);
    let mut raw = Raw::open(gateway.address, &[]).await;
    raw.send(ask(1, &request("GET", "/open/x", &[]))).await;
    assert_eq!(raw.answer().await, Ok(200));
    // Pings keep nothing alive.
    raw.send(frame(PING, 0, 0, [0; 8])).await;
    assert_eq!(raw.end().await, Some(NO_ERROR));
}

#[tokio::test]
async fn small_answers_that_nobody_reads_keep_no_exchange_and_no_connection() {
    let upstream = Recorder::start().await;
    let mut limits = Limits::default();
    limits.route.stream_idle = Duration::from_millis(100);
    let gateway = gateway_with(upstream.address, limits);
    let mut raw = Raw::open(gateway.address, &[(WINDOW, 0)]).await;
    for (at, path) in (0..).zip(["/open/x", "/any/x"]) {
        raw.send(ask(2 * at + 1, &request("GET", path, &[]))).await;
    }
    assert_eq!(raw.end().await, Some(ENHANCE_YOUR_CALM));
    ended_for(&gateway, "unread", 1).await;
    let lines = gateway.log(2).await;
    let statuses = lines.iter().map(|line| line["status"].as_u64());
    let mut statuses: Vec<Option<u64>> = statuses.collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [Some(200), Some(401)]);
}

#[tokio::test]
async fn floods_end_their_connection_and_no_other() {
    let upstream = Recorder::start().await;
    let gateway = gateway(upstream.address);
    let head = block(&request("GET", "/open/x", &[]));
    let reset = |stream| {
        [
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &head),
            frame(RST_STREAM, 0, stream, [0, 0, 0, 8]),
        ]
        .concat()
    };
    let open = frame(HEADERS, END_HEADERS, 1, &head);
    let same = |bytes: Vec<u8>| bytes.repeat(5000);
    let floods = [
        (
            "settings",
            same(frame(SETTINGS, 0, 0, [0, 4, 0, 0, 255, 255])),
        ),
        ("pings", same(frame(PING, 0, 0, [7; 8]))),
        ("pongs", same(frame(PING, ACK, 0, [7; 8]))),
        ("priorities", same(frame(PRIORITY, 0, 1, [0, 0, 0, 3, 9]))),
        ("windows", same(frame(WINDOW_UPDATE, 0, 0, [0, 0, 0, 1]))),
        ("unknown", same(frame(0xbb, 0, 0, [1; 50]))),
        (
            "empty bodies",
            [open.clone(), same(frame(DATA, 0, 1, []))].concat(),
        ),
        (
            "padding",
            [open, same(frame(DATA, PADDED, 1, [3, 0, 0, 0]))].concat(),
        ),
        (
            "continuations",
            [
                frame(HEADERS, 0, 1, &head),
                same(frame(CONTINUATION, 0, 1, [])),
            ]
            .concat(),
        ),
        (
            "resets",
            (0..5000).flat_map(|at| reset(2 * at + 1)).collect(),
        ),
    ];
    for (times, (name, flood)) in floods.into_iter().enumerate() {
        let mut raw = Raw::open(gateway.address, &[]).await;
        raw.pour(&flood).await;
        // Where the client goes on for longer than it is listened to, it may not come to read why.
        let code = raw.end().await;
        let calm = Some(ENHANCE_YOUR_CALM);
        assert!(code == calm || code.is_none(), "{name}: {code:?}");
        ended_for(&gateway, "flood", times + 1).await;
        is_served(&gateway).await;
    }
}

#[tokio::test]
async fn streams_that_are_broken_on_purpose_end_their_connection() {
    let upstream = Recorder::start().await;
    let gateway = gateway(upstream.address);
    let head = block(&request("POST", "/open/x", &[]));
    let whole = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
    let begun = |stream| frame(HEADERS, END_HEADERS, stream, &head);
    let self_dependent = |stream: u32| {
        let priority = [&stream.to_be_bytes()[..], &[1]].concat();
        let flags = END_HEADERS | END_STREAM | WITH_PRIORITY;
        frame(HEADERS, flags, stream, [priority, head.clone()].concat())
    };
    type Attack<'a> = (&'a str, Box<dyn Fn(u32) -> Vec<u8> + 'a>);
    let attacks: [Attack<'_>; 6] = [
        (
            "no window",
            Box::new(|at| [begun(at), frame(WINDOW_UPDATE, 0, at, [0; 4])].concat()),
        ),
        (
            "too much window",
            Box::new(|at| {
                let most = frame(WINDOW_UPDATE, 0, at, [0x7f, 255, 255, 255]);
                [begun(at), most.clone(), most].concat()
            }),
        ),
        (
            "a body after its end",
            Box::new(|at| [whole(at), frame(DATA, 0, at, "more")].concat()),
        ),
        (
            "a head after the end",
            Box::new(|at| [whole(at), whole(at)].concat()),
        ),
        ("self-dependency", Box::new(self_dependent)),
        (
            "a length that is not kept",
            Box::new(|at| {
                let fields = request("POST", "/open/x", &[("content-length", "1")]);
                ask(at, &fields)
            }),
        ),
    ];
    for (name, attack) in &attacks {
        let mut raw = Raw::open(gateway.address, &[]).await;
        for stream in (1..4000).step_by(2) {
            raw.pour(attack(stream)).await;
        }
        let code = raw.end().await;
        assert_ne!(code, Some(NO_ERROR), "{name}");
        is_served(&gateway).await;
    }
}

#[tokio::test]
async fn a_broken_protocol_ends_its_connection() {
    let upstream = Recorder::start().await;
    let gateway = gateway(upstream.address);
    for (times, broken) in [
        frame(WINDOW_UPDATE, 0, 0, [0; 4]),
        frame(SETTINGS, ACK, 0, []).repeat(2),
        frame(DATA, 0, 1, "unasked"),
        frame(CONTINUATION, 0, 1, []),
        frame(PING, 0, 1, [0; 8]),
        frame(
            HEADERS,
            END_HEADERS,
            2,
            block(&request("GET", "/open/x", &[])),
        ),
    ]
    .iter()
    .enumerate()
    {
        let mut raw = Raw::open(gateway.address, &[]).await;
        raw.send(broken).await;
        assert_eq!(raw.end().await, Some(PROTOCOL_ERROR), "{broken:?}");
        ended_for(&gateway, "protocol", times + 1).await;
    }
    is_served(&gateway).await;
}

/// The library cuts a fragment off before anyone judges, so that it has to be seen in the bytes.
#[tokio::test]
async fn a_fragment_is_refused_however_it_is_written() {
    let upstream = Recorder::start().await;
    let gateway = gateway(upstream.address);
    let start = block(&[GET, SCHEME, HOST]);
    let paths: [&[u8]; 5] = [
        b"\0\x05:path\x09/open/x#y",
        b"\x04\x09/open/x#y",
        // In Huffman's code, kept, and by its number.
        &[0x44, 0x88, 0x60, 0xf5, 0x96, 0xa6, 0x3c, 0xff, 0xd7, 0xaf],
        &[0xbe],
        b"\0\x84\xb9\x58\xd3\x3f\x02/#",
    ];
    let mut raw = Raw::open(gateway.address, &[]).await;
    for (at, path) in (0..).zip(paths) {
        let block = [&start, path].concat();
        let flags = END_HEADERS | END_STREAM;
        raw.send(frame(HEADERS, flags, 2 * at + 1, block)).await;
        let answer = raw.next(&[HEADERS, RST_STREAM, GOAWAY]).await.unwrap();
        // 400, of which there is a short form.
        assert_eq!(answer.payload.first(), Some(&0x8c), "{path:x?} {answer:?}");
    }
    raw.send(ask(99, &request("GET", "/open/%23", &[]))).await;
    let answer = raw.next(&[HEADERS, RST_STREAM, GOAWAY]).await.unwrap();
    assert_eq!(answer.payload.first(), Some(&0x88), "and nothing else");
    assert_eq!(upstream.one().request_line(), "GET /open/%23 HTTP/1.1");
    let line = &gateway.log(6).await[0];
    assert_eq!(line["reason"], "malformed_request", "{line}");
}

#[tokio::test]
async fn a_header_that_swells_is_refused_as_too_large() {
    let upstream = Recorder::start().await;
    let gateway = gateway(upstream.address);
    let start = block(&request("GET", "/open/x", &[]));
    // One entry in the table, then references of one byte each.
    let references = [&start[..], &[0x40, 1, b'a', 0], &vec![0xbe; 3000]].concat();
    let mut raw = Raw::open(gateway.address, &[(WINDOW, 0)]).await;
    for stream in 0..50 {
        let flags = END_HEADERS | END_STREAM;
        raw.pour(frame(HEADERS, flags, 2 * stream + 1, &references))
            .await;
    }
    assert_eq!(raw.answer().await, Ok(431));

    // The whole bomb, and one value that never ends.
    let bomb = [&start[..], &[0x40, 1, b'a', 0], &vec![0xbe; 16_000]].concat();
    let endless = [&start[..], &[0, 1, b'a', 0x7f, 0x80, 0x80, 0x80, 0x08]].concat();
    for beginning in [bomb, endless] {
        let mut raw = Raw::open(gateway.address, &[]).await;
        raw.pour(frame(HEADERS, END_STREAM, 1, &beginning)).await;
        for _ in 0..100 {
            raw.pour(frame(CONTINUATION, 0, 1, vec![0xbe; 16_000]))
                .await;
        }
        let code = raw.end().await;
        assert_ne!(code, Some(NO_ERROR), "it ended by itself");
    }
    assert!(upstream.requests().is_empty());
    is_served(&gateway).await;
}

/// An upstream whose answers are large where the path says so.
async fn large_or_not() -> Recorder {
    let large = |received: &super::support::upstream::Received| {
        if received.request_line().contains("large") {
            let body = "x".repeat(1_000_000);
            format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{body}").into_bytes()
        } else {
            ok()
        }
    };
    Recorder::answering(large).await
}

#[tokio::test]
async fn a_stream_that_is_read_too_slowly_ends() {
    let upstream = large_or_not().await;
    let mut limits = Limits::default();
    limits.route.min_rate = Some(MinRate {
        bytes: 1_000_000,
        over: Duration::from_millis(100),
    });
    let gateway = gateway_with(upstream.address, limits);
    let mut raw = Raw::open(gateway.address, &[(WINDOW, 10)]).await;
    raw.send(ask(1, &request("GET", "/open/large", &[]))).await;
    // A little now and then, so that something always moves.
    let mut pause = tokio::time::interval(Duration::from_millis(10));
    let end = loop {
        let next = raw.next(&[DATA, RST_STREAM, GOAWAY]).await.unwrap();
        if next.kind != DATA {
            break next;
        }
        pause.tick().await;
        raw.send(frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 10])).await;
    };
    assert_eq!((end.kind, end.stream), (RST_STREAM, 1));
    gateway.counted("keyward_slow_clients_total", 1.0).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_many_streams_is_ended() {
    let upstream = large_or_not().await;
    let limits = Limits {
        header_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let gateway = gateway_with(upstream.address, limits);
    for (times, path) in ["/open/large", "/open/x", "/any/x"].into_iter().enumerate() {
        let mut raw = Raw::open(gateway.address, &[(WINDOW, 0)]).await;
        for at in 0..UNREAD_MAX + 1 {
            raw.pour(ask(2 * at + 1, &request("GET", path, &[]))).await;
        }
        assert_eq!(raw.end().await, Some(ENHANCE_YOUR_CALM), "{path}");
        ended_for(&gateway, "unread", times + 1).await;
        is_served(&gateway).await;
    }
    // Of each request there is a line, of those that had to wait as well; and of those of the other clients.
    let lines = gateway.log(3 * (UNREAD_MAX as usize + 2)).await;
    let abandoned = lines.iter().filter(|line| line["status"] == 499).count();
    assert!(abandoned > UNREAD_MAX as usize, "{abandoned}");
}

/// A request that takes as long as it takes keeps others waiting only for a moment, and only until something was taken.
#[tokio::test]
async fn who_takes_what_it_asked_for_asks_as_much_as_it_likes() {
    let upstream = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = gateway(upstream.local_addr().unwrap());
    let mut raw = Raw::open(gateway.address, &[]).await;
    for at in 0..50 {
        raw.send(ask(2 * at + 1, &request("GET", "/open/x", &[])))
            .await;
    }
    let (mut first, _) = upstream.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(first.read_u8().await.unwrap());
    }
    let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    first.write_all(answer).await.unwrap();
    // All the others are there at a time.
    let mut others = Vec::new();
    for _ in 1..50 {
        others.push(upstream.accept().await.unwrap());
    }
}

#[tokio::test]
async fn a_client_that_leaves_some_streams_alone_has_the_time_of_each() {
    let upstream = large_or_not().await;
    let mut limits = Limits {
        header_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    limits.route.stream_idle = Duration::from_millis(500);
    let gateway = gateway_with(upstream.address, limits);
    let mut raw = Raw::open(gateway.address, &[(WINDOW, 0)]).await;
    for at in 0..UNREAD_MAX {
        raw.send(ask(2 * at + 1, &request("GET", "/open/large", &[])))
            .await;
    }
    for _ in 0..UNREAD_MAX {
        let end = raw.next(&[RST_STREAM, GOAWAY]).await.unwrap();
        assert_eq!(end.kind, RST_STREAM, "each by itself, and after its time");
    }
    let stream = 2 * UNREAD_MAX + 1;
    raw.send(ask(stream, &request("GET", "/open/x", &[]))).await;
    assert_eq!(raw.next(&[HEADERS]).await.unwrap().stream, stream);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_and_its_neighbours_go_on() {
    let upstream = large_or_not().await;
    let mut limits = Limits::default();
    limits.route.stream_idle = Duration::from_millis(100);
    let gateway = gateway_with(upstream.address, limits);
    let mut raw = Raw::open(gateway.address, &[(WINDOW, 0)]).await;
    raw.send(ask(1, &request("GET", "/open/large", &[]))).await;
    let end = raw.next(&[RST_STREAM, GOAWAY]).await.unwrap();
    assert_eq!((end.kind, end.stream), (RST_STREAM, 1));
    raw.send(ask(3, &request("GET", "/open/x", &[]))).await;
    assert_eq!(raw.next(&[HEADERS]).await.unwrap().stream, 3);
    raw.send(frame(WINDOW_UPDATE, 0, 3, [0, 0, 0, 100])).await;
    assert_eq!(raw.next(&[DATA]).await.unwrap().payload, b"ok");
    gateway.counted("keyward_streams_ended_total", 1.0).await;
}
