//! Putting rules that were read anew in force, for a signal as for the ops listener.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use tokio::sync::Mutex;
use tokio::task;

use crate::proxy::{Gateway, Rules};

/// Reads the rules anew, or says why they cannot be used. It may read files.
pub type ReadRules = Arc<dyn Fn() -> Result<Rules, String> + Send + Sync>;

/// The way from a request to reload to the gateway, which is made after it.
pub(super) struct Reloader {
    read: ReadRules,
    gateway: OnceLock<Weak<Gateway>>,
    one_at_a_time: Mutex<()>,
}

impl Reloader {
    pub(super) fn new(read: ReadRules) -> Arc<Self> {
        Arc::new(Self {
            read,
            gateway: OnceLock::new(),
            one_at_a_time: Mutex::new(()),
        })
    }

    /// Names the gateway; reloads before that are refused.
    pub(super) fn serves(&self, gateway: &Arc<Gateway>) {
        // There is one gateway, and it is named once.
        let _ = self.gateway.set(Arc::downgrade(gateway));
    }

    /// Puts the rules, read anew, in force; or says why not, and the former ones stay.
    pub(super) async fn reload(&self) -> Result<(), String> {
        let _turn = self.one_at_a_time.lock().await;
        let done = self.try_reload().await;
        match &done {
            Ok(()) => tracing::info!("reloaded"),
            Err(reason) => {
                tracing::error!(%reason, "not reloaded, the former configuration stays in force")
            }
        }
        done
    }

    async fn try_reload(&self) -> Result<(), String> {
        let read = Arc::clone(&self.read);
        let rules = task::spawn_blocking(move || read())
            .await
            .map_err(|_| "reading the configuration broke off".to_owned())??;
        let gateway = self.gateway.get().and_then(Weak::upgrade);
        gateway
            .ok_or_else(|| "the gateway is starting or ending".to_owned())?
            .reload(rules)
            .await;
        Ok(())
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}
