//! Upstreams at run time: which endpoint takes a request, and what is in flight there.
//!
//! Choosing one takes a [`Permit`]: what was not authorised has no way here. Probing is next door, in `health`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use http::HeaderMap;
use pingora::upstreams::peer::HttpPeer;
use smallvec::SmallVec;

use super::config::{Balance, Endpoint, RouteSettings, UpstreamConfig};
use super::descriptors::Descriptors;
use super::upgrade::PatientConnector;
use crate::authz::Permit;

/// Attempts of one request, whatever is configured.
pub const ATTEMPTS_MAX: usize = 16;

/// The group of pooled connections that are made for upgrades.
const UPGRADES: u64 = 1;

/// What a request needs of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// To carry a body.
    pub body: bool,
    /// To switch the protocol.
    pub upgrade: bool,
}

/// Endpoints that a request has tried, by position.
pub type Tried = SmallVec<[usize; 4]>;

/// An upstream and the state of its endpoints. Lives on over a reload that leaves its configuration as it is.
#[derive(Debug)]
pub struct Upstream {
    /// As configured.
    pub config: UpstreamConfig,
    endpoints: Vec<Arc<EndpointState>>,
    turn: AtomicUsize,
    in_charge: AtomicBool,
}

/// One endpoint as requests and probes see it.
#[derive(Debug)]
pub struct EndpointState {
    /// As configured.
    pub endpoint: Endpoint,
    addresses: ArcSwap<Vec<SocketAddr>>,
    healthy: AtomicBool,
    in_flight: AtomicUsize,
    turn: AtomicUsize,
}

/// An endpoint that was chosen; counts as in flight there until it is dropped.
#[derive(Debug)]
pub struct Chosen {
    endpoint: Arc<EndpointState>,
    index: usize,
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Upstream {
    /// An upstream whose endpoints count as healthy until a probe says otherwise.
    pub fn new(config: UpstreamConfig) -> Self {
        let endpoints = config.endpoints.iter().cloned();
        Self {
            endpoints: endpoints.map(EndpointState::new).map(Arc::new).collect(),
            config,
            turn: AtomicUsize::new(0),
            in_charge: AtomicBool::new(false),
        }
    }

    /// Whether it falls to the caller to look after the endpoints. `true` once.
    pub fn take_charge(&self) -> bool {
        !self.in_charge.swap(true, Ordering::Relaxed)
    }

    /// Its endpoints, for those who look after them.
    pub fn endpoints(&self) -> &[Arc<EndpointState>] {
        &self.endpoints
    }

    /// Chooses an endpoint for a request that was permitted: a healthy one that it has not tried, else a healthy one
    /// that it has. `None`: there is no healthy one.
    pub fn choose(&self, _permit: &Permit, headers: &HeaderMap, tried: &[usize]) -> Option<Chosen> {
        let healthy: SmallVec<[usize; 16]> = (0..self.endpoints.len())
            .filter(|index| self.is_healthy(*index))
            .collect();
        let fresh: SmallVec<[usize; 16]> = healthy
            .iter()
            .copied()
            .filter(|index| !tried.contains(index))
            .collect();
        let candidates = if fresh.is_empty() { &healthy } else { &fresh };
        let index = self.pick(candidates, headers)?;
        let endpoint = Arc::clone(self.endpoints.get(index)?);
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Chosen { endpoint, index })
    }

    fn is_healthy(&self, index: usize) -> bool {
        self.endpoints
            .get(index)
            .is_some_and(|endpoint| endpoint.is_healthy())
    }

    fn pick(&self, candidates: &[usize], headers: &HeaderMap) -> Option<usize> {
        let in_turn = || {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            candidates.get(turn.checked_rem(candidates.len())?).copied()
        };
        match &self.config.balance {
            Balance::RoundRobin => in_turn(),
            Balance::LeastRequest => {
                let start = in_turn()?;
                let rotated = candidates.iter().copied();
                rotated.min_by_key(|index| (self.load(*index), *index != start))
            }
            Balance::Consistent(name) => match headers.get(name) {
                Some(value) => self.nearest(candidates, value.as_bytes()),
                None => in_turn(),
            },
        }
    }

    fn load(&self, index: usize) -> usize {
        self.endpoints.get(index).map_or(usize::MAX, |endpoint| {
            endpoint.in_flight.load(Ordering::Relaxed)
        })
    }

    /// Rendezvous hashing: each value ranks the endpoints in its own order, so that losing one endpoint moves only
    /// the values that were there.
    fn nearest(&self, candidates: &[usize], value: &[u8]) -> Option<usize> {
        let weight = |index: &usize| {
            let mut hasher = DefaultHasher::new();
            self.config.endpoints.get(*index).hash(&mut hasher);
            value.hash(&mut hasher);
            hasher.finish()
        };
        candidates.iter().copied().max_by_key(weight)
    }
}

impl EndpointState {
    fn new(endpoint: Endpoint) -> Self {
        let literal = match &endpoint {
            Endpoint::Tcp { host, port } => host.parse().ok().map(|ip| SocketAddr::new(ip, *port)),
            Endpoint::Unix(_) => None,
        };
        Self {
            endpoint,
            addresses: ArcSwap::from_pointee(literal.into_iter().collect()),
            healthy: AtomicBool::new(true),
            in_flight: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
        }
    }

    /// Whether requests may go there.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Takes it out, or back. Says whether that changed anything.
    pub fn set_healthy(&self, healthy: bool) -> bool {
        self.healthy.swap(healthy, Ordering::Relaxed) != healthy
    }

    /// What its name resolves to now.
    pub fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        self.addresses.store(Arc::new(addresses));
    }

    /// One of its addresses, in turn. `None`: its name does not resolve, or it is a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        let addresses = self.addresses.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        addresses.get(turn.checked_rem(addresses.len())?).copied()
    }
}

impl Chosen {
    /// Position among the endpoints.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The peer for pingora. `None`: the endpoint has no address now.
    ///
    /// Waits for a response are bounded on the client's connection. Only while an upstream takes no more of a body
    /// is that connection not looked at: then, for a request with a body, pingora's own timers hold.
    pub fn peer(
        &self,
        settings: &RouteSettings,
        needs: Needs,
        descriptors: &Descriptors,
    ) -> Option<HttpPeer> {
        let timeouts = &settings.timeouts;
        let mut peer = match &self.endpoint.endpoint {
            Endpoint::Tcp { .. } => HttpPeer::new(self.endpoint.address()?, false, String::new()),
            Endpoint::Unix(path) => HttpPeer::new_uds(path.to_str()?, false, String::new()).ok()?,
        };
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.idle_timeout = Some(timeouts.idle);
        if needs.upgrade {
            let connector = PatientConnector {
                time: timeouts.connect,
                descriptors: descriptors.clone(),
            };
            peer.options.custom_l4 = Some(Arc::new(connector));
            peer.group_key = UPGRADES;
        } else {
            peer.options.upstream_tcp_sock_tweak_hook = descriptors.hook();
        }
        if needs.body {
            let longest = timeouts.first_byte.max(settings.limits.stream_idle);
            peer.options.write_timeout = Some(timeouts.first_byte);
            peer.options.read_timeout = Some(longest);
        }
        Some(peer)
    }
}
