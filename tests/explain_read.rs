//! `isorecipe explain` as it is read: on any terminal, in a log, by a program, and by somebody who has mistyped.

mod support;

use isorecipe::{explain::TITLES, layers::Layer};
use serde_json::Value;
use support::program::{Run, isorecipe};

#[test]
fn without_a_word_every_layer_has_a_line() {
    let listed = explain(&[]);
    for name in Layer::NAMES {
        let start = format!("  {name} ");
        assert!(listed.lines().any(|line| line.starts_with(&start)), "{name}: {listed}");
    }
    assert!(listed.contains("`isorecipe explain LAYER`"), "how to go on: {listed}");
}

#[test]
fn a_page_is_in_the_order_in_which_it_is_asked() {
    let page = explain(&["uts"]);
    let headings: Vec<&str> = page.lines().filter(is_heading).collect();
    assert_eq!(
        headings,
        [
            "The layer `uts`",
            "What it does",
            "What can be set",
            "Its steps in that recipe, for an ordinary user",
            "What it needs",
            "What it does not isolate",
            "By hand",
            "What often goes wrong",
            "To see it from inside",
            "To see it from the host",
            "Read on",
        ]
    );
    let steps = "\
  - make a new UTS namespace; needs CAP_SYS_ADMIN over its user namespace
  - set the hostname to HOGE; needs CAP_SYS_ADMIN over the UTS namespace
";
    assert!(page.contains(steps), "{page}");
    assert!(page.contains("\n      # hostname HOGE\n"), "what is typed: {page}");
}

#[test]
fn a_word_that_nearly_is_a_layer_is_told_apart() {
    for (word, meant) in [("utss", "uts"), ("PID", "pid"), ("pivot-root", "pivot_root")] {
        let run = run(&[word], &[]);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{word}");
        assert!(run.stderr.starts_with("error[explain::no_page]: there is no layer"), "{word}");
        let help = format!("help: `isorecipe explain {meant}`\n");
        assert!(run.stderr.ends_with(&help), "{}", run.stderr);
    }
    let run = run(&["kubernetes"], &[]);
    assert_eq!(run.status, 2);
    assert!(run.stderr.ends_with("help: `isorecipe explain` lists the layers\n"), "{}", run.stderr);
}

#[test]
fn a_hostile_word_reaches_no_terminal() {
    let run = run(&["\u{1b}[2J\u{202e}uts"], &[]);
    assert_eq!(run.status, 2);
    assert!(!run.stderr.contains(['\u{1b}', '\u{202e}']), "{:?}", run.stderr);
}

#[test]
fn a_page_is_as_wide_as_the_terminal_and_no_wider() {
    for (columns, width) in [("20", 60), ("60", 60), ("80", 80), ("200", 200), ("5000", 200)] {
        for name in Layer::NAMES {
            let page = run(&[name], &[("COLUMNS", columns)]).stdout;
            // What is typed is never broken; it stands further in.
            let words = page.lines().filter(|line| !line.starts_with("      "));
            let widest = words.max_by_key(|line| line.chars().count()).expect("a line");
            assert!(widest.chars().count() <= width, "{name}, {columns} columns: {widest}");
        }
    }
}

#[test]
fn what_can_be_typed_is_not_broken() {
    for name in Layer::NAMES {
        for line in run(&[name], &[("COLUMNS", "60")]).stdout.lines() {
            assert_eq!(line.matches('`').count() % 2, 0, "{name}: {line}");
        }
    }
}

#[test]
fn colours_are_for_terminals_and_for_who_asks() {
    assert!(!explain(&["pid"]).contains('\u{1b}'), "not a terminal");
    let coloured = explain(&["--color", "always", "pid"]);
    assert!(coloured.contains("\u{1b}[1mWhat it needs\u{1b}[0m"), "{coloured}");
    assert_eq!(without_colours(&coloured), explain(&["pid"]));
    assert!(!explain(&["--color", "always", "--plain", "pid"]).contains('\u{1b}'));
}

#[test]
fn a_terminal_without_unicode_gets_ascii() {
    for name in Layer::NAMES {
        let page = run(&[name], &[("LANG", "C")]).stdout;
        assert!(page.is_ascii(), "{name}: {page}");
        assert_eq!(page, explain(&[name]).replace('…', "..."));
    }
}

#[test]
fn a_plain_page_is_whole_sentences() {
    for name in Layer::NAMES {
        let plain = run(&["--plain", name], &[("COLUMNS", "60")]).stdout;
        let words: Vec<&str> = plain.lines().filter(|line| !line.starts_with("      ")).collect();
        assert!(words.iter().all(|line| !line.starts_with(' ')), "{name}: {plain}");
        // The same words as in the drawn form, each paragraph on a line.
        let wide = run(&[name], &[("COLUMNS", "60")]).stdout;
        assert_eq!(letters(&plain), letters(&wide), "{name}");
    }
}

#[test]
fn a_program_gets_the_sections_as_fields() {
    for name in Layer::NAMES {
        let text = explain(&["--json", name]);
        assert_eq!(text.lines().count(), 1, "one object, one line");
        let page = json(&text);
        assert_eq!(page["layer"], **name);
        for (title, field) in TITLES {
            let words = page["sections"][field].as_str().unwrap_or_default();
            assert!(!words.is_empty(), "{name}: {title}");
        }
        assert_eq!(page["settings"][0]["name"], **name, "the layer itself comes first");
        assert!(page["steps"][0]["what"].is_string(), "{name}: {text}");
    }
    let step = &json(&explain(&["--json", "hostname"]))["steps"][0];
    assert_eq!(step["needs"]["capability"], "CAP_SYS_ADMIN");
    assert_eq!(step["needs"]["over"], "the UTS namespace");
    let listed = explain(&["--json"]);
    let names: Vec<Value> = listed.lines().map(|line| json(line)["layer"].clone()).collect();
    assert_eq!(names, Layer::NAMES);
}

#[test]
fn shells_complete_the_layers() {
    let script = isorecipe(["completions", "bash"]).run(b"").stdout;
    assert!(script.contains(&Layer::NAMES.join(" ")), "the names are in the script");
}

fn explain(words: &[&str]) -> String {
    let run = run(words, &[]);
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
    run.stdout
}

fn run(words: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut program = isorecipe(["explain"]).args(words);
    program.command().envs(variables.iter().copied());
    program.run(b"")
}

fn is_heading(line: &&str) -> bool {
    !line.is_empty() && !line.starts_with(' ')
}

fn without_colours(text: &str) -> String {
    let colour = regex::Regex::new("\u{1b}\\[[0-9;]*m").expect("a pattern");
    colour.replace_all(text, "").into_owned()
}

/// What is left of a text when its layout is taken away.
fn letters(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
