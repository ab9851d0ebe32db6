//! Who asks, and how far they may go.
//!
//! A caller is what a request showed; an actor is a caller that was judged, at the moment of the act and in the
//! transaction of the act, so that a key that dies in between can do nothing more.

use std::sync::Arc;

use super::delegation::Authority;
use super::error::CommandError;
use super::store::sql::Conn;
use super::store::{Shown, WriteTransaction, read};
use crate::authz::{Grants, KeyLookup, Principal, Reason, RequiredPermission, Tenant, Timestamp};

/// What an organisation key must hold to manage the keys of its organisation.
pub const MANAGE_KEYS: &str = "orgs:apikeys:manage";

/// What a request showed.
#[derive(Debug, Clone, Copy)]
pub struct Caller(Kind);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Admin,
    Program(&'static str),
    Key(Shown),
}

impl Caller {
    /// Somebody with an admin token.
    pub(super) const ADMIN: Self = Self(Kind::Admin);

    /// A part of this program that writes keys itself, e.g. `quickstart`.
    pub const fn program(name: &'static str) -> Self {
        Self(Kind::Program(name))
    }

    /// Somebody with an API key.
    pub(super) fn key(shown: Shown) -> Self {
        Self(Kind::Key(shown))
    }

    /// Judges the caller as the data plane would.
    ///
    /// # Errors
    /// The key is unknown, dead, or of a family that manages nothing.
    pub(super) async fn judge(
        &self,
        connection: &mut Conn<'_>,
        now: Timestamp,
    ) -> Result<Actor, CommandError> {
        let shown = match &self.0 {
            Kind::Admin => return Ok(Actor::Admin),
            Kind::Program(name) => return Ok(Actor::Program(name)),
            Kind::Key(shown) => shown,
        };
        let found = match read::by_secret(connection, shown).await? {
            None => KeyLookup::Unknown,
            Some(located) => KeyLookup::Found {
                principal: Arc::new(Principal::compile(&located.key.record)),
                retired_at: located.retired_at,
            },
        };
        match found.live(now) {
            Ok(principal) => Ok(Actor::Key(principal)),
            Err((reason, _)) => Err(CommandError::Unauthenticated(reason)),
        }
    }

    /// As [`judge`](Self::judge), in the transaction of the act and at its time.
    pub(super) async fn judge_within(
        &self,
        transaction: &mut WriteTransaction<'_>,
    ) -> Result<Actor, CommandError> {
        let now = transaction.now();
        self.judge(&mut transaction.connection(), now).await
    }
}

/// A caller that was judged.
#[derive(Debug)]
pub(super) enum Actor {
    /// Everything.
    Admin,
    /// Everything, by this program itself.
    Program(&'static str),
    /// What the key's permissions and the rule against escalation leave.
    Key(Arc<Principal>),
}

impl Actor {
    /// The name in the audit log.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Admin => "admin".to_owned(),
            Self::Program(name) => format!("program:{name}"),
            Self::Key(principal) => format!("key:{}", principal.id),
        }
    }

    /// Lets the actor near the keys of a tenant at all. Keys manage keys of organisations only.
    ///
    /// # Errors
    /// Another organisation's keys do not exist for a key; its own do, for one that may manage them.
    pub(super) fn admit(&self, tenant: &Tenant) -> Result<(), CommandError> {
        let Self::Key(principal) = self else {
            return Ok(());
        };
        let (Tenant::Org(_), Tenant::Org(_), Grants::Org { permissions, .. }) =
            (tenant, &principal.tenant, &principal.grants)
        else {
            return Err(CommandError::forbidden(
                Reason::FamilyNotAccepted,
                "keys of this family manage no such keys",
            ));
        };
        if *tenant != principal.tenant {
            return Err(CommandError::NotFound);
        }
        let may_manage = RequiredPermission::parse(MANAGE_KEYS)
            .is_some_and(|needed| permissions.covers(needed).is_some());
        if may_manage {
            Ok(())
        } else {
            Err(CommandError::MissingPermission(MANAGE_KEYS))
        }
    }

    /// What limits the actor in what it gives to others; `None`: nothing.
    pub(super) fn authority(&self) -> Option<Authority<'_>> {
        match self {
            Self::Admin | Self::Program(_) => None,
            Self::Key(principal) => Authority::of(principal),
        }
    }
}
