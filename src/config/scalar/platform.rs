//! What names a platform and what is on it.

use std::fmt;
use std::str::FromStr;

use http::Uri;

use super::text_value;
use crate::authz::KeyForm;

/// Longest identifier of a workspace.
const WORKSPACE_BYTES_MAX: usize = 128;

text_value!(
    /// Where a platform is: `https://HOST` or `http://HOST`, with a path where it is not at the root.
    PlatformUrl(String),
    "platform-url",
    "https://api.studio.prisme.ai"
);

text_value!(
    /// Where a control plane is: `https://HOST:PORT` or `http://HOST:PORT`.
    ControlUrl(String),
    "control-url",
    "https://control.example.com:8081"
);

text_value!(
    /// The slug of an organisation.
    OrgSlug(String),
    "org-slug",
    "acme"
);

text_value!(
    /// The id of a workspace.
    WorkspaceId(String),
    "workspace-id",
    "6a1f0c2"
);

impl PlatformUrl {
    /// Whether what is sent there can be read on the way, beyond this machine.
    pub fn is_open_to_view(&self) -> bool {
        is_open_to_view(&self.0)
    }
}

impl ControlUrl {
    /// Whether what is sent there can be read on the way, beyond this machine.
    pub fn is_open_to_view(&self) -> bool {
        is_open_to_view(&self.0)
    }
}

fn is_open_to_view(url: &str) -> bool {
    let rest = url.strip_prefix("http://");
    let host = rest.map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
    host.is_some_and(|host| !matches!(host, "localhost" | "127.0.0.1" | "["))
}

/// A URL that others are made of by appending to it; `None`: it is none.
fn base_url(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let plain = authority.is_some_and(|at| !at.is_empty() && !at.contains('@'));
    let is_base = scheme && plain && uri.query().is_none() && !text.contains('#');
    is_base.then(|| text.trim_end_matches('/').to_owned())
}

impl FromStr for ControlUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        base_url(text).map(Self).ok_or_else(|| {
            format!(
                "`{text}` is no URL of a control plane; write for example https://control.example.com:8081"
            )
        })
    }
}

impl fmt::Display for ControlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PlatformUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        base_url(text).map(Self).ok_or_else(|| {
            format!(
                "`{text}` is no URL of a platform; write for example https://api.studio.prisme.ai"
            )
        })
    }
}

impl fmt::Display for PlatformUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for OrgSlug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if KeyForm::is_org_slug(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{text}` is no slug of an organisation; write at most {} of a-z, 0-9 and `-`, beginning with a letter or a digit",
                KeyForm::ORG_SLUG_BYTES_MAX
            ))
        }
    }
}

impl fmt::Display for OrgSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WorkspaceId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let fits = (1..=WORKSPACE_BYTES_MAX).contains(&text.len());
        if fits && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "`{text}` is no id of a workspace; write at most {WORKSPACE_BYTES_MAX} letters, digits, `-` and `_`"
        ))
    }
}

impl fmt::Display for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_named_by_a_base_url() {
        let read = |text: &str| text.parse::<PlatformUrl>().map(|url| url.0);
        assert_eq!(read("https://h"), Ok("https://h".to_owned()));
        assert_eq!(
            read("http://h:3001/api/"),
            Ok("http://h:3001/api".to_owned())
        );
        for wrong in [
            "",
            "h",
            "/v2",
            "ftp://h",
            "https://",
            "https://u:p@h",
            "https://h?x=1",
            "https://h#x",
            "https://h h",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let open = |text: &str| text.parse::<PlatformUrl>().unwrap().is_open_to_view();
        assert!(open("http://gateway/x") && open("http://10.0.0.1:80"));
        assert!(!open("https://h") && !open("http://127.0.0.1:1") && !open("http://[::1]:1"));
    }

    #[test]
    fn slugs_and_ids() {
        for text in ["acme", "0-a", &"a".repeat(63)] {
            assert!(text.parse::<OrgSlug>().is_ok(), "{text}");
        }
        for wrong in ["", "-a", "Acme", "a_b", "a/b", &"a".repeat(64)] {
            assert!(wrong.parse::<OrgSlug>().is_err(), "{wrong}");
        }
        assert!("6A-_z".parse::<WorkspaceId>().is_ok());
        for wrong in ["", "a/b", "slug:a", "a b", &"a".repeat(129)] {
            assert!(wrong.parse::<WorkspaceId>().is_err(), "{wrong}");
        }
    }
}
