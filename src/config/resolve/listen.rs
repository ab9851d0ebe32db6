//! Listeners: of clients, of operators, of the control plane; none may take another's place.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::super::Flags;
use super::super::mistake::Mistake;
use super::super::node::Spot;
use super::super::raw::{ControlTls, File, Listener, Require, RequireWord};
use super::super::scalar::{PeerSet, TrustedPeer};
use crate::control;
use crate::proxy::{ListenAddr, ListenerConfig, TrustedPeers};

/// The listeners of clients. Also holds the addresses of all listeners against each other.
pub(super) fn listeners(
    file: &File,
    root: &Spot<'_>,
    faults: &mut Vec<Mistake>,
) -> Vec<ListenerConfig> {
    let raw = file.listen.iter().flatten().enumerate();
    let clients: Vec<(ListenAddr, Spot<'_>)> = raw
        .filter_map(|(index, listener)| {
            let at = root.key("listen").index(index).key("address");
            Some((listener.address.clone()?.0, at))
        })
        .collect();
    let ops = ListenAddr::Tcp(file.ops.listen.0);
    let mut all = clients.clone();
    all.push((ops, root.key("ops").key("listen")));
    if let Some(embedded) = file.keys.as_ref().and_then(|keys| keys.embedded.as_ref()) {
        let at = root.key("keys").key("embedded").key("listen");
        all.push((ListenAddr::Tcp(embedded.listen.0), at));
    }
    for (index, (address, at)) in all.iter().enumerate() {
        let mut earlier = all.iter().take(index);
        if let Some((_, other)) = earlier.find(|(other, _)| collide(address, other)) {
            let message = format!("takes the same place as `{}`", other.path());
            faults.push(at.mistake(message));
        }
    }
    let raw = file.listen.iter().flatten().enumerate();
    raw.filter_map(|(index, listener)| {
        let at = root.key("listen").index(index);
        Some(ListenerConfig {
            address: listener.address.clone()?.0,
            trusted_identity_from: identities(listener, &at, faults),
            trusted_proxies: proxies(listener, &at, faults),
            proxy_protocol: listener.proxy_protocol,
            h2c: listener.h2c,
        })
    })
    .collect()
}

/// How peers come to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ways {
    Addresses,
    Unix,
}

/// Who may say for whom it asks. What no peer of the listener can be is a mistake: somebody else was meant.
fn identities(listener: &Listener, at: &Spot<'_>, faults: &mut Vec<Mistake>) -> TrustedPeers {
    // Whom a header of the PROXY protocol names has an address, whatever the proxy comes by.
    let ways = if listener.proxy_protocol {
        Ways::Addresses
    } else {
        ways(listener)
    };
    let at = at.key("trusted_identity_from");
    for (index, TrustedPeer(peers)) in listener.trusted_identity_from.iter().enumerate() {
        if (ways == Ways::Unix) != (*peers == PeerSet::Unix) {
            faults.push(at.index(index).mistake(match ways {
                Ways::Unix => "no peer of a Unix socket has an address; write unix",
                Ways::Addresses => {
                    "no peer comes by a Unix socket here; write addresses or networks"
                }
            }));
        }
    }
    peers(&listener.trusted_identity_from, &at, faults)
}

/// Who may say where a request came from. Behind whoever comes by a Unix socket there may be others with addresses.
fn proxies(listener: &Listener, at: &Spot<'_>, faults: &mut Vec<Mistake>) -> TrustedPeers {
    let list = at.key("trusted_proxies");
    let trusted = peers(&listener.trusted_proxies, &list, faults);
    match ways(listener) {
        Ways::Addresses if trusted.unix => {
            faults.push(list.mistake("no proxy comes by a Unix socket here; leave out unix"));
        }
        Ways::Unix if !trusted.unix && !trusted.networks.is_empty() => {
            faults.push(list.mistake("no proxy of a Unix socket has an address; write unix too"));
        }
        Ways::Addresses | Ways::Unix => {}
    }
    if listener.proxy_protocol && listener.trusted_proxies.is_empty() {
        faults.push(
            at.key("proxy_protocol").mistake(
                "whoever connects could claim any address; say in `trusted_proxies` who may",
            ),
        );
    }
    trusted
}

fn ways(listener: &Listener) -> Ways {
    match listener.address.as_ref().map(|address| &address.0) {
        Some(ListenAddr::Unix(_)) => Ways::Unix,
        Some(ListenAddr::Tcp(_)) | None => Ways::Addresses,
    }
}

fn peers(list: &[TrustedPeer], at: &Spot<'_>, faults: &mut Vec<Mistake>) -> TrustedPeers {
    let mut trusted = TrustedPeers::default();
    for (index, TrustedPeer(peers)) in list.iter().enumerate() {
        let mut earlier = list.iter().take(index);
        if earlier.any(|TrustedPeer(other)| other == peers) {
            faults.push(at.index(index).mistake("is in the list twice"));
        }
        match peers {
            PeerSet::Unix => trusted.unix = true,
            PeerSet::Network(network) => trusted.networks.push(*network),
        }
    }
    trusted
}

/// Where identities are required that nobody may name, nobody could pass.
pub(super) fn need_trusted_peers(file: &File, root: &Spot<'_>, faults: &mut Vec<Mistake>) {
    let mut listeners = file.listen.iter().flatten();
    if listeners.any(|listener| !listener.trusted_identity_from.is_empty()) {
        return;
    }
    for (index, route) in file.routes.iter().flatten().enumerate() {
        if route.require == Some(Require::Word(RequireWord::TrustedIdentity)) {
            let at = root.key("routes").index(index).key("require");
            faults.push(at.mistake(
                "nobody could pass: no listener has `trusted_identity_from`, which says who may name identities",
            ));
        }
    }
}

/// Whether only one of two listeners could be there. Port 0 is a free one, so it never collides.
fn collide(a: &ListenAddr, b: &ListenAddr) -> bool {
    match (a, b) {
        (ListenAddr::Unix(a), ListenAddr::Unix(b)) => a == b,
        (ListenAddr::Tcp(a), ListenAddr::Tcp(b)) => {
            let overlap = |a: &SocketAddr, b: &SocketAddr| {
                a.ip() == b.ip() || (a.ip().is_unspecified() && a.is_ipv4() == b.is_ipv4())
            };
            a.port() != 0 && a.port() == b.port() && (overlap(a, b) || overlap(b, a))
        }
        (ListenAddr::Unix(_), ListenAddr::Tcp(_)) | (ListenAddr::Tcp(_), ListenAddr::Unix(_)) => {
            false
        }
    }
}

/// The control plane in this process, still without pepper and tokens.
pub(super) fn control(
    file: &File,
    root: &Spot<'_>,
    flags: Flags,
    faults: &mut Vec<Mistake>,
) -> Option<control::Config> {
    let embedded = file.keys.as_ref()?.embedded.as_ref()?;
    let at = root.key("keys").key("embedded");
    let listen = embedded.listen.0;
    if !listen.ip().is_loopback() && embedded.tls.is_none() && !flags.insecure {
        faults.push(at.key("listen").mistake(
            "is not a loopback address, and admin tokens would travel unencrypted; write `tls` beside it, listen at 127.0.0.1, or pass --insecure",
        ));
    }
    let tls = match &embedded.tls {
        None => None,
        Some(raw) => Some(tls(raw, &at.key("tls"), faults)?),
    };
    Some(control::Config {
        listen,
        database: embedded.database.0.clone(),
        admin_tokens: Vec::new(),
        gateway_tokens: Vec::new(),
        pepper: None,
        tls,
        insecure: flags.insecure,
    })
}

/// The files of a listener's TLS. They are read when it starts.
fn tls(raw: &ControlTls, at: &Spot<'_>, faults: &mut Vec<Mistake>) -> Option<control::TlsFiles> {
    let named = [
        ("certificate", &raw.certificate),
        ("private_key", &raw.private_key),
        ("client_ca", &raw.client_ca),
    ];
    for (key, _) in named.iter().filter(|(_, path)| path.as_deref() == Some("")) {
        faults.push(at.key(key).mistake("is no path of a file"));
    }
    Some(control::TlsFiles {
        certificate: raw.certificate.as_ref()?.into(),
        private_key: raw.private_key.as_ref()?.into(),
        client_ca: raw.client_ca.as_ref().map(PathBuf::from),
    })
}
