//! Identity and origin: what only the gateway may say, in every spelling that some upstream reads as it.

use crate::row::{Row, get};
use crate::world::KEY;

/// Lines that claim what they may not; none is seen by the upstream.
pub const CLAIMS: &[&str] = &[
    "x-keyward-key-id: evil",
    "x-keyward-org: evil",
    "x-keyward-workspace: evil",
    "x-keyward-owner: evil",
    "x-keyward-family: evil",
    "x-keyward-anything: evil",
    "X-KEYWARD-ORG: evil",
    "X-Keyward-Org: evil",
    "x_keyward_org: evil",
    "X_KEYWARD_ORG: evil",
    "x-keyward_org: evil",
    "x_keyward-org: evil",
    "x.keyward.org: evil",
    "x.keyward_org: evil",
    "x-keyward-org: ",
    "x-keyward-: evil",
    "x-keyward-org-: evil",
    "x-prismeai-org-id: evil",
    "x-prismeai-user-id: evil",
    "X-PrismeAI-User-Id: evil",
    "x_prismeai_user_id: evil",
    "X_Prismeai-user.Id: evil",
    "x.prismeai.user.id: evil",
    "x-prismeai-token: evil",
    "x-prismeai-session-id: evil",
    "x-prismeai-: evil",
    "x-prismeai_csrf_token: evil",
    "x-prismeai-api-key-: evil",
    "x-forwarded-for: evil",
    "X-FORWARDED-FOR: 1.2.3.4",
    "x_forwarded_for: evil",
    "x.forwarded.for: evil",
    "x-forwarded-host: evil",
    "x_forwarded_host: evil",
    "x-forwarded-proto: evil",
    "x-forwarded-port: 1",
    "x-forwarded-prefix: /admin",
    "x-forwarded-uri: /admin",
    "x-forwarded-path: /admin",
    "x-forwarded-method: DELETE",
    "x-forwarded-server: evil",
    "x-forwarded-scheme: https",
    "x-forwarded-ssl: on",
    "x-forwarded-user: evil",
    "x_forwarded_user: evil",
    "x-forwarded-email: evil",
    "x-forwarded-groups: evil",
    "x-forwarded-client-cert: evil",
    "x-forwarded-anything: evil",
    "x-forwarded: for=evil",
    "forwarded: for=evil",
    "Forwarded: for=1.2.3.4;host=evil;proto=https",
    "x-real-ip: evil",
    "X_Real_IP: evil",
    "x-client-ip: evil",
    "x-cluster-client-ip: evil",
    "true-client-ip: evil",
    "cf-connecting-ip: evil",
    "cf-connecting-ipv6: evil",
    "client-ip: evil",
    "Client_IP: evil",
    "fastly-client-ip: evil",
    "fly-client-ip: evil",
    "forwarded-for: evil",
    "front-end-https: on",
    "proxy-client-ip: evil",
    "wl-proxy-client-ip: evil",
    "x-appengine-user-ip: evil",
    "x-azure-clientip: evil",
    "x-azure-socketip: evil",
    "x-originating-ip: evil",
    "x-remote-addr: evil",
    "x-remote-ip: evil",
    "x-scheme: https",
    "x-url-scheme: https",
    "x-vercel-forwarded-for: evil",
    "x-original-url: /admin",
    "X-Original-URL: /admin/x",
    "x_original_url: /admin",
    "x-original-uri: /admin",
    "x-original-method: DELETE",
    "x-original-host: evil",
    "x-original-forwarded-for: evil",
    "x-rewrite-url: /admin",
    "X_Rewrite_Url: /admin",
    "x-http-method-override: DELETE",
    "X-HTTP-Method: DELETE",
    "x_http_method_override: DELETE",
    "x-method-override: DELETE",
    "x-http-host-override: evil",
    "x-http-path-override: /admin",
    "x-override-url: /admin",
    "x-host: evil",
    "x-envoy-original-path: /admin",
    "x-envoy-external-address: evil",
    "x-envoy-decorator-operation: evil",
    "proxy: http://evil",
    "x_correlation_id: evil",
    "x.correlation-id: evil",
];

/// Lines that look like those and are nobody's claim.
pub const OWN: &[&str] = &[
    "x-prismeai-csrf-token: mine",
    "x-keywards: mine",
    "x-keyward: mine",
    "keyward-org: mine",
    "x-prismeaix: mine",
    "prismeai-user-id: mine",
    "xx-forwarded-for: mine",
    "x-forwardedfor: mine",
    "host-x: mine",
    "x-request-id: mine",
    "via: 1.1 mine",
    "origin: http://mine",
    "referer: http://mine/admin",
    "x-csrf-token: mine",
];

pub fn rows() -> Vec<Row> {
    let key = format!("x-prismeai-api-key: {KEY}");
    let known = CLAIMS
        .iter()
        .map(|claim| get("/public/x", &[claim, &key]).passes_known("GET /public/x", &[], b""));
    let open = CLAIMS
        .iter()
        .map(|claim| get("/open/x", &[claim]).passes("GET /open/x", &[], b""));
    let own = OWN
        .iter()
        .map(|line| get("/open/x", &[line]).passes("GET /open/x", &[line], b""));
    let mut rows: Vec<Row> = known.chain(open).chain(own).collect();
    let all: Vec<&str> = CLAIMS.iter().copied().take(90).collect();
    rows.push(get("/open/x", &all).passes("GET /open/x", &[], b""));
    // Twice is no better than once, and neither is a value that no text is.
    rows.push(
        get("/public/x", &["x-keyward-org: a", "x-keyward-org: b", &key]).passes_known(
            "GET /public/x",
            &[],
            b"",
        ),
    );
    // A claim does not choose the route, the method or the host.
    for claim in [
        "X-HTTP-Method-Override: PATCH",
        "X-Original-URL: /open/x",
        "X-Rewrite-URL: /open/x",
        "X-Forwarded-Uri: /open/x",
        "X-Envoy-Original-Path: /open/x",
    ] {
        rows.push(get("/admin/x", &[claim, &key]).refused_open(403, "missing_permission"));
    }
    rows
}
