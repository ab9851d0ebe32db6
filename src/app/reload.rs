//! Putting rules that were read anew in force, for a signal as for the ops listener.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use tokio::sync::Mutex;
use tokio::task;

use crate::control::Control;
use crate::proxy::{Gateway, Rules};

/// Reads the rules anew, or says why they cannot be used. It may read files.
pub type ReadRules = Arc<dyn Fn() -> Result<Rules, String> + Send + Sync>;

/// The way from a request to reload to the gateway, which is made after it.
pub(super) struct Reloader {
    read: ReadRules,
    gateway: OnceLock<Weak<Gateway>>,
    /// The control plane in this process, where there is one.
    control: OnceLock<Weak<Control>>,
    one_at_a_time: Mutex<()>,
}

impl Reloader {
    pub(super) fn new(read: ReadRules) -> Arc<Self> {
        Arc::new(Self {
            read,
            gateway: OnceLock::new(),
            control: OnceLock::new(),
            one_at_a_time: Mutex::new(()),
        })
    }

    /// Names the gateway; reloads before that are refused.
    pub(super) fn serves(&self, gateway: &Arc<Gateway>) {
        // There is one gateway, and it is named once.
        let _ = self.gateway.set(Arc::downgrade(gateway));
    }

    /// Names the control plane in this process, whose certificate is read anew with the rules.
    pub(super) fn administers(&self, control: &Arc<Control>) {
        // There is at most one, and it is named once.
        let _ = self.control.set(Arc::downgrade(control));
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
        let control = self.control.get().and_then(Weak::upgrade);
        let gateway = self.gateway.get().and_then(Weak::upgrade);
        let gateway = gateway.ok_or_else(|| "the gateway is starting or ending".to_owned())?;
        let rules = task::spawn_blocking(move || {
            let rules = read()?;
            // Last of what can fail: a reload that fails changes nothing.
            let certificates = control.map_or(Ok(()), |control| control.read_certificates());
            certificates.map_err(|error| in_one_line(&error))?;
            Ok::<_, String>(rules)
        });
        let rules = rules.await;
        let rules = rules.map_err(|_| "reading the configuration broke off".to_owned())??;
        gateway.reload(rules).await;
        Ok(())
    }
}

fn in_one_line(error: &dyn Error) -> String {
    let source = error.source().map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}
