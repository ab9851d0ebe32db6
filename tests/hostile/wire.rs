//! A client of raw bytes: sends what it is told to, reads answers one at a time. Repairs and interprets nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take before a row has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body ended as its head said that it would.
    pub complete: bool,
}

impl Answer {
    /// The one value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice: {self:?}");
        value
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends all of it. Whoever refuses in the middle must take what is on its way, or the answer may be lost.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream
            .write_all(bytes)
            .map_err(|error| format!("not all was taken: {error}"))
    }

    /// The next answer; `Err` says what came instead. `bodiless`: the request was a HEAD.
    pub fn answer(&mut self, bodiless: bool) -> Result<Answer, String> {
        let head = self.head()?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let Some(status) = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
        else {
            return Err(format!("no status line: {status_line:?}"));
        };
        let mut answer = Answer {
            status,
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: Vec::new(),
            complete: true,
        };
        let informational = (100..200).contains(&status);
        if bodiless || informational || matches!(status, 204 | 304) {
            return Ok(answer);
        }
        let length = answer.header("content-length").map(str::to_owned);
        let chunked = answer.header("transfer-encoding").map(str::to_owned);
        match (length, chunked) {
            (Some(_), Some(_)) => return Err(format!("two framings: {answer:?}")),
            (Some(length), None) => {
                let length = length.parse().map_err(|_| format!("{answer:?}"))?;
                answer.complete = self.until(|buffer| buffer.len() >= length)?;
                let length = length.min(self.buffer.len());
                answer.body = self.buffer.drain(..length).collect();
            }
            (None, Some(coding)) if coding == "chunked" => {
                (answer.body, answer.complete) = self.chunks()?;
            }
            (None, Some(_)) => return Err(format!("an odd coding: {answer:?}")),
            (None, None) => answer.body = self.rest()?,
        }
        Ok(answer)
    }

    /// What still comes until the other side closes.
    pub fn rest(&mut self) -> Result<Vec<u8>, String> {
        self.until(|_| false)?;
        Ok(std::mem::take(&mut self.buffer))
    }

    fn head(&mut self) -> Result<Vec<u8>, String> {
        let end = |buffer: &[u8]| buffer.windows(4).position(|four| four == b"\r\n\r\n");
        if !self.until(|buffer| end(buffer).is_some())? {
            let rest = self.buffer.escape_ascii();
            return Err(format!("closed without a whole answer: {rest}"));
        }
        let end = end(&self.buffer).unwrap();
        Ok(self.buffer.drain(..end + 4).collect())
    }

    fn chunks(&mut self) -> Result<(Vec<u8>, bool), String> {
        let mut body = Vec::new();
        loop {
            let line = |buffer: &[u8]| buffer.windows(2).position(|two| two == b"\r\n");
            if !self.until(|buffer| line(buffer).is_some())? {
                return Ok((body, false));
            }
            let end = line(&self.buffer).unwrap();
            let size: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let size = std::str::from_utf8(&size).unwrap().trim_end();
            let size = usize::from_str_radix(size, 16).map_err(|_| format!("a size {size:?}"))?;
            if !self.until(|buffer| buffer.len() >= size + 2)? {
                body.append(&mut self.buffer);
                return Ok((body, false));
            }
            body.extend(self.buffer.drain(..size));
            self.buffer.drain(..2);
            if size == 0 {
                return Ok((body, true));
            }
        }
    }

    /// Reads until `enough` of it is there; `false`: the other side closed before.
    fn until(&mut self, enough: impl Fn(&[u8]) -> bool) -> Result<bool, String> {
        let mut bytes = [0; 8192];
        while !enough(&self.buffer) {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(false),
                Ok(read) => self.buffer.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    let rest = self.buffer.escape_ascii();
                    return Err(format!("reset after: {rest}"));
                }
                Err(error) => {
                    let rest = self.buffer.escape_ascii();
                    return Err(format!("nothing came ({error}) after: {rest}"));
                }
            }
        }
        Ok(true)
    }
}
