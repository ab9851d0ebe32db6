//! A gateway from binding to the end: bind, start, reload, drain.
//!
//! It owns the threads that requests run on. It knows no signal and no configuration file.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::config::{Config, ListenAddr, ListenerConfig, Rules};
use super::connections::Connections;
use super::descriptors::Descriptors;
use super::door::Door;
use super::health::{look_after, resolve_first};
use super::introduction::TURNED_AWAY_MAX;
use super::listen::{BindError, Listener, bind_tcp};
use super::ops::{Ops, Reload};
use super::reaper::Reaper;
use super::regime::{Clock, Commons, Regime};
use super::service::Service;
use super::upstream::ATTEMPTS_MAX;
use crate::replica::{Replica, Source};
use crate::telemetry::{AccessLog, Metrics};

/// How long connections that were cut may take to notice.
const CUT_TIME: Duration = Duration::from_secs(1);

/// For so long the access log takes so many refusals of each reason.
const LOG_SECOND: Duration = Duration::from_secs(1);

/// What a gateway works with and does not own.
pub struct Surroundings {
    /// The keys.
    pub replica: Arc<Replica>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where requests are logged, if anywhere.
    pub access_log: Option<Arc<AccessLog>>,
    /// The calendar.
    pub clock: Clock,
    /// Where the keys come from.
    pub source: Arc<dyn Source>,
    /// What `POST /reload` does.
    pub reload: Reload,
    /// Files and sockets that the process may have open; `None`: any number.
    pub descriptors: Option<u64>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// A gateway.
pub struct Gateway {
    listeners: Vec<(Listener, Arc<ListenerConfig>)>,
    ops: Option<std::net::TcpListener>,
    addresses: Vec<ListenAddr>,
    ops_address: Option<SocketAddr>,
    threads: usize,
    graceful_shutdown: Duration,
    commons: Arc<Commons>,
    reload: Option<Reload>,
    regime: Arc<ArcSwap<Regime>>,
    connections: Arc<Connections>,
    stop: watch::Sender<bool>,
    ended: watch::Sender<bool>,
    handle: Option<Handle>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// Binds every listener; nothing is accepted yet.
    ///
    /// # Errors
    /// The first address at which listening is not possible.
    pub fn bind(config: Config, around: Surroundings) -> Result<Self, BindError> {
        let listeners = config.listeners.into_iter().map(|listener| {
            let bound = Listener::bind(&listener.address)?;
            Ok((bound, Arc::new(listener)))
        });
        let listeners: Vec<(Listener, Arc<ListenerConfig>)> =
            listeners.collect::<Result<_, _>>()?;
        let ops = config.ops.map(|address| {
            bind_tcp(address).map_err(|source| BindError {
                address: address.to_string(),
                source,
            })
        });
        let ops = ops.transpose()?;
        let stop = watch::Sender::new(false);
        let commons = Arc::new(Commons {
            replica: around.replica,
            source: around.source,
            metrics: Arc::clone(&around.metrics),
            access_log: around.access_log,
            clock: around.clock,
            descriptors: Descriptors::of(around.descriptors),
            draining: stop.subscribe(),
        });
        commons.replica.deny(config.rules.denied.clone());
        let regime = Regime::new(config.rules, Arc::clone(&commons), None);
        Ok(Self {
            addresses: listeners
                .iter()
                .filter_map(|(listener, _)| listener.address())
                .collect(),
            ops_address: ops.as_ref().and_then(|ops| ops.local_addr().ok()),
            listeners,
            ops,
            threads: config.threads,
            graceful_shutdown: config.graceful_shutdown,
            commons,
            reload: Some(around.reload),
            regime: Arc::new(ArcSwap::from_pointee(regime)),
            connections: Arc::new(Connections::new(around.metrics)),
            stop,
            ended: watch::Sender::new(false),
            handle: None,
        })
    }

    /// Where clients come in, with the real ports, in the order of the configuration.
    pub fn addresses(&self) -> &[ListenAddr] {
        &self.addresses
    }

    /// Where operators come in, with the real port.
    pub fn ops_address(&self) -> Option<SocketAddr> {
        self.ops_address
    }

    /// Begins to accept, on threads of its own. A second call does nothing.
    ///
    /// # Errors
    /// Threads cannot be made.
    pub fn start(&mut self) -> io::Result<()> {
        let Some(reload) = self.reload.take() else {
            return Ok(());
        };
        let threads = match self.threads {
            0 => thread::available_parallelism()?.get(),
            threads => threads,
        };
        let runtime = runtime(threads)?;
        self.handle = Some(runtime.handle().clone());
        let work = Work {
            door: self.door(threads),
            listeners: std::mem::take(&mut self.listeners),
            ops: self.ops.take().map(|listener| (listener, self.ops(reload))),
            graceful_shutdown: self.graceful_shutdown,
            stop: self.stop.subscribe(),
            commons: Arc::clone(&self.commons),
        };
        let ended = self.ended.clone();
        thread::Builder::new()
            .name("gateway".to_owned())
            .spawn(move || {
                runtime.block_on(work.run());
                runtime.shutdown_timeout(CUT_TIME);
                ended.send_replace(true);
            })?;
        self.look_after_upstreams();
        if let Some(handle) = &self.handle {
            handle.spawn(self.reaper().sweep());
        }
        Ok(())
    }

    /// Puts other rules in force. Requests that have begun end under the former ones, unless their keys are on a new
    /// list of keys that are refused: those have ended when this returns.
    pub async fn reload(&self, rules: Rules) {
        let former = self.regime.load_full();
        let denied = rules.denied.clone();
        let regime = Regime::new(rules, Arc::clone(&self.commons), Some(&former));
        resolve_first(&regime.upstreams).await;
        self.regime.store(Arc::new(regime));
        self.look_after_upstreams();
        if self.commons.replica.deny(denied) {
            self.reaper().end_dead().await;
        }
    }

    /// What ends the traffic of keys that have died.
    pub fn reaper(&self) -> Reaper {
        Reaper::new(Arc::clone(&self.connections), Arc::clone(&self.commons))
    }

    /// Stops accepting, closes idle connections, waits for what is in flight, at the latest cuts it after the
    /// configured time. Returns when all of it is over. Works from any runtime, and more than once.
    pub async fn drain(&self) {
        self.stop.send_replace(true);
        if self.handle.is_some() {
            let mut ended = self.ended.subscribe();
            // The sender lives as long as `self`.
            let _ended = ended.wait_for(|ended| *ended).await;
        }
    }

    fn look_after_upstreams(&self) {
        let Some(handle) = &self.handle else {
            return;
        };
        let _entered = handle.enter();
        for upstream in &self.regime.load().upstreams {
            if upstream.take_charge() {
                look_after(upstream);
            }
        }
    }

    fn door(&self, threads: usize) -> Arc<Door> {
        let connections = self.regime.load().rules.limits.connections;
        let conf = Arc::new(ServerConf {
            threads,
            // Fewer pooled connections than requests at a time would close and open them all the time.
            upstream_keepalive_pool_size: self.commons.descriptors.connections(connections),
            max_retries: ATTEMPTS_MAX,
            ..ServerConf::default()
        });
        Arc::new(Door {
            proxy: Arc::new(http_proxy(&conf, Service)),
            regime: Arc::clone(&self.regime),
            connections: Arc::clone(&self.connections),
            clients: Arc::default(),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY_MAX)),
            shutdown: self.stop.subscribe(),
        })
    }

    fn ops(&self, reload: Reload) -> Ops {
        Ops {
            commons: Arc::clone(&self.commons),
            regime: Arc::clone(&self.regime),
            connections: Arc::clone(&self.connections),
            reload,
        }
    }
}

/// A gateway that is dropped stops without waiting.
impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// One thread needs no other to steal from: its runtime is the simple one.
fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut builder = if threads == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().thread_name("gateway-worker").build()
}

/// What the gateway's threads do.
struct Work {
    door: Arc<Door>,
    listeners: Vec<(Listener, Arc<ListenerConfig>)>,
    ops: Option<(std::net::TcpListener, Ops)>,
    graceful_shutdown: Duration,
    stop: watch::Receiver<bool>,
    commons: Arc<Commons>,
}

impl Work {
    async fn run(mut self) {
        if let Some((listener, ops)) = self.ops.take() {
            tokio::spawn(ops.serve(listener));
        }
        tokio::spawn(end_log_seconds(Arc::clone(&self.commons)));
        resolve_first(&self.door.regime.load_full().upstreams).await;
        let accepting: Vec<_> = self
            .listeners
            .drain(..)
            .map(|(listener, config)| {
                let door = Arc::clone(&self.door);
                tokio::spawn(listener.accept(config, door, self.stop.clone()))
            })
            .collect();
        // Stopping without anybody left who could say so is stopping as well.
        let _stopped = self.stop.wait_for(|stop| *stop).await;
        for listener in accepting {
            match listener.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a listener failed"),
                Err(error) => tracing::error!(%error, "a listener failed"),
            }
        }
        let connections = &self.door.connections;
        connections.drain();
        let drained = timeout(self.graceful_shutdown, connections.emptied()).await;
        if drained.is_err() {
            tracing::warn!(
                open = connections.count(),
                "the time to shut down is over: cutting"
            );
            connections.cut();
            // Those that do not even notice end with the threads.
            let _noticed = timeout(CUT_TIME, connections.emptied()).await;
        }
        self.commons.tell_left_out();
    }
}

async fn end_log_seconds(commons: Arc<Commons>) {
    let mut seconds = interval(LOG_SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        commons.tell_left_out();
    }
}
