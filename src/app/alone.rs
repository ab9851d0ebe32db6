//! A control plane without a gateway in its process: the listener first, then the store, then requests; and an end.
//!
//! It has no copy of the keys: gateways elsewhere have theirs.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::clock;
use super::running::StartError;
use super::serving::{self, Serving};
use super::signals::{Signal, Signals};
use crate::control::{self, Control};

/// A control plane to start, as finished settings.
#[derive(Debug)]
pub struct AlonePlan {
    /// Its settings.
    pub control: control::Config,
    /// What another process is told that wants the same database.
    pub purpose: &'static str,
    /// What requests in flight have at the end.
    pub grace: Duration,
}

/// A control plane, serving.
pub struct Alone {
    runtime: Runtime,
    signals: Signals,
    serving: Serving,
}

/// Starts a control plane alone.
///
/// # Errors
/// What is in the way; nothing has been served then, and nothing goes on.
pub fn start_alone(plan: AlonePlan) -> Result<Alone, StartError> {
    let runtime = runtime().map_err(StartError::Threads)?;
    let signals = Signals::listen(plan.grace).map_err(StartError::Threads)?;
    let listener = serving::listen(plan.control.listen)?;
    let opened = Control::open(&plan.control, plan.purpose, clock::system());
    let control = Arc::new(runtime.block_on(opened)?);
    let serving = Serving::begin(control, listener, &runtime, plan.grace);
    Ok(Alone {
        runtime,
        signals,
        serving,
    })
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("control")
        .enable_all()
        .build()
}

/// Reads what can be read again: the files of TLS.
fn reload(control: &Control) {
    match control.read_certificates() {
        Ok(()) if control.has_tls() => tracing::info!("reloaded"),
        Ok(()) => tracing::warn!("not reloaded: without TLS there is nothing to read again"),
        Err(error) => {
            let error: &dyn Error = &error;
            tracing::error!(error, "not reloaded, the former certificate stays in force");
        }
    }
}

impl Alone {
    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.serving.address
    }

    /// Serves until a signal says to end; then finishes what is in flight, within the grace period. A second signal
    /// ends the process where it stands: what was answered is on disk.
    pub fn until_ended(mut self) {
        self.runtime.block_on(async {
            while self.signals.next().await == Signal::Reload {
                reload(&self.serving.control);
            }
            tracing::info!("ending: no new connections, what is in flight is finished");
            self.serving.end().await;
        });
        self.runtime.shutdown_background();
    }
}
