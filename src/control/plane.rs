//! A control plane as one thing: opened, fed from, served.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::api::{self, Api, ServeError};
use super::bearer::{AdminToken, GatewayToken};
use super::config::Config;
use super::service::Keys;
use super::store::{OpenError, ReadOnlyStore, Store, StoreError, load};
use super::tls::{Tls, TlsError};
use crate::authz::{Revision, Timestamp};
use crate::wire::ChangeSink;

/// An open control plane. It holds its database for itself until it is dropped.
#[derive(Debug)]
pub struct Control {
    keys: Keys,
    admin_tokens: Arc<[AdminToken]>,
    tls: Option<Tls>,
}

impl Control {
    /// Opens the database, made where there is none, and checks that it may be served from.
    ///
    /// `purpose` is what another process is told that wants the same database, e.g. `keyward run`.
    ///
    /// # Errors
    /// What is in the way, in one line that says what to do.
    pub async fn open(
        config: &Config,
        purpose: &str,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Result<Self, OpenError> {
        let is_protected = config.tls.is_some() || config.listen.ip().is_loopback();
        if !is_protected && !config.insecure {
            return Err(OpenError::NotLoopback(config.listen));
        }
        if !(1..=AdminToken::VALID_MAX).contains(&config.admin_tokens.len()) {
            return Err(OpenError::AdminTokens(config.admin_tokens.len()));
        }
        check_gateway_tokens(config)?;
        let tls = config.tls.clone().map(Tls::new).transpose()?;
        let pepper = config.pepper.clone();
        let store = Store::open(&config.database, pepper.as_ref(), purpose, clock()).await?;
        let keys = Keys::new(store, pepper, clock, &config.gateway_tokens).await?;
        Ok(Self {
            keys,
            admin_tokens: config.admin_tokens.clone().into(),
            tls,
        })
    }

    /// The keys, to be read and changed.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Gives `sink` every key, and from then on every change before it is answered.
    ///
    /// # Errors
    /// The store failed, and the sink has what it had before. Or there is a sink already.
    pub async fn attach(&self, sink: Arc<dyn ChangeSink>) -> Result<(), StoreError> {
        self.keys.attach(sink).await
    }

    /// Reads the files of the listener's TLS again, for the connections to come; without TLS there is nothing to do.
    ///
    /// # Errors
    /// What is wrong with them; the former are in force then.
    pub fn read_certificates(&self) -> Result<(), TlsError> {
        self.tls.as_ref().map_or(Ok(()), Tls::read_again)
    }

    /// Whether the listener speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves the API on a listener that is bound already, until `shutdown`; then finishes what is in flight, for
    /// `grace` at most.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
        grace: Duration,
    ) -> Result<(), ServeError> {
        let api = Api::new(self.keys.clone(), Arc::clone(&self.admin_tokens));
        let served = api::serve(api.clone(), listener, self.tls.as_ref(), shutdown, grace);
        let served = tokio::select! {
            served = served => served,
            () = api.keep_fleet() => Ok(()),
        };
        self.keys.leave_fleet().await;
        served
    }
}

fn check_gateway_tokens(config: &Config) -> Result<(), OpenError> {
    let tokens = &config.gateway_tokens;
    if tokens.len() > GatewayToken::VALID_MAX {
        return Err(OpenError::GatewayTokens(tokens.len()));
    }
    let mut admins = config.admin_tokens.iter();
    if admins.any(|admin| tokens.iter().any(|token| admin.is_same(token))) {
        return Err(OpenError::SameToken);
    }
    Ok(())
}

/// A control plane's database that is only looked at, also while a process serves from it.
#[derive(Debug)]
pub struct ReadOnly(ReadOnlyStore);

impl ReadOnly {
    /// Opens the database of `config`.
    ///
    /// # Errors
    /// What is in the way, in one line that says what to do.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        ReadOnlyStore::open(&config.database, config.pepper.as_ref())
            .await
            .map(Self)
    }

    /// Gives `sink` every key, once.
    ///
    /// # Errors
    /// The store failed, and the sink has what it had before.
    pub async fn load_into(&self, sink: Arc<dyn ChangeSink>) -> Result<Revision, StoreError> {
        let mut connection = self.0.connection().lock().await;
        let loaded = load::load(&mut connection.conn(), sink).await;
        loaded.map(|at| at.revision)
    }
}
