//! `keyward run`: the same file under `run` as under `check`, and read again while it serves.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::e2e_support::{Collected, keyward, run, send, signal};

/// A running `keyward run` on free ports, killed when the test ends however it ends.
struct Served {
    child: Child,
    stdout: Option<Collected>,
    stderr: Option<Collected>,
    ready: Value,
    file: PathBuf,
    _directory: TempDir,
}

/// A configuration with one open route for each of `paths`. Nobody listens where it forwards to.
fn configuration(directory: &Path, paths: &[&str], grace: &str) -> String {
    let mut text = format!(
        "listen: [ {{ address: 127.0.0.1:0 }} ]
ops: {{ listen: 127.0.0.1:0 }}
server: {{ threads: 1, graceful_shutdown: {grace} }}
keys: {{ embedded: {{ listen: 127.0.0.1:0, database: 'sqlite://{}/keyward.db' }} }}
upstreams: {{ nobody: {{ endpoints: [ 127.0.0.1:1 ] }} }}
routes:
",
        directory.join("data").display()
    );
    for (index, path) in paths.iter().enumerate() {
        text.push_str(&format!(
            "  - {{ name: r{index}, path: {path}, require: anonymous, upstream: nobody }}\n"
        ));
    }
    text
}

impl Served {
    fn start(paths: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keyward.yaml");
        std::fs::write(&file, configuration(directory.path(), paths, "30s")).unwrap();
        let mut child = keyward()
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Collected::from(child.stdout.take().unwrap());
        let stderr = Collected::from(child.stderr.take().unwrap());
        let mut served = Self {
            child,
            stdout: Some(stdout),
            stderr: Some(stderr),
            ready: Value::Null,
            file,
            _directory: directory,
        };
        served.ready = served.event("ready", 1);
        served
    }

    /// The `count`th event with this message, waited for.
    fn event(&mut self, message: &str, count: usize) -> Value {
        loop {
            let text = self.stderr.as_ref().unwrap().so_far();
            let events = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut found = events.filter(|event| {
                event
                    .pointer("/fields/message")
                    .and_then(Value::as_str)
                    .is_some_and(|text| text.starts_with(message))
            });
            if let Some(event) = found.nth(count - 1) {
                return event["fields"].clone();
            }
            assert_eq!(
                self.child.try_wait().unwrap(),
                None,
                "it ended without `{message}`:\n{text}"
            );
            std::thread::yield_now();
        }
    }

    fn base(&self, which: &str) -> String {
        format!("http://{}", self.ready[which].as_str().unwrap())
    }

    /// The reason with which a path is refused: every path is, for want of an upstream or of a route.
    fn reason(&self, path: &str) -> String {
        send(&self.base("gateway"), "GET", path, &[], "")
            .reason()
            .unwrap()
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    fn directory(&self) -> &Path {
        self.file.parent().unwrap()
    }

    fn stop(mut self) -> (Option<i32>, String, String) {
        signal(self.child.id(), "TERM");
        let code = self.child.wait().unwrap().code();
        let take = |collected: &mut Option<Collected>| collected.take().unwrap().whole();
        (code, take(&mut self.stdout), take(&mut self.stderr))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const NO_ROUTE: &str = "no_route";
const NO_UPSTREAM: &str = "upstream_unreachable";

#[test]
fn a_signal_reads_the_file_again() {
    let mut served = Served::start(&["/old"]);
    assert_eq!(
        (served.reason("/old"), served.reason("/new")),
        (NO_UPSTREAM.into(), NO_ROUTE.into())
    );
    served.write(&configuration(served.directory(), &["/new"], "30s"));
    signal(served.child.id(), "HUP");
    served.event("reloaded", 1);
    assert_eq!(
        (served.reason("/old"), served.reason("/new")),
        (NO_ROUTE.into(), NO_UPSTREAM.into())
    );
}

#[test]
fn a_reload_over_http_needs_its_header() {
    let served = Served::start(&["/old"]);
    served.write(&configuration(served.directory(), &["/new"], "30s"));
    let without = send(&served.base("ops"), "POST", "/reload", &[], "");
    assert!((400..500).contains(&without.status), "{without:?}");
    assert_eq!(served.reason("/new"), NO_ROUTE);
    let with = send(
        &served.base("ops"),
        "POST",
        "/reload",
        &[("x-keyward-reload", "1")],
        "",
    );
    assert!((200..300).contains(&with.status), "{with:?}");
    assert_eq!(served.reason("/new"), NO_UPSTREAM);
}

#[test]
fn a_reload_that_fails_changes_nothing_and_says_so() {
    let mut served = Served::start(&["/old"]);
    let reload = |served: &Served| {
        send(
            &served.base("ops"),
            "POST",
            "/reload",
            &[("x-keyward-reload", "1")],
            "",
        )
    };
    let denied = served.directory().join("denied");
    std::fs::write(&denied, "a key\n").unwrap();
    let denying = format!(
        "credentials: {{ deny: {} }}\n{}",
        denied.display(),
        configuration(served.directory(), &["/new"], "30s")
    );
    for (text, word) in [
        ("listen: [".to_owned(), "keyward.yaml:"),
        (denying, "denied:1:1:"),
        (
            configuration(served.directory(), &["/new", "/new"], "30s"),
            "keyward.yaml:",
        ),
        (
            configuration(served.directory(), &["/new"], "31s"),
            "server.graceful_shutdown",
        ),
    ] {
        served.write(&text);
        let answer = reload(&served);
        assert!(
            answer.status >= 400 && answer.body.contains(word),
            "{word}: {answer:?}"
        );
        assert_eq!(
            (served.reason("/old"), served.reason("/new")),
            (NO_UPSTREAM.into(), NO_ROUTE.into()),
            "{word}"
        );
    }
    signal(served.child.id(), "HUP");
    served.event("not reloaded", 5);
    served.write(&configuration(served.directory(), &["/new"], "30s"));
    assert!(reload(&served).status < 300);
    assert_eq!(served.reason("/new"), NO_UPSTREAM);
}

#[test]
fn the_access_log_is_on_standard_output() {
    let served = Served::start(&["/old"]);
    assert_eq!(served.reason("/old"), NO_UPSTREAM);
    let (code, stdout, stderr) = served.stop();
    assert_eq!(code, Some(0), "{stderr}");
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1, "{stdout}");
    assert_eq!(
        (&lines[0]["path"], &lines[0]["status"]),
        (&Value::from("/old"), &Value::from(502))
    );
}

#[test]
fn a_broken_file_starts_nothing_and_names_every_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keyward.yaml");
    let data = directory.path().join("data");
    let text = configuration(directory.path(), &["/a", "/a"], "30s")
        .replace("upstream: nobody", "upstream: somebody");
    std::fs::write(&file, text).unwrap();
    let ended = run(&["run", "--config", file.to_str().unwrap()], "");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.is_empty());
    assert!(ended.stderr.lines().count() >= 2, "{}", ended.stderr);
    assert!(!data.exists(), "nothing was made");
    let missing = directory.path().join("none.yaml");
    let missing = run(&["run", "--config", missing.to_str().unwrap()], "");
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("none.yaml: cannot be read"),
        "{}",
        missing.stderr
    );
}
