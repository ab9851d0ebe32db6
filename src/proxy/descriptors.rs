//! Who gets the file descriptors of the process when they are few: some are for neither clients nor upstreams, so that
//! operators are answered whatever clients do, and of the others clients get half.
//!
//! It opens and closes nothing.

use std::fmt;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use pingora::{Error, ErrorType, Result};
use tokio::net::TcpSocket;

/// One of so many descriptors is kept, and no more than so many.
const KEPT_OF: u64 = 4;
const KEPT_MAX: u64 = 2048;

/// What an upstream is not connected to for want of a descriptor; pingora's name for it.
pub const NONE_LEFT: ErrorType = ErrorType::Custom("no descriptor is left");

/// What pingora does with a socket before it connects it.
pub type Hook = Arc<dyn Fn(&TcpSocket) -> Result<()> + Send + Sync>;

/// How many descriptors connections may take.
#[derive(Clone)]
pub struct Descriptors {
    /// The first of those that are kept. The system gives the lowest that is free, so that whoever gets this one or a
    /// later one has taken the last of the others.
    first_kept: Option<RawFd>,
    hook: Option<Hook>,
}

impl fmt::Debug for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptors")
            .field("first_kept", &self.first_kept)
            .finish_non_exhaustive()
    }
}

impl Descriptors {
    /// Divides so many; `None`: there is no end of them.
    pub fn of(permitted: Option<u64>) -> Self {
        let usable = permitted.map(|all| all.saturating_sub((all / KEPT_OF).min(KEPT_MAX)));
        let first_kept = usable.and_then(|usable| RawFd::try_from(usable).ok());
        let hook = first_kept.map(|first| -> Hook { Arc::new(move |socket| check(first, socket)) });
        Self { first_kept, hook }
    }

    /// How many connections of clients there may be, where so many are configured: each may need one to an upstream.
    pub fn connections(&self, configured: usize) -> usize {
        let half = self
            .first_kept
            .and_then(|first| usize::try_from(first / 2).ok());
        half.map_or(configured, |half| half.min(configured))
    }

    /// Whether a socket has one that is kept.
    ///
    /// # Errors
    /// It has, and must be closed.
    pub fn check(&self, socket: &impl AsRawFd) -> Result<()> {
        self.first_kept.map_or(Ok(()), |first| check(first, socket))
    }

    /// The same for sockets that pingora makes.
    pub fn hook(&self) -> Option<Hook> {
        self.hook.clone()
    }
}

fn check(first_kept: RawFd, socket: &impl AsRawFd) -> Result<()> {
    if socket.as_raw_fd() >= first_kept {
        return Err(Error::new_up(NONE_LEFT));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Socket(RawFd);

    impl AsRawFd for Socket {
        fn as_raw_fd(&self) -> RawFd {
            self.0
        }
    }

    #[test]
    fn some_are_kept_and_clients_get_half_of_the_others() {
        for (permitted, last, connections) in [
            (Some(1024), 767, 384),
            (Some(20_000), 17_951, 8976),
            (Some(1_048_576), 1_046_527, 10_000),
            (None, RawFd::MAX, 10_000),
            (Some(u64::MAX), RawFd::MAX, 10_000),
            (Some(0), -1, 0),
        ] {
            let descriptors = Descriptors::of(permitted);
            assert_eq!(
                descriptors.connections(10_000),
                connections,
                "{permitted:?}"
            );
            assert!(descriptors.check(&Socket(last)).is_ok(), "{permitted:?}");
            if last < RawFd::MAX {
                let kept = Socket(last + 1);
                assert_eq!(descriptors.check(&kept).unwrap_err().etype(), &NONE_LEFT);
            }
        }
    }
}
