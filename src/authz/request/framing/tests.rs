//! Tests of framing: one head that is right, and every way to spoil it.

use super::*;

type Line = (&'static str, &'static str);

fn check(
    method: &str,
    target: &str,
    minor_version: u8,
    lines: &[Line],
) -> Result<(), FramingError> {
    let headers: Vec<_> = lines
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()))
        .collect();
    check_framing(&HeadView {
        method: method.as_bytes(),
        target: target.as_bytes(),
        minor_version,
        headers: &headers,
    })
}

fn post(lines: &[Line]) -> Result<(), FramingError> {
    let mut headers: Vec<Line> = vec![("Host", "gw")];
    headers.extend(lines);
    check("POST", "/a", 1, &headers)
}

#[test]
fn ordinary_heads_pass() {
    for lines in [
        [].as_slice(),
        &[("Content-Length", "0")],
        &[("content-length", " 18446744073709551 ")],
        &[("Transfer-Encoding", "chunked")],
        &[("Connection", "keep-alive, TE"), ("connection", "close")],
        &[("X-Value", "tab\there \u{e9}")],
        &[("X_Under_Score.dot", "")],
        &[("Connection", "Upgrade"), ("Upgrade", "websocket")],
        &[
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Content-Length", "0"),
        ],
        &[
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
            ("Content-Length", "5"),
        ],
    ] {
        assert_eq!(post(lines), Ok(()), "{lines:?}");
    }
    assert_eq!(
        check("GET", "http://gw:80/a?", 1, &[("HOST", "GW:80")]),
        Ok(())
    );
    assert_eq!(check("M-SEARCH", "/", 0, &[("Host", "[::1]:8080")]), Ok(()));
    assert_eq!(
        check("POST", "/", 0, &[("Host", "gw"), ("Content-Length", "3")]),
        Ok(())
    );
}

#[test]
fn the_length_is_stated_once_and_in_one_way() {
    for lines in [
        [("Content-Length", "5"), ("Content-Length", "5")].as_slice(),
        &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
        &[
            ("Transfer-Encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ],
        &[("Content-Length", "5, 5")],
        &[("Content-Length", "")],
        &[("Content-Length", "+5")],
        &[("Content-Length", "-5")],
        &[("Content-Length", "05")],
        &[("Content-Length", "0x5")],
        &[("Content-Length", "5 5")],
        &[("Content-Length", "18446744073709551616")],
        &[("Content_Length", "5")],
        &[("Transfer-Encoding", "")],
        &[("Transfer-Encoding", "Chunked")],
        &[("Transfer-Encoding", "identity, chunked")],
        &[("Transfer-Encoding", "chunked, chunked")],
        &[("Transfer-Encoding", ",chunked")],
        &[("Transfer-Encoding", "gzip, chunked")],
        &[("Transfer-Encoding", "gzip")],
        &[("Transfer-Encoding", "chunked;a=")],
        &[("Transfer_Encoding", "chunked")],
        &[("Transfer.Encoding", "chunked")],
        &[("Transfer-Encoding\t", "chunked")],
    ] {
        assert!(post(lines).is_err(), "{lines:?}");
    }
    let old = [("Host", "gw"), ("Transfer-Encoding", "chunked")];
    assert!(check("POST", "/", 0, &old).is_err());
}

#[test]
fn there_is_exactly_one_host() {
    for headers in [
        [].as_slice(),
        &[("Host", "gw"), ("host", "gw")],
        &[("Host", "")],
        &[("Host", "a, ")],
        &[("Host", "gw.")],
        &[("Host", "gw/admin")],
        &[("Host", "gw:80:90")],
        &[("Host", "[::1")],
        &[("Host", "gw\u{e9}")],
    ] {
        assert!(check("GET", "/a", 1, headers).is_err(), "{headers:?}");
    }
}

#[test]
fn a_hop_may_be_told_to_drop_only_its_own() {
    for value in [
        "",
        "close,",
        "x-keyward-org",
        "close, authorization",
        "keep-alive;x",
        "te, X-Forwarded-For",
        "close keep-alive",
    ] {
        assert!(post(&[("Connection", value)]).is_err(), "{value}");
    }
}

#[test]
fn an_upgrade_comes_without_a_body() {
    for lines in [
        [("Upgrade", "websocket"), ("Content-Length", "5")].as_slice(),
        &[("Upgrade", "foo"), ("Transfer-Encoding", "chunked")],
        &[
            ("Upgrade", "h2c"),
            ("Upgrade", "websocket"),
            ("Content-Length", "5"),
        ],
        &[("Upgrade", "h2c, websocket"), ("Content-Length", "5")],
    ] {
        assert!(post(lines).is_err(), "{lines:?}");
    }
}

#[test]
fn names_and_values_are_clean() {
    for name in ["", "X ", " X", "X Y", "X\t", "X\u{e9}", "X:", "(X)", "X\0"] {
        let headers = [("Host", b"gw".as_slice()), (name, b"1")];
        let head = HeadView {
            method: b"GET",
            target: b"/",
            minor_version: 1,
            headers: &headers,
        };
        assert!(check_framing(&head).is_err(), "{name:?}");
    }
    for byte in 0..=u8::MAX {
        let value = [b'a', byte, b'b'];
        let headers = [("Host", b"gw".as_slice()), ("X", value.as_slice())];
        let head = HeadView {
            method: b"GET",
            target: b"/",
            minor_version: 1,
            headers: &headers,
        };
        let clean = byte == b'\t' || !byte.is_ascii_control();
        assert_eq!(check_framing(&head).is_ok(), clean, "{byte:#x}");
    }
}

#[test]
fn the_request_line_is_one_that_nobody_rewrites() {
    let host: &[Line] = &[("Host", "gw")];
    for (method, target) in [
        ("", "/"),
        ("GE T", "/"),
        ("G\u{e9}T", "/"),
        ("GET:", "/"),
        ("CONNECT", "gw:443"),
        ("CONNECT", "/"),
        ("OPTIONS", "*"),
        ("GET", ""),
        ("GET", "admin/x"),
        ("GET", "?/admin"),
        ("GET", "http://other/"),
        ("GET", "ws://gw/"),
        ("GET", "/a "),
        ("GET", "/a\u{e9}"),
        ("GET", "/a#"),
        ("GET", "/a?b#c"),
        ("GET", "/a?b c"),
        ("GET", "/a\\"),
        ("GET", "/a\0"),
    ] {
        assert!(check(method, target, 1, host).is_err(), "{method} {target}");
    }
    assert!(check("GET", "/", 2, host).is_err());
}
