//! Where a request's body ends, told from the bytes alone.
//!
//! The connection hands an exchange only the bytes that are its own, so that no body can reach into the next
//! request whatever happens to it. Knows no socket and no header.

/// Longest chunk-size line and longest trailer section that are taken, in bytes.
const CHUNK_LINE_MAX: u32 = 4096;
const TRAILERS_MAX: u32 = 16 * 1024;

/// Most digits of a size: as many as the largest number has. Pingora takes no more, and would give up without an answer.
const SIZE_DIGITS_MAX: u32 = 16;

/// Largest size. Pingora adds to it, and would give up without an answer where that overflows.
const SIZE_MAX: u64 = u64::MAX / 2;

/// A chunked body that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunked body is malformed")]
pub struct InvalidChunks;

/// What is left of the current message's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Nothing: what follows is another request.
    Done,
    /// So many bytes.
    Length(u64),
    /// Chunks, up to the last one and its trailers.
    Chunked(Chunks),
    /// Everything until the connection closes.
    Tunnel,
}

impl Framing {
    /// A body of `length` bytes.
    pub fn length(length: u64) -> Self {
        if length == 0 {
            Self::Done
        } else {
            Self::Length(length)
        }
    }

    /// A chunked body that has not begun.
    pub fn chunked() -> Self {
        Self::Chunked(Chunks::start())
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        *self == Self::Done
    }

    /// How many of the next `bytes` belong to the body. They count as taken.
    ///
    /// # Errors
    /// Chunks that are malformed; nothing of such a message can be trusted.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, InvalidChunks> {
        match self {
            Self::Done => Ok(0),
            Self::Tunnel => Ok(bytes.len()),
            Self::Length(left) => {
                let taken = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *self = Self::length(left.saturating_sub(taken as u64));
                Ok(taken)
            }
            Self::Chunked(chunks) => {
                let taken = chunks.take(bytes)?;
                if chunks.state == State::End {
                    *self = Self::Done;
                }
                Ok(taken)
            }
        }
    }

    /// The most that may be read at once without reading into the next message; chunks cannot tell.
    pub fn read_limit(&self) -> usize {
        match self {
            Self::Done => 0,
            Self::Length(left) => usize::try_from(*left).unwrap_or(usize::MAX),
            Self::Chunked(_) | Self::Tunnel => usize::MAX,
        }
    }
}

/// A scanner of chunk boundaries. Strict: lines end in CRLF, sizes are hexadecimal digits, extensions are printable,
/// trailers are lines as headers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    state: State,
    /// Of the current chunk, still to come.
    left: u64,
    /// Bytes of the current line or trailer section.
    line: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    SizeStart,
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends the message.
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

impl Chunks {
    fn start() -> Self {
        Self {
            state: State::SizeStart,
            left: 0,
            line: 0,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<usize, InvalidChunks> {
        let mut rest = bytes;
        while self.state != State::End {
            if self.state == State::Data {
                let skipped = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(rest.len());
                rest = rest.get(skipped..).unwrap_or_default();
                self.left = self.left.saturating_sub(skipped as u64);
                if self.left == 0 {
                    self.state = State::DataCr;
                }
            }
            let Some((byte, tail)) = rest.split_first() else {
                break;
            };
            rest = tail;
            self.step(*byte)?;
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }

    fn step(&mut self, byte: u8) -> Result<(), InvalidChunks> {
        self.state = match (self.state, byte) {
            (State::SizeStart | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digit(byte)?
            }
            (State::Size | State::Extension, b'\r') => State::SizeLf,
            (State::Size, b';') => State::Extension,
            (State::Extension, b'\t' | b' '..=b'~') => State::Extension,
            (State::SizeLf, b'\n') => self.after_size(),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => self.next_line(State::SizeStart),
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerName, b':') => State::Trailer,
            (State::TrailerStart | State::TrailerName, byte) if is_name_byte(byte) => {
                State::TrailerName
            }
            (State::Trailer, b'\t' | b' '..=b'~' | 0x80..) => State::Trailer,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::End,
            _ => return Err(InvalidChunks),
        };
        self.count()
    }

    fn digit(&mut self, byte: u8) -> Result<State, InvalidChunks> {
        if self.line >= SIZE_DIGITS_MAX {
            return Err(InvalidChunks);
        }
        let digit = (byte as char).to_digit(16).ok_or(InvalidChunks)?;
        let shifted = self.left.checked_mul(16).ok_or(InvalidChunks)?;
        let size = shifted.checked_add(u64::from(digit));
        let size = size.filter(|size| *size <= SIZE_MAX);
        self.left = size.ok_or(InvalidChunks)?;
        Ok(State::Size)
    }

    fn after_size(&mut self) -> State {
        if self.left == 0 {
            self.next_line(State::TrailerStart)
        } else {
            State::Data
        }
    }

    fn next_line(&mut self, state: State) -> State {
        self.line = 0;
        self.left = 0;
        state
    }

    fn count(&mut self) -> Result<(), InvalidChunks> {
        if self.state == State::SizeStart {
            // The byte ended the line before.
            return Ok(());
        }
        let max = match self.state {
            State::TrailerStart
            | State::TrailerName
            | State::Trailer
            | State::TrailerLf
            | State::EndLf => TRAILERS_MAX,
            State::SizeStart
            | State::Size
            | State::Extension
            | State::SizeLf
            | State::Data
            | State::DataCr
            | State::DataLf
            | State::End => CHUNK_LINE_MAX,
        };
        self.line = self.line.saturating_add(1);
        if self.line > max {
            Err(InvalidChunks)
        } else {
            Ok(())
        }
    }
}

/// Of what names are made (RFC 9110, section 5.6.2).
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pieces: &[&[u8]]) -> Result<(usize, bool), InvalidChunks> {
        let mut framing = Framing::chunked();
        let mut taken = 0;
        for piece in pieces {
            taken += framing.take(piece)?;
        }
        Ok((taken, framing.is_done()))
    }

    #[test]
    fn a_chunked_body_ends_where_it_ends() {
        let body = b"5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nx-t: v\r\n\r\n";
        let mut followed = body.to_vec();
        followed.extend_from_slice(b"GET / HTTP/1.1\r\n");
        assert_eq!(scan(&[&followed]), Ok((body.len(), true)));
    }

    #[test]
    fn the_cut_of_the_pieces_changes_nothing() {
        let body = b"5\r\nhello\r\n0\r\n\r\nGET";
        for cut in 0..body.len() {
            let (left, right) = body.split_at(cut);
            assert_eq!(scan(&[left, right]), Ok((15, true)), "cut at {cut}");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for body in [
            &b"\r\n"[..],
            b"5\nhello",
            b" 5\r\nhello",
            b"5 \r\nhello",
            b"-5\r\n",
            b"0x5\r\n",
            b"5;a\nhello",
            b"5\r\nhello!",
            b"5\r\nhello\n",
            b"0\r\n\n",
            b"0\r\n\x00",
            b"FFFFFFFFFFFFFFFFF\r\n",
            b"00000000000000005\r\nhello\r\n",
            b"5;\x01\r\n",
            b"8000000000000000\r\n",
            b"FFFFFFFFFFFFFFFF\r\n",
            b"0\r\n x: y\r\n",
            b"0\r\nx: y\r\n z\r\n",
            b"0\r\nx\r\n",
            b"0\r\n: y\r\n",
            b"0\r\nx y: z\r\n",
            b"0\r\n\xc3\xa9: y\r\n",
        ] {
            assert_eq!(
                scan(&[body]),
                Err(InvalidChunks),
                "{:?}",
                body.escape_ascii()
            );
        }
    }

    #[test]
    fn each_size_has_as_many_digits_as_the_largest() {
        let sizes = b"0000000000000001\r\na\r\n0000000000000001\r\nb\r\n0000000000000000\r\n\r\n";
        assert_eq!(scan(&[sizes]), Ok((sizes.len(), true)));
        let longer = b"1\r\na\r\n00000000000000001\r\nb\r\n";
        assert_eq!(scan(&[longer]), Err(InvalidChunks));
    }

    #[test]
    fn endless_lines_are_refused() {
        assert_eq!(scan(&[b"5;", &vec![b'a'; 5000]]), Err(InvalidChunks));
        assert_eq!(scan(&[b"0\r\na:", &vec![b'a'; 17_000]]), Err(InvalidChunks));
        assert_eq!(scan(&[&vec![b'0'; 5000]]), Err(InvalidChunks));
    }

    #[test]
    fn a_length_counts_down_to_the_next_message() {
        let mut framing = Framing::length(5);
        assert_eq!(framing.take(b"abc"), Ok(3));
        assert_eq!(framing.read_limit(), 2);
        assert_eq!(framing.take(b"deGET"), Ok(2));
        assert!(framing.is_done());
        assert_eq!(framing.take(b"GET"), Ok(0));
    }
}
