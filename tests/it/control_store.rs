//! The database: what survives, what a gateway is told, what is noted down. On either database.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use keyward::authz::{
    Family, KeyStatus, Owner, Pepper, PresentedKey, RawAccess, RawGrants, RawRule, Revision, Tenant,
};
use keyward::control::{
    Caller, CommandError, GivenSecret, KeyName, KeySlug, NewKey, OpenError, RawKey, ReadOnly,
    SAMPLE_OWNER_KIND, StoreError, Usage,
};
use keyward::wire::{Secret, SecretDigest};
use serde_json::{Value, json};

use super::{directory, plane};
use crate::control_support::{Clock, Database, Plane, Sink, config, look_into, open, runtime};

const TEST: Caller = Caller::program("test");
pub const KEYS: &str = "/v2/orgs/acme/api-keys";

pub fn org_key(slug: &str) -> Value {
    json!({
        "slug": slug, "name": "n", "permissions": ["agents:read"], "scopes": ["agents:a1"],
        "expiresAt": "2030-01-01T00:00:00Z",
    })
}

pub fn new_key(tenant: Tenant, slug: Option<&str>, grants: RawGrants) -> NewKey {
    NewKey {
        tenant,
        slug: slug.map(|slug| KeySlug::parse(slug).unwrap()),
        name: KeyName::parse("sample").unwrap(),
        owner: Some(Owner {
            kind: "sample".to_owned(),
            id: String::new(),
        }),
        status: KeyStatus::Active,
        expires_at: None,
        grants,
    }
}

pub fn w1() -> Tenant {
    Tenant::Workspace("w1".to_owned())
}

/// Writes a key past the API, and gives its secret.
pub fn write(plane: &Plane, key: NewKey) -> RawKey {
    let made = plane.control.keys().create_key(TEST, key);
    plane.runtime.block_on(made).unwrap().value.raw
}

pub fn rules() -> RawGrants {
    RawGrants::Workspace {
        rules: vec![RawRule {
            action: vec!["read".to_owned()],
            subject: vec!["pages".to_owned()],
            conditions: Some(keyward::authz::Value::Object(vec![(
                "workspaceId".into(),
                keyward::authz::Value::String("w1".into()),
            )])),
            ..RawRule::default()
        }],
    }
}

pub fn access() -> RawGrants {
    RawGrants::Access(RawAccess {
        permission_mode: "RESTRICTED".to_owned(),
        access: vec![("deployment".to_owned(), "read".to_owned())],
        project: Some("p1".to_owned()),
    })
}

#[test]
fn a_restart_keeps_everything() {
    let directory = directory();
    let clock = Clock::new();
    let mut first = Plane::start_in(directory.path(), clock.clone());
    let (_, secret) = first.create("acme", org_key("a"));
    first.create("acme", org_key("b"));
    first.admin("DELETE", &format!("{KEYS}/b"), None);
    first.admin(
        "PATCH",
        &format!("{KEYS}/a"),
        Some(json!({"name": "renamed"})),
    );
    let before = first.admin("GET", KEYS, None).body;
    let epoch = first.control.keys().epoch();
    first.stop();
    drop(first);

    let second = Plane::start_in(directory.path(), clock);
    assert_eq!(second.admin("GET", KEYS, None).body, before);
    assert_eq!(second.control.keys().epoch(), epoch);
    assert_eq!(
        *second.sink.loaded.lock().unwrap(),
        Some((epoch, Revision(4)))
    );
    let validated = second.with_key(&secret, "POST", &format!("{KEYS}/validate"), None);
    assert_eq!(validated.text("name"), "renamed");
    second.create("acme", org_key("c"));
    assert_eq!(second.sink.changes.lock().unwrap()[0].revision, Revision(5));
}

#[test]
fn stopping_says_so_and_finishes() {
    let mut plane = plane();
    assert_eq!(plane.call("GET", "/readyz", &[], None).status, 200);
    plane.stop();
    assert!(std::net::TcpStream::connect(plane.address).is_err());
}

#[test]
fn a_load_gives_all_three_families_with_all_their_secrets() {
    let directory = directory();
    let plane = Plane::start_in(directory.path(), Clock::new());
    let workspace = write(&plane, new_key(w1(), None, rules()));
    let model = write(&plane, new_key(Tenant::Access, None, access()));
    let (_, first) = plane.create("acme", org_key("ci"));
    let rotate = Some(json!({"gracePeriodSeconds": 60}));
    let second = plane
        .admin("POST", &format!("{KEYS}/ci/rotate"), rotate)
        .text("apiKey");

    // Through another door, as `explain` does it.
    let sink = Arc::new(Sink::default());
    let reader = runtime();
    let read_only = reader
        .block_on(ReadOnly::open(&config(directory.path())))
        .unwrap();
    let revision = reader.block_on(read_only.load_into(sink.clone())).unwrap();
    assert_eq!(revision, Revision(4));

    let pepper = Pepper::derive("the pepper of the tests");
    let digest = |raw: &str| {
        let shown = PresentedKey::parse(raw.as_bytes()).unwrap();
        SecretDigest::Blake3(shown.digest(pepper.as_ref()))
    };
    let current = |raw: &str| Secret {
        digest: digest(raw),
        retired_at: None,
    };
    let entries = sink.entries.lock().unwrap();
    assert_eq!(entries.len(), 3);
    for entry in entries.iter() {
        let expected = match entry.record.family() {
            Family::Workspace => {
                assert_eq!(entry.record.tenant, Tenant::Workspace("w1".to_owned()));
                assert_eq!(entry.record.grants, rules());
                vec![current(workspace.expose())]
            }
            Family::Access => {
                assert_eq!(entry.record.grants, access());
                assert_eq!(entry.record.owner.as_ref().unwrap().kind, "sample");
                vec![current(model.expose())]
            }
            Family::Org => {
                assert_eq!(entry.record.revision, Revision(4));
                let retired_at = Some(plane.clock.now().plus_seconds(60));
                vec![
                    Secret {
                        digest: digest(&first),
                        retired_at,
                    },
                    current(&second),
                ]
            }
        };
        assert_eq!(entry.secrets.len(), expected.len());
        assert!(expected.iter().all(|secret| entry.secrets.contains(secret)));
    }
}

#[test]
fn a_load_gives_what_a_gateway_was_told_change_by_change() {
    let directory = directory();
    let plane = Plane::start_in(directory.path(), Clock::new());
    plane.create("acme", org_key("a"));
    plane.create("acme", org_key("b"));
    plane.create("acme", org_key("c"));
    plane.admin("POST", &format!("{KEYS}/a/rotate"), None);
    plane.admin(
        "PATCH",
        &format!("{KEYS}/b"),
        Some(json!({"disabled": true})),
    );
    plane.admin("DELETE", &format!("{KEYS}/c"), None);
    let mut told = BTreeMap::new();
    for change in plane.sink.changes.lock().unwrap().iter() {
        for entry in &change.put {
            assert_eq!(entry.record.revision, change.revision);
            told.insert(
                entry.record.id.clone(),
                (entry.record.clone(), entry.secrets.clone()),
            );
        }
        for id in &change.removed {
            told.remove(id);
        }
    }
    drop(plane);
    let again = Plane::start_in(directory.path(), Clock::new());
    let loaded = again.sink.entries.lock().unwrap();
    let loaded: BTreeMap<_, _> = loaded
        .iter()
        .map(|entry| {
            (
                entry.record.id.clone(),
                (entry.record.clone(), entry.secrets.clone()),
            )
        })
        .collect();
    assert_eq!(loaded.len(), 2);
    assert_eq!(loaded, told);
}

#[test]
fn more_keys_than_one_batch_are_loaded_once_each() {
    const COUNT: usize = 4_500;
    let directory = directory();
    drop(Plane::start_in(directory.path(), Clock::new()));
    let mut database = look_into(directory.path());
    let digest = match &database {
        Database::File(_) => "randomblob(32)",
        Database::Server(_) => "decode(md5(random()::text) || md5(random()::text), 'hex')",
    };
    database.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4500) \
         INSERT INTO keys (seq, id, family, tenant, name, status, grants, revision, created_at, updated_at) \
         SELECT i, 'k' || i, 'access', '', 'n', 'active', '{}', 1, 0, 0 FROM n",
    );
    database.execute(&format!(
        "WITH twice(i) AS (VALUES (1), (2)) INSERT INTO secrets (digest, kind, key_seq, created_at) \
         SELECT {digest}, 'blake3', seq, 0 FROM keys, twice WHERE seq % 3 > 0"
    ));
    let plane = Plane::start_in(directory.path(), Clock::new());
    let entries = plane.sink.entries.lock().unwrap();
    let mut ids: Vec<_> = entries
        .iter()
        .map(|entry| entry.record.id.clone())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), entries.len()), (COUNT, COUNT));
    assert!(
        entries
            .iter()
            .all(|entry| [0, 2].contains(&entry.secrets.len()))
    );
    assert_eq!(
        entries
            .iter()
            .map(|entry| entry.secrets.len())
            .sum::<usize>(),
        COUNT / 3 * 4
    );
}

#[test]
fn a_second_sink_is_refused() {
    let plane = plane();
    let second = plane
        .runtime
        .block_on(plane.control.attach(Arc::new(Sink::default())));
    assert!(matches!(second, Err(StoreError::AlreadyAttached)));
}

#[test]
fn a_change_is_applied_even_if_nobody_waits_for_it() {
    let plane = plane();
    let keys = plane.control.keys();
    let acme = Tenant::Org("acme".to_owned());
    let grants = RawGrants::Org {
        permissions: vec![],
        scopes: vec![],
    };
    plane.runtime.block_on(async {
        for n in 0..20 {
            let slug = format!("gone{n}");
            let key = new_key(acme.clone(), Some(&slug), grants.clone());
            let abandoned = keys.create_key(TEST, key);
            let mut abandoned = pin!(abandoned);
            poll_fn(|context| {
                assert!(abandoned.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        // Nobody waits for the answers; whoever was abandoned too early never comes to its end here.
        while plane.sink.changes.lock().unwrap().len() < 20 {
            tokio::task::yield_now().await;
        }
    });
    let changes = plane.sink.changes.lock().unwrap();
    let revisions: Vec<_> = changes.iter().map(|change| change.revision.0).collect();
    assert_eq!(revisions, (1..=20).collect::<Vec<_>>());
    drop(changes);
    assert_eq!(plane.admin("GET", KEYS, None).body["total"], json!(20));
}

#[test]
fn changes_reach_the_gateway_in_the_order_of_their_revisions() {
    let plane = plane();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let plane = &plane;
            scope.spawn(move || {
                for n in 0..10 {
                    plane.create("acme", org_key(&format!("k{worker}-{n}")));
                }
            });
        }
    });
    let changes = plane.sink.changes.lock().unwrap();
    let revisions: Vec<_> = changes.iter().map(|change| change.revision.0).collect();
    assert_eq!(revisions, (1..=80).collect::<Vec<_>>());
}

#[test]
fn another_pepper_is_refused_and_the_same_one_is_not() {
    let directory = directory();
    let runtime = runtime();
    drop(open(&runtime, &config(directory.path()), &Clock::new()).unwrap());
    for pepper in [None, Pepper::derive("another")] {
        let mut other = config(directory.path());
        other.pepper = pepper;
        let error = open(&runtime, &other, &Clock::new()).unwrap_err();
        assert!(matches!(error, OpenError::Pepper(_)), "{error}");
        assert!(error.to_string().contains("credentials.pepper"));
        let error = runtime.block_on(ReadOnly::open(&other)).unwrap_err();
        assert!(matches!(error, OpenError::Pepper(_)), "{error}");
    }
    open(&runtime, &config(directory.path()), &Clock::new()).unwrap();
}

#[test]
fn every_change_is_in_the_audit_log_without_secrets() {
    let plane = plane();
    let held = json!({"slug": "manager", "name": "m", "permissions": ["*"], "scopes": ["*"], "expiresAt": "2030-01-01T00:00:00Z"});
    let (manager_id, manager) = plane.create("acme", held);
    plane.clock.advance(1);
    let made = plane.with_key(&manager, "POST", KEYS, Some(org_key("ci")));
    let patch = Some(json!({"disabled": true}));
    plane.with_key(&manager, "PATCH", &format!("{KEYS}/ci"), patch);
    plane.admin("POST", &format!("{KEYS}/ci/rotate"), None);
    plane.admin("DELETE", &format!("{KEYS}/ci"), None);
    plane.admin(
        "PATCH",
        &format!("{KEYS}/ci"),
        Some(json!({"name": "refused"})),
    );

    let entries = plane.audit();
    let by_manager = format!("key:{manager_id}");
    let id = made.text("id");
    let expected = [
        (1, "admin", "create", &manager_id),
        (2, by_manager.as_str(), "create", &id),
        (3, by_manager.as_str(), "update", &id),
        (4, "admin", "rotate", &id),
        (5, "admin", "delete", &id),
    ];
    assert_eq!(entries.len(), expected.len());
    for (entry, (revision, actor, action, key)) in entries.iter().zip(expected) {
        assert_eq!(entry["revision"], json!(revision.to_string()));
        assert_eq!(entry["actor"], json!(actor));
        assert_eq!(entry["action"], json!(action));
        assert_eq!(entry["key_id"], json!(key));
        let at = plane.clock.now().as_millis() - i64::from(revision == 1) * 1000;
        assert_eq!(entry["at"], json!(at.to_string()));
        assert_eq!(entry["before_state"].is_null(), action == "create");
        assert_eq!(entry["after_state"].is_null(), action == "delete");
    }
    let state = |text: &Value| -> Value { serde_json::from_str(text.as_str().unwrap()).unwrap() };
    let entry = &entries[2];
    let (before, after) = (state(&entry["before_state"]), state(&entry["after_state"]));
    assert_eq!(
        (&before["status"], &after["status"]),
        (&json!("active"), &json!("disabled"))
    );
    assert_eq!(
        after["grants"],
        json!({"permissions": ["agents:read"], "scopes": ["agents:a1"]})
    );
    let text = format!("{entries:?}");
    let secret = made.text("apiKey");
    assert!(!text.contains(secret.rsplit('_').next().unwrap()));
}

#[test]
fn keys_written_directly_are_checked_too() {
    let plane = plane();
    let keys = plane.control.keys();
    let raw = RawKey::of(&w1(), plane.clock.now()).unwrap();
    let insert = |new| {
        plane
            .runtime
            .block_on(keys.insert_keys(TEST, vec![(new, GivenSecret::Raw(&raw))]))
            .map(|applied| applied.revision)
    };
    assert!(matches!(
        insert(new_key(w1(), None, access())),
        Err(CommandError::Invalid(_))
    ));
    let malformed = RawGrants::Org {
        permissions: vec!["*:x".to_owned()],
        scopes: vec![],
    };
    let org = || Tenant::Org("acme".to_owned());
    assert!(matches!(
        insert(new_key(org(), Some("a"), malformed)),
        Err(CommandError::Invalid(_))
    ));
    assert_eq!(insert(new_key(w1(), None, rules())).unwrap(), Revision(1));
    assert!(matches!(
        insert(new_key(w1(), None, rules())),
        Err(CommandError::SecretTaken)
    ));
}

#[test]
fn samples_are_revoked_at_first_and_removed_at_the_next_start() {
    let plane = plane();
    let keys = plane.control.keys();
    let insert = |slug: &str| {
        let grants = RawGrants::Org {
            permissions: vec!["a:b".to_owned()],
            scopes: vec![],
        };
        let tenant = Tenant::Org("acme".to_owned());
        let mut sample = new_key(tenant, Some(slug), grants);
        sample.owner = Some(Owner {
            kind: SAMPLE_OWNER_KIND.to_owned(),
            id: String::new(),
        });
        write(&plane, sample);
    };
    let retire = || plane.runtime.block_on(keys.retire_samples(TEST)).unwrap();
    plane.create("acme", org_key("mine"));
    assert_eq!((retire().value, keys.revision()), (0, Revision(1)));
    insert("sample-1");
    assert_eq!((retire().value, keys.revision()), (1, Revision(3)));
    insert("sample-2");
    assert_eq!((retire().value, keys.revision()), (1, Revision(5)));
    let changes = plane.sink.changes.lock().unwrap();
    assert_eq!(changes[2].put[0].record.status, KeyStatus::Revoked);
    assert_eq!((changes[4].put.len(), changes[4].removed.len()), (1, 1));
    drop(changes);
    let slugs = plane.admin("GET", &format!("{KEYS}?sort=slug"), None);
    assert_eq!(slugs.body["total"], json!(2));

    let sample = format!("{KEYS}/sample-2");
    let got = plane.admin("GET", &sample, None);
    assert_eq!(got.body["disabled"], json!(true));
    plane
        .admin("PATCH", &sample, Some(json!({"disabled": false})))
        .refused(409, "Conflict");
    plane
        .admin("POST", &format!("{sample}/rotate"), None)
        .refused(409, "Conflict");
    assert_eq!(plane.admin("DELETE", &sample, None).status, 200);
}

#[test]
fn usage_is_noted_down_without_a_revision() {
    let plane = plane();
    let (id, _) = plane.create("acme", org_key("ci"));
    let id = keyward::authz::KeyId::new(id);
    let used = |seconds, count| Usage {
        id: id.clone(),
        last_used: plane.clock.now().plus_seconds(seconds),
        count,
    };
    let gone = Usage {
        id: keyward::authz::KeyId::new("gone"),
        ..used(0, 1)
    };
    let batch = vec![used(10, 3), used(5, 2), gone];
    plane
        .runtime
        .block_on(plane.control.keys().record_usage(batch))
        .unwrap();
    assert_eq!(plane.control.keys().revision(), Revision(1));
    let mut database = look_into(plane.directory());
    let uses = database.number("SELECT uses FROM keys");
    let last_used = database.number("SELECT last_used_at FROM keys");
    assert_eq!((uses, last_used), (5, used(10, 0).last_used.as_millis()));
}

#[test]
fn old_tombstones_are_forgotten_and_young_ones_kept() {
    let directory = directory();
    let clock = Clock::new();
    let plane = Plane::start_in(directory.path(), clock.clone());
    plane.create("acme", org_key("ci"));
    plane.admin("POST", &format!("{KEYS}/ci/rotate"), None);
    drop(plane);
    let secrets = |clock: &Clock| {
        let plane = Plane::start_in(directory.path(), clock.clone());
        let entries = plane.sink.entries.lock().unwrap();
        entries[0].secrets.len()
    };
    clock.advance(30 * 24 * 60 * 60 - 1);
    assert_eq!(secrets(&clock), 2);
    clock.advance(1);
    assert_eq!(secrets(&clock), 1);
}

#[test]
fn no_secret_is_dropped_while_its_grace_runs() {
    let plane = plane();
    let (_, first) = plane.create("acme", org_key("ci"));
    let rotate = |seconds: u32| {
        let body = Some(json!({"gracePeriodSeconds": seconds}));
        plane.admin("POST", &format!("{KEYS}/ci/rotate"), body)
    };
    let is_valid = |secret: &str| {
        plane
            .with_key(secret, "POST", &format!("{KEYS}/validate"), None)
            .status
            == 200
    };
    let mut secrets = vec![first];
    for _ in 0..31 {
        secrets.push(rotate(3_600).text("apiKey"));
    }
    assert!(secrets.iter().all(|secret| is_valid(secret)));
    rotate(3_600).refused(409, "Conflict");
    assert!(secrets.iter().all(|secret| is_valid(secret)));
    // Without a grace all former ones end, so there is always a way.
    let last = rotate(0).text("apiKey");
    assert!(is_valid(&last));
    assert!(!secrets.iter().any(|secret| is_valid(secret)));
    assert_eq!(rotate(3_600).status, 200);
    assert!(is_valid(&last));
}

#[test]
fn a_key_keeps_a_limited_number_of_former_secrets() {
    let plane = plane();
    let (_, _) = plane.create("acme", org_key("ci"));
    let mut last = String::new();
    for _ in 0..40 {
        last = plane
            .admin("POST", &format!("{KEYS}/ci/rotate"), None)
            .text("apiKey");
        plane.clock.advance(1);
    }
    let changes = plane.sink.changes.lock().unwrap();
    let secrets = &changes.last().unwrap().put[0].secrets;
    assert_eq!(secrets.len(), 32);
    assert_eq!(
        secrets
            .iter()
            .filter(|secret| secret.retired_at.is_none())
            .count(),
        1
    );
    drop(changes);
    assert_eq!(
        plane
            .with_key(&last, "POST", &format!("{KEYS}/validate"), None)
            .status,
        200
    );
}

/// Makes every transaction end that makes a revision; SQLite's by itself, as it does where the disk is full.
fn fill(database: &mut Database) {
    database.execute(match database {
        Database::File(_) => {
            "CREATE TRIGGER full BEFORE UPDATE ON meta BEGIN SELECT RAISE(ROLLBACK, 'full'); END"
        }
        Database::Server(_) => {
            "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE disk_full; END $$ LANGUAGE plpgsql; \
             CREATE TRIGGER full_disk BEFORE UPDATE ON meta FOR EACH ROW EXECUTE FUNCTION refuse()"
        }
    });
}

fn empty(database: &mut Database) {
    database.execute(match database {
        Database::File(_) => "DROP TRIGGER full",
        Database::Server(_) => "DROP TRIGGER full_disk ON meta",
    });
}

fn is_ready(plane: &Plane) -> bool {
    let answer = plane.call("GET", "/readyz", &[], None);
    assert!([200, 503].contains(&answer.status), "{}", answer.raw);
    answer.status == 200
}

#[test]
fn a_write_that_fails_leaves_the_next_one_alone() {
    let plane = plane();
    plane.create("acme", org_key("before"));
    fill(&mut look_into(plane.directory()));
    assert!(is_ready(&plane), "nobody has written since");
    for n in 0..3 {
        let failed = plane.admin("POST", KEYS, Some(org_key(&format!("k{n}"))));
        failed.refused(503, "ServiceUnavailable");
        assert_eq!(failed.header("retry-after"), Some("1"));
        assert!(!is_ready(&plane));
    }
    assert_eq!(plane.admin("GET", KEYS, None).body["total"], json!(1));

    empty(&mut look_into(plane.directory()));
    assert!(is_ready(&plane), "without anybody who writes");
    let made = plane.admin("POST", KEYS, Some(org_key("after")));
    assert_eq!((made.status, made.revision()), (201, 2));
    assert!(is_ready(&plane));
    assert_eq!(plane.sink.changes.lock().unwrap().len(), 2);
}

#[test]
fn a_store_that_another_process_keeps_locked_is_an_outage() {
    let plane = plane();
    let mut database = look_into(plane.directory());
    database.execute(match database {
        Database::File(_) => "BEGIN IMMEDIATE",
        Database::Server(_) => "BEGIN; SELECT * FROM meta FOR UPDATE",
    });
    let failed = plane.admin("POST", KEYS, Some(org_key("ci")));
    failed.refused(503, "ServiceUnavailable");
    database.execute("ROLLBACK");
    assert!(is_ready(&plane));
    plane.create("acme", org_key("ci"));
}

#[test]
fn what_was_written_though_its_commit_failed_reaches_the_gateway_before_the_next_change() {
    let plane = plane();
    let (kept, _) = plane.create("acme", org_key("kept"));
    plane.create("acme", org_key("removed"));
    look_into(plane.directory()).execute(
        "BEGIN; UPDATE meta SET revision = 3; \
         UPDATE keys SET status = 'disabled', revision = 3 WHERE slug = 'kept'; \
         INSERT INTO changes SELECT 3, id, 'put' FROM keys WHERE slug = 'kept'; \
         INSERT INTO changes SELECT 3, id, 'removed' FROM keys WHERE slug = 'removed'; \
         DELETE FROM keys WHERE slug = 'removed'; COMMIT",
    );
    plane.create("acme", org_key("next"));
    let changes = plane.sink.changes.lock().unwrap();
    let revisions: Vec<_> = changes.iter().map(|change| change.revision.0).collect();
    assert_eq!(revisions, [1, 2, 3, 4]);
    let missed = &changes[2];
    assert_eq!(missed.put.len(), 1);
    assert_eq!(missed.put[0].record.id.as_str(), kept);
    assert_eq!(missed.put[0].record.status, KeyStatus::Disabled);
    assert_eq!(missed.removed.len(), 1);
}

#[test]
fn nobody_makes_a_key_that_passes_for_a_sample() {
    let plane = plane();
    plane.create("acme", org_key("mine"));
    let mut sample = org_key("sample");
    sample["ownerType"] = json!(SAMPLE_OWNER_KIND);
    let patch = json!({"ownerType": SAMPLE_OWNER_KIND});
    for refused in [
        plane.admin("POST", KEYS, Some(sample)),
        plane.admin("PATCH", &format!("{KEYS}/mine"), Some(patch)),
    ] {
        let details = refused.refused(400, "BadParameters");
        assert_eq!(details["field"], json!("ownerType"));
    }
}

#[test]
fn the_audit_log_says_until_when_a_rotated_secret_works() {
    let plane = plane();
    plane.create("acme", org_key("ci"));
    let body = Some(json!({"gracePeriodSeconds": 60}));
    let rotated = plane.admin("POST", &format!("{KEYS}/ci/rotate"), body);
    assert_eq!(rotated.status, 200);
    let audit = plane.audit();
    let after = audit[1]["after_state"].as_str().unwrap();
    let after: Value = serde_json::from_str(after).unwrap();
    assert_eq!(
        after["rotation"],
        json!({"gracePeriodSeconds": 60, "formerSecretsEndBy": "2026-11-20T00:01:00.000Z"})
    );
}
