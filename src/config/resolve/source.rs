//! The source of keys: that there is one, and which.

use super::super::mistake::Mistake;
use super::super::node::Spot;
use super::super::raw::File;
use super::{prisme, remote};
use crate::replica;

/// What is followed, where no control plane is in this process.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) prisme: Option<replica::prisme::Config>,
    pub(super) remote: Option<replica::remote::Config>,
}

/// Sees to it that there is one source, and resolves what is followed.
pub(super) fn source(file: &File, root: &Spot<'_>, faults: &mut Vec<Mistake>) -> Followed {
    let Some(keys) = &file.keys else {
        return Followed::default();
    };
    let at = root.key("keys");
    let sources = [
        ("embedded", keys.embedded.is_some()),
        ("prisme", keys.prisme.is_some()),
        ("remote", keys.remote.is_some()),
    ];
    let mut named = sources.iter().filter(|(_, is_there)| *is_there);
    if named.next().is_none() {
        let message = "names no source of keys; write `embedded`, `remote` or `prisme`";
        faults.push(at.mistake(message));
    }
    for (key, _) in named {
        let message = "is a second source of keys; there can be only one";
        faults.push(at.key(key).mistake(message));
    }
    let prisme = keys.prisme.as_ref();
    let remote = keys.remote.as_ref();
    Followed {
        prisme: prisme.and_then(|raw| prisme::followed(raw, &at.key("prisme"), faults)),
        remote: remote.and_then(|raw| remote::followed(raw, &at.key("remote"), faults)),
    }
}
