//! Every refusal and warning a recipe can get, drawn under the line it is about.
//!
//! `tests/fixtures/*.yaml` hold recipes, each behind a line `# ---- what it shows`. Under a line of a recipe stand the
//! problems there, with carets under the characters that are pointed at, as in
//! `#  ^^^^ error[hostname::shared]: this hostname belongs to the host` (the `#` goes where the first column is needed).
//! A recipe with nothing drawn is fine. `isorecipe plan` has to find exactly what is drawn.
//!
//! A recipe is planned for `tests/hosts/user.json`, an ordinary user, unless `# host: root` says otherwise. Changes to
//! the recorded host go behind its name: `# host: user {chrooted: true}`. What is not said stays; lists grow.
//! `isorecipe: 1` comes before every recipe, except in `whole-files.yaml`, which is about how a file begins.
//!
//! `UPDATE_FIXTURES=1 cargo test --test fixtures` draws what is found; read the difference before you believe it.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use support::program::{Run, folder_of_tests, isorecipe};

const TITLE: &str = "# ---- ";
const HOST: &str = "# host: ";
const FIRST_LINE: &str = "isorecipe: 1\n";

#[test]
fn a_recipe_gets_exactly_the_problems_that_are_drawn_under_its_lines() {
    let mut wrong = String::new();
    for file in files() {
        let text = fs::read_to_string(&file).expect("a fixture");
        let drawn: String = cases(&file, &text).iter().map(Case::draw).collect();
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            fs::write(&file, &drawn).expect("a fixture can be written");
        } else if drawn != text {
            wrong += &difference(&file, &text, &drawn);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_problem_says_what_is_and_why() {
    assert_eq!(without(&["message", "why"], |_| true), [""; 0]);
}

#[test]
fn a_problem_says_what_to_type() {
    // "`name` takes text: this is a list" leaves only the author to say which text.
    let has_help = |code: &str| code != "recipe::wrong_kind";
    assert_eq!(without(&["help"], has_help), [""; 0]);
}

#[test]
fn a_problem_is_told_without_full_stops_and_worn_words() {
    for problem in problems() {
        for words in ["message", "why", "help"] {
            let said = problem[words].as_str().unwrap_or_default();
            assert!(!said.ends_with('.'), "a full stop: {said}");
            for word in ["failed to", "invalid", "error:"] {
                assert!(!said.contains(word), "`{word}`: {said}");
            }
        }
    }
}

#[test]
fn two_recipes_never_show_the_same() {
    let mut titles = std::collections::BTreeSet::new();
    for file in files() {
        let text = fs::read_to_string(&file).expect("a fixture");
        for case in cases(&file, &text) {
            assert!(titles.insert(case.title.clone()), "twice: {}", case.title);
        }
    }
}

#[test]
fn what_is_not_drawn_is_noticed() {
    let text = "# ---- A mistake that nobody drew.\nlayers:\n  - hostname: box\n";
    let found = cases(Path::new("x.yaml"), text)[0].draw();
    let drawn = format!(
        "{text}#             ^^^ error[hostname::shared]: this hostname belongs to the host\n"
    );
    assert_eq!(found, drawn);
}

#[test]
fn what_is_drawn_and_does_not_exist_is_noticed() {
    let text = "# ---- Nothing is wrong here.\nlayers: []\n";
    let drawn = format!("{text}#       ^^ error[layers::few]: there is no layer\n");
    assert_eq!(cases(Path::new("x.yaml"), &drawn)[0].draw(), text);
}

/// One recipe and the machine it is planned for.
struct Case {
    title: String,
    /// The lines that are no part of the recipe.
    head: String,
    recipe: String,
    first_line: &'static str,
    host: String,
}

fn files() -> Vec<PathBuf> {
    let folder = folder_of_tests().join("fixtures");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("tests/fixtures")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

/// The cases of a file, which has nothing else in it.
fn cases(file: &Path, text: &str) -> Vec<Case> {
    let first_line = match file.file_stem() {
        Some(name) if name == "whole-files" => "",
        _ => FIRST_LINE,
    };
    let mut cases: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match cases.last_mut() {
            Some(case) if !line.starts_with(TITLE) => *case += line,
            _ => cases.push(line.to_owned()),
        }
    }
    assert!(!cases.is_empty(), "{}: no recipe", file.display());
    cases.iter().map(|case| Case::new(case, first_line)).collect()
}

impl Case {
    fn new(text: &str, first_line: &'static str) -> Case {
        let (title, mut rest) = text.split_once('\n').expect("a recipe under its title");
        assert!(title.starts_with(TITLE), "no title: {title}");
        let mut head = format!("{title}\n");
        let mut host = "user";
        if let Some((line, after)) = rest.split_once('\n')
            && let Some(name) = line.strip_prefix(HOST)
        {
            head += &format!("{line}\n");
            (host, rest) = (name, after);
        }
        Case {
            title: title.replacen(TITLE, "", 1),
            head,
            recipe: undrawn(rest),
            first_line,
            host: host.to_owned(),
        }
    }

    /// The case, with what isorecipe has to say about it.
    fn draw(&self) -> String {
        let source = format!("{}{}", self.first_line, self.recipe);
        let problems = self.problems();
        let is_drawable = |problem: &Value| self.first_line.is_empty() || problem["line"] != 1;
        assert!(
            problems.iter().all(is_drawable),
            "{}: a problem with the line that the harness has added: {problems:?}",
            self.title
        );
        let drawn = draw(&source, &problems);
        format!("{}{}", self.head, &drawn[self.first_line.len()..])
    }

    fn problems(&self) -> Vec<Value> {
        let source = format!("{}{}", self.first_line, self.recipe);
        let folder = tempfile::tempdir().expect("a folder");
        let host = folder.path().join("host.json");
        fs::write(&host, self.host().to_string()).expect("a recorded host");
        let Run { status, stdout, stderr } = isorecipe(["plan", "--json", "--host"])
            .arg(&host)
            .arg("-")
            .current_dir(folder.path())
            .run(source.as_bytes());
        let problems: Vec<Value> = match stdout.is_empty() {
            // The recipe could not be read: nothing to plan.
            true => stderr.lines().map(read_json).collect(),
            false => {
                read_json(&stdout)["problems"].as_array().cloned().expect("a list of problems")
            }
        };
        let stops = problems.iter().any(|problem| problem["severity"] == "error");
        assert_eq!(status, i32::from(stops), "{}: {problems:?}", self.title);
        problems
    }

    fn host(&self) -> Value {
        let (name, changes) = self.host.split_once(' ').unwrap_or((&self.host, "{}"));
        let file = folder_of_tests().join(format!("hosts/{name}.json"));
        let mut host = read_json(&fs::read_to_string(&file).expect("a recorded host"));
        let changes: Value = serde_yaml::from_str(changes).expect("changes to a host");
        change(&mut host, changes);
        host
    }
}

/// Puts `changes` over `value`: maps key by key, lists at the end, anything else instead.
fn change(value: &mut Value, changes: Value) {
    match (value, changes) {
        (Value::Object(map), Value::Object(changes)) => {
            for (key, changed) in changes {
                change(map.entry(key).or_insert(Value::Null), changed);
            }
        }
        (Value::Array(list), Value::Array(more)) => list.extend(more),
        (value, changed) => *value = changed,
    }
}

/// Every problem of every case.
fn problems() -> Vec<Value> {
    files()
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).expect("a fixture");
            let cases = cases(file, &text);
            cases.iter().flat_map(Case::problems).collect::<Vec<_>>()
        })
        .collect()
}

/// The codes that leave one of these words out.
fn without(words: &[&str], is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let is_silent = |problem: &Value| {
        (words.iter()).any(|&words| problem[words].as_str().is_none_or(str::is_empty))
    };
    let silent = problems().into_iter().filter(is_silent);
    silent
        .filter_map(|problem| problem["code"].as_str().map(str::to_owned))
        .filter(|code| is_meant(code))
        .collect()
}

fn read_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn undrawn(drawn: &str) -> String {
    drawn.split_inclusive('\n').filter(|line| !is_drawing(line)).collect()
}

fn is_drawing(line: &str) -> bool {
    let line = line.strip_prefix('#').unwrap_or(line).trim_start();
    let words = line.trim_start_matches('^');
    words.len() < line.len() && (words.starts_with(" error[") || words.starts_with(" warning["))
}

fn draw(source: &str, problems: &[Value]) -> String {
    let number = |value: &Value| value.as_u64().expect("a place in the file") as usize;
    let mut drawn = String::new();
    for (index, line) in source.split_inclusive('\n').enumerate() {
        drawn += line;
        let here = |problem: &&Value| number(&problem["line"]) == index + 1;
        for problem in problems.iter().filter(here) {
            let start = number(&problem["column"]) - 1;
            let end = match number(&problem["end_line"]) == index + 1 {
                true => number(&problem["end_column"]) - 1,
                false => line.trim_end().chars().count(),
            };
            let indent = match start {
                0 => String::new(),
                _ => format!("#{}", " ".repeat(start - 1)),
            };
            let carets = "^".repeat(end.saturating_sub(start).max(1));
            let word = |key: &str| problem[key].as_str().unwrap_or_default();
            drawn += &format!(
                "{indent}{carets} {}[{}]: {}\n",
                word("severity"),
                word("code"),
                word("message")
            );
        }
    }
    drawn
}

/// The cases that differ, as they are drawn and as they should be.
fn difference(file: &Path, drawn: &str, found: &str) -> String {
    let name = file.file_name().unwrap_or_default().display();
    let cases = |text: &str| -> Vec<String> { text.split(TITLE).map(str::to_owned).collect() };
    cases(drawn)
        .into_iter()
        .zip(cases(found))
        .filter(|(drawn, found)| drawn != found)
        .map(|(drawn, found)| format!("\n{name}, drawn:\n{drawn}found:\n{found}"))
        .collect()
}
