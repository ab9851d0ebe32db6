//! The tokens by which gateways are known: made, shown once, revoked.

use super::{Applied, Command, Keys};
use crate::authz::Revision;
use crate::control::caller::Caller;
use crate::control::error::{CommandError, chain};
use crate::control::fleet::{NamedToken, TOKENS_MAX, TokenName};
use crate::control::store::{WriteTransaction, tokens};
use crate::control::token::{NoRandomness, random};

/// What tokens of gateways begin with, so that they are known where they do not belong.
const TOKEN_PREFIX: &str = "kwg_";

/// A token of a gateway that was just made: shown once.
pub(in crate::control) struct MintedToken {
    /// What is known of it from now on.
    pub(in crate::control) token: NamedToken,
    /// The token itself.
    pub(in crate::control) raw: String,
}

impl Keys {
    /// The token that a gateway shows, if it is one. One that was made a moment ago at another control plane is.
    pub(in crate::control) async fn recognise_gateway(&self, shown: &[u8]) -> Option<NamedToken> {
        let tokens = self.fleet().tokens();
        let known = tokens.recognise(shown);
        if known.is_some() || !self.is_shared() {
            return known;
        }
        self.read_tokens().await;
        tokens.recognise(shown)
    }

    /// Reads which tokens are valid: nobody else puts in place what was valid before. `false`: they cannot be read.
    pub(super) async fn read_tokens(&self) -> bool {
        let reading = async {
            let mut lent = self.0.store.readers().acquire().await?;
            let stored = tokens::all(&mut lent.conn()).await?;
            self.fleet().tokens().replace(stored);
            Ok(())
        };
        let read = self.0.token_reading.run(reading).await;
        if let Err(error) = &read {
            tracing::warn!(
                error = chain(error),
                "the tokens of gateways cannot be read"
            );
        }
        read.is_ok()
    }

    /// Makes a token for gateways.
    ///
    /// # Errors
    /// The name is taken, there are too many, or the store failed.
    pub(in crate::control) async fn make_gateway_token(
        &self,
        caller: Caller,
        name: TokenName,
    ) -> Result<Applied<MintedToken>, CommandError> {
        let raw = raw_token()?;
        let token = NamedToken {
            name: name.as_str().into(),
            digest: *blake3::hash(raw.as_bytes()).as_bytes(),
            created_at: Some(self.now()),
        };
        let made = self.write(MakeToken { caller, token }).await?;
        self.read_tokens().await;
        Ok(made.map(|token| MintedToken { token, raw }))
    }

    /// Makes a token of gateways invalid.
    ///
    /// # Errors
    /// There is none of this name, or the store failed.
    pub(in crate::control) async fn revoke_gateway_token(
        &self,
        caller: Caller,
        name: &str,
    ) -> Result<Revision, CommandError> {
        let command = RevokeToken {
            caller,
            name: name.to_owned(),
        };
        let revoked = self.write(command).await?;
        if !self.read_tokens().await {
            self.fleet().tokens().remove(name);
        }
        Ok(revoked.revision)
    }
}

fn raw_token() -> Result<String, NoRandomness> {
    let secret = blake3::Hash::from_bytes(random()?);
    Ok(format!("{TOKEN_PREFIX}{}", secret.to_hex()))
}

struct MakeToken {
    caller: Caller,
    token: NamedToken,
}

impl Command for MakeToken {
    type Answer = NamedToken;

    async fn perform(
        self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<NamedToken, CommandError> {
        let actor = self.caller.judge_within(transaction).await?;
        if tokens::all(&mut transaction.connection()).await?.len() >= TOKENS_MAX {
            return Err(CommandError::TooManyTokens);
        }
        let token = NamedToken {
            created_at: Some(transaction.now()),
            ..self.token
        };
        if !tokens::insert(transaction, &actor.name(), &token).await? {
            return Err(CommandError::TokenNameTaken(token.name.to_string()));
        }
        Ok(token)
    }
}

struct RevokeToken {
    caller: Caller,
    name: String,
}

impl Command for RevokeToken {
    type Answer = ();

    async fn perform(self, transaction: &mut WriteTransaction<'_>) -> Result<(), CommandError> {
        let actor = self.caller.judge_within(transaction).await?;
        if !tokens::remove(transaction, &actor.name(), &self.name).await? {
            return Err(CommandError::NoSuchToken);
        }
        Ok(())
    }
}
