//! Care of the store: a database that was restored, what is forgotten, the audit log over HTTP.

use std::fs;

use keyward::authz::Revision;
use keyward::control::ReadOnly;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{directory, plane};
use crate::control_support::{Clock, Database, Plane, config, look_into, runtime, use_server};

const KEYS: &str = "/v2/orgs/acme/api-keys";

fn org_key(slug: &str) -> Value {
    json!({"slug": slug, "name": "n", "permissions": [], "scopes": [], "expiresAt": "2030-01-01T00:00:00Z"})
}

/// A backup, as the documentation says to make one while the control plane runs.
fn back_up(directory: &TempDir) -> Backup {
    let file = directory.path().join("backup");
    match look_into(directory.path()) {
        mut database @ Database::File(_) => {
            database.execute(&format!("VACUUM INTO '{}'", file.display()));
        }
        Database::Server(_) => {
            pg(
                directory,
                "pg_dump",
                &["--no-owner", "--file", file.to_str().unwrap()],
            );
        }
    }
    Backup(file)
}

struct Backup(std::path::PathBuf);

impl Backup {
    /// Puts it in the place of the database. A file goes to a directory of its own with what is beside it: whoever had
    /// the former one open may still be closing it.
    fn restore(&self, directory: &TempDir) -> TempDir {
        let place = tempfile::tempdir().unwrap();
        let url = config(directory.path()).database;
        if url.starts_with("sqlite") {
            fs::copy(&self.0, place.path().join("keyward.db")).unwrap();
            let seen = "keyward.db.seen";
            fs::copy(directory.path().join(seen), place.path().join(seen)).unwrap();
        } else {
            let (_, schema) = url.split_once("%3D").unwrap();
            look_into(directory.path()).execute(&format!("DROP SCHEMA {schema} CASCADE"));
            pg(
                directory,
                "psql",
                &["--quiet", "--file", self.0.to_str().unwrap()],
            );
            use_server(place.path(), &url);
        }
        place
    }
}

/// Runs a program of PostgreSQL's on the schema of this directory.
fn pg(directory: &TempDir, program: &str, arguments: &[&str]) {
    let url = config(directory.path()).database;
    let (server, schema) = url.split_once("?options=-csearch_path%3D").unwrap();
    let mut command = std::process::Command::new(program);
    if program == "pg_dump" {
        command.args(["--schema", schema]);
    }
    let done = command
        .args(arguments)
        .arg("--dbname")
        .arg(server)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn a_database_that_was_restored_from_an_older_backup_is_another_history() {
    let directory = directory();
    let plane = Plane::start_in(directory.path(), Clock::new());
    let (_, revoked) = plane.create("acme", org_key("revoked"));
    plane.create("acme", org_key("kept"));
    let backup = back_up(&directory);
    plane.admin("DELETE", &format!("{KEYS}/revoked"), None);
    plane.create("acme", org_key("lost"));
    let epoch = plane.control.keys().epoch();
    drop(plane);
    let directory = backup.restore(&directory);

    let again = Plane::start_in(directory.path(), Clock::new());
    let keys = again.control.keys();
    assert_ne!(keys.epoch(), epoch);
    assert_eq!(keys.revision(), Revision(2));
    assert_eq!(
        *again.sink.loaded.lock().unwrap(),
        Some((keys.epoch(), Revision(2)))
    );
    // The keys are those of the backup, whatever became of them since.
    let validated = again.with_key(&revoked, "POST", &format!("{KEYS}/validate"), None);
    assert_eq!(validated.status, 200);
    assert_eq!(again.admin("GET", KEYS, None).body["total"], json!(2));
    let entry = again.admin("GET", "/v1/audit?limit=1", None).body;
    assert_eq!(entry["entries"][0]["action"], json!("begin-epoch"));
    // From here on it is one history.
    let (epoch, made) = (keys.epoch(), again.create("acme", org_key("new")));
    drop(again);
    let later = Plane::start_in(directory.path(), Clock::new());
    assert_eq!(later.control.keys().epoch(), epoch);
    assert_eq!(later.control.keys().revision(), Revision(3));
    let found = later.admin("GET", &format!("{KEYS}/{}", made.0), None);
    assert_eq!(found.status, 200);
}

#[test]
fn a_database_that_goes_on_where_it_was_left_is_the_same_history() {
    let directory = directory();
    let epochs: Vec<_> = (0..3)
        .map(|n| {
            let plane = Plane::start_in(directory.path(), Clock::new());
            if n == 1 {
                plane.create("acme", org_key("a"));
            }
            plane.control.keys().epoch()
        })
        .collect();
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]));
    // Looking changes nothing.
    drop(
        runtime()
            .block_on(ReadOnly::open(&config(directory.path())))
            .unwrap(),
    );
    let plane = Plane::start_in(directory.path(), Clock::new());
    assert_eq!(plane.control.keys().epoch(), epochs[0]);
}

#[test]
fn a_gateway_that_is_ahead_makes_another_history_once() {
    let plane = plane();
    plane.create("acme", org_key("a"));
    let keys = plane.control.keys();
    let begin = |reported| {
        let begun = keys.begin_epoch(Revision(reported));
        plane.runtime.block_on(begun).unwrap();
        keys.epoch()
    };
    let first = keys.epoch();
    assert_eq!(begin(1), first, "it knows that revision");
    let second = begin(2);
    assert_ne!(second, first);
    assert_eq!(
        plane.sink.loaded.lock().unwrap().unwrap(),
        (second, Revision(1))
    );
    plane.create("acme", org_key("b"));
    assert_eq!(begin(2), second);
    assert_eq!(plane.sink.revision(), Revision(2));
}

#[test]
fn a_database_that_falls_behind_while_it_is_served_is_another_history() {
    let directory = directory();
    let plane = Plane::start_in(directory.path(), Clock::new());
    plane.create("acme", org_key("a"));
    plane.create("acme", org_key("b"));
    let epoch = plane.control.keys().epoch();
    // As if an older one had been put in its place.
    look_into(directory.path()).execute(
        "BEGIN; DELETE FROM keys WHERE slug = 'b'; DELETE FROM changes WHERE revision = 2; \
         UPDATE meta SET revision = 1; COMMIT",
    );
    let made = plane.admin("POST", KEYS, Some(org_key("c")));
    assert_eq!((made.status, made.revision()), (201, 2));
    let (present, loaded) = plane.sink.loaded.lock().unwrap().unwrap();
    assert_ne!(present, epoch);
    assert_eq!(
        (plane.control.keys().epoch(), loaded),
        (present, Revision(1))
    );
    assert_eq!(plane.sink.changes.lock().unwrap().len(), 1);
}

#[test]
fn what_is_old_is_forgotten_little_by_little() {
    let directory = directory();
    let clock = Clock::new();
    let plane = Plane::start_in(directory.path(), clock.clone());
    plane.create("acme", org_key("a"));
    // As many changes as are forgotten at once, and one more.
    let mut database = look_into(directory.path());
    database.execute(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 100) \
         INSERT INTO changes SELECT i, id, 'put' FROM keys, n",
    );
    database.execute(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 100) \
         INSERT INTO audit (at, revision, actor, action, family, tenant, key_id) \
         SELECT 0, i, 'admin', 'update', 'org', 'acme', 'k' FROM n",
    );
    database.execute("UPDATE audit SET at = 0; UPDATE meta SET revision = 100");
    let patch = |name: String| {
        let patched = plane.admin("PATCH", &format!("{KEYS}/a"), Some(json!({"name": name})));
        assert_eq!(patched.status, 200);
    };
    patch("first".to_owned());
    let entries = |database: &mut Database| database.number("SELECT count(*) FROM audit");
    assert_eq!(entries(&mut database), 101);
    for n in 0..16 {
        patch(format!("n{n}"));
    }
    let after = entries(&mut database);
    assert_eq!(after, 100 + 1 + 16 - 64);
    for n in 0..32 {
        patch(format!("m{n}"));
    }
    assert_eq!(
        database.number("SELECT count(*) FROM audit WHERE at = 0"),
        0
    );
    let ours = database.number("SELECT count(*) FROM audit WHERE at > 0");
    assert_eq!(ours, 1 + 16 + 32, "what is young stays");
    assert_eq!(
        database.number("SELECT count(DISTINCT revision) FROM changes"),
        149
    );
    // The log of changes by its revisions.
    database.execute("UPDATE meta SET revision = 100140");
    patch("far".to_owned());
    for n in 0..16 {
        patch(format!("o{n}"));
    }
    let oldest = database.number("SELECT min(revision) FROM changes");
    assert_eq!(oldest, 66);
    let epoch = plane.control.keys().epoch();
    drop(plane);
    let again = Plane::start_in(directory.path(), clock);
    assert_eq!(again.control.keys().epoch(), epoch);
}

#[test]
fn the_audit_log_is_read_page_by_page_the_newest_first() {
    let plane = plane();
    let (id, _) = plane.create("acme", org_key("a"));
    plane.clock.advance(60);
    plane.create("other", org_key("b"));
    plane.clock.advance(60);
    plane.admin("PATCH", &format!("{KEYS}/a"), Some(json!({"name": "m"})));
    let list = |query: &str| {
        let page = plane.admin("GET", &format!("/v1/audit{query}"), None);
        assert_eq!(page.status, 200, "{}", page.raw);
        let entries = page.body["entries"].as_array().unwrap().clone();
        (entries, page.body["next"].clone())
    };
    let (all, next) = list("");
    let acts = |entries: &[Value]| -> Vec<(String, u64)> {
        let act = |entry: &Value| {
            let action = entry["action"].as_str().unwrap().to_owned();
            (action, entry["revision"].as_u64().unwrap())
        };
        entries.iter().map(act).collect()
    };
    let act = |action: &str, revision| (action.to_owned(), revision);
    assert_eq!(
        acts(&all),
        [act("update", 3), act("create", 2), act("create", 1)]
    );
    assert_eq!(next, Value::Null);
    assert_eq!(all[0]["before"]["name"], json!("n"));
    assert_eq!(all[0]["after"]["name"], json!("m"));
    assert_eq!(all[2]["before"], Value::Null);
    assert_eq!(
        (&all[0]["tenant"], &all[0]["keyId"]),
        (&json!("acme"), &json!(id))
    );
    assert_eq!(all[0]["at"], json!("2026-11-20T00:02:00.000Z"));

    let (first, next) = list("?limit=2");
    assert_eq!(first, all[..2]);
    let (second, next) = list(&format!("?limit=2&before={next}"));
    assert_eq!((second.as_slice(), next), (&all[2..], Value::Null));
    assert_eq!(
        acts(&list(&format!("?keyId={id}")).0),
        [act("update", 3), act("create", 1)]
    );
    assert_eq!(acts(&list("?org=other").0), [act("create", 2)]);
    assert_eq!(acts(&list("?workspace=other").0), []);
    let between = "?since=2026-11-20T00:01:00Z&until=2026-11-20T00:02:00Z";
    assert_eq!(acts(&list(between).0), [act("create", 2)]);
}

#[test]
fn a_page_of_long_entries_is_cut_and_goes_on() {
    let directory = directory();
    let plane = Plane::start_alone(directory.path());
    let mut database = look_into(directory.path());
    // As after an import of many keys.
    database.execute(
        "INSERT INTO audit (at, revision, actor, action, family, tenant, key_id, after_state) \
         VALUES (1, 1, 'a', 'import', '', '', '', '{}'), (2, 2, 'a', 'import', '', '', '', '{}'), \
         (3, 3, 'a', 'import', '', '', '', '{}')",
    );
    let long = format!("[\"{}\"]", "k".repeat(3 * 1024 * 1024));
    database.execute(&format!(
        "UPDATE audit SET after_state = '{long}' WHERE revision > 1"
    ));
    let (mut revisions, mut query) = (Vec::new(), String::new());
    loop {
        let page = plane.admin("GET", &format!("/v1/audit{query}"), None);
        let entries = page.body["entries"].as_array().unwrap();
        revisions.push(
            entries
                .iter()
                .map(|entry| entry["revision"].as_u64().unwrap())
                .collect::<Vec<_>>(),
        );
        match page.body.get("next") {
            Some(next) => query = format!("?before={next}"),
            None => break,
        }
    }
    assert_eq!(revisions, [vec![3], vec![2, 1]]);
}

#[test]
fn the_audit_log_is_for_administrators_and_faults_are_named() {
    let plane = plane();
    let held = json!({"slug": "m", "name": "m", "permissions": ["*"], "scopes": ["*"], "expiresAt": "2030-01-01T00:00:00Z"});
    let (_, key) = plane.create("acme", held);
    plane
        .with_key(&key, "GET", "/v1/audit", None)
        .refused(403, "ForbiddenError");
    plane
        .call("GET", "/v1/audit", &[], None)
        .refused(401, "AuthenticationError");
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("before=x", "before"),
        ("since=yesterday", "since"),
        ("until=", "until"),
        ("org=a&workspace=b", "workspace"),
        ("surprise=1", "surprise"),
    ] {
        let refused = plane.admin("GET", &format!("/v1/audit?{query}"), None);
        let details = refused.refused(400, "BadParameters");
        assert_eq!(details["field"], json!(field), "{query}");
    }
}
