//! The database in a file: whose it is, what is refused at the door, what is never in it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use keyward::authz::{Revision, Tenant};
use keyward::control::{OpenError, ReadOnly, StoreError};
use serde_json::json;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::control_store::{KEYS, access, new_key, org_key, rules, w1, write};
use crate::control_support::{ADMIN, Clock, Plane, Sink, config, look_into_file, open, runtime};

fn refused(directory: &Path) -> (OpenError, String) {
    let error = open(&runtime(), &config(directory), &Clock::new()).unwrap_err();
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    (error, line)
}

#[test]
fn a_second_serving_process_is_refused_and_told_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let first = Plane::start_in(directory.path(), Clock::new());
    let (error, line) = refused(directory.path());
    assert!(matches!(error, OpenError::InUse { .. }), "{line}");
    assert!(
        line.contains(&format!("process {}, a test", std::process::id())),
        "{line}"
    );
    // By another name it is the same database.
    let detour = directory.path().join("detour");
    std::os::unix::fs::symlink(directory.path(), &detour).unwrap();
    assert!(matches!(refused(&detour).0, OpenError::InUse { .. }));
    drop(first);
    open(&runtime(), &config(directory.path()), &Clock::new()).unwrap();
}

#[test]
fn a_damaged_database_is_refused() {
    let whole = tempfile::tempdir().unwrap();
    let mut plane = Plane::start_in(whole.path(), Clock::new());
    for n in 0..50 {
        plane.create("acme", org_key(&format!("k{n}")));
    }
    plane.stop();
    drop(plane);
    let mut connection = look_into_file(whole.path());
    runtime().block_on(async {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    });
    let bytes = fs::read(whole.path().join("keyward.db")).unwrap();
    let half = bytes.len() / 2;
    let mut scrambled = bytes.clone();
    scrambled[100..4096].fill(0xa5);
    for (what, damaged) in [
        ("noise", vec![0x5a; 8192]),
        ("cut", bytes[..half].to_vec()),
        ("cut within a page", bytes[..half + 100].to_vec()),
        ("first page scrambled", scrambled),
    ] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("keyward.db"), &damaged).unwrap();
        let (error, line) = refused(directory.path());
        assert!(matches!(error, OpenError::Damaged { .. }), "{what}: {line}");
        assert!(
            line.contains("keyward.db") && line.contains("backup"),
            "{line}"
        );
    }
}

#[test]
fn damage_that_only_reading_finds_keeps_the_gateway_from_serving() {
    let directory = tempfile::tempdir().unwrap();
    let mut plane = Plane::start_in(directory.path(), Clock::new());
    for n in 0..100 {
        plane.create("acme", org_key(&format!("k{n}")));
    }
    plane.stop();
    drop(plane);
    let mut connection = look_into_file(directory.path());
    let root: i64 = runtime().block_on(async {
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
        checkpoint.execute(&mut connection).await.unwrap();
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'keys'";
        sqlx::query_scalar(root)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    });
    drop(connection);
    let file = directory.path().join("keyward.db");
    let mut bytes = fs::read(&file).unwrap();
    let page = (usize::try_from(root).unwrap() - 1) * 4096;
    bytes[page..page + 4096].fill(0xa5);
    fs::write(&file, bytes).unwrap();

    let runtime = runtime();
    let control = open(&runtime, &config(directory.path()), &Clock::new()).unwrap();
    let error = runtime
        .block_on(control.attach(Arc::new(Sink::default())))
        .unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error:?}");
    assert!(error.to_string().contains("backup"));
}

#[test]
fn a_database_of_another_program_or_a_newer_version_is_refused() {
    let foreign = tempfile::tempdir().unwrap();
    let database = SqliteConnectOptions::new()
        .filename(foreign.path().join("keyward.db"))
        .create_if_missing(true);
    runtime().block_on(async {
        let mut connection = SqliteConnection::connect_with(&database).await.unwrap();
        sqlx::query("CREATE TABLE theirs (x)")
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    });
    let bytes = fs::read(foreign.path().join("keyward.db")).unwrap();
    let (error, line) = refused(foreign.path());
    assert!(matches!(error, OpenError::Foreign(_)), "{line}");
    assert_eq!(
        fs::read(foreign.path().join("keyward.db")).unwrap(),
        bytes,
        "left as it was"
    );

    let newer = tempfile::tempdir().unwrap();
    drop(open(&runtime(), &config(newer.path()), &Clock::new()).unwrap());
    let mut connection = look_into_file(newer.path());
    let step = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
        VALUES (9999, 'later', TRUE, x'00', 0)";
    runtime()
        .block_on(sqlx::query(step).execute(&mut connection))
        .unwrap();
    let (error, line) = refused(newer.path());
    assert!(matches!(error, OpenError::Newer(_)), "{line}");
    let error = runtime()
        .block_on(ReadOnly::open(&config(newer.path())))
        .unwrap_err();
    assert!(matches!(error, OpenError::Newer(_)), "{error}");
}

#[test]
fn a_place_that_cannot_be_written_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let (error, line) = refused(&file);
    assert!(matches!(error, OpenError::Unwritable { .. }), "{line}");
    assert!(line.contains("file"), "{line}");
    let (error, line) = refused(Path::new("/proc/keyward"));
    assert!(matches!(error, OpenError::Unwritable { .. }), "{line}");
    fs::create_dir(directory.path().join("keyward.db")).unwrap();
    let (error, line) = refused(directory.path());
    assert!(matches!(error, OpenError::Unwritable { .. }), "{line}");
}

#[test]
fn settings_that_are_none_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let refused = |config| open(&runtime, &config, &Clock::new()).unwrap_err();
    for url in [
        "mysql://u:secret@host/db",
        "sqlite://",
        "sqlite::memory:",
        "keyward.db",
        "sqlite://a?mode=memory",
    ] {
        let mut config = config(directory.path());
        config.database = url.to_owned();
        let error = refused(config);
        assert!(matches!(error, OpenError::Url(_)), "{error}");
        assert!(!error.to_string().contains("secret"));
    }
    let mut exposed = config(directory.path());
    exposed.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(matches!(
        refused(exposed.clone()),
        OpenError::NotLoopback(_)
    ));
    exposed.insecure = true;
    open(&runtime, &exposed, &Clock::new()).unwrap();
    let mut nobody = config(directory.path());
    nobody.admin_tokens.clear();
    assert!(matches!(refused(nobody), OpenError::AdminTokens(0)));
    let mut many = config(directory.path());
    many.admin_tokens = vec![many.admin_tokens[0].clone(); 3];
    assert!(matches!(refused(many), OpenError::AdminTokens(3)));
}

#[test]
fn looking_needs_a_database_and_leaves_the_lock_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let missing = runtime
        .block_on(ReadOnly::open(&config(directory.path())))
        .unwrap_err();
    assert!(matches!(missing, OpenError::Missing(_)), "{missing}");
    assert!(!directory.path().join("keyward.db").exists());
    drop(open(&runtime, &config(directory.path()), &Clock::new()).unwrap());
    let reader = runtime
        .block_on(ReadOnly::open(&config(directory.path())))
        .unwrap();
    let plane = Plane::start_in(directory.path(), Clock::new());
    plane.create("acme", org_key("ci"));
    let sink = Arc::new(Sink::default());
    assert_eq!(
        runtime.block_on(reader.load_into(sink.clone())).unwrap(),
        Revision(1)
    );
    assert_eq!(sink.entries.lock().unwrap().len(), 1);
}

#[test]
fn the_database_is_for_its_user_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let plane = Plane::start_in(directory.path(), Clock::new());
    plane.create("acme", org_key("ci"));
    for name in ["keyward.db", "keyward.db-wal", "keyward.db.lock"] {
        let mode = fs::metadata(directory.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn no_raw_key_is_ever_in_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let mut plane = Plane::start_in(directory.path(), Clock::new());
    let (_, first) = plane.create("acme", org_key("ci"));
    let rotate = Some(json!({"gracePeriodSeconds": 60}));
    let second = plane
        .admin("POST", &format!("{KEYS}/ci/rotate"), rotate)
        .text("apiKey");
    let workspace = write(&plane, new_key(w1(), None, rules()));
    let model = write(&plane, new_key(Tenant::Access, None, access()));
    plane.with_key(&second, "POST", &format!("{KEYS}/validate"), None);
    let holds = |needle: &str| {
        fs::read_dir(directory.path())
            .unwrap()
            .flatten()
            .any(|file| {
                // SQLite takes files of its own away at its end, perhaps only now.
                let bytes = fs::read(file.path()).unwrap_or_default();
                bytes
                    .windows(needle.len())
                    .any(|window| window == needle.as_bytes())
            })
    };
    assert!(holds("sample"), "the search finds what is there");
    let secrets = [
        first.rsplit('_').next().unwrap(),
        second.rsplit('_').next().unwrap(),
        workspace.expose(),
        model.expose().rsplit('-').next().unwrap(),
        ADMIN,
        "the pepper of the tests",
    ];
    for secret in secrets {
        assert!(!holds(secret), "while it runs");
    }
    plane.stop();
    drop(plane);
    for secret in secrets {
        assert!(!holds(secret), "afterwards");
    }
}
