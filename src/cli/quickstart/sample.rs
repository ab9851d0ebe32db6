//! The sample upstream: answers every request with what reached it, as JSON.
//!
//! A server of its own on a free loopback port, so that what people see in the quickstart is what any
//! upstream would see. Knows nothing of keys or routes.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

/// Longest request body that is taken and echoed: the default limit of the gateway.
const BODY_BYTES_MAX: usize = 16_777_216;

/// Before the next attempt to accept when the system refuses, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A sample upstream that has its port and does not answer yet.
#[derive(Debug)]
pub struct Sample {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Sample {
    /// Takes a free loopback port.
    ///
    /// # Errors
    /// When the machine has none.
    pub fn bind() -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the task is dropped.
    pub async fn serve(self) {
        let listener = match TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the sample upstream cannot serve"),
        };
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the sample upstream cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            tokio::spawn(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service_fn(answer)),
            );
        }
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let (status, answer) = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => {
            let seen = json!({
                "method": head.method.as_str(),
                "path": head.uri.path(),
                "query": head.uri.query(),
                "headers": headers_as_json(&head.headers),
                "body": String::from_utf8_lossy(&body.to_bytes()),
            });
            (StatusCode::OK, seen)
        }
        Err(_) => (
            StatusCode::BAD_REQUEST,
            json!({ "error": "the body is too long or broke off" }),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(format!("{answer}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

/// Names in the order of their coming; the values of a repeated name joined as RFC 9110 permits.
fn headers_as_json(headers: &HeaderMap) -> Map<String, Value> {
    headers
        .keys()
        .map(|name| {
            let values: Vec<_> = headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            (name.as_str().to_owned(), Value::from(values.join(", ")))
        })
        .collect()
}
