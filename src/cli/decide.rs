//! `keyward decide`: JSON lines in, JSON lines out.
//!
//! Reads and writes lines; what one says is `wire`'s to read and `authz`'s to judge.

use std::io::{BufRead, Write};

use super::failure::Failure;
use crate::wire::decide::decide_line;

/// Judge grants against checks, one JSON object a line, without any configuration
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each line of standard input has `grants` and a `check`, of one of the three families:

  {\"grants\":{\"permissions\":[\"orgs:*\"],\"scopes\":[\"agents:a1\"]},
   \"check\":{\"permissions\":[\"orgs:members:read\"],\"scopes\":[\"agents:a1\"]}}
  {\"grants\":{\"rules\":[{\"action\":\"read\",\"subject\":\"pages\"}]},
   \"check\":{\"action\":\"read\",\"subject\":\"pages\",\"resource\":{},\"complete\":true}}
  {\"grants\":{\"permission_mode\":\"RESTRICTED\",\"access\":{\"deployment\":\"write\"}},
   \"check\":{\"domain\":\"deployment\",\"level\":\"read\",\"project\":null}}

(each on one line). It is answered by a line, in order: {\"decision\":…,\"reason\":…,\"determined_by\":…};
{\"refused\":…} where such grants could not be written; {\"error\":…} where the line is none of these.")]
pub struct DecideArgs {}

/// Longest line that is read: what is longer is answered as an error.
const LINE_BYTES_MAX: u64 = 1_048_576;

/// Answers the lines of `input` until it ends.
///
/// # Errors
/// `input` cannot be read or `out` cannot be written.
pub fn run(input: &mut dyn BufRead, out: &mut dyn Write) -> Result<(), Failure> {
    let mut line = Vec::new();
    while read_line(input, &mut line).map_err(unreadable)? {
        let answer = match std::str::from_utf8(&line) {
            Ok(text) if line.len() as u64 <= LINE_BYTES_MAX => decide_line(text),
            Ok(_) => r#"{"error":"the line is longer than 1 MiB"}"#.to_owned(),
            Err(_) => r#"{"error":"the line is not UTF-8"}"#.to_owned(),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::told(format!("standard input cannot be read: {error}"))
}

/// Reads a line without its end; what is beyond the limit is skipped but for one byte that tells so.
/// False: there is none.
fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        any = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let piece = buffer
            .get(..end.unwrap_or(buffer.len()))
            .unwrap_or_default();
        let room = usize::try_from(LINE_BYTES_MAX + 1).unwrap_or(usize::MAX) - line.len();
        line.extend(piece.iter().take(room));
        let used = end.map_or(buffer.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            break;
        }
    }
    Ok(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(input: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        run(&mut &input[..], &mut out).unwrap();
        String::from_utf8(out)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn each_line_has_an_answer_and_bad_ones_say_so() {
        let mut input = b"nonsense\n\n\xff\xfe\n".to_vec();
        input.extend(vec![b'1'; LINE_BYTES_MAX as usize + 10]);
        let answers = answers(&input);
        assert_eq!(answers.len(), 4);
        assert!(
            answers
                .iter()
                .all(|answer| answer.starts_with(r#"{"error":"#)),
            "{answers:?}"
        );
        assert!(answers[3].contains("longer"));
    }

    #[test]
    fn no_input_has_no_answer() {
        assert!(answers(b"").is_empty());
    }
}
