//! Lines as they are written, and the writer against outputs that are slow, broken or shared.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::queue::LANE_BYTES_MAX;
use super::{AccessLog, Record};
use crate::authz::{KeyId, Reason, Timestamp};
use crate::telemetry::metrics::{Metrics, Outcome};
use crate::telemetry::redact::Redactor;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

fn record(redactor: &Redactor) -> Record<'_> {
    Record {
        time: Timestamp::from_millis(1_795_210_000_007),
        client: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        method: b"GET",
        route: None,
        path: b"/",
        outcome: Outcome::Refused(Reason::NoRoute),
        limit: None,
        key_id: None,
        org: None,
        upstream: None,
        bytes_in: 0,
        bytes_out: 0,
        duration: Duration::from_micros(250),
        decision: None,
        upstream_duration: None,
        correlation_id: "c1",
        redactor,
    }
}

fn line(record: &Record<'_>) -> String {
    let mut line = Vec::new();
    record.write_line(&mut line);
    String::from_utf8(line).unwrap()
}

fn parsed(record: &Record<'_>) -> Value {
    serde_json::from_str(&line(record)).unwrap()
}

#[test]
fn a_line_has_everything_that_is_known_in_one_order() {
    let redactor = Redactor::default();
    let id = KeyId::new("k1");
    let full = Record {
        method: b"POST",
        route: Some("agents"),
        path: b"/v1/agents/a1?x=1",
        outcome: Outcome::Allowed(201),
        limit: Some("min_rate"),
        key_id: Some(&id),
        org: Some("acme"),
        upstream: Some("sample"),
        bytes_in: 12,
        bytes_out: 34,
        duration: Duration::from_millis(5),
        decision: Some(Duration::from_nanos(1700)),
        upstream_duration: Some(Duration::from_millis(4)),
        ..record(&redactor)
    };
    assert_eq!(
        line(&full),
        "{\"time\":\"2026-11-20T21:26:40.007Z\",\"client\":\"127.0.0.1\",\"method\":\"POST\",\
         \"route\":\"agents\",\"path\":\"/v1/agents/a1?x=1\",\"status\":201,\"reason\":\"allowed\",\
         \"limit\":\"min_rate\",\"key_id\":\"k1\",\"org\":\"acme\",\"upstream\":\"sample\",\"bytes_in\":12,\"bytes_out\":34,\
         \"duration_us\":5000,\"decision_us\":1,\"upstream_us\":4000,\"correlation_id\":\"c1\"}\n"
    );
}

#[test]
fn what_is_not_known_is_left_out() {
    let redactor = Redactor::default();
    let refused = Record {
        client: None,
        ..record(&redactor)
    };
    assert_eq!(
        parsed(&refused),
        json!({
            "time": "2026-11-20T21:26:40.007Z", "client": "unix", "method": "GET", "path": "/",
            "status": 404, "reason": "no_route", "bytes_in": 0, "bytes_out": 0, "duration_us": 250,
            "correlation_id": "c1"
        })
    );
}

#[test]
fn times_outside_the_calendar_do_not_break_a_line() {
    let redactor = Redactor::default();
    for millis in [i64::MIN, i64::MAX, -1] {
        let time = Timestamp::from_millis(millis);
        let line = parsed(&Record {
            time,
            ..record(&redactor)
        });
        assert!(line["time"].is_string(), "{line}");
    }
}

proptest! {
    #[test]
    fn whatever_is_received_makes_one_line_of_json_without_keys(
        method: Vec<u8>, path: Vec<u8>, correlation_id: String, route: String,
        at in any::<prop::sample::Index>(),
    ) {
        const KEY: &str = "iak_acme_0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";
        let redactor = Redactor::default();
        let mut with_key = path.clone();
        let at = at.index(path.len() + 1);
        with_key.splice(at..at, KEY.bytes());
        for path in [&path, &with_key] {
            let record = Record {
                method: &method,
                path,
                route: Some(&route),
                correlation_id: &correlation_id,
                ..record(&redactor)
            };
            let line = line(&record);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert!(!line.contains("0b5e3b1c"));
            let parsed: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&parsed["route"], &route);
        }
    }
}

/// An output that gives each piece to the test.
struct Pieces(Sender<Vec<u8>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An output that takes a piece only when the test says so.
struct Gated(Receiver<()>, Arc<Mutex<Vec<u8>>>);

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        self.1.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("no space"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_come_without_being_asked_for_also_after_a_rest() {
    let redactor = Redactor::default();
    let (to_test, pieces) = mpsc::channel();
    let log = AccessLog::start(Pieces(to_test), &Metrics::new()).unwrap();
    for _ in 0..3 {
        log.log(&record(&redactor));
        let piece = pieces.recv_timeout(PATIENCE).unwrap();
        assert_eq!(String::from_utf8(piece).unwrap(), line(&record(&redactor)));
        assert!(log.flush());
    }
}

#[test]
fn lines_of_many_threads_stay_whole_and_none_is_lost() {
    const THREADS: usize = 8;
    const LINES: usize = 200;
    let (to_test, pieces) = mpsc::channel();
    let metrics = Metrics::new();
    let dropped = metrics.access_log_dropped();
    let log = AccessLog::start(Pieces(to_test), &metrics).unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let redactor = Redactor::default();
                (0..LINES).for_each(|_| log.log(&record(&redactor)));
            });
        }
    });
    drop(log);
    let written: Vec<u8> = pieces.iter().flatten().collect();
    let redactor = Redactor::default();
    let expected = line(&record(&redactor));
    let written = String::from_utf8(written).unwrap();
    assert_eq!(written, expected.repeat(THREADS * LINES));
    assert_eq!(dropped.get(), 0);
}

#[test]
fn an_output_that_hangs_costs_lines_and_holds_nobody_up() {
    let redactor = Redactor::default();
    let (gate, closed) = mpsc::channel();
    let written = Arc::new(Mutex::new(Vec::new()));
    let metrics = Metrics::new();
    let dropped = metrics.access_log_dropped();
    let log = AccessLog::start(Gated(closed, Arc::clone(&written)), &metrics).unwrap();
    let line = line(&record(&redactor));
    // What the writer holds while it hangs, what waits, and some more.
    let lines = 2 * LANE_BYTES_MAX / line.len() + 1000;
    (0..lines).for_each(|_| log.log(&record(&redactor)));
    assert!(dropped.get() >= 900, "{} dropped", dropped.get());
    drop(gate);
    drop(log);
    let written = written.lock().unwrap();
    let written_lines = written.len() / line.len();
    assert_eq!(*written, line.repeat(written_lines).into_bytes());
    assert_eq!(written_lines as u64 + dropped.get(), lines as u64);
}

#[test]
fn an_output_that_fails_costs_lines() {
    let redactor = Redactor::default();
    let metrics = Metrics::new();
    let dropped = metrics.access_log_dropped();
    let log = AccessLog::start(Broken, &metrics).unwrap();
    (0..5).for_each(|_| log.log(&record(&redactor)));
    assert!(log.flush());
    assert_eq!(dropped.get(), 5);
}

#[test]
fn refusals_beyond_so_many_of_a_reason_are_told_in_one_line() {
    let (to_test, pieces) = mpsc::channel();
    let metrics = Metrics::new();
    let log = AccessLog::start(Pieces(to_test), &metrics).unwrap();
    let unknown = Outcome::Refused(Reason::UnknownKey);
    let gone = Outcome::Abandoned;
    let time = Timestamp::from_millis(1_795_210_000_007);
    for _second in 0..2 {
        let taken = |outcome| (0..10).filter(|_| log.takes(outcome, 3)).count();
        assert_eq!(taken(unknown), 3);
        assert_eq!(taken(Outcome::Refused(Reason::NoRoute)), 3);
        assert_eq!(taken(gone), 3);
        assert_eq!(taken(Outcome::Allowed(200)), 10);
        assert_eq!(taken(Outcome::CLIENT_LEFT), 10);
        log.tell_left_out(|| time);
        // Nothing was left out since.
        log.tell_left_out(|| panic!("nothing is told"));
    }
    assert!(log.takes(unknown, 1) && !log.takes(unknown, 0));
    drop(log);
    let written: Vec<u8> = pieces.iter().flatten().collect();
    let second = concat!(
        r#"{"time":"2026-11-20T21:26:40.007Z","status":401,"reason":"unknown_key","left_out":7}"#,
        "\n",
        r#"{"time":"2026-11-20T21:26:40.007Z","status":404,"reason":"no_route","left_out":7}"#,
        "\n",
        r#"{"time":"2026-11-20T21:26:40.007Z","status":499,"reason":"abandoned","left_out":7}"#,
        "\n",
    );
    assert_eq!(String::from_utf8(written).unwrap(), second.repeat(2));
    let counted = metrics.access_log_left_out();
    assert_eq!(counted.with_label_values(&["unknown_key"]).get(), 14);
}
