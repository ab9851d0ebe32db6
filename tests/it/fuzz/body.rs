//! Where a chunked body ends: the same however it comes, and where a second, simpler reader finds it.

use keyward::proxy::Framing;

/// How far the body goes, once it is whole; `Err`: it is none.
fn end(bytes: &[u8], piece: usize) -> Result<Option<usize>, ()> {
    let mut framing = Framing::chunked();
    let mut taken = 0;
    for piece in bytes.chunks(piece.max(1)) {
        taken += framing.take(piece).map_err(|_| ())?;
        if framing.is_done() {
            return Ok(Some(taken));
        }
    }
    Ok(None)
}

/// A line that ends in CR LF, and what follows it. A CR stands nowhere else.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

/// The same by lines, for a body that lies there whole.
fn by_lines(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    loop {
        let (size, after) = line(rest)?;
        let digits = size.split(|byte| *byte == b';').next()?;
        let text = std::str::from_utf8(digits)
            .ok()?
            .trim_end_matches([' ', '\t']);
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(text, 16).ok()?;
        rest = after;
        if size == 0 {
            break;
        }
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let (trailer, after) = line(rest)?;
        rest = after;
        if trailer.is_empty() {
            return Some(bytes.len() - rest.len());
        }
    }
}

pub fn body(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else {
        return;
    };
    let whole = end(bytes, bytes.len());
    for piece in [1, usize::from(*piece)] {
        assert_eq!(end(bytes, piece), whole, "in pieces of {piece}");
    }
    if let Ok(Some(taken)) = whole {
        assert_eq!(by_lines(bytes), Some(taken));
        assert_eq!(
            end(&bytes[..taken], taken),
            whole,
            "what follows is another's"
        );
        assert_eq!(
            end(&bytes[..taken - 1], taken),
            Ok(None),
            "one byte less is less"
        );
    }
}
