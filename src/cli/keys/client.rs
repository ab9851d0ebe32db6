//! Requests to a control plane, and what its refusals mean to the person at the terminal.
//!
//! Knows the frame of the API (paths, token, error bodies), not the meaning of its fields.

use std::io::Write;
use std::pin::pin;
use std::time::Duration;

use hyper::body::Bytes;
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use crate::app::AdminSecret;
use crate::cli::failure::{Failure, chain};
use crate::replica::http_client_without_tls;

/// How long a control plane may take to answer, or to take or give the next piece of what has any length.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A control plane and the token for it.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: AdminSecret,
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
    /// A client for the control plane at `base`.
    ///
    /// # Errors
    /// `base` is no URL that requests can be made to.
    pub fn new(base: &str, token: AdminSecret) -> Result<Self, Failure> {
        let base = Url::parse(base)
            .ok()
            .filter(|base| base.scheme() == "http" && base.has_host())
            .ok_or_else(|| {
                Failure::told(format!(
                    "`{base}` is no address of a control plane: give --control http://HOST:PORT"
                ))
            })?;
        let http = http_client_without_tls()
            .connect_timeout(TIMEOUT)
            .build()
            .map_err(|error| Failure::chain(&error))?;
        Ok(Self { http, base, token })
    }

    /// Makes a request and returns the body of the answer; `Null` where it has none.
    ///
    /// # Errors
    /// The control plane cannot be reached or refuses.
    pub async fn call(&self, call: Call<'_>) -> Result<Value, Failure> {
        let mut request = self
            .request(call.method, call.path)
            .query(&call.query)
            .timeout(TIMEOUT);
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let sent = request.send().await;
        self.read(sent.map_err(|error| self.unreachable(error))?)
            .await
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
            .request(Method::POST, path)
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
        let sent = tokio::time::timeout(TIMEOUT, self.request(Method::GET, path).send()).await;
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

    fn request(&self, method: Method, path: &[&str]) -> reqwest::RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.http
            .request(method, url)
            .bearer_auth(self.token.reveal())
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

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let why = chain(&error.without_url());
        Failure::told(format!(
            "the control plane at {} cannot be reached ({why}): start it, or name another with --control",
            self.base
        ))
    }
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
        StatusCode::NOT_FOUND => ": `keyward keys list` shows the keys that there are",
        StatusCode::CONFLICT if body.pointer("/details/field") == Some(&"slug".into()) => {
            ": choose another slug"
        }
        _ => "",
    };
    format!("refused ({}): {message}{hint}", status.as_u16())
}
