//! A list of keys that are refused whatever their source says: from the start, and from a reload on.

use std::sync::Arc;

use keyward::authz::PresentedKey;
use keyward::replica::DenyList;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::support::TestGateway;
use super::support::client::Client;
use super::support::gateway::{KEY, Setup, key, request};

fn list(text: &str) -> Option<Arc<DenyList>> {
    Some(Arc::new(DenyList::parse("denied", text, None).unwrap()))
}

/// The ways to name the one key.
fn names() -> [String; 3] {
    let shown = PresentedKey::parse(KEY.as_bytes()).unwrap();
    let hex = |bytes: [u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let blake3: String = hex(*shown.digest(None).as_bytes());
    let sha256: String = hex(shown.sha256().0);
    [
        "key-1".to_owned(),
        format!("blake3:{blake3}"),
        format!("sha256:{sha256}"),
    ]
}

/// A gateway, an upstream that is played by hand, and a way to reload with a list.
struct Denying {
    gateway: TestGateway,
    upstream: TcpListener,
    address: std::net::SocketAddr,
}

impl Denying {
    async fn start() -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = upstream.local_addr().unwrap();
        let gateway = Setup::new(address).start();
        Self {
            gateway,
            upstream,
            address,
        }
    }

    async fn reload(&self, denied: Option<Arc<DenyList>>) {
        let mut rules = Setup::new(self.address).rules();
        rules.denied = denied;
        self.gateway.gateway.reload(rules).await;
    }

    /// An answer of which the head and one chunk have reached the client.
    async fn streaming(&self) -> (Client, TcpStream) {
        let mut client = self.gateway.connect().await;
        client.send(request("GET /any/x", &[&key()])).await;
        let (mut serving, _) = self.upstream.accept().await.unwrap();
        let begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        serving.write_all(begun).await.unwrap();
        client.head().await.unwrap();
        assert_eq!(client.chunk().await, b"hello");
        (client, serving)
    }

    async fn refusal(&self) -> (u16, String) {
        let answer = self.gateway.ask(request("GET /any/x", &[&key()])).await;
        (answer.status, answer.reason())
    }
}

fn revoked() -> (u16, String) {
    (401, "revoked_key".to_owned())
}

#[tokio::test]
async fn a_key_on_the_list_is_refused_and_its_traffic_cut_when_the_reload_returns() {
    for name in &names() {
        let denying = Denying::start().await;
        let (mut client, mut serving) = denying.streaming().await;
        denying.reload(list(name)).await;
        // A connection that is gone takes nothing.
        let _gone = serving.write_all(b"5\r\nagain\r\n").await;
        assert_ne!(client.next_bytes().await, b"5\r\nagain\r\n", "{name}");
        assert_eq!(denying.refusal().await, revoked(), "{name}");
    }
}

#[tokio::test]
async fn a_key_that_was_imported_is_refused_and_its_traffic_cut_by_any_name() {
    for name in &names() {
        let denying = Denying::start().await;
        denying.gateway.import().await;
        let (mut client, mut serving) = denying.streaming().await;
        denying.reload(list(name)).await;
        let _gone = serving.write_all(b"5\r\nagain\r\n").await;
        assert_ne!(client.next_bytes().await, b"5\r\nagain\r\n", "{name}");
        assert_eq!(denying.refusal().await, revoked(), "{name}");
    }
}

#[tokio::test]
async fn others_go_on_and_who_is_taken_off_the_list_passes_again() {
    let denying = Denying::start().await;
    let (mut client, mut serving) = denying.streaming().await;
    denying.reload(list("key-2\nanother-key")).await;
    serving.write_all(b"5\r\nagain\r\n").await.unwrap();
    assert_eq!(client.next_bytes().await, b"5\r\nagain\r\n");
    denying.reload(list("key-1")).await;
    assert_eq!(denying.refusal().await, revoked());
    for lifted in [list("# nobody"), None] {
        denying.reload(list("key-1")).await;
        denying.reload(lifted).await;
        let _streams = denying.streaming().await;
    }
}

/// A change of the key, or a whole new state, does not take it off the list.
#[tokio::test]
async fn a_list_outlives_what_the_source_says_of_its_keys() {
    let denying = Denying::start().await;
    denying.reload(list("key-1")).await;
    denying
        .gateway
        .change(|record| record.name = "other".to_owned())
        .await;
    assert_eq!(denying.refusal().await, revoked());
}

#[tokio::test]
async fn a_list_of_the_first_configuration_is_in_force_from_the_start() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setup = Setup {
        denied: list("key-1"),
        ..Setup::new(upstream.local_addr().unwrap())
    };
    let gateway = setup.start();
    let answer = gateway.ask(request("GET /any/x", &[&key()])).await;
    assert_eq!((answer.status, answer.reason()), revoked());
}
