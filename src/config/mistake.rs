//! What is wrong with a configuration, and where: one [`Mistake`] a fault, all of them in [`Mistakes`].
//!
//! Knows nothing of what a configuration means.

use std::fmt;

use serde::Serialize;

/// A place in a file. Both count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Mark {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One fault, or one warning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mistake {
    /// The file, as it was named to the command.
    pub file: String,
    /// Where; absent where the file as a whole is at fault.
    #[serde(flatten)]
    pub mark: Option<Mark>,
    /// The key, for example `routes[3].require.org`. Empty where there is none.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Mistake {
    /// A fault at a place. (The file's name is added where all faults come together.)
    pub(super) fn at(mark: Mark, key: &str, message: impl Into<String>) -> Self {
        Self {
            file: String::new(),
            mark: Some(mark),
            key: key.to_owned(),
            message: message.into(),
        }
    }

    /// A fault of the file as a whole.
    pub(super) fn of_file(message: impl Into<String>) -> Self {
        Self {
            file: String::new(),
            mark: None,
            key: String::new(),
            message: message.into(),
        }
    }

    /// The same fault with the file's name.
    pub(super) fn in_file(mut self, file: &str) -> Self {
        file.clone_into(&mut self.file);
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(mark) = self.mark {
            write!(f, "{}:{}:", mark.line, mark.column)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Every fault of one file and those that it names, in the order of their places; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Puts faults in order and drops repetitions. `None`: there are none.
    pub fn from_list(mut list: Vec<Mistake>) -> Option<Self> {
        in_order(&mut list);
        (!list.is_empty()).then_some(Self(list))
    }

    /// The faults.
    pub fn list(&self) -> &[Mistake] {
        &self.0
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

/// Sorts by place and drops repetitions.
pub(super) fn in_order(list: &mut Vec<Mistake>) {
    list.sort();
    list.dedup();
}

/// A headline, then a line a fault that an editor can jump to.
fn lines(list: &[Mistake]) -> String {
    let file = list.first().map_or("", |mistake| &mistake.file);
    let mut lines = match list.len() {
        1 => format!("{file}: 1 mistake"),
        count => format!("{file}: {count} mistakes"),
    };
    for mistake in list {
        lines.push('\n');
        lines.push_str(&mistake.to_string());
    }
    lines
}
