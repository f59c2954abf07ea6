//! The parts of JSON Schema that describe requests and answers.

use serde_json::{Map, Value, json};

/// The schema of an object with these fields, all of them required.
pub(super) fn object(fields: &[(&str, Value)]) -> Value {
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    let fields: Map<_, _> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "required": names, "properties": fields })
}

/// The schema of an object with any names, and values of the schema `of`.
pub(super) fn map(of: Value) -> Value {
    with(json!({ "type": "object" }), "additionalProperties", of)
}

pub(super) fn list(of: Value) -> Value {
    with(json!({ "type": "array" }), "items", of)
}

pub(super) fn string() -> Value {
    json!({ "type": "string" })
}

pub(super) fn integer() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

pub(super) fn number() -> Value {
    json!({ "type": "number" })
}

pub(super) fn boolean() -> Value {
    json!({ "type": "boolean" })
}

/// The schema of one of these words.
pub(super) fn one_of(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

/// The schema, or null.
pub(super) fn nullable(schema: Value) -> Value {
    let or_null = json!([schema.get("type"), "null"]);
    with(schema, "type", or_null)
}

/// The schema, with a description.
pub(super) fn about(schema: Value, description: &str) -> Value {
    with(schema, "description", description.into())
}

/// The schema of an object of whose fields only these are required.
pub(super) fn required(schema: Value, names: &[&str]) -> Value {
    with(schema, "required", json!(names))
}

/// The object, with one more field, or another value of it.
pub(super) fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.insert(name.to_owned(), value);
    }
    object
}

/// The fields of these names, which all have the same schema.
pub(super) fn fields<'a>(names: &[&'a str], schema: &Value) -> Vec<(&'a str, Value)> {
    names.iter().map(|name| (*name, schema.clone())).collect()
}
