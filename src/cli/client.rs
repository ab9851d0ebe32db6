//! Requests to a control plane, and what its refusals mean to the person at the terminal.
//!
//! Knows the frame of the API (paths, token, error bodies), not the meaning of its fields.

use std::cell::{Cell, OnceCell};
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use hyper::body::Bytes;
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use crate::app::{AdminSecret, NoAdminToken, admin_token};
use crate::cli::acknowledged::Acknowledged;
use crate::cli::failure::{Failure, chain};
use crate::replica::{http_client, http_client_without_tls};

/// How long a control plane may take to answer, or to take or give the next piece of what has any length.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Which control plane, and how it is reached.
#[derive(Debug, Args)]
pub struct Place {
    /// Where the control plane is
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8081"
    )]
    pub control: String,
    /// The file that holds the admin token when KEYWARD_ADMIN_TOKEN is not set
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "keyward-data/admin-token"
    )]
    pub token_file: PathBuf,
    /// The authorities that its certificate may be of, PEM [default: those of the machine]
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The certificate to show it, where it asks for one, PEM
    #[arg(long, global = true, value_name = "FILE", requires = "client_key")]
    pub client_certificate: Option<PathBuf>,
    /// The private key of that certificate, PEM
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        requires = "client_certificate"
    )]
    pub client_key: Option<PathBuf>,
    /// Print the control plane's answer as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// A control plane and the token for it.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token_file: PathBuf,
    token: OnceCell<AdminSecret>,
    /// How long answers to changes wait for the gateways, in seconds; `None`: they do not.
    wait: Option<u32>,
    /// What the last answer to a change said about gateways.
    acknowledged: Cell<Option<Acknowledged>>,
}

/// One request.
#[derive(Debug)]
pub struct Call<'a> {
    /// Its method.
    pub method: Method,
    /// The segments of its path, as they are: they are encoded here.
    pub path: &'a [&'a str],
    /// Its query.
    pub query: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Option<Value>,
}

impl Client {
    /// A client for the control plane at a place, whose admin token is in the environment or in a file. It is read
    /// before the first request, so that what is typed wrongly is told first.
    ///
    /// # Errors
    /// The place is no URL that requests can be made to (which is not repeated: it may hold a password), or a file of
    /// certificates cannot be read.
    pub fn new(place: &Place) -> Result<Self, Failure> {
        let base = Url::parse(&place.control)
            .ok()
            .filter(|base| matches!(base.scheme(), "http" | "https") && base.has_host())
            .ok_or_else(|| {
                Failure::usage("--control is no address of a control plane: give http://HOST:PORT or https://HOST:PORT")
            })?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(Failure::usage(
                "--control names a user: give http://HOST:PORT, and the admin token in KEYWARD_ADMIN_TOKEN",
            ));
        }
        let http = if base.scheme() == "https" {
            with_tls(place)?
        } else {
            http_client_without_tls()
        };
        let http = http
            .connect_timeout(TIMEOUT)
            .build()
            .map_err(|error| Failure::chain(&error))?;
        Ok(Self {
            http,
            base,
            token_file: place.token_file.clone(),
            token: OnceCell::new(),
            wait: None,
            acknowledged: Cell::new(None),
        })
    }

    /// The same, whose changes are answered when every gateway has them, or after so many seconds.
    pub fn waiting(self, wait: Option<u32>) -> Self {
        Self { wait, ..self }
    }

    /// What the last answer to a change said about gateways.
    pub fn acknowledged(&self) -> Option<Acknowledged> {
        self.acknowledged.get()
    }

    /// Makes a request and returns the body of the answer; `Null` where it has none.
    ///
    /// # Errors
    /// The control plane cannot be reached or refuses.
    pub async fn call(&self, call: Call<'_>) -> Result<Value, Failure> {
        let wait = self.wait.filter(|_| call.method != Method::GET);
        let patience = Duration::from_secs(wait.unwrap_or_default().into());
        let mut request = self
            .request(call.method, call.path)?
            .query(&call.query)
            .timeout(TIMEOUT.saturating_add(patience));
        if let Some(seconds) = wait {
            request = request.header("prefer", format!("wait={seconds}"));
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let sent = request.send().await;
        let response = sent.map_err(|error| self.unreachable(error))?;
        if wait.is_some() {
            self.acknowledged
                .set(Acknowledged::read(response.headers()));
        }
        self.read(response).await
    }

    /// Sends a body of any length, for as long as the control plane goes on taking pieces of it; `taken` says how many
    /// bytes it has. Returns the body of the answer.
    ///
    /// # Errors
    /// The control plane cannot be reached, refuses, or takes nothing more.
    pub async fn upload<B>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        body: B,
        taken: impl Fn() -> u64,
    ) -> Result<Value, Failure>
    where
        B: hyper::body::Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let request = self
            .request(Method::POST, path)?
            .query(query)
            .body(reqwest::Body::wrap(body));
        let mut sent = pin!(request.send());
        let mut before = taken();
        let response = loop {
            if let Ok(response) = tokio::time::timeout(TIMEOUT, &mut sent).await {
                break response.map_err(|error| self.unreachable(error))?;
            }
            let now = taken();
            if now == before {
                return Err(self.silent());
            }
            before = now;
        };
        self.read(response).await
    }

    /// Writes the body of an answer to `out`, whatever its length.
    ///
    /// # Errors
    /// The control plane cannot be reached, refuses, or breaks off; or `out` cannot be written.
    pub async fn download(&self, path: &[&str], out: &mut dyn Write) -> Result<(), Failure> {
        let sent = tokio::time::timeout(TIMEOUT, self.request(Method::GET, path)?.send()).await;
        let mut response = sent
            .map_err(|_| self.silent())?
            .map_err(|error| self.unreachable(error))?;
        if !response.status().is_success() {
            return self.read(response).await.map(drop);
        }
        loop {
            let piece = tokio::time::timeout(TIMEOUT, response.chunk()).await;
            let piece = piece.map_err(|_| self.silent())?;
            match piece.map_err(|error| self.unreachable(error))? {
                Some(piece) => out.write_all(&piece)?,
                None => return Ok(()),
            }
        }
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<reqwest::RequestBuilder, Failure> {
        let url = self.url(path)?;
        Ok(self
            .http
            .request(method, url)
            .bearer_auth(self.token()?.reveal()))
    }

    async fn read(&self, response: reqwest::Response) -> Result<Value, Failure> {
        let status = response.status();
        let text = tokio::time::timeout(TIMEOUT, response.text())
            .await
            .map_err(|_| self.silent())?
            .map_err(|error| self.unreachable(error))?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            Ok(body)
        } else {
            Err(Failure::told(refusal(status, &body)))
        }
    }

    fn silent(&self) -> Failure {
        Failure::told(format!(
            "the control plane at {} has been silent for {} s: see whether it is well, and try again",
            self.base,
            TIMEOUT.as_secs()
        ))
    }

    /// The URL of a path. A segment that a URL does not keep as it is would name something else.
    fn url(&self, path: &[&str]) -> Result<Url, Failure> {
        let is_lost = |segment: &&str| {
            matches!(*segment, "" | "." | "..") || segment.contains(char::is_control)
        };
        if path.iter().any(is_lost) {
            return Err(Failure::usage(
                "no key, organisation or workspace has an empty name, `.`, `..`, or a line end in it",
            ));
        }
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        Ok(url)
    }

    fn token(&self) -> Result<&AdminSecret, Failure> {
        if let Some(token) = self.token.get() {
            return Ok(token);
        }
        let token = token(&self.token_file)?;
        Ok(self.token.get_or_init(|| token))
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let why = chain(&error.without_url());
        Failure::told(format!(
            "the control plane at {} cannot be reached ({why}): start it, or name another with --control",
            self.base
        ))
    }
}

/// A client in the making that trusts, and shows, what it is to.
fn with_tls(place: &Place) -> Result<reqwest::ClientBuilder, Failure> {
    let mut http = http_client().https_only(true);
    if let Some(ca) = &place.ca {
        let bundle = reqwest::Certificate::from_pem_bundle(&read_file(ca)?);
        let bundle = bundle.map_err(|error| no_certificate(ca, &error))?;
        if bundle.is_empty() {
            return Err(no_certificate(ca, &"there is none in it"));
        }
        http = http.tls_certs_only(bundle);
    }
    if let (Some(certificate), Some(key)) = (&place.client_certificate, &place.client_key) {
        let both = [read_file(certificate)?, read_file(key)?].join(&b'\n');
        let identity = reqwest::Identity::from_pem(&both);
        http = http.identity(identity.map_err(|error| no_certificate(certificate, &error))?);
    }
    Ok(http)
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::told(format!("{} cannot be read: {error}", path.display())))
}

fn no_certificate(path: &Path, why: &dyn Display) -> Failure {
    Failure::told(format!(
        "the certificate in {} cannot be used: {why}",
        path.display()
    ))
}

fn token(file: &Path) -> Result<AdminSecret, Failure> {
    let given = std::env::var(admin_token::VARIABLE).ok();
    let secret = match given
        .as_deref()
        .and_then(|given| given.split_ascii_whitespace().next())
    {
        Some(given) => AdminSecret::new(given).map_err(NoAdminToken::Given),
        None => admin_token::read_file(file),
    };
    secret.map_err(|error| {
        let line = chain(&error);
        Failure::told(format!(
            "{line}: set {}, or name the file with --token-file",
            admin_token::VARIABLE
        ))
    })
}

/// What a refusal means here: the control plane's message, and what to do about it.
fn refusal(status: StatusCode, body: &Value) -> String {
    let message = body
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given"));
    let hint = match status {
        StatusCode::UNAUTHORIZED => {
            ": set KEYWARD_ADMIN_TOKEN or --token-file to the token of this control plane"
        }
        StatusCode::NOT_FOUND if message.contains("API key") => {
            ": `keyward keys list` shows the keys that there are"
        }
        StatusCode::CONFLICT if body.pointer("/details/field") == Some(&"slug".into()) => {
            ": choose another slug"
        }
        _ => "",
    };
    format!("refused ({}): {message}{hint}", status.as_u16())
}
