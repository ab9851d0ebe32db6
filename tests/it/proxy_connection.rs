//! Connections: keep-alive, pipelining, slow clients, limits, upgrades, draining, sockets of both kinds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use keyward::authz::CredentialSource;
use keyward::proxy::{Limits, ListenAddr};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use super::support::gateway::{KEY, NOW, Setup, TestGateway, key, request};
use super::support::{Client, Recorder, upstream};

#[tokio::test]
async fn requests_on_one_connection_are_judged_one_by_one() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client.send(request("GET /v1/agents/a1", &[&key()])).await;
        assert_eq!(client.answer().await.status, 200);
        client.send(request("GET /v1/agents/a1", &[])).await;
        assert_eq!(client.answer().await.status, 401);
    }
    let requests = upstream.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|received| received.connection == 0));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let mut client = gateway.connect().await;
    let body = request("POST /open/1", &["content-length: 4"]) + "body";
    let chunked =
        request("POST /open/2", &["transfer-encoding: chunked"]) + "4\r\nbody\r\n0\r\n\r\n";
    let refused = request("POST /v1/agents/a1", &["content-length: 4"]) + "body";
    let last = request("GET /open/3", &["connection: close"]);
    client.send([body, chunked, refused, last].concat()).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(client.answer().await.status);
    }
    assert_eq!(statuses, [200, 200, 401, 200]);
    assert!(client.closed().await.is_empty());
    let lines: Vec<String> = upstream
        .requests()
        .iter()
        .map(|received| received.request_line().to_owned())
        .collect();
    let expected = ["POST /open/1", "POST /open/2", "GET /open/3"];
    assert_eq!(lines, expected.map(|line| format!("{line} HTTP/1.1")));
}

#[tokio::test]
async fn empty_lines_between_requests_are_skipped() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let mut client = gateway.connect().await;
    client
        .send(format!("\r\n\r\n{}", request("GET /open/x", &[])))
        .await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_head_that_drips_is_cut_at_its_deadline() {
    let upstream = Recorder::start().await;
    let gateway = Setup {
        limits: Limits {
            header_timeout: Duration::from_millis(200),
            ..Limits::default()
        },
        ..Setup::new(upstream.address)
    }
    .start();
    let mut silent = gateway.connect().await;
    let mut slow = gateway.connect().await;
    slow.send(request("GET /open/x", &[])).await;
    assert_eq!(slow.answer().await.status, 200);
    slow.send("GET /open/x HT").await;
    let answer = slow.answer().await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (408, "request_timeout")
    );
    assert!(slow.closed().await.is_empty());
    assert!(silent.closed().await.is_empty(), "nothing was asked");
}

#[tokio::test]
async fn a_kept_connection_closes_when_nothing_comes() {
    let upstream = Recorder::start().await;
    let gateway = Setup {
        limits: Limits {
            keep_alive: Duration::from_millis(50),
            ..Limits::default()
        },
        ..Setup::new(upstream.address)
    }
    .start();
    let mut client = gateway.connect().await;
    client.send(request("GET /open/x", &[])).await;
    assert_eq!(client.answer().await.status, 200);
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn a_body_that_stops_is_cut() {
    let upstream = Recorder::start().await;
    let mut setup = Setup::new(upstream.address);
    setup.limits.route.body_timeout = Duration::from_millis(100);
    let gateway = setup.start();
    let mut client = gateway.connect().await;
    client
        .send(request("POST /open/x", &["content-length: 4"]) + "bo")
        .await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (408, "request_timeout")
    );
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so() {
    let upstream = Recorder::start().await;
    let gateway = Setup {
        limits: Limits {
            connections: 1,
            ..Limits::default()
        },
        ..Setup::new(upstream.address)
    }
    .start();
    let mut first = gateway.connect().await;
    first.send(request("GET /open/x", &[])).await;
    assert_eq!(first.answer().await.status, 200);
    let mut second = gateway.connect().await;
    let answer = second.answer().await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (503, "overloaded")
    );
    assert!(second.closed().await.is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Setup::new(listener.local_addr().unwrap()).start();
    let mut client = gateway.connect().await;
    client.send(request("GET /open/x", &[])).await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut upstream = Client::over(stream);
    upstream.head().await.unwrap();
    client.reset();
    assert!(upstream.closed().await.is_empty(), "the upstream is let go");
    gateway.gateway.drain().await;
    let counted = r#"keyward_requests_total{reason="allowed",route="open",status="499"}"#;
    gateway.counted(counted, 1.0).await;
}

/// A client with two requests under way, which then ends its half of the connection. That is there to be seen once the
/// second is looked at: the first has more behind it than is read ahead.
async fn half_closed(gateway: &TestGateway, listener: &TcpListener) -> (Client, Client) {
    let mut client = gateway.connect().await;
    client.send(request("GET /open/1", &[])).await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut upstream = Client::over(stream);
    upstream.head().await.unwrap();
    let padding = format!("padding: {}", "a".repeat(2000));
    client.send(request("GET /open/2", &[&padding])).await;
    client.send_no_more().await;
    upstream.send(upstream::ok()).await;
    assert_eq!(client.answer().await.status, 200);
    upstream.head().await.unwrap();
    (client, upstream)
}

#[tokio::test]
async fn a_client_that_has_ended_its_half_is_answered_to_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Setup::new(listener.local_addr().unwrap()).start();
    let (mut client, mut upstream) = half_closed(&gateway, &listener).await;
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    upstream.send(head).await;
    client.head().await.unwrap();
    for _ in 0..3 {
        upstream.send("3\r\nabc\r\n").await;
        assert_eq!(client.chunk().await, b"abc");
    }
    upstream.send("0\r\n\r\n").await;
    assert!(client.chunk().await.is_empty());
    assert!(client.closed().await.is_empty());
    let counted = r#"keyward_requests_total{reason="allowed",route="open",status="200"}"#;
    gateway.counted(counted, 2.0).await;
}

#[tokio::test]
async fn a_client_that_has_ended_its_half_holds_an_exchange_within_its_limits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::new(listener.local_addr().unwrap());
    setup.limits.route.total_timeout = Some(Duration::from_millis(300));
    let gateway = setup.start();
    let (mut client, mut upstream) = half_closed(&gateway, &listener).await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (504, "upstream_timeout")
    );
    assert!(client.closed().await.is_empty());
    assert!(upstream.closed().await.is_empty(), "the upstream is let go");
}

#[tokio::test]
async fn a_client_that_has_ended_its_half_and_goes_is_noticed_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Setup::new(listener.local_addr().unwrap()).start();
    let (client, mut upstream) = half_closed(&gateway, &listener).await;
    // With what it has not read: its system refuses that, without another byte from us.
    upstream
        .send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
        .await;
    drop(client);
    assert!(upstream.closed().await.is_empty(), "the upstream is let go");
}

#[tokio::test]
async fn a_client_that_has_ended_its_half_is_refused_as_any_other() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let bare = request("GET /any/x", &[]);
    let body = request("POST /any/x", &["content-length: 4"]) + "body";
    let chunked = request("POST /any/x", &["transfer-encoding: chunked"]) + "0\r\n\r\n";
    for (asked, status) in [
        (bare.clone(), 401),
        (bare.clone() + &body, 401),
        (chunked, 401),
        ("GET /any/x HTTP/1.1\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = gateway.connect().await;
        client.send(&asked).await;
        client.send_no_more().await;
        assert_eq!(client.answer().await.status, status, "{asked}");
        if asked.len() > bare.len() && asked.starts_with(&bare) {
            assert_eq!(client.answer().await.status, status, "{asked}");
        }
        assert!(client.closed().await.is_empty(), "{asked}");
    }
}

#[tokio::test]
async fn half_a_request_is_none_whoever_reads_on() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    for asked in [
        "GET /open/x HTTP/1.1\r\nhost: gw.test\r\n".to_owned(),
        request("POST /open/x", &["content-length: 4"]) + "bod",
        request("POST /open/x", &["transfer-encoding: chunked"]) + "4\r\nbody\r\n",
    ] {
        let mut client = gateway.connect().await;
        client.send(&asked).await;
        client.send_no_more().await;
        assert!(client.closed().await.is_empty(), "{asked}");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_web_socket_passes_and_the_key_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Setup::new(listener.local_addr().unwrap()).start();
    let echo = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut seen = String::new();
        #[expect(clippy::result_large_err, reason = "the type is the library's")]
        let callback = |request: &http::Request<()>, response| {
            seen = format!("{:?}", request.headers());
            Ok(response)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, callback)
            .await
            .unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
        seen
    });
    let url = format!("ws://{}/any/socket", gateway.address);
    let mut request =
        tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(url)
            .unwrap();
    let value = http::HeaderValue::from_static(KEY);
    request.headers_mut().insert("x-prismeai-api-key", value);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    for text in ["one", "two"] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
    }
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    let seen = echo.await.unwrap();
    assert!(seen.contains("x-keyward-key-id"), "{seen}");
    assert!(!seen.contains("iak_acme"), "{seen}");
}

#[tokio::test]
async fn bytes_after_an_upgrade_that_fails_are_a_request_of_their_own() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let mut client = gateway.connect().await;
    let upgrade = request(
        "GET /open/x",
        &["connection: upgrade", "upgrade: websocket"],
    );
    client
        .send(upgrade + &request("GET /v1/agents/a1", &[]))
        .await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.answer().await.status, 401);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn other_upgrades_are_not_passed() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    for lines in [
        &["connection: upgrade", "upgrade: foo"][..],
        &[
            "connection: upgrade, http2-settings",
            "upgrade: h2c",
            "http2-settings: AAAA",
        ],
        &["upgrade: websocket"],
    ] {
        assert_eq!(gateway.ask(request("GET /open/x", lines)).await.status, 200);
        let last = upstream.requests().pop().unwrap();
        assert!(last.headers("upgrade").is_empty(), "{}", last.head);
        assert!(last.headers("http2-settings").is_empty(), "{}", last.head);
    }
}

#[tokio::test]
async fn a_drain_ends_idle_connections_and_waits_for_the_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Setup::new(listener.local_addr().unwrap()).start();
    let mut idle = gateway.connect().await;
    idle.send(request("GET /nowhere", &[])).await;
    assert_eq!(idle.answer().await.status, 404);
    let mut busy = gateway.connect().await;
    busy.send(request("GET /open/x", &[])).await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut upstream = Client::over(stream);
    upstream.head().await.unwrap();
    let drain = gateway.gateway.drain();
    tokio::pin!(drain);
    tokio::select! {
        () = &mut drain => panic!("a request is in flight"),
        rest = idle.closed() => assert!(rest.is_empty()),
    }
    upstream.send(upstream::ok()).await;
    let answer = busy.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers("connection"), ["close"]);
    drain.await;
    assert!(
        tokio::net::TcpStream::connect(gateway.address)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_drain_cuts_what_takes_too_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Setup {
        graceful_shutdown: Duration::from_millis(50),
        ..Setup::new(listener.local_addr().unwrap())
    }
    .start();
    let mut busy = gateway.connect().await;
    busy.send(request("GET /open/x", &[])).await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut upstream = Client::over(stream);
    upstream.head().await.unwrap();
    gateway.gateway.drain().await;
    assert!(busy.closed().await.is_empty());
}

#[tokio::test]
async fn a_unix_socket_is_a_listener_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.sock");
    let upstream = Recorder::start().await;
    let mut setup = Setup::new(upstream.address);
    setup.listeners.push(ListenAddr::Unix(path.clone()).into());
    let gateway = setup.start();
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let text = request("GET /open/x", &["connection: close"]);
    tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(upstream.one().headers("x-forwarded-for").is_empty());
    gateway.gateway.drain().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_busy_port_is_an_error_and_no_panic() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let mut setup = Setup::new(upstream.address);
    setup.listeners = vec![ListenAddr::Tcp(gateway.address).into()];
    let error = setup.bind().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen at {}", gateway.address)
    );
}

#[tokio::test]
async fn operators_can_ask_how_it_is() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let address = gateway.gateway.ops_address().unwrap();
    let ask = async |text: String| {
        let mut client = Client::connect(address).await;
        client.send(text).await;
        client.answer().await
    };
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(request(&format!("GET {path}"), &[])).await.status, 200);
    }
    let status = ask(request("GET /status", &[])).await.json();
    assert_eq!(status["keys"], 2);
    assert_eq!(status["revision"], 3);
    let metrics = ask(request("GET /metrics", &[])).await.body;
    assert!(metrics.contains("keyward_keys 2"), "{metrics}");
    assert_eq!(ask(request("POST /reload", &[])).await.status, 403);
    let reload = ask(request("POST /reload", &["x-keyward-reload: 1"])).await;
    assert_eq!(reload.status, 422);
    assert_eq!(reload.json()["error"], "not in this test");
    assert_eq!(ask(request("GET /reload", &[])).await.status, 405);
}

#[tokio::test]
async fn whoever_takes_all_connections_of_operators_keeps_none_of_them() {
    /// Connections that the ops listener has at a time.
    const CONNECTIONS_MAX: usize = 64;
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let address = gateway.gateway.ops_address().unwrap();
    let mut idle = Vec::new();
    for sent in ["", "GET /healthz HTT"]
        .iter()
        .cycle()
        .take(2 * CONNECTIONS_MAX)
    {
        let mut client = Client::connect(address).await;
        client.send(sent).await;
        idle.push(client);
    }
    let mut client = Client::connect(address).await;
    client.send(request("GET /healthz", &[])).await;
    assert_eq!(client.answer().await.status, 200);
    // The first ones had to go, without a word.
    for client in idle.iter_mut().take(CONNECTIONS_MAX) {
        assert!(client.closed().await.is_empty());
    }
}

#[tokio::test]
async fn a_key_can_be_offered_as_a_subprotocol() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Setup::new(listener.local_addr().unwrap())
        .source(CredentialSource::WebSocketProtocol)
        .start();
    let mut client = gateway.connect().await;
    let protocols = format!("sec-websocket-protocol: bearer, {KEY}");
    client
        .send(request(
            "GET /any/socket",
            &["connection: upgrade", "upgrade: websocket", &protocols],
        ))
        .await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut upstream = Client::over(stream);
    let head = upstream.head().await.unwrap().to_lowercase();
    assert!(head.contains("upgrade: websocket"), "{head}");
    assert!(!head.contains("iak_acme"), "{head}");
    assert!(!head.contains("sec-websocket-protocol"), "{head}");
    upstream
        .send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await;
    let answer = client.head().await.unwrap().to_lowercase();
    assert!(
        answer.contains("sec-websocket-protocol: bearer"),
        "{answer}"
    );
    client.send("ping").await;
    assert_eq!(upstream.bytes(4).await, b"ping");
    upstream.send("pong").await;
    drop(upstream);
    assert_eq!(client.closed().await, b"pong");
}

#[tokio::test]
async fn a_panic_ends_one_request_alone() {
    let upstream = Recorder::start().await;
    let calls = AtomicUsize::new(0);
    let mut setup = Setup::new(upstream.address);
    setup.clock = Arc::new(move || match calls.fetch_add(1, Ordering::SeqCst) {
        1 => panic!("this clock is broken, for a test"),
        _ => NOW,
    });
    let gateway = setup.start();
    let mut bystander = gateway.connect().await;
    bystander.send(request("GET /open/x", &[])).await;
    assert_eq!(bystander.answer().await.status, 200);
    let mut victim = gateway.connect().await;
    victim.send(request("GET /open/x", &[])).await;
    assert!(victim.closed().await.is_empty());
    bystander.send(request("GET /open/x", &[])).await;
    assert_eq!(bystander.answer().await.status, 200);
}

#[tokio::test]
async fn what_was_sent_before_a_drain_is_answered() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = gateway.connect().await;
        client.send(request("GET /open/x", &[])).await;
        assert_eq!(client.answer().await.status, 200);
        clients.push(client);
    }
    for client in &mut clients {
        client.send(request("GET /open/x", &[])).await;
    }
    gateway.gateway.drain().await;
    for client in &mut clients {
        assert_eq!(client.answer().await.status, 200);
    }
}
