//! TLS of the listener: certificate, key and, where clients need one too, the authority that theirs are from.
//!
//! It reads files when it is told to, at the start and when they are read again; connections that are open keep what
//! they were opened with. It knows no requests.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// For a client and this server to agree about TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Files of one listener, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and after it those between it and a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
    /// Where clients need a certificate: of whom, one or more.
    pub client_ca: Option<PathBuf>,
}

/// Why a listener cannot have TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it is to be.
    #[error("the {what} {path} cannot be read: give a PEM file that this user may read", path = path.display())]
    Unreadable {
        /// What it was to be.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// A file holds nothing of what it is to hold.
    #[error("there is no certificate in {path}", path = .0.display())]
    Empty(PathBuf),
    /// Certificate and key do not go together, or cannot be used.
    #[error("the certificate {path} cannot be used with this key", path = path.display())]
    Unusable {
        /// Of the certificate.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The clients' authority is none.
    #[error("the clients' authority {path} cannot be used", path = path.display())]
    Authority {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What new connections are opened with.
pub(super) struct Tls {
    files: TlsFiles,
    present: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    pub(super) fn new(files: TlsFiles) -> Result<Self, TlsError> {
        let present = RwLock::new(Arc::new(read(&files)?));
        Ok(Self { files, present })
    }

    /// Reads the files again. What is wrong with them leaves the former in force.
    pub(super) fn read_again(&self) -> Result<(), TlsError> {
        let read = Arc::new(read(&self.files)?);
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&present).into()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.files).finish()
    }
}

/// Comes to an agreement with a client about TLS; `None` where there is none, or not in time.
pub(super) async fn agree<S>(acceptor: TlsAcceptor, stream: S) -> Option<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection to the control plane came to no agreement about TLS");
            None
        }
        Err(_) => {
            tracing::debug!("a connection to the control plane was silent about TLS");
            None
        }
    }
}

fn read(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let path = &files.certificate;
    let unusable = |source| TlsError::Unusable {
        path: path.clone(),
        source,
    };
    let certificates = certificates("certificate", path)?;
    let key = PrivateKeyDer::from_pem_file(&files.private_key)
        .map_err(|source| unreadable("private key", &files.private_key, source))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(roots(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            let refused = |error: VerifierBuilderError| authority(path, error);
            builder.with_client_cert_verifier(verifier.map_err(refused)?)
        }
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let read: Vec<_> = read.map_err(|source| unreadable(what, path, source))?;
    if read.is_empty() {
        return Err(TlsError::Empty(path.to_owned()));
    }
    Ok(read)
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("clients' authority", path)? {
        let added = roots.add(certificate);
        added.map_err(|error| authority(path, error))?;
    }
    Ok(roots)
}

fn unreadable(what: &'static str, path: &Path, source: pem::Error) -> TlsError {
    TlsError::Unreadable {
        what,
        path: path.to_owned(),
        source,
    }
}

fn authority(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> TlsError {
    TlsError::Authority {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn pair(directory: &Path) -> TlsFiles {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let files = TlsFiles {
            certificate: directory.join("cert.pem"),
            private_key: directory.join("key.pem"),
            client_ca: None,
        };
        std::fs::write(&files.certificate, cert.pem()).unwrap();
        std::fs::write(&files.private_key, signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_file_that_is_not_what_it_is_to_be_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let good = pair(directory.path());
        assert!(Tls::new(good.clone()).is_ok());
        let empty = directory.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        let other = pair(&{
            let below = directory.path().join("other");
            std::fs::create_dir(&below).unwrap();
            below
        });
        let absent = directory.path().join("absent.pem");
        let with = |change: &dyn Fn(&mut TlsFiles)| {
            let mut files = good.clone();
            change(&mut files);
            Tls::new(files).unwrap_err().to_string()
        };
        let said = [
            with(&|files| files.certificate = absent.clone()),
            with(&|files| files.certificate = empty.clone()),
            with(&|files| files.private_key = empty.clone()),
            with(&|files| files.private_key = files.certificate.clone()),
            with(&|files| files.private_key = other.private_key.clone()),
            with(&|files| files.client_ca = Some(empty.clone())),
        ];
        for (said, file) in said
            .iter()
            .zip(["absent", "empty", "empty", "cert", "cert", "empty"])
        {
            assert!(said.contains(&format!("{file}.pem")), "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let tls = Tls::new(pair(directory.path())).unwrap();
        let (_client, server) = tokio::io::duplex(1024);
        assert!(agree(tls.acceptor(), server).await.is_none());
    }

    #[test]
    fn files_that_became_bad_leave_the_former_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let files = pair(directory.path());
        let tls = Tls::new(files.clone()).unwrap();
        let before = tls.acceptor();
        std::fs::write(&files.private_key, "none").unwrap();
        assert!(tls.read_again().is_err());
        assert!(Arc::ptr_eq(before.config(), tls.acceptor().config()));
        pair(directory.path());
        tls.read_again().unwrap();
        assert!(!Arc::ptr_eq(before.config(), tls.acceptor().config()));
    }
}
