//! How a command fails: one line that says what happened and what to do, and exit code 1, or 2 where it was typed
//! wrongly.
//!
//! Knows nothing of what commands do. Most usage errors are clap's; those here depend on more than one argument, or must
//! not repeat what was typed.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// To be told to whoever typed the command.
    Told(String),
    /// It was typed wrongly.
    Usage(String),
    /// Standard output could not be written.
    Output(io::Error),
}

impl Failure {
    /// A failure with this line (or these lines, for a list of mistakes).
    pub fn told(line: impl Into<String>) -> Self {
        Self::Told(line.into())
    }

    /// A failure of whoever typed the command.
    pub fn usage(line: impl Into<String>) -> Self {
        Self::Usage(line.into())
    }

    /// A failure with the whole chain of an error, outermost first.
    pub fn chain(error: &dyn Error) -> Self {
        Self::Told(chain(error))
    }

    /// Whether only the reader of our output went away (`keyward … | head`), which is no failure to speak of.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The code with which the process ends.
    pub fn code(&self) -> u8 {
        match self {
            Self::Told(_) | Self::Output(_) => 1,
            Self::Usage(_) => 2,
        }
    }

    /// What is printed.
    pub fn line(&self) -> String {
        match self {
            Self::Told(line) | Self::Usage(line) => line.clone(),
            Self::Output(error) => format!("standard output cannot be written: {error}"),
        }
    }
}

/// Errors of `io` reach commands only through writing what they print.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// An error and its sources in one line. A source that the error before it has quoted is not repeated.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        if !line.ends_with(&text) {
            // Writing to a string does not fail.
            let _ = write!(line, ": {text}");
        }
        source = inner.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_one_line() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::other("disk on fire"));
        assert_eq!(Failure::chain(&error).line(), "cannot open: disk on fire");
    }

    #[test]
    fn a_chain_says_nothing_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("the database failed: {0}")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::other("disk on fire"));
        assert_eq!(chain(&error), "the database failed: disk on fire");
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_failures() {
        assert!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_closed_pipe());
        assert!(!Failure::from(io::Error::from(io::ErrorKind::StorageFull)).is_closed_pipe());
        assert!(!Failure::told("no").is_closed_pipe());
    }
}
