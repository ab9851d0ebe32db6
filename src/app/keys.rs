//! Where the keys come from: a control plane in this process, one elsewhere, or a platform. Each in three steps,
//! so that nothing answers before everything is there: prepared, opened, begun.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::fed::Fed;
use super::running::StartError;
use super::serving::{self, Serving};
use super::{clock, usage};
use crate::control::{self, Control, Keys};
use crate::proxy::Reaper;
use crate::replica::prisme::{self, Prisme};
use crate::replica::remote::{self, Remote};
use crate::replica::{self, Replica, Source, SourceStatus};
use crate::wire::sync::GATEWAY_NAME_CHARACTERS_MAX;

/// The source of the keys, as finished settings.
#[derive(Debug)]
pub enum KeysFrom {
    /// A control plane in this process.
    Embedded(control::Config),
    /// A Prisme.ai platform.
    Prisme(prisme::Config),
    /// Control planes elsewhere.
    Remote(remote::Config),
}

/// The control plane in this process: each change is applied before it is answered, so the keys are always current.
struct Embedded;

impl Source for Embedded {
    fn status(&self) -> SourceStatus {
        SourceStatus {
            state: "embedded",
            staleness: Duration::ZERO,
            usable: true,
        }
    }
}

/// What needs no other part: the control plane has its address, what was kept of a platform is read.
pub(super) enum Prepared {
    Embedded(TcpListener, Box<control::Config>),
    Prisme(Prisme),
    Remote(Remote),
}

impl Prepared {
    pub(super) fn new(
        from: KeysFrom,
        config: &replica::Config,
        replica: &Arc<Replica>,
        runtime: &Runtime,
    ) -> Result<Self, StartError> {
        match from {
            KeysFrom::Embedded(control) => {
                let listener = serving::listen(control.listen)?;
                Ok(Self::Embedded(listener, Box::new(control)))
            }
            KeysFrom::Prisme(platform) => {
                let (clock, runtime) = (clock::moments(), runtime.handle().clone());
                let replica = Arc::clone(replica);
                let prisme = Prisme::open(platform, config, replica, clock, runtime);
                Ok(Self::Prisme(prisme.map_err(StartError::Platform)?))
            }
            KeysFrom::Remote(mut followed) => {
                if followed.name.is_empty() {
                    followed.name = machine();
                }
                let remote = Remote::open(followed, Arc::clone(replica), clock::moments());
                Ok(Self::Remote(remote.map_err(StartError::Remote)?))
            }
        }
    }

    /// For those who ask about keys.
    pub(super) fn source(&self) -> Arc<dyn Source> {
        match self {
            Self::Embedded(..) => Arc::new(Embedded),
            Self::Prisme(prisme) => Arc::new(prisme.clone()),
            Self::Remote(remote) => Arc::new(remote.clone()),
        }
    }

    pub(super) fn open(
        self,
        purpose: &str,
        replica: &Arc<Replica>,
        reaper: Reaper,
        runtime: &Runtime,
    ) -> Result<Opened, StartError> {
        match self {
            Self::Embedded(listener, config) => {
                let replica = Arc::clone(replica);
                let fed = Fed { replica, reaper };
                let control = runtime.block_on(open(&config, purpose, fed))?;
                Ok(Opened::Embedded(listener, Arc::new(control)))
            }
            Self::Prisme(prisme) => Ok(Opened::Prisme(prisme)),
            Self::Remote(remote) => {
                let replica = Arc::clone(replica);
                let fed = Arc::new(Fed { replica, reaper });
                // What was kept serves from the first request on.
                remote.restore(&*fed);
                Ok(Opened::Remote(remote, fed))
            }
        }
    }
}

/// What this machine is called, as far as that can be said of a gateway.
fn machine() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let name = name.chars().filter(|character| !character.is_control());
    let name: String = name.take(GATEWAY_NAME_CHARACTERS_MAX).collect();
    if name.is_empty() {
        "gateway".to_owned()
    } else {
        name
    }
}

async fn open(config: &control::Config, purpose: &str, fed: Fed) -> Result<Control, StartError> {
    let control = Control::open(config, purpose, clock::system()).await?;
    control
        .attach(Arc::new(fed))
        .await
        .map_err(StartError::Load)?;
    Ok(control)
}

/// What may begin.
pub(super) enum Opened {
    Embedded(TcpListener, Arc<Control>),
    Prisme(Prisme),
    Remote(Remote, Arc<Fed>),
}

impl Opened {
    pub(super) fn begin(self, replica: &Arc<Replica>, runtime: &Runtime, grace: Duration) -> Begun {
        let replica = Arc::clone(replica);
        match self {
            Self::Embedded(listener, control) => {
                let flushing = usage::flush_regularly(replica, control.keys().clone());
                runtime.spawn(flushing);
                Begun::Embedded(Serving::begin(control, listener, runtime, grace))
            }
            Self::Prisme(prisme) => {
                prisme.follow();
                runtime.spawn(usage::discard_regularly(replica));
                Begun::Prisme(prisme)
            }
            Self::Remote(remote, fed) => {
                remote.follow(fed, runtime.handle());
                Begun::Remote(remote)
            }
        }
    }
}

/// A source that is at work.
pub(super) enum Begun {
    Embedded(Serving),
    Prisme(Prisme),
    Remote(Remote),
}

impl Begun {
    /// The control plane, where it is in this process.
    pub(super) fn control(&self) -> Option<&Serving> {
        match self {
            Self::Embedded(serving) => Some(serving),
            Self::Prisme(_) | Self::Remote(_) => None,
        }
    }

    /// The keys, where they can be changed here.
    pub(super) fn keys(&self) -> Option<&Keys> {
        self.control().map(|serving| serving.control.keys())
    }

    /// Ends what is served.
    pub(super) async fn end(&mut self) {
        if let Self::Embedded(serving) = self {
            serving.end().await;
        }
    }

    /// Stores what is only in memory until now.
    pub(super) async fn flush(&self, replica: &Replica) {
        match self {
            Self::Embedded(serving) => usage::flush(replica, serving.control.keys()).await,
            Self::Prisme(prisme) => {
                if let Err(error) = prisme.save() {
                    tracing::error!(%error, "the keys will not be there after the restart");
                }
            }
            Self::Remote(remote) => remote.end().await,
        }
    }
}
