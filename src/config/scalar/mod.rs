//! The small languages of single values: durations, sizes, addresses, names.
//!
//! Each is a type that reads itself from text and says for people what is wrong with it. The schema calls each by its
//! `format`, by which the structural check finds the reader: see [`check`].

mod address;
mod name;
mod platform;
mod quantity;

use std::str::FromStr;

pub use address::PeerSet;
pub use address::{
    Database, EndpointAddress, HostName, ListenAddress, ProbePath, SocketAddress, TrustedPeer,
};
pub use name::{Header, HeaderPattern, MethodName, Name};
pub use platform::{ControlUrl, OrgSlug, PlatformUrl, WorkspaceId};
pub use quantity::{Size, Span, Timeout};

/// Checks `text` by the reader of that `format`. `None`: no format of ours.
pub(super) fn check(format: &str, text: &str) -> Option<Result<(), String>> {
    fn reads<T: FromStr<Err = String>>(text: &str) -> Result<(), String> {
        text.parse::<T>().map(drop)
    }
    Some(match format {
        Span::FORMAT => reads::<Span>(text),
        Timeout::FORMAT => reads::<Timeout>(text),
        Size::FORMAT => reads::<Size>(text),
        ListenAddress::FORMAT => reads::<ListenAddress>(text),
        SocketAddress::FORMAT => reads::<SocketAddress>(text),
        TrustedPeer::FORMAT => reads::<TrustedPeer>(text),
        EndpointAddress::FORMAT => reads::<EndpointAddress>(text),
        Database::FORMAT => reads::<Database>(text),
        Header::FORMAT => reads::<Header>(text),
        HeaderPattern::FORMAT => reads::<HeaderPattern>(text),
        ProbePath::FORMAT => reads::<ProbePath>(text),
        HostName::FORMAT => reads::<HostName>(text),
        MethodName::FORMAT => reads::<MethodName>(text),
        Name::FORMAT => reads::<Name>(text),
        ControlUrl::FORMAT => reads::<ControlUrl>(text),
        OrgSlug::FORMAT => reads::<OrgSlug>(text),
        PlatformUrl::FORMAT => reads::<PlatformUrl>(text),
        WorkspaceId::FORMAT => reads::<WorkspaceId>(text),
        _ => return None,
    })
}

/// Declares a value that is written as text: a newtype with `FromStr` and `Display` of its own gets its serde and
/// schema sides here.
macro_rules! text_value {
    ($(#[$doc:meta])* $type:ident($inner:ty), $format:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(pub $inner);

        impl $type {
            /// What the schema calls it.
            pub const FORMAT: &str = $format;
        }

        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "format": $format,
                    "examples": [$example],
                })
            }
        }
    };
}
use text_value;
