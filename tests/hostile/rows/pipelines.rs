//! Pipelines: each request is judged for itself, and what follows one whose end is unknown is none.

use crate::row::{Row, get, post, raw};
use crate::world::KEY;

pub fn rows() -> Vec<Row> {
    let open = |name: &str| {
        let target = format!("/open/{name}");
        get(&target, &[]).passes(&format!("GET {target}"), &[], b"")
    };
    let missing = get("/admin/x", &[]).refused_open(401, "missing_credential");
    let key = format!("x-prismeai-api-key: {KEY}");
    let forbidden = get("/admin/x", &[&key]).refused_open(403, "missing_permission");
    let dots = get("/open/../x", &[]).not_canonical();
    let unknown = get("/none", &[]).refused_open(404, "no_route");
    let mut rows = vec![
        open("a").then(&open("b")),
        open("a").then(&open("b")).then(&open("c")).then(&open("d")),
        open("a").then(&missing).then(&open("b")),
        missing.clone().then(&open("a")),
        missing.clone().then(&missing),
        forbidden.clone().then(&open("a")),
        dots.clone().then(&open("a")),
        unknown.clone().then(&open("a")),
        open("a")
            .then(&dots)
            .then(&unknown)
            .then(&forbidden)
            .then(&open("b")),
        get("/v1/agents/a1", &[&key])
            .passes_known("GET /v1/agents/a1", &[], b"")
            .then(&missing),
        // Whose key it was is not remembered.
        get("/public/x", &[&key])
            .passes_known("GET /public/x", &[], b"")
            .then(&get("/public/x", &[]).refused_open(401, "missing_credential")),
        get("/public/x", &[&key])
            .passes_known("GET /public/x", &[], b"")
            .then(&open("a")),
    ];
    rows.extend(bodies(&open("b")));
    rows.extend(ended());
    rows.extend(early());
    rows
}

/// A refusal while its body is still to come, or a last answer while more comes: the client sends it all and reads the
/// answer.
fn early() -> Vec<Row> {
    let refused = |length: usize| {
        let line = format!("Content-Length: {length}");
        crate::row::request("POST /admin/x", &[&line], vec![b'x'; length])
            .refused(401, "missing_credential")
    };
    let chunk = |piece: usize, number: usize| {
        let chunk = [
            format!("{piece:x}\r\n").as_bytes(),
            &vec![b'x'; piece],
            b"\r\n",
        ]
        .concat();
        [chunk.repeat(number).as_slice(), b"0\r\n\r\n"].concat()
    };
    let large = post(&["Content-Length: 8000000"], vec![b'x'; 8_000_000]);
    let behind = "x".repeat(400_000);
    let last = |version: &str| {
        raw(format!(
            "GET /open/x HTTP/{version}\r\nHost: gw.test\r\nConnection: close\r\n\r\n{behind}"
        ))
        .passes("GET /open/x", &[], b"")
        .closes()
    };
    let dots = crate::row::request(
        "POST /open/../x",
        &["Content-Length: 8000000"],
        vec![b'x'; 8_000_000],
    );
    vec![
        crate::row::request(
            "POST /admin/x",
            &["Content-Length: 65536"],
            vec![b'x'; 65_536],
        )
        .refused_open(401, "missing_credential"),
        refused(65_537),
        refused(1_000_000),
        refused(8_000_000),
        crate::row::request(
            "POST /admin/x",
            &["Transfer-Encoding: chunked"],
            chunk(10_000, 800),
        )
        .refused(401, "missing_credential"),
        post(&["Transfer-Encoding: chunked"], chunk(10_000, 800)).refused(413, "body_too_large"),
        large.refused(413, "body_too_large"),
        dots.malformed(),
        last("1.1"),
        last("1.0"),
    ]
}

/// Bodies of requests that are refused or passed do not become requests.
fn bodies(next: &Row) -> Vec<Row> {
    let smuggled = "GET /open/smuggled HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    let length = format!("Content-Length: {}", smuggled.len());
    let chunk = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    let seen = format!("{:X}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    let admin = |lines: &[&str], body: &str| {
        crate::row::request("POST /admin/x", lines, body).refused_open(401, "missing_credential")
    };
    vec![
        admin(&[&length], smuggled).then(next),
        admin(&["Transfer-Encoding: chunked"], &chunk).then(next),
        admin(
            &["Transfer-Encoding: chunked"],
            "0\r\nx-keyward-org: evil\r\n\r\n",
        )
        .then(next),
        post(&[&length], smuggled)
            .passes("POST /open/x", &[&length.to_lowercase()], smuggled)
            .then(next),
        post(&["Transfer-Encoding: chunked"], &chunk)
            .passes("POST /open/x", &["transfer-encoding: chunked"], &seen)
            .then(next),
        post(&["Content-Length: 5"], "hello\r\n")
            .passes("POST /open/x", &["content-length: 5"], "hello")
            .then(next),
        post(&["Content-Length: 0"], "")
            .passes("POST /open/x", &["content-length: 0"], "")
            .then(next),
        // Of a body that is not there yet nobody knows whether it ever will be.
        crate::row::request("POST /admin/x", &["Transfer-Encoding: chunked"], "5\r\nhel")
            .refused(401, "missing_credential"),
        crate::row::request("POST /admin/x", &["Content-Length: 99999999"], smuggled)
            .refused(401, "missing_credential"),
        crate::row::request(
            "POST /admin/x",
            &["Content-Length: 5", "Expect: 100-continue"],
            "",
        )
        .refused(401, "missing_credential"),
        crate::row::request(
            "POST /admin/x",
            &["Transfer-Encoding: chunked"],
            format!("x\r\n{smuggled}"),
        )
        .refused(401, "missing_credential"),
    ]
}

/// Behind what ends a connection nothing is read.
fn ended() -> Vec<Row> {
    let next = "GET /open/next HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    let mut rows = vec![
        raw(format!(
            "GET /open/x HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n{next}"
        ))
        .passes("GET /open/x", &[], b"")
        .closes(),
        raw(format!(
            "GET /open/x HTTP/1.0\r\nHost: gw.test\r\n\r\n{next}"
        ))
        .passes("GET /open/x", &[], b"")
        .closes(),
        raw(format!(
            "GET /admin/x HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n{next}"
        ))
        .refused(401, "missing_credential"),
        get("/open/x", &[])
            .passes("GET /open/x", &[], b"")
            .then(&raw("nonsense\r\n\r\n").malformed()),
        get("/open/x", &[]).passes("GET /open/x", &[], b"").then(
            &post(
                &["Content-Length: 5", "Transfer-Encoding: chunked"],
                format!("0\r\n\r\n{next}"),
            )
            .malformed(),
        ),
        // Left-over bytes behind a body are the next request, and no good one.
        post(&["Content-Length: 4"], "hello")
            .passes("POST /open/x", &["content-length: 4"], "hell")
            .then(&raw(" \r\n\r\n").malformed()),
        post(
            &["Content-Length: 4"],
            "hello GET /open/next HTTP/1.1\r\n\r\n",
        )
        .passes("POST /open/x", &["content-length: 4"], "hell")
        .then(&raw("").malformed()),
        post(&[], format!("xy{next}"))
            .passes("POST /open/x", &[], "")
            .then(&raw("").refused_open(405, "method_not_allowed")),
    ];
    for line in [
        "GET /open/x HTTP/1.1\nHost: a\r\n\r\n",
        "GET /open/x HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /open/x#y HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        rows.push(raw(format!("{line}{next}")).malformed());
    }
    rows
}
