//! Bodies that are made while they are read, a piece at a time.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::seats::Seat;
use crate::control::store::StoreError;

/// Pieces of a body, in their order. An error breaks it off, so that it cannot be mistaken for a whole one.
struct Streamed {
    pieces: mpsc::Receiver<Result<Bytes, StoreError>>,
    /// Kept as long as there is something to send, also when others ask for it.
    seat: Option<Seat>,
}

/// An answer whose body comes piece by piece, for nobody to keep.
pub(super) fn answer(
    pieces: mpsc::Receiver<Result<Bytes, StoreError>>,
    seat: Option<Seat>,
    content_type: &'static str,
) -> Response {
    let mut response = Response::new(Body::new(Streamed { pieces, seat }));
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(content_type);
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        if let Some(seat) = &self.seat {
            seat.stay();
        }
        self.pieces
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
