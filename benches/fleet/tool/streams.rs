//! Open streams of a key that dies: how long after the answer to the change the last byte comes.

use std::io::{Read as _, Write as _};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{io, sync::Arc, thread};

use crate::http::{Connection, connect, read_head, request};
use crate::{Failure, Key, Options, figures};

/// After which a stream that goes on counts as not cut.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a stream is asked for with.
const EVENTS: &str = "accept: text/event-stream\r\n";
/// What an upgrade is asked for with.
const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Opens a stream, has its key switched off, and reads to the end. Milliseconds from the answer to the last byte;
/// `None`: it went on.
fn cut(
    gateway: &str,
    control: &mut Connection,
    admin: &str,
    key: &Key,
    lines: &str,
) -> Result<Option<f64>, Failure> {
    let mut stream = connect(gateway)?;
    let head = request(
        gateway,
        "GET",
        "/v1/agents/a1",
        &format!("{}{lines}", key.line()),
        "",
    );
    stream.write_all(head.as_bytes())?;
    let mut read = Vec::new();
    let head = read_head(&mut stream, &mut read)?;
    if !head.starts_with("HTTP/1.1 101") && !head.starts_with("HTTP/1.1 200") {
        return Err(format!("no stream: {head}").into());
    }
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let answered: Arc<OnceLock<Instant>> = Arc::default();
    let told = Arc::clone(&answered);
    let reader = thread::spawn(move || {
        let mut chunk = [0; 4096];
        let mut last = Instant::now();
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => return Some(last),
                Ok(_) => last = Instant::now(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Some(last),
            }
            if told
                .get()
                .is_some_and(|answered| answered.elapsed() > PATIENCE)
            {
                return None;
            }
        }
    });
    // The stream ticks before its key dies.
    thread::sleep(Duration::from_millis(60));
    let reply = control.ask("PATCH", &key.path, admin, "{\"disabled\":true}")?;
    let now = Instant::now();
    // Nobody else sets it.
    let _ = answered.set(now);
    if reply.status != 200 {
        return Err(format!("the change was answered {}", reply.status).into());
    }
    let last = reader.join().map_err(|_| "a reader broke off")?;
    Ok(last.map(|last| last.saturating_duration_since(now).as_secs_f64() * 1e3))
}

/// `streams controls=… gateways=… keys=… admin=… count=N wait=S`: so many streams of events, then so many upgraded
/// connections.
pub fn run(options: &Options) -> Result<String, Failure> {
    let (gateways, keys) = (options.list("gateways")?, options.keys()?);
    let mut control = Connection::to(options.text("controls")?.split(',').next().unwrap_or(""));
    let (count, wait): (usize, u32) = (options.number("count")?, options.number("wait")?);
    let mut admin = options.admin()?;
    if wait > 0 {
        admin += &format!("prefer: wait={wait}\r\n");
    }
    let mut keys = keys.iter();
    let mut parts = Vec::new();
    for (name, lines) in [("sse", EVENTS), ("websocket", UPGRADE)] {
        let mut millis = Vec::new();
        for (index, key) in keys.by_ref().take(count).enumerate() {
            let gateway = gateways
                .get(index % gateways.len().max(1))
                .ok_or("no gateway")?;
            millis.extend(cut(gateway, &mut control, &admin, key, lines)?);
        }
        let in_time = millis.iter().filter(|millis| **millis <= 1000.0).count();
        parts.push(format!(
            "\"{name}\":{{{},\"in_time\":{in_time}}}",
            figures(millis)
        ));
    }
    Ok(format!("{{{}}}", parts.join(",")))
}
