//! A real gateway on free ports, with three keys and a handful of routes.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderName, Method};
use keyward::authz::{
    CredentialRules, CredentialSource, FamilyRequirements, ForwardKey, KeyDigest, KeyId, KeyRecord,
    KeyStatus, MatchOptions, OrgRequirement, Owner, Policy, PresentedKey, RawGrants, Requirement,
    Revision, RoutePattern, RouteSpec, RouteTable, Rulebook, Template, Tenant, Timestamp,
    UserTokens,
};
use keyward::proxy::{
    Balance, BindError, Ceilings, Clock, Config, Endpoint, ErrorStyle, Gateway, IdentityConfig,
    Limits, ListenAddr, ListenerConfig, Rate, Retries, RouteSettings, Rules, Surroundings,
    Timeouts, UpstreamConfig,
};
use keyward::replica::{self, DenyList, Replica, Source, SourceStatus};
use keyward::telemetry::{AccessLog, Metrics};
use keyward::wire::{Change, ChangeSink, Epoch, KeySource, Secret, SecretDigest, SecretEntry};

use super::client::{Answer, Client};

/// A key that may read agents of `acme`, limited to agent `a1`.
pub const KEY: &str = "iak_acme_0b8f2c1e-5a4d-4c3b-9e2f-1a2b3c4d5e6f";
/// A key that is disabled.
pub const DISABLED: &str = "iak_acme_11111111-2222-4333-8444-555555555555";
/// Well-formed, and nobody's.
pub const UNKNOWN: &str = "iak_acme_99999999-2222-4333-8444-555555555555";
/// Moment that the gateway's clock shows.
pub const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// What a gateway is set up with.
pub struct Setup {
    pub upstreams: Vec<UpstreamConfig>,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub ceilings: Ceilings,
    pub rate: Option<Rate>,
    pub log_refusals_per_second: u64,
    pub credentials: CredentialRules,
    pub forward: ForwardKey,
    pub errors: ErrorStyle,
    pub identity: IdentityConfig,
    pub user_tokens: UserTokens,
    pub graceful_shutdown: Duration,
    pub keys: bool,
    pub listeners: Vec<ListenerConfig>,
    pub clock: Clock,
    pub denied: Option<Arc<DenyList>>,
    /// In place of keys of its own.
    pub followed: Option<(Arc<Replica>, Arc<dyn Source>)>,
}

/// An upstream of these endpoints without further ado.
pub fn upstream(addresses: &[SocketAddr]) -> UpstreamConfig {
    UpstreamConfig {
        name: "main".to_owned(),
        endpoints: addresses
            .iter()
            .map(|address| Endpoint::Tcp {
                host: address.ip().to_string(),
                port: address.port(),
            })
            .collect(),
        balance: Balance::RoundRobin,
        health: None,
        retries: Retries::default(),
    }
}

impl Setup {
    /// Everything by default, in front of one upstream.
    pub fn new(address: SocketAddr) -> Self {
        Self::of(upstream(&[address]))
    }

    pub fn of(upstream: UpstreamConfig) -> Self {
        Self {
            upstreams: vec![upstream],
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            ceilings: Ceilings::default(),
            rate: None,
            log_refusals_per_second: 100,
            credentials: CredentialRules::default(),
            forward: ForwardKey::Strip,
            errors: ErrorStyle::Prisme,
            identity: IdentityConfig::default(),
            user_tokens: UserTokens::Reject,
            graceful_shutdown: Duration::from_secs(30),
            keys: true,
            listeners: vec![ListenAddr::Tcp(([127, 0, 0, 1], 0).into()).into()],
            clock: Arc::new(|| NOW),
            denied: None,
            followed: None,
        }
    }

    pub fn source(mut self, source: CredentialSource) -> Self {
        self.credentials.sources.push(source);
        self
    }

    /// The usual keys, of another source.
    pub fn with_source(mut self, source: Arc<dyn Source>) -> Self {
        let replica = Replica::new(replica::Config::default());
        replica.load(&mut Keys).unwrap();
        self.followed = Some((replica, source));
        self
    }

    pub fn start(self) -> TestGateway {
        TestGateway::start(self)
    }

    pub fn rules(&self) -> Rules {
        let routes = [
            (
                "agents",
                "/v1/agents/{id}",
                agents(),
                &[Method::GET, Method::POST][..],
            ),
            (
                "open",
                "/open/{*rest}",
                Requirement::Anonymous,
                &[Method::GET, Method::HEAD, Method::POST, Method::PUT],
            ),
            (
                "named",
                "/named/{*rest}",
                Requirement::TrustedIdentity,
                &[Method::GET],
            ),
            (
                "shadow",
                "/shadow/{*rest}",
                Requirement::Authenticated,
                &[Method::GET],
            ),
            (
                "any",
                "/any/{*rest}",
                Requirement::Authenticated,
                &[Method::GET, Method::POST, Method::PUT, Method::HEAD],
            ),
        ];
        let specs = routes.iter().map(|(name, path, _, methods)| RouteSpec {
            name: (*name).to_owned(),
            hosts: Vec::new(),
            pattern: RoutePattern::parse(path).unwrap(),
            methods: methods.to_vec(),
            options: MatchOptions::default(),
        });
        let policies = routes.iter().map(|(name, _, requirement, _)| Policy {
            requirement: requirement.clone(),
            optional: false,
            user_tokens: self.user_tokens,
            shadow: *name == "shadow",
            forward: self.forward,
            encoded_slash: false,
            matrix: false,
        });
        let table = RouteTable::build(specs.collect()).unwrap();
        let settings = RouteSettings {
            upstream: 0,
            limits: self.limits.route.clone(),
            timeouts: self.timeouts.clone(),
            ceilings: self.ceilings.clone(),
            rate: self.rate,
        };
        Rules {
            rulebook: Rulebook::new(table, policies.collect(), self.credentials.clone()),
            routes: vec![settings; routes.len()],
            upstreams: self.upstreams.clone(),
            identity: self.identity.clone(),
            errors: self.errors,
            limits: self.limits.clone(),
            denied: self.denied.clone(),
            access_log: true,
            log_refusals_per_second: self.log_refusals_per_second,
        }
    }
}

fn agents() -> Requirement {
    let template = |text: &str| Template::parse(text, &["id"]).unwrap();
    Requirement::Families(FamilyRequirements {
        org: Some(OrgRequirement {
            org: None,
            permissions: vec![template("agents:read")],
            any_permission: Vec::new(),
            scopes: vec![template("agents:{id}")],
            empty_scopes_allow: false,
        }),
        workspace: None,
        access: None,
    })
}

struct Keys;

impl KeySource for Keys {
    fn epoch(&self) -> Epoch {
        Epoch(7)
    }

    fn revision(&self) -> Revision {
        Revision(3)
    }

    fn entries(&mut self) -> Box<dyn Iterator<Item = SecretEntry> + '_> {
        let keys = [
            (KEY, "key-1", KeyStatus::Active),
            (DISABLED, "key-2", KeyStatus::Disabled),
        ];
        Box::new(keys.into_iter().map(|(token, id, status)| SecretEntry {
            record: Arc::new(record(id, status)),
            secrets: vec![secret(token, None)],
        }))
    }
}

fn secret(token: &str, retired_at: Option<Timestamp>) -> Secret {
    Secret {
        digest: SecretDigest::Blake3(KeyDigest::of(token.as_bytes(), None)),
        retired_at,
    }
}

fn record(id: &str, status: KeyStatus) -> KeyRecord {
    KeyRecord {
        id: KeyId::new(id),
        tenant: Tenant::Org("acme".to_owned()),
        name: "test".to_owned(),
        owner: Some(Owner {
            kind: "user".to_owned(),
            id: "Zoë 1".to_owned(),
        }),
        status,
        expires_at: None,
        grants: RawGrants::Org {
            permissions: vec!["agents:*".to_owned()],
            scopes: vec!["agents:a1".to_owned()],
        },
        revision: Revision(1),
    }
}

struct Embedded;

impl Source for Embedded {
    fn status(&self) -> SourceStatus {
        SourceStatus {
            state: "embedded",
            staleness: Duration::ZERO,
            usable: true,
        }
    }
}

/// Lines of the access log.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A running gateway.
pub struct TestGateway {
    pub gateway: Gateway,
    pub address: SocketAddr,
    around: Around,
}

/// Collects what [`TestGateway`] keeps of its surroundings.
struct Around {
    replica: Arc<Replica>,
    revision: AtomicU64,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
    log: Log,
}

impl Setup {
    /// Binds without starting.
    pub fn bind(self) -> Result<Gateway, BindError> {
        self.bind_with().map(|(gateway, _)| gateway)
    }

    fn bind_with(self) -> Result<(Gateway, Around), BindError> {
        let setup = self;
        let rules = setup.rules();
        let (replica, source) = setup.followed.unwrap_or_else(|| {
            let replica = Replica::new(replica::Config::default());
            if setup.keys {
                replica.load(&mut Keys).unwrap();
            }
            (replica, Arc::new(Embedded))
        });
        let metrics = Arc::new(Metrics::new());
        let log = Log::default();
        let access_log = Arc::new(AccessLog::start(log.clone(), &metrics).unwrap());
        let config = Config {
            listeners: setup.listeners,
            ops: Some(([127, 0, 0, 1], 0).into()),
            threads: 2,
            graceful_shutdown: setup.graceful_shutdown,
            rules,
        };
        let surroundings = Surroundings {
            replica: Arc::clone(&replica),
            metrics: Arc::clone(&metrics),
            access_log: Some(Arc::clone(&access_log)),
            clock: setup.clock,
            source,
            reload: Arc::new(|| Box::pin(async { Err("not in this test".to_owned()) })),
            descriptors: None,
        };
        let around = Around {
            replica,
            revision: AtomicU64::new(3),
            metrics,
            access_log,
            log,
        };
        Gateway::bind(config, surroundings).map(|gateway| (gateway, around))
    }
}

impl TestGateway {
    pub fn start(setup: Setup) -> Self {
        let (mut gateway, around) = setup.bind_with().unwrap();
        gateway.start().unwrap();
        let address = gateway
            .addresses()
            .iter()
            .find_map(|address| match address {
                ListenAddr::Tcp(address) => Some(*address),
                ListenAddr::Unix(_) => None,
            })
            .expect("a TCP listener");
        Self {
            gateway,
            address,
            around,
        }
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }

    /// Makes the one key different, and returns when the change holds for all that is in flight.
    pub async fn change(&self, edit: impl FnOnce(&mut KeyRecord)) {
        let mut record = record("key-1", KeyStatus::Active);
        edit(&mut record);
        self.put(record, vec![secret(KEY, None)]).await;
    }

    /// Gives the one key another secret; the former one works until `retired_at`.
    pub async fn rotate(&self, from: &str, to: &str, retired_at: Timestamp) {
        let record = record("key-1", KeyStatus::Active);
        let secrets = vec![secret(to, None), secret(from, Some(retired_at))];
        self.put(record, secrets).await;
    }

    /// Has the one key as it is imported: by the SHA-256 of its secret.
    pub async fn import(&self) {
        let shown = PresentedKey::parse(KEY.as_bytes()).unwrap();
        let digest = SecretDigest::Sha256(shown.sha256());
        let retired_at = None;
        let secrets = vec![Secret { digest, retired_at }];
        self.put(record("key-1", KeyStatus::Active), secrets).await;
    }

    /// Takes the one key away and gives its secret to another.
    pub async fn hand_on(&self) {
        let mut record = record("key-9", KeyStatus::Active);
        record.revision = Revision(self.around.revision.load(Ordering::SeqCst) + 1);
        let entry = SecretEntry {
            record: Arc::new(record),
            secrets: vec![secret(KEY, None)],
        };
        self.apply(vec![entry], vec![KeyId::new("key-1")]).await;
    }

    /// Takes the one key away.
    pub async fn remove_key(&self) {
        self.apply(Vec::new(), vec![KeyId::new("key-1")]).await;
    }

    async fn put(&self, mut record: KeyRecord, secrets: Vec<Secret>) {
        record.revision = Revision(self.around.revision.load(Ordering::SeqCst) + 1);
        let entry = SecretEntry {
            record: Arc::new(record),
            secrets,
        };
        self.apply(vec![entry], Vec::new()).await;
    }

    async fn apply(&self, put: Vec<SecretEntry>, removed: Vec<KeyId>) {
        let revision = self.around.revision.fetch_add(1, Ordering::SeqCst) + 1;
        let change = Change {
            previous: Revision(revision - 1),
            revision: Revision(revision),
            put,
            removed,
        };
        self.around.replica.apply(&change);
        let ids = change.put.iter().map(|entry| &entry.record.id);
        let concerned = ids.chain(&change.removed).collect();
        self.gateway.reaper().end_dead_of(&concerned).await;
    }

    /// The lines of the access log, once there are so many. An exchange ends a little after its answer is read.
    pub async fn log(&self, count: usize) -> Vec<serde_json::Value> {
        loop {
            assert!(self.around.access_log.flush());
            let text = String::from_utf8(self.around.log.0.lock().unwrap().clone()).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            let lines: Vec<serde_json::Value> = lines.collect();
            if lines.len() >= count {
                return lines;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until a metric with its labels has this value.
    pub async fn counted(&self, line: &str, value: f64) {
        while self.metric(line) != value {
            tokio::task::yield_now().await;
        }
    }

    /// The value of a metric with its labels, as a scrape has it.
    fn metric(&self, line: &str) -> f64 {
        let text = self
            .around
            .metrics
            .render(&keyward::telemetry::KeyFigures::default());
        text.lines()
            .find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
            .unwrap_or(0.0)
    }
}

/// A request with `lines` of headers.
pub fn request(line: &str, lines: &[&str]) -> String {
    let mut text = format!("{line} HTTP/1.1\r\nHost: gw.test\r\n");
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text
}

/// The header that carries [`KEY`].
pub fn key() -> String {
    format!("x-prismeai-api-key: {KEY}")
}

/// A header name.
pub fn name(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}
