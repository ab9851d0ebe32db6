//! `keyward run` in front of a platform: what the documentation promises of it, by the binary itself.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::e2e_support::{Collected, finish, keyward, send, signal};
use crate::support::platform::{Fault, Platform, TOKEN};

/// How long anything may take before a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running gateway, killed when the test ends however it ends.
struct Served {
    child: Child,
    stdout: Option<Collected>,
    stderr: Option<Collected>,
    ready: Value,
}

/// Writes a configuration that follows the platform at `url`, and gives its file.
fn configuration(directory: &Path, url: &str) -> PathBuf {
    let state = directory.join("prisme.state");
    let text = format!(
        "listen: [ {{ address: 127.0.0.1:0 }} ]
ops: {{ listen: 127.0.0.1:0 }}
server: {{ threads: 1 }}
keys:
  prisme:
    url: {url}
    token: ${{PRISME_TOKEN}}
    orgs: [ acme ]
    poll: 50ms
    state: {}
upstreams: {{ nobody: {{ endpoints: [ 127.0.0.1:1 ] }} }}
routes: [ {{ name: agents, path: '/v1/agents/{{id}}', require: {{ permissions: [ agents:read ] }}, upstream: nobody }} ]
",
        state.display()
    );
    let file = directory.join("keyward.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

impl Served {
    fn start(file: &Path, environment: &[(&str, &str)]) -> Self {
        let mut child = keyward()
            .args(["run", "--config"])
            .arg(file)
            .env("PRISME_TOKEN", TOKEN)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Collected::from(child.stdout.take().unwrap());
        let stderr = Collected::from(child.stderr.take().unwrap());
        let ready = stderr.event(&mut child, |message| message == "ready");
        Self {
            child,
            stdout: Some(stdout),
            stderr: Some(stderr),
            ready,
        }
    }

    fn base(&self, which: &str) -> String {
        format!("http://{}", self.ready[which].as_str().unwrap())
    }

    /// Why a key does not get an answer: nobody is behind the gateway, so what is let in is told that.
    fn reason(&self, key: &str) -> String {
        let headers = [("x-prismeai-api-key", key)];
        send(&self.base("gateway"), "GET", "/v1/agents/a1", &headers, "")
            .reason()
            .unwrap()
    }

    /// Waits until something is so; fails, with all that was said, instead of waiting for ever.
    fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_so() {
            let said = || self.stderr.as_ref().unwrap().so_far();
            assert!(began.elapsed() < PATIENCE, "not {what}: {}", said());
            std::thread::yield_now();
        }
    }

    fn wait_for(&self, key: &str, reason: &str) {
        self.until(reason, || self.reason(key) == reason);
    }

    fn state(&self) -> String {
        let status = send(&self.base("ops"), "GET", "/status", &[], "").json();
        status["source"].as_str().unwrap().to_owned()
    }

    fn wait_until_ready(&self) {
        let ready = || send(&self.base("ops"), "GET", "/readyz", &[], "").status;
        self.until("ready", || ready() == 200);
    }

    /// Ends it. Everything that it wrote.
    fn stop(mut self) -> String {
        signal(self.child.id(), "TERM");
        assert!(self.child.wait().unwrap().success());
        let outputs = [self.stdout.take(), self.stderr.take()];
        outputs
            .into_iter()
            .flatten()
            .map(Collected::whole)
            .collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_gateway_follows_a_platform_and_outlives_it() {
    const LET_IN: &str = "upstream_unreachable";
    let (platform, directory) = (Platform::start().await, TempDir::new().unwrap());
    let key = platform.make("acme", "a");
    let file = configuration(directory.path(), &platform.url());

    let served = Served::start(&file, &[]);
    served.wait_until_ready();
    assert_eq!(served.reason(&key), LET_IN);
    platform.patch("a", json!({"disabled": true}));
    served.wait_for(&key, "disabled_key");
    platform.patch("a", json!({"disabled": false}));
    served.wait_for(&key, LET_IN);
    let unknown = key.replace("-4000-", "-4001-");
    assert_eq!(served.reason(&unknown), "unknown_key");
    let mut written = served.stop();

    platform.fail_all(Fault::Down);
    let served = Served::start(&file, &[]);
    assert_eq!(served.reason(&key), LET_IN);
    assert_eq!(served.reason(&unknown), "keys_unavailable");
    served.until("retrying", || served.state() == "retrying");
    written += &served.stop();
    written += &std::fs::read_to_string(directory.path().join("prisme.state")).unwrap();
    for secret in [&key, &unknown] {
        let secret = secret.rsplit('_').next().unwrap();
        assert!(!written.contains(secret), "a key is written: {written}");
    }
    assert!(!written.contains(TOKEN), "the token is written: {written}");

    let explained = |args: &[&str]| {
        let mut command = keyward();
        command
            .env("PRISME_TOKEN", TOKEN)
            .args(["explain", "--json", "--config"]);
        let ended = finish(command.arg(&file).args(args), "");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        serde_json::from_str::<Value>(&ended.stdout).unwrap()
    };
    let by_id = explained(&["--key-id", "role-acme-a", "GET", "/v1/agents/a1"]);
    assert_eq!(by_id["decision"], "allow", "{by_id}");
    let by_key = explained(&["--key", &key, "GET", "/v1/agents/a1"]);
    assert_eq!(by_key["decision"], "allow", "{by_key}");
    let not_asked = explained(&["--key", &unknown, "GET", "/v1/agents/a1"]);
    assert_eq!(not_asked["reason"], "keys_unavailable", "{not_asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_platform_behind_tls_is_followed_if_its_certificate_is_trusted() {
    let (platform, directory) = (Platform::start().await, TempDir::new().unwrap());
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, certified.cert.pem()).unwrap();
    let tls = encrypted(
        platform.address,
        certified.cert.der().clone(),
        PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into()),
    );
    let port = tls.await;
    let file = configuration(directory.path(), &format!("https://localhost:{port}"));

    let served = Served::start(&file, &[("SSL_CERT_FILE", roots.to_str().unwrap())]);
    served.wait_until_ready();
    assert_eq!(served.state(), "current");
    served.stop();
    let asked = platform.seen().lists;
    assert!(asked > 0);

    // The same platform, of which this machine knows no root.
    let other = rcgen::generate_simple_self_signed(["elsewhere".to_owned()]).unwrap();
    std::fs::write(&roots, other.cert.pem()).unwrap();
    std::fs::remove_file(directory.path().join("prisme.state")).unwrap();
    let served = Served::start(&file, &[("SSL_CERT_FILE", roots.to_str().unwrap())]);
    let said = || served.stderr.as_ref().unwrap().so_far();
    served.until("refused", || said().contains("cannot be read"));
    assert_eq!(served.state(), "starting");
    assert_eq!(platform.seen().lists, asked, "nothing was sent");
}

/// A port at which `to` is reached through TLS.
async fn encrypted(
    to: std::net::SocketAddr,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> u16 {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not trust the certificate leaves here.
                if let Ok(mut inside) = acceptor.accept(stream).await {
                    let mut outside = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                }
            });
        }
    });
    port
}
