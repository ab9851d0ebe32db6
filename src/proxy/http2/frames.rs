//! Follows the frames that a client sends, and keeps the account of those that cost us more than they cost it.
//!
//! It sees the nine bytes at the head of each frame, and hands header blocks on to be followed. Knows no socket and no
//! request.

use tokio::time::Instant;

use super::fields::Fields;

/// Bytes of a frame's head.
const HEAD: usize = 9;

/// Frames that ask for nothing, and how many of them a connection may send: at once, each second, for each request, and
/// for each KiB that it was sent (a client that downloads says again and again that there is room).
const IDLE_FRAMES_AT_ONCE: u32 = 1000;
const IDLE_FRAMES_A_SECOND: u32 = 100;
const IDLE_FRAMES_A_REQUEST: u32 = 8;
const IDLE_FRAMES_A_KIB: u32 = 1;

/// Requests that a client takes back. Each costs two and each request brings one, so that a client may take back half
/// of what it asks for, for as long as it likes; at once, as many as it usually may have open.
const RESETS_AT_ONCE: u32 = 200;
const RESETS_A_SECOND: u32 = 20;
const RESET_COSTS: u32 = 2;
const RESETS_A_REQUEST: u32 = 1;

/// DATA of so few bytes may be nothing but padding.
const PADDING_MAX: u32 = 256;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const WITH_PRIORITY: u8 = 0x20;

/// Bytes of a priority before a header block.
const PRIORITY_BYTES: u8 = 5;

/// The account is overdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood;

/// What a connection may still do, growing with time and with what it earns.
#[derive(Debug)]
struct Allowance {
    left: u32,
    most: u32,
    a_second: u32,
}

impl Allowance {
    const fn new(most: u32, a_second: u32) -> Self {
        Self {
            left: most,
            most,
            a_second,
        }
    }

    fn earn(&mut self, amount: u32) {
        self.left = self.left.saturating_add(amount).min(self.most);
    }

    fn spend(&mut self, amount: u32) -> Result<(), Flood> {
        self.left = self.left.checked_sub(amount).ok_or(Flood)?;
        Ok(())
    }
}

/// What is around a header block in its frame.
#[derive(Debug, Default)]
struct Block {
    /// Whether the number of bytes of padding is still to come.
    is_padded: bool,
    padding: u8,
    /// Bytes of a priority still to come.
    priority: u8,
}

/// Where in the client's frames a connection is.
#[derive(Debug)]
pub struct Frames {
    /// Of the preface, still to come.
    preface: usize,
    head: [u8; HEAD],
    /// Bytes of the head that are there.
    have: usize,
    /// Bytes of the frame's payload still to come.
    left: u32,
    /// Whether those are of a body.
    is_data: bool,
    /// Whether a header block is open.
    in_block: bool,
    /// The stream of the frame, and what of its payload is its header block.
    stream: u32,
    block: Option<Block>,
    fields: Fields,
    /// Streams whose path has a fragment, which nobody was told of yet.
    cut: Vec<u32>,
    /// Whether the client's first frame has come.
    has_begun: bool,
    /// Things that were awaited and came.
    finished: u64,
    idle: Allowance,
    resets: Allowance,
    /// Up to when time has been credited.
    credited: Instant,
    /// Sent to the client, and not credited yet.
    sent: usize,
}

impl Frames {
    /// Before the preface, whose bytes are counted here as well.
    pub fn new(preface: usize, now: Instant) -> Self {
        Self {
            preface,
            head: [0; HEAD],
            have: 0,
            left: 0,
            is_data: false,
            in_block: false,
            stream: 0,
            block: None,
            fields: Fields::new(),
            cut: Vec::new(),
            has_begun: false,
            finished: 0,
            idle: Allowance::new(IDLE_FRAMES_AT_ONCE, IDLE_FRAMES_A_SECOND),
            resets: Allowance::new(RESETS_AT_ONCE, RESETS_A_SECOND),
            credited: now,
            sent: 0,
        }
    }

    /// What is awaited without delay, by a number of its own: the first frame, the rest of a frame, the end of a header
    /// block. `None`: nothing is; what a body waits for is its request's business.
    pub fn awaited(&self) -> Option<u64> {
        let in_frame = self.have > 0 || (self.left > 0 && !self.is_data);
        (in_frame || self.in_block || !self.has_begun).then_some(self.finished)
    }

    /// The next stream whose path has a fragment.
    pub fn next_cut(&mut self) -> Option<u32> {
        self.cut.pop()
    }

    /// Bytes went to the client.
    pub fn sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes);
    }

    /// Bytes came from the client.
    ///
    /// # Errors
    /// It sent more than it may of what asks for nothing, or took back more than it may.
    pub fn take(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        let preface = self.preface.min(bytes.len());
        self.preface = self.preface.saturating_sub(preface);
        bytes = bytes.get(preface..).unwrap_or_default();
        if !bytes.is_empty() {
            self.credit(now);
        }
        while let Some((byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let payload = (self.left as usize).min(bytes.len());
                let (payload, rest) = bytes.split_at(payload);
                bytes = rest;
                // No more than `left`, which is one.
                self.left = self.left.saturating_sub(payload.len() as u32);
                self.follow_block(payload);
                if self.left == 0 {
                    self.came();
                }
                continue;
            }
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *byte;
            }
            bytes = rest;
            self.have = self.have.saturating_add(1);
            if self.have == HEAD {
                self.have = 0;
                self.begin()?;
            }
        }
        Ok(())
    }

    /// A whole head is there.
    fn begin(&mut self) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, stream @ ..] = self.head;
        self.left = u32::from_be_bytes([0, high, middle, low]);
        self.stream = u32::from_be_bytes(stream);
        self.is_data = kind == DATA;
        let has = |flag: u8| flags & flag != 0;
        self.block = matches!(kind, HEADERS | CONTINUATION).then(|| Block {
            is_padded: kind == HEADERS && has(PADDED),
            padding: 0,
            priority: if kind == HEADERS && has(WITH_PRIORITY) {
                PRIORITY_BYTES
            } else {
                0
            },
        });
        match kind {
            DATA => {
                let nothing = self.left == 0 || (has(PADDED) && self.left <= PADDING_MAX);
                if nothing && !has(END_STREAM) {
                    self.idle.spend(1)?;
                }
            }
            HEADERS => {
                self.in_block = !has(END_HEADERS);
                self.idle.earn(IDLE_FRAMES_A_REQUEST);
                self.resets.earn(RESETS_A_REQUEST);
            }
            CONTINUATION => {
                self.in_block = !has(END_HEADERS);
                self.idle.spend(1)?;
            }
            RST_STREAM => self.resets.spend(RESET_COSTS)?,
            _ => self.idle.spend(1)?,
        }
        if self.left == 0 {
            self.came();
        }
        Ok(())
    }

    /// More of a frame's payload, which may be of a header block.
    fn follow_block(&mut self, mut payload: &[u8]) {
        let Some(block) = &mut self.block else {
            return;
        };
        if block.is_padded
            && let Some((padding, rest)) = payload.split_first()
        {
            (block.is_padded, block.padding) = (false, *padding);
            payload = rest;
        }
        let priority = usize::from(block.priority).min(payload.len());
        // No more than `priority`, which is one.
        block.priority = block.priority.saturating_sub(priority as u8);
        payload = payload.get(priority..).unwrap_or_default();
        let padding = u32::from(block.padding).saturating_sub(self.left) as usize;
        let fields = payload.len().saturating_sub(padding);
        self.fields.take(payload.get(..fields).unwrap_or_default());
    }

    /// A frame is whole.
    fn came(&mut self) {
        if self.block.take().is_some() && !self.in_block && self.fields.end() {
            self.cut.push(self.stream);
        }
        self.has_begun = true;
        self.is_data = false;
        // A header block is awaited as one, however many frames it has.
        if !self.in_block {
            self.finished = self.finished.wrapping_add(1);
        }
    }

    fn credit(&mut self, now: Instant) {
        let kib = self.sent / 1024;
        self.sent %= 1024;
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        self.idle.earn(kib.saturating_mul(IDLE_FRAMES_A_KIB));
        let passed = now.saturating_duration_since(self.credited).as_secs();
        if passed > 0 {
            self.credited = now;
            let passed = u32::try_from(passed).unwrap_or(u32::MAX);
            for allowance in [&mut self.idle, &mut self.resets] {
                allowance.earn(passed.saturating_mul(allowance.a_second));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SETTINGS: u8 = 0x4;
    const PING: u8 = 0x6;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = (payload as u32).to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.resize(HEAD + payload, 0);
        bytes
    }

    fn begun() -> Frames {
        begun_at(Instant::now())
    }

    fn begun_at(now: Instant) -> Frames {
        let mut frames = Frames::new(0, now);
        frames.take(&frame(SETTINGS, 0, 0), now).unwrap();
        frames
    }

    /// How many times `bytes` are taken before they are a flood.
    fn taken(frames: &mut Frames, bytes: &[u8]) -> u32 {
        let now = Instant::now();
        (0..100_000)
            .take_while(|_| frames.take(bytes, now).is_ok())
            .count() as u32
    }

    #[tokio::test(start_paused = true)]
    async fn what_asks_for_nothing_ends_soon() {
        for bytes in [
            frame(PING, 0, 8),
            frame(SETTINGS, 0, 6),
            frame(0x2, 0, 5),
            frame(0x8, 0, 4),
            frame(0xfa, 0, 16_384),
            frame(DATA, 0, 0),
            frame(DATA, PADDED, 256),
            frame(CONTINUATION, 0, 1),
        ] {
            let taken = taken(&mut begun(), &bytes);
            assert!((900..1000).contains(&taken), "{:?} {taken}", &bytes[..5]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn taking_back_every_request_ends_soon_and_half_of_them_never() {
        let taken_back = [frame(HEADERS, END_HEADERS, 10), frame(RST_STREAM, 0, 4)].concat();
        assert_eq!(taken(&mut begun(), &taken_back), 199);
        let half = [frame(HEADERS, END_HEADERS, 10), taken_back].concat();
        assert_eq!(taken(&mut begun(), &half), 100_000);
    }

    #[tokio::test(start_paused = true)]
    async fn time_and_downloads_bring_more() {
        let empty = frame(SETTINGS, 0, 0);
        let mut frames = begun();
        let _first = taken(&mut frames, &empty);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(taken(&mut frames, &empty), 200);
        frames.sent(50 * 1024 + 1);
        assert_eq!(taken(&mut frames, &empty), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_and_their_end_cost_nothing() {
        let bodies = [frame(DATA, 0, 1000), frame(DATA, END_STREAM, 0)].concat();
        assert_eq!(taken(&mut begun(), &bodies), 100_000);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_awaited_is_one_thing_until_it_came() {
        let now = Instant::now();
        let mut frames = Frames::new(3, now);
        assert_eq!(frames.awaited(), Some(0), "the first frame");
        let mut take = |bytes: &[u8]| {
            frames.take(bytes, now).unwrap();
            frames.awaited()
        };
        assert_eq!(take(b"PRI"), Some(0));
        let settings = frame(SETTINGS, 0, 6);
        assert_eq!(take(&settings[..10]), Some(0));
        assert_eq!(take(&settings[10..]), None);
        assert_eq!(take(&frame(HEADERS, 0, 5)), Some(1), "an open block");
        assert_eq!(take(&frame(CONTINUATION, 0, 5)), Some(1));
        assert_eq!(take(&frame(CONTINUATION, END_HEADERS, 0)), None);
        assert_eq!(take(&frame(PING, 0, 8)[..4]), Some(2), "part of a head");
        assert_eq!(take(&frame(PING, 0, 8)[4..]), None);
        assert_eq!(take(&frame(DATA, 0, 100)[..50]), None, "part of a body");
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_with_a_fragment_is_found_in_its_frames() {
        let now = Instant::now();
        let block = b"\x04\x04/a#b";
        let headers = |flags, payload: &[&[u8]]| {
            let payload = payload.concat();
            let mut bytes = frame(HEADERS, flags, payload.len());
            bytes[HEAD..].copy_from_slice(&payload);
            bytes
        };
        let padded = END_HEADERS | PADDED;
        let begun = headers(0, &[&block[..3]]);
        let mut rest = headers(END_HEADERS, &[&block[3..]]);
        rest[3] = CONTINUATION;
        let priority: &[u8] = &[0, 0, 0, 3, 9];
        for bytes in [
            headers(END_HEADERS, &[block]),
            headers(padded, &[&[3], block, b"#\x04\x04"]),
            headers(END_HEADERS | WITH_PRIORITY, &[priority, block]),
            headers(padded | WITH_PRIORITY, &[&[1], priority, block, b"x"]),
            [&begun[..], &rest].concat(),
            [&begun[..], &frame(CONTINUATION, 0, 0), &rest].concat(),
        ] {
            for cut in 0..bytes.len() {
                let mut frames = begun_at(now);
                frames.take(&bytes[..cut], now).unwrap();
                assert_eq!(frames.next_cut(), None, "{bytes:x?}");
                frames.take(&bytes[cut..], now).unwrap();
                assert_eq!(frames.next_cut(), Some(1), "{bytes:x?} cut at {cut}");
                assert_eq!(frames.next_cut(), None);
            }
        }
        let whole = headers(padded, &[&[4], b"\x04\x02/a", b"\x04\x02/#"]);
        let mut frames = begun_at(now);
        frames.take(&whole, now).unwrap();
        assert_eq!(frames.next_cut(), None, "what is in the padding is nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn the_cut_of_the_pieces_changes_nothing() {
        let bytes = [
            frame(SETTINGS, 0, 6),
            frame(HEADERS, 0, 5),
            frame(CONTINUATION, END_HEADERS, 3),
            frame(DATA, 0, 7),
        ]
        .concat();
        let now = Instant::now();
        let state = |frames: &Frames| (frames.awaited(), frames.finished, frames.idle.left);
        let mut whole = Frames::new(0, now);
        whole.take(&bytes, now).unwrap();
        for cut in 0..bytes.len() {
            let mut frames = Frames::new(0, now);
            frames.take(&bytes[..cut], now).unwrap();
            frames.take(&bytes[cut..], now).unwrap();
            assert_eq!(state(&frames), state(&whole), "cut at {cut}");
        }
    }
}
