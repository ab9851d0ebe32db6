//! Generated texts that are committed: compared, or with `KEYWARD_BLESS=1` written anew.

use std::path::Path;

/// Asserts that the file at `path` in the repository holds `made`.
#[track_caller]
pub fn assert_committed(path: &str, made: &str) {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("KEYWARD_BLESS").is_some() {
        std::fs::write(&full, made).expect("the file can be written");
    }
    let committed = std::fs::read_to_string(&full).unwrap_or_default();
    assert!(
        committed == made,
        "{path} is not what the code makes (KEYWARD_BLESS=1 writes it anew):\n{made}"
    );
}
