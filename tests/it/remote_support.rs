//! A gateway that follows control planes which a test plays itself, request by request and byte by byte.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use keyward::authz::{
    KeyDigest, KeyId, KeyRecord, KeyStatus, RawGrants, Revision, Tenant, Timestamp,
};
use keyward::replica::remote::{Access, Config, Remote};
use keyward::replica::{self, Moment, MomentClock, Replica};
use keyward::wire::sync::{self, Ack, FrameWriter, Message, OnStale, UsageReport, encode_change};
use keyward::wire::{Change, Epoch, Secret, SecretDigest, SecretEntry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::support::upstream::receive;

/// What the gateway shows.
pub const TOKEN: &str = "the-token-of-a-gateway-of-the-tests";
/// From this age on the copy of the gateway is stale.
pub const MAX_STALENESS: Duration = Duration::from_secs(60);
/// The history that scripts tell.
pub const EPOCH: Epoch = Epoch(0xe1);

/// A clock that goes with real time, and further when it is moved.
#[derive(Clone)]
pub struct Hands {
    began: Instant,
    ahead: Arc<AtomicI64>,
}

impl Default for Hands {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            ahead: Arc::default(),
        }
    }
}

impl Hands {
    pub fn forward(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.ahead.fetch_add(millis, Ordering::SeqCst);
    }

    pub fn clock(&self) -> MomentClock {
        let hands = self.clone();
        Arc::new(move || {
            let ahead = u64::try_from(hands.ahead.load(Ordering::SeqCst)).unwrap();
            let steady = hands.began.elapsed() + Duration::from_millis(ahead);
            let millis = i64::try_from(steady.as_millis()).unwrap();
            Moment {
                steady,
                time: Timestamp::from_millis(1_800_000_000_000 + millis),
            }
        })
    }
}

/// A control plane that does what a test says.
pub struct Control {
    pub url: String,
    asked: mpsc::UnboundedReceiver<Asked>,
    acks: mpsc::UnboundedReceiver<Ack>,
    usage: mpsc::UnboundedReceiver<(UsageReport, TcpStream)>,
    serving: tokio::task::JoinHandle<()>,
    waiting: VecDeque<Asked>,
}

/// A request for a stream, which is not answered yet.
pub struct Asked {
    pub target: String,
    stream: TcpStream,
}

/// A stream that a test writes.
pub struct Stream {
    stream: TcpStream,
    writer: FrameWriter,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Control {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked_to, asked) = mpsc::unbounded_channel();
        let (acks_to, acks) = mpsc::unbounded_channel();
        let (usage_to, usage) = mpsc::unbounded_channel();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (asked_to, acks_to, usage_to) =
                    (asked_to.clone(), acks_to.clone(), usage_to.clone());
                tokio::spawn(async move {
                    let mut buffer = Vec::new();
                    while let Some(received) = receive(&mut stream, &mut buffer).await {
                        let shown = format!("Bearer {TOKEN}");
                        assert_eq!(received.headers("authorization"), [shown]);
                        let target = received.request_line().split(' ').nth(1).unwrap();
                        let target = target.to_owned();
                        assert!(target.contains("gateway="), "{target}");
                        if target.starts_with("/sync/v1/ack?") {
                            acks_to
                                .send(serde_json::from_slice(&received.body).unwrap())
                                .ok();
                            stream
                                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                                .await
                                .ok();
                        } else if target.starts_with("/sync/v1/usage?") {
                            let report = serde_json::from_slice(&received.body).unwrap();
                            usage_to.send((report, stream)).ok();
                            return;
                        } else {
                            asked_to.send(Asked { target, stream }).ok();
                            return;
                        }
                    }
                });
            }
        });
        Self {
            url,
            asked,
            acks,
            usage,
            serving,
            waiting: VecDeque::new(),
        }
    }

    /// The next request for a stream.
    pub async fn asked(&mut self) -> Asked {
        if let Some(asked) = self.waiting.pop_front() {
            return asked;
        }
        self.asked.recv().await.expect("the gateway asks")
    }

    /// The next request, which is for the changes after this revision.
    pub async fn asked_after(&mut self, revision: u64) -> Asked {
        let asked = self.asked().await;
        let expected = format!("&after={revision}");
        assert!(
            asked.target.starts_with("/sync/v1/changes?"),
            "{}",
            asked.target
        );
        assert!(
            asked.target.ends_with(&expected),
            "{} {expected}",
            asked.target
        );
        asked
    }

    /// The next request, which is for a snapshot.
    pub async fn asked_for_snapshot(&mut self) -> Asked {
        let asked = self.asked().await;
        assert!(
            asked.target.starts_with("/sync/v1/snapshot?"),
            "{}",
            asked.target
        );
        asked
    }

    /// The next acknowledgement of this revision.
    pub async fn acknowledged(&mut self, revision: u64) -> Ack {
        loop {
            let ack = self.acks.recv().await.expect("the gateway acknowledges");
            if ack.position().unwrap().revision.0 >= revision {
                return ack;
            }
        }
    }

    /// The next report of uses.
    pub async fn used(&mut self) -> (UsageReport, TcpStream) {
        self.usage.recv().await.expect("the gateway reports")
    }

    /// Answers with these keys when it is asked for a snapshot.
    pub async fn give(&mut self, epoch: Epoch, revision: u64, entries: Vec<SecretEntry>) {
        let asked = self.asked_for_snapshot().await;
        let mut stream = asked.open().await;
        stream.snapshot(epoch, revision, entries).await;
    }
}

impl Asked {
    /// Answers with a stream, which ends with the connection.
    pub async fn open(mut self) -> Stream {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {}\r\nconnection: close\r\n\r\n",
            sync::CONTENT_TYPE
        );
        self.stream.write_all(head.as_bytes()).await.unwrap();
        Stream {
            stream: self.stream,
            writer: FrameWriter::new(None),
        }
    }

    /// Answers with this status.
    pub async fn refuse(mut self, status: u16) {
        let head =
            format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        self.stream.write_all(head.as_bytes()).await.unwrap();
    }
}

impl Stream {
    /// The bytes of these payloads, as they come next.
    pub fn frames(&mut self, payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for payload in payloads {
            self.writer.frame(payload, &mut bytes).unwrap();
        }
        bytes
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        // The gateway may have hung up, which it says by what it asks next.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Returns when the gateway has hung up.
    pub async fn hung_up(&mut self) {
        let mut byte = [0];
        while matches!(self.stream.read(&mut byte).await, Ok(1)) {}
    }

    pub async fn say(&mut self, message: &Message) {
        let bytes = self.frames(&[message.encode()]);
        self.write(&bytes).await;
    }

    pub async fn change(&mut self, change: &Change) {
        let bytes = self.frames(&encode_change(change));
        self.write(&bytes).await;
    }

    pub async fn heartbeat(&mut self, revision: u64, echo: u64) {
        let (revision, age) = (Revision(revision), Duration::ZERO);
        self.say(&Message::Heartbeat {
            revision,
            age,
            echo,
        })
        .await;
    }

    pub async fn snapshot(&mut self, epoch: Epoch, revision: u64, entries: Vec<SecretEntry>) {
        let (revision, keys) = (Revision(revision), entries.len() as u64);
        self.say(&Message::Begin {
            epoch,
            revision,
            keys,
        })
        .await;
        self.say(&Message::Put(entries)).await;
        self.say(&Message::End { keys }).await;
    }
}

/// A gateway's copy that follows.
pub struct Following {
    pub replica: Arc<Replica>,
    pub remote: Remote,
}

/// Settings for a gateway that follows these.
pub fn config(urls: Vec<String>) -> Config {
    Config {
        access: Access {
            urls,
            tokens: vec![TOKEN.to_owned()],
            ca: None,
            client: None,
        },
        name: "edge".to_owned(),
        state: None,
        max_staleness: MAX_STALENESS,
        on_stale: OnStale::Serve,
    }
}

/// Begins to follow.
pub fn follow(config: Config, hands: &Hands) -> Following {
    let replica = Replica::new(replica::Config::default());
    let remote = Remote::open(config, Arc::clone(&replica), hands.clock()).unwrap();
    let sink = Arc::clone(&replica);
    remote.follow(sink, &tokio::runtime::Handle::current());
    Following { replica, remote }
}

impl Following {
    pub fn revision(&self) -> Option<u64> {
        self.replica.pin().map(|snapshot| snapshot.revision().0)
    }

    pub fn status_of(&self, number: u32) -> Option<KeyStatus> {
        let record = self.replica.pin()?.record(&id(number))?.into_owned();
        Some(record.status)
    }
}

pub fn id(number: u32) -> KeyId {
    KeyId::new(format!("k{number}"))
}

/// A key.
pub fn entry(number: u32, status: KeyStatus) -> SecretEntry {
    SecretEntry {
        record: Arc::new(KeyRecord {
            id: id(number),
            tenant: Tenant::Org("acme".to_owned()),
            name: String::new(),
            owner: None,
            status,
            expires_at: None,
            grants: RawGrants::Org {
                permissions: vec!["agents:read".to_owned()],
                scopes: Vec::new(),
            },
            revision: Revision(1),
        }),
        secrets: vec![Secret {
            digest: SecretDigest::Blake3(KeyDigest::of(&number.to_le_bytes(), None)),
            retired_at: None,
        }],
    }
}

/// A change of one key.
pub fn put(revision: u64, entry: SecretEntry) -> Change {
    Change {
        previous: Revision(revision - 1),
        revision: Revision(revision),
        put: vec![entry],
        removed: Vec::new(),
    }
}
