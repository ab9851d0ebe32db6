//! The query: checked as a whole, decoded name by name when a route asks. Interprets no value.

use std::borrow::Cow;

use super::super::bytes;
use super::InvalidRequest;
use super::escape::decode_form;

const AMBIGUOUS_NAME: InvalidRequest =
    InvalidRequest("a query name that the route uses is ambiguous");
const AMBIGUOUS_VALUE: InvalidRequest =
    InvalidRequest("a query value that the route uses has no one decoding");

/// A checked query: no control character, space or `#`, and UTF-8. Names and values are decoded on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Query<'a>(Option<&'a str>);

impl<'a> Query<'a> {
    /// Checks the query part of a target; `None` where there is no `?`.
    ///
    /// # Errors
    /// A byte that the norm refuses.
    pub fn parse(raw: Option<&'a [u8]>) -> Result<Self, InvalidRequest> {
        let Some(raw) = raw else {
            return Ok(Self(None));
        };
        let text =
            std::str::from_utf8(raw).map_err(|_| InvalidRequest("the query is not UTF-8"))?;
        // Byte by byte first: a query in plain ASCII, as most are, needs no look at characters.
        let refused = |it: char| matches!(it, ' ' | '#') || it.is_control();
        if !bytes::QUERY.holds_all_of(raw) && text.contains(refused) {
            return Err(InvalidRequest(
                "a character in the query that must be encoded",
            ));
        }
        Ok(Self(Some(text)))
    }

    /// As received.
    pub fn as_str(&self) -> Option<&'a str> {
        self.0
    }

    /// The one decoded value of `name`.
    ///
    /// # Errors
    /// The name occurs more than once, or as an array (`name[]`), or its value cannot be decoded in one way
    /// only: `ambiguous_request`.
    pub fn value(&self, name: &str) -> Result<Option<Cow<'a, str>>, InvalidRequest> {
        let mut found = occurrences(self.0, name);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(Occurrence::Plain(value)), None) => {
                decode_form(value).map(Some).ok_or(AMBIGUOUS_VALUE)
            }
            (Some(Occurrence::Plain(_) | Occurrence::Array), _) => Err(AMBIGUOUS_NAME),
        }
    }
}

/// One place where a query names a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::authz) enum Occurrence<'a> {
    /// As it is; the raw value.
    Plain(&'a str),
    /// As an array or object (`name[…]`), which some upstreams read as the name.
    Array,
}

/// Every place where `query` names `name`, however encoded.
pub(in crate::authz) fn occurrences<'a>(
    query: Option<&'a str>,
    name: &str,
) -> impl Iterator<Item = Occurrence<'a>> {
    raw_pairs(query.unwrap_or_default()).filter_map(move |(_, raw_name, value)| {
        let decoded = decode_form(raw_name)?;
        match decoded.strip_prefix(name)?.chars().next() {
            None => Some(Occurrence::Plain(value)),
            Some('[') => Some(Occurrence::Array),
            Some(_) => None,
        }
    })
}

/// The parts between `&`: whole, name, value (empty without `=`). Only `&` separates.
pub(in crate::authz) fn raw_pairs(query: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (pair, name, value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(query: &str, name: &str) -> Result<Option<String>, InvalidRequest> {
        let query = Query::parse(Some(query.as_bytes())).unwrap();
        query.value(name).map(|value| value.map(Cow::into_owned))
    }

    #[test]
    fn controls_spaces_and_fragments_are_refused() {
        for raw in [
            b"a=b c".as_slice(),
            b"a#b",
            b"\0",
            b"a=\t",
            b"\x7f",
            b"\xff",
            "\u{85}".as_bytes(),
        ] {
            assert!(Query::parse(Some(raw)).is_err(), "{raw:?}");
        }
        for raw in ["", "a", "a=b&c=%zz", "q=\"<{|}>\"?/", "q=\u{e9}"] {
            assert_eq!(
                Query::parse(Some(raw.as_bytes())).unwrap().as_str(),
                Some(raw)
            );
        }
        assert_eq!(Query::parse(None).unwrap().as_str(), None);
    }

    #[test]
    fn names_and_values_are_decoded_once() {
        assert_eq!(
            value("id=a%2Bb+c%252E", "id"),
            Ok(Some("a+b c%2E".to_owned()))
        );
        assert_eq!(value("%69d=1;id=2", "id"), Ok(Some("1;id=2".to_owned())));
        assert_eq!(value("id", "id"), Ok(Some(String::new())));
        assert_eq!(value("id=a=b", "id"), Ok(Some("a=b".to_owned())));
        assert_eq!(value("ID=1&idx=2&x=id", "id"), Ok(None));
        assert_eq!(value("", "id"), Ok(None));
        assert_eq!(Query::default().value("id"), Ok(None));
    }

    #[test]
    fn what_upstreams_read_differently_is_ambiguous() {
        for query in [
            "id=1&id=1",
            "id=1&%69%64=2",
            "id=1&id[]=2",
            "id=1&id%5B%5D=2",
            "id[]=1",
            "id[0]=1",
            "id=1&x=2&id",
        ] {
            assert_eq!(value(query, "id"), Err(AMBIGUOUS_NAME), "{query}");
        }
        for query in ["id=%", "id=%4", "id=%zz", "id=%ff"] {
            assert_eq!(value(query, "id"), Err(AMBIGUOUS_VALUE), "{query}");
        }
    }

    #[test]
    fn a_plain_value_is_borrowed() {
        let query = Query::parse(Some(b"id=a")).unwrap();
        assert!(matches!(query.value("id"), Ok(Some(Cow::Borrowed("a")))));
    }
}
