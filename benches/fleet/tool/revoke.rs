//! How long a revoked key goes on working: a prober at every gateway asks with that key, back to back, while it is
//! switched off at a control plane.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::Connection;
use crate::load::Load;
use crate::{Failure, Key, Options, figures};

/// Refusals in a row, after the change was answered, that end the probing of a key.
const REFUSALS: u32 = 3;
/// How long a key is probed at most after the change was answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// One key on its way out.
struct Round {
    key: Key,
    /// When the change was answered.
    answered: OnceLock<Instant>,
}

/// What one prober saw of it.
struct Seen {
    /// The end of the first request that was refused; `None`: none was.
    refused: Option<Instant>,
    /// Requests that began after the change was answered, and passed.
    allowed_after: u32,
}

fn probe(gateway: &str, rounds: &Receiver<Arc<Round>>, told: &Sender<Seen>) {
    let mut connection = Connection::to(gateway);
    while let Ok(round) = rounds.recv() {
        if told.send(watch(&mut connection, &round)).is_err() {
            return;
        }
    }
}

fn watch(connection: &mut Connection, round: &Round) -> Seen {
    let mut seen = Seen {
        refused: None,
        allowed_after: 0,
    };
    let mut refusals = 0;
    let line = round.key.line();
    loop {
        let answered = round.answered.get().copied();
        let reply = connection.ask("GET", "/v1/agents/a1", &line, "");
        let is_refused = reply.is_ok_and(|reply| reply.status == 401);
        if is_refused {
            seen.refused.get_or_insert_with(Instant::now);
        }
        // What was read before the request began: it began after the answer.
        let Some(answered) = answered else { continue };
        refusals = if is_refused { refusals + 1 } else { 0 };
        seen.allowed_after += u32::from(!is_refused);
        if refusals >= REFUSALS || answered.elapsed() > PATIENCE {
            return seen;
        }
    }
}

/// The probers of all gateways.
struct Probers {
    rounds: Vec<Sender<Arc<Round>>>,
    seen: Receiver<Seen>,
}

impl Probers {
    fn begin(gateways: &[String]) -> Self {
        let (tell, seen) = mpsc::channel();
        let rounds = gateways.iter().map(|gateway| {
            let (send, rounds) = mpsc::channel();
            let (gateway, tell) = (gateway.clone(), tell.clone());
            thread::spawn(move || probe(&gateway, &rounds, &tell));
            send
        });
        Self {
            rounds: rounds.collect(),
            seen,
        }
    }

    /// Sees a key out. The time from the answer to the last gateway's first refusal in milliseconds, and how many
    /// requests passed that began after the answer.
    fn see_out(
        &self,
        key: &Key,
        change: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(Option<f64>, u32), Failure> {
        let round = Arc::new(Round {
            key: key.clone(),
            answered: OnceLock::new(),
        });
        for prober in &self.rounds {
            prober.send(Arc::clone(&round))?;
        }
        // The probers are at it when the change is asked for.
        thread::sleep(Duration::from_millis(2));
        let changed = change();
        let answered = Instant::now();
        // Nobody else sets it.
        let _ = round.answered.set(answered);
        let mut last = Some(answered);
        let mut allowed = 0;
        for _ in &self.rounds {
            let seen = self.seen.recv()?;
            last = last
                .zip(seen.refused)
                .map(|(last, refused)| last.max(refused));
            allowed += seen.allowed_after;
        }
        changed?;
        let millis = last.map(|last| last.saturating_duration_since(answered).as_secs_f64() * 1e3);
        Ok((millis, allowed))
    }
}

/// `revoke controls=… gateways=… keys=… admin=… count=N wait=S background=N`: the keys after the first `count` make the
/// background.
pub fn run(options: &Options) -> Result<String, Failure> {
    let gateways = options.list("gateways")?;
    let mut controls: Vec<Connection> = options
        .list("controls")?
        .iter()
        .map(|address| Connection::to(address))
        .collect();
    let (count, wait): (usize, u32) = (options.number("count")?, options.number("wait")?);
    let mut lines = options.admin()?;
    if wait > 0 {
        lines += &format!("prefer: wait={wait}\r\n");
    }
    let keys = options.keys()?;
    let (ending, others) = keys.split_at_checked(count).ok_or("too few keys")?;
    let background = Load::begin(&gateways, others, 1, options.number("background")?);
    let probers = Probers::begin(&gateways);
    let (mut millis, mut never, mut broken, mut partly) = (Vec::new(), 0, 0, 0);
    let planes = controls.len().max(1);
    for (index, key) in ending.iter().enumerate() {
        let control = controls.get_mut(index % planes).ok_or("no control plane")?;
        let mut acknowledged = None;
        let (time, allowed) = probers.see_out(key, || {
            let reply = control.ask("PATCH", &key.path, &lines, "{\"disabled\":true}")?;
            if reply.status != 200 {
                return Err(format!("the change was answered {}", reply.status).into());
            }
            acknowledged = reply.header("keyward-acknowledged").map(str::to_owned);
            Ok(())
        })?;
        match time {
            Some(time) => millis.push(time),
            None => never += 1,
        }
        broken += u32::from(allowed > 0);
        let all = format!("{0}/{0}", gateways.len());
        partly += u32::from(wait > 0 && acknowledged.as_deref() != Some(all.as_str()));
    }
    let (background, figures) = (background.end()?, figures(millis));
    Ok(format!(
        "{{{figures},\"never\":{never},\"allowed_after\":{broken},\"not_all\":{partly},\"background\":{background}}}"
    ))
}
