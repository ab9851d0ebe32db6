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
            trusted_identity_from: trusted_peers(listener, &at, faults),
            h2c: listener.h2c,
        })
    })
    .collect()
}

/// Who may say for whom it asks. What no peer of the listener can be is a mistake: somebody else was meant.
fn trusted_peers(listener: &Listener, at: &Spot<'_>, faults: &mut Vec<Mistake>) -> TrustedPeers {
    let mut trusted = TrustedPeers::default();
    let at = at.key("trusted_identity_from");
    let address = listener.address.as_ref().map(|address| &address.0);
    let is_unix = matches!(address, Some(ListenAddr::Unix(_)));
    let mut seen: Vec<PeerSet> = Vec::new();
    for (index, TrustedPeer(peers)) in listener.trusted_identity_from.iter().enumerate() {
        let at = at.index(index);
        if seen.contains(peers) {
            faults.push(at.mistake("is in the list twice"));
        }
        seen.push(*peers);
        if is_unix != (*peers == PeerSet::Unix) {
            faults.push(at.mistake(if is_unix {
                "no peer of a Unix socket has an address; write unix"
            } else {
                "no peer comes by a Unix socket here; write addresses or networks"
            }));
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
