//! One row of HTTP/2: frames as they are sent, what must come of them, and the comparison of both.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;

use super::frames::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, Raw, ask, frame, request,
};
use super::row::{IDENTITY, Message, saw};
use super::wire::Client;
use super::world::{Listener, World};

/// How long anything may take before a row has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The stream of each row, and the one of what is asked after it.
pub const STREAM: u32 = 1;
const PROBE: u32 = 99;

/// What must come of a request.
#[derive(Debug, Clone)]
enum Outcome {
    /// The gateway answers itself, and the connection goes on.
    Refused(u16, &'static str),
    /// The stream ends with this code, and the connection goes on.
    Reset(u32),
    /// The connection ends with this code.
    Ended(u32),
    /// One of these, or a 400: which, is the library's choice.
    AnyRefusal,
    /// The upstream sees this and no more.
    Passed(Message),
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    sent: Vec<u8>,
    outcome: Option<Outcome>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.sent.get(..400).unwrap_or(&self.sent);
        write!(f, "{}", shown.escape_ascii())
    }
}

/// Exactly these frames.
pub fn raw(frames: impl AsRef<[u8]>) -> Row {
    Row {
        sent: frames.as_ref().to_vec(),
        outcome: None,
    }
}

/// A request of these fields and no others, without a body.
pub fn fields(fields: &[(&str, &str)]) -> Row {
    raw(ask(STREAM, fields))
}

/// A GET with these fields beside the pseudo-headers.
pub fn get(path: &str, more: &[(&str, &str)]) -> Row {
    fields(&request("GET", path, more))
}

/// A POST on an open route with these fields and these bytes in frames of their own.
pub fn post(more: &[(&str, &str)], body: &[&str]) -> Row {
    let block = super::frames::block(&request("POST", "/open/x", more));
    let mut sent = frame(HEADERS, END_HEADERS, STREAM, block);
    for (at, piece) in body.iter().enumerate() {
        let flags = if at + 1 == body.len() { END_STREAM } else { 0 };
        sent.extend(frame(DATA, flags, STREAM, piece));
    }
    raw(sent)
}

/// A field whose name and value are any bytes.
pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    [&[0, length(name)], name, &[length(value)], value].concat()
}

impl Row {
    /// What makes it another row than others.
    pub fn key(&self) -> Vec<u8> {
        self.sent.clone()
    }

    /// More frames behind.
    pub fn then(mut self, frames: impl AsRef<[u8]>) -> Self {
        self.sent.extend_from_slice(frames.as_ref());
        self
    }

    fn with(self, outcome: Outcome) -> Self {
        Self {
            outcome: Some(outcome),
            ..self
        }
    }

    /// The gateway refuses it.
    pub fn refused(self, status: u16, reason: &'static str) -> Self {
        self.with(Outcome::Refused(status, reason))
    }

    /// Refused as malformed.
    pub fn malformed(self) -> Self {
        self.refused(400, "malformed_request")
    }

    /// The stream ends with this code.
    pub fn reset(self, code: u32) -> Self {
        self.with(Outcome::Reset(code))
    }

    /// The connection ends with this code.
    pub fn ended(self, code: u32) -> Self {
        self.with(Outcome::Ended(code))
    }

    /// A 400, the end of the stream or the end of the connection.
    pub fn any_refusal(self) -> Self {
        self.with(Outcome::AnyRefusal)
    }

    /// The upstream sees this. `Host` is the usual one where no line says another.
    pub fn passes(self, line: &str, lines: &[&str], body: impl AsRef<[u8]>) -> Self {
        self.with(Outcome::Passed(Message::new(line, lines, body)))
    }

    /// The upstream sees this, and whose key it was.
    pub fn passes_known(self, line: &str, lines: &[&str]) -> Self {
        self.passes(line, &[lines, IDENTITY].concat(), b"")
    }

    /// Sends it and looks at everything that comes of it; `Err` says what is not as it must be.
    pub fn run(&self, world: &World) -> Result<(), String> {
        world.upstream.take();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let talk = async { timeout(PATIENCE, self.talk(world)).await };
        runtime
            .unwrap()
            .block_on(talk)
            .map_err(|_| "nothing came".to_owned())??;
        let passed = match &self.outcome {
            Some(Outcome::Passed(message)) => Some(message),
            _ => None,
        };
        saw(world, passed)
    }

    async fn talk(&self, world: &World) -> Result<(), String> {
        let mut client = Raw::open(world.address(Listener::Http2), &[]).await;
        client.pour(&self.sent).await;
        let expected = self.outcome.as_ref().ok_or("nothing is expected of it")?;
        let found = outcome(&mut client).await;
        let is_right = match (expected, &found) {
            (Outcome::Refused(status, reason), Found::Answer(found, body)) => {
                status == found && body.contains(&format!("\"{reason}\""))
            }
            (Outcome::Reset(code), Found::Reset(found))
            | (Outcome::Ended(code), Found::Ended(found)) => code == found,
            (Outcome::AnyRefusal, Found::Answer(400, _) | Found::Reset(_) | Found::Ended(_)) => {
                true
            }
            (Outcome::Passed(_), Found::Answer(200, body)) => body == "ok",
            _ => false,
        };
        if !is_right {
            return Err(format!("{found:?} instead of {expected:?}"));
        }
        // Whatever was smuggled comes to light before the next request does.
        if matches!(found, Found::Ended(_)) {
            let mut next = Client::connect(world.address(Listener::Http2));
            next.send(b"GET /open/probe HTTP/1.1\r\nHost: probe\r\n\r\n")?;
            return next.answer(false).map(drop);
        }
        let probe = request("GET", "/open/probe", &[]);
        client.pour(ask(PROBE, &probe)).await;
        loop {
            let next = client.next(&[HEADERS, GOAWAY]).await;
            let next = next.ok_or("the connection ended")?;
            match (next.kind, next.stream) {
                (HEADERS, PROBE) if next.payload.first() == Some(&0x88) => return Ok(()),
                (HEADERS, STREAM) => {}
                _ => return Err(format!("the next request: {next:?}")),
            }
        }
    }
}

/// What came of a request.
#[derive(Debug)]
enum Found {
    Answer(u16, String),
    Reset(u32),
    Ended(u32),
    Closed,
}

async fn outcome(client: &mut Raw) -> Found {
    let mut answer = None;
    let mut body = Vec::new();
    while let Some(next) = client.next(&[HEADERS, DATA, RST_STREAM, GOAWAY]).await {
        match next.kind {
            GOAWAY => return Found::Ended(next.code()),
            RST_STREAM => return Found::Reset(next.code()),
            HEADERS => answer = Some(next.status()),
            _ => body.extend_from_slice(&next.payload),
        }
        if let Some(status) = answer.filter(|_| next.flags & END_STREAM != 0) {
            return Found::Answer(status, String::from_utf8_lossy(&body).into_owned());
        }
    }
    Found::Closed
}
