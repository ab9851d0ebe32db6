//! Several control planes on one PostgreSQL: one order of changes, which both hand on whole, whatever happens to the
//! server.

use std::collections::BTreeMap;
use std::future::{Future as _, poll_fn};
use std::process::Command;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use keyward::authz::{KeyId, KeyRecord, RawGrants, Revision, Tenant};
use keyward::control::{Caller, CommandError, OpenError};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::control_store::new_key;
use crate::control_support::{
    Clock, Database, Plane, Sink, config, directory_at_server, look_into, open, runtime,
};
use crate::support_postgres::{self, OwnServer};

const KEYS: &str = "/v2/orgs/acme/api-keys";

fn org_key(slug: &str) -> Value {
    json!({"slug": slug, "name": "n", "permissions": [], "scopes": [], "expiresAt": "2030-01-01T00:00:00Z"})
}

/// Two control planes on one database.
fn two() -> (TempDir, Plane, Plane) {
    let directory = directory_at_server();
    let first = Plane::start_in(directory.path(), Clock::new());
    let second = Plane::start_in(directory.path(), Clock::new());
    (directory, first, second)
}

/// Waits until a gateway has come as far as that.
fn until(sink: &Sink, revision: u64) {
    let mut changed = sink.changed.subscribe();
    let waiting = async {
        while sink.revision().0 < revision {
            changed.changed().await.unwrap();
        }
    };
    let waited =
        runtime().block_on(async { tokio::time::timeout(Duration::from_secs(30), waiting).await });
    assert!(
        waited.is_ok(),
        "{revision} never came: {:?}",
        sink.revision()
    );
}

/// The keys of a gateway that was given a whole state and then these changes; none leaves anything out.
fn state(sink: &Sink) -> BTreeMap<KeyId, Arc<KeyRecord>> {
    let (_, mut revision) = sink.loaded.lock().unwrap().unwrap();
    let entries = sink.entries.lock().unwrap();
    let record = |record: &Arc<KeyRecord>| (record.id.clone(), Arc::clone(record));
    let mut keys: BTreeMap<_, _> = entries.iter().map(|entry| record(&entry.record)).collect();
    for change in sink.changes.lock().unwrap().iter() {
        // What came from both sides may overlap; it leads on all the same, and leaves nothing out.
        assert!(change.previous <= revision && revision < change.revision);
        revision = change.revision;
        keys.extend(change.put.iter().map(|entry| record(&entry.record)));
        for id in &change.removed {
            keys.remove(id);
        }
    }
    keys
}

#[test]
fn what_one_control_plane_answers_the_other_hands_on() {
    let (_directory, first, second) = two();
    let (id, secret) = first.create("acme", org_key("a"));
    until(&second.sink, 1);
    assert_eq!(state(&second.sink)[&KeyId::new(id.as_str())].name, "n");
    let validated = second.with_key(&secret, "POST", &format!("{KEYS}/validate"), None);
    assert_eq!(validated.status, 200);
    // And back, on the same key.
    let patched = second.admin("PATCH", &format!("{KEYS}/a"), Some(json!({"name": "m"})));
    assert_eq!(patched.revision(), 2);
    until(&first.sink, 2);
    first.admin("DELETE", &format!("{KEYS}/a"), None);
    until(&second.sink, 3);
    assert!(state(&second.sink).is_empty() && state(&first.sink).is_empty());
}

#[test]
fn of_writers_at_two_control_planes_each_change_has_its_revision_and_both_hand_all_of_them_on() {
    let (directory, first, second) = two();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let plane = if worker % 2 == 0 { &first } else { &second };
            scope.spawn(move || {
                for n in 0..10 {
                    let slug = format!("k{worker}-{n}");
                    plane.create("acme", org_key(&slug));
                    let patch = json!({"name": "patched"});
                    plane.admin("PATCH", &format!("{KEYS}/{slug}"), Some(patch));
                    if n % 2 == 0 {
                        plane.admin("DELETE", &format!("{KEYS}/{slug}"), None);
                    }
                }
            });
        }
    });
    let changes = 8 * 25;
    for plane in [&first, &second] {
        until(&plane.sink, changes);
    }
    assert_eq!(state(&first.sink), state(&second.sink));
    assert_eq!(state(&first.sink).len(), 8 * 5);
    // As many revisions as changes, in the order in which they were committed.
    let mut database = look_into(directory.path());
    let count = database.number("SELECT count(DISTINCT revision) FROM changes");
    assert_eq!(u64::try_from(count).unwrap(), changes);
    let unordered =
        "SELECT count(*) FROM audit a JOIN audit b ON a.seq < b.seq AND a.revision >= b.revision";
    assert_eq!(database.number(unordered), 0);
}

#[test]
fn a_slug_that_two_control_planes_give_at_once_is_given_once() {
    let (_directory, first, second) = two();
    let made = std::thread::scope(|scope| {
        let tries: Vec<_> = [&first, &second]
            .map(|plane| {
                scope.spawn(move || {
                    let tries = (0..10).map(|n| {
                        let key = org_key(&format!("k{n}"));
                        plane.admin("POST", KEYS, Some(key)).status
                    });
                    tries.collect::<Vec<_>>()
                })
            })
            .into_iter()
            .map(|tries| tries.join().unwrap())
            .collect();
        tries
    });
    for (one, other) in made[0].iter().zip(&made[1]) {
        let mut statuses = [*one, *other];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);
    }
}

#[test]
fn commands_that_wait_share_a_commit_and_one_that_is_refused_is_undone_alone() {
    let directory = directory_at_server();
    let plane = Plane::start_in(directory.path(), Clock::new());
    plane.create("acme", org_key("taken"));
    let mut database = look_into(directory.path());
    database.execute(
        "CREATE TABLE commits (revision BIGINT); \
         CREATE FUNCTION note() RETURNS trigger AS $$ \
         BEGIN INSERT INTO commits VALUES (NEW.revision); RETURN NEW; END $$ LANGUAGE plpgsql; \
         CREATE TRIGGER note BEFORE UPDATE ON meta FOR EACH ROW EXECUTE FUNCTION note()",
    );
    // Whoever comes first waits for this lock, the others for their turn.
    database.execute("BEGIN; SELECT * FROM meta FOR UPDATE");
    let keys = plane.control.keys();
    let grants = RawGrants::Org {
        permissions: vec![],
        scopes: vec![],
    };
    let mut waiting: Vec<_> = (0..20)
        .map(|n| {
            let slug = if n % 4 == 0 {
                "taken".to_owned()
            } else {
                format!("k{n}")
            };
            let key = new_key(Tenant::Org("acme".to_owned()), Some(&slug), grants.clone());
            Box::pin(keys.create_key(Caller::program("test"), key))
        })
        .collect();
    plane.runtime.block_on(poll_fn(|context| {
        for command in &mut waiting {
            assert!(command.as_mut().poll(context).is_pending());
        }
        Poll::Ready(())
    }));
    database.execute("ROLLBACK");
    for (n, command) in waiting.into_iter().enumerate() {
        let outcome = plane.runtime.block_on(command);
        assert_eq!(outcome.is_err(), n % 4 == 0, "{n}: {outcome:?}");
    }
    let commits = database.number("SELECT count(*) FROM commits");
    assert!(commits <= 2, "{commits} commits");
    assert_eq!(database.number("SELECT count(*) FROM keys"), 16);
    let revisions = "SELECT count(DISTINCT revision) FROM keys";
    assert_eq!(database.number(revisions), 16);
    assert_eq!(plane.sink.revision(), Revision(16));
    assert_eq!(state(&plane.sink).len(), 16);
}

#[test]
fn who_was_refused_by_what_was_never_committed_is_told_to_try_again() {
    let directory = directory_at_server();
    let plane = Plane::start_in(directory.path(), Clock::new());
    let mut database = look_into(directory.path());
    database.execute(
        "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE disk_full; END $$ LANGUAGE plpgsql; \
         CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON keys DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    database.execute("BEGIN; SELECT * FROM meta FOR UPDATE");
    let keys = plane.control.keys();
    let grants = RawGrants::Org {
        permissions: vec![],
        scopes: vec![],
    };
    let mut waiting: Vec<_> = (0..6)
        .map(|_| {
            let tenant = Tenant::Org("acme".to_owned());
            let key = new_key(tenant, Some("same"), grants.clone());
            Box::pin(keys.create_key(Caller::program("test"), key))
        })
        .collect();
    plane.runtime.block_on(poll_fn(|context| {
        for command in &mut waiting {
            assert!(command.as_mut().poll(context).is_pending());
        }
        Poll::Ready(())
    }));
    database.execute("ROLLBACK");
    for command in waiting {
        let refused = plane.runtime.block_on(command).unwrap_err();
        assert!(matches!(refused, CommandError::Store(_)), "{refused:?}");
    }
    assert_eq!(database.number("SELECT count(*) FROM keys"), 0);
}

#[test]
fn connections_at_whose_other_end_nobody_is_any_more_are_replaced() {
    let server = OwnServer::start();
    let directory = server.directory();
    let plane = Plane::start_alone(directory.path());
    plane.create("acme", org_key("a"));
    // As where a network takes what is sent, and brings nothing back.
    let idle = "SELECT pid::text FROM pg_stat_activity WHERE application_name = 'keyward' AND state = 'idle'";
    let idle = look_into(directory.path()).texts(idle, 1);
    let idle: Vec<String> = idle.into_iter().flatten().flatten().collect();
    assert!(idle.len() > 1, "{idle:?}");
    let signal = |signal: &str| {
        let told = Command::new("kill").arg(signal).args(&idle).status();
        assert!(told.unwrap().success());
    };
    signal("-STOP");
    let list = plane.admin("GET", KEYS, None);
    let made = plane.admin("POST", KEYS, Some(org_key("b")));
    signal("-CONT");
    assert_eq!(list.body["total"], json!(1), "{}", list.raw);
    assert_eq!(made.status, 201, "{}", made.raw);
}

#[test]
fn a_server_that_takes_no_writes_any_more_is_no_store_though_nobody_has_tried() {
    let server = OwnServer::start();
    let directory = server.directory();
    let plane = Plane::start_alone(directory.path());
    let mut database = look_into(directory.path());
    let set = |database: &mut Database, setting: &str| {
        database.execute(setting);
        database.execute("SELECT pg_reload_conf()");
    };
    let until_ready = |status: u16| {
        // Processes of the server read its settings when they come to it.
        while plane.call("GET", "/readyz", &[], None).status != status {}
    };
    until_ready(200);
    set(
        &mut database,
        "ALTER SYSTEM SET default_transaction_read_only = on",
    );
    until_ready(503);
    let refused = plane.admin("POST", KEYS, Some(org_key("a")));
    refused.refused(503, "ServiceUnavailable");
    database.execute("SET default_transaction_read_only = off");
    set(
        &mut database,
        "ALTER SYSTEM RESET default_transaction_read_only",
    );
    until_ready(200);
    plane.create("acme", org_key("a"));
}

#[test]
fn a_control_plane_that_starts_later_has_everything() {
    let directory = directory_at_server();
    let first = Plane::start_in(directory.path(), Clock::new());
    first.create("acme", org_key("a"));
    first.create("acme", org_key("b"));
    let second = Plane::start_in(directory.path(), Clock::new());
    assert_eq!(second.control.keys().epoch(), first.control.keys().epoch());
    assert_eq!(state(&second.sink), state(&first.sink));
}

#[test]
fn a_control_plane_that_missed_more_than_the_log_holds_reads_everything_anew() {
    let (directory, first, second) = two();
    first.create("acme", org_key("a"));
    until(&second.sink, 1);
    // As if there had been more changes than the log keeps.
    look_into(directory.path()).execute(
        "BEGIN; UPDATE keys SET status = 'disabled', revision = 1000; UPDATE meta SET revision = 1000; \
         DELETE FROM changes; INSERT INTO changes SELECT 1000, id, 'put' FROM keys; \
         NOTIFY keyward_changes; COMMIT",
    );
    for plane in [&first, &second] {
        until(&plane.sink, 1000);
        let keys = state(&plane.sink);
        assert!(keys.values().all(|key| key.revision == Revision(1000)));
        assert_eq!(keys.len(), 1);
    }
    first.create("acme", org_key("b"));
    until(&second.sink, 1001);
}

#[test]
fn a_server_that_is_stopped_at_once_and_started_again_loses_no_answered_change() {
    let server = OwnServer::start();
    let directory = server.directory();
    let first = Plane::start_in(directory.path(), Clock::new());
    let second = Plane::start_in(directory.path(), Clock::new());
    let mut answered = Vec::new();
    for round in 0..3 {
        std::thread::scope(|scope| {
            let writers: Vec<_> = [&first, &second]
                .into_iter()
                .enumerate()
                .map(|(place, plane)| {
                    scope.spawn(move || {
                        let mut answered = Vec::new();
                        for n in 0.. {
                            let slug = format!("k{round}-{place}-{n}");
                            let made = plane.admin("POST", KEYS, Some(org_key(&slug)));
                            match made.status {
                                201 => answered.push((made.revision(), slug)),
                                // What is not answered may have been made, or not.
                                503 => return answered,
                                _ => panic!("{}", made.raw),
                            }
                        }
                        answered
                    })
                })
                .collect();
            // Somewhere among the writes.
            until(&first.sink, answered.len() as u64 + 20);
            server.stop_at_once();
            for writer in writers {
                answered.extend(writer.join().unwrap());
            }
        });
        server.run_again();
        // It recovers by itself; who asks before is told so.
        while first.call("GET", "/readyz", &[], None).status != 200
            || second.call("GET", "/readyz", &[], None).status != 200
        {}
    }
    let mut revisions: Vec<_> = answered.iter().map(|(revision, _)| *revision).collect();
    revisions.sort_unstable();
    let count = revisions.len();
    revisions.dedup();
    assert_eq!(revisions.len(), count, "no revision comes twice");
    let made = first.create("acme", org_key("last"));
    let last = first.control.keys().revision();
    assert!(last.0 > *revisions.last().unwrap());
    until(&second.sink, last.0);
    for plane in [&first, &second] {
        let keys = state(&plane.sink);
        assert!(keys.contains_key(&KeyId::new(made.0.as_str())));
        for (revision, slug) in &answered {
            let found = plane.admin("GET", &format!("{KEYS}/{slug}"), None);
            let id = found.text("id");
            assert_eq!(
                keys[&KeyId::new(id.as_str())].revision,
                Revision(*revision),
                "{slug}"
            );
        }
    }
}

#[test]
fn a_database_that_cannot_be_had_is_refused_in_one_line_without_its_password() {
    let directory = tempfile::tempdir().unwrap();
    let schema = support_postgres::schema();
    let (place, options) = schema.split_once("/postgres?").unwrap();
    let server = place.replace("keyward@", "keyward:hidden@");
    let nobody = place.replace("keyward@", "nobody:hidden@");
    type Expected = fn(&OpenError) -> bool;
    let is_refused: Expected = |error| matches!(error, OpenError::Refused { .. });
    let is_unreachable: Expected = |error| matches!(error, OpenError::Unreachable { .. });
    let is_no_url: Expected = |error| matches!(error, OpenError::Url(_));
    for (url, is_expected) in [
        (format!("{server}/nowhere?{options}"), is_refused),
        (format!("{nobody}/postgres?{options}"), is_refused),
        (
            "postgres://k:hidden@127.0.0.1:1/k".to_owned(),
            is_unreachable,
        ),
        ("postgres://k:hidden@[/k".to_owned(), is_no_url),
    ] {
        let mut config = config(directory.path());
        config.database = url;
        let error = open(&runtime(), &config, &Clock::new()).unwrap_err();
        let line = error.to_string();
        assert!(is_expected(&error), "{line}");
        assert!(!line.contains("hidden") && !line.contains('\n'), "{line}");
    }
}

#[test]
fn tables_of_another_program_are_refused() {
    let directory = directory_at_server();
    look_into(directory.path()).execute("CREATE TABLE keys (theirs TEXT)");
    let error = open(&runtime(), &config(directory.path()), &Clock::new()).unwrap_err();
    assert!(matches!(error, OpenError::Foreign(_)), "{error}");
}
