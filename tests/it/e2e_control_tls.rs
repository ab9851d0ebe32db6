//! TLS of a control plane's listener, from the command line to a client that knows the authority.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;

use crate::e2e_control::Alone;
use crate::e2e_support::{Ended, finish, keyward, signal};

const ADMIN: &str = "admin-token-of-the-tests-0123456789";

/// An authority, and a folder for what it makes.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    name: &'static str,
}

impl Authority {
    fn new(folder: &Path, name: &'static str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            issuer,
            folder: folder.to_owned(),
            name,
        };
        std::fs::write(authority.file("ca.pem"), authority.issuer.pem()).unwrap();
        authority
    }

    fn file(&self, name: &str) -> String {
        let path = self.folder.join(format!("{}-{name}", self.name));
        path.display().to_string()
    }

    /// A certificate for 127.0.0.1 and its key, in files.
    fn issue(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let address = "127.0.0.1".parse().unwrap();
        params.subject_alt_names.push(SanType::IpAddress(address));
        let key = KeyPair::generate().unwrap();
        let issuer: &Issuer<'_, KeyPair> = &self.issuer;
        let certificate = params.signed_by(&key, issuer).unwrap();
        let files = (
            self.file(&format!("{name}.pem")),
            self.file(&format!("{name}.key")),
        );
        std::fs::write(&files.0, certificate.pem()).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn list(alone: &Alone, scheme: &str, more: &[&str]) -> Ended {
    let place = format!("{scheme}://{}", alone.address);
    let mut command = keyward();
    command
        .args(["keys", "list", "--org", "acme", "--control", &place])
        .args(more)
        .env("KEYWARD_ADMIN_TOKEN", ADMIN);
    finish(&mut command, "")
}

#[test]
fn a_client_that_knows_the_authority_is_served_and_others_see_through_it() {
    let folder = folder();
    let ours = Authority::new(folder.path(), "ours");
    let theirs = Authority::new(folder.path(), "theirs");
    let (certificate, key) = ours.issue("control");
    let tls = ["--tls-certificate", &certificate, "--tls-key", &key];
    // Beyond loopback, where clear text would need a flag.
    let mut alone = Alone::start(
        folder.path(),
        &[&tls[..], &["--listen", "0.0.0.0:0"]].concat(),
    );
    alone.address = alone.address.replace("0.0.0.0", "127.0.0.1");

    let served = list(&alone, "https", &["--ca", &ours.file("ca.pem")]);
    assert_eq!(served.code, Some(0), "{}", served.stderr);
    let doubtful = list(&alone, "https", &["--ca", &theirs.file("ca.pem")]);
    assert_eq!(doubtful.code, Some(1), "{}", doubtful.stdout);
    let in_clear = list(&alone, "http", &[]);
    assert_eq!(in_clear.code, Some(1), "{}", in_clear.stdout);
}

#[test]
fn with_an_authority_of_clients_nobody_is_served_without_a_certificate_of_it() {
    let folder = folder();
    let ours = Authority::new(folder.path(), "ours");
    let theirs = Authority::new(folder.path(), "theirs");
    let (certificate, key) = ours.issue("control");
    let ca = ours.file("ca.pem");
    let tls = [
        "--tls-certificate",
        &certificate,
        "--tls-key",
        &key,
        "--client-ca",
        &ca,
    ];
    let alone = Alone::start(folder.path(), &tls);

    let shows = |(certificate, key): (String, String)| {
        let shown = ["--client-certificate", &certificate, "--client-key", &key];
        list(&alone, "https", &[&["--ca", &ca], &shown[..]].concat())
    };
    let served = shows(ours.issue("client"));
    assert_eq!(served.code, Some(0), "{}", served.stderr);
    assert_eq!(shows(theirs.issue("client")).code, Some(1));
    assert_eq!(list(&alone, "https", &["--ca", &ca]).code, Some(1));
}

#[test]
fn certificates_are_read_again_and_bad_ones_are_not_taken() {
    let folder = folder();
    let old = Authority::new(folder.path(), "old");
    let new = Authority::new(folder.path(), "new");
    let (certificate, key) = old.issue("control");
    let tls = ["--tls-certificate", &certificate, "--tls-key", &key];
    let mut alone = Alone::start(folder.path(), &tls);
    let is_served = |alone: &Alone, by: &Authority| {
        list(alone, "https", &["--ca", &by.file("ca.pem")]).code == Some(0)
    };

    std::fs::write(&certificate, "none").unwrap();
    signal(alone.id(), "HUP");
    alone.event("not reloaded");
    assert!(is_served(&alone, &old));

    let (next, next_key) = new.issue("control");
    std::fs::copy(next, &certificate).unwrap();
    std::fs::copy(next_key, &key).unwrap();
    signal(alone.id(), "HUP");
    alone.event("reloaded");
    assert!(is_served(&alone, &new));
    assert!(!is_served(&alone, &old));
}

#[test]
fn files_that_cannot_be_used_are_one_line() {
    let folder = folder();
    let absent = folder.path().join("absent.pem").display().to_string();
    let mut command = crate::e2e_control::command(
        folder.path(),
        &["--tls-certificate", &absent, "--tls-key", &absent],
    );
    let ended = finish(command.env("KEYWARD_ADMIN_TOKEN", ADMIN), "");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("absent.pem"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

/// The control plane beside a gateway speaks TLS by the same settings, and a reload of the gateway reads it again.
#[test]
fn the_embedded_control_plane_has_it_from_the_configuration() {
    let folder = folder();
    let old = Authority::new(folder.path(), "old");
    let (certificate, key) = old.issue("control");
    let config = format!(
        "listen: [ {{ address: 127.0.0.1:0 }} ]
ops: {{ listen: 127.0.0.1:0 }}
server: {{ threads: 1 }}
keys: {{ embedded: {{ listen: 127.0.0.1:0, database: 'sqlite://{}/k.db', tls: {{ certificate: '{certificate}', private_key: '{key}' }} }} }}
upstreams: {{ nobody: {{ endpoints: [ 127.0.0.1:1 ] }} }}
routes: [ {{ name: r, path: /r, require: anonymous, upstream: nobody }} ]
",
        folder.path().display()
    );
    let file = folder.path().join("keyward.yaml");
    std::fs::write(&file, config).unwrap();
    let mut command = keyward();
    command.args(["run", "--config"]).arg(&file);
    let mut run = Alone::spawn(command.env("KEYWARD_ADMIN_TOKEN", ADMIN));
    let served = list(&run, "https", &["--ca", &old.file("ca.pem")]);
    assert_eq!(served.code, Some(0), "{}", served.stderr);

    let new = Authority::new(folder.path(), "new");
    let (next, next_key) = new.issue("control");
    std::fs::copy(next, &certificate).unwrap();
    std::fs::copy(next_key, &key).unwrap();
    signal(run.id(), "HUP");
    run.event("reloaded");
    let served = list(&run, "https", &["--ca", &new.file("ca.pem")]);
    assert_eq!(served.code, Some(0), "{}", served.stderr);
}
