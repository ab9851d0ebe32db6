//! A body of any length, read line by line: each line is bounded, and so is the wait for the next piece.
//!
//! It knows nothing of what a line says.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use bytes::{Buf as _, BytesMut};

use super::error::ApiError;

/// Most bytes of a line, without its end.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;
/// Most lines of a batch.
const BATCH_LINES_MAX: usize = 1000;
/// A batch of so many bytes is full. Rules may take sixteen times the bytes of their line once they are split.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long the next piece of a body may take.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// The lines of a body that are not blank.
pub(super) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of a line.
    searched: usize,
    /// Lines that have ended.
    number: u64,
    /// Whether the present line is too long, and its bytes are thrown away.
    is_overlong: bool,
    has_ended: bool,
}

/// A line, and which it is; the first is 1.
pub(super) struct Line {
    pub(super) number: u64,
    /// `None`: it is longer than [`LINE_BYTES_MAX`].
    pub(super) text: Option<Bytes>,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            searched: 0,
            number: 0,
            is_overlong: false,
            has_ended: false,
        }
    }

    /// The next lines that are carried out together; none at the end.
    ///
    /// # Errors
    /// The body breaks off, or pauses for too long.
    pub(super) async fn batch(&mut self) -> Result<Vec<Line>, ApiError> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        while lines.len() < BATCH_LINES_MAX && bytes < BATCH_BYTES_MAX {
            let Some(line) = self.next().await? else {
                break;
            };
            bytes += line.text.as_ref().map_or(0, Bytes::len);
            lines.push(line);
        }
        Ok(lines)
    }

    async fn next(&mut self) -> Result<Option<Line>, ApiError> {
        loop {
            let unsearched = self.buffer.iter().skip(self.searched);
            let end = unsearched.copied().position(|byte| byte == b'\n');
            let line = match end {
                Some(at) => {
                    let line = self.buffer.split_to(self.searched + at);
                    self.buffer.advance(1);
                    line
                }
                None if self.has_ended && self.buffer.is_empty() && !self.is_overlong => {
                    return Ok(None);
                }
                None if self.has_ended => self.buffer.split(),
                None => {
                    self.searched = self.buffer.len();
                    if self.searched > LINE_BYTES_MAX {
                        self.is_overlong = true;
                        self.buffer.clear();
                        self.searched = 0;
                    }
                    self.read().await?;
                    continue;
                }
            };
            self.searched = 0;
            self.number += 1;
            let is_overlong = std::mem::take(&mut self.is_overlong) || line.len() > LINE_BYTES_MAX;
            if is_overlong || !line.trim_ascii().is_empty() {
                return Ok(Some(Line {
                    number: self.number,
                    text: (!is_overlong).then(|| line.freeze()),
                }));
            }
        }
    }

    /// Waits for the next piece of the body.
    async fn read(&mut self) -> Result<(), ApiError> {
        let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
        match tokio::time::timeout(PIECE_TIMEOUT, frame).await {
            Err(_) => Err(ApiError::timeout()),
            Ok(None) => {
                self.has_ended = true;
                Ok(())
            }
            Ok(Some(Ok(frame))) => {
                if let Ok(piece) = frame.into_data() {
                    self.buffer.extend_from_slice(&piece);
                }
                Ok(())
            }
            Ok(Some(Err(_))) => Err(ApiError::bad_request(
                "the body could not be read to its end",
            )),
        }
    }
}
