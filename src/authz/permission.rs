//! Permissions and scopes of organisation keys: grammar and what covers what.
//!
//! It knows no route and no key: it compares texts with texts. What is malformed covers nothing, not even itself.

/// Segments of a permission, at least.
pub const PERMISSION_SEGMENTS_MIN: usize = 2;
/// Segments of a permission, at most.
pub const PERMISSION_SEGMENTS_MAX: usize = 8;
/// Bytes of a permission, at most.
pub const PERMISSION_BYTES_MAX: usize = 256;
/// Bytes of a granted scope, at most.
pub const SCOPE_BYTES_MAX: usize = 1024;
/// Permissions a key, and scopes a key, at most. What is beyond it in data grants nothing.
pub const GRANTS_MAX: usize = 1024;

/// Why a permission is refused on write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPermission(pub String);

/// Why a scope is refused on write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidScope(pub String);

/// One granted permission or scope. What is malformed is kept in its place and covers nothing, so that indexes stay
/// those of the grants as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grant<'a> {
    Any,
    Exact(&'a [u8]),
    /// Covers what begins with this text, which ends in `:`, and has more behind it.
    ///
    /// `P:manage` is one of these too: whatever begins with `P:` it covers, itself included.
    Below(&'a [u8]),
    Malformed,
}

impl<'a> Grant<'a> {
    const ANY: &'static str = "*";
    const MANAGE: &'static str = "manage";

    fn permission(written: &'a str) -> Self {
        let Some((parent, last)) = written.rsplit_once(':') else {
            return match written {
                Self::ANY => Self::Any,
                _ => Self::Malformed,
            };
        };
        if last == Self::ANY || last == Self::MANAGE {
            // `*` takes the place of one segment in the limits, as `manage` does.
            let (min, max) = (PERMISSION_SEGMENTS_MIN - 1, PERMISSION_SEGMENTS_MAX - 1);
            let fits = written.len() <= PERMISSION_BYTES_MAX && is_permission(parent, min, max);
            return match written.strip_suffix(last) {
                Some(prefix) if fits => Self::Below(prefix.as_bytes()),
                Some(_) | None => Self::Malformed,
            };
        }
        Self::exactly(RequiredPermission::parse(written).map(|it| it.as_str()))
    }

    fn scope(written: &'a str) -> Self {
        if written == Self::ANY {
            return Self::Any;
        }
        if written.len() > SCOPE_BYTES_MAX {
            return Self::Malformed;
        }
        match written.strip_suffix(Self::ANY) {
            // What stands before the `:*` has the form of a scope with anything in place of the `*`.
            Some(rest) if rest.ends_with(':') && is_scope_prefix(rest) => {
                Self::Below(rest.as_bytes())
            }
            Some(_) => Self::Malformed,
            None => Self::exactly(RequiredScope::parse(written).map(|it| it.as_str())),
        }
    }

    fn exactly(concrete: Option<&'a str>) -> Self {
        concrete.map_or(Self::Malformed, |text| Self::Exact(text.as_bytes()))
    }

    fn is_malformed(&self) -> bool {
        *self == Self::Malformed
    }

    /// Whether it covers `required`, which is concrete and of the same grammar.
    fn covers(&self, required: &[u8]) -> bool {
        match *self {
            Self::Any => true,
            Self::Exact(text) => text == required,
            Self::Below(prefix) => required.len() > prefix.len() && required.starts_with(prefix),
            Self::Malformed => false,
        }
    }

    /// Whether it covers every requirement that `other` covers.
    fn covers_grant(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Malformed) => true,
            (_, Self::Exact(text)) => self.covers(text),
            (Self::Below(wide), Self::Below(narrow)) => narrow.starts_with(wide),
            (Self::Exact(_) | Self::Below(_) | Self::Malformed, Self::Any)
            | (Self::Exact(_) | Self::Malformed, Self::Below(_)) => false,
        }
    }
}

/// Grants in the order in which they were written, in one piece of memory: a request that meets a key which was not
/// used for a while waits for one part of it, and not for a list and then for each text.
///
/// Of each grant there are a byte that says what it is, two with the length of its text, and its text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Grants(Box<[u8]>);

impl Grants {
    const ANY: u8 = 0;
    const EXACT: u8 = 1;
    const BELOW: u8 = 2;
    const MALFORMED: u8 = 3;

    fn iter(&self) -> impl Iterator<Item = Grant<'_>> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let ([kind, length @ ..], after) = rest.split_first_chunk::<3>()?;
            let (text, after) = after.split_at_checked(u16::from_le_bytes(*length).into())?;
            rest = after;
            Some(match *kind {
                Self::ANY => Grant::Any,
                Self::EXACT => Grant::Exact(text),
                Self::BELOW => Grant::Below(text),
                _ => Grant::Malformed,
            })
        })
    }

    /// Index of the first that covers `required`.
    fn first_covering(&self, required: &str) -> Option<u16> {
        let position = self
            .iter()
            .position(|grant| grant.covers(required.as_bytes()))?;
        u16::try_from(position).ok()
    }

    /// Whether each of `narrow` is covered by one of these.
    ///
    /// One for each is exact: the requirements below a prefix are more than any list of grants below it can name.
    fn cover_all_of(&self, narrow: &Self) -> bool {
        narrow.iter().all(|narrow| {
            narrow.is_malformed() || self.iter().any(|wide| wide.covers_grant(&narrow))
        })
    }
}

impl<'a> FromIterator<Grant<'a>> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant<'a>>>(grants: I) -> Self {
        let mut packed = Vec::new();
        for grant in grants.into_iter().take(GRANTS_MAX) {
            let (kind, text) = match grant {
                Grant::Any => (Self::ANY, [].as_slice()),
                Grant::Exact(text) => (Self::EXACT, text),
                Grant::Below(text) => (Self::BELOW, text),
                Grant::Malformed => (Self::MALFORMED, [].as_slice()),
            };
            // What is longer than its limit is malformed, and has no text here.
            let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
            packed.push(kind);
            packed.extend_from_slice(&length.to_le_bytes());
            packed.extend_from_slice(text);
        }
        Self(packed.into())
    }
}

fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// Whether `text` consists of `min` to `max` segments of the grammar.
fn is_permission(text: &str, min: usize, max: usize) -> bool {
    // Byte by byte, for every decision does it.
    let mut segments = 1;
    let mut empty = true;
    for byte in text.bytes() {
        match byte {
            b':' if !empty => {
                segments += 1;
                empty = true;
            }
            _ if is_segment_byte(byte) => empty = false,
            _ => return false,
        }
    }
    !empty && (min..=max).contains(&segments)
}

/// Whether `text` begins with a type and a `:`, without `*` or control bytes anywhere.
fn is_scope_prefix(text: &str) -> bool {
    let mut bytes = text.bytes();
    !text.starts_with(':')
        && bytes.clone().any(|byte| byte == b':')
        && !bytes.any(|byte| byte == b'*' || byte.is_ascii_control())
}

/// A required permission that has been checked to be concrete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequiredPermission<'a>(&'a str);

impl<'a> RequiredPermission<'a> {
    /// Takes a concrete permission: two to eight segments, no `*`, at most 256 bytes. `None` otherwise.
    pub fn parse(text: &'a str) -> Option<Self> {
        (text.len() <= PERMISSION_BYTES_MAX
            && is_permission(text, PERMISSION_SEGMENTS_MIN, PERMISSION_SEGMENTS_MAX))
        .then_some(Self(text))
    }

    /// As text.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

/// A required scope that has been checked to be concrete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequiredScope<'a>(&'a str);

impl<'a> RequiredScope<'a> {
    /// Takes a concrete scope `type:id`: no `*`, no control byte. `None` otherwise.
    pub fn parse(text: &'a str) -> Option<Self> {
        let colon = text.bytes().position(|byte| byte == b':')?;
        (is_scope_prefix(text) && colon + 1 < text.len()).then_some(Self(text))
    }

    /// As text.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

/// The permissions that a key holds, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PermissionSet(Grants);

impl PermissionSet {
    /// Compiles permissions as written; malformed ones grant nothing.
    pub fn compile(written: &[String]) -> Self {
        Self(written.iter().map(|text| Grant::permission(text)).collect())
    }

    /// Index of the first grant that covers `required`.
    pub fn covers(&self, required: RequiredPermission<'_>) -> Option<u16> {
        self.0.first_covering(required.0)
    }

    /// Whether this set covers every requirement that `other` covers (for delegation: no escalation).
    pub fn covers_all_of(&self, other: &Self) -> bool {
        self.0.cover_all_of(&other.0)
    }

    /// Checks permissions on write.
    ///
    /// # Errors
    /// The first that is not of the grammar, named.
    pub fn validate(written: &[String]) -> Result<(), InvalidPermission> {
        if written.len() > GRANTS_MAX {
            return Err(InvalidPermission(format!(
                "more than {GRANTS_MAX} permissions"
            )));
        }
        match written
            .iter()
            .find(|text| Grant::permission(text).is_malformed())
        {
            None => Ok(()),
            Some(text) => Err(InvalidPermission(format!(
                "permission `{}` is not `*` nor {PERMISSION_SEGMENTS_MIN} to {PERMISSION_SEGMENTS_MAX} segments of \
                 letters, digits, `_`, `.` and `-` joined by `:`, of which the last may be `*`, in at most \
                 {PERMISSION_BYTES_MAX} bytes",
                text.escape_debug()
            ))),
        }
    }
}

/// The scopes that a key holds, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeSet(Grants);

impl ScopeSet {
    /// Compiles scopes as written; malformed ones grant nothing.
    pub fn compile(written: &[String]) -> Self {
        Self(written.iter().map(|text| Grant::scope(text)).collect())
    }

    /// Whether no scope was written at all, which a route may take as "unlimited" (`empty_scopes: allow`).
    /// Malformed ones count as written.
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }

    /// Index of the first grant that covers `required`.
    pub fn covers(&self, required: RequiredScope<'_>) -> Option<u16> {
        self.0.first_covering(required.0)
    }

    /// Whether this set covers every requirement that `other` covers. What a key *without* scopes may do is the
    /// route's affair and not told by this.
    pub fn covers_all_of(&self, other: &Self) -> bool {
        self.0.cover_all_of(&other.0)
    }

    /// Checks scopes on write.
    ///
    /// # Errors
    /// The first that is not of the grammar, named.
    pub fn validate(written: &[String]) -> Result<(), InvalidScope> {
        if written.len() > GRANTS_MAX {
            return Err(InvalidScope(format!("more than {GRANTS_MAX} scopes")));
        }
        match written
            .iter()
            .find(|text| Grant::scope(text).is_malformed())
        {
            None => Ok(()),
            Some(text) => Err(InvalidScope(format!(
                "scope `{}` is not `*` nor `type:id` without control characters and with `*` only as a last `:*`, \
                 in at most {SCOPE_BYTES_MAX} bytes",
                text.escape_debug()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn permissions(written: &[&str]) -> PermissionSet {
        PermissionSet::compile(&written.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    }

    fn scopes(written: &[&str]) -> ScopeSet {
        ScopeSet::compile(&written.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    }

    fn permits(granted: &str, required: &str) -> bool {
        let required = RequiredPermission::parse(required).unwrap();
        permissions(&[granted]).covers(required).is_some()
    }

    fn reaches(granted: &str, required: &str) -> bool {
        let required = RequiredScope::parse(required).unwrap();
        scopes(&[granted]).covers(required).is_some()
    }

    #[test]
    fn a_grant_covers_what_the_grammar_says() {
        for (granted, required, expected) in [
            ("*", "orgs:manage", true),
            ("orgs:read", "orgs:read", true),
            ("orgs:read", "orgs:Read", false),
            ("orgs:*", "orgs:members", true),
            ("orgs:*", "orgs:members:read", true),
            ("orgs:*", "orgsx:members", false),
            ("orgs:members:*", "orgs:members", false),
            ("orgs:members:manage", "orgs:members:read", true),
            ("orgs:members:manage", "orgs:members:manage", true),
            ("orgs:members:manage", "orgs:members:a:b", true),
            ("orgs:members:manage", "orgs:members", false),
            ("orgs:manage", "orgs:members:read", true),
            ("orgs:managed", "orgs:members", false),
            ("orgs:members", "orgs:members:read", false),
        ] {
            assert_eq!(permits(granted, required), expected, "{granted} {required}");
        }
    }

    #[test]
    fn a_malformed_permission_is_refused_and_grants_nothing() {
        let long = format!("a:{}", "b".repeat(PERMISSION_BYTES_MAX - 1));
        for text in [
            "",
            "orgs",
            "manage",
            ":",
            "orgs:",
            ":orgs",
            "orgs::read",
            "*:read",
            "orgs:*:read",
            "orgs:re*",
            "**",
            "orgs:**",
            "*:*",
            "orgs:ré",
            "orgs: read",
            "a:b:c:d:e:f:g:h:i",
            "a:b:c:d:e:f:g:h:*",
            "a:b:c:d:e:f:g:h:manage",
            &long,
        ] {
            assert!(
                PermissionSet::validate(&[text.to_owned()]).is_err(),
                "{text}"
            );
            let set = permissions(&[text]);
            assert_eq!(
                set.0.iter().collect::<Vec<_>>(),
                [Grant::Malformed],
                "{text}"
            );
        }
        let limit = format!("a:{}", "b".repeat(PERMISSION_BYTES_MAX - 2));
        for text in [
            "*",
            "a:b:c:d:e:f:g:h",
            "a:b:c:d:e:f:g:*",
            "a:b:c:d:e:f:g:manage",
            "A.b_c-9:*",
            &limit,
        ] {
            assert_eq!(
                PermissionSet::validate(&[text.to_owned()]),
                Ok(()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_required_permission_is_concrete() {
        for text in [
            "orgs:*",
            "*",
            "orgs",
            "a:b:c:d:e:f:g:h:i",
            "orgs:",
            "a b:c",
            "",
        ] {
            assert_eq!(RequiredPermission::parse(text), None, "{text}");
        }
        assert!(RequiredPermission::parse("orgs:manage").is_some());
    }

    #[test]
    fn the_first_covering_grant_is_named_as_written() {
        let set = permissions(&["bro*ken", "orgs:read", "orgs:*", "*"]);
        let index = |text| set.covers(RequiredPermission::parse(text).unwrap());
        assert_eq!(index("orgs:read"), Some(1));
        assert_eq!(index("orgs:write"), Some(2));
        assert_eq!(index("other:write"), Some(3));
        assert_eq!(
            permissions(&[]).covers(RequiredPermission::parse("a:b").unwrap()),
            None
        );
    }

    #[test]
    fn a_scope_covers_what_begins_with_the_rest() {
        for (granted, required, expected) in [
            ("*", "agents:a1", true),
            ("agents:a1", "agents:a1", true),
            ("agents:a1", "agents:a1:x", false),
            ("agents:*", "agents:a1", true),
            ("agents:*", "agents:a1:x", true),
            ("agents:a1:*", "agents:a1:x", true),
            ("agents:a1:*", "agents:a1", false),
            ("agents:manage", "agents:a1", false),
            ("agents:é/x y", "agents:é/x y", true),
            ("a::*", "a::b", true),
        ] {
            assert_eq!(reaches(granted, required), expected, "{granted} {required}");
        }
    }

    #[test]
    fn a_malformed_scope_is_refused_and_grants_nothing() {
        let long = format!("a:{}", "b".repeat(SCOPE_BYTES_MAX - 1));
        for text in [
            "",
            "agents",
            "agents:",
            ":a1",
            ":*",
            "agents:a*",
            "agents*",
            "a:*:b",
            "*:*",
            "a:\u{7f}",
            "a:\n",
            &long,
        ] {
            assert!(ScopeSet::validate(&[text.to_owned()]).is_err(), "{text:?}");
            let set = scopes(&[text]);
            assert_eq!(
                set.0.iter().collect::<Vec<_>>(),
                [Grant::Malformed],
                "{text:?}"
            );
        }
        assert!(
            !scopes(&[""]).is_empty(),
            "a malformed scope is no absent scope"
        );
        assert!(scopes(&[]).is_empty());
        for text in ["agents", "agents:", ":x", "a:*", "a:\u{1}"] {
            assert_eq!(RequiredScope::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn too_many_grants_are_refused() {
        let many = vec!["a:b".to_owned(); GRANTS_MAX + 1];
        assert!(PermissionSet::validate(&many).is_err());
        assert!(ScopeSet::validate(&many).is_err());
        assert_eq!(PermissionSet::validate(&many[1..]), Ok(()));
    }

    /// Every requirement over a small alphabet; large enough to tell any two grants over it apart.
    fn universe() -> Vec<String> {
        let segments = ["a", "b", "manage", "zz"];
        let mut all = Vec::new();
        let mut layer: Vec<String> = segments.iter().map(|s| (*s).to_owned()).collect();
        for _ in 0..3 {
            layer = layer
                .iter()
                .flat_map(|head| segments.iter().map(move |tail| format!("{head}:{tail}")))
                .collect();
            all.extend(layer.iter().cloned());
        }
        all
    }

    fn written_grant() -> impl Strategy<Value = String> {
        let segment = prop_oneof![Just("a"), Just("b"), Just("manage")];
        let last = prop_oneof![Just("a"), Just("b"), Just("manage"), Just("*")];
        prop_oneof![
            1 => Just("*".to_owned()),
            1 => Just("a:*b".to_owned()),
            12 => (proptest::collection::vec(segment, 1..3), last)
                .prop_map(|(head, last)| format!("{}:{last}", head.join(":"))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn covering_all_of_is_covering_each_requirement(
            wide in proptest::collection::vec(written_grant(), 0..4),
            narrow in proptest::collection::vec(written_grant(), 0..3),
        ) {
            let (wide, narrow) = (PermissionSet::compile(&wide), PermissionSet::compile(&narrow));
            let each = universe().iter().all(|text| {
                let required = RequiredPermission::parse(text).unwrap();
                narrow.covers(required).is_none() || wide.covers(required).is_some()
            });
            prop_assert_eq!(wide.covers_all_of(&narrow), each);
        }

        #[test]
        fn covering_all_scopes_is_covering_each(
            wide in proptest::collection::vec(written_grant(), 0..4),
            narrow in proptest::collection::vec(written_grant(), 0..3),
        ) {
            let (wide, narrow) = (ScopeSet::compile(&wide), ScopeSet::compile(&narrow));
            let each = universe().iter().all(|text| {
                let required = RequiredScope::parse(text).unwrap();
                narrow.covers(required).is_none() || wide.covers(required).is_some()
            });
            prop_assert_eq!(wide.covers_all_of(&narrow), each);
        }

        #[test]
        fn nothing_is_covered_by_a_text_that_is_refused(granted in ".{0,12}", required in "[ab]:[ab](:[ab])?") {
            let required = RequiredPermission::parse(&required).unwrap();
            let refused = PermissionSet::validate(std::slice::from_ref(&granted)).is_err();
            let covers = PermissionSet::compile(&[granted]).covers(required).is_some();
            prop_assert!(!(refused && covers));
        }
    }
}
