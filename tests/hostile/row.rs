//! One row of the table: what is sent, what must come of it, and the comparison of both.

use std::fmt;

use serde_json::Value;

use super::upstream::Script;
use super::wire::{Answer, Client};
use super::world::{Listener, World};

/// What an upstream is told whatever the request was; `{host}` is the one of the request.
const OWN_LINES: &[&str] = &[
    "x-forwarded-for: 127.0.0.1",
    "x-forwarded-host: {host}",
    "x-forwarded-proto: http",
];

/// What an upstream is told of the key of `acme`.
pub const IDENTITY: &[&str] = &[
    "x-keyward-family: org",
    "x-keyward-key-id: {key_id}",
    "x-keyward-org: acme",
];

/// A message as the upstream must see it.
#[derive(Debug, Clone)]
pub struct Message {
    line: String,
    /// Lines in lower-case names, in any order; own lines and those that name a trace are added.
    lines: Vec<String>,
    body: Vec<u8>,
}

/// Sent after each row.
const PROBE: &[u8] = b"GET /open/probe HTTP/1.1\r\nHost: probe\r\n\r\n";

/// What must come of a request.
#[derive(Debug, Clone)]
enum Outcome {
    /// The gateway answers itself.
    Refused(u16, &'static str),
    /// The upstream sees this and no more.
    Passed(Message),
}

/// What the client must get of an answer of the upstream's.
#[derive(Debug, Clone)]
pub enum Got {
    /// This status, with these lines beside those of the gateway's own, and this body.
    Answer(u16, &'static [&'static str], &'static [u8]),
    /// The gateway answers itself, as the upstream's answer is none.
    Refused(u16, &'static str),
    /// An answer that breaks off: the client can tell.
    Cut,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    to: Listener,
    sent: Vec<u8>,
    outcomes: Vec<Outcome>,
    closes: bool,
    /// The connection may close and need not.
    either: bool,
    script: Option<Script>,
    got: Option<Got>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.sent.get(..400).unwrap_or(&self.sent);
        write!(f, "{:?} {}", self.to, shown.escape_ascii())?;
        match &self.script {
            Some(script) => {
                let shown = script.bytes.get(..300).unwrap_or(&script.bytes);
                write!(f, " <- {}", shown.escape_ascii())
            }
            None => Ok(()),
        }
    }
}

/// Exactly these bytes.
pub fn raw(bytes: impl AsRef<[u8]>) -> Row {
    Row {
        to: Listener::Plain,
        sent: bytes.as_ref().to_vec(),
        outcomes: Vec::new(),
        closes: false,
        either: false,
        script: None,
        got: None,
    }
}

/// A whole request with these header lines beside its `Host`.
pub fn request(line: &str, lines: &[&str], body: impl AsRef<[u8]>) -> Row {
    let mut text = format!("{line} HTTP/1.1\r\nHost: gw.test\r\n");
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    raw([text.as_bytes(), body.as_ref()].concat())
}

/// A GET with these header lines beside its `Host`.
pub fn get(target: &str, lines: &[&str]) -> Row {
    request(&format!("GET {target}"), lines, b"")
}

/// A POST on an open route.
pub fn post(lines: &[&str], body: impl AsRef<[u8]>) -> Row {
    request("POST /open/x", lines, body)
}

impl Row {
    /// What makes it another row than others.
    pub fn key(&self) -> (Listener, Vec<u8>, Option<Script>) {
        (self.to, self.sent.clone(), self.script.clone())
    }

    /// To another listener than the usual one.
    pub fn at(self, to: Listener) -> Self {
        Self { to, ..self }
    }

    /// More bytes behind: another request on the same connection.
    pub fn then(mut self, next: &Self) -> Self {
        self.sent.extend_from_slice(&next.sent);
        self.outcomes.extend(next.outcomes.iter().cloned());
        self.closes = next.closes;
        self
    }

    /// The gateway refuses it and closes.
    pub fn refused(self, status: u16, reason: &'static str) -> Self {
        Self {
            closes: true,
            ..self.refused_open(status, reason)
        }
    }

    /// Malformed: refused, and the connection closes.
    pub fn malformed(self) -> Self {
        self.refused(400, "malformed_request")
    }

    /// The gateway refuses it, and the next request on the connection is taken.
    pub fn refused_open(mut self, status: u16, reason: &'static str) -> Self {
        self.outcomes.push(Outcome::Refused(status, reason));
        self
    }

    /// Not canonical, but where it ends is plain: refused, and the next request is taken.
    pub fn not_canonical(self) -> Self {
        self.refused_open(400, "malformed_request")
    }

    /// The upstream sees this. `Host` is the usual one where no line says another.
    pub fn passes(mut self, line: &str, lines: &[&str], body: impl AsRef<[u8]>) -> Self {
        let message = Message::new(line, lines, body);
        self.outcomes.push(Outcome::Passed(message));
        self
    }

    /// The upstream sees this, and whose key it was.
    pub fn passes_known(self, line: &str, lines: &[&str], body: impl AsRef<[u8]>) -> Self {
        self.passes(line, &[lines, IDENTITY].concat(), body)
    }

    /// The connection closes after it.
    pub fn closes(self) -> Self {
        Self {
            closes: true,
            ..self
        }
    }

    /// The connection closes after it or takes the next request; nothing else.
    pub fn either_way(self) -> Self {
        Self {
            either: true,
            ..self
        }
    }

    /// The upstream answers the first message so.
    pub fn answered(self, bytes: impl AsRef<[u8]>, got: Got) -> Self {
        let bytes = bytes.as_ref().to_vec();
        let script = Script {
            bytes,
            early: false,
            closes: false,
        };
        Self {
            script: Some(script),
            got: Some(got),
            ..self
        }
    }

    /// The upstream closes after its answer.
    pub fn and_closes(mut self) -> Self {
        if let Some(script) = &mut self.script {
            script.closes = true;
        }
        self
    }

    /// The upstream answers before it has read the body.
    pub fn early(mut self) -> Self {
        if let Some(script) = &mut self.script {
            script.early = true;
        }
        self
    }

    /// Sends it and looks at everything that comes of it; `Err` says what is not as it must be.
    pub fn run(&self, world: &World) -> Result<(), String> {
        world.upstream.take();
        world.upstream.will_answer(self.script.clone());
        let mut client = Client::connect(world.address(self.to));
        client.send(&self.sent)?;
        for (index, outcome) in self.outcomes.iter().enumerate() {
            let bodiless = self.sent.starts_with(b"HEAD ");
            self.look_at_answer(index, outcome, &mut client, bodiless)?;
        }
        world.upstream.will_answer(None);
        if self.closes {
            let rest = client.rest()?;
            if !rest.is_empty() {
                return Err(format!("more: {}", rest.escape_ascii()));
            }
            client = Client::connect(world.address(Listener::Plain));
        }
        // Whatever was smuggled comes to light before the next request does, on either connection.
        let probe = match probe(&mut client) {
            Err(_) if self.either => probe(&mut Client::connect(world.address(Listener::Plain)))?,
            probed => probed?,
        };
        if probe.status != 200 {
            return Err(format!("the next request: {probe:?}"));
        }
        self.look_at_upstream(world)
    }

    fn look_at_answer(
        &self,
        index: usize,
        outcome: &Outcome,
        client: &mut Client,
        bodiless: bool,
    ) -> Result<(), String> {
        let mut answer = client.answer(bodiless)?;
        while answer.status < 200 && answer.status != 101 {
            answer = client.answer(bodiless)?;
        }
        match (outcome, &self.got) {
            (Outcome::Refused(status, reason), _) => {
                is_refusal(&answer, *status, reason, bodiless)?;
                self.says_what_follows(&answer, index)
            }
            (Outcome::Passed(_), Some(got)) if index == 0 => is_got(&answer, got, bodiless),
            (Outcome::Passed(_), _) if answer.status == 200 => Ok(()),
            _ => Err(format!("{answer:?}")),
        }
    }

    /// A refusal that ends the connection says so, and no other does.
    fn says_what_follows(&self, answer: &Answer, index: usize) -> Result<(), String> {
        let last = index + 1 == self.outcomes.len();
        let said = answer.header("connection") == Some("close");
        if self.either || said == (self.closes && last) {
            return Ok(());
        }
        Err(format!("`connection` is wrong: {answer:?}"))
    }

    fn look_at_upstream(&self, world: &World) -> Result<(), String> {
        let passed = self.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Passed(message) => Some(message),
            Outcome::Refused(..) => None,
        });
        saw(world, passed)
    }
}

/// Whether the upstream has seen these and the request that is sent after each row, and nothing else.
pub fn saw<'a>(
    world: &World,
    messages: impl IntoIterator<Item = &'a Message>,
) -> Result<(), String> {
    let mut seen = world.upstream.take().into_iter();
    for message in messages {
        let found = seen.next().ok_or("the upstream saw nothing")?;
        message.is_seen(&found, &world.key_ids)?;
    }
    let rest: Vec<Vec<u8>> = seen.collect();
    match rest.as_slice() {
        [probe] if probe.starts_with(b"GET /open/probe HTTP/1.1\r\n") => Ok(()),
        rest => {
            let rest: Vec<String> = rest
                .iter()
                .map(|it| it.escape_ascii().to_string())
                .collect();
            Err(format!("the upstream saw also: {rest:#?}"))
        }
    }
}

fn probe(client: &mut Client) -> Result<Answer, String> {
    client.send(PROBE)?;
    client.answer(false)
}

/// The platform's name of what is wrong, by status.
const ERRORS: &[(u16, &str)] = &[
    (400, "BadParameters"),
    (401, "AuthenticationError"),
    (403, "ForbiddenError"),
    (404, "ObjectNotFound"),
    (405, "MethodNotAllowed"),
    (408, "TimeoutError"),
    (413, "PayloadTooLarge"),
    (414, "BadParameters"),
    (417, "BadParameters"),
    (429, "TooManyRequests"),
    (431, "BadParameters"),
    (502, "BadGateway"),
    (503, "ServiceUnavailable"),
    (504, "TimeoutError"),
];

/// Whether it is this refusal, whole: its body, and every line that its status demands.
fn is_refusal(answer: &Answer, status: u16, reason: &str, bodiless: bool) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("instead of {status} {reason}: {what}: {answer:?}"));
    if answer.status != status {
        return wrong("the status");
    }
    let plain = [
        ("cache-control", "no-store"),
        ("content-type", "application/json"),
    ];
    for (name, value) in plain {
        if answer.header(name) != Some(value) {
            return wrong(name);
        }
    }
    let demanded: &[&str] = match status {
        401 => &["www-authenticate"],
        405 => &["allow"],
        429 => &[
            "retry-after",
            "ratelimit-limit",
            "ratelimit-remaining",
            "ratelimit-reset",
        ],
        503 => &["retry-after"],
        _ => &[],
    };
    let always = [
        "date",
        "content-length",
        "connection",
        "x-correlation-id",
        "traceparent",
    ];
    for name in demanded.iter().chain(&always) {
        if answer.header(name).is_none() {
            return wrong(name);
        }
    }
    if bodiless {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let error = ERRORS.iter().find(|(known, _)| *known == status);
    let named = error.is_some_and(|(_, error)| body["error"] == *error);
    let needed = status != 403 || !body["details"]["needed"].is_null();
    if !named || !needed || !body["message"].is_string() || body["details"]["reason"] != reason {
        return wrong("the body");
    }
    Ok(())
}

/// The gateway's own lines in an answer that it passes on.
const ANSWER_LINES: &[&str] = &["traceparent", "x-correlation-id", "date", "connection"];

fn is_got(answer: &Answer, got: &Got, bodiless: bool) -> Result<(), String> {
    let wrong = || Err(format!("instead of {got:?}: {answer:?}"));
    match got {
        Got::Refused(status, reason) => is_refusal(answer, *status, reason, bodiless),
        Got::Cut if answer.complete => wrong(),
        Got::Cut => Ok(()),
        Got::Answer(status, lines, body) => {
            let mut found: Vec<String> = answer
                .headers
                .iter()
                .filter(|(name, _)| !ANSWER_LINES.contains(&name.as_str()))
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            found.sort();
            let mut expected: Vec<&str> = lines.to_vec();
            expected.sort_unstable();
            let whole = answer.complete && answer.body == *body;
            if answer.status != *status || !whole || found != expected {
                return wrong();
            }
            Ok(())
        }
    }
}

impl Message {
    /// Of these lines. `Host` is the usual one where no line says another.
    pub fn new(line: &str, lines: &[&str], body: impl AsRef<[u8]>) -> Self {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        if !lines.iter().any(|line| line.starts_with("host:")) {
            lines.push("host: gw.test".to_owned());
        }
        Self {
            line: format!("{line} HTTP/1.1"),
            lines,
            body: body.as_ref().to_vec(),
        }
    }

    /// Whether these bytes are it, up to the order of the lines.
    fn is_seen(&self, bytes: &[u8], key_ids: &[(&str, String)]) -> Result<(), String> {
        let shown = || bytes.escape_ascii().to_string();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.ok_or_else(shown)?;
        // Latin-1, so that each byte is one character.
        let head: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default();
        // In which case names are written means nothing.
        let lower = |line: &str| match line.split_once(':') {
            Some((name, value)) => format!("{}:{value}", name.to_ascii_lowercase()),
            None => line.to_owned(),
        };
        let mut found: Vec<String> = lines.map(lower).collect();
        for name in ["traceparent: ", "x-correlation-id: "] {
            let stated = self.lines.iter().any(|line| line.starts_with(name));
            let before = found.len();
            found.retain(|line| stated || !line.starts_with(name));
            if !stated && before != found.len() + 1 {
                return Err(format!("not one {name}in {}", shown()));
            }
        }
        found.sort();
        let expected = self.all_lines(key_ids);
        if line != self.line || found != expected || bytes[end + 4..] != self.body {
            let expected = [std::slice::from_ref(&self.line), expected.as_slice()].concat();
            let body = self.body.escape_ascii();
            return Err(format!("seen {}\n    not  {expected:?} {body}", shown()));
        }
        Ok(())
    }

    fn all_lines(&self, key_ids: &[(&str, String)]) -> Vec<String> {
        let host = self
            .lines
            .iter()
            .find_map(|line| line.strip_prefix("host: "));
        let host = host.unwrap_or_default();
        let stated = |line: &str| {
            let name = line.split(':').next().unwrap_or_default();
            let mut all = self.lines.iter();
            all.any(|other| other.split(':').next() == Some(name))
        };
        let own = OWN_LINES.iter().filter(|line| !stated(line));
        let own = own.map(|line| line.replace("{host}", host));
        let mut lines: Vec<String> = self.lines.iter().cloned().chain(own).collect();
        for line in &mut lines {
            for (place, id) in key_ids {
                *line = line.replace(place, id);
            }
        }
        // A line that a row states to be absent.
        lines.retain(|line| !line.ends_with(": {none}"));
        lines.sort();
        lines
    }
}
