//! The JSON Schema of the configuration, made from the types that it is read into.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::Value;

use super::raw::File;

/// The schema, as `keyward schema` prints it and as files are checked by.
pub fn schema() -> Schema {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<File>();
    RecursiveTransform(refuse_null).transform(&mut schema);
    schema
}

/// A key without a value is more likely something that got lost than something meant, and must not loosen a
/// requirement: `null` is taken only where a field says that it has a meaning.
fn refuse_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if object.contains_key("nullable") {
        return;
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(types) = object.get_mut("type")
        && let Some(list) = types.as_array_mut()
    {
        list.retain(|name| name != "null");
        if let [only] = list.as_slice() {
            *types = only.clone();
        }
    }
    for key in ["anyOf", "oneOf", "enum"] {
        if let Some(options) = object.get_mut(key).and_then(Value::as_array_mut) {
            options
                .retain(|option| !option.is_null() && option.get("type") != Some(&"null".into()));
        }
    }
    let one = match object
        .get("anyOf")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    {
        Some([Value::Object(one)]) => one.clone(),
        _ => return,
    };
    object.remove("anyOf");
    for (key, value) in one {
        object.entry(key).or_insert(value);
    }
}
