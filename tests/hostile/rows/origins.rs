//! Origins: where a request came from is said by the connection, by a trusted proxy, or by a header of the PROXY
//! protocol from one; by nobody else.

use crate::row::{Row, get, raw};
use crate::world::Listener::{Distrusting, Preamble, Trusting};

const GET: &str = "GET /open/x HTTP/1.1\r\nHost: gw.test\r\n\r\n";
const SEEN: &str = "GET /open/x";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a trusted proxy sends, and what becomes of it.
const TAKEN_UP: &[(&[&str], &[&str])] = &[
    (
        &["X-Forwarded-For: 1.2.3.4"],
        &["x-forwarded-for: 1.2.3.4, 127.0.0.1"],
    ),
    (
        &["X-Forwarded-For: 6.6.6.6, 1.2.3.4"],
        &["x-forwarded-for: 6.6.6.6, 1.2.3.4, 127.0.0.1"],
    ),
    (
        &["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 1.2.3.4"],
        &["x-forwarded-for: 6.6.6.6, 1.2.3.4, 127.0.0.1"],
    ),
    (&["X-Forwarded-For:"], &[]),
    (&["x_forwarded_for: evil"], &[]),
    (&["X-Forwarded-Proto: https"], &["x-forwarded-proto: https"]),
    (&["X-Forwarded-Proto: gopher"], &[]),
    (
        &["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"],
        &[],
    ),
    (
        &["X-Forwarded-Host: public.test"],
        &["x-forwarded-host: public.test"],
    ),
    (&["X-Forwarded-Host: a, b"], &[]),
    (&["X-Forwarded-Port: 443"], &["x-forwarded-port: 443"]),
    (&["X-Forwarded-Port: 443;x"], &[]),
    (&["X-Forwarded-Prefix: /admin"], &[]),
    (&["X-Forwarded-Uri: /admin"], &[]),
    (&["X-Forwarded-User: evil"], &[]),
    (&["X-Forwarded-Client-Cert: evil"], &[]),
    (&["X-Original-URL: /admin"], &[]),
    (&["X-HTTP-Method-Override: DELETE"], &[]),
    (&["x-keyward-org: evil"], &[]),
    (&["x-prismeai-user-id: evil"], &[]),
    (&["True-Client-Ip: 6.6.6.6"], &[]),
    (&["X-Real-IP: 1.2.3.4"], &["x-real-ip: 1.2.3.4"]),
    (&["X-Real-IP: evil"], &["x-real-ip: 127.0.0.1"]),
    (
        &["X-Real-IP: 6.6.6.6", "X-Forwarded-For: 1.2.3.4"],
        &["x-forwarded-for: 1.2.3.4, 127.0.0.1", "x-real-ip: 1.2.3.4"],
    ),
    (
        &["Forwarded: for=1.2.3.4;proto=https"],
        &["forwarded: for=1.2.3.4;proto=https, for=127.0.0.1;host=\"gw.test\";proto=http"],
    ),
    (
        &["Forwarded: for=1.2.3.4", "X-Forwarded-For: 1.2.3.4"],
        &[
            "forwarded: for=1.2.3.4, for=127.0.0.1;host=\"gw.test\";proto=http",
            "x-forwarded-for: 1.2.3.4, 127.0.0.1",
        ],
    ),
];

/// What even of a trusted proxy is somebody's forgery.
const FORGED: &[&[&str]] = &[
    &["Forwarded: for=1.2.3.4", "X-Forwarded-For: 6.6.6.6"],
    &["Forwarded: for=unknown", "X-Forwarded-For: 6.6.6.6"],
    &["Forwarded: for=\"1.2.3.4"],
    &["Forwarded: for=1.2.3.4;for=6.6.6.6"],
    &["Forwarded: nonsense"],
];

/// Connections that begin with none of the headers that they must begin with.
const NO_PREAMBLES: &[&str] = &[
    "",
    "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
    "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
    "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
    "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
    "PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n",
    "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
    "PROXY TCP4 ::1 ::1 1 2\r\n",
    "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
    "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
    "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    "PROXY TCP4 1.2.3.4\t5.6.7.8 1 2\r\n",
    "proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    "PROXY\r\n",
    "PROXY \r\n",
    "\r\nPROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nPROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
];

pub fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = TAKEN_UP
        .iter()
        .map(|(lines, seen)| get("/open/x", lines).at(Trusting).passes(SEEN, seen, b""))
        .collect();
    rows.extend(
        FORGED
            .iter()
            .map(|lines| get("/open/x", lines).at(Trusting).not_canonical()),
    );
    rows.extend(
        NO_PREAMBLES
            .iter()
            .map(|begin| raw(format!("{begin}{GET}")).at(Preamble).malformed()),
    );
    rows.push(
        raw(format!("PROXY UNKNOWN {}\r\n{GET}", "x".repeat(200)))
            .at(Preamble)
            .malformed(),
    );
    rows.push(
        raw(format!("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n{GET}"))
            .at(Distrusting)
            .malformed(),
    );
    rows.extend(introduced());
    rows.extend(blocks());
    rows
}

fn introduced() -> Vec<Row> {
    let with = |line: &str, headers: &str, seen: &[&str]| {
        raw(format!(
            "PROXY {line}\r\nGET /open/x HTTP/1.1\r\nHost: gw.test\r\n{headers}\r\n"
        ))
        .at(Preamble)
        .passes(SEEN, seen, b"")
    };
    let claim = "X-Forwarded-For: 6.6.6.6\r\n";
    vec![
        with(
            "TCP4 1.2.3.4 5.6.7.8 1 2",
            "",
            &["x-forwarded-for: 1.2.3.4"],
        ),
        with(
            "TCP4 1.2.3.4 5.6.7.8 1 2",
            claim,
            &["x-forwarded-for: 1.2.3.4"],
        ),
        with(
            "TCP4 10.0.0.9 5.6.7.8 1 2",
            claim,
            &["x-forwarded-for: 6.6.6.6, 10.0.0.9"],
        ),
        with(
            "TCP6 2001:db8::1 ::1 65535 0",
            "",
            &["x-forwarded-for: 2001:db8::1"],
        ),
        with("UNKNOWN", "", &[]),
        with("UNKNOWN", claim, &[]),
        with("UNKNOWN a b c d", "", &[]),
    ]
}

fn blocks() -> Vec<Row> {
    let with = |command: u8, family: u8, rest: &[u8]| {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        let claim = "GET /open/x HTTP/1.1\r\nHost: gw.test\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";
        raw([
            SIGNATURE,
            &[command, family],
            &length,
            rest,
            claim.as_bytes(),
        ]
        .concat())
        .at(Preamble)
    };
    let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 2];
    let extended = [&v4[..], &[4, 0, 1, 9]].concat();
    let from = |row: Row, chain: &str| {
        let line = format!("x-forwarded-for: {chain}");
        row.passes(SEEN, &[&line], b"")
    };
    let mut rows = vec![
        from(with(0x21, 0x11, &v4), "1.2.3.4"),
        from(with(0x21, 0x11, &extended), "1.2.3.4"),
        from(
            with(0x21, 0x21, &[0x20; 36]),
            "2020:2020:2020:2020:2020:2020:2020:2020",
        ),
        from(with(0x21, 0x00, &[]), "127.0.0.1"),
        from(with(0x21, 0x31, &[0; 216]), "127.0.0.1"),
        // The proxy's own request: what it says is taken up.
        from(with(0x20, 0x00, &[]), "6.6.6.6, 127.0.0.1"),
    ];
    for (command, family, rest) in [
        (0x11, 0x11, &v4[..]),
        (0x22, 0x11, &v4),
        (0x21, 0x12, &v4),
        (0x21, 0x11, &v4[..11]),
        (0x21, 0x11, &extended[..15]),
        (0x21, 0x21, &v4),
        (0x21, 0x41, &v4),
        (0x21, 0x11, &[0; 4096]),
    ] {
        rows.push(with(command, family, rest).malformed());
    }
    rows
}
