//! Bodies, queries and paths read strictly: what is not expected is named, not ignored.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use bytes::BytesMut;
use hyper::body::Body as _;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::error::ApiError;
use super::seats::Seat;
use crate::authz::Timestamp;
use crate::control::command::InvalidInput;
use crate::wire::time::parse_rfc3339;
use crate::wire::value::StrictJson;

/// Most bytes of a body.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes of a body of somebody who needs no credential: a raw key fits, and little else.
const STRANGERS_BODY_BYTES_MAX: usize = 4 * 1024;
/// For the body of somebody who needs no credential.
const STRANGERS_BODY_TIME: Duration = Duration::from_secs(5);
/// Longest wait that `Prefer: wait` may ask for, in seconds.
const WAIT_SECONDS_MAX: u32 = 60;

/// A body of which nothing was read yet. Whoever sends it is not asked for it before it is known who that is.
pub(super) struct Unread(Request);

impl<S: Send + Sync> FromRequest<S> for Unread {
    type Rejection = Infallible;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(request))
    }
}

impl Unread {
    /// The body that somebody sends who was admitted, where all that is asked is in it: what stands in a query is not
    /// passed over as if it were done.
    ///
    /// # Errors
    /// There are parameters in the query, or as [`Unread::of_gateway`].
    pub(super) async fn of_admitted(self) -> Result<Body, ApiError> {
        no_query(self.0.uri())?;
        self.of_gateway().await
    }

    /// The body that a gateway sends, which says in the query who it is.
    ///
    /// # Errors
    /// It is longer than [`BODY_BYTES_MAX`], or does not come to its end.
    pub(super) async fn of_gateway(self) -> Result<Body, ApiError> {
        if let Some(seat) = self.0.extensions().get::<Seat>() {
            seat.stay();
        }
        self.up_to(BODY_BYTES_MAX).await
    }

    /// The body that a stranger sends.
    ///
    /// # Errors
    /// There are parameters in the query, or it is longer than [`STRANGERS_BODY_BYTES_MAX`], takes too long, or does not
    /// come to its end.
    pub(super) async fn of_stranger(self) -> Result<Body, ApiError> {
        no_query(self.0.uri())?;
        let body = self.up_to(STRANGERS_BODY_BYTES_MAX);
        let body = tokio::time::timeout(STRANGERS_BODY_TIME, body).await;
        body.unwrap_or_else(|_| Err(ApiError::timeout()))
    }

    async fn up_to(self, bytes_max: usize) -> Result<Body, ApiError> {
        let mut body = self.0.into_body();
        let too_large = || ApiError::body_too_large(bytes_max);
        if body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
            return Err(too_large());
        }
        let mut bytes = BytesMut::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame
                .map_err(|_| ApiError::bad_request("the body could not be read to its end"))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > bytes_max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Body(bytes.freeze()))
    }
}

/// The bytes of a body, read to the end.
pub(super) struct Body(Bytes);

impl Body {
    /// The body as a JSON object of this shape.
    ///
    /// # Errors
    /// It is not, and where.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, InvalidInput> {
        parse(&self.0).map(|Object(value)| value)
    }

    /// The body as a JSON object of this shape, or the default of the shape where there is no body, or `null`.
    ///
    /// # Errors
    /// There is one of another shape, and where it differs.
    pub(super) fn parse_or_default<T: DeserializeOwned + Default>(
        &self,
    ) -> Result<T, InvalidInput> {
        if self.0.is_empty() {
            return Ok(T::default());
        }
        let given = parse::<Option<Object<T>>>(&self.0)?;
        Ok(given.map_or_else(T::default, |Object(value)| value))
    }
}

/// A JSON object in which no object, at any depth, has a name twice.
///
/// # Errors
/// It is none, and where.
pub(super) fn strict_object(text: &[u8]) -> Result<Map<String, Value>, InvalidInput> {
    match parse(text)? {
        StrictJson(Value::Object(members)) => Ok(members),
        StrictJson(_) => Err(InvalidInput::new("body", "is no object")),
    }
}

/// The value of this shape that has these members.
///
/// # Errors
/// It is not, and where.
pub(super) fn object_of<T: DeserializeOwned>(
    members: Map<String, Value>,
) -> Result<T, InvalidInput> {
    serde_path_to_error::deserialize(Value::Object(members)).map_err(fault_of)
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, InvalidInput> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(fault_of)?;
    json.end()
        .map_err(|fault| InvalidInput::new("body", format_args!("is refused: {fault}")))?;
    Ok(value)
}

fn fault_of(error: serde_path_to_error::Error<serde_json::Error>) -> InvalidInput {
    let path = error.path().to_string();
    let fault = error.into_inner().to_string();
    InvalidInput::new(field_of(&path, &fault), format_args!("is refused: {fault}"))
}

/// A value of JSON that is an object. Serde alone would read a list of its members' values too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

/// A member that may be absent but, where it is there, is an object.
pub(super) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| Some(value))
}

/// The field that a fault concerns. Serde quotes the name of one that is unknown, repeated or missing.
fn field_of(path: &str, fault: &str) -> String {
    let quoted = ["unknown field `", "duplicate field `", "missing field `"];
    let quoted = quoted
        .iter()
        .find_map(|prefix| fault.strip_prefix(prefix)?.split('`').next());
    let repeated = || fault.strip_prefix("the name `")?.split('`').next();
    match (quoted, path) {
        (Some(name), _) => name.to_owned(),
        (None, "" | "." | "?") => repeated().unwrap_or("body").to_owned(),
        (None, path) => path.to_owned(),
    }
}

/// The parameters of a query.
///
/// # Errors
/// One that is unknown, repeated or of the wrong type.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, InvalidInput> {
    /// What the library says of a parameter that is there twice and may be there once.
    const TWICE: &str = "unsupported value";
    let query = uri.query().unwrap_or_default();
    if let Some(name) = undecodable(query) {
        return Err(InvalidInput::new(name, "is not UTF-8"));
    }
    let form = serde_html_form::Deserializer::from_bytes(query.as_bytes());
    serde_path_to_error::deserialize(form).map_err(|error| {
        let path = error.path().to_string();
        let fault = error.into_inner().to_string();
        let field = field_of(&path, &fault);
        match fault.as_str() {
            TWICE => InvalidInput::new(field, "is there more than once"),
            fault => InvalidInput::new(field, format_args!("is refused: {fault}")),
        }
    })
}

/// The name of the first parameter that is not UTF-8, or whose name is not. The library would take replacement characters
/// for what was meant.
fn undecodable(query: &str) -> Option<String> {
    let is_utf8 = |text: &str| percent_decode_str(text).decode_utf8().is_ok();
    let mut parameters = query.split('&');
    let parameter = parameters.find(|parameter| !is_utf8(parameter))?;
    let name = parameter.split('=').next().unwrap_or_default();
    Some(percent_decode_str(name).decode_utf8_lossy().into_owned())
}

/// That a query has no parameters, where none is known.
///
/// # Errors
/// It has one.
pub(super) fn no_query(uri: &Uri) -> Result<(), InvalidInput> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    query(uri).map(|Nothing {}| ())
}

/// Segments of a path, percent-decoded.
pub(super) struct Segments<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Path::from_request_parts(parts, state)
            .await
            .map(|Path(segments)| Self(segments))
            .map_err(|_| ApiError::bad_request("the path is not UTF-8"))
    }
}

/// How many seconds the client would wait for gateways to apply a change; `None`: it did not say.
pub(super) fn preferred_wait(headers: &HeaderMap) -> Option<u32> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok())
        .map(|seconds: u32| seconds.min(WAIT_SECONDS_MAX))
}

/// A member that may be absent but, where it is there, is not `null`.
pub(super) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A member that tells absent from `null`.
pub(super) fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A moment of a field.
///
/// # Errors
/// It is not written as RFC 3339 has it, or no such moment.
pub(super) fn moment(field: &str, text: &str) -> Result<Timestamp, InvalidInput> {
    parse_rfc3339(text)
        .map_err(|fault| InvalidInput::new(field, format_args!("is refused: {fault}")))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[serde(default, deserialize_with = "present")]
        name: Option<String>,
        #[serde(default, deserialize_with = "nullable")]
        owner: Option<Option<String>>,
        #[serde(default)]
        list: Vec<String>,
    }

    fn parse(text: &str) -> Result<Shape, String> {
        Body(Bytes::copy_from_slice(text.as_bytes()))
            .parse()
            .map_err(|fault| fault.field)
    }

    #[test]
    fn a_fault_names_its_field() {
        for (text, field) in [
            (r#"{"surprise":1}"#, "surprise"),
            (r#"{"name":"a","name":"b"}"#, "name"),
            (r#"{"name":null}"#, "name"),
            (r#"{"name":7}"#, "name"),
            (r#"{"list":["a",7]}"#, "list[1]"),
            (r#"{"list":{"0":"a"}}"#, "list"),
            (r#"{"name":"\ud800"}"#, "name"),
            (r#"{"__proto__":{}}"#, "__proto__"),
            ("{", "body"),
            ("{} {}", "body"),
            ("7", "body"),
            (r#"["name"]"#, "body"),
            ("null", "body"),
            ("", "body"),
        ] {
            assert_eq!(parse(text).err().as_deref(), Some(field), "{text}");
        }
    }

    #[test]
    fn absent_and_null_are_two_things() {
        assert_eq!(parse("{}").unwrap().owner, None);
        assert_eq!(parse(r#"{"owner":null}"#).unwrap().owner, Some(None));
        assert_eq!(
            parse(r#"{"owner":"a"}"#).unwrap().owner,
            Some(Some("a".to_owned()))
        );
        let given = parse(r#"{"name":"n","list":["l"]}"#).unwrap();
        assert_eq!((given.name.as_deref(), given.list.len()), (Some("n"), 1));
    }

    #[test]
    fn a_fault_of_a_query_names_its_parameter() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Asked {
            #[expect(dead_code, reason = "only its parsing is looked at")]
            limit: Option<u32>,
            #[expect(dead_code, reason = "only its parsing is looked at")]
            #[serde(default, alias = "kind[]")]
            kind: Vec<String>,
        }
        let field = |query_text: &str| {
            let uri: Uri = format!("/?{query_text}").parse().unwrap();
            query::<Asked>(&uri).err().map(|fault| fault.field)
        };
        assert_eq!(field("limit=5"), None);
        assert_eq!(field("limit=-1").as_deref(), Some("limit"));
        assert_eq!(field("limit=1e308").as_deref(), Some("limit"));
        assert_eq!(field("limit=1&limit=2").as_deref(), Some("limit"));
        assert_eq!(field("kind=a&kind=b&limit=1"), None);
        assert_eq!(field("kind[]=a&kind%5B%5D=b"), None);
        assert_eq!(field("kind=a&kind[]=b").as_deref(), Some("kind"));
        assert_eq!(field("surprise=1").as_deref(), Some("surprise"));
        assert_eq!(field("limit=1&kind=%ff").as_deref(), Some("kind"));
        assert_eq!(field("limit=%31&kind=%C3%A9+%2B"), None);
        let nothing = |uri: &str| no_query(&uri.parse().unwrap()).map_err(|fault| fault.field);
        assert_eq!((nothing("/"), nothing("/?")), (Ok(()), Ok(())));
        assert_eq!(nothing("/?verbose=1"), Err("verbose".to_owned()));
    }

    #[test]
    fn a_preferred_wait_is_read_among_others_and_limited() {
        let wait = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("prefer", HeaderValue::from_str(line).unwrap());
            }
            preferred_wait(&headers)
        };
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&["wait=10"]), Some(10));
        assert_eq!(wait(&["return=minimal, Wait = 5; x=y"]), Some(5));
        assert_eq!(wait(&["respond-async", "wait=7"]), Some(7));
        assert_eq!(wait(&["wait=3600"]), Some(60));
        assert_eq!(wait(&["wait=soon"]), None);
        assert_eq!(wait(&["wait=-1"]), None);
    }
}
