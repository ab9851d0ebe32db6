//! Those who look after endpoints: they resolve names again and probe for health.
//!
//! Each ends by itself when its upstream is no longer part of any rules.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::config::{Endpoint, HealthCheck};
use super::upstream::{EndpointState, Upstream};

/// How long the first look-ups of names may hold up the first requests.
const RESOLVE_FIRST: Duration = Duration::from_secs(2);
/// Between two look-ups of a name.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);
/// Between two look-ups of a name that did not resolve.
const RESOLVE_AGAIN: Duration = Duration::from_secs(1);
/// What a probe's answer must begin with fits in this.
const STATUS_LINE: usize = 12;

/// Begins to look after an upstream, on the runtime that this is called in. Once is enough.
pub fn look_after(upstream: &Upstream) {
    for state in upstream.endpoints() {
        if let Endpoint::Tcp { host, port } = &state.endpoint
            && host.parse::<std::net::IpAddr>().is_err()
        {
            let name = (host.clone(), *port);
            tokio::spawn(resolve(name, Arc::downgrade(state)));
        }
        if let Some(check) = upstream.config.health.clone() {
            tokio::spawn(probe(
                check,
                upstream.config.name.clone(),
                Arc::downgrade(state),
            ));
        }
    }
}

/// Resolves the names of endpoints that were never resolved, so that the first requests find them. What takes longer than
/// [`RESOLVE_FIRST`] is resolved meanwhile.
pub async fn resolve_first(upstreams: &[Arc<Upstream>]) {
    let mut all = JoinSet::new();
    for state in upstreams.iter().flat_map(|upstream| upstream.endpoints()) {
        if let Endpoint::Tcp { host, port } = &state.endpoint
            && state.address().is_none()
        {
            let (name, state) = ((host.clone(), *port), Arc::clone(state));
            all.spawn(async move {
                if let Ok(addresses) = lookup_host((name.0.as_str(), name.1)).await {
                    state.set_addresses(addresses.collect());
                }
            });
        }
    }
    // Whoever is late is looked up again by those who look after it.
    let _late = timeout(RESOLVE_FIRST, all.join_all()).await;
}

async fn resolve(name: (String, u16), state: Weak<EndpointState>) {
    loop {
        let found = lookup_host((name.0.as_str(), name.1)).await;
        let Some(state) = state.upgrade() else {
            return;
        };
        let pause = match found {
            Ok(addresses) => {
                state.set_addresses(addresses.collect());
                RESOLVE_INTERVAL
            }
            Err(error) => {
                tracing::warn!(host = name.0, %error, "the name of an endpoint does not resolve");
                RESOLVE_AGAIN
            }
        };
        drop(state);
        sleep(pause).await;
    }
}

async fn probe(check: HealthCheck, upstream: String, state: Weak<EndpointState>) {
    let mut run = Run::default();
    loop {
        let Some(state) = state.upgrade() else {
            return;
        };
        let healthy = matches!(
            timeout(check.timeout, ask(&check, &state)).await,
            Ok(Ok(()))
        );
        if let Some(verdict) = run.add(healthy, &check)
            && state.set_healthy(verdict)
        {
            tracing::warn!(upstream, endpoint = ?state.endpoint, healthy = verdict, "the health of an endpoint has changed");
        }
        drop(state);
        sleep(check.interval).await;
    }
}

/// Equal results in a row.
#[derive(Debug, Default)]
struct Run {
    healthy: bool,
    length: u32,
}

impl Run {
    /// Takes a result. `Some`: enough of them say so.
    fn add(&mut self, healthy: bool, check: &HealthCheck) -> Option<bool> {
        self.length = if self.healthy == healthy {
            self.length.saturating_add(1)
        } else {
            1
        };
        self.healthy = healthy;
        let enough = if healthy {
            check.healthy_after
        } else {
            check.unhealthy_after
        };
        (self.length >= enough).then_some(healthy)
    }
}

async fn ask(check: &HealthCheck, state: &EndpointState) -> Result<()> {
    match &state.endpoint {
        Endpoint::Tcp { host, .. } => {
            let address: SocketAddr = state.address().ok_or(ErrorKind::AddrNotAvailable)?;
            let stream = TcpStream::connect(address).await?;
            get(stream, &check.path, host).await
        }
        Endpoint::Unix(path) => {
            get(UnixStream::connect(path).await?, &check.path, "localhost").await
        }
    }
}

async fn get(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    host: &str,
) -> Result<()> {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: keyward-health\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; STATUS_LINE];
    stream.read_exact(&mut line).await?;
    if line.starts_with(b"HTTP/1.1 2") || line.starts_with(b"HTTP/1.0 2") {
        Ok(())
    } else {
        Err(Error::other("the probe was not answered 2xx"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_as_many_in_a_row_as_configured() {
        let check = HealthCheck {
            unhealthy_after: 2,
            healthy_after: 3,
            ..HealthCheck::of("/")
        };
        let mut run = Run::default();
        let verdicts: Vec<Option<bool>> = [false, true, false, false, true, true, true]
            .into_iter()
            .map(|healthy| run.add(healthy, &check))
            .collect();
        let expected = [None, None, None, Some(false), None, None, Some(true)];
        assert_eq!(verdicts, expected);
    }
}
