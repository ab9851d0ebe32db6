//! Hosts: exactly one, of one form.

use crate::row::{Row, raw};

pub const REFUSED: &[&str] = &[
    "",
    " ",
    "a b",
    "a, b",
    "a,b",
    "gw.test:80:90",
    "gw.test:",
    "gw.test:0",
    "gw.test:65536",
    "gw.test:99999999999999999999",
    "gw.test:-1",
    "gw.test:+80",
    "gw.test:080",
    "gw.test:8o",
    "gw.test: 80",
    ":80",
    ":",
    "gw.test.",
    ".gw.test",
    "gw..test",
    ".",
    "..",
    "gw.test/",
    "gw.test/admin",
    "gw.test?x",
    "gw.test#x",
    "gw.test\\admin",
    "user@gw.test",
    "user:pass@gw.test",
    "http://gw.test",
    "//gw.test",
    "gw.test;x",
    "gw.test%00",
    "gw%2etest",
    "gw!test",
    "gw~test",
    "gw*test",
    "*",
    "(gw.test)",
    "\"gw.test\"",
    "<gw.test>",
    "gw.test=x",
    "[::1",
    "::1",
    "[::1]x",
    "[::1]:",
    "[::1]:x",
    "[::1%eth0]",
    "[::1%25eth0]",
    "[gw.test]",
    "[]",
    "[127.0.0.1]",
    "[v1.x]",
    "127.1",
    "127.0.0.256",
    "127.0.0.01",
    "0x7f.0.0.1",
    "0x7f000001",
    "2130706433",
    "127.0.0.1.",
    "gw.123",
    "gw\ttest",
    "$gw",
];

/// A host as it is sent, which is how the upstream sees it.
pub const SEEN: &[&str] = &[
    "gw.test",
    "GW.Test",
    "gw.test:80",
    "gw.test:1",
    "gw.test:65535",
    "gw_x.test",
    "localhost",
    "xn--bcher-kva.example",
    "127.0.0.1",
    "127.0.0.1:8080",
    "[::1]",
    "[::1]:80",
    "[2001:DB8::1]",
    "[::ffff:1.2.3.4]",
    "a",
    "1a.b",
];

pub fn rows() -> Vec<Row> {
    let refused = REFUSED.iter().map(|host| with(&[host]).malformed());
    let seen = SEEN.iter().map(|host| {
        let line = format!("host: {host}");
        with(&[host]).passes("GET /open/x", &[&line], b"")
    });
    let mut rows: Vec<Row> = refused.chain(seen).collect();
    rows.extend([
        with(&[]).malformed(),
        with(&["gw.test", "gw.test"]).malformed(),
        with(&["gw.test", "evil.test"]).malformed(),
        with(&["gw.test", ""]).malformed(),
        with(&[&"a".repeat(254)]).malformed(),
        with(&[&format!("{}.test", "a".repeat(64))]).malformed(),
        raw("GET /open/x HTTP/1.0\r\n\r\n").malformed(),
        raw("GET http://gw.test/open/x HTTP/1.1\r\n\r\n").malformed(),
        raw("GET /open/x HTTP/1.1\r\nHost : gw.test\r\n\r\n").malformed(),
        raw("GET /open/x HTTP/1.1\r\n Host: gw.test\r\n\r\n").malformed(),
        raw(b"GET /open/x HTTP/1.1\r\nHost: gw\xc3\xa9.test\r\n\r\n").malformed(),
        raw(b"GET /open/x HTTP/1.1\r\nHost: gw\xff\r\n\r\n").malformed(),
        raw(b"GET /open/x HTTP/1.1\r\nHost: gw.test\x00\r\n\r\n").malformed(),
        raw(b"GET /open/x HTTP/1.1\r\nHost: gw\xe3\x80\x82test\r\n\r\n").malformed(),
        raw("GET /open/x HTTP/1.1\r\nX: Host\r\nHost: gw.test\r\nhOST: gw.test\r\n\r\n")
            .malformed(),
        raw("GET http://gw.test/open/x HTTP/1.1\r\nHost: evil.test\r\n\r\n").malformed(),
        raw("GET http://evil.test/open/x HTTP/1.1\r\nHost: gw.test\r\n\r\n").malformed(),
    ]);
    rows.extend(routed());
    rows
}

fn with(hosts: &[&str]) -> Row {
    let lines: Vec<String> = hosts
        .iter()
        .map(|host| format!("Host: {host}\r\n"))
        .collect();
    raw(format!("GET /open/x HTTP/1.1\r\n{}\r\n", lines.concat()))
}

/// A route of one host is had by that host alone, whatever else claims to be it.
fn routed() -> Vec<Row> {
    let hosted = |host: &str, line: &str| {
        raw(format!(
            "GET /hosted/x HTTP/1.1\r\nHost: {host}\r\n{line}\r\n"
        ))
    };
    let mut rows: Vec<Row> = ["api.gw.test", "API.gw.test", "api.gw.test:8080"]
        .iter()
        .map(|host| hosted(host, "").passes("GET /hosted/x", &[&format!("host: {host}")], b""))
        .collect();
    for host in [
        "gw.test",
        "x.api.gw.test",
        "api.gw.test.evil",
        "api-gw.test",
    ] {
        rows.push(hosted(host, "").refused_open(404, "no_route"));
    }
    for claim in [
        "X-Forwarded-Host",
        "X-Host",
        "X-Original-Host",
        "Forwarded",
        "X_Forwarded_Host",
        "X-HTTP-Host-Override",
    ] {
        let value = if claim == "Forwarded" {
            "host=api.gw.test"
        } else {
            "api.gw.test"
        };
        let line = format!("{claim}: {value}\r\n");
        rows.push(hosted("gw.test", &line).refused_open(404, "no_route"));
    }
    rows
}
