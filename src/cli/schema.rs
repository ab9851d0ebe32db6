//! `keyward schema`: the JSON Schema of the configuration.

use std::io::{self, Write};

use super::failure::Failure;
use crate::config::schema;

/// Print the JSON Schema of the configuration, for editors
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {}

/// Prints the schema.
///
/// # Errors
/// The output cannot be written.
pub fn run(out: &mut dyn Write) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(&schema()).map_err(io::Error::from)?;
    Ok(writeln!(out, "{json}")?)
}
