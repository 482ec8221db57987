//! What a line is for, beside it: the layer it comes from, in the layer's own
//! words.

use serde_yaml::Value;

use crate::{layers::Layer, recipe::Recipe, yaml};

/// What the whole is for, if the recipe says so.
pub(super) fn of_recipe(recipe: &Recipe) -> Option<String> {
    let words: Vec<&str> =
        [&recipe.name, &recipe.about].into_iter().filter_map(|word| word.as_deref()).collect();
    (!words.is_empty()).then(|| line(&words.join(": ")))
}

/// Which layer it is, how it is set, and what it is.
pub(super) fn of_layer(index: usize, layer: &Layer) -> String {
    let settings = serde_yaml::to_value(layer).map(|value| flow(&value)).unwrap_or_default();
    line(&format!("layers[{index}] {}: {settings} - {}", layer.name(), layer.about()))
}

/// One line, whatever is in it: nothing of a recipe may end a comment.
fn line(words: &str) -> String {
    format!("# {}", yaml::spelled_out(words))
}

/// A setting as a recipe writes it, on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::String(text) => format!("{text:?}"),
        Value::Bool(is_on) => is_on.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Sequence(list) => {
            format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Mapping(map) => {
            let entry = |(key, value): (&Value, &Value)| format!("{}: {}", flow(key), flow(value));
            format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        // The layer's name, which stands before it.
        Value::Tagged(tagged) => flow(&tagged.value),
        Value::Null => "null".to_owned(),
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_./~-".contains(c))
}
