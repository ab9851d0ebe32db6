//! Start to end: sockets first, then the source of the keys, then the keys, then traffic; and back in the other order.
//!
//! Nothing answers before everything is there. What is in the way ends the start before anything has begun.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::clock;
use super::descriptors;
use super::keys::{Begun, KeysFrom, Prepared};
use super::reload::{ReadRules, Reloader};
use super::signals::{Signal, Signals};
use crate::control::{Keys, OpenError, StoreError};
use crate::proxy::{self, BindError, Gateway, Surroundings};
use crate::replica::{self, Replica, prisme, remote};
use crate::telemetry::{AccessLog, Metrics};

/// Threads beside the data plane: they wait for the disk or a platform, and must not take cores from it.
const CONTROL_THREADS: usize = 2;

/// All that is started, as finished settings.
pub struct Plan {
    /// The data plane.
    pub gateway: proxy::Config,
    /// Where the keys come from.
    pub keys: KeysFrom,
    /// The gateway's copy of the keys.
    pub replica: replica::Config,
    /// What another process is told that wants the same database.
    pub purpose: &'static str,
    /// Where the access log goes.
    pub access_log: Box<dyn Write + Send>,
    /// Reads the rules anew, or says why they cannot be used.
    pub rules: ReadRules,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The control plane's address cannot be listened at.
    #[error(
        "the control plane cannot listen at {address}: stop what listens there, or choose another address"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// One of the gateway's addresses cannot be listened at.
    #[error("{who} cannot listen at {address}: stop what listens there, or choose another address")]
    Bind {
        /// The gateway, or its ops listener.
        who: &'static str,
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The machine gives no thread.
    #[error("the machine gives no more threads")]
    Threads(#[source] io::Error),
    /// The store cannot be served from.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The keys cannot be read.
    #[error("the keys cannot be read from the database")]
    Load(#[source] StoreError),
    /// The platform cannot be followed.
    #[error(transparent)]
    Platform(prisme::OpenError),
    /// The control planes cannot be followed.
    #[error(transparent)]
    Remote(remote::OpenError),
}

/// A gateway with its source of keys, serving.
pub struct Running {
    runtime: Runtime,
    signals: Signals,
    gateway: Arc<Gateway>,
    reloader: Arc<Reloader>,
    keys: Begun,
    replica: Arc<Replica>,
    grace: Duration,
}

/// Starts everything in `plan`.
///
/// # Errors
/// What is in the way; nothing has been served then, and nothing goes on.
pub fn start(plan: Plan) -> Result<Running, StartError> {
    let grace = plan.gateway.graceful_shutdown;
    let (files, connections) = (descriptors::raise(), plan.gateway.rules.limits.connections);
    let runtime = runtime().map_err(StartError::Threads)?;
    let signals = Signals::listen(grace).map_err(StartError::Threads)?;
    let replica = Replica::new(plan.replica.clone());
    let keys = Prepared::new(plan.keys, &plan.replica, &replica, &runtime)?;
    let metrics = Arc::new(Metrics::new());
    let log = AccessLog::start(plan.access_log, &metrics).map_err(StartError::Threads)?;
    let reloader = Reloader::new(plan.rules);
    let around = Surroundings {
        replica: Arc::clone(&replica),
        metrics,
        access_log: Some(Arc::new(log)),
        clock: clock::system(),
        source: keys.source(),
        reload: reload_by(&reloader),
        descriptors: files,
    };
    let ops = plan.gateway.ops;
    let mut gateway = Gateway::bind(plan.gateway, around).map_err(|error| not_bound(error, ops))?;
    let keys = keys.open(plan.purpose, &replica, gateway.reaper(), &runtime)?;
    gateway.start().map_err(StartError::Threads)?;
    descriptors::compare(files, connections);
    let gateway = Arc::new(gateway);
    reloader.serves(&gateway);
    let keys = keys.begin(&replica, &runtime, grace);
    if let Some(serving) = keys.control() {
        reloader.administers(&serving.control);
    }
    Ok(Running {
        runtime,
        signals,
        gateway,
        reloader,
        keys,
        replica,
        grace,
    })
}

fn not_bound(BindError { address, source }: BindError, ops: Option<SocketAddr>) -> StartError {
    let is_ops = ops.is_some_and(|ops| ops.to_string() == address);
    StartError::Bind {
        who: if is_ops {
            "the ops listener"
        } else {
            "the gateway"
        },
        address,
        source,
    }
}

fn reload_by(reloader: &Arc<Reloader>) -> proxy::Reload {
    let reloader = Arc::clone(reloader);
    Arc::new(move || {
        let reloader = Arc::clone(&reloader);
        Box::pin(async move { reloader.reload().await })
    })
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("keys")
        .enable_all()
        .build()
}

impl Running {
    /// Where the gateway listens.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Where the control plane listens, where it is in this process.
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.keys.control()?.address
    }

    /// The keys, for parts of this program that change them, where they can be changed here.
    pub fn keys(&self) -> Option<&Keys> {
        self.keys.keys()
    }

    /// The runtime of whatever is not the data plane.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Serves until a signal says to end; then finishes what is in flight, within the grace period. A second signal
    /// ends the process where it stands: what was answered is on disk.
    pub fn until_ended(mut self) {
        self.runtime
            .block_on(until_told_to_end(&mut self.signals, &self.reloader));
        tracing::info!("ending: no new connections, what is in flight is finished");
        self.runtime.block_on(end(&self.gateway, &mut self.keys));
        let flush = self.keys.flush(&self.replica);
        let flushed = self
            .runtime
            .block_on(async { tokio::time::timeout(self.grace, flush).await });
        if flushed.is_err() {
            tracing::warn!("use counts or keys could not be stored in time");
        }
        self.runtime.shutdown_background();
    }
}

async fn until_told_to_end(signals: &mut Signals, reloader: &Reloader) {
    while signals.next().await == Signal::Reload {
        // What comes of it is logged where it happens.
        let _ = reloader.reload().await;
    }
}

/// The gateway first, so that what it lets through last is still judged by current keys.
async fn end(gateway: &Gateway, keys: &mut Begun) {
    gateway.drain().await;
    keys.end().await;
}
