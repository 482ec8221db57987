//! Where a document can be read in one way only, three readers agree: ours, `serde-saphyr` and `serde_yaml`.

mod support;

use indexmap::IndexMap;
use proptest::prelude::*;
use serde::Deserialize;

/// Some of everything that all three read alike.
#[derive(Debug, PartialEq, Deserialize)]
struct Everything {
    truth: bool,
    small: u8,
    signed: i64,
    large: u64,
    text: String,
    maybe: Option<String>,
    words: Vec<String>,
    rows: Vec<Vec<u32>>,
    map: IndexMap<String, String>,
    choice: Choice,
    choices: Vec<Choice>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Choice {
    Word,
    Text(String),
    Pair { left: i32, right: bool },
}

/// A text in one of the ways of writing it. `writing` picks the way where there is a choice.
fn text(writing: usize, text: &str) -> String {
    let plain = text.len() > 1
        && text.bytes().all(|b| b.is_ascii_lowercase())
        && !matches!(text, "null" | "yes" | "no" | "on" | "off" | "true" | "false");
    match writing % 3 {
        0 if plain => text.to_owned(),
        1 => format!("'{}'", text.replace('\'', "''")),
        _ => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// A list or mapping of finished lines, in flow or in block style.
fn list(flow: bool, indent: &str, items: &[String]) -> String {
    match flow || items.is_empty() {
        true => format!("[{}]", items.join(", ")),
        false => items.iter().map(|item| format!("\n{indent}- {item}")).collect(),
    }
}

fn mapping(flow: bool, indent: &str, entries: &[(String, String)]) -> String {
    let mut lines = entries.iter().map(|(key, value)| format!("{key}: {value}"));
    match flow || entries.is_empty() {
        true => format!("{{{}}}", lines.collect::<Vec<_>>().join(", ")),
        false => lines.by_ref().map(|line| format!("\n{indent}{line}")).collect(),
    }
}

fn choice() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::from("word")),
        (any::<usize>(), "[ -~é]{0,12}")
            .prop_map(|(writing, value)| format!("{{text: {}}}", text(writing, &value))),
        (any::<i32>(), any::<bool>())
            .prop_map(|(left, right)| format!("{{pair: {{left: {left}, right: {right}}}}}")),
    ]
}

fn document() -> impl Strategy<Value = String> {
    let scalars = (
        any::<bool>(),
        any::<u8>(),
        any::<i64>(),
        any::<u64>(),
        "[ -~äß€]{0,20}",
        proptest::option::of("[a-z]{0,6}"),
    );
    let words = proptest::collection::vec("[ -~]{0,10}|[a-z]{1,6}", 0..5);
    let rows = proptest::collection::vec(proptest::collection::vec(any::<u32>(), 0..4), 0..4);
    let map = proptest::collection::btree_map("[a-z]{2,6}", "[ -~]{0,10}", 0..4);
    let choices = (choice(), proptest::collection::vec(choice(), 0..4));
    (scalars, words, rows, map, choices, any::<(usize, bool, bool)>()).prop_map(
        |(
            (truth, small, signed, large, value, maybe),
            words,
            rows,
            map,
            (choice, choices),
            (writing, flow, comments),
        )| {
            let numbers = |row: &Vec<u32>| {
                format!("[{}]", row.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))
            };
            let words: Vec<_> =
                words.iter().enumerate().map(|(index, word)| text(writing ^ index, word)).collect();
            let rows: Vec<_> = rows.iter().map(numbers).collect();
            let map: Vec<_> =
                map.iter().map(|(key, value)| (format!("k{key}"), text(writing, value))).collect();
            let mut entries = vec![
                ("truth", truth.to_string()),
                ("small", small.to_string()),
                ("signed", signed.to_string()),
                ("large", large.to_string()),
                ("text", text(writing, &value)),
                ("words", list(flow, "  ", &words)),
                ("rows", list(!flow, "", &rows)),
                ("map", mapping(flow, "    ", &map)),
                ("choice", choice),
                ("choices", list(flow, " ", &choices)),
            ];
            entries.extend(maybe.map(|maybe| ("maybe", text(writing / 3, &maybe))));
            let comment = if comments { "\n# a comment\n\n" } else { "\n" };
            entries.iter().map(|(key, value)| format!("{key}: {value}{comment}")).collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn three_readers_agree(document in document()) {
        let (ours, mistakes) = support::read::<Everything>(document.as_bytes());
        prop_assert_eq!(mistakes, vec![], "{}", document);
        let saphyr: Everything = serde_saphyr::from_str(&document).unwrap();
        // `serde_yaml` cannot read `{text: x}` as an enum by itself, `serde_json` can.
        let libyaml: serde_yaml::Value = serde_yaml::from_str(&document).unwrap();
        let libyaml: Everything = serde_json::from_value(serde_json::to_value(libyaml).unwrap()).unwrap();
        prop_assert_eq!(ours.as_ref(), Some(&saphyr), "{}", document);
        prop_assert_eq!(ours.as_ref(), Some(&libyaml), "{}", document);
    }
}

#[test]
fn block_texts_and_anchors_read_alike() {
    for document in [
        "a: |\n  one\n   two\n\n  three\n\nb: x\n",
        "a: >-\n  one\n  two\n\n  three\nb: |+\n  x\n\n",
        "a: 'it''s'\nb: \"tab\\there \\u00e9 \\x41\"\n",
        "a: two\n  lines\nb: \"two\n  lines\"\n",
        "a: &x same\nb: *x\n",
        "---\na: 1.50\nb: http://x/#y\n...\n",
        "a: x\r\nb: y z  # comment\r\n",
        "? a\n: x\n? b\n: y\n",
    ] {
        let (ours, mistakes) = support::read::<IndexMap<String, String>>(document.as_bytes());
        assert_eq!(mistakes, vec![], "{document}");
        let libyaml: IndexMap<String, serde_yaml::Value> = serde_yaml::from_str(document).unwrap();
        let ours = ours.unwrap();
        assert_eq!(ours.len(), libyaml.len());
        for (key, value) in libyaml {
            match value {
                serde_yaml::Value::String(text) => assert_eq!(ours[&key], text, "{document}"),
                number => {
                    assert_eq!(ours[&key].parse(), Ok(number.as_f64().unwrap()), "{document}")
                }
            }
        }
    }
}
