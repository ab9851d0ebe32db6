//! A gateway shows its certificate to a control plane that asks for one, and nothing to one that it does not know.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyward::replica::Replica;
use keyward::replica::remote::Remote;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair, SanType};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::remote_support::{Hands, config, follow};

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.join(format!("{name}-ca.pem"));
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// A certificate for 127.0.0.1 and its key, in files.
    fn issue(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        let address = "127.0.0.1".parse().unwrap();
        params.subject_alt_names.push(SanType::IpAddress(address));
        let key = KeyPair::generate().unwrap();
        let issuer: &Issuer<'_, KeyPair> = &self.issuer;
        let certificate = params.signed_by(&key, issuer).unwrap();
        let files = (
            folder.join(format!("{name}.pem")),
            folder.join(format!("{name}.key")),
        );
        std::fs::write(&files.0, certificate.pem()).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }

    /// One that serves with a certificate of this authority, for those who have one of it too.
    fn acceptor(&self, (certificate, key): &(PathBuf, PathBuf)) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(&self.file).unwrap())
            .unwrap();
        let provider = Arc::new(default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![CertificateDer::from_pem_file(certificate).unwrap()],
                PrivateKeyDer::from_pem_file(key).unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_know_each_other_or_nothing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (ours, theirs) = (
        Authority::new(folder, "ours"),
        Authority::new(folder, "theirs"),
    );
    let acceptor = ours.acceptor(&ours.issue(folder, "control"));
    let shown = ours.issue(folder, "gateway");
    for (ca, client, is_served) in [
        (&ours, Some(shown.clone()), true),
        (&ours, None, false),
        (&ours, Some(theirs.issue(folder, "stranger")), false),
        (&theirs, Some(shown), false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let mut settings = config(vec![url]);
        settings.access.ca = Some(ca.file.clone());
        settings.access.client = client;
        let _following = follow(settings, &Hands::default());
        let (stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 21];
        let read = match acceptor.accept(stream).await {
            Ok(mut stream) => stream.read_exact(&mut head).await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(read, is_served);
        assert_eq!(head.starts_with(b"GET /sync/v1/snapshot"), is_served);
    }
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (certificate, key) = Authority::new(folder, "ours").issue(folder, "gateway");
    let (missing, empty) = (folder.join("missing"), folder.join("empty"));
    std::fs::write(&empty, "").unwrap();
    let refusal = |ca: Option<&PathBuf>, client: Option<(&PathBuf, &PathBuf)>| {
        let mut settings = config(vec!["https://127.0.0.1:1".to_owned()]);
        settings.access.ca = ca.cloned();
        settings.access.client = client.map(|(one, other)| (one.clone(), other.clone()));
        let replica = Replica::new(keyward::replica::Config::default());
        let opened = Remote::open(settings, replica, Hands::default().clock());
        opened.err().map(|error| error.to_string())
    };
    assert_eq!(refusal(None, Some((&certificate, &key))), None);
    for (ca, client, named) in [
        (Some(&missing), None, "missing"),
        (Some(&empty), None, "empty"),
        (None, Some((&missing, &key)), "missing"),
        (None, Some((&certificate, &missing)), "missing"),
        (None, Some((&certificate, &empty)), "gateway.pem"),
    ] {
        let told = refusal(ca, client).unwrap_or_default();
        assert!(told.contains(named), "{told} {named}");
    }
}
