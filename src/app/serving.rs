//! A control plane while its API is served, beside a gateway or alone: from a bound listener to the last answer.
//!
//! It knows no keys and no command line.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::running::StartError;
use crate::control::Control;

/// A control plane that serves.
pub(super) struct Serving {
    pub(super) control: Arc<Control>,
    pub(super) address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Serving {
    /// Begins to serve; `grace` is what requests in flight have at the end.
    pub(super) fn begin(
        control: Arc<Control>,
        listener: TcpListener,
        runtime: &Runtime,
        grace: Duration,
    ) -> Self {
        let address = listener.local_addr().ok();
        let (stop, stopped) = watch::channel(false);
        let serving = runtime.spawn(serve(Arc::clone(&control), listener, stopped, grace));
        Self {
            control,
            address,
            stop,
            serving,
        }
    }

    /// Ends, after what is in flight.
    pub(super) async fn end(&mut self) {
        // Without receivers the control plane has ended already.
        let _ = self.stop.send(true);
        let _ = (&mut self.serving).await;
    }
}

/// Takes the address of a control plane.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| StartError::Listen { address, source })
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
