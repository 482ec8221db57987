//! The pages of `isorecipe explain CODE`: every code has one, beside the file that gives it, and every part of one.
//!
//! What is typed on them, `tests/explain_commands.rs` types.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use isorecipe::{
    explain::{Block, CodePage, PARTS, sections},
    recipe::{Recipe, Run},
};
use regex::Regex;
use serde_json::Value;
use support::program::{self, isorecipe};
use support::recorded::{FOLDER, host};

/// Codes that are so new that nobody has written their page. None may stay here.
const WITHOUT: [&str; 0] = [];

#[test]
fn a_code_has_a_page() {
    let pages: BTreeSet<String> = pages().iter().map(|page| page.code.to_owned()).collect();
    let codes: BTreeSet<String> = sources().iter().flat_map(|(_, code)| codes(code)).collect();
    assert!(codes.contains("hostname::shared"), "the codes are found");
    let waiting: BTreeSet<String> = WITHOUT.map(str::to_owned).into();
    let without: BTreeSet<&String> = codes.difference(&pages).collect();
    assert_eq!(without, waiting.iter().collect(), "without a page");
    assert_eq!(pages.difference(&codes).collect::<Vec<_>>(), [""; 0], "pages of no code");
}

#[test]
fn a_page_stands_beside_the_file_that_gives_the_code() {
    let all = sources();
    let mut found = 0;
    for file in files_below("src").iter().filter(|file| has_ending(file, "md")) {
        let text: &'static str = read(file).leak();
        for section in sections(text).iter().filter(|section| section.is_code()) {
            let beside = file.with_extension("rs");
            let gives = |(source, code): &(PathBuf, String)| {
                *source == beside && codes(code).contains(section.title)
            };
            assert!(all.iter().any(gives), "{}: not for {}", file.display(), section.title);
            found += 1;
        }
    }
    assert_eq!(found, pages().len(), "each page once, and every file of pages is read");
}

#[test]
fn a_page_has_every_part_in_its_order() {
    for page in pages() {
        let titles: Vec<&str> = page.sections.iter().map(|section| section.title).collect();
        let wanted = PARTS.map(|(_, title, _)| title);
        // Where it is common is not known of every code.
        assert!(titles == wanted || titles == wanted[..4], "{}: {titles:?}", page.code);
        for section in &page.sections {
            let text = section.text;
            assert!(!text.is_empty(), "{}: {}", page.code, section.title);
            let stray = PARTS.iter().skip(1).find(|(begins, ..)| text.contains(begins));
            assert_eq!(stray, None, "{}: twice, or out of order", page.code);
        }
    }
}

#[test]
fn a_sentence_is_one() {
    for page in pages() {
        let about = page.about();
        assert!(about.ends_with('.') && !about.contains('\n'), "{}: {about}", page.code);
        for section in &page.sections {
            for block in section.blocks() {
                let odd = ["failed to", "invalid", "error:", "**", "  "];
                let (kind, words) = match block {
                    Block::Paragraph(words) | Block::Item(words) => ("", words),
                    Block::Code { kind, .. } => (kind, String::new()),
                };
                assert!(["", "yaml", "console"].contains(&kind), "{}: `{kind}`", page.code);
                let worn = odd.iter().find(|odd| words.contains(**odd));
                assert_eq!(worn, None, "{}: {words}", page.code);
                assert_eq!(words.matches('`').count() % 2, 0, "{}: {words}", page.code);
            }
            let first = section.text.chars().next().unwrap_or(' ');
            let is_name =
                ["isorecipe", "overlayfs"].iter().any(|name| section.text.starts_with(name));
            assert!(is_name || !first.is_lowercase(), "{}: {}", page.code, section.text);
        }
    }
}

#[test]
fn a_recipe_of_a_page_gives_its_code() {
    let mut found = 0;
    for page in pages() {
        let Some(recipe) = page.sections.iter().find_map(|section| section.recipe()) else {
            continue;
        };
        let (read, _, mistakes) = Recipe::read(recipe.as_bytes(), "page", Path::new(FOLDER));
        let mut given: Vec<String> = mistakes.iter().map(|one| one.code().to_owned()).collect();
        if let Some(read) = read {
            let environment = vec![("PATH".into(), "/usr/bin".into())];
            let plan = read.plan(host("user").into(), &Run { environment, ..Run::default() });
            let all = plan.refusals.iter().chain(&plan.prohibitions).chain(&plan.leaks);
            given.extend(all.map(|one| one.code().to_owned()));
        }
        assert_eq!(given, [page.code], "{recipe}");
        found += 1;
    }
    assert!(found > 30, "the recipes are found");
}

#[test]
fn a_code_is_explained() {
    let page = explain(&["map::overlap"]).stdout;
    assert_eq!(
        page,
        "\
map::overlap

  Two ranges of a map have an id in common, inside or outside.

Why

  A map has to say for each id inside which one outside it is, and the other way round. The kernel
  refuses one with two answers (`user_namespaces(7)`).

To see it yourself

      isorecipe: 1
      layers:
        - user:
            map:
              uid: [{inside: 0, outside: 1000}, {inside: 0, outside: 100000}]

What to do

  Give every id, inside and outside, one place only.
"
    );
}

#[test]
fn a_code_that_nearly_is_one_is_told_apart() {
    for (word, meant) in [("hostname::share", "hostname::shared"), ("proc::MASKED", "proc::masked")]
    {
        let run = explain(&[word]);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""));
        assert!(run.stderr.contains(&format!("there is no code `{word}`")), "{}", run.stderr);
        assert!(
            run.stderr.contains(&format!("help: `isorecipe explain {meant}`")),
            "{}",
            run.stderr
        );
    }
    let run = explain(&["nothing::like_this_at_all"]);
    assert_eq!(run.status, 2);
    assert!(run.stderr.contains("`isorecipe explain --list` lists the codes"), "{}", run.stderr);
}

#[test]
fn every_code_is_listed() {
    let listed = explain(&["--list"]).stdout;
    let as_json = explain(&["--list", "--json"]).stdout;
    let plain = explain(&["--list", "--plain"]).stdout;
    for (page, line) in pages().iter().zip(as_json.lines()) {
        assert!(listed.lines().any(|line| line == page.code), "{}", page.code);
        assert!(plain.contains(&format!("{}: {}\n", page.code, page.about())), "{}", page.code);
        assert_eq!(json(line)["code"], page.code);
        assert_eq!(json(line)["about"], page.about());
    }
    assert_eq!(explain(&["--list", "user"]).status, 2, "one or all");
}

#[test]
fn a_program_gets_the_parts_as_fields() {
    for page in pages() {
        let told = json(&page.json());
        assert_eq!(told["code"], page.code);
        for (_, title, name) in &PARTS[..4] {
            let words = told["sections"][name].as_str().unwrap_or_default();
            assert!(!words.is_empty(), "{}: {title}", page.code);
        }
    }
    let told = explain(&["--json", "proc::masked"]).stdout;
    assert!(json(&told)["sections"]["where"].as_str().unwrap_or_default().contains("Docker"));
}

#[test]
fn a_terminal_without_unicode_gets_ascii() {
    for page in pages() {
        let run = isorecipe(["explain"]).arg(page.code).env([("LANG", "C")]).run(b"");
        assert!(run.status == 0 && run.stdout.is_ascii(), "{}: {}", page.code, run.stdout);
    }
}

fn pages() -> Vec<CodePage> {
    CodePage::all()
}

fn explain(words: &[&str]) -> program::Run {
    isorecipe(["explain"]).args(words).run(b"")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Every `area::condition` that is written in code.
fn codes(code: &str) -> BTreeSet<String> {
    let literal = Regex::new(r#""([a-z0-9_]+::[a-z0-9_]+)""#).expect("a pattern");
    literal.captures_iter(code).map(|found| found[1].to_owned()).collect()
}

/// The files of `src`, without their tests and comments.
fn sources() -> Vec<(PathBuf, String)> {
    let files = files_below("src").into_iter().filter(|file| has_ending(file, "rs"));
    let code = |file: PathBuf| {
        let text = read(&file);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        (file, code)
    };
    files.map(code).collect()
}

fn has_ending(file: &Path, ending: &str) -> bool {
    file.extension().is_some_and(|found| found == ending)
}

fn files_below(folder: &str) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![checkout().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let list = if entry.path().is_dir() { &mut folders } else { &mut files };
            list.push(entry.path());
        }
    }
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
