//! The service behind the gateways: a short answer, a long one, a stream of events, or an upgraded connection that ticks.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::http::read_head;

/// Between two events of a stream.
const TICK: Duration = Duration::from_millis(50);
/// The answer to whatever is no stream.
const BODY: &str = "{\"pad\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}";

/// The answer to `/public/large` is so many of such pieces.
const PIECES: usize = 64;
static PIECE: [u8; 65_536] = [b'x'; 65_536];

/// Bytes that the system takes of an answer before the gateway does: without a bound, the megabytes of thousands of answers
/// would fill the memory that all sockets of this machine share, which the gateway's are measured in.
const SEND_BUFFER: usize = 64 * 1024;

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
    SockRef::from(&*stream).set_send_buffer_size(SEND_BUFFER)?;
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
            let length = PIECES * PIECE.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            for _ in 0..PIECES {
                stream.write_all(&PIECE)?;
            }
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
