//! Start to end: sockets first, then the store, then the keys, then traffic; and back in the other order.
//!
//! Nothing answers before everything is there. What is in the way ends the start before anything has begun.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::clock;
use super::fed::Fed;
use super::reload::{ReadRules, Reloader};
use super::signals::{Signal, Signals};
use super::usage;
use crate::control::{self, Control, Keys, OpenError, StoreError};
use crate::proxy::{self, BindError, Gateway, Source, SourceStatus, Surroundings};
use crate::replica::{self, Replica};
use crate::telemetry::{AccessLog, Metrics};

/// Threads of the control plane: it waits for the disk, and must not take cores from the data plane.
const CONTROL_THREADS: usize = 2;

/// All that is started, as finished settings.
pub struct Plan {
    /// The data plane.
    pub gateway: proxy::Config,
    /// The control plane, which is where the keys come from.
    pub control: control::Config,
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
    #[error("the gateway cannot listen at {}: stop what listens there, or choose another address", .0.address)]
    Bind(#[source] BindError),
    /// The machine gives no thread.
    #[error("the machine gives no more threads")]
    Threads(#[source] io::Error),
    /// The store cannot be served from.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The keys cannot be read.
    #[error("the keys cannot be read from the database")]
    Load(#[source] StoreError),
}

/// A gateway with its control plane, serving.
pub struct Running {
    runtime: Runtime,
    signals: Signals,
    gateway: Arc<Gateway>,
    reloader: Arc<Reloader>,
    control: Arc<Control>,
    control_address: SocketAddr,
    replica: Arc<Replica>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    grace: Duration,
}

/// The control plane in this process: each change is applied before it is answered, so the keys are always current.
struct Embedded;

impl Source for Embedded {
    fn status(&self) -> SourceStatus {
        SourceStatus {
            state: "embedded",
            staleness: Duration::ZERO,
            usable: true,
        }
    }
}

/// Starts everything in `plan`.
///
/// # Errors
/// What is in the way; nothing has been served then, and nothing goes on.
pub fn start(plan: Plan) -> Result<Running, StartError> {
    let grace = plan.gateway.graceful_shutdown;
    let runtime = runtime().map_err(StartError::Threads)?;
    let signals = Signals::listen(grace).map_err(StartError::Threads)?;
    let listener = listen(plan.control.listen)?;
    let control_address = listener.local_addr().unwrap_or(plan.control.listen);
    let replica = Replica::new(plan.replica);
    let metrics = Arc::new(Metrics::new());
    let log = AccessLog::start(plan.access_log, metrics.access_log_dropped())
        .map_err(StartError::Threads)?;
    let reloader = Reloader::new(plan.rules);
    let around = Surroundings {
        replica: Arc::clone(&replica),
        metrics,
        access_log: Some(Arc::new(log)),
        clock: clock::system(),
        source: Arc::new(Embedded),
        reload: reload_by(&reloader),
    };
    let mut gateway = Gateway::bind(plan.gateway, around).map_err(StartError::Bind)?;
    let fed = Fed {
        replica: Arc::clone(&replica),
        reaper: gateway.reaper(),
    };
    let control = runtime.block_on(open(&plan.control, plan.purpose, fed))?;
    let control = Arc::new(control);
    gateway.start().map_err(StartError::Threads)?;
    let gateway = Arc::new(gateway);
    reloader.serves(&gateway);
    let (stop, stopped) = watch::channel(false);
    let serving = runtime.spawn(serve(Arc::clone(&control), listener, stopped, grace));
    runtime.spawn(usage::flush_regularly(
        Arc::clone(&replica),
        control.keys().clone(),
    ));
    Ok(Running {
        runtime,
        signals,
        gateway,
        reloader,
        control,
        control_address,
        replica,
        stop,
        serving,
        grace,
    })
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
        .thread_name("control")
        .enable_all()
        .build()
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| StartError::Listen { address, source })
}

async fn open(config: &control::Config, purpose: &str, fed: Fed) -> Result<Control, StartError> {
    let control = Control::open(config, purpose, clock::system()).await?;
    control
        .attach(Arc::new(fed))
        .await
        .map_err(StartError::Load)?;
    Ok(control)
}

async fn serve(
    control: Arc<Control>,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
    grace: Duration,
) {
    let shutdown = async move {
        // An error means that the sender is gone, which is an end as well.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    if let Err(error) = control.serve(listener, shutdown, grace).await {
        tracing::error!(%error, "the control plane has ended");
    }
}

impl Running {
    /// Where the gateway listens.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Where the control plane listens.
    pub fn control_address(&self) -> SocketAddr {
        self.control_address
    }

    /// The keys, for parts of this program that change them.
    pub fn keys(&self) -> &Keys {
        self.control.keys()
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
        self.runtime
            .block_on(end(&self.gateway, &self.stop, &mut self.serving));
        let flush = usage::flush(&self.replica, self.control.keys());
        let flushed = self
            .runtime
            .block_on(async { tokio::time::timeout(self.grace, flush).await });
        if flushed.is_err() {
            tracing::warn!("use counts of keys could not be stored in time");
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
async fn end(gateway: &Gateway, stop: &watch::Sender<bool>, serving: &mut JoinHandle<()>) {
    gateway.drain().await;
    // Without receivers the control plane has ended already.
    let _ = stop.send(true);
    let _ = serving.await;
}
