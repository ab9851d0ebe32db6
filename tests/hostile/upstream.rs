//! An upstream that keeps the exact bytes of every message it gets, and answers as the row at hand says.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the upstream answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Script {
    /// What it sends, whatever that is.
    pub bytes: Vec<u8>,
    /// Before it has read the body.
    pub early: bool,
    /// And closes.
    pub closes: bool,
}

/// The upstream.
#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    seen: Vec<Vec<u8>>,
    script: Option<Script>,
}

/// What it answers when nothing else is said.
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

impl Upstream {
    /// Listens, on threads that end with the process.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::default(),
        };
        let serving = upstream.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        upstream
    }

    /// Answers the next message so, and all others as usual.
    pub fn will_answer(&self, script: Option<Script>) {
        self.shared.lock().unwrap().script = script;
    }

    /// The messages since the last time.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.shared.lock().unwrap().seen)
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut buffer = Vec::new();
        loop {
            let end = read_until(&mut stream, &mut buffer, head_end)?;
            let script = self.shared.lock().unwrap().script.take();
            let framing = framing(&buffer[..end]);
            let end = match &script {
                Some(script) if script.early => end,
                _ => read_until(&mut stream, &mut buffer, |buffer| {
                    body_end(buffer, end, &framing)
                })?,
            };
            let message = buffer.drain(..end).collect();
            self.shared.lock().unwrap().seen.push(message);
            let Some(script) = script else {
                stream.write_all(OK).ok()?;
                continue;
            };
            stream.write_all(&script.bytes).ok()?;
            if script.closes {
                // What is in flight must arrive, so only the one direction ends; then the other side's end is awaited.
                stream.shutdown(std::net::Shutdown::Write).ok()?;
                stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
                while stream.read(&mut [0; 1024]).ok()? > 0 {}
                return None;
            }
            if script.early {
                let end = read_until(&mut stream, &mut buffer, |buffer| {
                    body_end(buffer, 0, &framing)
                })?;
                buffer.drain(..end);
            }
        }
    }
}

fn read_until(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    end: impl Fn(&[u8]) -> Option<usize>,
) -> Option<usize> {
    let mut bytes = [0; 8192];
    loop {
        if let Some(end) = end(buffer) {
            return Some(end);
        }
        let read = stream.read(&mut bytes).ok().filter(|read| *read > 0)?;
        buffer.extend_from_slice(&bytes[..read]);
    }
}

fn head_end(buffer: &[u8]) -> Option<usize> {
    let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

/// How a body ends.
enum Framing {
    Length(usize),
    Chunks,
}

/// What the head says of its body. Anything but one plain statement is the gateway's fault.
fn framing(head: &[u8]) -> Framing {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = |name: &str| {
        let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(known, _)| *known == name);
        let value = values.next().map(|(_, value)| value.trim().to_owned());
        assert!(values.next().is_none(), "{name} twice in {head}");
        value
    };
    match (value("content-length"), value("transfer-encoding")) {
        (None, None) => Framing::Length(0),
        (Some(length), None) => Framing::Length(length.parse().unwrap()),
        (None, Some(coding)) if coding == "chunked" => Framing::Chunks,
        other => panic!("{other:?} in {head}"),
    }
}

fn body_end(buffer: &[u8], start: usize, framing: &Framing) -> Option<usize> {
    match framing {
        Framing::Length(length) => Some(start + length).filter(|end| *end <= buffer.len()),
        Framing::Chunks => {
            let mut at = start;
            loop {
                let rest = &buffer[at..];
                let line = rest.windows(2).position(|two| two == b"\r\n")?;
                let size = std::str::from_utf8(&rest[..line]).expect("a size");
                let size = usize::from_str_radix(size, 16).expect("a size");
                at += line + 2 + size + 2;
                if at > buffer.len() {
                    return None;
                }
                if size == 0 {
                    return Some(at);
                }
            }
        }
    }
}
