//! Requests by the ten thousand a second, at a rate that does not yield, in batches on a few connections: what a flood of
//! keys that are nobody's looks like, and for comparison requests that are allowed.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::http::{connect, request};
use crate::{Failure, Options};

/// What the requests of a flood show.
#[derive(Clone, Copy)]
enum Shown {
    /// A key of the right form that is nobody's, another one each time.
    Unknown,
    /// Something that has the form of no key.
    Malformed,
    /// Nothing.
    Missing,
    /// These three in turn.
    Mixed,
    /// A key that may do it.
    Valid,
}

impl Shown {
    fn of(text: &str) -> Result<Self, Failure> {
        Ok(match text {
            "unknown" => Self::Unknown,
            "malformed" => Self::Malformed,
            "missing" => Self::Missing,
            "mixed" => Self::Mixed,
            "valid" => Self::Valid,
            _ => return Err("shown=unknown|malformed|missing|mixed|valid".into()),
        })
    }

    /// The line of the `n`-th request.
    fn line(self, n: u64, valid: &str) -> String {
        match self {
            Self::Unknown => {
                // Spread over all places of the digits, as guesses are.
                let high = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let (a, b) = (high >> 32, high & 0xffff_ffff);
                format!(
                    "x-prismeai-api-key: iak_org-0_{a:08x}-{:04x}-4000-8000-{b:012x}\r\n",
                    n & 0xffff
                )
            }
            Self::Malformed => format!("x-prismeai-api-key: no-key-at-all-{n:x}\r\n"),
            Self::Missing => String::new(),
            Self::Mixed => match n % 3 {
                0 => Self::Unknown.line(n, valid),
                1 => Self::Malformed.line(n, valid),
                _ => Self::Missing.line(n, valid),
            },
            Self::Valid => valid.to_owned(),
        }
    }
}

/// One connection of the flood.
struct Hose {
    address: String,
    stream: Option<TcpStream>,
    read: Vec<u8>,
    /// Answers with the status that was expected, and others.
    expected: u64,
    others: u64,
    failed: u64,
}

impl Hose {
    /// Sends a batch and reads its answers.
    fn pour(&mut self, batch: &str, count: usize, status: &str) {
        match self.try_pour(batch, count, status) {
            Ok(()) => {}
            Err(_) => {
                self.failed += 1;
                self.stream = None;
            }
        }
    }

    fn try_pour(&mut self, batch: &str, count: usize, status: &str) -> io::Result<()> {
        if self.stream.is_none() {
            self.read.clear();
            self.stream = Some(connect(&self.address)?);
        }
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        stream.write_all(batch.as_bytes())?;
        let mut chunk = [0; 32 * 1024];
        for _ in 0..count {
            let length = loop {
                match whole(&self.read) {
                    Some(length) => break length,
                    None => match stream.read(&mut chunk)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        more => self.read.extend(chunk.iter().take(more)),
                    },
                }
            };
            // `HTTP/1.1 401 …`
            let is_expected = self.read.get(9..12) == Some(status.as_bytes());
            self.expected += u64::from(is_expected);
            self.others += u64::from(!is_expected);
            self.read.drain(..length);
        }
        Ok(())
    }
}

/// The bytes of the answer at the front, once all of them are there.
fn whole(read: &[u8]) -> Option<usize> {
    const LENGTH: &[u8] = b"content-length: ";
    let head = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let lines = read.get(..head)?;
    let at = lines
        .windows(LENGTH.len())
        .position(|window| window.eq_ignore_ascii_case(LENGTH))?;
    let digits = lines
        .get(at + LENGTH.len()..)?
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let body = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    (read.len() >= head + body).then_some(head + body)
}

/// `flood gateways=… shown=… connections=N batch=N rate=N seconds=N status=401 [keys=…]`
pub fn run(options: &Options) -> Result<String, Failure> {
    let gateways = options.list("gateways")?;
    let shown = Shown::of(options.text("shown")?)?;
    let (connections, batch): (usize, u64) =
        (options.number("connections")?, options.number("batch")?);
    let rate: f64 = options.number("rate")?;
    let seconds = Duration::from_secs_f64(options.number("seconds")?);
    let status = options.text("status")?.to_owned();
    let valid = match shown {
        Shown::Valid => options
            .keys()?
            .first()
            .map(crate::Key::line)
            .unwrap_or_default(),
        Shown::Unknown | Shown::Malformed | Shown::Missing | Shown::Mixed => String::new(),
    };
    let pause = Duration::from_secs_f64(connections as f64 * batch as f64 / rate);
    let began = Instant::now();
    let threads = (0..connections).map(|index| {
        let address = gateways
            .get(index % gateways.len())
            .cloned()
            .unwrap_or_default();
        let (valid, status) = (valid.clone(), status.clone());
        thread::spawn(move || {
            let mut hose = Hose {
                address,
                stream: None,
                read: Vec::new(),
                expected: 0,
                others: 0,
                failed: 0,
            };
            let mut due = began + pause.mul_f64(index as f64 / connections as f64);
            let mut n = index as u64 * 1_000_000_007;
            while began.elapsed() < seconds {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                due += pause;
                let requests = (n..n + batch).map(|n| {
                    request(
                        &hose.address,
                        "GET",
                        "/v1/agents/a1",
                        &shown.line(n, &valid),
                        "",
                    )
                });
                let requests: String = requests.collect();
                n += batch;
                hose.pour(&requests, usize::try_from(batch).unwrap_or(0), &status);
            }
            hose
        })
    });
    let threads: Vec<_> = threads.collect();
    let (mut expected, mut others, mut failed) = (0, 0, 0);
    for thread in threads {
        let hose = thread.join().map_err(|_| "a connection broke off")?;
        expected += hose.expected;
        others += hose.others;
        failed += hose.failed;
    }
    let rate = (expected + others) as f64 / began.elapsed().as_secs_f64();
    Ok(format!(
        "{{\"count\":{},\"rate\":{rate:.0},\"others\":{others},\"failed\":{failed}}}",
        expected + others
    ))
}
