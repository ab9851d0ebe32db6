//! The way to the control planes: the five requests of `/sync/v1`, over connections that outlive them.
//!
//! What an answer means for the keys is decided elsewhere; what is no answer comes back with the reason, for people.

use std::error::Error as _;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, ClientBuilder, Identity, RequestBuilder, Response};
use reqwest::{StatusCode, Url};

use super::event::Ended;
use crate::authz::Pepper;
use crate::replica::http::{http_client, http_client_without_tls};
use crate::wire::sync::{self, Ack, GatewayInfo, Position, SyncQuery, UsageReport};

/// For a connection.
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// For an acknowledgement: the next one says more.
const ACK_TIME: Duration = Duration::from_secs(2);
/// For a report of uses, which the control plane writes to its store.
const USAGE_TIME: Duration = Duration::from_secs(10);
/// Bytes that are read of a file of certificates.
const PEM_BYTES_MAX: u64 = 4 << 20;
/// Connections to a control plane that are kept for the next acknowledgement or report.
const IDLE_CONNECTIONS: usize = 2;

/// How control planes are reached.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Where they are, all of one store, in the order in which they are tried: `https://HOST:PORT`.
    pub urls: Vec<String>,
    /// Gateway tokens, at least one; the other is tried when one is not accepted. Secrets.
    pub tokens: Vec<String>,
    /// Who signs the control planes' certificates; `None`: whoever the machine trusts.
    pub ca: Option<PathBuf>,
    /// Certificate and private key that this gateway shows, where it shows one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Without the tokens.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

/// Why control planes cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAccess {
    /// There is none.
    #[error("there is no URL of a control plane")]
    NoUrl,
    /// The URL is none that requests can be made to.
    #[error("`{0}` is no URL of a control plane: write https://HOST:PORT")]
    Url(String),
    /// There is no token, or one that cannot be sent.
    #[error("the gateway token is missing, or holds bytes that no header can")]
    Token,
    /// A file of certificates cannot be read.
    #[error("`{}` cannot be read", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// A file holds no certificates.
    #[error("`{}` holds no certificates in PEM", .0.display())]
    Authorities(PathBuf),
    /// The own certificate is none.
    #[error("`{}` is no certificate, or its key is none: both have to be PEM", .0.display())]
    Identity(PathBuf, #[source] reqwest::Error),
    /// TLS cannot be set up.
    #[error("requests cannot be prepared: the machine may have no certificate roots")]
    Client(#[source] reqwest::Error),
}

/// What came instead of an answer, and why.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) ended: Ended,
    /// For people; nothing of what was sent is in it.
    pub(super) cause: Option<String>,
}

impl Fault {
    pub(super) fn broken(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            cause = format!("{cause}: {error}");
            source = error.source();
        }
        Self {
            ended: Ended::Broken,
            cause: Some(cause),
        }
    }
}

/// What became of a report of uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reported {
    /// It is counted.
    Counted,
    /// It will never be.
    Refused,
    /// Nobody knows: it has to be sent again as it is.
    Unanswered,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Link {
    http: Client,
    bases: Vec<Url>,
    tokens: Vec<HeaderValue>,
    /// The token that was accepted last.
    token: AtomicUsize,
    gateway: GatewayInfo,
    /// Tells the pepper from any other.
    pepper: [u8; 32],
}

impl Link {
    pub(super) fn new(
        access: &Access,
        gateway: GatewayInfo,
        pepper: Option<&Pepper>,
    ) -> Result<Self, InvalidAccess> {
        let bases = access.urls.iter().map(|url| base(url));
        let bases: Vec<Url> = bases.collect::<Result<_, _>>()?;
        if bases.is_empty() {
            return Err(InvalidAccess::NoUrl);
        }
        let tokens = access.tokens.iter().map(|token| bearer(token));
        let tokens: Vec<HeaderValue> = tokens.collect::<Result<_, _>>()?;
        if tokens.is_empty() {
            return Err(InvalidAccess::Token);
        }
        let is_secure = bases.iter().any(|base| base.scheme() == "https");
        let http = client(access, is_secure)?
            .connect_timeout(CONNECT_TIME)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build()
            .map_err(InvalidAccess::Client)?;
        Ok(Self {
            http,
            bases,
            tokens,
            token: AtomicUsize::new(0),
            gateway,
            pepper: Pepper::check_value(pepper),
        })
    }

    /// How many control planes there are.
    pub(super) fn endpoints(&self) -> usize {
        self.bases.len()
    }

    /// The name of one for people.
    pub(super) fn name(&self, endpoint: usize) -> &str {
        self.bases.get(endpoint).map_or("", Url::as_str)
    }

    /// The changes after a position, or without one a snapshot, as a stream that begins.
    pub(super) async fn ask(
        &self,
        endpoint: usize,
        after: Option<Position>,
    ) -> Result<Response, Fault> {
        let path = match after {
            Some(_) => "changes",
            None => "snapshot",
        };
        let url = self.url(endpoint, path)?;
        let query = SyncQuery::new(&self.gateway, after).with_pepper(&self.pepper);
        let response = self.send(self.http.get(url).query(&query)).await?;
        let is_ours = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind == sync::CONTENT_TYPE);
        match response.status() {
            StatusCode::OK if is_ours => Ok(response),
            StatusCode::CONFLICT => Err(fault(Ended::SnapshotNeeded, &response)),
            StatusCode::PRECONDITION_FAILED => Err(fault(Ended::OtherPepper, &response)),
            // Also what somebody on the way answers, which says nothing of the keys.
            _ => Err(fault(Ended::Refused(retry_after(&response)), &response)),
        }
    }

    /// Says what is applied. Whether that has come is heard in the stream.
    pub(super) async fn acknowledge(&self, endpoint: usize, ack: &Ack) -> Result<(), Fault> {
        let url = self.url(endpoint, "ack")?;
        let query = SyncQuery::new(&self.gateway, None);
        let request = self.http.post(url).query(&query).json(ack);
        let response = self.send(request.timeout(ACK_TIME)).await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(()),
            _ => Err(fault(Ended::Refused(None), &response)),
        }
    }

    /// Reports uses.
    pub(super) async fn report(&self, endpoint: usize, report: &UsageReport) -> Reported {
        let Ok(url) = self.url(endpoint, "usage") else {
            return Reported::Unanswered;
        };
        let query = SyncQuery::new(&self.gateway, None);
        let request = self.http.post(url).query(&query).json(report);
        match self.send(request.timeout(USAGE_TIME)).await {
            Ok(response) => match response.status() {
                StatusCode::NO_CONTENT => Reported::Counted,
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Reported::Refused,
                _ => Reported::Unanswered,
            },
            Err(_) => Reported::Unanswered,
        }
    }

    /// Says that this gateway has ended. Where that is not heard, it is waited for until its lease is over.
    pub(super) async fn leave(&self, endpoint: usize) {
        let Ok(url) = self.url(endpoint, "leave") else {
            return;
        };
        let query = SyncQuery::new(&self.gateway, None);
        let request = self.http.post(url).query(&query).timeout(ACK_TIME);
        if let Err(fault) = self.send(request).await {
            let cause = fault.cause;
            tracing::debug!(cause, "control planes were not told of the end");
        }
    }

    /// A token that is not accepted makes the next request try the other one.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Fault> {
        let number = self.token.load(Ordering::Relaxed);
        let request = match self.tokens.get(number % self.tokens.len()) {
            Some(token) => request.header("authorization", token),
            None => request,
        };
        let response = request.send().await.map_err(Fault::broken)?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let next = number.wrapping_add(1) % self.tokens.len();
            self.token.store(next, Ordering::Relaxed);
            return Err(fault(Ended::Unauthorized, &response));
        }
        Ok(response)
    }

    fn url(&self, endpoint: usize, path: &str) -> Result<Url, Fault> {
        let mut url = self.bases.get(endpoint).cloned().ok_or(Fault {
            ended: Ended::Broken,
            cause: None,
        })?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["sync", "v1", path]);
        }
        Ok(url)
    }
}

fn base(url: &str) -> Result<Url, InvalidAccess> {
    Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| InvalidAccess::Url(url.to_owned()))
}

fn bearer(token: &str) -> Result<HeaderValue, InvalidAccess> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| InvalidAccess::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn client(access: &Access, is_secure: bool) -> Result<ClientBuilder, InvalidAccess> {
    if !is_secure {
        return Ok(http_client_without_tls());
    }
    let mut client = http_client();
    if let Some(path) = &access.ca {
        // One that holds none would be trusted as such, and nobody could be reached.
        let authorities = Certificate::from_pem_bundle(&read(path)?)
            .ok()
            .filter(|authorities| !authorities.is_empty())
            .ok_or_else(|| InvalidAccess::Authorities(path.clone()))?;
        client = client.tls_certs_only(authorities);
    }
    if let Some((certificate, key)) = &access.client {
        let pem = [read(certificate)?, b"\n".to_vec(), read(key)?].concat();
        let identity = Identity::from_pem(&pem)
            .map_err(|error| InvalidAccess::Identity(certificate.clone(), error))?;
        client = client.identity(identity);
    }
    Ok(client)
}

fn read(path: &Path) -> Result<Vec<u8>, InvalidAccess> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| InvalidAccess::File(path.to_owned(), error))?;
    Ok(bytes)
}

fn fault(ended: Ended, response: &Response) -> Fault {
    let status = response.status();
    let cause = match status {
        StatusCode::OK => "what answers is no control plane".to_owned(),
        _ => format!("it answers {}", status.as_u16()),
    };
    Fault {
        ended,
        cause: Some(cause),
    }
}

/// In whole seconds, as control planes write them.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
