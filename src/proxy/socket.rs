//! A socket that a client came in by: TCP or Unix. Reading and writing, nothing else.

use std::io::{IoSlice, Result};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::HeaderValue;
use pingora::protocols::l4::ext::get_tcp_info;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::config::{ListenerConfig, TrustedPeers};
use super::preamble::Source;

/// Bytes that the system takes of a socket before it has room to send them. It would take megabytes for each client that
/// does not read, of memory that all sockets of the machine share; what is sent and not yet received does not count.
const UNSENT_BYTES_MAX: u32 = 32 * 1024;

/// An accepted socket.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    /// This address, also as upstreams are told it: written once a connection, not once a request.
    Inet(SocketAddr, HeaderValue),
    /// A process of this machine.
    Unix,
}

impl Client {
    /// A client over TCP. A socket for both versions sees version 4 inside of version 6; the client is of version 4.
    pub fn inet(address: SocketAddr) -> Self {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let text = HeaderValue::try_from(address.ip().to_string());
        // Addresses are header values.
        Self::Inet(address, text.unwrap_or(HeaderValue::from_static("unknown")))
    }

    /// What is counted as one client: an IPv4 address, or the /64 of an IPv6 one, of which anyone has plenty. `None`:
    /// a process of this machine.
    pub fn network(&self) -> Option<IpAddr> {
        let Self::Inet(address, _) = self else {
            return None;
        };
        Some(match address.ip() {
            IpAddr::V6(address) => {
                IpAddr::V6((u128::from(address) & (u128::from(u64::MAX) << 64)).into())
            }
            address @ IpAddr::V4(_) => address,
        })
    }

    /// What upstreams are told of where it is.
    pub fn forwarded_for(&self) -> Option<&HeaderValue> {
        match self {
            Self::Inet(_, text) => Some(text),
            Self::Unix => None,
        }
    }
}

/// Who is at the other end, and what it is trusted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub client: Client,
    /// Whether its identity headers are kept.
    pub trusted: bool,
    /// Whether its word is taken on where a request came from.
    pub is_proxy: bool,
    /// Where it came in.
    pub listener: Arc<ListenerConfig>,
}

impl Peer {
    /// Whoever opened a connection, with what this listener trusts it.
    pub fn new(client: Client, listener: Arc<ListenerConfig>) -> Self {
        Self {
            trusted: listener.trusted_identity_from.hold(&client),
            is_proxy: listener.trusted_proxies.hold(&client),
            client,
            listener,
        }
    }

    /// Whoever the proxy at the other end says that it is.
    #[must_use]
    pub fn introduced_as(self, source: Source) -> Self {
        match source {
            Source::Proxy => self,
            Source::Client(address) => Self::new(Client::inet(address), self.listener),
            Source::Unknown => Self {
                trusted: false,
                is_proxy: false,
                ..self
            },
        }
    }

    /// The listener whose trusted proxies it is one of.
    pub fn vouched(&self) -> Option<Arc<ListenerConfig>> {
        self.is_proxy.then(|| Arc::clone(&self.listener))
    }
}

impl TrustedPeers {
    /// Whether a client is one of them.
    pub fn hold(&self, client: &Client) -> bool {
        match client {
            Client::Unix => self.unix,
            Client::Inet(address, _) => self.hold_address(address.ip()),
        }
    }

    /// Whether whoever has this address is one of them.
    pub fn hold_address(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }
}

impl Socket {
    /// A socket that was accepted over TCP.
    pub fn accepted(stream: TcpStream) -> Self {
        // Answers leave at once, and few of them wait in the system; a socket that cannot do that still works.
        let _slower = stream.set_nodelay(true);
        let _larger = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
        Self::Tcp(stream)
    }

    /// How much of what was sent has reached the client's system; `None` where the system does not say.
    pub fn received_by_client(&self) -> Option<u64> {
        match self {
            Self::Tcp(stream) => Some(get_tcp_info(stream.as_raw_fd()).ok()?.tcpi_bytes_acked),
            Self::Unix(_) => None,
        }
    }

    /// Closes it and lets the system forget what the client has not received.
    pub fn reset(self) {
        match self {
            Self::Tcp(stream) => {
                // Without it, what is in the system's buffers still arrives; there is nothing else to be done.
                let _still_arrives = stream.set_zero_linger();
            }
            // A process of this machine has what was written.
            Self::Unix(_) => {}
        }
    }

    /// Ready once the other end refuses what it is sent. A socket whose other end has ended its half looks the same
    /// ever after to whoever reads; a second descriptor of it is told of errors alone.
    ///
    /// # Errors
    /// There are no more descriptors to be had.
    pub fn until_reset(&self) -> Result<impl Future<Output = ()> + Send + Sync + use<>> {
        let watched = match self {
            Self::Tcp(stream) => {
                let second = stream.as_fd().try_clone_to_owned()?;
                Self::Tcp(TcpStream::from_std(second.into())?)
            }
            Self::Unix(stream) => {
                let second = stream.as_fd().try_clone_to_owned()?;
                Self::Unix(UnixStream::from_std(second.into())?)
            }
        };
        Ok(async move {
            // Where it cannot be watched any longer, the runtime ends.
            let _ended = match &watched {
                Self::Tcp(stream) => stream.ready(Interest::ERROR).await,
                Self::Unix(stream) => stream.ready(Interest::ERROR).await,
            };
        })
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::super::config::ListenAddr;
    use super::*;

    #[test]
    fn version_4_inside_of_version_6_is_version_4_whoever_is_told() {
        let inside = Client::inet("[::ffff:192.0.2.1]:8080".parse().unwrap());
        assert_eq!(inside, Client::inet("192.0.2.1:8080".parse().unwrap()));
        assert_eq!(inside.forwarded_for().unwrap(), "192.0.2.1");
        let trusted = TrustedPeers {
            unix: false,
            networks: vec!["192.0.2.0/24".parse().unwrap()],
        };
        assert!(trusted.hold(&inside));
    }

    #[test]
    fn what_a_proxy_is_trusted_with_is_not_its_clients() {
        let every = |network: &str| TrustedPeers {
            unix: false,
            networks: vec![network.parse().unwrap()],
        };
        let listener = Arc::new(ListenerConfig {
            trusted_identity_from: every("10.0.0.0/8"),
            trusted_proxies: every("10.0.0.0/8"),
            ..ListenAddr::Tcp(([127, 0, 0, 1], 0).into()).into()
        });
        let proxy = Peer::new(Client::inet("10.0.0.1:1".parse().unwrap()), listener);
        assert!(proxy.trusted && proxy.is_proxy);
        let of = |source| {
            let peer = proxy.clone().introduced_as(source);
            (peer.trusted, peer.is_proxy)
        };
        let client = |address: &str| Source::Client(address.parse().unwrap());
        assert_eq!(of(Source::Proxy), (true, true));
        assert_eq!(of(Source::Unknown), (false, false));
        assert_eq!(of(client("192.0.2.1:1")), (false, false));
        assert_eq!(of(client("10.0.0.9:1")), (true, true));
    }

    #[tokio::test]
    async fn the_system_keeps_little_for_a_client_and_says_what_reached_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = Socket::accepted(stream);
        let Socket::Tcp(stream) = &socket else {
            panic!("it came over TCP")
        };
        let unsent = SockRef::from(stream).tcp_notsent_lowat().unwrap();
        assert_eq!(unsent, UNSENT_BYTES_MAX);

        let before = socket.received_by_client().unwrap();
        socket.write_all(b"hello").await.unwrap();
        let mut read = [0; 5];
        tokio::io::AsyncReadExt::read_exact(&mut client, &mut read)
            .await
            .unwrap();
        assert_eq!(socket.received_by_client().unwrap() - before, 5);
    }
}
