//! Signals of the operating system, as what they ask for, and the latest moment at which the process ends.
//!
//! They are heard by a thread of its own, which does nothing else. Whatever hangs elsewhere, for instance in an output
//! that nobody reads, cannot keep a signal from being heard, and the process from ending.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::watch;

/// What ending may take beyond the grace period: what is cut has to notice, and the access log to be written.
const ENDING_TIME: Duration = Duration::from_secs(4);

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    End,
    /// SIGHUP.
    Reload,
}

/// The signals that this process takes. From the moment that this exists they no longer have their default effects.
#[derive(Debug)]
pub struct Signals(watch::Receiver<Signal>);

impl Signals {
    /// Takes the signals. From the first one to end on, the process has `grace` and a little more to end by itself;
    /// then, or at a second one, it is ended where it stands.
    ///
    /// # Errors
    /// The system does not let it.
    pub fn listen(grace: Duration) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let taken = runtime.block_on(async { Taken::new() })?;
        let (tell, told) = watch::channel(Signal::Reload);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || hear(&runtime, taken, &tell, grace))?;
        Ok(Self(told))
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Signal {
        match self.0.changed().await {
            Ok(()) => *self.0.borrow_and_update(),
            // Nobody would hear the signal to end any more.
            Err(_) => Signal::End,
        }
    }
}

/// The thread's life, to the end of the process.
fn hear(runtime: &Runtime, mut taken: Taken, tell: &watch::Sender<Signal>, grace: Duration) {
    runtime.block_on(async {
        while taken.next().await == Signal::Reload {
            tell.send_replace(Signal::Reload);
        }
        tell.send_replace(Signal::End);
        // When the time is over, the effect is that of a second signal.
        let _ = tokio::time::timeout(grace.saturating_add(ENDING_TIME), taken.end()).await;
    });
    // What was answered is on disk.
    std::process::exit(0);
}

#[derive(Debug)]
struct Taken {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
}

impl Taken {
    /// Must be called within a runtime.
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hang_up: unix::signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::End,
            _ = self.interrupt.recv() => Signal::End,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }

    async fn end(&mut self) {
        while self.next().await == Signal::Reload {}
    }
}
