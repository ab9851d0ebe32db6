//! `keyward keys import` and `export`: keys of all families, a line each.
//!
//! Lines go through as they are; what they may say is the control plane's to judge.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::sync::mpsc;

use super::args::ImportArgs;
use crate::cli::client::Client;
use crate::cli::failure::Failure;

/// Bytes that are read of a file at once.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces that wait to be sent.
const PIECES_AHEAD: usize = 4;

/// Runs `keyward keys import`.
///
/// # Errors
/// The file cannot be read, the control plane cannot be reached, or a line is refused and nobody asked to skip it.
pub async fn import(
    client: &Client,
    args: &ImportArgs,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (source, bytes) = open(&args.file)?;
    let progress = progress(bytes);
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    let reading = tokio::task::spawn_blocking(move || send(source, &sender));
    let body = Pieces {
        pieces,
        progress: progress.clone(),
    };
    let on_refusal = if args.skip_refused { "skip" } else { "stop" };
    let query = [("on_refusal", on_refusal)];
    let answered = client
        .upload(&["v1", "import"], &query, body, || progress.position())
        .await;
    progress.finish_and_clear();
    let report = answered?;
    if report.get("stopped_at").is_none()
        && let Ok(Err(error)) = reading.await
    {
        return Err(unreadable(&args.file, &error));
    }
    if as_json {
        writeln!(out, "{report}")?;
    } else {
        tell(out, &report)?;
    }
    match report.get("stopped_at") {
        None => Ok(()),
        Some(_) => Err(Failure::told(stopped(&report))),
    }
}

/// Runs `keyward keys export`.
///
/// # Errors
/// The control plane cannot be reached, or the answer breaks off.
pub async fn export(client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
    client.download(&["v1", "export"], out).await
}

/// What is read, and how many bytes it has where that is known.
fn open(file: &str) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    if file == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let opened = File::open(file).map_err(|error| unreadable(file, &error))?;
    let facts = opened
        .metadata()
        .map_err(|error| unreadable(file, &error))?;
    let bytes = facts.is_file().then_some(facts.len());
    Ok((Box::new(opened), bytes))
}

fn unreadable(file: &str, error: &io::Error) -> Failure {
    let file = if file == "-" { "standard input" } else { file };
    Failure::told(format!("{file} cannot be read: {error}"))
}

/// Hands a source on until its end, or until nobody wants more of it.
fn send(mut source: Box<dyn Read + Send>, to: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let length = match source.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // Broken off, so that what was read is not taken for all there is.
                let kind = error.kind();
                _ = to.blocking_send(Err(kind.into()));
                return Err(error);
            }
        };
        piece.truncate(length);
        if to.blocking_send(Ok(piece.into())).is_err() {
            return Ok(());
        }
    }
}

/// A file on its way.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    progress: ProgressBar,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.pieces.poll_recv(context);
        if let Poll::Ready(Some(Ok(piece))) = &piece {
            self.progress.inc(piece.len() as u64);
        }
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// How far it is, on standard error where that is a terminal.
fn progress(bytes: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match bytes {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {bytes}, {bytes_per_sec}, {elapsed}",
        ),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn tell(out: &mut dyn Write, report: &Value) -> io::Result<()> {
    let count = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or_default();
    writeln!(
        out,
        "{} created, {} unchanged, {} refused (revision {})",
        count("created"),
        count("unchanged"),
        count("refused"),
        count("revision"),
    )?;
    if report.get("stopped_at").is_some() {
        return Ok(());
    }
    let listed = refusals(report);
    for refusal in listed {
        writeln!(out, "{}", sentence(refusal))?;
    }
    let more = count("refused").saturating_sub(listed.len() as u64);
    if more > 0 {
        writeln!(out, "and {more} more lines")?;
    }
    Ok(())
}

fn stopped(report: &Value) -> String {
    let first = refusals(report).first();
    let what = first.map_or_else(|| "a line was refused".to_owned(), sentence);
    format!(
        "{what}. The lines before it are imported: correct it and import the file again, or give --skip-refused"
    )
}

fn refusals(report: &Value) -> &[Value] {
    let list = report.get("refusals").and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

fn sentence(refusal: &Value) -> String {
    let text = |name: &str| refusal.get(name).and_then(Value::as_str).unwrap_or("?");
    let line = refusal
        .get("line")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    match text("field") {
        "line" => format!("line {line} {}", text("problem")),
        field => format!("line {line}: `{field}` {}", text("problem")),
    }
}
