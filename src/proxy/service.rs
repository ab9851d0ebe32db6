//! Pingora's callbacks, each handing on to the part that it is about.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Version;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use super::exchange::Exchange;
use super::http2::Handed;
use super::line::Line;
use super::{attempt, body, facts, limits};

/// The proxy logic. All its state is in the exchange that the door hands over.
#[derive(Debug)]
pub struct Service;

/// Pingora's place for the exchange: filled right after the head is read, emptied at the end.
#[derive(Debug, Default)]
pub struct Context(Option<Box<Exchange>>);

impl Context {
    fn exchange(&mut self) -> Result<&mut Exchange> {
        self.0
            .as_deref_mut()
            .ok_or_else(|| Error::new_in(ErrorType::InternalError))
    }
}

impl Drop for Context {
    /// An exchange that ends otherwise than by pingora goes back to the door as well.
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            let line = Arc::clone(&exchange.line);
            line.hand_over(exchange);
        }
    }
}

#[async_trait]
impl ProxyHttp for Service {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::default()
    }

    /// None: the compression that pingora adds by default is not wanted.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    /// The door's line arrives as what pingora calls the context of a connection, and on it the exchange.
    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        ctx: &mut Context,
        handed: Box<dyn Any + Send + Sync>,
    ) {
        let Ok(line) = handed.downcast::<Arc<Line>>() else {
            return;
        };
        line.accept();
        ctx.0 = line.take_over();
    }

    /// The line of a stream of HTTP/2 arrives with its head.
    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        if let Some(Handed(line)) = session.req_header_mut().extensions_mut().remove() {
            line.accept();
            ctx.0 = line.take_over();
        }
        Ok(())
    }

    /// Decides. A refusal counts as answered here: the door answers it.
    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        let exchange = ctx.exchange()?;
        if let Some(session) = session.as_http1() {
            exchange.head = session.get_headers_raw_bytes();
        }
        if let Some(asking) = facts::decide(exchange, session.req_header(), None) {
            let asked = asking.await;
            facts::decide(exchange, session.req_header(), Some(asked));
        }
        body::check_length(exchange, &session.req_header().headers);
        limits::check(exchange, &session.req_header().headers);
        if session.req_header().version == Version::HTTP_10 {
            // It knows no informational responses.
            session.set_ignore_info_resp(true);
        }
        let refused = exchange.denial().is_some();
        if refused {
            session.set_keepalive(None);
        }
        Ok(refused)
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        let has_body = !session.is_body_empty();
        attempt::choose_peer(ctx.exchange()?, session.req_header(), has_body)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        attempt::make_request(ctx.exchange()?, session.req_header(), request)
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        piece: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        body::take_piece(ctx.exchange()?, piece, end)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        let bodiless = session.is_body_empty();
        attempt::take_response(ctx.exchange()?, response, session.req_header(), bodiless)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        attempt::make_response(ctx.exchange()?, session, response)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        piece: &mut Option<Bytes>,
        _end: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        // For an answer that is cut; of one that ends, pingora knows what was really sent.
        let sent = piece.as_ref().map_or(0, Bytes::len) as u64;
        let exchange = ctx.exchange()?;
        exchange.bytes_out = exchange.bytes_out.saturating_add(sent);
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        error: Box<Error>,
    ) -> Box<Error> {
        attempt::not_connected(ctx.0.as_deref(), error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        let resendable = !session.as_ref().retry_buffer_truncated();
        let method = &session.req_header().method;
        attempt::broken(ctx.0.as_deref(), method, error, reused && resendable)
    }

    /// Turns what happened into a refusal, which the door answers if nothing was answered yet.
    async fn fail_to_proxy(
        &self,
        _session: &mut Session,
        error: &Error,
        ctx: &mut Context,
    ) -> FailToProxy {
        if let Some(exchange) = ctx.0.as_deref_mut() {
            attempt::failed(exchange, error);
        }
        FailToProxy {
            error_code: 0,
            can_reuse_downstream: false,
        }
    }

    /// The end: the exchange goes back to the door.
    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        if let Some(mut exchange) = ctx.0.take() {
            exchange.bytes_out = session.body_bytes_sent() as u64;
            exchange.cut = error.is_some() && exchange.line.is_responding();
            exchange.forward.chosen = None;
            let line = Arc::clone(&exchange.line);
            line.hand_over(exchange);
        }
    }

    /// Pingora's own lines hold targets, which hold secrets.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Context, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Context,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}
