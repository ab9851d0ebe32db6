//! Section 1: the canonical request.

/// A request as received.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub target: Vec<u8>,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor_version: u8,
    /// Lines in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        write!(
            f,
            "{} {} HTTP/1.{}",
            self.method,
            text(&self.target),
            self.minor_version
        )?;
        self.headers
            .iter()
            .try_for_each(|(name, value)| write!(f, " | {name}: {}", text(value)))
    }
}

/// A canonical path with what routing and routes' opt-outs ask of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// What is forwarded.
    pub canonical: String,
    /// Percent-decoded; the empty one after a trailing slash is left out.
    pub segments: Vec<String>,
    pub trailing_slash: bool,
    /// Holds `%2F`, which a route must opt in to.
    pub encoded_slash: bool,
    /// Holds `;` (encoded or not, an upstream may cut there), which a route must opt in to.
    pub matrix: bool,
}

/// The canonical form of a path, or `None` for a 400.
pub fn path(raw: &[u8]) -> Option<Path> {
    let canonical = String::from_utf8(normalise_escapes(raw)?).ok()?;
    let visible = |b: u8| (0x21..=0x7e).contains(&b) && !b"\"<>\\^`{|}#".contains(&b);
    if !canonical.starts_with('/') || !canonical.bytes().all(visible) {
        return None;
    }
    for (at, _) in canonical.match_indices('%') {
        let forbidden = match hex_pair(&canonical.as_bytes()[at + 1..])? {
            0x00..=0x1f | 0x7f | b'\\' => true,
            b'%' => hex_pair(&canonical.as_bytes()[at + 3..]).is_some(),
            _ => false,
        };
        if forbidden {
            return None;
        }
    }
    // A decoded slash and a `;` separate pieces to which the rules for segments apply as well.
    let pieces = canonical
        .replace("%2F", "/")
        .replace("%3B", "/")
        .replace(';', "/");
    let mut pieces: Vec<&str> = pieces.split('/').skip(1).collect();
    if pieces.last() == Some(&"") {
        pieces.pop();
    }
    if pieces.iter().any(|piece| ["", ".", ".."].contains(piece)) {
        return None;
    }
    let mut segments = Vec::new();
    for segment in canonical.split('/').skip(1) {
        segments.push(String::from_utf8(decode(segment.as_bytes())?).ok()?);
    }
    if segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    Some(Path {
        trailing_slash: canonical.len() > 1 && canonical.ends_with('/'),
        encoded_slash: canonical.contains("%2F"),
        matrix: canonical.contains(';') || canonical.contains("%3B"),
        canonical,
        segments,
    })
}

/// Unreserved characters decoded, the hex digits of all others upper-cased.
fn normalise_escapes(raw: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        if raw[at] != b'%' {
            out.push(raw[at]);
            at += 1;
            continue;
        }
        let byte = hex_pair(&raw[at + 1..])?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend(format!("%{byte:02X}").into_bytes());
        }
        at += 3;
    }
    Some(out)
}

/// Every escape decoded; `None` where a `%` is not followed by two hex digits.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let escape = text[at] == b'%';
        out.push(if escape {
            hex_pair(&text[at + 1..])?
        } else {
            text[at]
        });
        at += if escape { 3 } else { 1 };
    }
    Some(out)
}

/// The byte that the first two characters name.
fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16));
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// Decoded text of a pattern's literal, which may be written either way.
pub fn decoded_literal(text: &str) -> String {
    String::from_utf8(decode(text.as_bytes()).expect("escape")).expect("UTF-8")
}

/// The host for matching, or `None` for a 400.
pub fn host(raw: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(raw).ok()?.to_ascii_lowercase();
    let name_ends = text
        .find(']')
        .map_or_else(|| text.find(':').unwrap_or(text.len()), |at| at + 1);
    let (name, port) = text.split_at(name_ends);
    if let Some(port) = port.strip_prefix(':') {
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        // One way to write a number.
        if !digits || port.starts_with('0') || !port.parse().is_ok_and(|port: u16| port > 0) {
            return None;
        }
    } else if !port.is_empty() {
        return None;
    }
    if let Some(v6) = name.strip_prefix('[') {
        let address: std::net::Ipv6Addr = v6.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let labels: Vec<&str> = name.split('.').collect();
    // What ends in a number is an address to some readers, so it must be one to all.
    let number = labels.last().is_some_and(|last| {
        let hexadecimal = last.strip_prefix("0x");
        let is_hexadecimal = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
        last.bytes().all(|b| b.is_ascii_digit()) || hexadecimal.is_some_and(is_hexadecimal)
    });
    let good = name.len() <= 253 && labels.into_iter().all(host_label);
    let good = good && (!number || name.parse::<std::net::Ipv4Addr>().is_ok());
    good.then(|| name.to_owned())
}

fn host_label(label: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(good)
}

/// Whether the query has no control character, space or `#`.
fn query_is_good(raw: &str) -> bool {
    !raw.bytes().any(|b| matches!(b, 0..=0x20 | 0x7f | b'#'))
}

/// A name or header that the route uses has two values, or one that is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ambiguous;

/// What a name or value of a query says; `None` where it cannot be decoded.
pub fn decoded_name(part: &str) -> Option<String> {
    String::from_utf8(decode(part.replace('+', " ").as_bytes())?).ok()
}

/// The one value of a query name.
pub fn query_value(query: &str, name: &str) -> Result<Option<String>, Ambiguous> {
    let text = decoded_name;
    let mut found = Vec::new();
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match text(key).as_deref().and_then(|key| key.strip_prefix(name)) {
            Some("") => found.push(text(value)),
            // `name[]`, `name[0]`: some upstreams read an array as the name.
            Some(rest) if rest.starts_with('[') => found.push(None),
            _ => {}
        }
    }
    match &found[..] {
        [] => Ok(None),
        [Some(value)] => Ok(Some(value.clone())),
        _ => Err(Ambiguous),
    }
}

/// The one value of a header.
pub fn header_value(
    headers: &[(String, Vec<u8>)],
    name: &str,
) -> Result<Option<String>, Ambiguous> {
    // Names that differ in case, `_`, `.` and `-` alone are one to some upstream.
    let folded = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
    let misspelt = |(other, _): &(String, Vec<u8>)| {
        folded(other) == folded(name) && !other.eq_ignore_ascii_case(name)
    };
    if headers.iter().any(misspelt) {
        return Err(Ambiguous);
    }
    let values: Vec<&Vec<u8>> = values_of(headers, name);
    match values[..] {
        [] => Ok(None),
        [value] => String::from_utf8(value.clone())
            .map(Some)
            .map_err(|_| Ambiguous),
        _ => Err(Ambiguous),
    }
}

/// All values of a header, in order.
pub fn values_of<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a Vec<u8>> {
    let same = |(n, _): &&(String, Vec<u8>)| n.eq_ignore_ascii_case(name);
    headers
        .iter()
        .filter(same)
        .map(|(_, value)| value)
        .collect()
}

/// Host, path and query of a request, or `None` for a 400.
pub fn accept(request: &Request) -> Option<(String, Path, Option<String>)> {
    let [authority] = values_of(&request.headers, "host")[..] else {
        return None;
    };
    let (raw_path, query) = origin_form(&request.target, authority)?;
    let (host, path) = (host(authority)?, path(raw_path)?);
    let query = query.map(|query| String::from_utf8_lossy(query).into_owned());
    let good = frame_is_good(request) && query.as_deref().is_none_or(query_is_good);
    good.then_some((host, path, query))
}

/// The rows *Framing* and *Connection*, and no tunnel.
fn frame_is_good(request: &Request) -> bool {
    let headers = &request.headers;
    let lengths = values_of(headers, "content-length");
    let codings = values_of(headers, "transfer-encoding");
    let number = |v: &&Vec<u8>| {
        let text = String::from_utf8_lossy(v);
        text.parse::<u64>()
            .is_ok_and(|number| number.to_string() == text)
    };
    let chunked = |v: &&Vec<u8>| v.as_slice() == b"chunked" && request.minor_version == 1;
    let nominated = |value: &Vec<u8>| {
        String::from_utf8_lossy(value).split(',').all(|token| {
            let token = token.trim().to_ascii_lowercase();
            ["close", "keep-alive", "upgrade", "te", "http2-settings"].contains(&token.as_str())
        })
    };
    request.method != "CONNECT"
        && lengths.len() + codings.len() <= 1
        && lengths.iter().all(number)
        && codings.iter().all(chunked)
        && values_of(headers, "connection").into_iter().all(nominated)
}

/// Path and query of an origin-form target, or of an absolute-form one whose authority is the host.
fn origin_form<'a>(target: &'a [u8], host: &[u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let mut origin = target;
    for scheme in [&b"http://"[..], b"https://"] {
        let (head, rest) = target.split_at(scheme.len().min(target.len()));
        if head.eq_ignore_ascii_case(scheme) {
            let end = rest
                .iter()
                .position(|b| b"/?".contains(b))
                .unwrap_or(rest.len());
            if !rest[..end].eq_ignore_ascii_case(host) {
                return None;
            }
            origin = &rest[end..];
        }
    }
    let end = origin.iter().position(|b| *b == b'?');
    let path = &origin[..end.unwrap_or(origin.len())];
    let path = if path.is_empty() && origin != target {
        b"/"
    } else {
        path
    };
    path.starts_with(b"/")
        .then(|| (path, end.map(|at| &origin[at + 1..])))
}
