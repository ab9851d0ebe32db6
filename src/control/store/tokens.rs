//! The named tokens of gateways, as hashes.

use super::sql::{self, Conn};
use super::{StoreError, WriteTransaction};
use crate::authz::Timestamp;
use crate::control::fleet::NamedToken;

/// All of them, in the order of their names.
pub(in crate::control) async fn all(
    connection: &mut Conn<'_>,
) -> Result<Vec<NamedToken>, StoreError> {
    let rows = sql::query("SELECT name, digest, created_at FROM gateway_tokens ORDER BY name")
        .fetch_all(connection)
        .await?;
    let tokens = rows.iter().map(|row| {
        let name: String = row.try_get(0)?;
        let digest: &[u8] = row.try_get(1)?;
        let digest = digest.try_into();
        Ok(NamedToken {
            name: name.into(),
            digest: digest.map_err(|_| StoreError::Unreadable("digest"))?,
            created_at: Some(Timestamp::from_millis(row.try_get(2)?)),
        })
    });
    tokens.collect()
}

/// Adds a token. `false`: there is one of this name.
pub(in crate::control) async fn insert(
    transaction: &mut WriteTransaction<'_>,
    actor: &str,
    token: &NamedToken,
) -> Result<bool, StoreError> {
    let created_at = transaction.now().as_millis();
    let inserted = sql::query(
        "INSERT INTO gateway_tokens (name, digest, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
    )
    .bind(&*token.name)
    .bind(token.digest.as_slice())
    .bind(created_at)
    .execute(&mut transaction.connection())
    .await?;
    if inserted == 0 {
        return Ok(false);
    }
    let state = Some(state(&token.name));
    transaction.note(actor, "gateway-token.create", (None, state));
    Ok(true)
}

/// Removes a token. `false`: there is none of this name.
pub(in crate::control) async fn remove(
    transaction: &mut WriteTransaction<'_>,
    actor: &str,
    name: &str,
) -> Result<bool, StoreError> {
    let removed = sql::query("DELETE FROM gateway_tokens WHERE name = $1")
        .bind(name)
        .execute(&mut transaction.connection())
        .await?;
    if removed == 0 {
        return Ok(false);
    }
    let state = Some(state(name));
    transaction.note(actor, "gateway-token.revoke", (state, None));
    Ok(true)
}

/// What the audit log says of a token.
fn state(name: &str) -> String {
    serde_json::json!({ "gatewayToken": name }).to_string()
}
