//! Traffic of a key that dies while it flows: ended before the change counts as applied, or soon after its time is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use keyward::authz::{KeyStatus, Timestamp};
use keyward::replica::{Source, SourceStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::support::TestGateway;
use super::support::client::Client;
use super::support::gateway::{KEY, NOW, Setup, key, request};

/// Another secret of the same key.
const ROTATED_TO: &str = "iak_acme_22222222-5a4d-4c3b-9e2f-1a2b3c4d5e6f";

/// A gateway in front of an upstream that is played by hand.
async fn set_up(change: impl FnOnce(Setup) -> Setup) -> (TestGateway, TcpListener) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = change(Setup::new(upstream.local_addr().unwrap())).start();
    (gateway, upstream)
}

/// A request that has reached the upstream.
async fn under_way(
    gateway: &TestGateway,
    upstream: &TcpListener,
    request: String,
) -> (Client, TcpStream) {
    let mut client = gateway.connect().await;
    client.send(request).await;
    let (mut serving, _) = upstream.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(serving.read_u8().await.unwrap());
    }
    (client, serving)
}

/// An answer of which the head and one chunk have reached the client.
async fn streaming(
    gateway: &TestGateway,
    upstream: &TcpListener,
    key: &str,
) -> (Client, TcpStream) {
    let asked = request("GET /any/x", &[key]);
    let (mut client, mut serving) = under_way(gateway, upstream, asked).await;
    let begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    serving.write_all(begun).await.unwrap();
    serving.write_all(b"5\r\nhello\r\n").await.unwrap();
    client.head().await.unwrap();
    assert_eq!(client.chunk().await, b"hello");
    (client, serving)
}

/// Whether more of the stream arrives.
async fn goes_on(client: &mut Client, serving: &mut TcpStream) -> bool {
    // A connection that is gone takes nothing.
    let _gone = serving.write_all(b"5\r\nagain\r\n").await;
    client.next_bytes().await == b"5\r\nagain\r\n"
}

#[tokio::test]
async fn a_running_answer_of_a_key_that_is_switched_off_is_cut() {
    let (gateway, upstream) = set_up(|setup| setup).await;
    let (mut client, mut serving) = streaming(&gateway, &upstream, &key()).await;
    gateway
        .change(|record| record.status = KeyStatus::Disabled)
        .await;
    assert!(!goes_on(&mut client, &mut serving).await);
    let mut rest = Vec::new();
    let read = serving.read_to_end(&mut rest).await;
    assert!(read.is_err() || rest.is_empty(), "the upstream is told too");
    gateway.counted("keyward_streams_ended_total", 1.0).await;
    assert_eq!(gateway.log(1).await[0]["key_id"], "key-1");
}

#[tokio::test]
async fn a_request_that_waits_for_its_answer_is_refused() {
    let (gateway, upstream) = set_up(|setup| setup).await;
    let asked = request("GET /any/x", &[&key()]);
    let (mut client, _serving) = under_way(&gateway, &upstream, asked).await;
    gateway
        .change(|record| record.status = KeyStatus::Revoked)
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, &*answer.reason()), (401, "revoked_key"));
    let challenge = answer.headers("www-authenticate");
    assert!(challenge[0].contains("invalid_token"), "{challenge:?}");
}

#[tokio::test]
async fn a_body_on_its_way_ends_with_its_key() {
    let (gateway, upstream) = set_up(|setup| setup).await;
    let asked = request("POST /any/x", &[&key(), "content-length: 10"]) + "hello";
    let (mut client, mut serving) = under_way(&gateway, &upstream, asked).await;
    let mut five = [0; 5];
    serving.read_exact(&mut five).await.unwrap();
    gateway.remove_key().await;
    let answer = client.answer().await;
    assert_eq!((answer.status, &*answer.reason()), (401, "revoked_key"));
    let mut rest = Vec::new();
    let read = serving.read_to_end(&mut rest).await;
    assert!(read.is_err() || rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn a_key_that_may_do_less_finishes_what_it_began() {
    let (gateway, upstream) = set_up(|setup| setup).await;
    let (mut client, mut serving) = streaming(&gateway, &upstream, &key()).await;
    gateway
        .change(|record| record.name = "other".to_owned())
        .await;
    assert!(goes_on(&mut client, &mut serving).await);
}

#[tokio::test]
async fn a_rotation_ends_only_what_uses_the_former_secret_and_after_its_grace() {
    let (gateway, upstream) = set_up(|setup| setup).await;
    let (mut former, mut former_serving) = streaming(&gateway, &upstream, &key()).await;
    gateway.rotate(KEY, ROTATED_TO, NOW.plus_seconds(60)).await;
    assert!(
        goes_on(&mut former, &mut former_serving).await,
        "the grace runs"
    );
    let shown = format!("x-prismeai-api-key: {ROTATED_TO}");
    let (mut present, mut present_serving) = streaming(&gateway, &upstream, &shown).await;
    gateway.rotate(KEY, ROTATED_TO, NOW).await;
    assert!(!goes_on(&mut former, &mut former_serving).await);
    assert!(goes_on(&mut present, &mut present_serving).await);
}

#[tokio::test]
async fn what_outlives_its_key_is_ended() {
    let now = Arc::new(AtomicI64::new(NOW.as_millis()));
    let clock = Arc::clone(&now);
    let (gateway, upstream) = set_up(|setup| Setup {
        clock: Arc::new(move || Timestamp::from_millis(clock.load(Ordering::SeqCst))),
        ..setup
    })
    .await;
    let expires_at = NOW.plus_seconds(3600);
    gateway
        .change(|record| record.expires_at = Some(expires_at))
        .await;
    let (mut client, _serving) = streaming(&gateway, &upstream, &key()).await;
    now.store(expires_at.as_millis(), Ordering::SeqCst);
    assert_eq!(client.next_bytes().await, b"");
}

/// The end that counts is the one that the key has by now, not the one that it had when the traffic began.
#[tokio::test]
async fn an_end_that_is_set_while_it_flows_ends_it() {
    for is_rotated in [false, true] {
        let now = Arc::new(AtomicI64::new(NOW.as_millis()));
        let looks = Arc::new(AtomicU64::new(0));
        let (clock, looked) = (Arc::clone(&now), Arc::clone(&looks));
        let (gateway, upstream) = set_up(|setup| Setup {
            clock: Arc::new(move || {
                looked.fetch_add(1, Ordering::SeqCst);
                Timestamp::from_millis(clock.load(Ordering::SeqCst))
            }),
            ..setup
        })
        .await;
        let (mut client, mut serving) = streaming(&gateway, &upstream, &key()).await;
        let end = NOW.plus_seconds(3600);
        if is_rotated {
            gateway.rotate(KEY, ROTATED_TO, end).await;
        } else {
            gateway.change(|record| record.expires_at = Some(end)).await;
        }
        // Until the change is no news any more to whoever looks at what is in flight.
        let before = looks.load(Ordering::SeqCst);
        while looks.load(Ordering::SeqCst) < before + 2 {
            tokio::task::yield_now().await;
        }
        assert!(goes_on(&mut client, &mut serving).await);
        now.store(end.as_millis(), Ordering::SeqCst);
        assert_eq!(client.next_bytes().await, b"", "{is_rotated}");
    }
}

#[tokio::test]
async fn a_secret_that_becomes_another_keys_ends_what_it_began() {
    let (gateway, upstream) = set_up(|setup| setup).await;
    let (mut client, mut serving) = streaming(&gateway, &upstream, &key()).await;
    gateway.hand_on().await;
    assert!(!goes_on(&mut client, &mut serving).await);
}

/// Keys that may be acted on until a test says otherwise.
#[derive(Default)]
struct Until(AtomicBool);

impl Source for Until {
    fn status(&self) -> SourceStatus {
        SourceStatus {
            state: "test",
            staleness: Duration::ZERO,
            usable: true,
        }
    }

    fn lasts(&self) -> Duration {
        match self.0.load(Ordering::SeqCst) {
            true => Duration::ZERO,
            false => Duration::MAX,
        }
    }
}

/// Whoever counts on a gateway that refuses stale keys counts on what it has under way as well.
#[tokio::test]
async fn what_is_under_way_ends_when_the_keys_may_not_be_acted_on_any_more() {
    let until = Arc::new(Until::default());
    let source = Arc::clone(&until);
    let (gateway, upstream) = set_up(|setup| setup.with_source(source)).await;
    let (mut client, mut serving) = streaming(&gateway, &upstream, &key()).await;
    let asked = request("GET /open/x", &[]);
    let (mut anyone, mut answering) = under_way(&gateway, &upstream, asked).await;
    let asked = request("GET /any/x", &[&key()]);
    let (mut waiting, _serving) = under_way(&gateway, &upstream, asked).await;
    assert!(goes_on(&mut client, &mut serving).await);
    until.0.store(true, Ordering::SeqCst);
    assert_eq!(client.next_bytes().await, b"");
    let refused = gateway.ask(request("GET /any/x", &[&key()])).await;
    for answer in [waiting.answer().await, refused] {
        assert_eq!(
            (answer.status, &*answer.reason()),
            (503, "keys_unavailable")
        );
    }
    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    answering.write_all(ok).await.unwrap();
    assert_eq!(anyone.answer().await.status, 200, "without a key");
}

#[tokio::test]
async fn what_passes_without_a_judged_key_does_not_end_with_it() {
    let (gateway, upstream) = set_up(|setup| setup).await;
    gateway
        .change(|record| record.status = KeyStatus::Disabled)
        .await;
    let asked = request("GET /shadow/x", &[&key()]);
    let (mut client, mut serving) = under_way(&gateway, &upstream, asked).await;
    gateway.remove_key().await;
    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    serving.write_all(ok).await.unwrap();
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_tunnel_ends_with_its_key() {
    let (gateway, upstream) = set_up(|setup| setup).await;
    let lines = [&*key(), "connection: upgrade", "upgrade: websocket"];
    let asked = request("GET /any/x", &lines);
    let (mut client, mut serving) = under_way(&gateway, &upstream, asked).await;
    let switched =
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    serving.write_all(switched).await.unwrap();
    client.head().await.unwrap();
    serving.write_all(b"ping").await.unwrap();
    assert_eq!(client.bytes(4).await, b"ping");
    gateway
        .change(|record| record.status = KeyStatus::Disabled)
        .await;
    let _gone = serving.write_all(b"ping").await;
    assert_eq!(client.next_bytes().await, b"");
}
