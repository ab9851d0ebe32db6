//! A gateway as a control plane meets it: raw requests, and streams read message by message.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use keyward::authz::Revision;
use keyward::wire::Epoch;
use keyward::wire::sync::{
    CONTENT_TYPE, FrameReader, GatewayId, GatewayInfo, Message, OnStale, Position,
};
use serde_json::{Value, json};

use crate::control_support::{Answer, GATEWAY, call};

/// A gateway that follows.
#[derive(Debug, Clone)]
pub struct Gateway {
    pub address: SocketAddr,
    pub token: String,
    pub info: GatewayInfo,
    tags: u64,
}

impl Gateway {
    /// One that serves whatever it has for a minute without news.
    pub fn new(address: SocketAddr, id: u128) -> Self {
        Self {
            address,
            token: GATEWAY.to_owned(),
            info: GatewayInfo {
                id: GatewayId(id),
                name: format!("gateway-{id}"),
                on_stale: OnStale::Serve,
                max_staleness: Duration::from_secs(60),
            },
            tags: 0,
        }
    }

    /// The path of one of its requests.
    pub fn path(&self, what: &str, position: Option<Position>) -> String {
        let info = &self.info;
        let mut path = format!(
            "/sync/v1/{what}?gateway={}&name={}&on_stale={}&max_staleness_ms={}",
            info.id,
            info.name,
            info.on_stale.as_str(),
            info.max_staleness.as_millis()
        );
        if let Some(Position { epoch, revision }) = position {
            path.push_str(&format!("&epoch={epoch}&after={}", revision.0));
        }
        path
    }

    /// A request with its token.
    pub fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let headers = [("authorization", bearer.as_str())];
        call(self.address, method, path, &headers, body.as_bytes())
    }

    /// Begins to read a stream, whose head must be that of one.
    pub fn open(&self, path: &str) -> Stream {
        let bearer = format!("Bearer {}", self.token);
        let mut socket = TcpStream::connect(self.address).unwrap();
        let patience = Some(Duration::from_secs(60));
        socket.set_read_timeout(patience).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: control\r\nauthorization: {bearer}\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut stream = Stream {
            socket,
            raw: Vec::new(),
            frames: FrameReader::new(None),
            payloads: Vec::new(),
            is_over: false,
        };
        let head = stream.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(
            head.contains(&format!("content-type: {CONTENT_TYPE}\r\n")),
            "{head}"
        );
        assert!(head.contains("cache-control: no-store\r\n"), "{head}");
        stream
    }

    /// A snapshot: where it is, and the messages between its ends.
    pub fn snapshot(&self) -> (Position, Vec<Message>) {
        let mut stream = self.open(&self.path("snapshot", None));
        let Some(Message::Begin {
            epoch,
            revision,
            keys: announced,
        }) = stream.next()
        else {
            panic!("no beginning");
        };
        let mut messages = Vec::new();
        loop {
            match stream.next() {
                Some(Message::End { keys }) => {
                    assert_eq!(keys, announced);
                    break;
                }
                Some(message) => messages.push(message),
                None => panic!("a snapshot without an end"),
            }
        }
        assert_eq!(stream.next(), None);
        (Position { epoch, revision }, messages)
    }

    /// Follows from a position on.
    pub fn follow(&self, position: Position) -> Stream {
        self.open(&self.path("changes", Some(position)))
    }

    /// Acknowledges a position, and gives the tag.
    pub fn ack(&mut self, position: Position) -> u64 {
        self.tags += 1;
        let answer = self.call(
            "POST",
            &self.path("ack", None),
            Some(self.ack_body(position)),
        );
        assert_eq!(answer.status, 204, "{}", answer.raw);
        self.tags
    }

    fn ack_body(&self, position: Position) -> Value {
        json!({"epoch": position.epoch.to_string(), "revision": position.revision.0, "tag": self.tags})
    }
}

/// A stream of messages.
pub struct Stream {
    socket: TcpStream,
    raw: Vec<u8>,
    frames: FrameReader,
    /// The payloads that came.
    pub payloads: Vec<Vec<u8>>,
    is_over: bool,
}

impl Stream {
    /// The next message; `None`: the body has come to its end.
    pub fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(payload) = self.frames.next_payload().unwrap() {
                self.payloads.push(payload.to_vec());
                return Some(Message::decode(payload).unwrap());
            }
            if self.is_over {
                assert!(self.frames.is_at_boundary(), "it ends within a frame");
                return None;
            }
            let chunk = self.chunk();
            self.is_over = chunk.is_empty();
            self.frames.push(&chunk);
        }
    }

    /// The next change, whatever heartbeats come before: its revisions and how many messages it had beside.
    pub fn change(&mut self) -> (u64, u64, usize) {
        let mut parts = 0;
        loop {
            match self.next() {
                Some(Message::Apply { previous, revision }) => {
                    return (previous.0, revision.0, parts);
                }
                Some(Message::Put(_) | Message::Removed(_)) => parts += 1,
                Some(Message::Heartbeat { .. }) => assert_eq!(parts, 0),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next heartbeat, whatever comes before: revision and echo.
    pub fn heartbeat(&mut self) -> (u64, u64) {
        loop {
            match self.next() {
                Some(Message::Heartbeat { revision, echo, .. }) => return (revision.0, echo),
                Some(_) => {}
                None => panic!("the stream is over"),
            }
        }
    }

    /// Reads to the end of the body.
    pub fn read_to_end(&mut self) {
        while self.next().is_some() {}
    }

    fn head(&mut self) -> String {
        let end = self.find(b"\r\n\r\n");
        let head = self.raw.drain(..end + 4).collect();
        String::from_utf8(head).unwrap()
    }

    fn chunk(&mut self) -> Vec<u8> {
        let end = self.find(b"\r\n");
        let line = String::from_utf8(self.raw.drain(..end + 2).collect()).unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        while self.raw.len() < length + 2 {
            self.read();
        }
        let mut chunk: Vec<u8> = self.raw.drain(..length + 2).collect();
        chunk.truncate(length);
        chunk
    }

    fn find(&mut self, wanted: &[u8]) -> usize {
        loop {
            let mut windows = self.raw.windows(wanted.len());
            if let Some(at) = windows.position(|window| window == wanted) {
                return at;
            }
            self.read();
        }
    }

    fn read(&mut self) {
        let mut bytes = [0; 16 * 1024];
        let length = self.socket.read(&mut bytes).unwrap();
        assert!(length > 0, "the connection was cut");
        self.raw.extend_from_slice(&bytes[..length]);
    }
}

/// A position.
pub fn at(epoch: Epoch, revision: u64) -> Position {
    Position {
        epoch,
        revision: Revision(revision),
    }
}
