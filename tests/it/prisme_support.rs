//! A gateway that follows a platform, with a clock that only tests move and lists that are only read when told to.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use keyward::authz::{Pepper, Timestamp};
use keyward::replica::prisme::{Access, Config, OpenError, Prisme};
use keyward::replica::{self, Moment, MomentClock, Replica, Source, SourceStatus};
use keyward::wire::sync::OnStale;

use crate::support::client::Answer;
use crate::support::gateway::{NOW, Setup, TestGateway, request};
use crate::support::platform::{Platform, TOKEN};
use crate::support::upstream::Recorder;

/// A clock that stands still until it is moved.
#[derive(Clone, Default)]
pub struct Hands(Arc<AtomicI64>);

impl Hands {
    pub fn forward(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    fn millis(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_millis(NOW.as_millis() + self.millis())
    }

    /// A clock of a process that began when `since` was shown.
    fn clock(&self, since: i64) -> MomentClock {
        let hands = self.clone();
        Arc::new(move || Moment {
            steady: Duration::from_millis(u64::try_from(hands.millis() - since).unwrap()),
            time: hands.time(),
        })
    }
}

/// What is followed, and how.
pub fn config(url: String) -> Config {
    Config {
        access: Access {
            url,
            token: TOKEN.to_owned(),
            list_time: Duration::from_secs(30),
            validate_time: Duration::from_secs(30),
        },
        orgs: vec!["acme".to_owned(), "other".to_owned()],
        workspaces: Vec::new(),
        poll: Duration::from_secs(10),
        validate_cache: Duration::from_secs(60),
        state: None,
        max_staleness: Duration::from_secs(60),
        on_stale: OnStale::Serve,
        known_patience: Duration::from_millis(50),
        unknown_patience: Duration::from_secs(30),
    }
}

/// Opens a source on a copy of its own.
pub fn open(
    config: Config,
    pepper: Option<Pepper>,
    hands: &Hands,
) -> Result<(Arc<Replica>, Prisme), OpenError> {
    let of_replica = replica::Config {
        pepper,
        ..replica::Config::default()
    };
    let replica = Replica::new(of_replica.clone());
    let clock = hands.clock(hands.millis());
    let runtime = tokio::runtime::Handle::current();
    let prisme = Prisme::open(config, &of_replica, Arc::clone(&replica), clock, runtime)?;
    Ok((replica, prisme))
}

/// A gateway that follows.
pub struct Edge {
    pub gateway: TestGateway,
    pub prisme: Prisme,
    pub hands: Hands,
    replica: Arc<Replica>,
    _upstream: Recorder,
}

impl Edge {
    /// In front of `platform`, whose lists have been read once.
    pub async fn before(platform: &Platform) -> Self {
        let edge = Self::of(config(platform.url()), &Hands::default()).await;
        edge.prisme.poll().await;
        assert_eq!(edge.status().state, "current");
        edge
    }

    /// With what was kept, and nothing read yet.
    pub async fn of(config: Config, hands: &Hands) -> Self {
        let (replica, prisme) = open(config, None, hands).unwrap();
        let upstream = Recorder::start().await;
        let clock = hands.clone();
        let setup = Setup {
            followed: Some((Arc::clone(&replica), Arc::new(prisme.clone()))),
            clock: Arc::new(move || clock.time()),
            ..Setup::new(upstream.address)
        };
        Self {
            gateway: setup.start(),
            prisme,
            hands: hands.clone(),
            replica,
            _upstream: upstream,
        }
    }

    /// What a request with this key is answered.
    pub async fn show(&self, key: &str) -> Answer {
        let header = format!("x-prismeai-api-key: {key}");
        let target = match key.starts_with("iak_") {
            true => "GET /v1/agents/a1",
            false => "GET /any/thing",
        };
        self.gateway.ask(request(target, &[&header])).await
    }

    pub async fn lets_in(&self, key: &str) {
        let answer = self.show(key).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// The status with which a key is refused, and why.
    pub async fn refuses(&self, key: &str) -> (u16, String) {
        let answer = self.show(key).await;
        let retry_after = answer.headers("retry-after").len();
        assert_eq!(retry_after, usize::from(answer.status == 503), "{answer:?}");
        (answer.status, answer.reason())
    }

    pub fn revision(&self) -> u64 {
        self.replica.status().revision.0
    }

    pub fn status(&self) -> SourceStatus {
        self.prisme.status()
    }
}

/// A refusal as [`Edge::refuses`] has it.
pub fn refusal(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// Where something is kept over a restart.
pub fn state_in(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("kept/prisme.state")
}
