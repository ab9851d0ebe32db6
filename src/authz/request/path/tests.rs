//! Tests of the canonical path: the norm's table, and its one property.

use proptest::prelude::*;

use super::*;

fn canonical(raw: &str) -> Result<String, &'static str> {
    Path::parse(raw.as_bytes())
        .map(|path| path.canonical().to_owned())
        .map_err(|InvalidRequest(detail)| detail)
}

fn segments(raw: &str) -> Vec<String> {
    let path = Path::parse(raw.as_bytes()).unwrap();
    (0..path.len())
        .map(|index| path.segment(index).unwrap().to_owned())
        .collect()
}

#[test]
fn a_canonical_path_stays_and_is_borrowed() {
    for raw in [
        "/",
        "/a",
        "/a/",
        "/v2/orgs/acme/api-keys",
        "/a/b:c@d!$&'()*+,=~-._",
        "/slug%3Aagent/%20%C3%A9",
        "/...",
        "/.a/a./..a",
    ] {
        let path = Path::parse(raw.as_bytes()).unwrap();
        assert_eq!(path.canonical(), raw);
        assert!(matches!(path.canonical, Cow::Borrowed(_)), "{raw}");
        assert_eq!(path.decoded.is_none(), !raw.contains('%'), "{raw}");
    }
}

#[test]
fn escapes_get_their_one_form() {
    for (raw, expected) in [
        ("/%61%2D%2e%5F%7e%30", "/a-._~0"),
        ("/slug%3aagent", "/slug%3Aagent"),
        ("/%c3%A9", "/%C3%A9"),
        ("/a%20b%61c%2bd", "/a%20bac%2Bd"),
        ("/%2E%2e.", "/..."),
        ("/100%25", "/100%25"),
        ("/%25zz", "/%25zz"),
    ] {
        assert_eq!(canonical(raw).as_deref(), Ok(expected), "{raw}");
    }
}

#[test]
fn segments_are_decoded_and_an_encoded_slash_splits_none() {
    assert_eq!(segments("/"), Vec::<String>::new());
    assert_eq!(segments("/a/b"), ["a", "b"]);
    assert_eq!(segments("/a/b/"), ["a", "b"]);
    assert_eq!(segments("/%61/%C3%A9%20/slug%3Ab"), ["a", "é ", "slug:b"]);
    assert_eq!(segments("/x/a%2Fb/c"), ["x", "a/b", "c"]);
    let path = Path::parse(b"/x/a%2Fb/c%3F/").unwrap();
    assert_eq!(path.rest(1), Some("a/b/c?"));
    assert_eq!(path.rest(3), None);
    assert_eq!(path.segment(3), None);
    assert!(path.has_trailing_slash() && path.has_encoded_slash() && !path.has_matrix());
    assert!(Path::parse(b"/a;x=1").unwrap().has_matrix());
    assert!(Path::parse(b"/a%3Bx=1").unwrap().has_matrix());
    let root = Path::parse(b"/").unwrap();
    assert!(root.is_empty() && !root.has_trailing_slash());
}

#[test]
fn bytes_that_must_be_encoded_are_refused() {
    for byte in 0..=u8::MAX {
        let raw = [b'/', b'a', byte, b'b'];
        let taken = matches!(
            byte,
            b'!' | b'$' | b'&'..=b';' | b'=' | b'@' | b'[' | b']' | b'_' | b'~'
        ) || byte.is_ascii_alphanumeric();
        assert_eq!(Path::parse(&raw).is_ok(), taken, "{byte:#x}");
    }
    for raw in ["", "a", "*", "http://gw/", "/a#b", "/a?b", "/a b", "/é"] {
        assert!(canonical(raw).is_err(), "{raw}");
    }
}

#[test]
fn broken_and_forbidden_escapes_are_refused() {
    for raw in [
        "/%",
        "/%4",
        "/%zz",
        "/%%41",
        "/a%",
        "/a%/b",
        "/%5c",
        "/%5C..%5Cadmin",
        "/%00",
        "/%0a",
        "/%1F",
        "/%7f",
        "/%ff",
        "/%C3/%A9",
        "/%C0%AF",
        "/%ED%A0%80",
        "/%2541",
        "/%252e%252e/a",
        "/%25%34%31",
        "/%255c",
        "/%25%32f",
        "/%u002e",
    ] {
        assert!(canonical(raw).is_err(), "{raw}");
    }
}

#[test]
fn dot_and_empty_segments_are_refused_also_under_the_opt_outs() {
    for raw in [
        "//",
        "//a",
        "/a//",
        "/a//b",
        "/.",
        "/..",
        "/./a",
        "/a/..",
        "/a/../b",
        "/a/%2e%2E/b",
        "/.%2e/a",
        "/%2E",
        "/public%2F..%2Fadmin",
        "/a%2F%2Fb",
        "/%2Fa",
        "/a/%2F",
        "/%2F",
        "/a%2f.",
        "/..;x=y/admin",
        "/a;/b",
        "/a;;b",
        "/;a",
        "/a;.",
        "/.;a",
        "/a/;",
        "/a%3B../b",
        "/a%2F/b",
        "/a%2F/",
        "/a;/",
        "/;/",
        "/a%2F;",
    ] {
        assert!(canonical(raw).is_err(), "{raw}");
    }
    for raw in ["/a%2Fb", "/dir%2F", "/a;x=1/b", "/a;", "/a%2F.b", "/...;x"] {
        assert_eq!(canonical(raw).as_deref(), Ok(raw));
    }
}

#[test]
fn an_endless_path_is_refused() {
    let raw = "/a".repeat(Path::BYTES_MAX / 2 + 1);
    assert_eq!(canonical(&raw), Err("the path is too long"));
}

/// Mostly well-formed: plain characters, escapes of every byte, separators.
fn raw_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-zA-Z0-9._~:@!$&'()*+,=-]{1,4}",
        2 => any::<u8>().prop_map(|byte| format!("%{byte:02x}")),
        2 => any::<u8>().prop_map(|byte| format!("%{byte:02X}")),
        2 => any::<char>().prop_map(|character| {
            let mut utf8 = [0; 4];
            let bytes = character.encode_utf8(&mut utf8).bytes();
            bytes.map(|byte| format!("%{byte:02X}")).collect()
        }),
        3 => Just("/".to_owned()),
        1 => Just(";".to_owned()),
        1 => Just("%25".to_owned()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn canonicalising_a_canonical_path_changes_nothing(raw in raw_path()) {
        if let Ok(once) = Path::parse(raw.as_bytes()) {
            let twice = Path::parse(once.canonical().as_bytes()).unwrap();
            prop_assert_eq!(twice.canonical(), once.canonical());
            prop_assert!(matches!(twice.canonical, Cow::Borrowed(_)));
            prop_assert_eq!(twice.decoded(), once.decoded());
            prop_assert_eq!(&twice.ends, &once.ends);
        }
    }

    #[test]
    fn an_accepted_path_holds_what_the_norm_says(raw in raw_path()) {
        if let Ok(path) = Path::parse(raw.as_bytes()) {
            let parts: Vec<&str> = (0..path.len()).map(|index| path.segment(index).unwrap()).collect();
            for piece in parts.iter().flat_map(|segment| segment.split(['/', ';'])) {
                prop_assert!(!matches!(piece, "." | ".."));
            }
            let flags = (path.has_encoded_slash(), path.has_matrix());
            let joined = parts.concat();
            prop_assert_eq!(flags, (joined.contains('/'), joined.contains(';')));
            prop_assert!(!joined.bytes().any(|byte| byte.is_ascii_control() || byte == b'\\'));
            prop_assert_eq!(path.canonical().matches('/').count() > parts.len(),
                path.has_trailing_slash() || path.is_empty());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Path::parse(&raw);
    }
}
