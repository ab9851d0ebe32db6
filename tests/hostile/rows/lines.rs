//! Request lines: methods, spaces, versions, what is no request at all.

use crate::row::{Row, get, post, raw, request};

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
    rows.extend(sizes());
    rows.extend(heads());
    rows
}

/// Up to a limit and one beyond it.
fn sizes() -> Vec<Row> {
    let target = |length: usize| format!("/open/{}", "x".repeat(length - "/open/".len()));
    let query = |length: usize| format!("/open/x?{}", "y".repeat(length - "/open/x?".len()));
    let passes = |target: &str| get(target, &[]).passes(&format!("GET {target}"), &[], b"");
    let absolute = |length: usize| format!("http://gw.test{}", target(length - 14));
    let head = |length: usize| {
        let rest = "GET /open/x HTTP/1.1\r\nHost: gw.test\r\nx: \r\n\r\n".len();
        format!("x: {}", "y".repeat(length - rest))
    };
    let body = |length: usize| vec![b'x'; length];
    let post = |length: usize| {
        let line = format!("Content-Length: {length}");
        (line.to_lowercase(), post(&[&line], body(length)))
    };
    let (line, most) = post(100_000);
    vec![
        passes(&target(8192)),
        get(&target(8193), &[]).refused(414, "uri_too_long"),
        passes(&query(8192)),
        get(&query(8193), &[]).refused(414, "uri_too_long"),
        get(&absolute(8192), &[]).passes(&format!("GET {}", target(8178)), &[], b""),
        get(&absolute(8193), &[]).refused(414, "uri_too_long"),
        get("/open/x", &[&head(65_536)]).passes("GET /open/x", &[&head(65_536)], b""),
        get("/open/x", &[&head(65_537)]).refused(431, "headers_too_large"),
        most.passes("POST /open/x", &[&line], body(100_000)),
        post(100_001).1.refused(413, "body_too_large"),
        // What one route takes less of.
        get("/less?0123456789abcd", &["a: b", "c: d"]).passes(
            "GET /less?0123456789abcd",
            &["a: b", "c: d"],
            b"",
        ),
        get("/less?0123456789abcde", &[]).refused_open(414, "uri_too_long"),
        get("/less", &["a: b", "c: d", "e: f"]).refused_open(431, "headers_too_large"),
        request("POST /less", &["Content-Length: 10"], "0123456789").passes(
            "POST /less",
            &["content-length: 10"],
            "0123456789",
        ),
        request("POST /less", &["Content-Length: 11"], "0123456789a")
            .refused_open(413, "body_too_large"),
    ]
}

/// Refusals of every status, asked for with a body and without.
fn heads() -> Vec<Row> {
    let mut rows = vec![get("/rated", &[]).passes("GET /rated", &[], b"")];
    for method in ["GET", "HEAD"] {
        let ask = |target: &str| request(&format!("{method} {target}"), &[], b"");
        rows.extend([
            ask("/open/../x").not_canonical(),
            ask("/public/x").refused_open(401, "missing_credential"),
            ask("/none").refused_open(404, "no_route"),
            ask("/rated?again").refused_open(429, "rate_limited"),
            ask("/nowhere").refused_open(502, "upstream_unreachable"),
        ]);
    }
    rows.push(request("HEAD /v1/agents/a1", &[], b"").refused_open(405, "method_not_allowed"));
    rows.push(
        request("POST /rated", &["Content-Length: 5"], "hello").refused_open(429, "rate_limited"),
    );
    rows.push(
        request("POST /nowhere", &["Content-Length: 5"], "hello")
            .refused_open(502, "upstream_unreachable")
            .either_way(),
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
