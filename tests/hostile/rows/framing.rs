//! Framing: where a message ends is stated once, in one way, or not at all.

use crate::row::{Row, post, raw};

/// A smuggled request, in case somebody reads one.
const SMUGGLED: &str = "GET /admin/smuggled HTTP/1.1\r\nHost: gw.test\r\n\r\n";

/// `Content-Length` values that are not one number written in the one way.
const NO_LENGTHS: &[&str] = &[
    "",
    "+5",
    "-5",
    "-0",
    "+0",
    "05",
    "00",
    "0005",
    "5 ,5",
    "5,5",
    "5, 5",
    "5,",
    ",5",
    "5 5",
    "5;5",
    "5,6",
    "5.0",
    "5e0",
    "0x5",
    "5x",
    "x",
    "5\t6",
    "\"5\"",
    "'5'",
    "5_0",
    "99999999999999999999",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "\u{665}",
    "chunked",
];

/// Ways to say `chunked` that some servers take and others do not.
const NO_CODINGS: &[&str] = &[
    "",
    "chunked, chunked",
    "chunked,chunked",
    "chunked,",
    ",chunked",
    ", chunked",
    "chunked, identity",
    "identity, chunked",
    "identity",
    "gzip, chunked",
    "gzip",
    "deflate, chunked",
    "br, chunked",
    "compress",
    "chunked, gzip",
    "x-chunked",
    "xchunked",
    "chunkedx",
    "chunk",
    "chunked chunked",
    "\"chunked\"",
    "'chunked'",
    "chunked;q=1",
    "chunked; foo=bar",
    "chunked\u{0b}",
    "\u{0b}chunked",
    "\u{0c}chunked",
    "chunked\u{a0}",
    "\u{a0}chunked",
    "chun\tked",
    "chun ked",
    "trailers, chunked",
    "cow",
    "5",
    "nul\u{0}l",
    "chunked\u{0}",
    "[chunked]",
    "chunked/1.0",
    "CHUNKED",
    "Chunked",
    "chunKed",
];

/// Lines that hide a framing header from some servers. Each stands beside a plain `Content-Length: 5`.
const HIDDEN: &[&str] = &[
    "Transfer-Encoding: chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    "Transfer-Encoding\u{0b}: chunked",
    " Transfer-Encoding: chunked",
    "\tTransfer-Encoding: chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:  chunked  ",
    "transfer-encoding: chunked",
    "TRANSFER-ENCODING: CHUNKED",
    "Transfer_Encoding: chunked",
    "Transfer.Encoding: chunked",
    "transfer_encoding: identity",
    "Transfer-Encoding: identity",
    "Transfer-Encoding:",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding\r\n : chunked",
    "Foo: bar\r\n Transfer-Encoding: chunked",
    "Foo: bar\r\n\tTransfer-Encoding: chunked",
    "Foo: bar\nTransfer-Encoding: chunked",
    "Foo: bar\rTransfer-Encoding: chunked",
    "Foo: bar\r\rTransfer-Encoding: chunked",
    "\u{0}Transfer-Encoding: chunked",
    "Transfer-Encoding\u{0}: chunked",
    "\"Transfer-Encoding\": chunked",
    "(Transfer-Encoding): chunked",
    "Transfer-Encoding; chunked",
    "Transfer-Encoding=chunked",
    "Transfer Encoding: chunked",
    "Content-Length: 5",
    "Content-Length: 6",
    "Content-Length: 0",
    "content-length: 5",
    "Content_Length: 5",
    "Content.Length: 6",
    "Content-Length : 6",
    " Content-Length: 6",
    "Content-Length:\r\n 6",
];

pub fn rows() -> Vec<Row> {
    let body = format!("0\r\n\r\n{SMUGGLED}");
    let lengths = NO_LENGTHS.iter().map(|length| {
        let line = format!("Content-Length: {length}");
        post(&[&line], format!("hello{SMUGGLED}")).malformed()
    });
    let codings = NO_CODINGS.iter().map(|coding| {
        let line = format!("Transfer-Encoding: {coding}");
        // Latin-1, so that U+00A0 is the one byte that some trim.
        post_latin(&line, &body).malformed()
    });
    let hidden = HIDDEN
        .iter()
        .map(|line| post(&["Content-Length: 5", line], &body).malformed());
    let before = HIDDEN
        .iter()
        .filter(|line| {
            !line.starts_with([' ', '\t']) && !line.eq_ignore_ascii_case("content-length: 5")
        })
        .map(|line| post(&[line, "Content-Length: 5"], &body).malformed());
    let mut rows: Vec<Row> = lengths.chain(codings).chain(hidden).chain(before).collect();
    rows.extend(twice(&body));
    rows.extend(old(&body));
    rows.extend(accepted());
    rows
}

fn post_latin(line: &str, body: &str) -> Row {
    let head = format!("POST /open/x HTTP/1.1\r\nHost: gw.test\r\n{line}\r\n\r\n");
    let head: Vec<u8> = head.chars().map(|byte| byte as u32 as u8).collect();
    raw([&head, body.as_bytes()].concat())
}

fn twice(body: &str) -> Vec<Row> {
    let pairs = [
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: identity", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "transfer-encoding: x"],
        ["Transfer-Encoding: chunked", "Transfer_Encoding: x"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding:"],
        ["Transfer-Encoding: chunked", "Content-Length: 0"],
        ["Transfer-Encoding: chunked", "Content_Length: 5"],
        ["Transfer-Encoding: chunked", "Content-Length:"],
    ];
    pairs
        .iter()
        .map(|pair| post(pair, body).malformed())
        .collect()
}

/// HTTP/1.0 knows no chunks, and a body without a length has no end in it.
fn old(body: &str) -> Vec<Row> {
    let old = |lines: &str, body: &str| {
        raw(format!(
            "POST /open/x HTTP/1.0\r\nHost: gw.test\r\n{lines}\r\n{body}"
        ))
    };
    vec![
        old("Transfer-Encoding: chunked\r\n", body).malformed(),
        old("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", body).malformed(),
        old("Transfer-Encoding: identity\r\n", body).malformed(),
        old(
            "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
            body,
        )
        .malformed(),
        old("Content-Length: 5\r\n", "hello")
            .passes("POST /open/x", &["content-length: 5"], "hello")
            .closes(),
        old("Content-Length: 5\r\nConnection: keep-alive\r\n", "hello").passes(
            "POST /open/x",
            &["content-length: 5"],
            "hello",
        ),
        // What follows a message that ends the connection is not one.
        old("Content-Length: 5\r\n", &format!("hello{SMUGGLED}"))
            .passes("POST /open/x", &["content-length: 5"], "hello")
            .closes(),
        old("", "").passes("POST /open/x", &[], "").closes(),
    ]
}

fn accepted() -> Vec<Row> {
    let chunked = ["transfer-encoding: chunked"];
    vec![
        post(&["Content-Length: 5"], "hello").passes("POST /open/x", &["content-length: 5"], "hello"),
        post(&["Content-Length: 0"], "").passes("POST /open/x", &["content-length: 0"], ""),
        post(&["Content-Length:5"], "hello").passes("POST /open/x", &["content-length: 5"], "hello"),
        post(&["Content-Length:\t 5 \t"], "hello").passes("POST /open/x", &["content-length: 5"], "hello"),
        post(&["CONTENT-LENGTH: 5"], "hello").passes("POST /open/x", &["content-length: 5"], "hello"),
        post(&[], "").passes("POST /open/x", &[], ""),
        post(&["Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n")
            .passes("POST /open/x", &chunked, "5\r\nhello\r\n0\r\n\r\n"),
        post(&["Transfer-Encoding:chunked"], "0\r\n\r\n").passes("POST /open/x", &chunked, "0\r\n\r\n"),
        post(&["transfer-encoding: \tchunked\t"], "0\r\n\r\n").passes("POST /open/x", &chunked, "0\r\n\r\n"),
        // A body that looks like a request is a body.
        post(&[&format!("Content-Length: {}", SMUGGLED.len())], SMUGGLED)
            .passes("POST /open/x", &[&format!("content-length: {}", SMUGGLED.len())], SMUGGLED),
        post(&["Content-Length: 100001"], "").refused(413, "body_too_large"),
        post(&["Content-Length: 9223372036854775807"], "").refused(413, "body_too_large"),
        post(&["Content-Length: 9999999999999999999"], "").refused(413, "body_too_large"),
        post(&["Content-Length: 5", "Expect: 100-continue"], "hello")
            .passes("POST /open/x", &["content-length: 5", "expect: 100-continue"], "hello"),
        post(&["Content-Length: 5", "Expect: 200-ok"], "hello").refused(417, "expectation_failed"),
        post(&["Content-Length: 5", "Expect: 100-continue, x"], "hello").refused(417, "expectation_failed"),
        post(&["Content-Length: 5", "Expect: 100-continue", "Expect: 100-continue"], "hello")
            .refused(417, "expectation_failed"),
        post(&["Content-Length: 5", "Expect:"], "hello").refused(417, "expectation_failed"),
        // A GET may have a body, and it is framed as any other.
        raw("GET /open/x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nhello")
            .passes("GET /open/x", &["content-length: 5"], "hello"),
        raw("DELETE /open/x HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
            .passes("DELETE /open/x", &chunked, "1\r\nx\r\n0\r\n\r\n"),
    ]
}
