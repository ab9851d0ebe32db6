//! What of the gateways that follow this store outlives a control plane, or is for the others: leases, what was
//! applied, which reports of uses were counted.
//!
//! None of it changes what anyone may do, and so it has no revision.
//!
//! Control planes that share a server tell each other moments by the clock of that server: theirs need not agree.

use std::time::Duration;

use super::StoreError;
use super::row::{revision, stored_revision};
use super::sql::{self, Conn, Dialect, Row};
use crate::authz::Timestamp;
use crate::control::fleet::{GatewayRow, LeaseClock};
use crate::wire::Epoch;
use crate::wire::sync::{GatewayId, GatewayInfo, OnStale, Position, parse_hex};

/// Lives of a gateway whose reports are told apart; older ones are forgotten.
const INCARNATIONS_MAX: i64 = 64;

/// A query of gateways, with the columns that [`gateway`] reads.
macro_rules! select_gateways {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, on_stale, max_staleness_ms, token, plane, session, epoch, revision, contact_at, ",
            "lease_until FROM gateways",
            $rest
        )
    };
}

/// By how many milliseconds the clock of the store is ahead of this control plane's.
///
/// How long the answer takes makes both wrong, each so that no lease becomes shorter by it.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    /// At most: to write a moment down.
    writing: i64,
    /// At least: to read one.
    reading: i64,
}

impl Ahead {
    async fn ask(connection: &mut Conn<'_>, clock: LeaseClock) -> Result<Self, StoreError> {
        const NOW: &str = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
        if connection.dialect() == Dialect::Sqlite {
            // The machine has one clock.
            return Ok(Self {
                writing: 0,
                reading: 0,
            });
        }
        let before = clock.now();
        let there: i64 = sql::query(NOW).fetch_scalar(connection).await?;
        let after = clock.now();
        Ok(Self {
            writing: there.saturating_sub(before.as_millis()),
            reading: there.saturating_sub(after.as_millis()),
        })
    }

    /// What is written down for a moment.
    fn written(self, moment: Timestamp) -> Timestamp {
        Timestamp::from_millis(moment.as_millis().saturating_add(self.writing))
    }

    /// The moment for which that is written down that was written down here.
    fn written_here(self, stored: Timestamp) -> Timestamp {
        Timestamp::from_millis(stored.as_millis().saturating_sub(self.writing))
    }

    /// The moment for which something is written down.
    fn read(self, stored: Timestamp) -> Timestamp {
        Timestamp::from_millis(stored.as_millis().saturating_sub(self.reading))
    }
}

/// All gateways that are written down.
pub(in crate::control) async fn gateways(
    connection: &mut Conn<'_>,
    clock: LeaseClock,
) -> Result<Vec<GatewayRow>, StoreError> {
    let rows = sql::query(select_gateways!(""))
        .fetch_all(connection)
        .await?;
    let ahead = Ahead::ask(connection, clock).await?;
    let rows = rows.iter().map(gateway);
    rows.map(|row| {
        row.map(|row| GatewayRow {
            contact: ahead.read(row.contact),
            lease_until: ahead.read(row.lease_until),
            ..row
        })
    })
    .collect()
}

/// Writes down that a gateway has arrived at a control plane, with `arriving.acked` for where it says it stands, and
/// gives what is written down of it now, and the bound of its lease that was written down before. What it acknowledged
/// before holds no longer where it stands behind that, and what it was promised before still holds.
pub(in crate::control) async fn arrive(
    connection: &mut Conn<'_>,
    arriving: &GatewayRow,
    clock: LeaseClock,
) -> Result<(GatewayRow, Option<Timestamp>), StoreError> {
    let ahead = Ahead::ask(connection, clock).await?;
    let arriving = GatewayRow {
        contact: ahead.written(arriving.contact),
        lease_until: ahead.written(arriving.lease_until),
        ..arriving.clone()
    };
    let before = sql::query(select_gateways!(" WHERE id = $1"))
        .bind(arriving.info.id.to_string())
        .fetch_optional(connection)
        .await?;
    let before = before.as_ref().map(gateway).transpose()?;
    let bound = before.as_ref().map(|before| ahead.read(before.lease_until));
    let row = match before {
        None => GatewayRow {
            session: 1,
            acked: None,
            ..arriving
        },
        Some(before) => GatewayRow {
            session: before.session.saturating_add(1),
            acked: still_acked(before.acked, arriving.acked),
            lease_until: before.lease_until.max(arriving.lease_until),
            ..arriving
        },
    };
    insert(connection, &row).await?;
    let row = GatewayRow {
        contact: ahead.written_here(row.contact),
        lease_until: ahead.written_here(row.lease_until),
        ..row
    };
    Ok((row, bound))
}

/// What was acknowledged, as far as the gateway still has it.
fn still_acked(before: Option<Position>, stands: Option<Position>) -> Option<Position> {
    match (before, stands) {
        (Some(before), Some(stands)) if before.epoch == stands.epoch => Some(Position {
            revision: before.revision.min(stands.revision),
            ..before
        }),
        (Some(_), Some(_)) | (None, _) => None,
        (before @ Some(_), None) => before,
    }
}

async fn insert(connection: &mut Conn<'_>, row: &GatewayRow) -> Result<(), StoreError> {
    let (epoch, revision) = stored_position(row.acked);
    sql::query(
        "INSERT INTO gateways (id, name, on_stale, max_staleness_ms, token, plane, session, epoch, revision, \
         contact_at, lease_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, on_stale = excluded.on_stale, \
         max_staleness_ms = excluded.max_staleness_ms, token = excluded.token, plane = excluded.plane, \
         session = excluded.session, epoch = excluded.epoch, revision = excluded.revision, \
         contact_at = excluded.contact_at, lease_until = excluded.lease_until",
    )
    .bind(row.info.id.to_string())
    .bind(row.info.name.as_str())
    .bind(row.info.on_stale.as_str())
    .bind(stored_millis(row.info.max_staleness))
    .bind(row.token.as_str())
    .bind(row.plane.as_str())
    .bind(row.session)
    .bind(epoch)
    .bind(revision)
    .bind(row.contact.as_millis())
    .bind(row.lease_until.as_millis())
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes down what gateways that arrived at this control plane have applied, and their leases. `false`: it has arrived
/// elsewhere since, and nothing was written.
pub(in crate::control) async fn save(
    connection: &mut Conn<'_>,
    rows: &[GatewayRow],
    clock: LeaseClock,
) -> Result<Vec<bool>, StoreError> {
    let ahead = Ahead::ask(connection, clock).await?;
    let mut are_ours = Vec::with_capacity(rows.len());
    for row in rows {
        are_ours.push(save_one(connection, row, ahead).await?);
    }
    Ok(are_ours)
}

async fn save_one(
    connection: &mut Conn<'_>,
    row: &GatewayRow,
    ahead: Ahead,
) -> Result<bool, StoreError> {
    let (epoch, revision) = stored_position(row.acked);
    let written = sql::query(
        "UPDATE gateways SET name = $1, on_stale = $2, max_staleness_ms = $3, epoch = $4, revision = $5, \
         contact_at = $6, lease_until = $7 WHERE id = $8 AND session = $9",
    )
    .bind(row.info.name.as_str())
    .bind(row.info.on_stale.as_str())
    .bind(stored_millis(row.info.max_staleness))
    .bind(epoch)
    .bind(revision)
    .bind(ahead.written(row.contact).as_millis())
    .bind(ahead.written(row.lease_until).as_millis())
    .bind(row.info.id.to_string())
    .bind(row.session)
    .execute(connection)
    .await?;
    Ok(written == 1)
}

/// Forgets a gateway. `false`: there is none with this id.
pub(in crate::control) async fn leave(
    connection: &mut Conn<'_>,
    id: GatewayId,
) -> Result<bool, StoreError> {
    let removed = sql::query("DELETE FROM gateways WHERE id = $1")
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(removed > 0)
}

/// Forgets gateways whose leases ended before a moment.
pub(in crate::control) async fn forget(
    connection: &mut Conn<'_>,
    before: Timestamp,
    clock: LeaseClock,
) -> Result<(), StoreError> {
    let ahead = Ahead::ask(connection, clock).await?;
    // Rather a moment later than too early.
    let before = before.as_millis().saturating_add(ahead.reading);
    sql::query("DELETE FROM gateways WHERE lease_until <= $1")
        .bind(before)
        .execute(connection)
        .await?;
    Ok(())
}

/// A report of uses, as it is told from others.
#[derive(Debug, Clone, Copy)]
pub(in crate::control) struct ReportNumber {
    /// Whose.
    pub(in crate::control) gateway: GatewayId,
    /// Of which of its lives.
    pub(in crate::control) incarnation: u128,
    /// Which of that life.
    pub(in crate::control) sequence: u64,
}

/// Takes note of a report of uses. `false`: it was counted before.
pub(in crate::control) async fn number_report(
    connection: &mut Conn<'_>,
    number: ReportNumber,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let gateway = number.gateway.to_string();
    let is_new = sql::query(
        "INSERT INTO usage_reports (gateway, incarnation, sequence, at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (gateway, incarnation) DO UPDATE SET sequence = excluded.sequence, at = excluded.at \
         WHERE usage_reports.sequence < excluded.sequence",
    )
    .bind(gateway.as_str())
    .bind(format!("{:032x}", number.incarnation))
    .bind(i64::try_from(number.sequence).unwrap_or(i64::MAX))
    .bind(now.as_millis())
    .execute(connection)
    .await?;
    if is_new == 0 {
        return Ok(false);
    }
    sql::query(
        "DELETE FROM usage_reports WHERE gateway = $1 AND incarnation NOT IN (SELECT incarnation FROM usage_reports \
         WHERE gateway = $1 ORDER BY at DESC LIMIT $2)",
    )
    .bind(gateway.as_str())
    .bind(INCARNATIONS_MAX)
    .execute(connection)
    .await?;
    Ok(true)
}

/// Forgets the numbers of reports that came before a moment: nobody sends those again.
pub(in crate::control) async fn forget_reports(
    connection: &mut Conn<'_>,
    before: Timestamp,
) -> Result<(), StoreError> {
    sql::query("DELETE FROM usage_reports WHERE at <= $1")
        .bind(before.as_millis())
        .execute(connection)
        .await?;
    Ok(())
}

fn gateway(row: &Row) -> Result<GatewayRow, StoreError> {
    let info = GatewayInfo {
        id: GatewayId(number("id", row.try_get(0)?)?),
        name: row.try_get(1)?,
        on_stale: match row.try_get(2)? {
            "deny" => OnStale::Deny,
            "serve" => OnStale::Serve,
            _ => return Err(StoreError::Unreadable("on_stale")),
        },
        max_staleness: Duration::from_millis(u64::try_from(row.try_get::<i64>(3)?).unwrap_or(0)),
    };
    let epoch: Option<&str> = row.try_get(7)?;
    let acked = match (epoch, row.try_get(8)?) {
        (Some(epoch), Some(stored)) => Some(Position {
            epoch: Epoch(number("epoch", epoch)?),
            revision: revision(stored)?,
        }),
        (_, _) => None,
    };
    Ok(GatewayRow {
        info,
        token: row.try_get(4)?,
        plane: row.try_get(5)?,
        session: row.try_get(6)?,
        acked,
        contact: Timestamp::from_millis(row.try_get(9)?),
        lease_until: Timestamp::from_millis(row.try_get(10)?),
    })
}

fn number(column: &'static str, text: &str) -> Result<u128, StoreError> {
    parse_hex(column, text).map_err(|_| StoreError::Unreadable(column))
}

fn stored_position(position: Option<Position>) -> (Option<String>, Option<i64>) {
    let stored = position.map(|position| {
        let revision = stored_revision(position.revision);
        (position.epoch.to_string(), revision)
    });
    stored.unzip()
}

fn stored_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
