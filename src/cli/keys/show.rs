//! Keys for people: one as lines, many as a table.
//!
//! Reads the control plane's JSON as it is; a field that is not there is shown as `-`.

use std::io::{self, Write};

use serde_json::Value;

use crate::cli::columns::{aligned, text};

/// How keys of a family are shown: titles of columns and the fields in them.
#[derive(Debug)]
pub struct Form {
    /// Before the status.
    first: &'static [(&'static str, &'static str)],
    /// After it.
    then: &'static [(&'static str, &'static str)],
    /// Shown of one key only, where they are there.
    more: &'static [&'static str],
    /// The field of the raw key.
    secret: &'static str,
}

/// Keys of organisations.
pub const ORG: Form = Form {
    first: &[("ID", "id"), ("SLUG", "slug"), ("NAME", "name")],
    then: &[
        ("EXPIRES", "expiresAt"),
        ("PERMISSIONS", "permissions"),
        ("SCOPES", "scopes"),
    ],
    more: &["ownerType", "ownerId"],
    secret: "apiKey",
};

/// Keys of workspaces.
pub const WORKSPACE: Form = Form {
    first: &[("ID", "apiKey"), ("NAME", "name")],
    then: &[("RULES", "rules")],
    more: &["subjectId"],
    secret: "apiKey",
};

/// Access keys.
pub const ACCESS: Form = Form {
    first: &[("ID", "id"), ("NAME", "name")],
    then: &[
        ("EXPIRES", "expiration"),
        ("MODE", "permission_mode"),
        ("LEVELS", "access"),
        ("PROJECTS", "projects"),
    ],
    more: &["owner", "last_used_at", "warnings"],
    secret: "token",
};

/// Prints one key.
///
/// # Errors
/// `out` cannot be written.
pub fn key(out: &mut dyn Write, form: &Form, key: &Value) -> io::Result<()> {
    fields(out, form, key, |_| true)
}

fn fields(
    out: &mut dyn Write,
    form: &Form,
    key: &Value,
    is_shown: impl Fn(&str) -> bool,
) -> io::Result<()> {
    let columns = form.first.iter().chain(form.then).map(|(_, field)| *field);
    for field in columns.chain(form.more.iter().copied()) {
        if is_shown(field) && key.get(field).is_some_and(|value| !value.is_null()) {
            writeln!(out, "{field:<12} {}", text(key.get(field)))?;
        }
    }
    writeln!(out, "{:<12} {}", "status", status(key))
}

/// Prints a key, and the one time that the raw key is shown.
///
/// # Errors
/// `out` cannot be written.
pub fn secret(out: &mut dyn Write, form: &Form, key: &Value) -> io::Result<()> {
    fields(out, form, key, |field| field != form.secret)?;
    writeln!(out, "{:<12} {}", "key", text(key.get(form.secret)))?;
    writeln!(
        out,
        "\nThe key is shown this once. Keep it where secrets are kept."
    )
}

/// Prints a list of keys, with its total where the list is but a page.
///
/// # Errors
/// `out` cannot be written.
pub fn table(out: &mut dyn Write, form: &Form, list: &Value) -> io::Result<()> {
    let keys = list.get("results").unwrap_or(list);
    let keys = keys.as_array().map_or(&[][..], Vec::as_slice);
    let titles = |columns: &[(&str, &str)]| -> Vec<String> {
        columns
            .iter()
            .map(|(title, _)| (*title).to_owned())
            .collect()
    };
    let cells = |columns: &[(&str, &str)], key: &Value| -> Vec<String> {
        let fields = columns.iter();
        fields.map(|(_, field)| text(key.get(field))).collect()
    };
    let head = [
        titles(form.first),
        vec!["STATUS".to_owned()],
        titles(form.then),
    ];
    let mut rows = vec![head.concat()];
    rows.extend(keys.iter().map(|key| {
        let status = vec![status(key).to_owned()];
        [cells(form.first, key), status, cells(form.then, key)].concat()
    }));
    aligned(out, &rows)?;
    let total = list.get("total").and_then(Value::as_u64);
    let total = total.unwrap_or(keys.len() as u64);
    writeln!(out, "\n{} of {total}", keys.len())
}

fn status(key: &Value) -> &str {
    let status = key.get("status").and_then(Value::as_str);
    match (status, key.get("disabled").and_then(Value::as_bool)) {
        (Some(status), _) => status,
        (None, Some(true)) => "disabled",
        (None, Some(false)) => "active",
        // Answers with a new secret do not say.
        (None, None) => "-",
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
        table(&mut out, &ORG, &list).unwrap();
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
            &ORG,
            &json!({ "id": "1", "slug": "ci", "ownerId": null, "disabled": true }),
        )
        .unwrap();
        let expected = "id           1\nslug         ci\nstatus       disabled\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
