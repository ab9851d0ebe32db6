//! A client that sends exactly the bytes it is told to, and reads answers one at a time.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// One connection, or its reading half.
pub struct Client<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header, as often as it is there.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        header_values(&self.head, name)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The reason of a refusal.
    pub fn reason(&self) -> String {
        self.json()["details"]["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// The values of a header in a head.
pub fn header_values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    /// Takes the other end of a connection.
    pub fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// The two halves, for a client that reads while it writes.
    pub fn split(self) -> (Client<OwnedReadHalf>, OwnedWriteHalf) {
        let Self { stream, buffer } = self;
        let (reading, writing) = stream.into_split();
        let reading = Client {
            stream: reading,
            buffer,
        };
        (reading, writing)
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Ends its half of the connection; it still reads.
    pub async fn send_no_more(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Goes for good, and lets the other end know.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

impl<S: AsyncRead + Unpin> Client<S> {
    /// The next answer; panics where there is none.
    pub async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("an answer")
    }

    /// The next answer to a HEAD request.
    pub async fn head_answer(&mut self) -> Answer {
        let head = self.head().await.expect("an answer");
        answer(head, Vec::new())
    }

    /// The next answer; `None`: the connection closes first.
    pub async fn try_answer(&mut self) -> Option<Answer> {
        let head = self.head().await?;
        let length = header_values(&head, "content-length");
        let body = if let Some(length) = length.first() {
            let length = length.parse().unwrap();
            while self.buffer.len() < length {
                if self.read().await == 0 {
                    break;
                }
            }
            let length = length.min(self.buffer.len());
            self.buffer.drain(..length).collect()
        } else if !header_values(&head, "transfer-encoding").is_empty() {
            self.chunks().await
        } else if head.starts_with("HTTP/1.1 1") || head.starts_with("HTTP/1.1 204") {
            Vec::new()
        } else {
            while self.read().await > 0 {}
            std::mem::take(&mut self.buffer)
        };
        Some(answer(head, body))
    }

    /// The next bytes of whatever protocol it is.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.read().await > 0, "the stream is cut");
        }
        self.buffer.drain(..count).collect()
    }

    /// Whatever comes next; nothing where the connection is closed or reset.
    pub async fn next_bytes(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() && self.read().await == 0 {
            return Vec::new();
        }
        std::mem::take(&mut self.buffer)
    }

    /// The next chunk of a chunked body.
    pub async fn chunk(&mut self) -> Vec<u8> {
        let line = self.until(b"\r\n").await.expect("a chunk");
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        while self.buffer.len() < size + 2 {
            assert!(self.read().await > 0, "the chunk is cut");
        }
        let chunk = self.buffer.drain(..size).collect();
        self.buffer.drain(..2);
        chunk
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk().await;
            if chunk.is_empty() {
                return body;
            }
            body.extend(chunk);
        }
    }

    /// The next head.
    pub async fn head(&mut self) -> Option<String> {
        self.until(b"\r\n\r\n").await
    }

    async fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|w| w == end) {
                let head: Vec<u8> = self.buffer.drain(..at + end.len()).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if self.read().await == 0 {
                return None;
            }
        }
    }

    async fn read(&mut self) -> usize {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes).await.unwrap_or(0);
        self.buffer.extend_from_slice(&bytes[..read]);
        read
    }

    /// Waits for the gateway to close; what it still sent.
    pub async fn closed(&mut self) -> Vec<u8> {
        while self.read().await > 0 {}
        std::mem::take(&mut self.buffer)
    }
}

fn answer(head: String, body: Vec<u8>) -> Answer {
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        body: String::from_utf8(body).unwrap(),
    }
}
