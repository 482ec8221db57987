//! A small recipe to read, and mistakes drawn under the lines they are about.
#![allow(dead_code, missing_docs)]

pub mod json_schema;
pub mod program;
pub mod recorded;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use indexmap::IndexMap;
use isorecipe::yaml::{self, Mistake, Path};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};

#[derive(Debug, PartialEq, serde::Deserialize)]
pub struct Recipe {
    pub isorecipe: u8,
    pub name: Option<String>,
    pub about: Option<String>,
    #[serde(default)]
    pub layers: Vec<Layer>,
    #[serde(default)]
    pub command: Vec<String>,
    #[serde(default)]
    pub env: IndexMap<String, String>,
    pub cwd: Option<PathBuf>,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    User(User),
    Uts,
    Hostname(String),
    Pid(Pid),
    Ipc(Ipc),
    PivotRoot { new: PathBuf, old: Option<PathBuf> },
}

#[derive(Debug, PartialEq, serde::Deserialize)]
pub struct User {
    pub map: Option<Map>,
}

#[derive(Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default)]
pub struct Pid {
    pub proc: bool,
    pub init: bool,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
pub struct Ipc {}

#[derive(Debug, PartialEq, serde::Deserialize)]
pub struct Ids {
    #[serde(default)]
    pub uid: Vec<Row>,
    #[serde(default)]
    pub gid: Vec<Row>,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
pub struct Row {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// A word or a mapping.
#[derive(Debug, PartialEq)]
pub enum Map {
    Root,
    Ids(Ids),
}

impl<'de> Deserialize<'de> for Map {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        struct WordOrMap;

        impl<'de> Visitor<'de> for WordOrMap {
            type Value = Map;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word or a mapping")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Map, E> {
                match word {
                    "root" => Ok(Map::Root),
                    "" => Err(E::custom("a word is missing")),
                    word => Err(yaml::refuse(
                        "user::no_such_map",
                        format!("no map is called `{word}`"),
                        "here",
                        "write `root`",
                    )),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Map, A::Error> {
                Ids::deserialize(MapAccessDeserializer::new(map)).map(Map::Ids)
            }
        }

        deserializer.deserialize_any(WordOrMap)
    }
}

pub const RECIPE: &str = "\
#!/usr/bin/env -S isorecipe apply
isorecipe: 1
name: step3
about: Its own process ids.
layers:
  - user: {map: root}
  - uts
  - hostname: HOGE
  - pid: {proc: true, init: false}
  - ipc:
  - user: {map: {uid: [{inside: 0, outside: 1000, count: 1}], gid: []}}
command: [bash]
env: {LANG: C.UTF-8}
";

/// Parses and reads; a value only if nothing is wrong.
pub fn read<T: DeserializeOwned>(source: &[u8]) -> (Option<T>, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let tree = yaml::parse(source, &mut mistakes);
    let clean = mistakes.is_empty();
    let value = tree.and_then(|tree| yaml::read(&tree.root, &Path::root(), &mut mistakes));
    (value.filter(|_| clean), mistakes)
}

/// `source` with each mistake under its line: `^^^ code: message; why; help`.
pub fn draw(source: &str, mut mistakes: Vec<Mistake>) -> String {
    let mut drawn = String::new();
    let mut start = 0;
    mistakes.sort_by_key(|mistake| mistake.span.start);
    for line in source.split_inclusive('\n') {
        let end = start + line.len();
        drawn += line.trim_end_matches(['\n', '\r']);
        drawn += "\n";
        let here =
            |span: &Range<usize>| span.start >= start && (span.start < end || end == source.len());
        for mistake in mistakes.iter().filter(|mistake| here(&mistake.span)) {
            let words = [&mistake.message, &mistake.why, &mistake.help].map(String::as_str);
            let words =
                words.into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join("; ");
            drawn +=
                &format!("{} {}: {words}\n", carets(source, start, &mistake.span), mistake.code);
            if let Some((span, label)) = &mistake.also {
                drawn += &format!(
                    "{} {label}, at byte {}\n",
                    carets(source, start, &mistake.span),
                    span.start
                );
            }
        }
        start = end;
    }
    drawn
}

fn carets(source: &str, line: usize, span: &Range<usize>) -> String {
    let indent = source[line..span.start].chars().count();
    let width = source[span.clone()].lines().next().unwrap_or("").chars().count().max(1);
    format!("{}{}", " ".repeat(indent), "^".repeat(width))
}

/// The document without the lines that draw its mistakes.
pub fn undrawn(drawn: &str) -> String {
    drawn.split_inclusive('\n').filter(|line| !line.trim_start().starts_with('^')).collect()
}

/// Reads a document in which every mistake is drawn, as a `T`.
#[track_caller]
pub fn check<T: DeserializeOwned>(drawn: &str) {
    let source = undrawn(drawn);
    let (value, mistakes) = read::<T>(source.as_bytes());
    assert_eq!(value.is_some(), mistakes.is_empty(), "a value, or mistakes");
    let found = draw(&source, mistakes);
    assert!(found == drawn, "expected:\n{drawn}\nfound:\n{found}");
}
