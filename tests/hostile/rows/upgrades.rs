//! Upgrades: nothing is a tunnel before the upstream has said so, and nothing but WebSocket may become one.

use crate::row::{Got, Row, get, post, raw};

const SWITCH: &[&str] = &["Connection: Upgrade", "Upgrade: websocket"];
const HANDSHAKE: &[&str] = &["connection: Upgrade", "upgrade: websocket"];

pub fn rows() -> Vec<Row> {
    let mut rows = refused();
    rows.extend(not_switched());
    rows.extend(unasked());
    rows.extend(behind());
    rows
}

/// A body and a switch of protocols: where one ends and the other begins has two readings.
fn refused() -> Vec<Row> {
    let with = |more: &[&str], body: &str| post(&[SWITCH, more].concat(), body).malformed();
    vec![
        with(&["Content-Length: 5"], "hello"),
        with(&["Content-Length: 1"], "x"),
        with(&["Transfer-Encoding: chunked"], "0\r\n\r\n"),
        with(
            &["Content-Length: 5", "Transfer-Encoding: chunked"],
            "0\r\n\r\n",
        ),
        post(
            &["Connection: upgrade", "Upgrade: foo", "Content-Length: 5"],
            "hello",
        )
        .malformed(),
        post(&["Upgrade: websocket", "Content-Length: 5"], "hello").malformed(),
        get(
            "/open/x",
            &["Connection: Upgrade, x-keyward-org", "Upgrade: websocket"],
        )
        .malformed(),
    ]
}

/// The upstream does not switch, or is not asked to: what follows is another request, judged for itself.
fn not_switched() -> Vec<Row> {
    let next = get("/admin/x", &[]).refused_open(401, "missing_credential");
    let plain = |lines: &[&str]| get("/open/x", lines).passes("GET /open/x", &[], b"");
    vec![
        get("/open/x", SWITCH).passes("GET /open/x", HANDSHAKE, b"").then(&next),
        plain(&["Connection: Upgrade", "Upgrade: foo"]).then(&next),
        plain(&["Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"]).then(&next),
        plain(&["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"]).then(&next),
        plain(&["Connection: Upgrade", "Upgrade: TLS/1.0"]).then(&next),
        plain(&["Connection: Upgrade", "Upgrade: websocket, foo"]).then(&next),
        plain(&["Connection: Upgrade", "Upgrade: foo", "Upgrade: websocket"]).then(&next),
        plain(&["Upgrade: websocket"]).then(&next),
        plain(&["Connection: Upgrade"]).then(&next),
        raw("GET /open/x HTTP/1.0\r\nHost: gw.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .passes("GET /open/x", &[], b"")
            .closes(),
        post(
            &["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA", "Content-Length: 5"],
            "hello",
        )
        .passes("POST /open/x", &["content-length: 5"], "hello")
        .then(&next),
    ]
}

/// The upstream switches although it was not asked to.
fn unasked() -> Vec<Row> {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let answered = |row: Row| {
        row.passes("GET /open/x", &[], b"")
            .answered(switch, Got::Refused(502, "upstream_invalid"))
    };
    let old = |connection: &str| {
        raw(format!(
            "GET /open/x HTTP/1.0\r\nHost: gw.test\r\nConnection: {connection}\r\nUpgrade: websocket\r\n\r\n"
        ))
    };
    vec![
        answered(old("Upgrade")).closes(),
        answered(old("Upgrade, keep-alive")),
        answered(get("/open/x", &["Upgrade: websocket"])),
        answered(get("/open/x", &["Connection: Upgrade", "Upgrade: foo"])),
        answered(get("/open/x", &["Connection: Upgrade", "Upgrade: h2c"])),
    ]
}

/// What came behind a request that asked for another protocol.
fn behind() -> Vec<Row> {
    let refused = |status: &str| {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno");
        get("/open/x", SWITCH)
            .passes("GET /open/x", HANDSHAKE, b"")
            .answered(
                answer,
                Got::Answer(
                    status.split_at(3).0.parse().unwrap(),
                    &["content-length: 2"],
                    b"no",
                ),
            )
            .then(&get("/admin/x", &[]).refused_open(401, "missing_credential"))
    };
    vec![
        refused("200 OK"),
        refused("400 Bad Request"),
        refused("403 Forbidden"),
        refused("426 Upgrade Required"),
    ]
}
