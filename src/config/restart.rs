//! What a reload cannot change: settings that a running process is built on.

use std::net::SocketAddr;
use std::time::Duration;

use crate::authz::Pepper;
use crate::proxy::ListenerConfig;
use crate::{control, proxy, replica};

/// The settings that hold from start to end of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    listeners: Vec<ListenerConfig>,
    ops: Option<SocketAddr>,
    threads: usize,
    graceful_shutdown: Duration,
    control: Option<(SocketAddr, String, Option<control::TlsFiles>)>,
    prisme: Option<replica::prisme::Config>,
    remote: Option<replica::remote::Config>,
    pepper: [u8; 32],
    cache: (u64, u64, Duration),
}

impl Fixed {
    pub(super) fn of(
        proxy: &proxy::Config,
        control: Option<&control::Config>,
        (prisme, remote): (
            &Option<replica::prisme::Config>,
            &Option<replica::remote::Config>,
        ),
        replica: &replica::Config,
    ) -> Self {
        Self {
            listeners: proxy.listeners.clone(),
            ops: proxy.ops,
            threads: proxy.threads,
            graceful_shutdown: proxy.graceful_shutdown,
            control: control.map(|control| {
                (
                    control.listen,
                    control.database.clone(),
                    control.tls.clone(),
                )
            }),
            prisme: prisme.clone(),
            remote: remote.clone(),
            pepper: Pepper::check_value(replica.pepper.as_ref()),
            cache: (replica.principals, replica.negative, replica.negative_ttl),
        }
    }

    /// The keys in which `other` differs: a reload with it must be refused, or needs a restart to take effect.
    pub fn changes(&self, other: &Self) -> Vec<&'static str> {
        let changed = [
            ("listen", self.listeners != other.listeners),
            ("ops", self.ops != other.ops),
            ("server.threads", self.threads != other.threads),
            (
                "server.graceful_shutdown",
                self.graceful_shutdown != other.graceful_shutdown,
            ),
            (
                "keys",
                self.control != other.control
                    || self.prisme != other.prisme
                    || self.remote != other.remote,
            ),
            ("credentials.pepper", self.pepper != other.pepper),
            ("cache", self.cache != other.cache),
        ];
        let changed = changed.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(key, _)| key).collect()
    }
}
