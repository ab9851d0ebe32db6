//! The configuration: a YAML file and the environment, to what each component is started with, or every mistake in it.
//!
//! The file goes one way: text → tree with places (`parse`) → checked against the schema of the types in [`raw`]
//! (`check`) → read into them → resolved, field against field, into the `Config` of each component (`resolve`).
//! Each step reports all that it finds and hands on what is usable, so that one run names every mistake.
//!
//! Opens no other file than the list of refused keys that it may name, no socket and no database, and starts nothing.

mod advise;
mod check;
pub mod defaults;
mod later;
mod mistake;
mod node;
mod parse;
pub mod raw;
mod resolve;
mod restart;
mod scalar;
mod schema;
mod substitute;
mod wording;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

pub use advise::OpenWay;
pub use mistake::{Mark, Mistake, Mistakes};
use node::Spot;
use parse::FILE_BYTES_MAX;
pub use resolve::{Resolved, RouteSummary};
pub use restart::Fixed;
pub use schema::schema;

/// Where `${NAME}` is looked up.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the command line adds to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Whether the control plane may listen beyond loopback without TLS.
    pub insecure: bool,
}

/// The process's environment as [`Variables`]. What is not Unicode counts as not set.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads the configuration in the file at `path`.
///
/// # Errors
/// Every mistake in it.
pub fn load(path: &Path, variables: Variables<'_>, flags: Flags) -> Result<Resolved, Mistakes> {
    let name = path.display().to_string();
    let text = read_file(path, FILE_BYTES_MAX as u64).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            format!("is not UTF-8 from byte {valid} on")
        })
    });
    match text {
        Ok(text) => load_text(&name, &text, variables, flags),
        Err(message) => Err(Mistake::of_file(message).in_file(&name).into()),
    }
}

/// What is in a file of at most so many bytes. No more than that is read, whatever the file is.
fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("cannot be read: {error}");
    let opened = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let read = opened.take(bytes_max + 1).read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("is larger than {bytes_max} bytes"));
    }
    Ok(bytes)
}

/// Reads the configuration in `text`; `name` stands for the file's.
///
/// # Errors
/// Every mistake in it.
pub fn load_text(
    name: &str,
    text: &str,
    variables: Variables<'_>,
    flags: Flags,
) -> Result<Resolved, Mistakes> {
    let mut faults = Vec::new();
    let resolved = read(text, variables, flags, &mut faults);
    let in_file = |mistake: Mistake| match mistake.file.is_empty() {
        true => mistake.in_file(name),
        // It is in a file that this one names.
        false => mistake,
    };
    match (
        resolved,
        Mistakes::from_list(faults.into_iter().map(in_file).collect()),
    ) {
        (_, Some(mistakes)) => Err(mistakes),
        (Some(mut resolved), None) => {
            resolved.warnings = resolved.warnings.into_iter().map(in_file).collect();
            mistake::in_order(&mut resolved.warnings);
            Ok(resolved)
        }
        (None, None) => Err(Mistake::of_file("is empty").in_file(name).into()),
    }
}

fn read(
    text: &str,
    variables: Variables<'_>,
    flags: Flags,
    faults: &mut Vec<Mistake>,
) -> Option<Resolved> {
    let mut tree = parse::parse(text, variables, faults)?;
    check::check(&mut tree, schema().as_value(), faults);
    match serde_json::from_value(tree.to_json()) {
        Ok(file) => resolve::resolve(&file, &Spot::root(&tree), flags, faults),
        Err(error) => {
            // The check lets nothing through that the types refuse; a test holds the two together.
            faults.push(Mistake::of_file(error.to_string()));
            None
        }
    }
}

#[cfg(test)]
mod tests;
