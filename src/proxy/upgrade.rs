//! Connections for requests that ask for another protocol, with the remedy for a race in pingora 0.9.1.
//!
//! Pingora tells its upstream half "the request has no body" by a message, and ends a switched connection when the
//! request ends. An upstream that answers 101 before that message was looked at is therefore cut off at once. Here
//! the first look at an answer comes back empty-handed, so that the message is always there first.

use std::io::{ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::descriptors::Descriptors;
use super::socket::Socket;

/// Makes such connections.
#[derive(Debug)]
pub struct PatientConnector {
    /// Within this time.
    pub time: Duration,
    /// By these descriptors.
    pub descriptors: Descriptors,
}

#[async_trait]
impl L4Connect for PatientConnector {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        match timeout(self.time, connect(address)).await {
            Ok(Ok(socket)) => {
                self.descriptors.check(&socket)?;
                let patient = PatientSocket {
                    socket,
                    asked: false,
                };
                Ok(VirtualSocketStream::new(Box::new(patient)).into())
            }
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                Error::e_because(ErrorType::ConnectRefused, "an upgrade", error)
            }
            Ok(Err(error)) => Error::e_because(ErrorType::ConnectError, "an upgrade", error),
            Err(elapsed) => Error::e_because(ErrorType::ConnectTimedout, "an upgrade", elapsed),
        }
    }
}

async fn connect(address: &SocketAddr) -> Result<Socket> {
    match address {
        SocketAddr::Inet(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Socket::Tcp(stream))
        }
        SocketAddr::Unix(address) => {
            let path = address.as_pathname().ok_or(ErrorKind::AddrNotAvailable)?;
            Ok(Socket::Unix(UnixStream::connect(path).await?))
        }
    }
}

/// A socket whose first look at an answer to what was written finds nothing yet.
#[derive(Debug)]
struct PatientSocket {
    socket: Socket,
    asked: bool,
}

impl VirtualSocket for PatientSocket {
    fn set_socket_option(&self, _option: VirtualSockOpt) -> Result<()> {
        Ok(())
    }
}

impl AsyncRead for PatientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if std::mem::take(&mut self.asked) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for PatientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.asked = true;
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
