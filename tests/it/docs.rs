//! What the documents say about the code, held against it.

use keyward::authz::Reason;

/// Each reason has one row in the list of failure modes, with its status in the title above it or in the row.
#[test]
fn every_reason_is_explained_once() {
    let text = include_str!("../../docs/failure-modes.md");
    for reason in Reason::ALL {
        let rows: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with(&format!("| `{}` |", reason.as_str())))
            .collect();
        assert_eq!(
            rows.len(),
            1,
            "{}: {} rows in docs/failure-modes.md",
            reason.as_str(),
            rows.len()
        );
        assert!(
            rows[0].contains(&reason.status().to_string()),
            "{} is answered {}",
            reason.as_str(),
            reason.status()
        );
        assert_eq!(
            rows[0].matches(" | ").count(),
            3,
            "cause, client, operator: {}",
            rows[0]
        );
    }
    let rows = text.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(
        rows,
        Reason::ALL.len(),
        "a row for something that is no reason"
    );
}

/// The norm names every reason beside its status.
#[test]
fn the_norm_names_every_reason() {
    let text = include_str!("../../docs/spec/authorization.md");
    for reason in Reason::ALL {
        let row = text.lines().find(|line| {
            line.starts_with("| ")
                && line.contains(&format!("`{}`", reason.as_str()))
                && line.contains(&reason.status().to_string())
        });
        assert!(row.is_some(), "{} {}", reason.status(), reason.as_str());
    }
}
