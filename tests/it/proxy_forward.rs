//! What an upstream gets to see of a request that is allowed, and a client of the answer.

use keyward::authz::{CredentialSource, ForwardKey, UserTokens};

use super::support::gateway::{KEY, Setup, key, name, request};
use super::support::{Client, Recorder, upstream};

#[tokio::test]
async fn an_allowed_request_arrives_with_the_identity_and_without_the_key() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let answer = gateway
        .ask(request("GET /v1/agents/a1?x=1", &[&key()]))
        .await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    let received = upstream.one();
    assert_eq!(received.request_line(), "GET /v1/agents/a1?x=1 HTTP/1.1");
    assert_eq!(received.headers("host"), ["gw.test"]);
    assert_eq!(received.headers("x-keyward-key-id"), ["key-1"]);
    assert_eq!(received.headers("x-keyward-org"), ["acme"]);
    assert_eq!(received.headers("x-keyward-family"), ["org"]);
    assert_eq!(received.headers("x-keyward-owner"), ["user/Zo%C3%AB%201"]);
    assert_eq!(received.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received.headers("x-forwarded-host"), ["gw.test"]);
    assert!(!received.contains("iak_acme"), "{received:?}");
    let log = gateway.log(1).await;
    assert_eq!(log[0]["key_id"], "key-1");
    assert_eq!(log[0]["route"], "agents");
    assert_eq!(log[0]["upstream"], "main");
    let counted = r#"keyward_requests_total{reason="allowed",route="agents",status="200"}"#;
    gateway.counted(counted, 1.0).await;
}

#[tokio::test]
async fn a_key_never_arrives_whatever_the_route_and_the_spelling() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address)
        .source(CredentialSource::Query("api_key".to_owned()))
        .source(CredentialSource::Header(name("x-team-key")))
        .start();
    for header in [
        key(),
        format!("X-PrismeAI-Api-Key: {KEY}"),
        format!("x_prismeai_api_key: {KEY}"),
        format!("x.prismeai.api.key: {KEY}"),
        format!("x-prismeai_api-key: {KEY}"),
        format!("x_team_key: {KEY}"),
        format!("X-Team-Key: {KEY}"),
        format!("authorization: Bearer {KEY}"),
        format!("authorization: {KEY}"),
        format!("authorization: Basic dTpw, Bearer {KEY}"),
        format!("authorization: bEARER   {KEY}"),
    ] {
        let answer = gateway
            .ask(request(
                &format!("GET /open/x?a=b&api_key={KEY}&c=d"),
                &[&header],
            ))
            .await;
        assert_eq!(answer.status, 200, "{header}");
    }
    for received in upstream.requests() {
        assert!(!received.contains("iak_acme"), "{received:?}");
        assert_eq!(received.request_line(), "GET /open/x?a=b&c=d HTTP/1.1");
    }
}

#[tokio::test]
async fn the_judged_key_stays_where_a_route_forwards_it() {
    let upstream = Recorder::start().await;
    let gateway = Setup {
        forward: ForwardKey::Keep,
        ..Setup::new(upstream.address)
    }
    .start();
    let stray = format!("x_prismeai_api_key: {KEY}");
    gateway
        .ask(request("GET /v1/agents/a1", &[&key(), &stray]))
        .await;
    let received = upstream.one();
    assert_eq!(received.headers("x-prismeai-api-key"), [KEY]);
    assert!(received.headers("x_prismeai_api_key").is_empty());
}

#[tokio::test]
async fn a_user_token_goes_upstream_beside_a_key() {
    let upstream = Recorder::start().await;
    let gateway = Setup {
        user_tokens: UserTokens::Reject,
        ..Setup::new(upstream.address)
    }
    .start();
    let token = "authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln";
    let answer = gateway.ask(request("GET /any/x", &[&key(), token])).await;
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.one().headers("authorization").len(), 1);
}

#[tokio::test]
async fn claims_of_identity_and_origin_are_ours_alone() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let spoofed = [
        "x-keyward-org: evil",
        "X-KEYWARD-ORG: evil",
        "x_keyward_org: evil",
        "x-keyward_key-id: evil",
        "x.keyward.owner: evil",
        "x-prismeai-user-id: evil",
        "x_prismeai_user_id: evil",
        "x-forwarded-for: evil",
        "x-forwarded-proto: evil",
        "x_forwarded_for: evil",
        "x-forwarded-uri: evil",
        "forwarded: for=evil",
        "x-real-ip: evil",
        "x-original-url: evil",
        "x-rewrite-url: evil",
        "x-http-method-override: evil",
        "x_correlation_id: evil",
        "x-prismeai-csrf-token: mine",
    ];
    let mut lines: Vec<&str> = spoofed.to_vec();
    let key = key();
    lines.push(&key);
    let answer = gateway.ask(request("GET /v1/agents/a1", &lines)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let received = upstream.one();
    assert!(!received.contains("evil"), "{}", received.head);
    assert_eq!(received.headers("x-prismeai-csrf-token"), ["mine"]);
    assert_eq!(received.headers("x-keyward-org"), ["acme"]);
}

#[tokio::test]
async fn an_open_route_says_nothing_of_identity() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    gateway
        .ask(request("GET /open/x", &[&key(), "x-keyward-key-id: evil"]))
        .await;
    let received = upstream.one();
    assert!(received.headers("x-keyward-key-id").is_empty());
    let counted = r#"keyward_unauthenticated_total{kind="anonymous",route="open"}"#;
    gateway.counted(counted, 1.0).await;
}

#[tokio::test]
async fn what_is_forwarded_is_the_canonical_request() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    for (received, forwarded) in [
        ("/v1/agents/%61%31", "/v1/agents/a1"),
        ("http://gw.test/v1/agents/a1?q=%2f", "/v1/agents/a1?q=%2f"),
    ] {
        let answer = gateway
            .ask(request(&format!("GET {received}"), &[&key()]))
            .await;
        assert_eq!(answer.status, 200, "{received}: {answer:?}");
        let last = upstream.requests().pop().unwrap();
        assert_eq!(last.request_line(), format!("GET {forwarded} HTTP/1.1"));
    }
}

#[tokio::test]
async fn hop_by_hop_headers_end_here_in_both_directions() {
    let upstream = Recorder::answering(|_| {
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x-hop\r\nx-hop: 1\r\n\
          keep-alive: timeout=5\r\nx-keyward-org: evil\r\nx_keyward_org: evil\r\n\
          set-cookie: a=b\r\nset-cookie: c=d\r\n\r\nok"
            .to_vec()
    })
    .await;
    let gateway = Setup::new(upstream.address).start();
    let answer = gateway
        .ask(request(
            "GET /open/x",
            &[
                "te: trailers",
                "keep-alive: timeout=5",
                "proxy-authorization: Basic x",
                "proxy-connection: keep-alive",
                "upgrade: foo",
                "cookie: a=b",
                "cookie: c=d",
            ],
        ))
        .await;
    for gone in ["x-hop", "keep-alive", "x-keyward-org", "x_keyward_org"] {
        assert!(answer.headers(gone).is_empty(), "{gone}: {}", answer.head);
    }
    assert_eq!(answer.headers("set-cookie"), ["a=b", "c=d"]);
    let received = upstream.one();
    for gone in [
        "te",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "upgrade",
        "connection",
    ] {
        assert!(
            received.headers(gone).is_empty(),
            "{gone}: {}",
            received.head
        );
    }
    assert_eq!(received.headers("cookie"), ["a=b; c=d"]);
}

#[tokio::test]
async fn a_request_keeps_its_name() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let stated = format!("traceparent: {parent}");
    let answer = gateway
        .ask(request(
            "GET /open/x",
            &["x-correlation-id: abc-1", &stated],
        ))
        .await;
    assert_eq!(answer.headers("x-correlation-id"), ["abc-1"]);
    let received = upstream.one();
    assert_eq!(received.headers("x-correlation-id"), ["abc-1"]);
    assert_eq!(received.headers("traceparent"), [parent]);
    let made = gateway.ask(request("GET /nowhere", &[])).await;
    assert_eq!(made.headers("x-correlation-id")[0].len(), 32);
    let log = gateway.log(2).await;
    for id in ["abc-1", made.headers("x-correlation-id")[0]] {
        assert!(log.iter().any(|line| line["correlation_id"] == id), "{id}");
    }
}

#[tokio::test]
async fn a_request_body_streams_while_it_is_sent() {
    let upstream = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Setup::new(upstream.local_addr().unwrap()).start();
    let mut client = gateway.connect().await;
    client
        .send(request("POST /open/x", &["transfer-encoding: chunked"]))
        .await;
    client.send("5\r\nfirst\r\n").await;
    let (stream, _) = upstream.accept().await.unwrap();
    let mut upstream = Client::over(stream);
    upstream.head().await.unwrap();
    assert_eq!(upstream.chunk().await, b"first");
    client.send("6\r\nsecond\r\n0\r\n\r\n").await;
    assert_eq!(upstream.chunk().await, b"second");
    assert_eq!(upstream.chunk().await, b"");
    upstream
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        .await;
    client.head().await.unwrap();
    assert_eq!(client.chunk().await, b"one");
    upstream.send("3\r\ntwo\r\n0\r\n\r\n").await;
    assert_eq!(client.chunk().await, b"two");
    assert_eq!(client.chunk().await, b"");
}

#[tokio::test]
async fn an_http_1_0_client_gets_an_answer_that_it_can_read() {
    let upstream = Recorder::answering(|_| {
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec()
    })
    .await;
    let gateway = Setup::new(upstream.address).start();
    let answer = gateway
        .ask("GET /open/x HTTP/1.0\r\nHost: gw.test\r\n\r\n")
        .await;
    assert!(answer.headers("transfer-encoding").is_empty());
    assert_eq!(answer.body, "ok");
}

#[tokio::test]
async fn the_last_empty_piece_of_a_body_does_not_end_it_twice() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client
            .send(request("POST /open/x", &["transfer-encoding: chunked"]))
            .await;
        client.send("2\r\nhi\r\n0\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
    }
    for received in upstream.requests() {
        assert_eq!(received.body, b"2\r\nhi\r\n0\r\n\r\n");
        assert_eq!(received.connection, 0);
    }
}

#[tokio::test]
async fn a_continue_passes_from_the_upstream_to_the_client() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Setup::new(listener.local_addr().unwrap()).start();
    let mut client = gateway.connect().await;
    client
        .send(request(
            "POST /open/x",
            &["content-length: 4", "expect: 100-continue"],
        ))
        .await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut upstream = Client::over(stream);
    let head = upstream.head().await.unwrap();
    assert!(
        head.to_lowercase().contains("expect: 100-continue"),
        "{head}"
    );
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert!(client.head().await.unwrap().contains("100 Continue"));
    client.send("body").await;
    assert_eq!(upstream.bytes(4).await, b"body");
    upstream.send(upstream::ok()).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    // The exchange is over, and the connection goes on.
    assert_eq!(answer.headers("connection"), ["keep-alive"]);
}

#[tokio::test]
async fn a_query_is_forwarded_as_received() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    for (query, forwarded) in [
        ("a=b&a=c&&=", "a=b&a=c&&="),
        ("q=%3Cb%3E&r=%zz", "q=%3Cb%3E&r=%zz"),
        ("q=<b>\"{|}^`\\", "q=%3Cb%3E%22{|}^`\\"),
        ("?", "?"),
        ("", ""),
        ("q=\u{e9}", "q=\u{e9}"),
    ] {
        let line = format!("GET /open/x?{query}");
        let forwarded = format!("GET /open/x?{forwarded} HTTP/1.1");
        let answer = gateway.ask(request(&line, &[])).await;
        assert_eq!(answer.status, 200, "{line}: {answer:?}");
        let last = upstream.requests().pop().unwrap();
        assert_eq!(last.request_line(), forwarded);
    }
}

#[tokio::test]
async fn odd_but_legal_paths_are_forwarded_as_received() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    for path in [
        "/open/a[b]",
        "/open/!$&'()*+,=:@~-._",
        "/open/%C3%A9%20%22",
        "/open/x/",
    ] {
        let line = format!("GET {path}");
        let answer = gateway.ask(request(&line, &[])).await;
        assert_eq!(answer.status, 200, "{line}: {answer:?}");
        let last = upstream.requests().pop().unwrap();
        assert_eq!(last.request_line(), format!("{line} HTTP/1.1"));
    }
}

#[tokio::test]
async fn the_version_of_an_answer_is_ours() {
    let upstream =
        Recorder::answering(|_| b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()).await;
    let gateway = Setup::new(upstream.address).start();
    let answer = gateway.ask(request("GET /open/x", &[])).await;
    assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
}

#[tokio::test]
async fn no_key_goes_upstream_wherever_it_stands() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address)
        .source(CredentialSource::WebSocketProtocol)
        .source(CredentialSource::Query("api_key".to_owned()))
        .start();
    let lines = [
        format!("authorization: Bearer=\"{KEY}\""),
        format!("sec-websocket-protocol: chat, {KEY}"),
        format!("x_prismeai_api_key: {KEY}"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let target = format!("GET /open/x?api_key[%ff]={KEY}&a=b");
    assert_eq!(gateway.ask(request(&target, &lines)).await.status, 200);
    let received = upstream.one();
    assert!(!received.contains(KEY), "{received:?}");
    assert_eq!(received.request_line(), "GET /open/x?a=b HTTP/1.1");
    assert_eq!(received.headers("sec-websocket-protocol"), ["chat"]);

    let mut odd =
        format!("GET /any/x HTTP/1.1\r\nhost: gw.test\r\nsec-websocket-protocol: bearer, {KEY}, ")
            .into_bytes();
    odd.extend_from_slice(b"\xe9\r\n\r\n");
    let mut client = gateway.connect().await;
    client.send(odd).await;
    assert_eq!(client.answer().await.status, 200);
    let received = upstream.requests().pop().unwrap();
    assert!(!received.contains(KEY), "{received:?}");
}

#[tokio::test]
async fn what_claims_another_request_line_is_removed() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let claims = [
        "x-envoy-original-path: /a",
        "x-override-url: /a",
        "x-http-path-override: /a",
        "x-http-host-override: a",
        "X_HTTP_Method_Override: DELETE",
        "x-host: a",
    ];
    gateway.ask(request("GET /open/x", &claims)).await;
    let received = upstream.one();
    for claim in claims {
        let name = claim.split(':').next().unwrap();
        assert!(received.headers(name).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn another_protocol_is_only_named_where_it_begins() {
    let upstream = Recorder::answering(|_| {
        b"HTTP/1.1 200 OK\r\nupgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 0\r\n\r\n"
            .to_vec()
    })
    .await;
    let gateway = Setup::new(upstream.address).start();
    let answer = gateway.ask(request("GET /open/x", &[])).await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers("upgrade").is_empty(), "{answer:?}");
}
