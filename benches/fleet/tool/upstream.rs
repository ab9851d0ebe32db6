//! The service behind the gateways: a short answer, a long one, a stream of events, or an upgraded connection that ticks.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::http::read_head;

/// Between two events of a stream.
const TICK: Duration = Duration::from_millis(50);
/// The answer to whatever is no stream.
const BODY: &str = "{\"pad\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}";

/// The length of the answer to `/public/large`.
const LARGE: usize = 4 * 1024 * 1024;

/// Serves for ever, a thread a connection.
pub fn serve(listen: &str) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        // A connection that fails is its client's affair.
        thread::spawn(move || drop(converse(&mut stream)));
    }
    Ok(())
}

fn converse(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = Vec::new();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    loop {
        let head = read_head(stream, &mut read)?.to_ascii_lowercase();
        if head.contains("upgrade: websocket") {
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")?;
            // A text frame of four bytes, unmasked, as a server sends it.
            return tick(stream, b"\x81\x04tick");
        }
        if head.contains("accept: text/event-stream") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
            return tick(stream, b"c\r\ndata: tick\n\n\r\n");
        }
        skip_body(stream, &head, &mut read)?;
        if head.starts_with("get /public/large") {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            stream.write_all(&vec![b'x'; LARGE])?;
        } else {
            stream.write_all(answer.as_bytes())?;
        }
    }
}

/// Reads what belongs to a request whose length is told.
fn skip_body(stream: &mut TcpStream, head: &str, read: &mut Vec<u8>) -> io::Result<()> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let length = lines.find_map(|(name, value)| (name == "content-length").then(|| value.trim()));
    let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    let here = length.min(read.len());
    read.drain(..here);
    let mut rest = stream.take((length - here) as u64);
    io::copy(&mut rest, &mut io::sink())?;
    Ok(())
}

fn tick(stream: &mut TcpStream, event: &[u8]) -> io::Result<()> {
    loop {
        stream.write_all(event)?;
        thread::sleep(TICK);
    }
}
