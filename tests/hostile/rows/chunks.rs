//! Chunks: sizes, extensions, line ends, trailers. What is re-framed holds the bytes of the body and nothing else.

use crate::row::{Row, post};

/// Bodies that are no chunks.
const MALFORMED: &[&[u8]] = &[
    b"\r\n",
    b"\r\n0\r\n\r\n",
    b"hello",
    b"5\nhello\r\n0\r\n\r\n",
    b"5\rhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"5\t\r\nhello\r\n0\r\n\r\n",
    b"\t5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"0X5\r\nhello\r\n0\r\n\r\n",
    b"5h\r\nhello\r\n0\r\n\r\n",
    b"5,\r\nhello\r\n0\r\n\r\n",
    b"5.0\r\nhello\r\n0\r\n\r\n",
    b"5 5\r\nhello\r\n0\r\n\r\n",
    b"5\x00\r\nhello\r\n0\r\n\r\n",
    b"\x005\r\nhello\r\n0\r\n\r\n",
    b"g\r\nhello\r\n0\r\n\r\n",
    b"_5\r\nhello\r\n0\r\n\r\n",
    b"5_\r\nhello\r\n0\r\n\r\n",
    b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"100000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello\r0\r\n\r\n",
    b"5\r\nhello!\r\n0\r\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n",
    b"5\r\nhello\r\r\n0\r\n\r\n",
    b"4\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\n\r\n",
    b"5\r\nhello\r\n0\r\n\n",
    b"5\r\nhello\r\n0\r\r\n",
    b"0\r\n\x00\r\n",
    b"5;\nhello\r\n0\r\n\r\n",
    b"5;a\nhello\r\n0\r\n\r\n",
    b"5;a=b\nhello\r\n0\r\n\r\n",
    b"5;a\rhello\r\n0\r\n\r\n",
    b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    b"5;a\x01\r\nhello\r\n0\r\n\r\n",
    b"5;\x80\xff\r\nhello\r\n0\r\n\r\n",
    b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    b"5;a\x7f\r\nhello\r\n0\r\n\r\n",
    b"5;a=\"\nb\"\r\nhello\r\n0\r\n\r\n",
    b"5\r\n\r\nhello\r\n0\r\n\r\n",
    b"0\r\nTrailer\nX: y\r\n\r\n",
    b"0\r\nX: a\nY: b\r\n\r\n",
    b"0\r\nX: a\rY: b\r\n\r\n",
    b"0\r\nX: a\x00\r\n\r\n",
    // A size to which nothing can be added.
    b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"8000000000000000\r\nhello\r\n0\r\n\r\n",
    b"FFFFFFFFFFFFFFF0\r\nhello\r\n0\r\n\r\n",
    // Trailers are lines as headers are.
    b"0\r\n x: y\r\n\r\n",
    b"0\r\nx: y\r\n z\r\n\r\n",
    b"0\r\n\tx: y\r\n\r\n",
    b"0\r\nx y\r\n\r\n",
    b"0\r\nx : y\r\n\r\n",
    b"0\r\n: y\r\n\r\n",
    b"0\r\nx\r\n\r\n",
    b"0\r\n(x): y\r\n\r\n",
    b"0\r\n\xc3\xa9: y\r\n\r\n",
    b"0\r\nGET /admin/x HTTP/1.1\r\nHost: gw.test\r\n\r\n",
];

/// Trailers that would mean something as headers. None of them reaches the upstream.
const TRAILERS: &[&str] = &[
    "x-prismeai-org-id: evil",
    "X_PrismeAI_User_Id: evil",
    "x-keyward-org: evil",
    "x_keyward_key-id: evil",
    "x-prismeai-api-key: iak_acme_99999999-2222-4333-8444-555555555555",
    "Authorization: Bearer iak_acme_99999999-2222-4333-8444-555555555555",
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
    "Host: evil",
    "X-Forwarded-For: 1.2.3.4",
    "Connection: close",
    "Cookie: a=b",
    "x: y",
    "a: b\r\nc: d",
    "x:",
];

pub fn rows() -> Vec<Row> {
    let malformed = MALFORMED.iter().map(|body| chunked(body).malformed());
    let trailers = TRAILERS.iter().map(|trailers| {
        let body = format!("5\r\nhello\r\n0\r\n{trailers}\r\n\r\n");
        chunked(body.as_bytes()).passes("POST /open/x", HEADER, HELLO)
    });
    let mut rows: Vec<Row> = malformed.chain(trailers).collect();
    rows.extend(seen());
    rows.extend([
        chunked(&[b"5;", "a".repeat(5000).as_bytes()].concat()).malformed(),
        chunked(&[b"0\r\nx: ", "a".repeat(17_000).as_bytes()].concat()).malformed(),
        chunked("0".repeat(5000).as_bytes()).malformed(),
        chunked(
            &[
                b"186a1\r\n",
                "a".repeat(100_001).as_bytes(),
                b"\r\n0\r\n\r\n",
            ]
            .concat(),
        )
        .refused_open(413, "body_too_large")
        .either_way(),
        post(
            &["Transfer-Encoding: chunked", "Trailer: x-keyward-org"],
            "0\r\nx-keyward-org: evil\r\n\r\n",
        )
        .passes("POST /open/x", HEADER, "0\r\n\r\n"),
        post(
            &[
                "Transfer-Encoding: chunked",
                "TE: trailers",
                "Connection: te",
            ],
            "0\r\nx: y\r\n\r\n",
        )
        .passes("POST /open/x", HEADER, "0\r\n\r\n"),
    ]);
    rows
}

const HEADER: &[&str] = &["transfer-encoding: chunked"];
const HELLO: &str = "5\r\nhello\r\n0\r\n\r\n";

fn chunked(body: &[u8]) -> Row {
    post(&["Transfer-Encoding: chunked"], body)
}

/// Bodies of one meaning.
fn seen() -> Vec<Row> {
    let hello: [&[u8]; 11] = [
        b"05\r\nhello\r\n0\r\n\r\n",
        b"0000000000000005\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n00\r\n\r\n",
        b"5\r\nhello\r\n000000\r\n\r\n",
        b"5;a\r\nhello\r\n0\r\n\r\n",
        b"5;a=b\r\nhello\r\n0;c\r\n\r\n",
        b"5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n",
        b"5; a=b ;c\r\nhello\r\n0\r\n\r\n",
        b"5;\r\nhello\r\n0\r\n\r\n",
        b"5;x-keyward-org=evil\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0;\r\n\r\n",
    ];
    let hello = hello.map(|body| chunked(body).passes("POST /open/x", HEADER, HELLO));
    let other: [(&str, &str); 5] = [
        (
            "a\r\n0123456789\r\n0\r\n\r\n",
            "A\r\n0123456789\r\n0\r\n\r\n",
        ),
        (
            "A\r\n0123456789\r\n0\r\n\r\n",
            "A\r\n0123456789\r\n0\r\n\r\n",
        ),
        (
            "7\r\n0\r\n\r\n0\r\r\n0\r\n\r\n",
            "7\r\n0\r\n\r\n0\r\r\n0\r\n\r\n",
        ),
        ("5\r\n5\r\nhe\r\n0\r\n\r\n", "5\r\n5\r\nhe\r\n0\r\n\r\n"),
        ("2\r\n\r\n\r\n0\r\n\r\n", "2\r\n\r\n\r\n0\r\n\r\n"),
    ];
    let other =
        other.map(|(body, seen)| chunked(body.as_bytes()).passes("POST /open/x", HEADER, seen));
    hello.into_iter().chain(other).collect()
}
