//! What an author sees for each mistake, and what a document without one means.
//!
//! Under each line of a document stand its mistakes: `^^^ code: what is; why; what to type`.

mod support;

use std::path::PathBuf;

use indexmap::IndexMap;
use isorecipe::yaml::{self, Kind, Mistake, Part, Path, printable};
use serde::Deserialize;
use support::{Ids, Ipc, Layer, Map, Pid, RECIPE, Recipe, Row, User, check};

#[derive(Deserialize)]
#[allow(dead_code)]
struct Numbers {
    small: Option<u8>,
    signed: Option<i8>,
    large: Option<u64>,
    part: Option<f64>,
    pair: Option<(u8, u8)>,
    flag: Option<bool>,
    letter: Option<char>,
}

#[test]
fn a_recipe_is_read_as_it_is_written() {
    let (recipe, mistakes) = support::read::<Recipe>(RECIPE.as_bytes());
    assert_eq!(mistakes, vec![]);
    let ids = Ids { uid: vec![Row { inside: 0, outside: 1000, count: 1 }], gid: vec![] };
    let expected = Recipe {
        isorecipe: 1,
        name: Some("step3".into()),
        about: Some("Its own process ids.".into()),
        layers: vec![
            Layer::User(User { map: Some(Map::Root) }),
            Layer::Uts,
            Layer::Hostname("HOGE".into()),
            Layer::Pid(Pid { proc: true, init: false }),
            Layer::Ipc(Ipc {}),
            Layer::User(User { map: Some(Map::Ids(ids)) }),
        ],
        command: vec!["bash".into()],
        env: IndexMap::from([("LANG".into(), "C.UTF-8".into())]),
        cwd: None,
    };
    assert_eq!(recipe, Some(expected));
}

#[test]
fn a_layer_without_settings_is_written_in_three_ways() {
    let source =
        b"isorecipe: 1\nlayers: [ipc, ipc: , ipc: {}, uts, uts: , uts: {}, pid]\ncwd: ~\nname:\n";
    let (recipe, mistakes) = support::read::<Recipe>(source);
    assert_eq!(mistakes, vec![]);
    let recipe = recipe.unwrap();
    let (ipc, uts) = (|| Layer::Ipc(Ipc {}), || Layer::Uts);
    assert_eq!(
        recipe.layers,
        [ipc(), ipc(), ipc(), uts(), uts(), uts(), Layer::Pid(Pid::default())]
    );
    assert_eq!((recipe.cwd, recipe.name), (None::<PathBuf>, None));
}

#[test]
fn a_text_is_its_own_source() {
    let source =
        b"z: 0755\na: yes\nb: 1.50\nc: 'null'\nd: \"\"\ne: 0x1F\nf: True\ng: ${h}\nh: 2001-01-01\n";
    let (texts, mistakes) = support::read::<IndexMap<String, String>>(source);
    assert_eq!(mistakes, vec![]);
    let texts: Vec<_> =
        texts.unwrap().into_iter().map(|(key, text)| format!("{key}={text}")).collect();
    assert_eq!(
        texts,
        ["z=0755", "a=yes", "b=1.50", "c=null", "d=", "e=0x1F", "f=True", "g=${h}", "h=2001-01-01"]
    );
}

#[test]
fn all_mistakes_are_found_in_one_run() {
    check::<Recipe>(
        "\
layers:
^^^^^^ recipe::missing_key: `isorecipe` is missing; this file needs it; add `isorecipe: …`
  - user: {map: root, mpa: 1}
                      ^^^ recipe::unknown_key: `user` has no key `mpa`; not one of its keys; write `map`
  - pid: {proc: yes, init: \"true\"}
                ^^^ recipe::not_a_boolean: `proc` takes `true` or `false`; `yes` is neither; write `true`
                           ^^^^^^ recipe::not_a_boolean: `init` takes `true` or `false`; in quotes it is a text; write `true` without quotes
  - hostname:
    ^^^^^^^^ recipe::wrong_kind: `hostname` takes text; this is nothing; write a text, or `\"\"` for an empty one
  - uts:
    pid:
    ^^^ recipe::two_keys: `layers[3]` has one key too many, `pid`; one entry says one thing; put `pid` in an entry of its own
  - pivot_root: {old: x}
    ^^^^^^^^^^ recipe::missing_key: `new` is missing; `pivot_root` needs it; add `new: …`
  - user: {map: rot}
                ^^^ user::no_such_map: no map is called `rot`; here; write `root`
  - hostnaem: x
    ^^^^^^^^ recipe::unknown_word: `layers[6]` cannot be `hostnaem`; not a word it knows; write `hostname`, or one of `user`, `uts`, `pid`, `ipc`, `pivot_root`
  - user: {map: [a]}
                ^^^ recipe::wrong_kind: `map` takes a word or a mapping; this is a list
  - []
    ^^ recipe::wrong_kind: `layers[8]` takes one word, or a mapping of one key; this is a list; use one of `user`, `uts`, `hostname`, `pid`, `ipc`, `pivot_root`
  - uts: please
         ^^^^^^ recipe::wrong_kind: `uts` takes nothing; this is text; take it out
command: bash
         ^^^^ recipe::wrong_kind: `command` takes a list; this is text; write `[bash]`
env: {A: ~, B: 1, A: 2}
         ^ recipe::wrong_kind: `A` takes text; this is nothing; write a text, or `\"\"` for an empty one
                  ^ yaml::duplicate_key: `A` stands twice in one mapping; the second; keep one of the two
                  ^ the first, at byte 231
unheard_of: 1
^^^^^^^^^^ recipe::unknown_key: this file has no key `unheard_of`; not one of its keys; use one of `isorecipe`, `name`, `about`, `layers`, `command`, `env`, `cwd`
",
    );
}

#[test]
fn the_consequence_of_a_mistake_is_not_another() {
    // `outside` is not missing, it is misspelt; `inside` is not missing, it is no number; `gid` holds neither.
    check::<Ids>(
        "\
uid: [{inside: zero, outsid: 3, count: 1}]
               ^^^^ recipe::not_a_number: `inside` takes a whole number; `zero` is not a number; write it in decimal digits
                     ^^^^^^ recipe::unknown_key: `uid[0]` has no key `outsid`; not one of its keys; write `outside`, or one of `inside`, `count`
gid: [{inside: 0, outside: 1}]
       ^^^^^^ recipe::missing_key: `count` is missing; `gid[0]` needs it; add `count: …`
",
    );
}

#[test]
fn nothing_is_silently_ignored_behind_a_hand_written_visitor() {
    check::<User>(
        "\
map: {gid: [], gidd: 1}
               ^^^^ recipe::unknown_key: `gidd` is not known here; nothing reads it; take it out
",
    );
    check::<User>(
        "\
map: \"\"
     ^^ recipe::value: a word is missing
",
    );
}

#[test]
fn numbers_can_be_read_in_one_way_only() {
    check::<Numbers>(
        "small: 0\nsigned: -128\nlarge: 18446744073709551615\npart: -0.25\npair: [1, 2]\nflag: false\nletter: 7\n",
    );
    for (written, drawn) in [
        (
            "0x10",
            "^^^^ recipe::not_a_number: `small` takes a whole number; `0x10` is not in plain decimal digits; write `16`",
        ),
        (
            "1_0",
            "^^^ recipe::not_a_number: `small` takes a whole number; `1_0` is not in plain decimal digits; write `10`",
        ),
        (
            "+1",
            "^^ recipe::not_a_number: `small` takes a whole number; `+1` is not in plain decimal digits; write `1`",
        ),
        (
            "-0",
            "^^ recipe::not_a_number: `small` takes a whole number; `-0` is not in plain decimal digits; write `0`",
        ),
        (
            "0755",
            "^^^^ recipe::not_a_number: `small` takes a whole number; `0755` is octal to some and decimal to others; write `493` or `755`",
        ),
        (
            "1.0",
            "^^^ recipe::not_a_number: `small` takes a whole number; `1.0` is not a number; write it in decimal digits",
        ),
        (
            "'12'",
            "^^^^ recipe::not_a_number: `small` takes a whole number; in quotes it is a text; write `12` without quotes",
        ),
        (
            "256",
            "^^^ recipe::out_of_range: `small` takes a whole number from 0 to 255; `256` is not in that range; write a number from 0 to 255",
        ),
        (
            "-1",
            "^^ recipe::out_of_range: `small` takes a whole number from 0 to 255; `-1` is not in that range; write a number from 0 to 255",
        ),
    ] {
        check::<Numbers>(&format!("small: {written}\n       {drawn}\n"));
    }
    let huge = "9".repeat(50);
    let carets = "^".repeat(50);
    check::<Numbers>(&format!(
        "signed: {huge}\n        {carets} recipe::out_of_range: `signed` takes a whole number from -128 to 127; `{huge}` is not in that range; write a number from -128 to 127\n"
    ));
    check::<Numbers>(
        "part: .inf\n      ^^^^ recipe::not_a_number: `part` takes a number; `.inf` is none; write it like `2` or `0.5`\n",
    );
    check::<Numbers>(
        "pair: [1, 2, 3]\n             ^ recipe::wrong_length: `pair` takes 2 entries; here are 3; take the others out\n",
    );
    check::<Numbers>(
        "pair: [1]\n      ^^^ recipe::wrong_length: `pair` takes a tuple of size 2; here are 1\n",
    );
    check::<Numbers>(
        "flag: off\n      ^^^ recipe::not_a_boolean: `flag` takes `true` or `false`; `off` is neither; write `false`\n",
    );
    check::<Numbers>(
        "letter: ab\n        ^^ recipe::value: `letter` takes a character; this is the text `ab`\n",
    );
}

#[test]
fn what_is_yaml_but_no_recipe_is_named() {
    check::<Recipe>(
        "\
isorecipe: 1
name: !x y
      ^^ yaml::tag: `!x` is a tag; the type of a value follows from its key; take `!x` out
about: !!str y
       ^^^^^ yaml::tag: `!!str` is a tag; the type of a value follows from its key; take `!!str` out
<<: {a: b}
^^ yaml::merge_key: `<<` merges another mapping into this one; what a mapping holds must be written in it; write the keys out
? [a]
  ^^^ yaml::key_not_text: this key is a list; a key is a text; write the key as a word
: b
null: b
^^^^ yaml::key_not_text: this key is nothing; a key is a text; write `\"null\"`
*x : 1
^^ yaml::key_not_text: this key is an alias; a key is a text; write the key as a word
cwd: *y
     ^^ yaml::alias_unknown: nothing before this is named `&y`; an alias repeats what has a name; write `\"*y\"` if the text itself is meant
env: &env {A: *env}
              ^^^^ yaml::alias_cycle: this alias stands inside what it names; it would never end; write out what is meant
\"a\\x1b\": 1
^^^^^^^ yaml::control_character: the key `a\\u{1b}` has characters that do not show; it is not what it looks like; take them out
",
    );
    check::<Recipe>(
        "\
isorecipe: 1
---
^^^ yaml::second_document: a second document begins here; a file holds one recipe; move what follows into a file of its own
isorecipe: 1
",
    );
    for nothing in ["# nothing", "---", "~"] {
        let (_, mistakes) = support::read::<Recipe>(nothing.as_bytes());
        assert_eq!(
            mistakes.iter().map(|mistake| &*mistake.code).collect::<Vec<_>>(),
            ["yaml::empty"]
        );
    }
}

#[test]
fn what_is_not_yaml_is_explained() {
    for drawn in [
        "- hostname: {a: ${h}}\n                ^^^^ yaml::unquoted_variable: inside braces `${h}` is not a text; this `{` begins a mapping; write `\"${h}\"`\n",
        "[a, x${h}y, b]\n    ^^^^^^ yaml::unquoted_variable: inside braces `x${h}y` is not a text; this `{` begins a mapping; write `\"x${h}y\"`\n",
        "a:\n\tb: c\n^ yaml::tab: this line is indented with a tab; a tab; indent with spaces\n",
        "a: b\n\tc: d\n^ yaml::tab: this line is indented with a tab; a tab; indent with spaces\n",
        "a: [b\n   ^ yaml::syntax: this `[` is never closed; opened here; add `]`\n",
        "a: [b}\n   ^ yaml::syntax: `[` is closed by `}`; opened here; close it with `]`\n",
        "a: [b]]\n      ^ yaml::syntax: this bracket closes nothing; none is open here; take it out\n",
        "a: [b\nc: d\n ^ yaml::syntax: a key stands where a list has not ended; this `:`; close the list above with `]`\n",
        "a: \"b\n   ^ yaml::syntax: this quote is never closed; opened here; add the same quote after the text\n",
        "a: \"b\\q\"\n   ^ yaml::syntax: a `\\` in this text is not an escape that YAML knows; inside double quotes `\\` begins an escape; write `\\\\`, or use single quotes\n",
        "a: 'b' c\n       ^ yaml::syntax: a text goes on after its closing quote; nothing may follow the quote; put all of it in quotes\n",
        "a: b: c\n    ^ yaml::syntax: this `:` follows what is not a key; a value has no `: ` in it without quotes; put the value in quotes, or indent the line like the one above\n",
        "a: @b\n   ^ yaml::syntax: a text without quotes cannot begin with `@`; it has a meaning of its own; put the text in quotes\n",
        "a: - b\n   ^ yaml::syntax: a list entry cannot begin here; `- ` begins a line; write `- ` on a line of its own\n",
        "- a\nb: c\n^ yaml::syntax: this does not line up with the lines above; neither another entry nor part of the last; indent it like the lines it belongs to\n",
        "a: *\n   ^ yaml::syntax: this begins an anchor or an alias; a name goes with it; put the text in quotes\n",
        "%YAML 1.2\n^ yaml::directive: a `%` line gives orders to YAML; not needed; take it out\n---\na: b\n",
        "a: !x{}\n   ^ yaml::tag: `!` begins a tag; the type of a value follows from its key; put the text in quotes, or take the tag out\n",
    ] {
        check::<Recipe>(drawn);
    }
}

#[test]
fn an_alias_is_blamed_where_it_is_used() {
    check::<Recipe>(
        "\
isorecipe: 1
about: &many [a]
             ^^^ recipe::wrong_kind: `about` takes text; this is a list
command: *many
name: *many
      ^^^^^ recipe::wrong_kind: `name` takes text; this is a list
",
    );
}

#[test]
fn a_path_finds_its_place_or_the_nearest() {
    let source = "name: x\nlayers:\n  - user: {map: root}\n  - ipc:\n  - uts\n";
    let tree = yaml::parse(source.as_bytes(), &mut Vec::new()).unwrap();
    let layers = Path::root().key("layers");
    let map = layers.index(0).key("user").key("map");
    let at = |path: &Path, part| &source[tree.locate(path, part)];
    assert_eq!((at(&map, Part::Key), at(&map, Part::Value)), ("map", "root"));
    assert_eq!(at(&layers.index(0), Part::Value), "user: {map: root}");
    assert_eq!(at(&layers.index(0), Part::Key), "user");
    assert_eq!(at(&layers.index(1).key("ipc"), Part::Value), "ipc");
    assert_eq!(at(&layers.index(2), Part::Key), "uts");
    assert_eq!(at(&map.key("uid").index(3), Part::Value), "map");
    assert_eq!(at(&layers.index(9), Part::Value), "layers");
    assert_eq!(at(&Path::root().key("command"), Part::Value), "name");
}

#[test]
fn a_path_is_shown_as_an_author_would_write_it() {
    let path = Path::root().key("layers").index(2).key("user").key("a.b\"\u{1b}").key("");
    assert_eq!(path.to_string(), "layers[2].user[\"a.b\\\"\\u{1b}\"][\"\"]");
    assert_eq!(path.tail().to_string(), "[\"\"]");
    assert_eq!(Path::root().key("uid").index(0).tail().to_string(), "uid[0]");
    assert_eq!(Path::root().to_string(), "");
}

#[test]
fn words_are_safe_to_print() {
    assert_eq!(printable("a\u{1b}[2J\u{202e}\n\u{200b}é"), "a\\u{1b}[2J\\u{202e}\\n\\u{200b}é");
    assert_eq!(printable(&"é".repeat(80)), "é".repeat(80));
    assert_eq!(printable(&"é".repeat(81)), "é".repeat(80) + "…");
    let mistake = Mistake::new("a::b", "\u{7}").why("\u{7}").help("\u{7}").also(0..1, "\u{7}");
    assert_eq!(
        [&mistake.message, &mistake.why, &mistake.help, &mistake.also.unwrap().1],
        ["\\u{7}"; 4]
    );
}

/// A type that asks something of the whole: one of the two must be there.
#[derive(Deserialize)]
#[serde(try_from = "Either")]
struct OneOf;

#[derive(Deserialize)]
struct Either {
    a: Option<u8>,
    b: Option<u8>,
}

impl TryFrom<Either> for OneOf {
    type Error = &'static str;

    fn try_from(either: Either) -> Result<OneOf, Self::Error> {
        either.a.or(either.b).map(|_| OneOf).ok_or("neither `a` nor `b`")
    }
}

#[test]
fn a_question_about_the_whole_waits_for_its_parts() {
    check::<IndexMap<String, OneOf>>(
        "\
x: {a: zero}
       ^^^^ recipe::not_a_number: `a` takes a whole number; `zero` is not a number; write it in decimal digits
y: {}
   ^^ recipe::value: neither `a` nor `b`
",
    );
}

/// A text that refuses with whatever words it is.
#[derive(Debug)]
struct Posing;

impl<'de> Deserialize<'de> for Posing {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Posing, D::Error> {
        Err(serde::de::Error::custom(String::deserialize(deserializer)?))
    }
}

#[test]
fn a_document_cannot_pose_as_a_refusal() {
    let (_, mistakes) = support::read::<Posing>(br#""yaml::tag\x1fmessage\x1fwhy\x1fhelp""#);
    assert_eq!(mistakes[0].code, "recipe::value");
    assert_eq!(mistakes[0].message, "yaml::tag\\u{1f}message\\u{1f}why\\u{1f}help");
}

#[test]
fn a_refusal_shows_its_message_to_any_other_format() {
    let error = serde_json::from_str::<Map>("\"rot\"").unwrap_err();
    assert_eq!(error.to_string(), "no map is called `rot` at line 1 column 5");
}

#[test]
fn a_tree_keeps_what_is_written() {
    let tree = yaml::parse(b"a: |\n  x\n  y\n\n\nb: ''\n", &mut Vec::new()).unwrap();
    let text = &tree.root.entry("a").unwrap().value;
    assert_eq!(text.span, 7..12, "without the blank lines behind it");
    let Kind::Scalar(empty) = &tree.root.entry("b").unwrap().value.kind else {
        panic!("a quoted text")
    };
    assert_eq!((empty.text.as_str(), empty.plain), ("", false));
}
