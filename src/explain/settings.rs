//! What can be set in a layer, in words, from the schema of its own types.

use schemars::schema_for;
use serde::Serialize;
use serde_json::Value;

use crate::layers::Layer;

/// One thing that can be set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Its name, with a dot where it is part of another; the first is the layer itself
    pub name: String,
    /// What can stand there
    pub takes: String,
    /// Whether it has to be there
    pub required: bool,
    /// What it is when it is left out, where that is one word
    pub default: Option<String>,
    /// What it means
    pub about: String,
    /// What each of its words means, where the words have a meaning of their own
    pub words: Vec<Word>,
}

/// One of the words that can stand there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Word {
    /// The word
    pub word: String,
    /// What it means
    pub about: String,
}

/// The layer as a setting of the recipe, and all that can be set in it.
pub fn settings(layer: &str) -> Vec<Setting> {
    let schema = Schema(schema_for!(Layer).to_value());
    let mut settings = Vec::new();
    if let Some(value) = schema.layer(layer) {
        let is_required = !schema.forms(value).iter().any(|form| form["type"] == "null");
        settings.push(schema.setting(layer, value, is_required));
        schema.collect(value, "", &mut Vec::new(), &mut settings);
    }
    settings
}

struct Schema(Value);

impl Schema {
    /// What stands behind the layer's name.
    fn layer(&self, name: &str) -> Option<&Value> {
        let forms = self.0.get("anyOf")?.as_array()?;
        forms.iter().find_map(|form| form.get("properties")?.get(name))
    }

    /// What a reference leads to.
    fn referred<'a>(&'a self, value: &Value) -> Option<&'a Value> {
        self.0.pointer(value.get("$ref")?.as_str()?.strip_prefix('#')?)
    }

    /// The forms that a value may have, each where it is defined.
    fn forms<'a>(&'a self, value: &'a Value) -> Vec<&'a Value> {
        let alternatives = value.get("anyOf").or_else(|| value.get("oneOf"));
        match (self.referred(value), alternatives.and_then(Value::as_array)) {
            (Some(found), _) => self.forms(found),
            (None, Some(forms)) => forms.iter().flat_map(|form| self.forms(form)).collect(),
            (None, None) => vec![value],
        }
    }

    /// The words that a value has: its own, or those of the type it is of. Of
    /// two forms the longer way of writing it has them, which stands last.
    fn about<'a>(&'a self, value: &'a Value) -> Option<&'a str> {
        if let Some(own) = value.get("description") {
            return own.as_str();
        }
        match (self.referred(value), value.get("anyOf").and_then(Value::as_array)) {
            (Some(found), _) => self.about(found),
            (None, Some(forms)) => forms.iter().rev().find_map(|form| self.about(form)),
            (None, None) => None,
        }
    }

    fn setting(&self, name: &str, value: &Value, required: bool) -> Setting {
        let default = match value.get("default") {
            Some(Value::String(word)) => Some(word.clone()),
            Some(Value::Bool(word)) => Some(word.to_string()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let words = self.forms(value).into_iter().filter_map(|form| {
            let (word, about) = (form.get("const")?.as_str()?, form.get("description")?.as_str()?);
            Some(Word { word: word.to_owned(), about: on_one_line(about) })
        });
        Setting {
            name: name.to_owned(),
            takes: self.takes(value),
            required,
            default,
            about: self.about(value).map(on_one_line).unwrap_or_default(),
            words: words.collect(),
        }
    }

    /// The settings within a value, those that have to be there first, each form once.
    fn collect<'a>(
        &'a self,
        value: &'a Value,
        within: &str,
        seen: &mut Vec<&'a Value>,
        all: &mut Vec<Setting>,
    ) {
        for form in self.forms(value) {
            if let Some(items) = form.get("items") {
                self.collect(items, within, seen, all);
            }
            if seen.iter().any(|seen| std::ptr::eq(*seen, form)) {
                continue;
            }
            seen.push(form);
            for (key, value, required) in properties(form) {
                let name = format!("{within}{key}");
                all.push(self.setting(&name, value, required));
                self.collect(value, &format!("{name}."), seen, all);
            }
        }
    }

    /// What can stand there: "a path or `{at, size}`".
    fn takes(&self, value: &Value) -> String {
        let mut kinds: Vec<String> = Vec::new();
        for form in self.forms(value) {
            match form.get("items") {
                Some(items) if kinds == self.kinds(items) => {
                    kinds.push("a list of them".to_owned())
                }
                Some(items) => kinds.push(format!("a list of {}", self.takes(items))),
                None => kinds.extend(kinds_of(form)),
            }
        }
        either(&kinds)
    }

    fn kinds(&self, value: &Value) -> Vec<String> {
        self.forms(value).into_iter().flat_map(kinds_of).collect()
    }
}

/// The keys of a map, those that have to be there first.
fn properties(form: &Value) -> Vec<(&str, &Value, bool)> {
    let required = form.get("required").and_then(Value::as_array);
    let is_required = |key: &String| required.is_some_and(|keys| keys.iter().any(|one| one == key));
    let all = form.get("properties").and_then(Value::as_object).into_iter().flatten();
    let mut all: Vec<_> = all.map(|(key, value)| (key.as_str(), value, is_required(key))).collect();
    all.sort_by_key(|(_, _, required)| !required);
    all
}

/// Columns that quoted words take at most, on the narrowest terminal.
const LONGEST_QUOTE: usize = 48;

/// What one form is, in words.
fn kinds_of(form: &Value) -> Vec<String> {
    let quoted = |word: &Value| word.as_str().map(|word| format!("`{word}`"));
    if let Some(words) = form.get("enum").and_then(Value::as_array) {
        return words.iter().filter_map(quoted).collect();
    }
    if let Some(word) = form.get("const").and_then(quoted) {
        return vec![word];
    }
    let name = form.get("type").and_then(Value::as_str).unwrap_or_default();
    let kind = match (name, form.get("description").and_then(Value::as_str)) {
        ("object", _) => {
            let keys: Vec<&str> = properties(form).into_iter().map(|(key, ..)| key).collect();
            let whole = format!("`{{{}}}`", keys.join(", "));
            // What is quoted is on one line.
            match whole.len() > LONGEST_QUOTE {
                true => format!("a map with `{}`", keys.join("`, `")),
                false => whole,
            }
        }
        ("boolean", _) => "true or false".to_owned(),
        // An option that is left out, not something to be written.
        ("null", _) => return Vec::new(),
        ("integer", _) => "a whole number".to_owned(),
        (_, Some(about)) => uncapitalised(first_sentence(about)),
        _ => "text".to_owned(),
    };
    vec![kind]
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.')
}

fn uncapitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_lowercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// `a`, `b` or `c`
fn either(words: &[String]) -> String {
    match words {
        [words @ .., last] if !words.is_empty() => format!("{} or {last}", words.join(", ")),
        _ => words.concat(),
    }
}

fn on_one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
