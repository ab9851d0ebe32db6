//! What the gateway answers itself, and that nothing of it reaches an upstream.

use keyward::proxy::{ErrorStyle, Limits, RouteLimits};

use super::support::gateway::{DISABLED, KEY, Setup, UNKNOWN, key, request};
use super::support::{Recorder, TestGateway};

async fn refused(gateway: &TestGateway, bytes: impl AsRef<[u8]>) -> (u16, String) {
    let answer = gateway.ask(bytes).await;
    assert_eq!(answer.headers("cache-control"), ["no-store"], "{answer:?}");
    assert_eq!(answer.headers("x-correlation-id").len(), 1, "{answer:?}");
    (answer.status, answer.reason())
}

#[tokio::test]
async fn decisions_are_answered_with_their_reasons() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let with = |token: &str| format!("x-prismeai-api-key: {token}");
    for (line, header, status, reason) in [
        (
            "GET /v1/agents/a1",
            String::new(),
            401,
            "missing_credential",
        ),
        (
            "GET /v1/agents/a1",
            with("nonsense"),
            401,
            "malformed_credential",
        ),
        ("GET /v1/agents/a1", with(UNKNOWN), 401, "unknown_key"),
        ("GET /v1/agents/a1", with(DISABLED), 401, "disabled_key"),
        ("GET /v1/agents/a2", with(KEY), 403, "out_of_scope"),
        ("GET /v1/nothing", with(KEY), 404, "no_route"),
        ("DELETE /v1/agents/a1", with(KEY), 405, "method_not_allowed"),
        ("GET /v1/../agents/a1", with(KEY), 400, "malformed_request"),
    ] {
        let lines = [header.as_str()];
        let lines = if header.is_empty() {
            &[][..]
        } else {
            &lines[..]
        };
        let answered = refused(&gateway, request(line, lines)).await;
        assert_eq!(answered, (status, reason.to_owned()), "{line} {header}");
    }
    assert!(upstream.requests().is_empty());
    let counted = r#"keyward_requests_total{reason="unknown_key",route="agents",status="401"}"#;
    gateway.counted(counted, 1.0).await;
    let log = gateway.log(8).await;
    let disabled = log.iter().find(|line| line["reason"] == "disabled_key");
    assert_eq!(disabled.unwrap()["key_id"], "key-2");
}

#[tokio::test]
async fn refusals_carry_what_their_status_demands() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let missing = gateway.ask(request("GET /v1/agents/a1", &[])).await;
    assert_eq!(
        missing.headers("www-authenticate"),
        ["Bearer realm=\"keyward\""]
    );
    let unknown = format!("authorization: Bearer {UNKNOWN}");
    let unknown = gateway.ask(request("GET /v1/agents/a1", &[&unknown])).await;
    assert!(unknown.headers("www-authenticate")[0].contains("invalid_token"));
    let method = gateway.ask(request("DELETE /v1/agents/a1", &[])).await;
    assert_eq!(method.headers("allow"), ["GET, POST"]);
    let needed = gateway.ask(request("GET /v1/agents/a2", &[&key()])).await;
    assert_eq!(needed.json()["details"]["needed"]["scopes"][0], "agents:a2");
    assert_eq!(needed.json()["error"], "ForbiddenError");
}

#[tokio::test]
async fn without_keys_nobody_is_called_unknown() {
    let upstream = Recorder::start().await;
    let gateway = Setup {
        keys: false,
        ..Setup::new(upstream.address)
    }
    .start();
    let answer = gateway.ask(request("GET /v1/agents/a1", &[&key()])).await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (503, "keys_unavailable")
    );
    assert_eq!(answer.headers("retry-after"), ["1"]);
    assert_eq!(gateway.ask(request("GET /open/x", &[])).await.status, 200);
}

#[tokio::test]
async fn minimal_answers_tell_no_two_refused_keys_apart() {
    let upstream = Recorder::start().await;
    let gateway = Setup {
        errors: ErrorStyle::Minimal,
        ..Setup::new(upstream.address)
    }
    .start();
    let ask = async |token: &str| {
        let header = format!("x-prismeai-api-key: {token}");
        gateway.ask(request("GET /any/x", &[&header])).await.body
    };
    let unknown = ask(UNKNOWN).await;
    assert_eq!(unknown, ask(DISABLED).await);
    assert!(!unknown.contains("details"));
}

#[tokio::test]
async fn raw_bytes_that_are_no_clean_request_are_refused() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let host = "Host: gw.test\r\n";
    for bytes in [
        format!("GE T /open/x HTTP/1.1\r\n{host}\r\n"),
        format!("GET  /open/x HTTP/1.1\r\n{host}\r\n"),
        format!("GET /open/x  HTTP/1.1\r\n{host}\r\n"),
        format!("GET /open/x HTTP/1.1\n{host}\r\n"),
        "GET /open/x HTTP/1.1\r\nHost: gw.test\n\r\n".to_owned(),
        format!("GET /open/x HTTP/1.1\r\n{host}a: b\r\n c\r\n\r\n"),
        format!("GET /open/x HTTP/1.1\r\n{host}a : b\r\n\r\n"),
        format!("GET /open/x HTTP/1.1\r\n{host}a: b\0c\r\n\r\n"),
        format!("GET /open/x HTTP/1.1\r\n{host}{host}\r\n"),
        "GET /open/x HTTP/1.1\r\n\r\n".to_owned(),
        "GET /open/x HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(),
        "GET /open/x HTTP/1.1\r\nHost: gw/x\r\n\r\n".to_owned(),
        format!("GET http://other.test/open/x HTTP/1.1\r\n{host}\r\n"),
        format!("GET open/x HTTP/1.1\r\n{host}\r\n"),
        format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"),
        format!("CONNECT gw.test:80 HTTP/1.1\r\n{host}\r\n"),
        format!("GET /open/%zz HTTP/1.1\r\n{host}\r\n"),
        format!("GET /open/a%2Fb HTTP/1.1\r\n{host}\r\n"),
        format!("GET /open/a%00 HTTP/1.1\r\n{host}\r\n"),
        format!("GET /open//x HTTP/1.1\r\n{host}\r\n"),
        format!("GET /open/a;b HTTP/1.1\r\n{host}\r\n"),
        format!("GET /open/a<b HTTP/1.1\r\n{host}\r\n"),
        format!("GET /open/a\"b HTTP/1.1\r\n{host}\r\n"),
        format!("GET /open/a\\b HTTP/1.1\r\n{host}\r\n"),
        format!("GET /open/x#y HTTP/1.1\r\n{host}\r\n"),
        format!("GET /open/x HTTP/1.1\r\n{host}Connection: x-keyward-org\r\n\r\n"),
        format!("POST /open/x HTTP/1.1\r\n{host}Content-Length: 1, 1\r\n\r\nx"),
        format!("POST /open/x HTTP/1.1\r\n{host}Content-Length: +1\r\n\r\nx"),
        format!("POST /open/x HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
        format!(
            "POST /open/x HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!("POST /open/x HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("POST /open/x HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ] {
        let answered = refused(&gateway, &bytes).await;
        assert_eq!(answered, (400, "malformed_request".to_owned()), "{bytes:?}");
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

#[tokio::test]
async fn bytes_above_ascii_in_a_target_are_refused() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let answered = refused(&gateway, b"GET /open/\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(answered, (400, "malformed_request".to_owned()));
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn limits_of_a_head_have_answers_of_their_own() {
    let upstream = Recorder::start().await;
    let gateway = Setup {
        limits: Limits {
            header_bytes: 2000,
            headers: 10,
            uri_bytes: 200,
            ..Limits::default()
        },
        ..Setup::new(upstream.address)
    }
    .start();
    let long = request(&format!("GET /open/{}", "x".repeat(300)), &[]);
    assert_eq!(
        refused(&gateway, long).await,
        (414, "uri_too_long".to_owned())
    );
    let many: Vec<String> = (0..20).map(|index| format!("a{index}: b")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let many = refused(&gateway, request("GET /open/x", &many)).await;
    assert_eq!(many, (431, "headers_too_large".to_owned()));
    let large = format!("GET /open/x HTTP/1.1\r\nHost: h\r\na: {}", "b".repeat(3000));
    assert_eq!(
        refused(&gateway, large).await,
        (431, "headers_too_large".to_owned())
    );
    let expect = request("POST /open/x", &["content-length: 1", "expect: 200-ok"]);
    assert_eq!(
        refused(&gateway, expect).await,
        (417, "expectation_failed".to_owned())
    );
    let log = gateway.log(4).await;
    let long = log.iter().find(|line| line["reason"] == "uri_too_long");
    assert_eq!(long.unwrap()["method"], "GET");
    let counted = r#"keyward_requests_total{reason="uri_too_long",route="-",status="414"}"#;
    gateway.counted(counted, 1.0).await;
}

fn body_limit(upstream: &Recorder) -> Setup {
    let mut setup = Setup::new(upstream.address);
    setup.limits.route = RouteLimits {
        body_bytes: 10,
        ..RouteLimits::default()
    };
    setup
}

#[tokio::test]
async fn a_body_that_says_that_it_is_too_large_is_not_read() {
    let upstream = Recorder::start().await;
    let gateway = body_limit(&upstream).start();
    let answered = refused(&gateway, request("POST /open/x", &["content-length: 11"])).await;
    assert_eq!(answered, (413, "body_too_large".to_owned()));
    assert!(upstream.requests().is_empty());
    let fits = request("POST /open/x", &["content-length: 10"]) + "0123456789";
    assert_eq!(gateway.ask(fits).await.status, 200);
}

#[tokio::test]
async fn a_chunked_body_is_cut_where_it_becomes_too_large() {
    let upstream = Recorder::start().await;
    let gateway = body_limit(&upstream).start();
    let mut client = gateway.connect().await;
    client
        .send(request("POST /open/x", &["transfer-encoding: chunked"]))
        .await;
    client.send("8\r\n01234567\r\n8\r\n01234567\r\n").await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (413, "body_too_large")
    );
    assert!(
        upstream.requests().is_empty(),
        "the upstream has no whole request"
    );
}

#[tokio::test]
async fn malformed_chunks_are_the_clients_fault() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let mut client = gateway.connect().await;
    client
        .send(request("POST /open/x", &["transfer-encoding: chunked"]))
        .await;
    client.send("5\nhello\r\n0\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (400, "malformed_request")
    );
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn a_refused_body_does_not_become_a_request() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let mut client = gateway.connect().await;
    let smuggled = request("GET /open/smuggled", &[]);
    let length = format!("content-length: {}", smuggled.len());
    let chunk = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    client
        .send(request("POST /v1/agents/a1", &[&length]) + &smuggled)
        .await;
    assert_eq!(client.answer().await.status, 401);
    client
        .send(request("POST /v1/agents/a1", &["transfer-encoding: chunked"]) + &chunk)
        .await;
    assert_eq!(client.answer().await.status, 401);
    client.send(request("GET /open/next", &[])).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(upstream.one().request_line(), "GET /open/next HTTP/1.1");
}

#[tokio::test]
async fn a_refused_body_that_is_large_closes_the_connection() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let mut client = gateway.connect().await;
    client
        .send(request("POST /v1/agents/a1", &["content-length: 1000000"]))
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.headers("connection"), ["close"]);
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn a_refusal_before_the_continue_sends_none() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let mut client = gateway.connect().await;
    client
        .send(request(
            "POST /v1/agents/a1",
            &["content-length: 4", "expect: 100-continue"],
        ))
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.headers("connection"), ["close"]);
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn a_head_request_is_refused_without_a_body() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let mut client = gateway.connect().await;
    client.send(request("HEAD /any/x", &[])).await;
    assert_eq!(client.head_answer().await.status, 401);
    client.send(request("GET /open/x", &[])).await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_refusal_at_the_door_echoes_what_the_request_is_called() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let asked = request("GET /open/a\\b", &["x-correlation-id: mine"]);
    let answer = gateway.ask(asked).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.headers("x-correlation-id"), ["mine"]);
}

#[tokio::test]
async fn a_refused_body_of_unknown_length_ends_the_connection_unless_it_is_here() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let head = request("POST /any/x", &["transfer-encoding: chunked"]);
    for (body, connection) in [("0\r\n\r\n", "keep-alive"), ("5\r\nhel", "close")] {
        let answer = gateway.ask(format!("{head}{body}")).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.headers("connection"), [connection]);
    }
}

#[tokio::test]
async fn a_head_that_is_given_up_was_not_allowed() {
    let upstream = Recorder::start().await;
    let gateway = Setup::new(upstream.address).start();
    let mut client = gateway.connect().await;
    client.send("GET /open/x HTTP/1.1\r\nHo").await;
    drop(client);
    let line = r#"keyward_requests_total{reason="abandoned",route="-",status="499"}"#;
    gateway.counted(line, 1.0).await;
}

#[tokio::test]
async fn a_flood_of_refusals_is_no_flood_of_lines() {
    let upstream = Recorder::start().await;
    let gateway = Setup {
        log_refusals_per_second: 5,
        ..Setup::new(upstream.address)
    }
    .start();
    let mut client = gateway.connect().await;
    let shown = format!("x-prismeai-api-key: {UNKNOWN}");
    for _ in 0..500 {
        client.send(request("GET /any/x", &[&shown])).await;
        assert_eq!(client.answer().await.status, 401);
    }
    client.send(request("GET /any/x", &[&key()])).await;
    assert_eq!(client.answer().await.status, 200);
    gateway.gateway.drain().await;
    let lines = gateway.log(1).await;
    let refused = |line: &&serde_json::Value| line["reason"] == "unknown_key";
    let (told, logged): (Vec<_>, Vec<_>) = lines
        .iter()
        .filter(refused)
        .partition(|line| line["left_out"].is_u64());
    let left_out: u64 = told
        .iter()
        .filter_map(|line| line["left_out"].as_u64())
        .sum();
    assert_eq!(logged.len() as u64 + left_out, 500);
    // Of the first second and the last nothing need have been left out.
    assert!(logged.len() <= 5 * (told.len() + 2), "{}", logged.len());
    assert!(!told.is_empty());
    assert!(lines.iter().any(|line| line["status"] == 200));
    let counted = "keyward_access_log_left_out_total{reason=\"unknown_key\"}";
    gateway.counted(counted, left_out as f64).await;
}
