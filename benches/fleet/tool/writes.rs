//! Changes at a rate, from many clients that go on at another control plane when theirs is gone; afterwards every change
//! that was answered must be there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::Connection;
use crate::{Failure, Key, Options, figures};

/// Before a client asks again whom it could not ask.
const PAUSE: Duration = Duration::from_millis(20);
/// How often the state of a key is asked for, before the control planes count as gone.
const ATTEMPTS: u32 = 500;

/// One client and the key that is its own.
struct Writer {
    controls: Vec<Connection>,
    at: usize,
    lines: String,
    key: Key,
    /// The number in the name that was answered last.
    answered: u64,
    /// The number in the name that was asked for last.
    asked: u64,
    millis: Vec<f64>,
    failed: u64,
    highest: u64,
    fell: u64,
}

impl Writer {
    fn control(&mut self) -> Result<&mut Connection, Failure> {
        let at = self.at % self.controls.len().max(1);
        self.controls
            .get_mut(at)
            .ok_or_else(|| "no control plane".into())
    }

    /// One change, and where it was not answered the next control plane for the next one.
    fn write(&mut self, due: Instant, watermark: &AtomicU64) -> Result<(), Failure> {
        self.asked += 1;
        let body = format!("{{\"name\":\"n{}\"}}", self.asked);
        let (path, lines) = (self.key.path.clone(), self.lines.clone());
        // What was answered to anybody before this began.
        let before = watermark.load(Ordering::SeqCst);
        match self.control()?.ask("PATCH", &path, &lines, &body) {
            Ok(reply) if reply.status == 200 => {
                self.answered = self.asked;
                self.millis.push(due.elapsed().as_secs_f64() * 1e3);
                let revision = reply
                    .header("keyward-revision")
                    .and_then(|text| text.parse().ok());
                let revision = revision.ok_or("an answer without a revision")?;
                self.fell += u64::from(revision <= before);
                self.highest = self.highest.max(revision);
                watermark.fetch_max(revision, Ordering::SeqCst);
            }
            Ok(_) | Err(_) => {
                self.failed += 1;
                self.at += 1;
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Whether what was answered last, or something asked for later, is there.
    fn is_kept(&mut self) -> Result<bool, Failure> {
        let (path, lines) = (self.key.path.clone(), self.lines.clone());
        for _ in 0..ATTEMPTS {
            if let Ok(reply) = self.control()?.ask("GET", &path, &lines, "")
                && reply.status == 200
            {
                let body = String::from_utf8(reply.body)?;
                let mut names = body.split("\"name\":\"n").skip(1);
                let number = names.next().and_then(|rest| rest.split('"').next());
                let number: u64 = number.map_or(Ok(0), str::parse).unwrap_or(0);
                return Ok((self.answered..=self.asked).contains(&number));
            }
            self.at += 1;
            thread::sleep(PAUSE);
        }
        Err("no control plane answers any more".into())
    }
}

/// `writes controls=… keys=… admin=… clients=N rate=N seconds=N`: each client changes a key of its own.
pub fn run(options: &Options) -> Result<String, Failure> {
    let (controls, lines) = (options.list("controls")?, options.admin()?);
    let (clients, rate): (usize, f64) = (options.number("clients")?, options.number("rate")?);
    let seconds = Duration::from_secs_f64(options.number("seconds")?);
    let keys = options.keys()?;
    let pause = Duration::from_secs_f64(clients as f64 / rate);
    let began = Instant::now();
    let watermark = Arc::new(AtomicU64::new(0));
    let threads = keys
        .into_iter()
        .take(clients)
        .enumerate()
        .map(|(index, key)| {
            let mut writer = Writer {
                controls: controls
                    .iter()
                    .map(|address| Connection::to(address))
                    .collect(),
                at: index,
                lines: lines.clone(),
                key,
                answered: 0,
                asked: 0,
                millis: Vec::new(),
                failed: 0,
                highest: 0,
                fell: 0,
            };
            let watermark = Arc::clone(&watermark);
            let mut due = began + pause.mul_f64(index as f64 / clients as f64);
            thread::spawn(move || -> Result<Writer, Failure> {
                while began.elapsed() < seconds {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    writer.write(due.max(began), &watermark)?;
                    due += pause;
                }
                Ok(writer)
            })
        });
    let threads: Vec<_> = threads.collect();
    let (mut millis, mut failed, mut lost, mut fell, mut highest) = (Vec::new(), 0, 0, 0, 0);
    for thread in threads {
        let mut writer = thread.join().map_err(|_| "a client broke off")??;
        lost += u32::from(!writer.is_kept()?);
        failed += writer.failed;
        fell += writer.fell;
        highest = highest.max(writer.highest);
        millis.append(&mut writer.millis);
    }
    let rate = millis.len() as f64 / seconds.as_secs_f64();
    let figures = figures(millis);
    Ok(format!(
        "{{{figures},\"rate\":{rate:.0},\"unanswered\":{failed},\"lost\":{lost},\"revisions_that_fell\":{fell},\"revision\":{highest}}}"
    ))
}
