//! The forms of tokens. A form says what a token claims to be, never whether it is any good.

use super::super::bytes::{BASE64URL, HEX};
use super::super::id::Family;

/// The form of a token, which tells API keys from user tokens without any look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// An API key of this family: `iak_{orgSlug}_{uuid}`, a bare UUID, `sk-orq-{ULID}-{secret}`.
    Key(Family),
    /// A JWT or an opaque `at:…` token: not an API key.
    UserToken,
}

impl KeyForm {
    /// Longest token that may be an API key, in bytes.
    pub const TOKEN_BYTES_MAX: usize = 256;
    /// Longest token that may be a user token, in bytes.
    pub const USER_TOKEN_BYTES_MAX: usize = 16 * 1024;
    /// Longest slug of an organisation, in bytes.
    pub const ORG_SLUG_BYTES_MAX: usize = 63;

    /// Whether keys may name an organisation of this slug.
    pub fn is_org_slug(slug: &str) -> bool {
        is_org_slug(slug.as_bytes())
    }

    /// The form of `token`; `None`: no known form. (A user token may be longer than an API key.)
    pub fn of(token: &[u8]) -> Option<Self> {
        if token.len() <= Self::TOKEN_BYTES_MAX
            && let Some(family) = key_family(token)
        {
            return Some(Self::Key(family));
        }
        let user_token = token.len() <= Self::USER_TOKEN_BYTES_MAX && is_user_token(token);
        user_token.then_some(Self::UserToken)
    }
}

/// What the keys of two families begin with; the third has no prefix.
const ORG_PREFIX: &[u8] = b"iak_";
const ACCESS_PREFIX: &[u8] = b"sk-orq-";

/// Whether `text` is, or begins like, an API key: what is removed rather than forwarded.
pub(in crate::authz) fn is_key_like(text: &[u8]) -> bool {
    text.starts_with(ORG_PREFIX) || text.starts_with(ACCESS_PREFIX) || is_uuid(text)
}

fn key_family(token: &[u8]) -> Option<Family> {
    if let Some(rest) = token.strip_prefix(ORG_PREFIX) {
        is_org_key(rest).then_some(Family::Org)
    } else if let Some(rest) = token.strip_prefix(ACCESS_PREFIX) {
        is_access_key(rest).then_some(Family::Access)
    } else {
        is_uuid(token).then_some(Family::Workspace)
    }
}

/// `{orgSlug}_{uuid}`.
fn is_org_key(rest: &[u8]) -> bool {
    split_org_key(rest).is_some_and(|(slug, uuid)| is_org_slug(slug) && is_uuid(uuid))
}

fn split_org_key(rest: &[u8]) -> Option<(&[u8], &[u8; UUID_BYTES])> {
    match rest.split_last_chunk()? {
        ([slug @ .., b'_'], uuid) => Some((slug, uuid)),
        _ => None,
    }
}

/// The organisation that an organisation key names.
pub(super) fn org_slug(token: &[u8]) -> Option<&str> {
    let (slug, _) = split_org_key(token.strip_prefix(ORG_PREFIX)?)?;
    std::str::from_utf8(slug).ok()
}

fn is_org_slug(slug: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    slug.len() <= KeyForm::ORG_SLUG_BYTES_MAX
        && slug.first().is_some_and(plain)
        && slug.iter().all(|byte| plain(byte) || *byte == b'-')
}

const UUID_BYTES: usize = 36;

/// 8-4-4-4-12 hexadecimal digits, in either case.
fn is_uuid(text: &[u8]) -> bool {
    let Some(text) = text.as_array::<UUID_BYTES>() else {
        return false;
    };
    // No early end, so that the compiler can unroll it.
    text.iter().enumerate().fold(true, |all, (at, &byte)| {
        all & match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => HEX.contains(byte),
        }
    })
}

/// `{ULID}-{secret}`.
fn is_access_key(rest: &[u8]) -> bool {
    const ULID_BYTES: usize = 26;
    match rest.split_at_checked(ULID_BYTES) {
        Some((ulid, [b'-', secret @ ..])) => {
            ulid.iter().copied().all(is_crockford)
                && !secret.is_empty()
                && BASE64URL.holds_all_of(secret)
        }
        _ => false,
    }
}

/// A digit of Crockford's base 32: no I, L, O, U.
fn is_crockford(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() && !matches!(byte.to_ascii_uppercase(), b'I' | b'L' | b'O' | b'U')
}

fn is_user_token(token: &[u8]) -> bool {
    match token.strip_prefix(b"at:") {
        Some(opaque) => {
            let visible = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';
            !opaque.is_empty() && opaque.iter().all(visible)
        }
        None => is_jwt(token),
    }
}

/// Three parts in base64url, none empty (an unsigned one is none), the first of which begins as JSON objects do.
fn is_jwt(token: &[u8]) -> bool {
    let part = |part: &[u8]| !part.is_empty() && BASE64URL.holds_all_of(part);
    token.starts_with(b"ey")
        && token.split(|&byte| byte == b'.').count() == 3
        && token.split(|&byte| byte == b'.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "0b5e3b1c-7A0E-4b5f-9a53-0f2c9a1d2e3f";
    const ULID: &str = "01HZXK3QW8Y5T2R9V7B6N4M1PC";

    fn form(token: &str) -> Option<KeyForm> {
        KeyForm::of(token.as_bytes())
    }

    #[test]
    fn every_family_has_its_form() {
        let secret = "s".repeat(200);
        for (token, family) in [
            (format!("iak_acme_{UUID}"), Family::Org),
            (format!("iak_0-acme-corp_{UUID}"), Family::Org),
            (format!("iak_{}_{UUID}", "a".repeat(63)), Family::Org),
            (UUID.to_owned(), Family::Workspace),
            (format!("sk-orq-{ULID}-0123456789abcdef"), Family::Access),
            (format!("sk-orq-{ULID}-{secret}"), Family::Access),
            (format!("sk-orq-{ULID}-_a-b_c-d_e-f_g-h"), Family::Access),
        ] {
            assert_eq!(form(&token), Some(KeyForm::Key(family)), "{token}");
        }
    }

    #[test]
    fn user_tokens_may_be_long() {
        let long = format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", "a".repeat(2000));
        for token in [
            "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
            "at:x",
            "at:0f+/=.-~",
            &long,
        ] {
            assert_eq!(form(token), Some(KeyForm::UserToken), "{token}");
        }
        let endless = format!("at:{}", "a".repeat(KeyForm::USER_TOKEN_BYTES_MAX));
        assert_eq!(form(&endless), None);
    }

    #[test]
    fn what_only_resembles_a_key_has_no_form() {
        let uuid = |slug: &str| format!("iak_{slug}_{UUID}");
        let secret = |secret: &str| format!("sk-orq-{ULID}-{secret}");
        for token in [
            String::new(),
            "iak_".to_owned(),
            uuid(""),
            uuid("-acme"),
            uuid("Acme"),
            uuid("a.b"),
            uuid("a_b"),
            uuid(&"a".repeat(64)),
            format!("iak_{UUID}"),
            format!("iak_acme_{UUID}0"),
            format!("iak_acme_{}", UUID.replace('-', "")),
            format!("IAK_acme_{UUID}"),
            format!("iak_acme-{UUID}"),
            format!(" {UUID}"),
            format!("{UUID} "),
            format!("{{{UUID}}}"),
            UUID.replace('b', "g"),
            "0b5e3b1c7-A0E-4b5f-9a53-0f2c9a1d2e3f".to_owned(),
            "------------------------------------".to_owned(),
            secret(""),
            secret("0123456789abcde="),
            format!("sk-orq-{}-0123456789abcdef", ULID.replace('K', "I")),
            format!("sk-orq-{ULID}_0123456789abcdef"),
            format!("sk-{ULID}-0123456789abcdef"),
            "eyJhbGciOiJub25lIn0.e30.".to_owned(),
            "eyJhbGciOiJub25lIn0.e30".to_owned(),
            "eyJ.a.b.c".to_owned(),
            "eyJ.a+b.c".to_owned(),
            "abc.def.ghi".to_owned(),
            "at:".to_owned(),
            "at:a b".to_owned(),
            "at:a,b".to_owned(),
            "AT:x".to_owned(),
        ] {
            assert_eq!(form(&token), None, "{token}");
        }
        assert_eq!(KeyForm::of(b"at:\xff"), None);
    }
}
