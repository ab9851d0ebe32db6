//! Permissions and scopes: the grammar is the model's, and what covers what is an order.

use keyward::authz::{PermissionSet, RequiredPermission, RequiredScope, SCOPE_BYTES_MAX, ScopeSet};

use crate::model::grants::{
    first, is_permission, is_permission_grant, is_scope, is_scope_grant, permission_covers,
    scope_covers,
};

/// Three lists of grants, a line a list and a tab between grants, and what is required behind them.
fn lists(text: &str) -> Option<([Vec<String>; 3], &str)> {
    let (lists, required) = text.rsplit_once('\n')?;
    let list = |line: Option<&str>| -> Vec<String> {
        let grants = line.unwrap_or_default().split('\t').take(16);
        grants.map(str::to_owned).collect()
    };
    let mut lines = lists.split('\n');
    Some(([0; 3].map(|_| list(lines.next())), required))
}

pub fn permission(data: &[u8]) {
    let Some((lists, required)) = std::str::from_utf8(data).ok().and_then(lists) else {
        return;
    };
    permissions(&lists, required);
    scopes(&lists, required);
}

fn permissions(lists: &[Vec<String>; 3], required: &str) {
    for grant in lists.iter().flatten() {
        let is_good = PermissionSet::validate(std::slice::from_ref(grant)).is_ok();
        assert_eq!(is_good, is_permission_grant(grant), "{grant:?}");
    }
    let parsed = RequiredPermission::parse(required);
    assert_eq!(parsed.is_some(), is_permission(required), "{required:?}");
    let sets = lists.each_ref().map(|list| PermissionSet::compile(list));
    if let Some(required) = parsed {
        for (set, list) in sets.iter().zip(lists) {
            let found = set.covers(required);
            assert_eq!(found, first(list, required.as_str(), permission_covers));
        }
        let covers = sets.each_ref().map(|set| set.covers(required).is_some());
        is_inherited(&sets, covers, PermissionSet::covers_all_of);
    }
    is_an_order(&sets, PermissionSet::covers_all_of);
}

fn scopes(lists: &[Vec<String>; 3], required: &str) {
    for grant in lists.iter().flatten() {
        let is_good = ScopeSet::validate(std::slice::from_ref(grant)).is_ok();
        let fits = grant.len() <= SCOPE_BYTES_MAX;
        assert_eq!(is_good, fits && is_scope_grant(grant), "{grant:?}");
    }
    let parsed = RequiredScope::parse(required);
    assert_eq!(parsed.is_some(), is_scope(required), "{required:?}");
    let sets = lists.each_ref().map(|list| ScopeSet::compile(list));
    if let Some(required) = parsed.filter(|it| it.as_str().len() <= SCOPE_BYTES_MAX) {
        for (set, list) in sets.iter().zip(lists) {
            let fits = |grant: &str, required: &str| {
                grant.len() <= SCOPE_BYTES_MAX && scope_covers(grant, required)
            };
            assert_eq!(set.covers(required), first(list, required.as_str(), fits));
        }
        let covers = sets.each_ref().map(|set| set.covers(required).is_some());
        is_inherited(&sets, covers, ScopeSet::covers_all_of);
    }
    is_an_order(&sets, ScopeSet::covers_all_of);
}

/// Whoever covers all of another covers what that one covers: nothing is gained by delegation.
fn is_inherited<S>(sets: &[S; 3], covers: [bool; 3], covers_all_of: fn(&S, &S) -> bool) {
    for (wide, wide_covers) in sets.iter().zip(covers) {
        for (narrow, narrow_covers) in sets.iter().zip(covers) {
            assert!(!covers_all_of(wide, narrow) || wide_covers || !narrow_covers);
        }
    }
}

/// Each covers itself, and whoever covers one covers what that one covers.
fn is_an_order<S>(sets: &[S; 3], covers: fn(&S, &S) -> bool) {
    for one in sets {
        assert!(covers(one, one));
        for two in sets.iter().filter(|two| covers(one, two)) {
            for three in sets.iter().filter(|three| covers(two, three)) {
                assert!(covers(one, three));
            }
        }
    }
}
