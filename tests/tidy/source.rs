//! Reading Rust as text: just enough of it for the guard, and no more (no macros, no types).

use std::fmt::Write as _;

/// The lines of a text with their numbers, from 1.
pub fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// Whether `text` has `word` as a whole path, not as part of a longer name.
pub fn names(text: &str, word: &str) -> bool {
    let part =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    text.match_indices(word).any(|(at, _)| {
        !part(
            at.checked_sub(1)
                .and_then(|before| text.as_bytes().get(before)),
        ) && !part(text.as_bytes().get(at + word.len()))
    })
}

/// The source with comments, strings and character literals blanked and its lines kept.
pub fn blank_comments_and_literals(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'/')) => find(bytes, at, b"\n"),
            (b'/', Some(b'*')) => find(bytes, at + 2, b"*/") + 2,
            (b'"', _) => end_of_string(bytes, at + 1),
            (b'r' | b'b' | b'c', _) if !continues_a_name(bytes, at) => {
                end_of_raw(bytes, at).unwrap_or(at)
            }
            (b'\'', Some(b'\\')) => find(bytes, at + 3, b"'") + 1,
            (b'\'', Some(_)) => end_of_char(source, at),
            _ => at,
        };
        let end = end.min(bytes.len());
        for byte in out
            .iter_mut()
            .take(end)
            .skip(at)
            .filter(|byte| **byte != b'\n')
        {
            *byte = b' ';
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).expect("literals are blanked whole")
}

fn line_of(code: &str, at: usize) -> usize {
    1 + code[..at].matches('\n').count()
}

fn continues_a_name(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

/// The position of `needle` at or after `from`, or the end.
fn find(bytes: &[u8], from: usize, needle: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest
        .windows(needle.len())
        .position(|window| window == needle)
        .unwrap_or(rest.len())
}

/// The end of a string whose first byte is at `from`.
fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// The end of a raw string (`r"…"`, `br#"…"#`) that begins at `at`; `None`: no raw string begins there.
fn end_of_raw(bytes: &[u8], at: usize) -> Option<usize> {
    let raw = at + usize::from(bytes[at] != b'r');
    if bytes.get(raw) != Some(&b'r') {
        return None;
    }
    let hashes = bytes[raw + 1..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    let open = raw + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    Some(find(bytes, open + 1, &close) + close.len())
}

/// The end of a character literal at `at`; `at` itself where a lifetime stands there.
fn end_of_char(source: &str, at: usize) -> usize {
    let mut rest = source[at + 1..].char_indices().skip(1);
    match rest.next() {
        Some((offset, '\'')) => at + 1 + offset + 1,
        _ => at,
    }
}

/// Blanked code up to its inline tests, which stand at the end of a file.
pub fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        let tests_follow = lines
            .peek()
            .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if line == "#[cfg(test)]" && tests_follow {
            break;
        }
        writeln!(kept, "{line}").expect("writing to a string");
    }
    kept
}

/// Every path in the code as (line, its first name, its second), `use a::{b, c::d}` taken apart.
pub fn path_heads(code: &str) -> Vec<(usize, String, String)> {
    let mut heads = Vec::new();
    for (at, _) in code.match_indices("::") {
        let before = &code[..at];
        let root: String = tail_name(before);
        let preceded = before[..before.len() - root.len()].ends_with("::");
        if root.is_empty() || preceded {
            continue;
        }
        let line = line_of(code, at);
        let after = &code[at + 2..];
        match after.strip_prefix('{') {
            None => heads.push((line, root, head_name(after))),
            Some(group) => {
                for head in group_heads(group) {
                    heads.push((line, root.clone(), head));
                }
            }
        }
    }
    heads
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn tail_name(text: &str) -> String {
    let start = text.rfind(|letter| !is_name(letter)).map_or(0, |at| {
        at + text[at..].chars().next().map_or(1, char::len_utf8)
    });
    text[start..].to_owned()
}

fn head_name(text: &str) -> String {
    text.trim_start()
        .chars()
        .take_while(|letter| is_name(*letter))
        .collect()
}

/// The first names of the members of a `{…}` group, whose text begins after the brace.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 0_i32;
    let mut heads = vec![head_name(group)];
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(head_name(&group[at + 1..])),
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

/// Every function with a body as (line, number of lines), by matching braces.
pub fn functions(code: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if continues_a_name(code.as_bytes(), at) {
            continue;
        }
        let Some(open) = code[at..].find(['{', ';']).map(|offset| at + offset) else {
            continue;
        };
        if code.as_bytes()[open] == b';' {
            continue;
        }
        let length = code[at..=matching_brace(code, open)].lines().count();
        found.push((line_of(code, at), length));
    }
    found
}

fn matching_brace(code: &str, open: usize) -> usize {
    let mut depth = 0_i32;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return offset;
        }
    }
    code.len() - 1
}

/// Chains of `super::` as (line, how many).
pub fn supers(code: &str) -> Vec<(usize, usize)> {
    let mut chains = Vec::new();
    let mut at = 0;
    while let Some(offset) = code[at..].find("super::") {
        let start = at + offset;
        let rest = &code[start..];
        let length = rest.len() - rest.trim_start_matches("super::").len();
        chains.push((line_of(code, start), length / "super::".len()));
        at = start + length;
    }
    chains
}
