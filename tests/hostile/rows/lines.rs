//! Request lines: methods, spaces, versions, what is no request at all.

use crate::row::{Row, get, raw, request};

const MALFORMED: &[&str] = &[
    "GET  /open/x HTTP/1.1",
    "GET /open/x  HTTP/1.1",
    "GET\t/open/x\tHTTP/1.1",
    "GET /open/x\tHTTP/1.1",
    "GET\x0b/open/x HTTP/1.1",
    " GET /open/x HTTP/1.1",
    "\tGET /open/x HTTP/1.1",
    "GET /open/x HTTP/1.1 ",
    "GET /open/x HTTP/1.1 x",
    "GET /open/x y HTTP/1.1",
    "GE T /open/x HTTP/1.1",
    "G(T /open/x HTTP/1.1",
    "G,T /open/x HTTP/1.1",
    "\"GET\" /open/x HTTP/1.1",
    "GET: /open/x HTTP/1.1",
    "GET@x /open/x HTTP/1.1",
    "GET",
    "GET ",
    "GET /open/x",
    "GET /open/x ",
    "/open/x HTTP/1.1",
    "GET HTTP/1.1",
    "GET /open/x HTTP",
    "GET /open/x HTTP/",
    "GET /open/x HTTP/1",
    "GET /open/x HTTP/1.",
    "GET /open/x HTTP/1.2",
    "GET /open/x HTTP/1.10",
    "GET /open/x HTTP/1.01",
    "GET /open/x HTTP/01.1",
    "GET /open/x HTTP/0.9",
    "GET /open/x HTTP/2.0",
    "GET /open/x HTTP/2",
    "GET /open/x HTTP/3",
    "GET /open/x HTTP/9.9",
    "GET /open/x HTTP/-1.1",
    "GET /open/x HTTP/1,1",
    "GET /open/x http/1.1",
    "GET /open/x Http/1.1",
    "GET /open/x HTTPS/1.1",
    "GET /open/x ICY/1.0",
    "GET /open/x RTSP/1.0",
    "GET /open/x XHTTP/1.1",
    "HTTP/1.1 200 OK",
    "CONNECT gw.test:443 HTTP/1.1",
    "CONNECT /open/x HTTP/1.1",
    "CONNECT http://gw.test/open/x HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "GET * HTTP/1.1",
    "OPTIONS http://gw.test HTTP/1.1",
];

/// Not whole heads: what begins like none is refused before it is one.
const NO_HEADS: &[&[u8]] = &[
    b"GET /open/x\r\n",
    b"GET /open/x\n",
    b"GET /open/x HTTP/1.1\nHost: gw.test\n\n",
    b"GET /open/x HTTP/1.1\r\nHost: gw.test\n\n",
    b"GET /open/x HTTP/1.1\r\nHost: gw.test\r\n\n",
    b"GET /open/x HTTP/1.1\nHost: gw.test\r\n\r\n",
    b"GET /open/x HTTP/1.1\rHost: gw.test\r\r",
    b"\nGET /open/x HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    b"\r\n\nGET /open/x HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    b"\x00GET /open/x HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    b"\xef\xbb\xbfGET /open/x HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    b"GET\x00 /open/x HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    b"GET /open/x HTTP/1.1\x00\r\nHost: gw.test\r\n\r\n",
    b"G\xc3\x89T /open/x HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefgh\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /open/x HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02",
    b"{\"json\":1}\r\n\r\n",
    b"<html>\r\n\r\n",
];

/// Methods that no route has: only their exact letters are the method.
const OTHER_METHODS: &[&str] = &[
    "get", "Get", "gET", "post", "GETT", "GE", "TRACE", "TRACK", "PROPFIND", "PURGE", "X-GET",
    "GET_", "GET.", "DEBUG", "LINK", "BREW", "PRI", "M-SEARCH", "connect", "options",
];

pub fn rows() -> Vec<Row> {
    let malformed = MALFORMED
        .iter()
        .map(|line| raw(format!("{line}\r\nHost: gw.test\r\n\r\n")).malformed());
    let no_heads = NO_HEADS.iter().map(|bytes| raw(bytes).malformed());
    let others = OTHER_METHODS
        .iter()
        .map(|method| get_with(method).refused_open(405, "method_not_allowed"));
    let mut rows: Vec<Row> = malformed.chain(no_heads).chain(others).collect();
    rows.extend(accepted());
    rows.push(raw(format!("GET /open/{}", "x".repeat(9000))).refused(414, "uri_too_long"));
    rows.push(get(&format!("/open/{}", "x".repeat(8190)), &[]).refused(414, "uri_too_long"));
    rows.push(
        raw(format!("{} /open/x HTTP/1.1\r\n", "G".repeat(10_000))).refused(414, "uri_too_long"),
    );
    rows
}

fn get_with(method: &str) -> Row {
    request(&format!("{method} /open/x"), &[], b"")
}

fn accepted() -> Vec<Row> {
    let mut rows: Vec<Row> = ["PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "GET"]
        .iter()
        .map(|method| get_with(method).passes(&format!("{method} /open/x"), &[], b""))
        .collect();
    rows.push(
        raw("\r\nGET /open/x HTTP/1.1\r\nHost: gw.test\r\n\r\n").passes("GET /open/x", &[], b""),
    );
    rows.push(
        raw("\r\n\r\n\r\nGET /open/x HTTP/1.1\r\nHost: gw.test\r\n\r\n").passes(
            "GET /open/x",
            &[],
            b"",
        ),
    );
    rows.push(
        raw("GET /open/x HTTP/1.0\r\nHost: gw.test\r\n\r\n")
            .passes("GET /open/x", &[], b"")
            .closes(),
    );
    rows.push(
        raw("GET /open/x HTTP/1.0\r\nHost: gw.test\r\nConnection: keep-alive\r\n\r\n").passes(
            "GET /open/x",
            &[],
            b"",
        ),
    );
    let longest = format!("/open/{}", "x".repeat(8186));
    rows.push(get(&longest, &[]).passes(&format!("GET {longest}"), &[], b""));
    rows
}
