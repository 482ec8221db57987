//! As much of JSON Schema 2020-12 as the recipe's schema uses, and nothing is passed over: a keyword that is not known
//! here stops the test. A whole validator would bring fifty crates.

use serde_json::{Map, Value};

/// Whether the schema accepts a value; if not, where and why not.
pub fn check(schema: &Value, value: &Value) -> Result<(), String> {
    Validator { root: schema }.check(schema, value, "")
}

struct Validator<'a> {
    root: &'a Value,
}

impl Validator<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let schema = schema.as_object().expect("a schema is an object");
        schema
            .iter()
            .try_for_each(|(keyword, wanted)| self.keyword(schema, keyword, wanted, value, at))
    }

    fn keyword(
        &self,
        schema: &Map<String, Value>,
        keyword: &str,
        wanted: &Value,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        let holds = match keyword {
            "$schema" | "$defs" | "title" | "description" | "default" | "format" => true,
            "$ref" => return self.check(self.definition(wanted), value, at),
            "type" => list(wanted).iter().any(|name| is_of_type(value, name)),
            "enum" => list(wanted).contains(value),
            "const" => wanted == value,
            "anyOf" => return self.any_of(list(wanted), value, at),
            "oneOf" => {
                let fits = |form: &&Value| self.check(form, value, at).is_ok();
                list(wanted).iter().filter(fits).count() == 1
            }
            "minimum" => value.as_f64().is_none_or(|n| Some(n) >= wanted.as_f64()),
            "maximum" => value.as_f64().is_none_or(|n| Some(n) <= wanted.as_f64()),
            "minLength" => length(value).is_none_or(|n| Some(n) >= wanted.as_u64()),
            "maxLength" => length(value).is_none_or(|n| Some(n) <= wanted.as_u64()),
            "minItems" => {
                (value.as_array()).is_none_or(|all| Some(all.len() as u64) >= wanted.as_u64())
            }
            "maxItems" => {
                (value.as_array()).is_none_or(|all| Some(all.len() as u64) <= wanted.as_u64())
            }
            "pattern" => {
                let pattern =
                    regex::Regex::new(wanted.as_str().expect("a pattern")).expect("a pattern");
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "required" => value.as_object().is_none_or(|map| {
                list(wanted).iter().all(|key| map.contains_key(key.as_str().expect("a key")))
            }),
            "items" => return self.each(value.as_array().into_iter().flatten(), wanted, at),
            "properties" => return self.properties(wanted, value, at),
            "additionalProperties" => return self.others(schema, wanted, value, at),
            unknown => panic!("`{unknown}` in the schema: teach tests/support/json_schema.rs"),
        };
        match holds {
            true => Ok(()),
            false => Err(format!("{at}: {value} is not {keyword} {wanted}")),
        }
    }

    fn definition(&self, reference: &Value) -> &Value {
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
        let found = pointer.and_then(|pointer| self.root.pointer(pointer));
        found.unwrap_or_else(|| panic!("nothing is called {reference}"))
    }

    fn any_of(&self, forms: &[Value], value: &Value, at: &str) -> Result<(), String> {
        let mut objections = Vec::new();
        for form in forms {
            match self.check(form, value, at) {
                Ok(()) => return Ok(()),
                Err(objection) => objections.push(objection),
            }
        }
        Err(objections.join("; "))
    }

    fn each<'v>(
        &self,
        mut values: impl Iterator<Item = &'v Value>,
        schema: &Value,
        at: &str,
    ) -> Result<(), String> {
        values.try_for_each(|value| self.check(schema, value, &format!("{at}[]")))
    }

    fn properties(&self, schemas: &Value, value: &Value, at: &str) -> Result<(), String> {
        let Some(map) = value.as_object() else {
            return Ok(());
        };
        let known = map.iter().filter_map(|(key, value)| Some((key, value, schemas.get(key)?)));
        for (key, value, schema) in known {
            self.check(schema, value, &format!("{at}.{key}"))?;
        }
        Ok(())
    }

    /// Keys that `properties` does not name.
    fn others(
        &self,
        schema: &Map<String, Value>,
        wanted: &Value,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        let is_known =
            |key: &str| schema.get("properties").is_some_and(|keys| keys.get(key).is_some());
        let others = value.as_object().into_iter().flatten();
        for (key, value) in others.filter(|(key, _)| !is_known(key)) {
            if *wanted == Value::Bool(false) {
                return Err(format!("{at}: no key `{key}`"));
            }
            self.check(wanted, value, &format!("{at}.{key}"))?;
        }
        Ok(())
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn length(value: &Value) -> Option<u64> {
    value.as_str().map(|text| text.chars().count() as u64)
}

fn is_of_type(value: &Value, name: &Value) -> bool {
    match name.as_str().expect("the name of a type") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        unknown => panic!("there is no type {unknown}"),
    }
}
