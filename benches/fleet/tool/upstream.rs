//! The service behind the gateways: a short answer, a stream of events, or an upgraded connection that ticks.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::http::read_head;

/// Between two events of a stream.
const TICK: Duration = Duration::from_millis(50);
/// The answer to whatever is no stream.
const BODY: &str = "{\"pad\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}";

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
        stream.write_all(answer.as_bytes())?;
    }
}

fn tick(stream: &mut TcpStream, event: &[u8]) -> io::Result<()> {
    loop {
        stream.write_all(event)?;
        thread::sleep(TICK);
    }
}
