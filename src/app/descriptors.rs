//! How many files and sockets the process may have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors that a connection of a client takes: its own, and that to an upstream.
const EACH: u64 = 2;

/// Takes as many as the machine permits, as most servers do: what is commonly permitted without asking is 1,024, and
/// the hard limit is much more. Returns how many that is; `None`: any number.
pub(super) fn raise() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    let asked = limit.current;
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if setrlimit(Resource::Nofile, limit).is_err() {
            return asked;
        }
    }
    limit.current
}

/// Says so where that is not enough for so many connections of clients.
pub(super) fn compare(permitted: Option<u64>, connections: usize) {
    let needed = EACH.saturating_mul(connections as u64);
    if let Some(permitted) = permitted.filter(|permitted| *permitted < needed) {
        tracing::warn!(
            permitted,
            needed,
            "limits.connections is more than this process may open: fewer are taken; lower it, or raise the limit of open files"
        );
    }
}
