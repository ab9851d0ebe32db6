//! What a key may do to other keys of its organisation: nothing that gives anyone more than it has itself.
//!
//! Pure. It knows no store and no request, only two keys.

use crate::authz::{Grants, Owner, PermissionSet, Principal, RawGrants, ScopeSet, Timestamp};

/// How far a key may delegate: what it holds itself, as long as it holds it.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'a> {
    permissions: &'a PermissionSet,
    scopes: &'a ScopeSet,
    owner: Option<&'a Owner>,
    expires_at: Option<Timestamp>,
}

/// In what a key would go beyond the one that makes or changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// In its permissions.
    #[error("it has permissions that your key does not cover")]
    Permissions,
    /// In its scopes.
    #[error("it has scopes that your key does not cover")]
    Scopes,
    /// It has no scopes and so would be limited by none, where the other is.
    #[error("it has no scopes, but your key is limited by scopes")]
    NoScopes,
    /// It would live longer.
    #[error("it expires later than your key")]
    Expiry,
    /// Whoever trusts the gateway would take it for somebody else's.
    #[error("it has an owner other than your key's")]
    Owner,
    /// It is of another family.
    #[error("it is a key of another family")]
    Family,
}

impl<'a> Authority<'a> {
    /// The authority of a key; `None` for a family that manages no keys.
    pub fn of(principal: &'a Principal) -> Option<Self> {
        match &principal.grants {
            Grants::Org {
                permissions,
                scopes,
            } => Some(Self {
                permissions,
                scopes,
                owner: principal.owner.as_ref(),
                expires_at: principal.expires_at,
            }),
            Grants::Workspace(_) | Grants::Access(_) => None,
        }
    }

    /// Whether it covers grants.
    ///
    /// # Errors
    /// In what they exceed it.
    pub fn covers(&self, grants: &RawGrants) -> Result<(), Excess> {
        let RawGrants::Org {
            permissions,
            scopes,
        } = grants
        else {
            return Err(Excess::Family);
        };
        if !self
            .permissions
            .covers_all_of(&PermissionSet::compile(permissions))
        {
            return Err(Excess::Permissions);
        }
        let scopes = ScopeSet::compile(scopes);
        if scopes.is_empty() && !self.scopes.is_empty() {
            return Err(Excess::NoScopes);
        }
        if !self.scopes.covers_all_of(&scopes) {
            return Err(Excess::Scopes);
        }
        Ok(())
    }

    /// Whether it may give a key this owner: none, or its own.
    ///
    /// # Errors
    /// It is somebody else.
    pub fn covers_owner(&self, owner: Option<&Owner>) -> Result<(), Excess> {
        if owner.is_none() || owner == self.owner {
            Ok(())
        } else {
            Err(Excess::Owner)
        }
    }

    /// Whether it covers a whole key: grants, for no longer than it lives itself.
    ///
    /// # Errors
    /// In what the key exceeds it.
    pub fn covers_key(
        &self,
        grants: &RawGrants,
        expires_at: Option<Timestamp>,
    ) -> Result<(), Excess> {
        self.covers(grants)?;
        match (self.expires_at, expires_at) {
            (None, _) => Ok(()),
            (Some(mine), Some(theirs)) if theirs <= mine => Ok(()),
            (Some(_), Some(_) | None) => Err(Excess::Expiry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::{
        KeyId, KeyRecord, KeyStatus, RequiredPermission, RequiredScope, Revision, Tenant,
    };

    const PAIRS: usize = 10_000;

    /// A small generator with a seed, so that a failure can be run again.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % bound as u64).unwrap()
        }

        fn some_of(&mut self, most: usize, from: &[String]) -> Vec<String> {
            (0..self.below(most + 1))
                .map(|_| from[self.below(from.len())].clone())
                .collect()
        }
    }

    /// Every name of two and three segments over a small alphabet, to be granted or required.
    fn names(last: &[&str]) -> Vec<String> {
        let mut names = Vec::new();
        for first in ["a", "b"] {
            for second in ["a", "b"].iter().chain(last) {
                names.push(format!("{first}:{second}"));
                if last.contains(second) {
                    continue;
                }
                for third in ["a", "b"].iter().chain(last) {
                    names.push(format!("{first}:{second}:{third}"));
                }
            }
        }
        names
    }

    fn key(grants: RawGrants, expires_at: Option<Timestamp>) -> Principal {
        Principal::compile(&KeyRecord {
            id: KeyId::new("k"),
            tenant: Tenant::Org("acme".to_owned()),
            name: String::new(),
            owner: None,
            status: KeyStatus::Active,
            expires_at,
            grants,
            revision: Revision(1),
        })
    }

    /// Whether a key can do anything that `creator` cannot, tried out request by request.
    fn exceeds(creator: &Principal, made: &Principal) -> bool {
        let (
            Grants::Org {
                permissions: own,
                scopes: own_scopes,
            },
            Grants::Org {
                permissions: theirs,
                scopes: their_scopes,
            },
        ) = (&creator.grants, &made.grants)
        else {
            return true;
        };
        let permission = names(&["manage"]).iter().any(|name| {
            let needed = RequiredPermission::parse(name).unwrap();
            theirs.covers(needed).is_some() && own.covers(needed).is_none()
        });
        let scope = names(&[]).iter().any(|name| {
            let needed = RequiredScope::parse(name).unwrap();
            their_scopes.covers(needed).is_some() && own_scopes.covers(needed).is_none()
        });
        let limits =
            |expires_at: Option<Timestamp>| expires_at.map_or(i64::MAX, Timestamp::as_millis);
        permission
            || scope
            || (their_scopes.is_empty() && !own_scopes.is_empty())
            || limits(made.expires_at) > limits(creator.expires_at)
    }

    #[test]
    fn no_key_makes_one_that_can_do_more_or_live_longer() {
        let seed = 0x6b65_7977_6172_6421;
        println!("seed {seed:#x}");
        let mut dice = Dice(seed);
        let mut permissions = names(&["*", "manage"]);
        permissions.push("*".to_owned());
        let mut scopes = names(&["*"]);
        scopes.push("*".to_owned());
        let mut covered = 0;
        for _ in 0..PAIRS {
            let mut some = |most| {
                let grants = RawGrants::Org {
                    permissions: dice.some_of(most, &permissions),
                    scopes: dice.some_of(most, &scopes),
                };
                let expires_at = i64::try_from(dice.below(4)).unwrap();
                let expires_at = Some(expires_at).filter(|at| *at > 0);
                (grants, expires_at.map(Timestamp::from_millis))
            };
            let ((own, own_end), (theirs, their_end)) = (some(4), some(2));
            let creator = key(own, own_end);
            let verdict = Authority::of(&creator)
                .unwrap()
                .covers_key(&theirs, their_end);
            let made = key(theirs, their_end);
            let exceeds = exceeds(&creator, &made);
            assert!(verdict.is_err() || !exceeds, "{creator:?} made {made:?}");
            covered += usize::from(verdict.is_ok());
        }
        assert!(
            covered > PAIRS / 50,
            "only {covered} of {PAIRS} were covered"
        );
    }
}
