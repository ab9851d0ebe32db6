//! Requests at a rate that does not yield (open loop), or as many as come back (closed loop).
//!
//! In the open loop an answer's time counts from when its request was due, not from when the connection was free for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::http::Connection;
use crate::{Failure, Key, Options, figures};

/// What one connection met.
#[derive(Default)]
struct Met {
    millis: Vec<f64>,
    refused: u64,
    failed: u64,
    example: Option<String>,
}

/// Requests that run until they are told to end.
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Met>>,
    began: Instant,
}

impl Load {
    /// Begins: `connections` to each of `gateways`, `rate` requests a second in all; 0: as many as come back.
    pub fn begin(gateways: &[String], keys: &[Key], connections: usize, rate: f64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicU64::new(0));
        let keys: Arc<[Key]> = keys.into();
        let all = gateways.len() * connections;
        let threads = (0..connections).flat_map(|_| gateways).map(|gateway| {
            let (stop, next, keys) = (Arc::clone(&stop), Arc::clone(&next), Arc::clone(&keys));
            let connection = Connection::to(gateway);
            let pause = (rate > 0.0).then(|| Duration::from_secs_f64(all as f64 / rate));
            thread::spawn(move || ask(connection, &keys, &next, pause, &stop))
        });
        Self {
            threads: threads.collect(),
            stop,
            began: Instant::now(),
        }
    }

    /// Ends, and says what came of it as a JSON object.
    pub fn end(self) -> Result<String, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Met::default();
        for thread in self.threads {
            let met = thread
                .join()
                .map_err(|_| "a thread of the load broke off")?;
            all.millis.extend(met.millis);
            all.refused += met.refused;
            all.failed += met.failed;
            all.example = all.example.or(met.example);
        }
        let rate = all.millis.len() as f64 / self.began.elapsed().as_secs_f64();
        let (refused, failed) = (all.refused, all.failed);
        let example = all
            .example
            .unwrap_or_default()
            .replace(['"', '\\', '\r', '\n'], " ");
        let figures = figures(all.millis);
        Ok(format!(
            "{{{figures},\"rate\":{rate:.0},\"refused\":{refused},\"failed\":{failed},\"example\":\"{example}\"}}"
        ))
    }
}

fn ask(
    mut connection: Connection,
    keys: &[Key],
    next: &AtomicU64,
    pause: Option<Duration>,
    stop: &AtomicBool,
) -> Met {
    let mut met = Met::default();
    // Connections begin at different places of the first interval.
    let place = next.fetch_add(1, Ordering::Relaxed);
    let offset =
        pause.map(|pause| pause.mul_f64(f64::from(u32::try_from(place % 64).unwrap_or(0)) / 64.0));
    let mut due = Instant::now() + offset.unwrap_or_default();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        let begin = match pause {
            Some(_) if now < due => {
                thread::sleep(due - now);
                Instant::now()
            }
            Some(_) => due,
            None => now,
        };
        due += pause.unwrap_or_default();
        let place = usize::try_from(next.fetch_add(7919, Ordering::Relaxed)).unwrap_or(0);
        let Some(key) = keys.get(place % keys.len().max(1)) else {
            break;
        };
        match connection.ask("GET", "/v1/agents/a1", &key.line(), "") {
            Ok(reply) if reply.status == 200 => {
                met.millis.push(begin.elapsed().as_secs_f64() * 1e3);
            }
            Ok(reply) => {
                met.refused += 1;
                met.example.get_or_insert(reply.head);
            }
            Err(error) => {
                met.failed += 1;
                met.example.get_or_insert(error.to_string());
            }
        }
    }
    met
}

/// `load gateways=… keys=… connections=N rate=N seconds=N`
pub fn run(options: &Options) -> Result<String, Failure> {
    let gateways = options.list("gateways")?;
    let keys = options.keys()?;
    let load = Load::begin(
        &gateways,
        &keys,
        options.number("connections")?,
        options.number("rate")?,
    );
    thread::sleep(Duration::from_secs_f64(options.number("seconds")?));
    load.end()
}
