//! What gateways ask: a snapshot, the changes since; and what they tell: what is applied, what was used.
//!
//! All of it is for whoever shows the token of a gateway, and for nobody else. What is said on the wire is in `wire`.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use tokio::sync::mpsc;

use super::Api;
use super::answer;
use super::auth::gateway_token;
use super::error::ApiError;
use super::input::{Unread, query};
use super::seats::Seat;
use super::streamed;
use crate::authz::{KeyId, Timestamp};
use crate::control::command::InvalidInput;
use crate::control::feed;
use crate::control::fleet::NamedToken;

use crate::control::service::{Followable, FollowedBy};
use crate::control::store::Usage;
use crate::wire::sync::{
    Ack, CONTENT_TYPE, GatewayInfo, Position, SyncQuery, USES_MAX, UsageReport, parse_hex,
};

/// How long a snapshot waits for its turn.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(3);
/// For a whole snapshot.
const SNAPSHOT_TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// Pieces of a body that wait for whoever reads it.
const PIECES_AHEAD: usize = 1;
/// Most bytes of a key's id in a report of uses.
const ID_BYTES_MAX: usize = 128;
/// Most uses of one key in a report.
const COUNT_MAX: u64 = 1 << 53;

/// `GET /sync/v1/snapshot`
pub(super) async fn snapshot(
    State(api): State<Api>,
    seat: Option<Extension<Seat>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (token, gateway) = told(&api, &headers, &uri).await?;
    if api.is_draining() {
        return Err(ending());
    }
    let seat = staying(seat);
    let places = std::sync::Arc::clone(&api.0.snapshots);
    let place = tokio::time::timeout(SNAPSHOT_WAIT, places.acquire_owned()).await;
    let Ok(Ok(place)) = place else {
        return Err(ApiError::unavailable(
            "other snapshots are being sent: try again in a moment",
        ));
    };
    let Some(open) = api.0.open_snapshots.open(token.digest) else {
        return Err(ending());
    };
    let keys = api.0.keys.clone();
    keys.arrive(gateway, &token.name, None).await?;
    // Whoever revoked it meanwhile did not see the snapshot.
    gateway_token(&api, &headers).await?;
    let (to, pieces) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(async move {
        // The turn is given up last.
        let (_place, open) = (place, open);
        let sending = tokio::time::timeout(SNAPSHOT_TIME_MAX, keys.send_snapshot(to));
        tokio::select! {
            sent = sending => if sent.is_err() {
                tracing::warn!("a snapshot took too long and was broken off");
            },
            () = open.to_end() => {}
        }
    });
    Ok(streamed::answer(pieces, seat, CONTENT_TYPE))
}

/// `GET /sync/v1/changes`
pub(super) async fn changes(
    State(api): State<Api>,
    seat: Option<Extension<Seat>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let token = gateway_token(&api, &headers).await?;
    let (gateway, position) = asked(&api, &uri)?;
    let position = position.ok_or_else(|| InvalidInput::new("epoch", "is missing"))?;
    let keys = api.0.keys.clone();
    if let Followable::No(why) = keys.followable(position).await? {
        return Err(ApiError::snapshot_needed(why));
    }
    let Some(open) = api.0.streams.open(token.digest) else {
        return Err(ending());
    };
    let id = gateway.id;
    keys.arrive(gateway, &token.name, Some(position)).await?;
    // Whoever revoked it meanwhile did not see the stream.
    gateway_token(&api, &headers).await?;
    let (to, pieces) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(async move {
        let feed = std::sync::Arc::clone(keys.feed());
        let followed_by = FollowedBy { keys, gateway: id };
        tokio::select! {
            feed::StreamEnd = feed::run(feed, followed_by, position, to) => {}
            () = open.to_end() => {}
        }
    });
    Ok(streamed::answer(pieces, staying(seat), CONTENT_TYPE))
}

/// `POST /sync/v1/ack`
pub(super) async fn ack(
    State(api): State<Api>,
    headers: HeaderMap,
    uri: Uri,
    body: Unread,
) -> Result<Response, ApiError> {
    let (token, gateway) = told(&api, &headers, &uri).await?;
    let ack: Ack = body.of_gateway().await?.parse()?;
    let (position, tag) = (ack.position()?, ack.tag);
    let acked = api.0.keys.acked(gateway, &token.name, position, tag).await;
    acked?;
    Ok(answer::nothing())
}

/// `POST /sync/v1/usage`
pub(super) async fn usage(
    State(api): State<Api>,
    headers: HeaderMap,
    uri: Uri,
    body: Unread,
) -> Result<Response, ApiError> {
    let (_, gateway) = told(&api, &headers, &uri).await?;
    let report: UsageReport = body.of_gateway().await?.parse()?;
    let incarnation = parse_hex("incarnation", &report.incarnation)?;
    let sequence = report.sequence;
    let keys = &api.0.keys;
    let uses = uses(report)?;
    keys.count_report(gateway.id, incarnation, sequence, uses)
        .await?;
    Ok(answer::nothing())
}

/// `POST /sync/v1/leave`
pub(super) async fn leave(
    State(api): State<Api>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (_, gateway) = told(&api, &headers, &uri).await?;
    api.0.keys.left(gateway.id).await?;
    Ok(answer::nothing())
}

fn uses(report: UsageReport) -> Result<Vec<Usage>, InvalidInput> {
    if i64::try_from(report.sequence).is_err() || report.sequence == 0 {
        return Err(InvalidInput::new("sequence", "counts from 1 on"));
    }
    if report.uses.len() > USES_MAX {
        let problem = format_args!("has more than {USES_MAX} entries").to_string();
        return Err(InvalidInput::new("uses", problem));
    }
    let uses = report.uses.into_iter().enumerate();
    let uses = uses.map(|(index, used)| {
        let field = |name: &str| format!("uses[{index}].{name}");
        if !(1..=ID_BYTES_MAX).contains(&used.id.len()) || used.id.contains('\0') {
            return Err(InvalidInput::new(field("id"), "is no id of a key"));
        }
        if used.last_used < 0 {
            return Err(InvalidInput::new(field("lastUsed"), "is before 1970"));
        }
        if used.count > COUNT_MAX {
            return Err(InvalidInput::new(field("count"), "is too large"));
        }
        Ok(Usage {
            id: KeyId::new(used.id),
            last_used: Timestamp::from_millis(used.last_used),
            count: used.count,
        })
    });
    uses.collect()
}

/// Who asks, and where it says it stands.
fn asked(api: &Api, uri: &Uri) -> Result<(GatewayInfo, Option<Position>), ApiError> {
    let asked: SyncQuery = query(uri)?;
    if asked.has_other_pepper(&api.0.keys.pepper_check()) {
        return Err(ApiError::other_pepper());
    }
    Ok(asked.read()?)
}

/// Who asks, with which token. Where a gateway stands is only said where changes are asked for.
async fn told(
    api: &Api,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<(NamedToken, GatewayInfo), ApiError> {
    let token = gateway_token(api, headers).await?;
    match asked(api, uri)? {
        (gateway, None) => Ok((token, gateway)),
        (_, Some(_)) => Err(InvalidInput::new("epoch", "has no meaning here").into()),
    }
}

fn staying(seat: Option<Extension<Seat>>) -> Option<Seat> {
    let seat = seat.map(|Extension(seat)| seat);
    seat.inspect(Seat::stay)
}

fn ending() -> ApiError {
    ApiError::unavailable(
        "this control plane takes no more gateways: ask another, or try again in a moment",
    )
}
