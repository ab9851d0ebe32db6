//! Connections: accepted, bounded in number and time, drained.
//!
//! It knows no path; it hands requests to the router.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower_service::Service as _;

use super::Api;
use super::access_error::Form;
use super::error::ApiError;

/// Connections open at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// For a request's head, and for the next one on an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Lines of a request's head.
const HEAD_LINES_MAX: usize = 100;
/// For a whole request: body, work and the head of the answer.
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
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) -> Result<(), ServeError> {
    listener.set_nonblocking(true).map_err(ServeError)?;
    let listener = TcpListener::from_std(listener).map_err(ServeError)?;
    let router = api.router();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, peer, place) = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let connection = connection(stream, peer, router.clone(), &graceful);
        connections.spawn(async move {
            connection.await;
            drop(place);
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

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) => {
                tracing::warn!(%error, "the control plane cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, to its end. What goes wrong on it is the client's affair.
fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + use<> {
    let service = service_fn(move |request| answer(router.clone(), peer, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEAD_LINES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the control plane ended early");
        }
    }
}

async fn answer(
    mut router: Router,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    request
        .extensions_mut()
        .insert(Peer(peer.ip().to_canonical()));
    let form = Form::of(request.method(), request.uri());
    match tokio::time::timeout(REQUEST_TIMEOUT, router.call(request)).await {
        Ok(answer) => answer.map(|answer| form.word(answer)),
        Err(_) => Ok(form.word(ApiError::timeout().into_response())),
    }
}
