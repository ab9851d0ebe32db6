//! A socket that a client came in by: TCP or Unix. Reading and writing, nothing else.

use std::io::{IoSlice, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

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
    /// A client over TCP.
    pub fn inet(address: SocketAddr) -> Self {
        let text = HeaderValue::try_from(address.ip().to_string());
        // Addresses are header values.
        Self::Inet(address, text.unwrap_or(HeaderValue::from_static("unknown")))
    }

    /// What upstreams are told of where it is.
    pub fn forwarded_for(&self) -> Option<&HeaderValue> {
        match self {
            Self::Inet(_, text) => Some(text),
            Self::Unix => None,
        }
    }
}

/// Who is at the other end, and whether it may say for whom it asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub client: Client,
    /// Whether its identity headers are kept.
    pub trusted: bool,
    /// Whether it may speak HTTP/2.
    pub h2c: bool,
}

impl Socket {
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
