//! The real binary and a client that sends exactly what it is told to: what end-to-end tests stand on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// How long an answer may take before a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// The `keyward` command, without anything of the environment that could steer it.
pub fn keyward() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KEYWARD_")) {
        command.env_remove(name);
    }
    command
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `keyward` with `args` to its end, with `input` on standard input.
pub fn run(args: &[&str], input: &str) -> Ended {
    finish(keyward().args(args), input)
}

/// Runs a prepared command to its end.
pub fn finish(command: &mut Command, input: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    // A command that does not read its input closes the pipe; that is its right.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().expect("the command ends");
    writer.join().expect("the writer ends");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Text that a process goes on writing, collected by a thread.
#[derive(Debug)]
pub struct Collected {
    text: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Collected {
    pub fn from(source: impl std::io::Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&text);
        let thread = std::thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                let mut text = into.lock().expect("no test panics while it writes");
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self {
            text,
            thread: Some(thread),
        }
    }

    pub fn so_far(&self) -> String {
        self.text
            .lock()
            .expect("no test panics while it writes")
            .clone()
    }

    /// The fields of the first event with such a message, once `child`, whose log this is, has said it.
    pub fn event(&self, child: &mut Child, is_it: impl Fn(&str) -> bool) -> Value {
        let is_it = |event: &Value| {
            let message = event.pointer("/fields/message").and_then(Value::as_str);
            message.is_some_and(&is_it)
        };
        loop {
            let text = self.so_far();
            let mut events = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(event) = events.find(&is_it) {
                return event["fields"].clone();
            }
            let ended = child.try_wait().expect("its state");
            assert_eq!(ended, None, "it ended without saying it:\n{text}");
            std::thread::yield_now();
        }
    }

    pub fn whole(mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the collector ends");
        }
        self.so_far()
    }
}

/// A quickstart that runs, and is killed when the test ends however it ends.
#[derive(Debug)]
pub struct Quickstart {
    child: Child,
    ready: Value,
    stdout: Option<Collected>,
    stderr: Option<Collected>,
    dir: PathBuf,
    _temporary: Option<TempDir>,
}

impl Quickstart {
    /// Starts one on free ports with a data directory of its own.
    pub fn start() -> Self {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let mut started = Self::start_in(&temporary.path().join("data"), &[]);
        started._temporary = Some(temporary);
        started
    }

    /// Starts one on free ports on the data directory `dir`, with more arguments.
    pub fn start_in(dir: &Path, more: &[&str]) -> Self {
        let mut command = keyward();
        command
            .args(["quickstart", "--json", "--listen", "127.0.0.1:0", "--dir"])
            .arg(dir)
            .args(more);
        Self::spawn(&mut command, dir)
    }

    /// Starts a prepared command that prints the quickstart's line of JSON first.
    pub fn spawn(command: &mut Command, dir: &Path) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the quickstart starts");
        let stderr = Collected::from(child.stderr.take().expect("a pipe"));
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .expect("the quickstart says something");
        let Ok(ready) = serde_json::from_str(&line) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("not ready: {line:?}\n{}", stderr.whole());
        };
        Self {
            child,
            ready,
            stdout: Some(Collected::from(stdout)),
            stderr: Some(stderr),
            dir: dir.to_owned(),
            _temporary: None,
        }
    }

    /// The line that it printed when it was ready.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    fn text(&self, pointer: &str) -> &str {
        self.ready
            .pointer(pointer)
            .and_then(Value::as_str)
            .expect("a text in the line")
    }

    pub fn gateway(&self) -> &str {
        self.text("/gateway")
    }

    pub fn control(&self) -> &str {
        self.text("/control")
    }

    pub fn ops(&self) -> &str {
        self.text("/ops")
    }

    pub fn admin_token(&self) -> &str {
        self.text("/admin_token")
    }

    /// The sample key of a family.
    pub fn key(&self, family: &str) -> &str {
        self.text(&format!("/keys/{family}"))
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    pub fn said(&self) -> String {
        self.stderr
            .as_ref()
            .map(Collected::so_far)
            .unwrap_or_default()
    }

    /// A request to the gateway.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        send(self.gateway(), "GET", path, headers, "")
    }

    /// A request to the control plane as its administrator.
    pub fn administer(&self, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.admin_token());
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        send(self.control(), method, path, &headers, &body)
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits until it ends by itself; everything it wrote on the way, after its first line.
    pub fn wait(mut self) -> (ExitStatus, String, String) {
        let status = self.child.wait().expect("it ends");
        let take = |collected: &mut Option<Collected>| {
            collected.take().map(Collected::whole).unwrap_or_default()
        };
        (status, take(&mut self.stdout), take(&mut self.stderr))
    }

    /// Asks it to end, and waits.
    pub fn stop(self) -> (ExitStatus, String, String) {
        self.signal("TERM");
        self.wait()
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a process a signal by its name.
pub fn signal(id: u32, name: &str) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{name} {id}")])
        .status();
    assert!(sent.expect("a shell").success(), "signal {name} is sent");
}

/// A process that is killed when the test ends however it ends.
#[derive(Debug)]
pub struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a prepared command and reads its standard output up to a line that begins with `last`.
pub fn wait_for_line(command: &mut Command, last: &str) -> (Killed, String) {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("the command starts");
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let child = Killed(child);
    let mut printed = String::new();
    for line in stdout.lines().map_while(Result::ok) {
        printed.push_str(&line);
        printed.push('\n');
        if line.starts_with(last) {
            return (child, printed);
        }
    }
    panic!("it ended without `{last}`:\n{printed}");
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The body as JSON; `Null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The reason of a refusal.
    pub fn reason(&self) -> Option<String> {
        self.json()
            .pointer("/details/reason")?
            .as_str()
            .map(str::to_owned)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Sends one request on a connection of its own and reads the answer to its end.
pub fn send(
    base: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let authority = base.strip_prefix("http://").expect("a plain URL");
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let bytes = exchange(authority, format!("{head}\r\n{body}").as_bytes());
    parse(&bytes).unwrap_or_else(|| {
        panic!(
            "{method} {target}: no answer: {:?}",
            String::from_utf8_lossy(&bytes)
        )
    })
}

/// Sends bytes as they are and returns all that comes back until the other side closes.
pub fn exchange(authority: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(authority).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(bytes).expect("the request is taken");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("an answer to its end");
    answer
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = &bytes[end + 4..];
    let body = if chunked {
        unchunked(body)?
    } else {
        body.to_vec()
    };
    Some(Answer {
        status,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        let chunk = rest.get(line + 2..line + 2 + length)?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunk);
        rest = rest.get(line + 2 + length + 2..)?;
    }
}
