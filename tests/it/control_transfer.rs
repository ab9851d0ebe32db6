//! Keys of all families in and out, a line each.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use keyward::authz::{KeyStatus, PresentedKey, Revision, Tenant};
use keyward::control::RawKey;
use keyward::wire::SecretDigest;
use serde_json::{Value, json};

use super::plane;
use crate::control_support::{ADMIN, Answer, Plane, call};

const UUID: &str = "0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";
const ACCESS: &str = "sk-orq-01HZXK3QW8Y5T2R9V7B6N4M1PC-0123456789abcdef";

fn org_line(slug: &str, token: &str) -> Value {
    json!({
        "family": "org", "org": "acme", "slug": slug, "name": "CI", "token": token,
        "permissions": ["agents:*"], "scopes": ["*"], "expiresAt": "2030-01-01T00:00:00Z",
    })
}

fn org_token(plane: &Plane) -> String {
    let acme = Tenant::Org("acme".to_owned());
    let raw = RawKey::of(&acme, plane.clock.now()).unwrap();
    raw.expose().to_owned()
}

fn workspace_line() -> Value {
    json!({
        "family": "workspace", "workspace": "w1", "name": "pages", "token": UUID,
        "rules": [{"action": "read", "subject": "pages", "conditions": {"id": "p1"}}],
    })
}

fn access_line() -> Value {
    json!({
        "family": "access", "name": "model", "token": ACCESS, "permission_mode": "restricted",
        "access": {"deployment": "read"}, "expires_at": "2030-01-01T00:00:00Z",
        "owner": {"type": "user", "user_id": "u1"}, "project_scope": {"mode": "single", "project_id": "p1"},
    })
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn send(plane: &Plane, query: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {ADMIN}");
    let headers = [("authorization", bearer.as_str())];
    let path = format!("/v1/import{query}");
    call(plane.address, "POST", &path, &headers, body.as_bytes())
}

fn import(plane: &Plane, lines: &[Value]) -> Value {
    let answer = send(plane, "", &text(lines));
    assert_eq!(answer.status, 200, "{}", answer.raw);
    assert_eq!(answer.body["revision"], json!(answer.revision()));
    answer.body
}

fn export(plane: &Plane) -> Vec<Value> {
    let answer = plane.admin("GET", "/v1/export", None);
    assert_eq!(answer.status, 200, "{}", answer.raw);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    // The lengths of the pieces stand between them, and a piece is whole lines.
    let lines = answer.raw.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What the first refusal of a report says: line, field, problem.
fn refusal(report: &Value) -> (u64, &str, &str) {
    let first = &report["refusals"][0];
    let text = |name: &str| first[name].as_str().unwrap();
    (
        first["line"].as_u64().unwrap(),
        text("field"),
        text("problem"),
    )
}

#[test]
fn keys_of_all_families_are_made_as_one_change() {
    let plane = plane();
    let token = org_token(&plane);
    let lines = [org_line("ci", &token), workspace_line(), access_line()];
    let report = import(&plane, &lines);
    let expected = json!({
        "lines": 3, "created": 3, "unchanged": 0, "refused": 0, "refusals": [], "revision": 1,
    });
    assert_eq!(report, expected);
    let changes = plane.sink.changes.lock().unwrap();
    assert_eq!((changes.len(), changes[0].put.len()), (1, 3));
    assert_eq!(changes[0].revision, Revision(1));
    for (entry, token) in changes[0].put.iter().zip([token.as_str(), UUID, ACCESS]) {
        let key = PresentedKey::parse(token.as_bytes()).unwrap();
        let config = crate::control_support::config(plane.directory());
        let digest = key.digest(config.pepper.as_ref());
        assert_eq!(entry.secrets[0].digest, SecretDigest::Blake3(digest));
        assert_eq!(entry.record.status, KeyStatus::Active);
    }
    assert_eq!(
        changes[0].put[2].record.id.as_str(),
        "01HZXK3QW8Y5T2R9V7B6N4M1PC"
    );
    drop(changes);

    let validated = plane.with_key(&token, "POST", "/v2/orgs/acme/api-keys/validate", None);
    assert_eq!(validated.status, 200);
    let audit = plane.audit();
    let [entry] = audit.as_slice() else {
        panic!("{audit:?}")
    };
    assert_eq!(
        (&entry["action"], &entry["actor"]),
        (&json!("import"), &json!("admin"))
    );
    let after: Value = serde_json::from_str(entry["after_state"].as_str().unwrap()).unwrap();
    assert_eq!(after[1]["tenant"], json!("w1"));
    assert_eq!(after[0]["grants"]["permissions"], json!(["agents:*"]));
    assert!(!format!("{audit:?}").contains(UUID));
}

#[test]
fn an_import_can_be_run_again() {
    let plane = plane();
    let lines = [
        org_line("ci", &org_token(&plane)),
        workspace_line(),
        access_line(),
    ];
    import(&plane, &lines);
    // Also when they have expired since.
    plane.clock.advance(20 * 365 * 86_400);
    let again = import(&plane, &lines);
    assert_eq!(again["unchanged"], json!(3));
    assert_eq!(
        (&again["created"], &again["revision"]),
        (&json!(0), &json!(1))
    );
    let twice = [workspace_line(), workspace_line()];
    assert_eq!(import(&plane, &twice)["unchanged"], json!(2));
    assert_eq!(plane.audit().len(), 1);
}

#[test]
fn a_secret_that_was_rotated_away_is_not_there_unchanged() {
    let plane = plane();
    let lines = [org_line("ci", &org_token(&plane))];
    import(&plane, &lines);
    let rotated = plane.admin("POST", "/v2/orgs/acme/api-keys/ci/rotate", None);
    assert_eq!(rotated.status, 200, "{}", rotated.raw);
    let report = import(&plane, &lines);
    let (line, field, problem) = refusal(&report);
    assert_eq!((line, field), (1, "token"), "{problem}");
    assert_eq!(report["unchanged"], json!(0));
}

#[test]
fn a_digest_is_as_good_as_the_token() {
    let plane = plane();
    let token = org_token(&plane);
    let hash = blake3::hash(token.as_bytes()).to_hex().to_string();
    let mut line = org_line("ci", "");
    line.as_object_mut().unwrap().remove("token");
    line["digest"] = json!(format!("blake3:{hash}"));
    assert_eq!(
        import(&plane, std::slice::from_ref(&line))["created"],
        json!(1)
    );
    let validate = || plane.with_key(&token, "POST", "/v2/orgs/acme/api-keys/validate", None);
    assert_eq!(validate().status, 200);
    let report = import(&plane, &[org_line("ci", &token)]);
    assert_eq!(report["unchanged"], json!(1));

    // By SHA-256 too, whichever of both comes first.
    let sha256 = PresentedKey::parse(UUID.as_bytes()).unwrap().sha256();
    let hex: String = sha256.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut line = workspace_line();
    line.as_object_mut().unwrap().remove("token");
    line["digest"] = json!(format!("sha256:{hex}"));
    assert_eq!(import(&plane, &[line])["created"], json!(1));
    assert_eq!(import(&plane, &[workspace_line()])["unchanged"], json!(1));
}

#[test]
fn a_refused_line_is_named_and_stops_the_import() {
    let plane = plane();
    let (first, second, third) = (org_token(&plane), org_token(&plane), org_token(&plane));
    let mut bad = org_line("b", &second);
    bad["permissions"] = json!(["*:x"]);
    let lines = [org_line("a", &first), bad, org_line("c", &third)];
    let report = import(&plane, &lines);
    assert_eq!(report["stopped_at"], json!(2));
    assert_eq!(
        (&report["created"], &report["refused"]),
        (&json!(1), &json!(1))
    );
    assert_eq!((refusal(&report).0, refusal(&report).1), (2, "permissions"));
    let slugs: Vec<_> = export(&plane)
        .iter()
        .map(|key| key["slug"].clone())
        .collect();
    assert_eq!(
        slugs,
        [json!("a")],
        "the lines before it are imported, and no other"
    );

    let skipped = send(&plane, "?on_refusal=skip", &text(&lines)).body;
    assert_eq!(skipped.get("stopped_at"), None);
    assert_eq!(
        (
            &skipped["created"],
            &skipped["unchanged"],
            &skipped["refused"]
        ),
        (&json!(1), &json!(1), &json!(1))
    );
    let bad_query = send(&plane, "?on_refusal=ask", "");
    assert_eq!(
        bad_query.refused(400, "BadParameters")["field"],
        json!("on_refusal")
    );
}

/// Sends lines one by one, each of which is refused for the field beside it; then all of them at once.
fn each_is_refused(plane: &Plane, cases: &[(String, &str)]) {
    for (line, field) in cases {
        let report = send(plane, "", line).body;
        let (number, at, _) = refusal(&report);
        assert_eq!((number, at), (1, *field), "{line}: {report}");
        assert_eq!(report["stopped_at"], json!(1));
        assert!(!report.to_string().contains(UUID), "{report}");
    }
    let all: Vec<&str> = cases.iter().map(|(line, _)| line.as_str()).collect();
    let report = send(plane, "?on_refusal=skip", &all.join("\n")).body;
    assert_eq!(report["refused"], json!(all.len()));
}

/// A line with members put in place of its own; `null` takes one away.
fn with(mut line: Value, changes: Value) -> String {
    for (name, value) in changes.as_object().unwrap() {
        line[name] = value.clone();
    }
    let members = line.as_object_mut().unwrap();
    members.retain(|_, value| !value.is_null());
    line.to_string()
}

#[test]
fn what_is_wrong_with_the_frame_of_a_line_is_named() {
    let plane = plane();
    let org = |changes| with(org_line("new", &org_token(&plane)), changes);
    let cases = [
        ("no json".to_owned(), "line"),
        ("[]".to_owned(), "line"),
        ("{}".to_owned(), "family"),
        (r#"{"family":"org","family":"org"}"#.to_owned(), "family"),
        (org(json!({"family": "user"})), "family"),
        (org(json!({"family": 1})), "family"),
        (org(json!({"org": "ACME"})), "org"),
        (org(json!({"workspace": "w1"})), "workspace"),
        (org(json!({"status": "gone"})), "status"),
        (org(json!({"token": UUID})), "token"),
        (org(json!({"token": format!("iak_other_{UUID}")})), "token"),
        (org(json!({"token": null})), "token"),
        (org(json!({"digest": "blake3:00"})), "digest"),
        (org(json!({"token": null, "digest": "blake3:00"})), "digest"),
        (
            with(workspace_line(), json!({"workspace": ".."})),
            "workspace",
        ),
        (
            with(
                workspace_line(),
                json!({"disabled": true, "status": "active"}),
            ),
            "status",
        ),
        (with(access_line(), json!({"org": "acme"})), "org"),
    ];
    each_is_refused(&plane, &cases);
    assert_eq!(plane.control.keys().revision(), Revision(0));
}

#[test]
fn what_is_wrong_with_a_key_of_an_import_is_named() {
    let plane = plane();
    let token = org_token(&plane);
    import(&plane, &[org_line("taken", &token), access_line()]);
    let org = |changes| with(org_line("new", &org_token(&plane)), changes);
    let rule = |rule: Value| with(workspace_line(), json!({"rules": [rule]}));
    let elsewhere =
        json!({"action": "read", "subject": "pages", "conditions": {"workspaceId": "w2"}});
    let another = ACCESS.replace("0123456789abcdef", "another");
    let cases = [
        (org(json!({"surprise": 1})), "surprise"),
        (org(json!({"scopes": ["a", 1]})), "scopes[1]"),
        (
            org(json!({"expiresAt": "2020-01-01T00:00:00Z"})),
            "expiresAt",
        ),
        (org(json!({"expiresAt": null})), "expiresAt"),
        (org(json!({"slug": "taken"})), "slug"),
        (
            org(json!({"token": token, "permissions": ["a:b"]})),
            "token",
        ),
        (with(access_line(), json!({"token": another})), "token"),
        (
            with(access_line(), json!({"access": {"file": "read"}})),
            "token",
        ),
        (rule(json!({"action": [], "subject": "pages"})), "rules[0]"),
        (rule(elsewhere), "rules[0].conditions.workspaceId"),
    ];
    each_is_refused(&plane, &cases);
    assert_eq!(plane.control.keys().revision(), Revision(1));
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let plane = plane();
    let token = org_token(&plane);
    let misplaced = [
        json!({"family": token}),
        json!({"family": "org", "org": token}),
        json!({"family": "org", "org": "acme", "name": "n", token.as_str(): 1}),
        json!({"family": "org", "org": "acme", "name": "n", "slug": "s", "permissions": token}),
    ];
    let report = send(&plane, "?on_refusal=skip", &text(&misplaced));
    assert_eq!(report.body["refused"], json!(4));
    assert!(!report.raw.contains(&token), "{}", report.raw);
}

#[test]
fn lines_are_limited_and_bodies_are_not() {
    let plane = plane();
    let name = "n".repeat(70_000);
    let overlong = json!({"family": "org", "name": name}).to_string();
    let good = org_line("a", &org_token(&plane)).to_string();
    // More than any other body may have, without an end of the last line, and with blank lines.
    let blank = " \r\n".repeat(400_000);
    let body = format!("\n{overlong}\n{blank}{good}");
    let report = send(&plane, "?on_refusal=skip", &body).body;
    assert_eq!(
        (&report["lines"], &report["created"]),
        (&json!(2), &json!(1))
    );
    let (line, field, problem) = refusal(&report);
    assert_eq!((line, field), (2, "line"));
    assert!(problem.contains("65536"), "{problem}");

    let refused = vec!["{}\n"; 250].concat();
    let report = send(&plane, "?on_refusal=skip", &refused).body;
    assert_eq!(report["refused"], json!(250));
    assert_eq!(report["refusals"].as_array().unwrap().len(), 100);
}

#[test]
fn a_thousand_lines_are_a_transaction() {
    let plane = plane();
    let lines: Vec<_> = (0..2500)
        .map(|i| org_line(&format!("k{i}"), &org_token(&plane)))
        .collect();
    let report = import(&plane, &lines);
    assert_eq!(
        (&report["created"], &report["revision"]),
        (&json!(2500), &json!(3))
    );
    let changes = plane.sink.changes.lock().unwrap();
    let sizes: Vec<_> = changes.iter().map(|change| change.put.len()).collect();
    assert_eq!(sizes, [1000, 1000, 500]);
    drop(changes);
    assert_eq!(plane.audit().len(), 3);
    assert_eq!(export(&plane).len(), 2500);
}

#[test]
fn what_was_received_whole_before_a_body_breaks_off_is_imported() {
    let plane = plane();
    let lines: Vec<_> = (0..1001)
        .map(|i| org_line(&format!("k{i}"), &org_token(&plane)))
        .collect();
    let body = text(&lines);
    let mut stream = TcpStream::connect(plane.address).unwrap();
    let head = format!(
        "POST /v1/import HTTP/1.1\r\nhost: control\r\nauthorization: Bearer {ADMIN}\r\ncontent-length: {}\r\n\r\n",
        body.len() + 1
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    _ = stream.read_to_end(&mut Vec::new());
    // The answer, if there is one, does not wait for the batch.
    while plane.control.keys().revision() < Revision(1) {
        std::thread::yield_now();
    }
    assert_eq!(export(&plane).len(), 1000);
}

#[test]
fn only_an_administrator_moves_keys_in_and_out() {
    let plane = plane();
    let body = json!({"slug": "s", "name": "n", "permissions": ["*"], "expiresAt": "2030-01-01T00:00:00Z"});
    let (_, key) = plane.create("acme", body);
    for (method, path) in [("POST", "/v1/import"), ("GET", "/v1/export")] {
        plane
            .with_key(&key, method, path, None)
            .refused(403, "ForbiddenError");
        plane
            .call(method, path, &[], None)
            .refused(401, "AuthenticationError");
    }
}

#[test]
fn an_export_has_no_secret_and_becomes_an_import_when_it_is_given_them() {
    let plane = plane();
    let tokens = [org_token(&plane), UUID.to_owned(), ACCESS.to_owned()];
    let mut org = org_line("ci", &tokens[0]);
    org["ownerType"] = json!("agent");
    org["ownerId"] = json!("a1");
    org["status"] = json!("disabled");
    let mut workspace = workspace_line();
    workspace["expiresAt"] = json!("2031-01-01T00:00:00Z");
    let mut access = access_line();
    access["status"] = json!("revoked");
    import(&plane, &[org, workspace, access]);
    let exported = export(&plane);
    let raw = format!("{exported:?}");
    for secret in [
        "0123456789abcdef",
        UUID,
        tokens[0].rsplit('_').next().unwrap(),
    ] {
        assert!(!raw.contains(secret), "{raw}");
    }
    assert_eq!(exported[0]["status"], json!("disabled"));
    assert_eq!(exported[1]["expiresAt"], json!("2031-01-01T00:00:00.000Z"));
    assert_eq!(exported[2]["status"], json!("revoked"));

    let mut lines = exported.clone();
    for (line, token) in lines.iter_mut().zip(&tokens) {
        line["token"] = json!(token);
    }
    assert_eq!(import(&plane, &lines)["unchanged"], json!(3));
    let elsewhere = super::plane();
    assert_eq!(import(&elsewhere, &lines)["created"], json!(3));
    assert_eq!(export(&elsewhere), exported);
}
