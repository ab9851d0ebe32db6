//! The identity of a history, begun anew where gateways may have met revisions that the database does not know.

use super::StoreError;
use super::sql::{self, Conn};
use crate::authz::Timestamp;
use crate::control::token;

/// Begins another history, which goes on with the keys and the revision of this one. Gateways fetch everything anew.
pub(super) async fn renew(conn: &mut Conn<'_>, now: Timestamp) -> Result<(), StoreError> {
    let epoch: [u8; 16] = token::random()?;
    sql::query("UPDATE meta SET epoch = $1")
        .bind(epoch.as_slice())
        .execute(conn)
        .await?;
    sql::query(
        "INSERT INTO audit (at, revision, actor, action, family, tenant, key_id) \
         SELECT $1, revision, 'program:keyward', 'begin-epoch', '', '', '' FROM meta",
    )
    .bind(now.as_millis())
    .execute(conn)
    .await?;
    tracing::warn!(
        "the database was restored, moved or replaced: gateways fetch every key anew, and keep refusing what they saw \
         revoked"
    );
    Ok(())
}
