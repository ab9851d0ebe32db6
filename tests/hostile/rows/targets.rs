//! Targets: which paths there are two readings of, and what is seen of those that have one.

use crate::row::{Row, get, raw};
use crate::world::KEY;

/// Paths in front of which some server would see another one. `K` may use `/public` and not `/admin`.
pub const CONFUSED: &[&str] = &[
    "/public/../admin/x",
    "/public/./../admin/x",
    "/public/..",
    "/public/../",
    "/public/.",
    "/public/./x",
    "/public/x/..",
    "/public/x/.",
    "/public/x/./",
    "/../admin/x",
    "/./admin/x",
    "/..",
    "/.",
    "//admin/x",
    "///admin/x",
    "//",
    "/public//../admin/x",
    "/public//x",
    "/public/x//",
    "/public/x//y",
    "/public/%2e%2e/admin/x",
    "/public/%2E%2E/admin/x",
    "/public/%2e./admin/x",
    "/public/.%2e/admin/x",
    "/public/.%2E/admin/x",
    "/public/%2e/x",
    "/public/%2e",
    "/%2e%2e/admin/x",
    "/public%2f..%2fadmin/x",
    "/public%2F..%2Fadmin/x",
    "/public%2f../admin/x",
    "/public/..%2fadmin/x",
    "/public/x%2fy",
    "/public/x%2F",
    "/public/%2f",
    "/%2fadmin/x",
    "/public%5c..%5cadmin/x",
    "/public/%5C",
    "/public/..%5cadmin",
    "/public\\..\\admin/x",
    "/public/x\\y",
    "\\admin\\x",
    "/public/%252e%252e/admin/x",
    "/public/%252E%252e/admin/x",
    "/public/%252fadmin",
    "/public/%255cadmin",
    "/public/%2525",
    "/public/%25%32%65",
    "/public/%2541",
    "/public/%25aF",
    "/public/..;/admin/x",
    "/public/..;x=y/admin/x",
    "/public/;/../admin/x",
    "/public/x;y",
    "/public/x;jsessionid=1",
    "/public;x/y",
    "/admin;x=1/x",
    "/public/%3b",
    "/public/x%3By",
    "/public/.%3b/x",
    "/public/..%00/admin/x",
    "/public/x%00",
    "/public/x%00.html",
    "/public/x%0a",
    "/public/x%0d%0aHost:%20evil",
    "/public/x%09",
    "/public/x%1f",
    "/public/x%7f",
    "/public/x%7F",
    "/public/%",
    "/public/%2",
    "/public/%g0",
    "/public/%0g",
    "/public/%%",
    "/public/%2%65",
    "/public/%u002e%u002e/admin",
    "/public/%c0%ae%c0%ae/admin/x",
    "/public/%c0%af",
    "/public/%e0%80%af",
    "/public/%f0%80%80%af",
    "/public/%c1%9c",
    "/public/%ff",
    "/public/%fe%ff",
    "/public/%ed%a0%80",
    "/public/%80",
    "/public/x#y",
    "/public/#/../admin/x",
    "/admin#x",
    "/public/x?a#b",
    "/public/x\"",
    "/public/<x>",
    "/public/x^y",
    "/public/x`y",
    "/public/{x}",
    "/public/x|y",
];

/// Forms that are no path.
const NO_PATHS: &[&str] = &[
    "admin/x",
    "public/x",
    "x",
    "?x",
    "?/admin/x",
    "gw.test/public/x",
    "gw.test:80",
    "http:/public/x",
    "http:///public/x",
    "http://",
    "http:public/x",
    "http//gw.test/public/x",
    "http://other.test/public/x",
    "http://gw.test.evil/public/x",
    "http://gw.test:81/public/x",
    "http://gw.test:80/public/x",
    "http://user@gw.test/public/x",
    "http://user:pass@gw.test/public/x",
    "http://gw.test@evil/public/x",
    "http://gw.test:/public/x",
    "http://gw.test\\public/x",
    "http://gw.test#/public/x",
    "http://gw.test;/public/x",
    "http://[gw.test]/public/x",
    "https://other.test/public/x",
    "ftp://gw.test/public/x",
    "ws://gw.test/public/x",
    "file:///public/x",
    "javascript:alert(1)",
    "@evil/public/x",
    ":80/public/x",
];

/// Forms of one meaning, and what is seen of them.
pub const SEEN: &[(&str, &str)] = &[
    ("/open/x", "/open/x"),
    ("/open/x/", "/open/x/"),
    ("/open/%78", "/open/x"),
    ("/open/%41%7a%30", "/open/Az0"),
    ("/%6fpen/x", "/open/x"),
    ("/open/%7e%2d%5f", "/open/~-_"),
    ("/open/x%2ey", "/open/x.y"),
    ("/open/..x", "/open/..x"),
    ("/open/x..", "/open/x.."),
    ("/open/...", "/open/..."),
    ("/open/%2e%2e%2e", "/open/..."),
    ("/open/.x", "/open/.x"),
    ("/open/%c3%a9", "/open/%C3%A9"),
    ("/open/%C3%a9", "/open/%C3%A9"),
    ("/open/%20", "/open/%20"),
    ("/open/%22%3c%3e", "/open/%22%3C%3E"),
    ("/open/%25", "/open/%25"),
    ("/open/%25zz", "/open/%25zz"),
    ("/open/%25/%41", "/open/%25/A"),
    ("/open/%23%3f", "/open/%23%3F"),
    ("/open/a:b@c", "/open/a:b@c"),
    ("/open/!$&'()*+,=", "/open/!$&'()*+,="),
    ("/open/a[b]", "/open/a[b]"),
    ("/open/%e2%80%ae", "/open/%E2%80%AE"),
    ("/open/%f0%9f%92%a9", "/open/%F0%9F%92%A9"),
    ("http://gw.test/open/x", "/open/x"),
    ("HTTP://GW.TEST/open/x", "/open/x"),
    ("https://gw.test/open/x?y", "/open/x?y"),
    ("http://gw.test/open/%78?y=%2f", "/open/x?y=%2f"),
    ("/open/x?", "/open/x?"),
    ("/open/x??", "/open/x??"),
    ("/open/x?a=b&a=c", "/open/x?a=b&a=c"),
    ("/open/x?/../admin", "/open/x?/../admin"),
    ("/open/x?//admin;x", "/open/x?//admin;x"),
    ("/open/x?q=%00%0d%0a", "/open/x?q=%00%0d%0a"),
    ("/open/x?q=%zz", "/open/x?q=%zz"),
    ("/open/x?q=\\", "/open/x?q=\\"),
    ("/open/x?q=<>\"", "/open/x?q=%3C%3E%22"),
    ("/open/x?http://evil/", "/open/x?http://evil/"),
    ("/files/a%2fb", "/files/a%2Fb"),
    ("/files/a%2F", "/files/a%2F"),
    ("/matrix/a;b=c", "/matrix/a;b=c"),
    ("/matrix/a%3bb", "/matrix/a%3Bb"),
];

/// What even an opt-out does not let through.
pub const NOT_EVEN_THERE: &[&str] = &[
    "/files/a%2f..%2fb",
    "/files/..%2fadmin",
    "/files/%2e%2e%2fadmin",
    "/files/a%2f%2fb",
    "/files/%2fa",
    "/files/a;b",
    "/files/a%5cb",
    "/matrix/..;a",
    "/matrix/a;..",
    "/matrix/a;;b",
    "/matrix/;a",
    "/matrix/.%3ba",
    "/matrix/a%2fb",
];

pub fn rows() -> Vec<Row> {
    let key = format!("x-prismeai-api-key: {KEY}");
    let confused = CONFUSED.iter().map(|path| {
        let row = get(path, &[&key]);
        // What no head may hold ends the connection; what a path may not hold is known to be the path's alone.
        if has_wild_byte(path) || !path.starts_with('/') {
            row.malformed()
        } else {
            row.not_canonical()
        }
    });
    let no_paths = NO_PATHS.iter().map(|target| get(target, &[]).malformed());
    let seen = SEEN
        .iter()
        .map(|(target, seen)| get(target, &[]).passes(&format!("GET {seen}"), &[], b""));
    let not_even = NOT_EVEN_THERE
        .iter()
        .map(|path| get(path, &[]).not_canonical());
    let mut rows: Vec<Row> = confused
        .chain(no_paths)
        .chain(seen)
        .chain(not_even)
        .collect();
    rows.extend(bytes());
    rows.extend(routes(&key));
    rows
}

/// Bytes that the request line may not hold outside a query, and `#` and spaces in it either.
fn has_wild_byte(path: &str) -> bool {
    path.contains(['\\', '#', '"', '<', '>', '^', '`', '{', '|', '}'])
}

/// Each byte that is in no target, where it could be taken for the end of one.
fn bytes() -> Vec<Row> {
    let controls = (0..0x20_u8).chain([0x7f]);
    let above = [0x80, 0xa0, 0xc3, 0xff];
    controls
        .chain(above)
        .filter(|byte| !matches!(byte, b'\n' | b'\r'))
        .map(|byte| {
            let head = [
                &b"GET /open/a"[..],
                &[byte],
                b"b HTTP/1.1\r\nHost: gw.test\r\n\r\n",
            ];
            raw(head.concat()).malformed()
        })
        .collect()
}

/// Literals are what they are: another case, slash or encoding is another path.
fn routes(key: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for path in [
        "/PUBLIC/x",
        "/Public/x",
        "/public",
        "/public/",
        "/openx",
        "/",
        "/publi%63",
        "/o%70en",
    ] {
        rows.push(get(path, &[key]).refused_open(404, "no_route"));
    }
    for path in ["/admin/x", "/%61dmin/x", "/admin/x/", "/admin/%78"] {
        rows.push(get(path, &[key]).refused_open(403, "missing_permission"));
    }
    for agent in ["a2", "A1", "a1%20", "%61%32", "a1:x", "*", "a%2a"] {
        let target = format!("/v1/agents/{agent}");
        rows.push(get(&target, &[key]).refused_open(403, "out_of_scope"));
    }
    for agent in ["a1", "%61%31", "a%31"] {
        let target = format!("/v1/agents/{agent}");
        rows.push(get(&target, &[key]).passes_known("GET /v1/agents/a1", &[], b""));
    }
    for query in [
        "agent=a1&agent=a2",
        "agent=a1&agent[]=a2",
        "agent[]=a1",
        "agent=a1&%61gent=a1",
        "agent=%ff",
    ] {
        let target = format!("/by-query?{query}");
        rows.push(get(&target, &[key]).refused_open(400, "ambiguous_request"));
    }
    for query in ["agent=a2", "AGENT=a1", "x=1", "agent=", "agent=a1%00"] {
        let target = format!("/by-query?{query}");
        rows.push(get(&target, &[key]).refused_open(403, "out_of_scope"));
    }
    for query in [
        "agent=a1",
        "%61gent=%611",
        "x=y;agent=a2&agent=a1",
        "agents=a2&agent=a1",
    ] {
        let target = format!("/by-query?{query}");
        rows.push(get(&target, &[key]).passes_known(&format!("GET {target}"), &[], b""));
    }
    rows
}
