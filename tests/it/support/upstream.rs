//! An upstream that keeps the exact bytes of every request it gets, and answers as it is told to.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::client::header_values;

/// What an upstream does with a request.
pub type Script = Arc<dyn Fn(&Received) -> Vec<u8> + Send + Sync>;

/// One request as it came in.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Request line and headers, as bytes were.
    pub head: String,
    /// The body, chunks and all.
    pub body: Vec<u8>,
    /// On which connection.
    pub connection: usize,
}

impl Received {
    pub fn headers(&self, name: &str) -> Vec<&str> {
        header_values(&self.head, name)
    }

    pub fn request_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// Whether the bytes are anywhere in it.
    pub fn contains(&self, text: &str) -> bool {
        let bytes = [self.head.as_bytes(), &self.body].concat();
        bytes.windows(text.len()).any(|w| w == text.as_bytes())
    }
}

/// The upstream.
pub struct Recorder {
    pub address: SocketAddr,
    requests: watch::Receiver<Vec<Received>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `200` with a short body.
pub fn ok() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()
}

impl Recorder {
    /// Answers everything with [`ok`].
    pub async fn start() -> Self {
        Self::answering(|_| ok()).await
    }

    /// Answers what `script` says; an empty answer closes the connection.
    pub async fn answering(script: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = watch::channel(Vec::new());
        let sender = Arc::new(sender);
        let script: Script = Arc::new(script);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let (sender, script) = (Arc::clone(&sender), Arc::clone(&script));
                connections.spawn(serve(stream, connection, sender, script));
            }
        });
        Self {
            address,
            requests,
            task,
        }
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.requests.borrow().clone()
    }

    /// The one request so far.
    pub fn one(&self) -> Received {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.into_iter().next().unwrap()
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    sender: Arc<watch::Sender<Vec<Received>>>,
    script: Script,
) {
    let mut buffer = Vec::new();
    while let Some(mut received) = receive(&mut stream, &mut buffer).await {
        received.connection = connection;
        sender.send_modify(|requests| requests.push(received.clone()));
        let answer = script(&received);
        if answer.is_empty() || stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

pub async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Received> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        read(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let mut received = Received {
        head,
        ..Received::default()
    };
    if let Some(length) = received.headers("content-length").first() {
        let length: usize = length.parse().unwrap();
        while buffer.len() < length {
            read(stream, buffer).await?;
        }
        received.body = buffer.drain(..length).collect();
    } else if !received.headers("transfer-encoding").is_empty() {
        while !buffer.ends_with(b"0\r\n\r\n") {
            read(stream, buffer).await?;
        }
        received.body = std::mem::take(buffer);
    }
    Some(received)
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut bytes = [0; 4096];
    match stream.read(&mut bytes).await {
        Ok(0) | Err(_) => None,
        Ok(read) => {
            buffer.extend_from_slice(&bytes[..read]);
            Some(())
        }
    }
}

/// An address at which nothing listens.
pub async fn dead_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}
