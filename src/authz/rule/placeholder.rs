//! Placeholders in conditions: `${user.id}`, `${session.id}`, `${subject.id}`, and the same names in `{{…}}`.

/// What placeholders in conditions resolve from. An absent one makes its condition unknown.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlaceholderValues<'a> {
    /// `${user.id}`
    pub user_id: Option<&'a str>,
    /// `${session.id}`
    pub session_id: Option<&'a str>,
    /// `${subject.id}`
    pub subject_id: Option<&'a str>,
}

/// The two spellings that the platform reads.
const MARKS: [(&str, &str); 2] = [("${", "}"), ("{{", "}}")];

impl<'a> PlaceholderValues<'a> {
    fn value(&self, name: &str) -> Option<&'a str> {
        match name {
            "user.id" => self.user_id,
            "session.id" => self.session_id,
            "subject.id" => self.subject_id,
            _ => None,
        }
    }

    /// The text with every placeholder resolved. `None`: one of them does not resolve, by absence or by its name.
    pub(super) fn expand(&self, text: &str) -> Option<String> {
        let mut expanded = String::with_capacity(text.len());
        let whole = fill(text, &mut expanded, |name, out| match self.value(name) {
            None => false,
            Some(value) => {
                out.push_str(value);
                true
            }
        });
        whole.then_some(expanded)
    }

    /// A pattern with every placeholder resolved to a group that matches its value literally, and whether all of
    /// them did resolve. One that did not is a group that matches something, so that the rest can be checked.
    pub(super) fn expand_pattern(&self, pattern: &str) -> (String, bool) {
        let mut expanded = String::with_capacity(pattern.len());
        let whole = fill(pattern, &mut expanded, |name, out| {
            let value = self.value(name);
            out.push_str("(?:");
            for char in value.unwrap_or("x").chars() {
                if char.is_ascii_punctuation() {
                    out.push('\\');
                }
                out.push(char);
            }
            out.push(')');
            value.is_some()
        });
        (expanded, whole)
    }
}

/// Whether there is a placeholder in the text.
pub(super) fn has_placeholder(text: &str) -> bool {
    !fill(text, &mut String::new(), |_, _| false)
}

/// Copies `text` and lets `resolve` write in place of each placeholder; whether all of them resolved.
fn fill(text: &str, out: &mut String, mut resolve: impl FnMut(&str, &mut String) -> bool) -> bool {
    let mut whole = true;
    let mut rest = text;
    while let Some((before, name, after)) = next_placeholder(rest) {
        out.push_str(before);
        whole &= resolve(name, out);
        rest = after;
    }
    out.push_str(rest);
    whole
}

/// The text before the first placeholder, its name, and the text behind it.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let in_marks = |(open, close): (&str, &str)| {
        let (before, rest) = text.split_once(open)?;
        let (name, after) = rest.split_once(close)?;
        Some((before, name, after))
    };
    MARKS
        .into_iter()
        .filter_map(in_marks)
        .min_by_key(|(before, ..)| before.len())
}
