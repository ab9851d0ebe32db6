//! Connections: accepted, bounded in number and time, drained.
//!
//! It knows no path; it hands requests to the router.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, Version, header};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::Api;
use super::access_error::Form;
use super::error::ApiError;
use super::input::preferred_wait;
use super::lingering::Lingering;
use super::seats::{Seat, Seats};
use super::transfer;
use crate::control::tls::{self, Tls};

/// Connections open at a time. Where all of them work for somebody who was admitted, more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// For a request's head, and for the next one on an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Lines of a request's head.
const HEAD_LINES_MAX: usize = 100;
/// For a whole request: body, work and the head of the answer. Imports take the time they need.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Before the next attempt to accept when the system refuses, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a listener cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("the control plane's listener cannot be used")]
pub struct ServeError(#[source] io::Error);

/// The address that a request came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// Serves until `shutdown`; then finishes what is in flight, for `grace` at most.
pub(in crate::control) async fn serve(
    api: Api,
    listener: std::net::TcpListener,
    tls: Option<&Tls>,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) -> Result<(), ServeError> {
    listener.set_nonblocking(true).map_err(ServeError)?;
    let listener = TcpListener::from_std(listener).map_err(ServeError)?;
    let router = api.router();
    let seats = Seats::new(CONNECTIONS_MAX);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &seats) => accepted,
        };
        let seat = seats.sit();
        let connection = Connection {
            peer,
            seat: seat.clone(),
            router: router.clone(),
            watcher: graceful.watcher(),
        };
        let acceptor = tls.map(Tls::acceptor);
        connections.spawn(async move {
            tokio::select! {
                () = connection.serve(stream, acceptor) => {}
                () = seat.needed() => {}
            }
        });
    }
    api.drain();
    drop(listener);
    if tokio::time::timeout(grace, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests to the control plane were cut at the end of the grace period");
    }
    connections.shutdown().await;
    Ok(())
}

async fn accept(listener: &TcpListener, seats: &Seats) -> (TcpStream, SocketAddr) {
    seats.room().await;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A change is to reach a gateway at once, not with the next one.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection keeps small pieces back");
                }
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "the control plane cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection. What goes wrong on it is the client's affair.
struct Connection {
    peer: SocketAddr,
    seat: Seat,
    router: Router,
    watcher: Watcher,
}

impl Connection {
    /// Serves it to its end; a client that does not come to an agreement about TLS in time is not waited for.
    async fn serve(self, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
        let stream = Lingering::new(stream);
        let Some(acceptor) = acceptor else {
            return self.exchange(stream).await;
        };
        if let Some(stream) = tls::agree(acceptor, stream).await {
            self.exchange(stream).await;
        }
    }

    async fn exchange(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        let Self {
            peer,
            seat,
            router,
            watcher,
        } = self;
        let service =
            service_fn(move |request| answer(router.clone(), peer, seat.clone(), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_header_size(HEAD_BYTES_MAX)
            .max_headers(HEAD_LINES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection to the control plane ended early");
        }
    }
}

async fn answer(
    router: Router,
    peer: SocketAddr,
    seat: Seat,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    seat.give_way();
    let extensions = request.extensions_mut();
    extensions.insert(Peer(peer.ip().to_canonical()));
    extensions.insert(seat.clone());
    let form = Form::of(request.method(), request.uri());
    let answer = if names_one_host(&request) {
        routed(router, request).await
    } else {
        ApiError::bad_request("the request names no host, or more than one").into_response()
    };
    seat.give_way();
    Ok(form.word(answer))
}

async fn routed(mut router: Router, request: Request<Incoming>) -> Response<Body> {
    if transfer::is_unhurried(&request) {
        let Ok(answer) = router.call(request).await;
        return answer;
    }
    // Whoever would wait for gateways is given the time for it.
    let wait = preferred_wait(request.headers()).unwrap_or(0);
    let time = REQUEST_TIMEOUT + Duration::from_secs(u64::from(wait));
    match tokio::time::timeout(time, router.call(request)).await {
        Ok(Ok(answer)) => answer,
        Err(_) => ApiError::timeout().into_response(),
    }
}

/// Whether there is one `Host`, which only HTTP/1.0 does without.
fn names_one_host(request: &Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let named = hosts.next().is_some() || request.version() == Version::HTTP_10;
    named && hosts.next().is_none()
}
