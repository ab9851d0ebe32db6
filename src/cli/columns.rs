//! Values of the control plane's JSON for people: texts, and rows in columns that line up.
//!
//! It knows no field.

use std::io::{self, Write};

use serde_json::Value;

/// Prints rows in columns as wide as their widest text.
///
/// # Errors
/// `out` cannot be written.
pub fn aligned(out: &mut dyn Write, rows: &[Vec<String>]) -> io::Result<()> {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// A value as people read it; `-` where there is none.
pub fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Array(items)) if !items.is_empty() => items
            .iter()
            .map(|item| text(Some(item)))
            .collect::<Vec<_>>()
            .join(","),
        Some(value @ (Value::Number(_) | Value::Object(_))) => value.to_string(),
        _ => "-".to_owned(),
    }
}
