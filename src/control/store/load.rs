//! Handing the whole state to a gateway's copy, batch by batch: a million keys are never here all at once.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::row::{KEY_COLUMNS, entry, key, secret, select_keys};
use super::sql::{self, Conn, Purpose, Row};
use super::{StoreError, read};
use crate::authz::Revision;
use crate::wire::sync::Position;
use crate::wire::{ChangeSink, Epoch, KeySource, SecretEntry};

/// Keys read at once.
const BATCH_KEYS: i64 = 2_000;
/// Batches that wait for the receiving end.
const BATCHES_AHEAD: usize = 4;

/// The receiving end of a load: what [`ChangeSink::load`] draws from.
struct Batches {
    at: Position,
    batches: mpsc::Receiver<Vec<SecretEntry>>,
    /// Whether the last batch, which is empty, has come.
    whole: bool,
}

impl Batches {
    fn next(&mut self) -> Option<Vec<SecretEntry>> {
        let batch = self.batches.blocking_recv()?;
        self.whole |= batch.is_empty();
        Some(batch)
    }
}

impl KeySource for Batches {
    fn epoch(&self) -> Epoch {
        self.at.epoch
    }

    fn revision(&self) -> Revision {
        self.at.revision
    }

    fn entries(&mut self) -> Box<dyn Iterator<Item = SecretEntry> + '_> {
        Box::new(std::iter::from_fn(|| self.next()).flatten())
    }

    fn is_whole(&self) -> bool {
        self.whole
    }
}

/// Gives `sink` everything that the database holds at one moment, and says which epoch and revision that was.
///
/// When it fails, the sink has what it had before.
pub(in crate::control) async fn load(
    connection: &mut Conn<'_>,
    sink: Arc<dyn ChangeSink>,
) -> Result<Position, StoreError> {
    let mut transaction = connection.reborrow().begin(Purpose::Read).await?;
    let at = read::identity(&mut transaction.conn()).await?;
    let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
    let mut source = Batches {
        at,
        batches,
        whole: false,
    };
    let receiving = tokio::task::spawn_blocking(move || sink.load(&mut source));
    let sent = send_all(&mut transaction.conn(), sender).await;
    let received = receiving.await.map_err(|_| StoreError::Interrupted)?;
    sent?;
    received.map_err(|_| StoreError::Interrupted)?;
    Ok(at)
}

/// Sends every key of a transaction, batch by batch, until nobody takes more.
pub(in crate::control) async fn send_all(
    connection: &mut Conn<'_>,
    sender: mpsc::Sender<Vec<SecretEntry>>,
) -> Result<(), StoreError> {
    const QUERY: &str = select_keys!(
        ", s.digest, s.kind, s.retired_at, k.seq ",
        "FROM (SELECT * FROM keys WHERE seq > $1 ORDER BY seq LIMIT $2) k ",
        "LEFT JOIN secrets s ON s.key_seq = k.seq ORDER BY k.seq",
    );
    let mut last: i64 = 0;
    loop {
        let rows = sql::query(QUERY)
            .bind(last)
            .bind(BATCH_KEYS)
            .fetch_all(connection)
            .await?;
        let Some(row) = rows.last() else {
            // Nobody receives any more: that is said at the other end.
            let _ = sender.send(Vec::new()).await;
            return Ok(());
        };
        last = row.try_get(KEY_COLUMNS + 3)?;
        if sender.send(entries(&rows)?).await.is_err() {
            return Ok(());
        }
    }
}

/// Keys with all their secrets, from rows of one secret each, in the order of their keys.
pub(super) fn entries(rows: &[Row]) -> Result<Vec<SecretEntry>, StoreError> {
    let mut entries: Vec<SecretEntry> = Vec::new();
    for row in rows {
        let secret = secret(row, KEY_COLUMNS)?;
        let id: &str = row.try_get(0)?;
        match entries.last_mut() {
            Some(last) if last.record.id.as_str() == id => last.secrets.extend(secret),
            Some(_) | None => {
                entries.push(entry(key(row)?.record, secret.into_iter().collect()));
            }
        }
    }
    Ok(entries)
}
