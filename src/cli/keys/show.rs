//! Keys for people: one as lines, many as a table.
//!
//! Reads the control plane's JSON as it is; a field that is not there is shown as `-`.

use std::io::{self, Write};

use serde_json::Value;

const COLUMNS: [(&str, &str); 6] = [
    ("ID", "id"),
    ("SLUG", "slug"),
    ("NAME", "name"),
    ("EXPIRES", "expiresAt"),
    ("PERMISSIONS", "permissions"),
    ("SCOPES", "scopes"),
];

/// Prints one key.
///
/// # Errors
/// `out` cannot be written.
pub fn key(out: &mut dyn Write, key: &Value) -> io::Result<()> {
    let fields = COLUMNS.iter().map(|(_, field)| *field);
    for field in fields.chain(["ownerType", "ownerId"]) {
        if key.get(field).is_some_and(|value| !value.is_null()) {
            writeln!(out, "{field:<12} {}", text(key.get(field)))?;
        }
    }
    writeln!(out, "{:<12} {}", "status", status(key))
}

/// Prints the one time that a raw key is shown.
///
/// # Errors
/// `out` cannot be written.
pub fn secret(out: &mut dyn Write, key: &Value) -> io::Result<()> {
    writeln!(out, "{:<12} {}", "key", text(key.get("apiKey")))?;
    writeln!(
        out,
        "\nThe key is shown this once. Keep it where secrets are kept."
    )
}

/// Prints a list of keys with its total.
///
/// # Errors
/// `out` cannot be written.
pub fn table(out: &mut dyn Write, list: &Value) -> io::Result<()> {
    let empty = Vec::new();
    let keys = list
        .get("results")
        .and_then(Value::as_array)
        .unwrap_or(&empty);
    let mut rows: Vec<Vec<String>> = vec![
        COLUMNS
            .iter()
            .map(|(title, _)| (*title).to_owned())
            .collect(),
    ];
    rows.extend(keys.iter().map(|key| {
        COLUMNS
            .iter()
            .map(|(_, field)| text(key.get(field)))
            .collect()
    }));
    let states =
        std::iter::once("STATUS".to_owned()).chain(keys.iter().map(|key| status(key).to_owned()));
    for (row, state) in rows.iter_mut().zip(states) {
        row.insert(3, state);
    }
    let widths: Vec<usize> = (0..=COLUMNS.len())
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    let total = list
        .get("total")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    writeln!(out, "\n{} of {total}", keys.len())
}

fn status(key: &Value) -> &'static str {
    match key.get("disabled").and_then(Value::as_bool) {
        Some(true) => "disabled",
        Some(false) => "active",
        // Answers with a new secret do not say.
        None => "-",
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Array(items)) if !items.is_empty() => items
            .iter()
            .map(|item| text(Some(item)))
            .collect::<Vec<_>>()
            .join(","),
        Some(Value::Number(number)) => number.to_string(),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_a_row_for_each_key_and_its_columns_line_up() {
        let list = json!({
            "results": [
                { "id": "1", "slug": "ci", "name": "CI", "disabled": false, "permissions": ["a:b", "c:d"], "scopes": [], "expiresAt": "2030-01-01T00:00:00Z" },
                { "id": "22", "slug": "deploy", "name": "Deploy", "disabled": true, "permissions": [], "scopes": ["*"] },
            ],
            "total": 7,
        });
        let mut out = Vec::new();
        table(&mut out, &list).unwrap();
        let expected = "\
ID  SLUG    NAME    STATUS    EXPIRES               PERMISSIONS  SCOPES
1   ci      CI      active    2030-01-01T00:00:00Z  a:b,c:d      -
22  deploy  Deploy  disabled  -                     -            *

2 of 7
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_key_is_shown_field_by_field() {
        let mut out = Vec::new();
        key(
            &mut out,
            &json!({ "id": "1", "slug": "ci", "ownerId": null, "disabled": true }),
        )
        .unwrap();
        let expected = "id           1\nslug         ci\nstatus       disabled\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
