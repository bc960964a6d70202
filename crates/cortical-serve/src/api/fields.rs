//! The fields of a request, each read once, none overlooked.

use super::error::{ApiError, ApiResult};
use axum::http::StatusCode;
use serde_json::{Map, Value};

/// Fields that say something to other servers and change nothing here.
const HARMLESS: [&str; 9] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
    "model",
];

/// The fields of a JSON object that were not read yet.
#[derive(Debug)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Those of a body.
    pub(crate) fn read(body: &[u8]) -> ApiResult<Self> {
        let bad = |message: String| ApiError::new(StatusCode::BAD_REQUEST, message);
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(bad("the body must be a JSON object".to_owned())),
            Err(why) => Err(bad(format!("the body is no JSON: {why}"))),
        }
    }

    /// A field, where it is there and not null.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A field that clients have to give.
    pub(crate) fn need(&mut self, name: &str) -> ApiResult<Value> {
        let found = self.take(name);
        found.ok_or_else(|| ApiError::field(name, format!("the field {name:?} is missing")))
    }

    pub(crate) fn flag(&mut self, name: &str) -> ApiResult<bool> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(wrong(name, "true or false", &other)),
        }
    }

    pub(crate) fn number(&mut self, name: &str, default: f64) -> ApiResult<f64> {
        match self.take(name) {
            None => Ok(default),
            Some(value) => {
                let found = value.as_f64().filter(|found| found.is_finite());
                found.ok_or_else(|| wrong(name, "a number", &value))
            }
        }
    }

    /// A whole number in a range.
    pub(crate) fn whole(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> ApiResult<Option<u64>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let found = value.as_u64().filter(|found| range.contains(found));
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        found
            .map(Some)
            .ok_or_else(|| wrong(name, &expected, &value))
    }

    /// A seed: any whole number.
    pub(crate) fn seed(&mut self) -> ApiResult<Option<u64>> {
        let Some(value) = self.take("seed") else {
            return Ok(None);
        };
        let found = value.as_u64().or(value.as_i64().map(|seed| seed as u64));
        let found = found.ok_or_else(|| wrong("seed", "a whole number", &value))?;
        Ok(Some(found))
    }

    /// One text or some.
    pub(crate) fn texts(&mut self, name: &str, most: usize) -> ApiResult<Vec<String>> {
        let expected = format!("a text or up to {most} of them");
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(all)) if all.len() <= most => all
                .into_iter()
                .map(|one| match one {
                    Value::String(text) => Ok(text),
                    other => Err(wrong(name, &expected, &other)),
                })
                .collect(),
            Some(other) => Err(wrong(name, &expected, &other)),
        }
    }

    /// A field that only may say what is done anyway.
    pub(crate) fn only(&mut self, name: &str, allowed: &[Value]) -> ApiResult<()> {
        match self.take(name) {
            Some(value) if !allowed.contains(&value) => Err(ApiError::field(
                name,
                format!("{name} = {} is not supported here", short(&value)),
            )
            .code("unsupported_parameter")),
            _ => Ok(()),
        }
    }

    /// That no field is left.
    pub(crate) fn finish(mut self) -> ApiResult<()> {
        for name in HARMLESS {
            self.0.remove(name);
        }
        match self.0.iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::field(
                name,
                format!("the field {name:?} is not known here"),
            )
            .code("unknown_parameter")),
        }
    }
}

/// What is wrong with a field.
pub(crate) fn wrong(name: &str, expected: &str, found: &Value) -> ApiError {
    let message = format!("{name}: expected {expected}, found {}", short(found));
    ApiError::field(name, message)
}

/// A value, or its beginning.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
