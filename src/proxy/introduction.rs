//! Whose connection it is, before a byte of it is a request: the proxy's word where it has to come first, how many its
//! client may have, and what is said to one that is not served.
//!
//! It knows no request.

use std::sync::Arc;
use std::time::Instant;

use bytes::Buf;

use super::clients::Place;
use super::connections::Presence;
use super::door::{Door, HEAD_READ, LAST_WORD, close_with};
use super::exchange::Exchange;
use super::line::{Line, Wait, deadline_after};
use super::preamble::{self, Source};
use super::socket::{Client, Peer};
use super::wire::Wire;
use crate::authz::Reason;

/// Connections without room that are told so at the same time; what comes beyond these is closed unanswered.
pub(super) const TURNED_AWAY_MAX: usize = 64;

/// What a client is told that has as many connections as it may have.
pub(super) const CLIENT_FULL: &str = "too many connections of this client are open";

/// Why a connection is not served.
pub(super) enum Rejected {
    /// It does not say whose it is.
    Nameless(Client, &'static str),
    /// Its client has as many as it may have.
    Full(Client),
}

impl Door {
    /// Reads the header of the PROXY protocol, where each connection must begin with one, within the time for a head:
    /// who is at the other end then, and its place where that one is counted; `None`: nothing came. Only a trusted
    /// proxy may say so.
    pub(super) async fn introduced(
        &self,
        wire: &mut Wire,
        peer: Peer,
        presence: &Presence,
    ) -> Result<Option<(Peer, Option<Place>)>, Rejected> {
        if !peer.listener.proxy_protocol {
            return Ok(Some((peer, None)));
        }
        if !peer.is_proxy {
            let detail = "who connects here is no trusted proxy";
            return Err(Rejected::Nameless(peer.client, detail));
        }
        let deadline = deadline_after(self.regime.load().rules.limits.header_timeout);
        loop {
            match preamble::scan(&wire.inbox) {
                Ok(Some(preamble)) => {
                    wire.inbox.advance(preamble.bytes);
                    return self.counted(peer, preamble.source).map(Some);
                }
                Ok(None) => {}
                Err(_) => {
                    let detail = "the connection has no PROXY header";
                    return Err(Rejected::Nameless(peer.client, detail));
                }
            }
            let read = tokio::select! {
                biased;
                read = wire.fill(Wait::Head, deadline, HEAD_READ) => read,
                () = presence.until_draining() => {
                    wire.fill(Wait::Head, deadline_after(LAST_WORD), HEAD_READ).await
                }
            };
            if !matches!(read, Ok(1..)) {
                let detail = "the PROXY header was not complete in time";
                return if wire.inbox.is_empty() {
                    Ok(None)
                } else {
                    Err(Rejected::Nameless(peer.client, detail))
                };
            }
        }
    }

    /// Whom a proxy speaks for, with its place where it was named: the proxy itself is not counted, and of a client
    /// without an address nobody knows which one it is.
    fn counted(&self, peer: Peer, source: Source) -> Result<(Peer, Option<Place>), Rejected> {
        let peer = peer.introduced_as(source);
        if !matches!(source, Source::Client(_)) {
            return Ok((peer, None));
        }
        let most = self.regime.load().rules.limits.connections_per_client;
        match self.clients.enter(&peer, most) {
            Some(place) => Ok((peer, Some(place))),
            None => Err(Rejected::Full(peer.client)),
        }
    }

    /// Answers a connection that did not say whose it is.
    pub(super) async fn turn_down(&self, wire: Wire, client: Client, detail: &'static str) {
        self.close(wire, client, Reason::MalformedRequest, detail)
            .await;
    }

    /// Answers a connection for which there is no room; `full`: because of what. Where too many are being answered, it
    /// is closed without a word.
    pub(super) async fn turn_away(&self, wire: Wire, client: Client, full: &'static str) {
        if let Ok(_turn) = self.turned_away.try_acquire() {
            self.close(wire, client, Reason::Overloaded, full).await;
        }
    }

    async fn close(&self, wire: Wire, client: Client, reason: Reason, detail: &'static str) {
        let line = Arc::new(Line::default());
        let regime = self.regime.load_full();
        let mut exchange = Box::new(Exchange::begin(regime, line, client, Instant::now()));
        exchange.refuse(reason, Some(detail));
        close_with(wire, exchange).await;
    }
}
