//! The platform's three endpoints, as requests and answers. Each answer is read whole within limits, or is a fault.
//!
//! Keeps nothing between two requests but connections. What an answer means for the keys is decided elsewhere.

use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode, Url};

use crate::authz::{Family, KeyForm, Pepper, RawKey, Tenant};
use crate::replica::http::{http_client, http_client_without_tls};
use crate::wire::prisme::{
    InvalidAnswer, PlatformKey, read_org_key, read_org_page, read_workspace_keys,
};

/// For a connection.
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// Keys on one page of a list.
const PAGE_KEYS: u64 = 100;
/// Pages of one list: a million keys.
const PAGES_MAX: u64 = 10_000;
/// Bytes of the answer to a validation.
const KEY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a page, or of the keys of a workspace, which have no pages.
const LIST_BYTES_MAX: usize = 64 << 20;
/// The header in which API keys go.
const KEY_HEADER: &str = "x-prismeai-api-key";

/// How the platform is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// Its base URL, `https://…` or `http://…`.
    pub url: String,
    /// A user's token, or an organisation key that may manage keys. A secret.
    pub token: String,
    /// For a whole list request.
    pub list_time: Duration,
    /// For a whole validation.
    pub validate_time: Duration,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Why the platform cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAccess {
    /// The URL is none that requests can be made to.
    #[error("`{0}` is no URL of a platform: write https://HOST")]
    Url(String),
    /// The token cannot be sent.
    #[error("the token of the platform holds bytes that no header can")]
    Token,
    /// TLS cannot be set up.
    #[error(
        "requests to the platform cannot be prepared: the machine may have no certificate roots"
    )]
    Client(#[source] reqwest::Error),
}

/// Why there is no answer, or none that counts.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// No answer, or half of one.
    #[error("it cannot be reached, or breaks off")]
    Broken(#[source] reqwest::Error),
    /// Another status than was asked for.
    #[error("it answers {status}")]
    Status {
        status: u16,
        retry_after: Option<Duration>,
    },
    /// More than fits.
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
    /// Something else than was asked for.
    #[error("its answer is not believed: {0}")]
    Shape(#[from] InvalidAnswer),
    /// The pages of a list do not add up.
    #[error("its list changes while it is read")]
    Shifting,
}

impl Fault {
    /// How long the platform wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Broken(_) | Self::TooLarge(_) | Self::Shape(_) | Self::Shifting => None,
        }
    }
}

/// What the platform says of a key.
#[derive(Debug)]
pub(super) enum Validity {
    /// It is this one.
    Valid(Box<PlatformKey>),
    /// It is none that may be used.
    Invalid,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Platform {
    http: reqwest::Client,
    base: Url,
    credential: (&'static str, HeaderValue),
    list_time: Duration,
    validate_time: Duration,
}

impl Platform {
    pub(super) fn new(access: &Access, connections: usize) -> Result<Self, InvalidAccess> {
        let base = Url::parse(&access.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| InvalidAccess::Url(access.url.clone()))?;
        let client = match base.scheme() {
            "https" => http_client(),
            _ => http_client_without_tls(),
        };
        let http = client
            .connect_timeout(CONNECT_TIME)
            .pool_max_idle_per_host(connections)
            .build()
            .map_err(InvalidAccess::Client)?;
        Ok(Self {
            http,
            base,
            credential: credential(&access.token)?,
            list_time: access.list_time,
            validate_time: access.validate_time,
        })
    }

    /// All keys of a tenant.
    pub(super) async fn list(
        &self,
        tenant: &Tenant,
        pepper: Option<&Pepper>,
    ) -> Result<Vec<PlatformKey>, Fault> {
        match tenant {
            Tenant::Org(org) => self.list_org(org).await,
            Tenant::Workspace(workspace) => {
                let path = ["v2", "workspaces", workspace, "security", "apikeys"];
                let body = self.get(&path, &[]).await?;
                Ok(read_workspace_keys(&body, workspace, pepper)?)
            }
            Tenant::Access => Ok(Vec::new()),
        }
    }

    async fn list_org(&self, org: &str) -> Result<Vec<PlatformKey>, Fault> {
        let path = ["v2", "orgs", org, "api-keys"];
        let mut keys: Vec<PlatformKey> = Vec::new();
        let mut ids = std::collections::HashSet::new();
        for page in 1..=PAGES_MAX {
            // Oldest first, so that what is made meanwhile comes last. The first page is the one without a number,
            // whatever number the platform begins with.
            let mut query = vec![
                ("limit", PAGE_KEYS.to_string()),
                ("sort", "createdAt".to_owned()),
            ];
            if page > 1 {
                query.push(("page", page.to_string()));
            }
            let read = read_org_page(&self.get(&path, &query).await?, org)?;
            let (on_page, before) = (read.keys.len() as u64, keys.len());
            let new = read.keys.into_iter();
            keys.extend(new.filter(|key| ids.insert(key.record.id.clone())));
            let came = keys.len() - before;
            match read.total {
                Some(total) if keys.len() as u64 == total => return Ok(keys),
                Some(_) if came == 0 => return Err(Fault::Shifting),
                None if on_page < PAGE_KEYS || came == 0 => return Ok(keys),
                Some(_) | None => {}
            }
        }
        Err(Fault::Shifting)
    }

    /// Whose a key is. It goes as the header and as the body, of which platforms may read either.
    pub(super) async fn validate(&self, org: &str, key: &RawKey) -> Result<Validity, Fault> {
        let url = self.url(&["v2", "orgs", org, "api-keys", "validate"]);
        let mut value = HeaderValue::from_str(key.reveal()).map_err(|_| Fault::Shifting)?;
        value.set_sensitive(true);
        let request = self
            .http
            .post(url)
            .timeout(self.validate_time)
            .header(KEY_HEADER, value)
            .json(&serde_json::json!({ "apiKey": key.reveal() }));
        let response = send(request).await?;
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            let body = read(response, KEY_BYTES_MAX).await?;
            // A 401 in another form is somebody else's, who stands before the platform, and says nothing of the key.
            let is_ours =
                body.is_empty() || serde_json::from_slice::<serde_json::Map<_, _>>(&body).is_ok();
            return if is_ours {
                Ok(Validity::Invalid)
            } else {
                Err(refused(status, None))
            };
        }
        let body = read(successful(response)?, KEY_BYTES_MAX).await?;
        Ok(Validity::Valid(Box::new(read_org_key(&body, org)?)))
    }

    async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Vec<u8>, Fault> {
        let (name, value) = &self.credential;
        let request = self
            .http
            .get(self.url(path))
            .timeout(self.list_time)
            .header(*name, value)
            .query(query);
        let response = successful(send(request).await?)?;
        read(response, LIST_BYTES_MAX).await
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }
}

/// An organisation key has a header of its own; everything else is a bearer token.
fn credential(token: &str) -> Result<(&'static str, HeaderValue), InvalidAccess> {
    let is_key = KeyForm::of(token.as_bytes()) == Some(KeyForm::Key(Family::Org));
    let (name, value) = if is_key {
        (KEY_HEADER, HeaderValue::from_str(token))
    } else {
        let bearer = format!("Bearer {token}");
        ("authorization", HeaderValue::from_str(&bearer))
    };
    let mut value = value.map_err(|_| InvalidAccess::Token)?;
    value.set_sensitive(true);
    Ok((name, value))
}

async fn send(request: RequestBuilder) -> Result<Response, Fault> {
    request
        .send()
        .await
        .map_err(|error| Fault::Broken(error.without_url()))
}

fn successful(response: Response) -> Result<Response, Fault> {
    match response.status() {
        StatusCode::OK => Ok(response),
        status => Err(refused(status, retry_after(&response))),
    }
}

fn refused(status: StatusCode, retry_after: Option<Duration>) -> Fault {
    Fault::Status {
        status: status.as_u16(),
        retry_after,
    }
}

/// In seconds, also fractions of one, as this platform writes them.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Duration::try_from_secs_f64(value.trim().parse().ok()?).ok()
}

async fn read(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    let broken = |error: reqwest::Error| Fault::Broken(error.without_url());
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        if body.len() + piece.len() > bytes_max {
            return Err(Fault::TooLarge(bytes_max));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
