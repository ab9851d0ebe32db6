//! Output that is not taken: a pipe that nobody reads any more, or reads never, and a full disk.

use std::fs::File;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read as _, Write as _, pipe};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::e2e_support::{Quickstart, keyward, signal};

/// How long anything may take before a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/quickstart.yaml");

/// Runs a command that prints to `stdout`; its code and what it complains of.
fn printing_to(command: &mut Command, stdout: impl Into<Stdio>) -> (Option<i32>, String) {
    let (mut errors, stderr) = pipe().unwrap();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .unwrap();
    // The command has the pipe too, and would never see its end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut complaint = String::new();
    errors.read_to_string(&mut complaint).unwrap();
    (child.wait().unwrap().code(), complaint)
}

fn printing_to_nobody(command: &mut Command) -> (Option<i32>, String) {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    printing_to(command, writer)
}

fn printing_to_a_full_disk(command: &mut Command) -> (Option<i32>, String) {
    let full = File::options().write(true).open("/dev/full").unwrap();
    printing_to(command, full)
}

fn typed(line: &str) -> Command {
    let mut command = keyward();
    command.args(line.split(' '));
    command
}

#[test]
fn a_reader_that_goes_away_is_no_failure_and_a_full_disk_is_one_line() {
    let quickstart = Quickstart::start();
    let control = quickstart.control();
    let token = quickstart.dir().join("admin-token");
    let keys = format!("keys --control {control} --token-file {}", token.display());
    for line in [
        "--help",
        "--version",
        "keys create --help",
        "schema",
        "completions bash",
        "completions zsh",
        "completions fish",
        &format!("check --config {CONFIGURATION}"),
        &format!("check --config {CONFIGURATION} --json"),
        &format!("explain --config {CONFIGURATION} GET /public/ping"),
        &format!("explain --config {CONFIGURATION} --json GET /public/ping"),
        &format!("{keys} list --org acme"),
        &format!("{keys} list --org acme --json"),
        &format!(
            "{keys} create --workspace w1 --name n --rule {{\"action\":\"read\",\"subject\":\"pages\"}}"
        ),
    ] {
        let mut command = typed(line);
        command.env("KEYWARD_DATA", quickstart.dir());
        let ended = printing_to_nobody(&mut command);
        assert_eq!(ended, (Some(0), String::new()), "{line}");
        let (code, complaint) = printing_to_a_full_disk(&mut command);
        assert_eq!(
            (code, complaint.lines().count()),
            (Some(1), 1),
            "{line}: {complaint}"
        );
        assert!(complaint.contains("standard output"), "{line}: {complaint}");
    }
}

#[test]
fn a_check_that_nobody_reads_still_fails() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keyward.yaml");
    std::fs::write(&file, "surprise: 1\n").unwrap();
    let line = format!("check --config {} --json", file.display());
    let (code, complaint) = printing_to_nobody(&mut typed(&line));
    assert_eq!(code, Some(1), "{complaint}");
    assert!(complaint.contains("surprise"), "{complaint}");
}

#[test]
fn decide_ends_when_nobody_reads_its_answers() {
    let (input, mut lines) = pipe().unwrap();
    lines.write_all(b"x\n").unwrap();
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut child = typed("decide").stdin(input).stdout(writer).spawn().unwrap();
    // Its input is still open: it ends because of its output.
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(lines);
}

/// A pipe that takes nothing any more. The reader must live on.
fn full_pipe() -> (PipeReader, PipeWriter) {
    /// So that filling it ends; the same for all systems that have the directory below.
    const O_NONBLOCK: i32 = 0o4000;
    let (reader, writer) = pipe().unwrap();
    // Opened anew, because the flag would hold for whoever shares the first opening.
    let mut filler = File::options()
        .write(true)
        .custom_flags(O_NONBLOCK)
        .open(Path::new("/proc/self/fd").join(writer.as_raw_fd().to_string()))
        .unwrap();
    for piece in [&[b'x'; 4096][..], b"x"] {
        loop {
            match filler.write(piece) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    (reader, writer)
}

/// A `run` with these outputs, once it takes signals.
struct Served {
    child: Child,
    /// Closed by nothing but the end of the process.
    life: UnixStream,
    directory: TempDir,
}

impl Served {
    fn start(grace: &str, stdout: PipeWriter, stderr: impl Into<Stdio>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        let file = directory.path().join("keyward.yaml");
        let text = format!(
            "listen: [ {{ address: 'unix:{at}/gateway.sock' }} ]
ops: {{ listen: 127.0.0.1:0 }}
server: {{ threads: 1, graceful_shutdown: {grace} }}
keys: {{ embedded: {{ listen: 127.0.0.1:0, database: 'sqlite://{at}/keyward.db' }} }}
upstreams: {{ nobody: {{ endpoints: [ 127.0.0.1:1 ] }} }}
routes: [ {{ name: r, path: /a, require: {{ org: acme, permissions: [ 'a:b' ], scopes: [ 'a:b' ] }}, upstream: nobody }} ]
"
        );
        std::fs::write(&file, text).unwrap();
        let (life, others) = UnixStream::pair().unwrap();
        life.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = keyward()
            .args(["run", "--config"])
            .arg(&file)
            .stdin(OwnedFd::from(others))
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut served = Self {
            child,
            life,
            directory,
        };
        // It takes signals before it opens the database.
        while !served.directory.path().join("keyward.db").exists() {
            assert_eq!(served.child.try_wait().unwrap(), None, "it ended early");
            std::thread::yield_now();
        }
        served
    }

    /// One line for the access log.
    fn serve_a_request(&self) {
        let mut stream = UnixStream::connect(self.directory.path().join("gateway.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }

    fn tell_to_end(&self) {
        signal(self.child.id(), "TERM");
    }

    /// The code with which it ends.
    fn code(mut self) -> Option<i32> {
        let end = self.life.read(&mut [0]);
        assert!(matches!(end, Ok(0)), "it goes on and on: {end:?}");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_access_log_that_nobody_reads_does_not_keep_it_from_ending() {
    let (_reader, stdout) = full_pipe();
    let served = Served::start("10m", stdout, Stdio::null());
    served.serve_a_request();
    served.tell_to_end();
    assert_eq!(served.code(), Some(0));
}

#[test]
fn it_ends_after_the_grace_period_whatever_hangs() {
    let (_reader, stdout) = full_pipe();
    // Its first event hangs.
    let stderr = stdout.try_clone().unwrap();
    let served = Served::start("1s", stdout, stderr);
    served.tell_to_end();
    assert_eq!(served.code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_whatever_hangs() {
    let (_reader, stdout) = full_pipe();
    let stderr = stdout.try_clone().unwrap();
    let mut served = Served::start("10m", stdout, stderr);
    let patient = Instant::now() + PATIENCE;
    // Signals that come at the same time are one.
    while served.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < patient, "it goes on and on");
        served.tell_to_end();
    }
    assert_eq!(served.code(), Some(0));
}
