//! The process as operators meet it: how it starts or says why not, how it ends, what it never says.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::control_support::runtime;
use crate::e2e_support::{Ended, Quickstart, finish, keyward, send};

/// Starts a quickstart that is expected not to come up, with these arguments after `--json`.
fn refused(args: &[&str]) -> Ended {
    finish(keyward().args(["quickstart", "--json"]).args(args), "")
}

fn says_one_line(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.is_empty(), "nothing was started: {ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{word}: {ended:?}");
    }
}

#[test]
fn a_busy_port_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    for (flag, who) in [
        ("--listen", "the gateway cannot"),
        ("--control-listen", "the control plane cannot"),
        ("--ops-listen", "the ops listener cannot"),
    ] {
        let mut args = vec!["--dir", data, flag, &address];
        if flag != "--listen" {
            args.extend(["--listen", "127.0.0.1:0"]);
        } else {
            args.extend([
                "--control-listen",
                "127.0.0.1:0",
                "--ops-listen",
                "127.0.0.1:0",
            ]);
        }
        let ended = refused(&args);
        says_one_line(&ended, &[&address, who]);
        assert_eq!(ended.stderr.matches(&address).count(), 1, "{ended:?}");
    }
}

#[test]
fn a_data_directory_that_cannot_be_made_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let below = file.join("data");
    let ended = refused(&["--listen", "127.0.0.1:0", "--dir", below.to_str().unwrap()]);
    says_one_line(&ended, &[file.to_str().unwrap()]);
}

#[test]
fn a_damaged_database_is_one_line_and_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("keyward.db");
    std::fs::write(
        &database,
        "this is no database, and it is longer than a header".repeat(100),
    )
    .unwrap();
    let before = std::fs::read(&database).unwrap();
    let ended = refused(&[
        "--listen",
        "127.0.0.1:0",
        "--dir",
        dir.path().to_str().unwrap(),
    ]);
    says_one_line(&ended, &["keyward.db"]);
    says_nothing_twice(&ended);
    assert_eq!(std::fs::read(&database).unwrap(), before);
}

fn says_nothing_twice(ended: &Ended) {
    let said: Vec<&str> = ended.stderr.trim_end().split(": ").collect();
    for (place, piece) in said.iter().enumerate() {
        assert!(!said[..place].contains(piece), "`{piece}` in {ended:?}");
    }
    assert!(ended.stderr.matches("backup").count() <= 1, "{ended:?}");
}

/// Puts into the file what is in the log beside it.
fn carry_over(database: &Path) {
    runtime().block_on(async {
        let options = SqliteConnectOptions::new().filename(database);
        let mut connection = options.connect().await.unwrap();
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
        checkpoint.execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

/// A database of which the first pages are whole is found to be damaged only when it is read further.
#[test]
fn damage_is_called_damage_by_every_command() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("data");
    let (status, ..) = Quickstart::start_in(&dir, &[]).stop();
    assert!(status.success());
    let database = dir.join("keyward.db");
    carry_over(&database);
    let mut bytes = std::fs::read(&database).unwrap();
    bytes[8192..].fill(0xa5);
    std::fs::write(&database, &bytes).unwrap();
    let dir = dir.to_str().unwrap();
    let serving = refused(&["--listen", "127.0.0.1:0", "--dir", dir]);
    let mut command = keyward();
    command.env("KEYWARD_DATA", dir);
    let configuration = concat!(env!("CARGO_MANIFEST_DIR"), "/config/quickstart.yaml");
    command.args(["explain", "--config", configuration, "GET", "/public/ping"]);
    for ended in [serving, finish(&mut command, "")] {
        says_one_line(&ended, &["keyward.db is damaged", "backup"]);
        says_nothing_twice(&ended);
    }
}

#[test]
fn what_is_wrong_is_said_in_the_words_that_were_typed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    let ended = refused(&[
        "--listen",
        "127.0.0.1:0",
        "--dir",
        dir,
        "--control-listen",
        "0.0.0.0:0",
    ]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("loopback") && !ended.stderr.contains("--insecure"),
        "{ended:?}"
    );
    let same = [
        "--listen",
        "127.0.0.1:1",
        "--ops-listen",
        "127.0.0.1:1",
        "--dir",
        dir,
    ];
    let ended = refused(&same);
    says_one_line(&ended, &["--listen", "--ops-listen"]);
    assert!(!ended.stderr.contains("quickstart.yaml"), "{ended:?}");
}

#[test]
fn a_data_directory_may_have_any_name() {
    let temporary = tempfile::tempdir().unwrap();
    for name in ["a?b", "a%41", "a #b&c=d", "ü${X}"] {
        let dir = temporary.path().join(name);
        let (status, ..) = Quickstart::start_in(&dir, &[]).stop();
        assert!(status.success(), "{name}");
        assert!(dir.join("keyward.db").exists(), "{name}");
        assert!(dir.join("admin-token").exists(), "{name}");
    }
    let names = std::fs::read_dir(temporary.path()).unwrap().count();
    assert_eq!(names, 4, "nothing is made elsewhere");
}

#[test]
fn another_pepper_is_one_line() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("data");
    let (status, ..) = Quickstart::start_in(&dir, &[]).stop();
    assert!(status.success());
    let mut command = keyward();
    command
        .args(["quickstart", "--json", "--listen", "127.0.0.1:0", "--dir"])
        .arg(&dir);
    let ended = finish(
        command.env("KEYWARD_PEPPER", "another-pepper-than-before"),
        "",
    );
    says_one_line(&ended, &["pepper"]);
    assert!(!ended.stderr.contains("another-pepper-than-before"));
}

#[test]
fn a_second_serving_process_is_refused_and_the_first_goes_on() {
    let first = Quickstart::start();
    let ended = refused(&[
        "--listen",
        "127.0.0.1:0",
        "--dir",
        first.dir().to_str().unwrap(),
    ]);
    says_one_line(&ended, &[&first.id().to_string()]);
    assert_eq!(
        first
            .get("/v1/agents/a1", &[("x-prismeai-api-key", first.key("org"))])
            .status,
        200
    );
}

#[test]
fn both_signals_end_it_with_code_zero() {
    for signal in ["TERM", "INT"] {
        let quickstart = Quickstart::start();
        quickstart.signal(signal);
        let (status, ..) = quickstart.wait();
        assert_eq!(status.code(), Some(0), "{signal}");
    }
}

/// A request whose body is not all there yet is in flight; it is finished before the process ends.
#[test]
fn what_is_in_flight_is_finished() {
    let quickstart = Quickstart::start();
    let authority = quickstart
        .gateway()
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
    let mut stream = TcpStream::connect(&authority).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let head = format!(
        "POST /v2/deployments/invoke HTTP/1.1\r\nHost: x\r\nx-prismeai-api-key: {}\r\nContent-Length: 10\r\n\r\nhello",
        quickstart.key("access")
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The exchange is in flight once the gateway counts its connection.
    let connections =
        || send(quickstart.ops(), "GET", "/status", &[], "").json()["connections"].as_u64();
    while connections() == Some(0) {
        std::thread::yield_now();
    }
    quickstart.signal("TERM");
    stream.write_all(b"world").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("helloworld"), "{answer}");
    assert_eq!(quickstart.wait().0.code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let quickstart = Quickstart::start();
    let authority = quickstart
        .gateway()
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
    let mut stream = TcpStream::connect(&authority).unwrap();
    let head = format!(
        "POST /v2/deployments/invoke HTTP/1.1\r\nHost: x\r\nx-prismeai-api-key: {}\r\nContent-Length: 10\r\n\r\nhello",
        quickstart.key("access")
    );
    stream.write_all(head.as_bytes()).unwrap();
    quickstart.signal("TERM");
    // The first signal has been taken when the listeners are closed.
    while TcpStream::connect(&authority).is_ok() {
        std::thread::yield_now();
    }
    quickstart.signal("TERM");
    // Without the second signal this would take the thirty seconds of a drain, and the exchange would be answered.
    quickstart.wait();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}

/// A quickstart whose process may open so many files; `how`: as `ulimit` has it.
fn with_files(dir: &Path, how: &str) -> Quickstart {
    let start = format!("ulimit {how}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &start, env!("CARGO_BIN_EXE_keyward")]);
    command.args(["quickstart", "--json", "--listen", "127.0.0.1:0", "--dir"]);
    Quickstart::spawn(command.arg(dir), dir)
}

fn connections(quickstart: &Quickstart, count: usize) -> Vec<TcpStream> {
    let address = quickstart.gateway().trim_start_matches("http://");
    let connect = |_| TcpStream::connect(address).expect("the system takes it");
    (0..count).map(connect).collect()
}

#[test]
fn it_takes_as_many_files_as_it_may_have() {
    let folder = tempfile::tempdir().expect("a folder");
    let quickstart = with_files(&folder.path().join("data"), "-S -n 96");
    let held = connections(&quickstart, 200);
    assert_eq!(quickstart.get("/public/ping", &[]).status, 200);
    drop(held);
}

/// Clients are closed, operators are answered all the same, and all is well again when others have gone.
#[test]
fn a_process_without_files_for_clients_answers_operators_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let quickstart = with_files(&folder.path().join("data"), "-n 96");
    let mut kept = connections(&quickstart, 1).pop().expect("one");
    kept.write_all(b"GET /public/ping HTTP/1.1\r\nhost: a\r\n\r\n")
        .expect("sent");
    let mut status = [0; 12];
    kept.read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");
    let held = connections(&quickstart, 200);
    while !quickstart
        .said()
        .contains("no descriptor is left for clients")
    {
        std::thread::yield_now();
    }
    for path in ["/healthz", "/readyz", "/metrics", "/status"] {
        let answer = send(quickstart.ops(), "GET", path, &[], "");
        assert_eq!(answer.status, 200, "{path}");
    }
    drop(held);
    assert_eq!(quickstart.get("/public/ping", &[]).status, 200);
    kept.write_all(b"GET /nowhere HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .expect("sent");
    let mut rest = String::new();
    kept.read_to_string(&mut rest).expect("the rest");
    assert!(
        rest.contains("\r\n\r\n") && rest.contains("HTTP/1.1 404"),
        "{rest}"
    );
    let (status, _, said) = quickstart.stop();
    assert!(status.success(), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}
