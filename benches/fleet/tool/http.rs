//! As little of an HTTP/1.1 client as asks fast: one connection, one request at a time, answers with a length.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(75);
/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// A connection that is opened when it is needed, and again when it was lost.
pub struct Connection {
    address: String,
    stream: Option<TcpStream>,
    read: Vec<u8>,
}

/// What came back.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The head, as text.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a line of the head.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self
            .head
            .split("\r\n")
            .filter_map(|line| line.split_once(':'));
        lines.find_map(|(known, value)| known.eq_ignore_ascii_case(name).then(|| value.trim()))
    }
}

impl Connection {
    /// One to `host:port`.
    pub fn to(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            stream: None,
            read: Vec::new(),
        }
    }

    /// Asks, and waits for the answer. After a failure the next request opens the connection again.
    pub fn ask(
        &mut self,
        method: &str,
        target: &str,
        lines: &str,
        body: &str,
    ) -> io::Result<Reply> {
        let answer = self.try_ask(method, target, lines, body);
        let is_last = match &answer {
            Ok(reply) => reply
                .header("connection")
                .is_some_and(|said| said.contains("close")),
            Err(_) => true,
        };
        if is_last {
            self.stream = None;
        }
        answer
    }

    fn try_ask(
        &mut self,
        method: &str,
        target: &str,
        lines: &str,
        body: &str,
    ) -> io::Result<Reply> {
        let request = request(&self.address, method, target, lines, body);
        if self.stream.is_none() {
            self.read.clear();
            self.stream = Some(connect(&self.address)?);
        }
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        stream.write_all(request.as_bytes())?;
        read_reply(stream, &mut self.read)
    }
}

/// Opens a connection.
pub fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The bytes of a request; `lines` end with `\r\n` each.
pub fn request(host: &str, method: &str, target: &str, lines: &str, body: &str) -> String {
    let length = if body.is_empty() {
        String::new()
    } else {
        format!(
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        )
    };
    format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{lines}{length}\r\n{body}")
}

fn read_reply(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Reply> {
    let head = read_head(stream, read)?;
    let mut words = head.split(' ');
    let status = words.nth(1).and_then(|code| code.parse().ok());
    let mut reply = Reply {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        head,
        body: Vec::new(),
    };
    let length = reply
        .header("content-length")
        .and_then(|text| text.parse().ok());
    let length = length.unwrap_or(0);
    while read.len() < length {
        read_more(stream, read)?;
    }
    reply.body = read.drain(..length).collect();
    Ok(reply)
}

/// Reads a head to its end; what came after it stays in `read`.
pub fn read_head(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<String> {
    loop {
        let end = read.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head: Vec<u8> = read.drain(..end + 4).collect();
            return String::from_utf8(head).map_err(|_| io::ErrorKind::InvalidData.into());
        }
        read_more(stream, read)?;
    }
}

fn read_more(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; CHUNK];
    match stream.read(&mut chunk)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            read.extend(chunk.iter().take(count));
            Ok(())
        }
    }
}
