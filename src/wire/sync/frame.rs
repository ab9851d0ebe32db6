//! Payloads one after another in a stream or a file, so that it shows when one is missing, altered, repeated, out of
//! place or cut off.
//!
//! A frame is the length of its payload (four bytes, the lowest first), a check, and the payload. A check is made of the
//! one before it and the payload, so that it holds for everything up to there. It knows nothing of what payloads say.

/// Largest payload. Keys are limited where they are made, and none comes near it.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;
const CHECK_BYTES: usize = 16;
const HEAD_BYTES: usize = LENGTH_BYTES + CHECK_BYTES;
/// What was read is given back once so much of it lies before the next frame.
const CONSUMED_BYTES_MAX: usize = 1024 * 1024;

/// What the check of a payload is: the beginning of a BLAKE3.
type Check = [u8; CHECK_BYTES];

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFrame {
    /// It says of itself that it is longer than any.
    #[error("a frame is longer than {PAYLOAD_BYTES_MAX} bytes")]
    TooLong,
    /// It, or one before it, is not what was written; or the key is another.
    #[error("the check of a frame does not hold")]
    Check,
}

/// The checks of one stream from its beginning on.
#[derive(Clone)]
struct Chain {
    key: Option<[u8; 32]>,
    last: Check,
}

impl Chain {
    fn new(key: Option<[u8; 32]>) -> Self {
        Self {
            key,
            last: [0; CHECK_BYTES],
        }
    }

    fn next(&self, payload: &[u8]) -> Check {
        let mut hasher = match &self.key {
            None => blake3::Hasher::new(),
            Some(key) => blake3::Hasher::new_keyed(key),
        };
        hasher.update(&self.last);
        hasher.update(payload);
        let hash = hasher.finalize();
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

/// Frames payloads. With a key, only who has it can make frames that are believed.
pub struct FrameWriter(Chain);

impl FrameWriter {
    /// For a stream from its beginning on.
    pub fn new(key: Option<[u8; 32]>) -> Self {
        Self(Chain::new(key))
    }

    /// Appends the frame of a payload.
    ///
    /// # Errors
    /// It is too long, and nothing was appended.
    pub fn frame(&mut self, payload: &[u8], to: &mut Vec<u8>) -> Result<(), InvalidFrame> {
        let length = u32::try_from(payload.len()).map_err(|_| InvalidFrame::TooLong)?;
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(InvalidFrame::TooLong);
        }
        self.0.last = self.0.next(payload);
        to.extend_from_slice(&length.to_le_bytes());
        to.extend_from_slice(&self.0.last);
        to.extend_from_slice(payload);
        Ok(())
    }
}

/// Takes a stream apart as it comes. It holds one frame and what came with its end.
pub struct FrameReader {
    chain: Chain,
    bytes: Vec<u8>,
    consumed: usize,
}

impl FrameReader {
    /// For a stream from its beginning on.
    pub fn new(key: Option<[u8; 32]>) -> Self {
        Self {
            chain: Chain::new(key),
            bytes: Vec::new(),
            consumed: 0,
        }
    }

    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.consumed == self.bytes.len() || self.consumed >= CONSUMED_BYTES_MAX {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next payload; `None`: it has not come whole yet.
    ///
    /// # Errors
    /// What came is no frame, and nothing after it can be believed.
    pub fn next_payload(&mut self) -> Result<Option<&[u8]>, InvalidFrame> {
        let came = self.bytes.get(self.consumed..).unwrap_or_default();
        let Some((length, rest)) = came.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > PAYLOAD_BYTES_MAX {
            return Err(InvalidFrame::TooLong);
        }
        let Some((check, rest)) = rest.split_first_chunk::<CHECK_BYTES>() else {
            return Ok(None);
        };
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        if self.chain.next(payload) != *check {
            return Err(InvalidFrame::Check);
        }
        self.chain.last = *check;
        self.consumed += HEAD_BYTES + length;
        Ok(Some(payload))
    }

    /// Frames what follows the last payload that was read.
    pub fn writer(&self) -> FrameWriter {
        FrameWriter(self.chain.clone())
    }

    /// Bytes that came and belong to no payload that was read.
    pub fn unread(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    /// Whether everything that came was read: a stream may end here.
    pub fn is_at_boundary(&self) -> bool {
        self.consumed == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(payloads: &[Vec<u8>], key: Option<[u8; 32]>) -> Vec<u8> {
        let mut writer = FrameWriter::new(key);
        let mut bytes = Vec::new();
        for payload in payloads {
            writer.frame(payload, &mut bytes).unwrap();
        }
        bytes
    }

    fn read(bytes: &[u8], pieces: usize, key: Option<[u8; 32]>) -> (Vec<Vec<u8>>, bool) {
        let mut reader = FrameReader::new(key);
        let mut payloads = Vec::new();
        for piece in bytes.chunks(pieces.max(1)) {
            reader.push(piece);
            loop {
                match reader.next_payload() {
                    Ok(Some(payload)) => payloads.push(payload.to_vec()),
                    Ok(None) => break,
                    Err(_) => return (payloads, false),
                }
            }
        }
        (payloads, reader.is_at_boundary())
    }

    proptest! {
        #[test]
        fn what_was_framed_is_read_however_it_comes(
            payloads: Vec<Vec<u8>>, pieces in 1_usize..64, key: Option<[u8; 32]>
        ) {
            let bytes = framed(&payloads, key);
            prop_assert_eq!(read(&bytes, pieces, key), (payloads, true));
        }

        #[test]
        fn a_cut_gives_whole_payloads_and_is_noticed(
            payloads in prop::collection::vec(any::<Vec<u8>>(), 1..8), cut: prop::sample::Index
        ) {
            let bytes = framed(&payloads, None);
            let cut = cut.index(bytes.len());
            let (read, ended) = read(&bytes[..cut], 7, None);
            prop_assert!(payloads.starts_with(&read));
            prop_assert_eq!(ended, framed(&read, None).len() == cut);
        }

        #[test]
        fn other_bytes_are_no_frames_and_no_panic(bytes: Vec<u8>, key: Option<[u8; 32]>) {
            prop_assert_eq!(read(&bytes, 3, key).0.len(), 0);
        }
    }

    #[test]
    fn whatever_is_done_to_a_stream_is_noticed_where_it_was_done() {
        let payloads: Vec<Vec<u8>> = (0..4_u8).map(|n| vec![n; 3]).collect();
        let one = framed(&payloads[..1], None).len();
        let whole = framed(&payloads, None);
        for byte in 0..whole.len() {
            let mut altered = whole.clone();
            altered[byte] ^= 1;
            let (read, ended) = read(&altered, 1024, None);
            assert_eq!(read, payloads[..byte / one], "{byte}");
            assert!(!ended, "{byte}");
        }
        let frame = |n: usize| &whole[n * one..(n + 1) * one];
        for order in [&[0, 2, 3][..], &[0, 0, 1], &[1, 0], &[0, 2, 1]] {
            let bytes: Vec<u8> = order.iter().flat_map(|n| frame(*n)).copied().collect();
            let kept = order
                .iter()
                .enumerate()
                .take_while(|(at, n)| at == *n)
                .count();
            assert_eq!(read(&bytes, 1024, None), (payloads[..kept].to_vec(), false));
        }
    }

    #[test]
    fn without_the_key_nothing_is_believed() {
        let bytes = framed(&[b"x".to_vec()], Some([1; 32]));
        for key in [None, Some([2; 32])] {
            assert_eq!(read(&bytes, 1024, key), (vec![], false));
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_payload_comes() {
        let mut reader = FrameReader::new(None);
        reader.push(&(PAYLOAD_BYTES_MAX as u32 + 1).to_le_bytes());
        assert_eq!(reader.next_payload(), Err(InvalidFrame::TooLong));
    }
}
