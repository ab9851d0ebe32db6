//! The reference of the commands, `docs/cli.md`, written from the tree that parses them.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

/// Columns that help is wrapped at, so that the document does not depend on a terminal.
const WIDTH: usize = 100;

/// The document.
pub fn markdown() -> String {
    let mut root = super::Cli::command().term_width(WIDTH);
    root.build();
    let mut text = String::from(
        "# Commands\n\nWritten by the code; a test compares. `KEYWARD_BLESS=1 cargo nextest run` writes it anew.\n",
    );
    section(&mut text, &mut root);
    text
}

fn section(text: &mut String, command: &mut Command) {
    let name = command
        .get_bin_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let help = command.render_long_help().to_string();
    // Writing to a string does not fail.
    let _ = write!(text, "\n## `{name}`\n\n```text\n");
    for line in help.lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push_str("```\n");
    for below in command
        .get_subcommands_mut()
        .filter(|below| below.get_name() != "help")
    {
        section(text, below);
    }
}
