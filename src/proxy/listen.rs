//! Listeners: bound beforehand, so that a busy port is an error and not a panic; accepting until the gateway drains.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket as Socket2, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use super::config::{ListenAddr, ListenerConfig};
use super::door::Door;
use super::introduction::CLIENT_FULL;
use super::socket::{Client, Peer, Socket};
use super::wire::Wire;

/// How long accepting pauses when the process has no descriptor left: the listener would be ready at once again.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that wait to be accepted, where the system permits as many: what comes beyond them is dropped, and its client
/// tries again after a second.
const BACKLOG: i32 = 4096;

/// A place where listening is not possible.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}")]
pub struct BindError {
    /// The place, as configured.
    pub address: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix socket and its file, which goes when the listener does.
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

/// The file of a Unix socket, removed when it is dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is gone as well.
        let _gone = fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    /// The address is in use, or not ours.
    pub fn bind(address: &ListenAddr) -> Result<Self, BindError> {
        let error = |shown: String| {
            move |source| BindError {
                address: shown,
                source,
            }
        };
        match address {
            ListenAddr::Tcp(address) => bind_tcp(*address)
                .map(Self::Tcp)
                .map_err(error(address.to_string())),
            ListenAddr::Unix(path) => bind_unix(path)
                .map(|listener| Self::Unix(listener, SocketFile(path.clone())))
                .map_err(error(format!("unix:{}", path.display()))),
        }
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> Option<ListenAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(ListenAddr::Tcp),
            Self::Unix(_, file) => Some(ListenAddr::Unix(file.0.clone())),
        }
    }

    /// Accepts connections for the door until `stop` turns.
    ///
    /// # Errors
    /// The runtime does not take the socket.
    pub async fn accept(
        self,
        config: Arc<ListenerConfig>,
        door: Arc<Door>,
        stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => {
                let listener = Accepting::Tcp(TcpListener::from_std(listener)?);
                listener.accept_all(&config, &door, stop).await;
            }
            Self::Unix(listener, _file) => {
                let listener = Accepting::Unix(UnixListener::from_std(listener)?);
                listener.accept_all(&config, &door, stop).await;
            }
        }
        Ok(())
    }
}

/// Binds a TCP socket for tokio.
///
/// # Errors
/// The address is in use, or not ours.
pub fn bind_tcp(address: std::net::SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket2::new(Domain::for_address(address), Type::STREAM, None)?;
    // As the standard library does it, which lets 128 wait.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket && StdUnixStream::connect(path).is_err() {
        // Left behind by a process that ended without removing it.
        fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A listener in a runtime.
enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    async fn accept_all(
        &self,
        config: &Arc<ListenerConfig>,
        door: &Arc<Door>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = self.next() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((socket, _)) if is_one_too_many(door, &socket) => {
                    tracing::error!("no descriptor is left for clients: closing one");
                    drop(socket);
                    tokio::time::sleep(PAUSE).await;
                }
                Ok((socket, client)) => {
                    let peer = Peer::new(client, Arc::clone(config));
                    admit(door, socket, peer);
                }
                Err(error) if is_about_one(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "accepting connections pauses");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn next(&self) -> io::Result<(Socket, Client)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Socket::accepted(stream), Client::inet(address)))
            }
            Self::Unix(listener) => {
                let (stream, _unnamed) = listener.accept().await?;
                Ok((Socket::Unix(stream), Client::Unix))
            }
        }
    }
}

/// Whether a socket has one of the descriptors that are kept for others than clients.
fn is_one_too_many(door: &Door, socket: &Socket) -> bool {
    let regime = door.regime.load();
    regime.commons.descriptors.check(socket).is_err()
}

fn admit(door: &Arc<Door>, socket: Socket, peer: Peer) {
    let regime = door.regime.load();
    let limits = &regime.rules.limits;
    let connections_max = regime.commons.descriptors.connections(limits.connections);
    let serving = Arc::clone(door);
    let place = door.clients.enter(&peer, limits.connections_per_client);
    let full = match place {
        None => CLIENT_FULL,
        Some(place) => {
            if let Some(presence) = door.connections.enter(connections_max) {
                let id = presence.id();
                let task = tokio::spawn(async move {
                    serving.serve(socket, peer, presence).await;
                    drop(place);
                });
                door.connections.serve_by(id, task.abort_handle());
                return;
            }
            "too many connections are open"
        }
    };
    if serving.turned_away.available_permits() > 0 {
        tokio::spawn(async move {
            let wire = Wire::new(socket);
            serving.turn_away(wire, peer.client, full).await;
        });
    }
}

/// Whether an error is about the one connection that was to be accepted.
fn is_about_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
