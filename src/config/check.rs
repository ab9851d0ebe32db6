//! The structural check: a tree against the schema, every fault reported and cut out, so that what is left can be read.
//!
//! Walks what the schema generator writes for the types in `raw`, and no more of JSON Schema than that. Its messages
//! are for people, which is why no general validator does this.

use serde_json::Value;

use super::later;
use super::mistake::Mistake;
use super::node::{Content, Kind, Node};
use super::wording::{expected, scalar_fault, unknown_key, unknown_word};

/// Checks `node` against `root`, pushes faults, and cuts out of the tree what is at fault.
///
/// What is missing is reported here, so whoever reads the rest can be silent about what is absent.
pub(super) fn check(node: &mut Node, root: &Value, faults: &mut Vec<Mistake>) {
    let mut checker = Checker { root, faults };
    if !checker.value(node, root, "File") {
        node.content = Content::Map(Vec::new());
    }
}

struct Checker<'a> {
    root: &'a Value,
    faults: &'a mut Vec<Mistake>,
}

impl<'a> Checker<'a> {
    /// Whether `node` is usable as what `schema` asks for. `section`: the type that the schema was made for.
    fn value(&mut self, node: &mut Node, schema: &'a Value, section: &'a str) -> bool {
        if node.content == Content::Broken {
            return false;
        }
        let (schema, section) = self.resolved(schema, section);
        let options = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(key));
        if let Some(options) = options.and_then(Value::as_array) {
            return self.one_of(node, options);
        }
        let types = types(schema);
        read_as_text_where_only_text_fits(node, &types);
        let kind = node.kind();
        let fits =
            |name: &&str| *name == kind.schema_name() || *name == "number" && kind == Kind::Integer;
        if !types.is_empty() && !types.iter().any(fits) {
            return self.report(node, expected(node, &described(&types), schema));
        }
        match &node.content {
            Content::Map(_) => self.map(node, schema, section),
            Content::List(_) => self.list(node, schema, section),
            Content::Scalar(scalar) => match scalar_fault(scalar, schema) {
                Some(message) => self.report(node, message),
                None => true,
            },
            Content::Broken => false,
        }
    }

    /// The schema that a reference stands for, with the name of its type.
    fn resolved(&self, schema: &'a Value, section: &'a str) -> (&'a Value, &'a str) {
        let reference = schema.get("$ref").and_then(Value::as_str);
        let name = reference.and_then(|reference| reference.strip_prefix("#/$defs/"));
        name.and_then(|name| Some((self.root.get("$defs")?.get(name)?, name)))
            .unwrap_or((schema, section))
    }

    fn map(&mut self, node: &mut Node, schema: &'a Value, section: &'a str) -> bool {
        let properties = schema.get("properties").and_then(Value::as_object);
        let rest = schema.get("additionalProperties");
        let Content::Map(entries) = &mut node.content else {
            return false;
        };
        let missing: Vec<&str> = required(schema)
            .filter(|name| !entries.iter().any(|entry| entry.key == *name))
            .collect();
        entries.retain_mut(|entry| {
            let known = properties.and_then(|properties| properties.get(&entry.key));
            match (known, rest) {
                (Some(schema), _) | (None, Some(schema @ Value::Object(_))) => {
                    self.value(&mut entry.value, schema, section)
                }
                (None, Some(Value::Bool(false))) => {
                    let message = if later::is_later_key(section, &entry.key) {
                        format!("`{}` {}", entry.key, later::MESSAGE)
                    } else {
                        unknown_key(&entry.key, properties.into_iter().flat_map(|p| p.keys()))
                    };
                    let path = &entry.value.path;
                    self.faults.push(Mistake::at(entry.mark, path, message));
                    false
                }
                (None, _) => entry.value.content != Content::Broken,
            }
        });
        for name in missing {
            self.report(node, format!("`{name}` is missing"));
        }
        true
    }

    fn list(&mut self, node: &mut Node, schema: &'a Value, section: &'a str) -> bool {
        let Content::List(items) = &mut node.content else {
            return false;
        };
        let count = items.len() as u64;
        if let Some(schema) = schema.get("items") {
            items.retain_mut(|item| self.value(item, schema, section));
        }
        let bound = |name| schema.get(name).and_then(Value::as_u64);
        if bound("minItems").is_some_and(|min| count < min) {
            return self.report(node, "must not be empty");
        }
        if let Some(max) = bound("maxItems").filter(|max| count > *max) {
            return self.report(node, format!("has {count} items; at most {max} are taken"));
        }
        true
    }

    /// Several schemas of which one must hold: chosen by the kind of the node and, among mappings, by a key.
    fn one_of(&mut self, node: &mut Node, options: &'a [Value]) -> bool {
        let options: Vec<_> = options
            .iter()
            .map(|option| self.resolved(option, ""))
            .collect();
        let words: Vec<&str> = options
            .iter()
            .flat_map(|(schema, _)| words(schema))
            .collect();
        if node.kind() == Kind::Text
            && !words.is_empty()
            && let Content::Scalar(scalar) = &node.content
        {
            let message = unknown_word(&scalar.text, &words, &alternatives(&words, &options));
            return message.is_none_or(|message| self.report(node, message));
        }
        match chosen(node, &options) {
            Some((schema, section)) => self.value(node, schema, section),
            None => {
                let message = expected(node, &alternatives(&words, &options), &Value::Null);
                self.report(node, message)
            }
        }
    }

    /// Always `false`: what is reported is not usable.
    fn report(&mut self, node: &Node, message: impl Into<String>) -> bool {
        self.faults
            .push(Mistake::at(node.mark, &node.path, message));
        false
    }
}

/// The one schema of several that a node must hold to, if it is anything like one of them. Mappings that are told
/// apart by their keys require one each.
fn chosen<'o, 'a>(
    node: &Node,
    options: &'o [(&'a Value, &'a str)],
) -> Option<&'o (&'a Value, &'a str)> {
    let kind = node.kind().schema_name();
    options.iter().find(|(schema, _)| {
        let mut keys = required(schema).peekable();
        words(schema).is_empty()
            && types(schema).contains(&kind)
            && (keys.peek().is_none() || keys.any(|key| node.get(key).is_some()))
    })
}

/// What may stand where one of several schemas must hold, in words.
fn alternatives(words: &[&str], options: &[(&Value, &str)]) -> Vec<String> {
    let mut list: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    for (schema, _) in options
        .iter()
        .filter(|(schema, _)| self::words(schema).is_empty())
    {
        match required(schema).next() {
            Some(key) => list.push(format!("`{{ {key}: … }}`")),
            None => list.extend(described(&types(schema))),
        }
    }
    list
}

/// Where only text fits, a number that came from a variable is text: nobody can put it in quotes.
fn read_as_text_where_only_text_fits(node: &mut Node, types: &[&str]) {
    if let Content::Scalar(scalar) = &mut node.content
        && scalar.substituted
        && types == ["string"]
    {
        scalar.plain = false;
    }
}

/// The types that a schema takes, by their names in JSON Schema; none: any.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        Some(_) | None => Vec::new(),
    }
}

fn described(types: &[&str]) -> Vec<String> {
    let kinds = Kind::ALL
        .iter()
        .filter(|kind| types.contains(&kind.schema_name()));
    kinds.map(|kind| kind.described().to_owned()).collect()
}

/// The words of which a schema takes one.
fn words(schema: &Value) -> Vec<&str> {
    let nested = schema.get("oneOf").and_then(Value::as_array);
    let nested = nested.into_iter().flatten().flat_map(words);
    let listed = schema.get("enum").and_then(Value::as_array);
    let listed = listed.into_iter().flatten().filter_map(Value::as_str);
    let single = schema.get("const").and_then(Value::as_str);
    nested.chain(listed).chain(single).collect()
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    let list = schema.get("required").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}
