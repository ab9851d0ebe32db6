//! How many connections each client has open, where it may not have as many as there are.
//!
//! Knows no connection, only that one comes and goes. A client without one leaves nothing behind.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::socket::Peer;

/// The clients that have connections open.
#[derive(Debug, Default)]
pub struct Clients {
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of a client; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    /// `None`: it is not counted.
    client: Option<IpAddr>,
    clients: Arc<Clients>,
}

impl Clients {
    /// A place for one more connection of a peer, where each may have `most`; `None`: it has them. A peer that speaks
    /// for others, a trusted proxy for one, is not counted, and neither is who has no address. There are never more
    /// clients here than connections are open.
    pub fn enter(self: &Arc<Self>, peer: &Peer, most: Option<usize>) -> Option<Place> {
        let counted = peer
            .client
            .network()
            .filter(|_| !peer.trusted && !peer.is_proxy)
            .zip(most);
        if let Some((client, most)) = counted {
            let mut open = self.lock();
            let count = open.get(&client).copied().unwrap_or_default();
            if count >= most {
                return None;
            }
            open.insert(client, count.saturating_add(1));
        }
        Some(Place {
            client: counted.map(|(client, _)| client),
            clients: Arc::clone(self),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(client) = self.client else {
            return;
        };
        if let Entry::Occupied(mut count) = self.clients.lock().entry(client) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{ListenAddr, ListenerConfig, TrustedPeers};
    use super::super::socket::Client;
    use super::*;

    fn listener() -> ListenerConfig {
        ListenAddr::Tcp(([127, 0, 0, 1], 0).into()).into()
    }

    fn peer(address: &str) -> Peer {
        let client = Client::inet(address.parse().unwrap());
        Peer::new(client, Arc::new(listener()))
    }

    #[test]
    fn a_client_has_room_of_its_own_and_leaves_nothing_behind() {
        let clients = Arc::new(Clients::default());
        let enter = |address, most| clients.enter(&peer(address), most);
        let one = enter("192.0.2.1:1000", Some(2)).unwrap();
        // The same inside of version 6.
        let two = enter("[::ffff:192.0.2.1]:1001", Some(2)).unwrap();
        assert!(enter("192.0.2.1:1002", Some(2)).is_none());
        let other = enter("192.0.2.2:1000", Some(2)).unwrap();
        let unlimited = enter("192.0.2.1:1003", None).unwrap();
        drop(one);
        let again = enter("192.0.2.1:1004", Some(2)).unwrap();
        // A reload may have lowered the limit.
        assert!(enter("192.0.2.2:1001", Some(1)).is_none());
        let six = enter("[2001:db8::1]:1000", Some(1)).unwrap();
        assert!(enter("[2001:db8::ffff:1]:1000", Some(1)).is_none());
        assert!(enter("[2001:db8:0:1::1]:1000", Some(1)).is_some());
        drop((two, other, unlimited, again, six));
        assert!(clients.lock().is_empty());
    }

    #[test]
    fn who_speaks_for_others_or_has_no_address_is_not_counted() {
        let clients = Arc::new(Clients::default());
        let all = TrustedPeers {
            unix: false,
            networks: vec!["192.0.2.0/24".parse().unwrap()],
        };
        let client = || Client::inet("192.0.2.1:1000".parse().unwrap());
        let trusted = ListenerConfig {
            trusted_identity_from: all.clone(),
            ..listener()
        };
        let proxies = ListenerConfig {
            trusted_proxies: all,
            ..listener()
        };
        let trusted = Peer::new(client(), Arc::new(trusted));
        let proxy = Peer::new(client(), Arc::new(proxies));
        let local = Peer::new(Client::Unix, Arc::new(listener()));
        let mut places = Vec::new();
        for _ in 0..5 {
            for peer in [&trusted, &proxy, &local] {
                places.push(clients.enter(peer, Some(1)).unwrap());
            }
        }
        assert!(clients.lock().is_empty());
    }
}
