//! Names that a later version will know. They are refused as what they are, neither ignored nor called misspelt.

/// Keys by the section (the type of its struct) that they will belong to.
const KEYS: &[(&str, &str)] = &[
    ("Listener", "tls"),
    ("RouteLimits", "streams"),
    ("Server", "upgrade_socket"),
];

/// Words, wherever one of several is chosen.
const WORDS: &[&str] = &["verify"];

/// What is said of all of them.
pub(super) const MESSAGE: &str = "is not available in this version";

/// Whether `key` will belong to `section`.
pub(super) fn is_later_key(section: &str, key: &str) -> bool {
    KEYS.contains(&(section, key))
}

/// Whether `word` will be one to choose.
pub(super) fn is_later_word(word: &str) -> bool {
    WORDS.contains(&word)
}
