//! Why a command was not carried out.

use super::command::InvalidInput;
use super::delegation::Excess;
use super::fleet::{HEARD_LATELY, TOKENS_MAX};
use super::store::{SECRETS_IN_GRACE_MAX, StoreError};
use super::token::NoRandomness;
use crate::authz::Reason;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A value is not acceptable.
    #[error(transparent)]
    Invalid(#[from] InvalidInput),
    /// The caller's key is not one, or no more.
    #[error("the key that was shown is refused: {}", .0.as_str())]
    Unauthenticated(Reason),
    /// The caller's key may not do this.
    #[error("{message}")]
    Forbidden {
        /// By which name.
        reason: Reason,
        /// Why, for people.
        message: &'static str,
    },
    /// The caller's key lacks this permission.
    #[error("the key that was shown lacks the permission `{0}`")]
    MissingPermission(&'static str),
    /// The key would go beyond the caller's.
    #[error("that goes beyond what your key may do to this key: {0}")]
    Escalation(#[from] Excess),
    /// There is no such key.
    #[error("no such API key")]
    NotFound,
    /// Another key of the organisation has this slug.
    #[error("the slug `{0}` is taken")]
    SlugTaken(String),
    /// The secret of the new key belongs to another key.
    #[error("another key has this secret")]
    SecretTaken,
    /// The key was switched off for ever.
    #[error("the key was revoked, which is final")]
    Revoked,
    /// Another secret would have to end one whose grace was answered.
    #[error(
        "the key has {SECRETS_IN_GRACE_MAX} former secrets whose grace runs, and can have no more: rotate it when one has ended, or with a grace of 0 seconds, which ends them all"
    )]
    SecretsInGrace,
    /// No random bytes for a secret.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// As many gateways follow as may.
    #[error("too many gateways follow this control plane")]
    TooManyGateways,
    /// There are as many tokens of gateways as may be.
    #[error("there are {TOKENS_MAX} gateway tokens, and can be no more: revoke one first")]
    TooManyTokens,
    /// Another token of gateways has this name.
    #[error("there is a gateway token `{0}` already")]
    TokenNameTaken(String),
    /// There is no such token.
    #[error("no such gateway token")]
    NoSuchToken,
    /// There is no such gateway.
    #[error("no such gateway")]
    NoSuchGateway,
    /// A gateway is to be forgotten that was heard a moment ago.
    #[error("the gateway was heard from a moment ago: stop it first, and try again in {} s", HEARD_LATELY.as_secs())]
    GatewayLives,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CommandError {
    /// A refusal of a caller that was recognised.
    pub(super) fn forbidden(reason: Reason, message: &'static str) -> Self {
        Self::Forbidden { reason, message }
    }
}

impl From<sqlx::Error> for CommandError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// An error and its causes, on one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
