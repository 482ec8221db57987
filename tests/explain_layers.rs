//! The pages of `isorecipe explain`: whole, readable everywhere, and true as far as a plan can tell.
//!
//! What is typed on them, `tests/explain_commands.rs` types.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    rc::Rc,
};

use isorecipe::{
    explain::{Block, Page, TITLES},
    host::{FuseDevice, Host},
    layers::Layer,
    ops::Evidence,
    plan::Plan,
    recipe::{Recipe, Run},
    sys::{Call, Errno, Fault},
    yaml::Segment,
};
use regex::Regex;
use serde_json::Value;
use support::program::{folder_of_tests, isorecipe};
use support::recorded::{FOLDER, host};

#[test]
fn a_page_has_every_section() {
    for page in pages() {
        let titles: Vec<&str> = page.sections.iter().map(|section| section.title).collect();
        let lacks = |(title, _): &&(&str, &str)| !titles.contains(title);
        let missing: Vec<_> = TITLES.iter().filter(lacks).collect();
        assert!(missing.is_empty(), "{}.md lacks {missing:?}", page.layer);
        assert_eq!(titles, TITLES.map(|(title, _)| title), "{}.md", page.layer);
        for section in &page.sections {
            assert!(!section.text.is_empty(), "{}.md: {}", page.layer, section.title);
        }
    }
}

#[test]
fn a_page_uses_only_what_can_be_printed() {
    let odd = regex(r"(?m)^(#{2,}|\d+\.|[|>]|  +- )|\*|\]\(|<\w+>");
    for page in pages() {
        for section in &page.sections {
            for block in section.blocks() {
                let words = match block {
                    Block::Paragraph(words) | Block::Item(words) => words,
                    Block::Code { kind, lines } => {
                        let known = ["yaml", "console", "console inside", "console host"];
                        assert!(known.contains(&kind), "{}.md: `{kind}`", page.layer);
                        assert!(!lines.is_empty(), "{}.md: an empty block", page.layer);
                        continue;
                    }
                };
                assert!(!odd.is_match(&words), "{}.md: {words}", page.layer);
                assert_eq!(words.matches('`').count() % 2, 0, "{}.md: {words}", page.layer);
            }
        }
    }
}

#[test]
fn a_page_says_where_it_knows_it_from() {
    let manual = regex(r"`\w+\(\d\)`|`Documentation/\S+`");
    for page in pages() {
        assert!(manual.is_match(text_of(&page, "What it does")), "{}.md", page.layer);
        assert!(manual.is_match(text_of(&page, "Read on")), "{}.md", page.layer);
    }
}

#[test]
fn a_page_lists_every_setting() {
    let schema = read(&folder_of_tests().join("../schemas/recipe.schema.json"));
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    for page in pages() {
        let name: String = page.layer.split('_').map(capitalised).collect();
        let keys = schema["$defs"][&name]["properties"].as_object();
        let printed = printed(&[page.layer]);
        for (key, setting) in keys.into_iter().flatten() {
            let about = setting["description"].as_str().expect("words").lines().next();
            assert!(printed.contains(&format!("\n  {key}: ")), "{}: {key}", page.layer);
            let about = about.and_then(|about| about.get(..30)).unwrap_or_default();
            assert!(printed.contains(about), "{}: {key}: {about}", page.layer);
        }
    }
}

#[test]
fn a_setting_is_described_from_its_type() {
    let settings = |layer| -> Vec<String> {
        let all = Page::of(layer).expect("a page").settings.into_iter();
        all.map(|setting| format!("{}: {}", setting.name, setting.takes)).collect()
    };
    assert_eq!(
        settings("overlay"),
        [
            "overlay: `{at, lower, create, upper, work, write}`",
            "at: a path",
            "lower: a path, `{image, trusted, via}` or a list of them",
            "lower.image: a path",
            "lower.trusted: true or false",
            "lower.via: `kernel`, `fuse`, `unpack` or a list of them",
            "create: true or false",
            "upper: a path",
            "work: a path",
            "write: true or false",
        ]
    );
    assert_eq!(settings("hostname"), ["hostname: a name of 1 to 64 visible bytes"]);
    let mount = Page::of("mount").expect("a page").settings;
    assert_eq!(mount[1].takes, "`private`, `slave`, `shared` or `unchanged`");
    assert_eq!(mount[1].default.as_deref(), Some("private"));
    assert_eq!(mount[1].words[1].about, "From the host to the sandbox");
}

#[test]
fn what_an_editor_shows_of_a_layer_stays_short() {
    let schema = read(&folder_of_tests().join("../schemas/recipe.schema.json"));
    assert!(!schema.contains("What it does"), "a page is in the schema");
}

#[test]
fn a_recipe_of_a_page_works() {
    for page in pages() {
        let all = recipes(&page);
        assert!(!all.is_empty(), "{}.md has no recipe", page.layer);
        for (index, recipe) in all.iter().enumerate() {
            // The first is for everybody; one that takes root says so.
            let who = if index == 0 { "user" } else { "sudo" };
            let plan = plan(host(who), recipe);
            assert!(plan.works(), "{}.md: {:?}", page.layer, plan.refusals);
            assert!(plan.warnings.is_empty(), "{}.md: {:?}", page.layer, plan.warnings);
        }
        assert!(!page.steps.is_empty(), "{} does nothing", page.layer);
    }
}

#[test]
fn a_page_names_the_capabilities_that_the_plan_names() {
    let named = regex(r"(CAP_[A-Z_]+)\s+over\s+((?:its|the)\s+(?:\w+\s+namespace|host))");
    for page in pages() {
        let prose = text_of(&page, "What it needs");
        let said: BTreeSet<(String, String)> = named
            .captures_iter(prose)
            .map(|found| (found[1].to_owned(), found[2].replace('\n', " ")))
            .collect();
        let mut planned = BTreeSet::new();
        for recipe in recipes(&page) {
            // Through sudo, what becomes of the first process is no matter of the layer.
            let plan = plan(host("sudo"), &recipe);
            let own = plan.steps.iter().filter(|step| is_at(page.layer, &step.origin));
            let own = own
                .filter(|step| page.layer != "user" || !step.op.to_string().starts_with("become"));
            planned.extend(own.filter_map(|step| step.needs).map(|need| {
                let name = isorecipe::model::capability::name(need.capability);
                (name.to_owned(), need.what.to_owned())
            }));
        }
        assert_eq!(said, planned, "{}.md", page.layer);
        assert_eq!(prose.starts_with("No capability"), planned.is_empty(), "{}.md", page.layer);
    }
}

#[test]
fn a_code_of_a_page_can_be_met_with_that_layer() {
    let shown = codes_of_fixtures();
    let mut wrong = Vec::new();
    for page in pages() {
        let named = codes(text_of(&page, "What often goes wrong"));
        assert!(!named.is_empty(), "{}.md names no code", page.layer);
        let given = codes_of_steps(&page);
        let drawn = shown.get(page.layer).cloned().unwrap_or_default();
        for code in named {
            // One of its own, which has a case somewhere, may be felt by a later layer.
            let is_own = code.split("::").next() == Some(page.layer);
            if !is_own && !drawn.contains(&code) && !given.contains(&code) {
                wrong
                    .push(format!("{}.md: nothing with `{}` gives {code}", page.layer, page.layer));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_code_that_a_layer_never_gives_is_noticed() {
    let page = Page::of("uts").expect("a page");
    let (drawn, given) = (codes_of_fixtures(), codes_of_steps(&page));
    for code in ["proc::masked", "hostname::shared_by_nobody"] {
        assert!(!given.contains(code) && !drawn["uts"].contains(code), "{code}");
    }
    assert!(drawn["uts"].contains("namespace::needs_user") && given.contains("namespace::limit"));
}

#[test]
fn the_readme_and_the_pages_say_the_same_of_a_layer() {
    let readme = read(&folder_of_tests().join("../README.md"));
    let table = readme.split("| layer | what it makes |").nth(1).expect("the table of layers");
    let readme = table.split("\n\n").next().unwrap_or_default();
    for page in pages() {
        let quoted = format!("`{}`", page.layer);
        let is_row = |line: &&str| {
            line.starts_with('|')
                && line.split('|').nth(1).is_some_and(|cell| cell.contains(&quoted))
        };
        let rows: Vec<&str> = readme.lines().filter(is_row).collect();
        let [row] = rows[..] else { panic!("README.md: {} rows for {quoted}", rows.len()) };
        for setting in page.settings.iter().skip(1).filter(|one| !one.name.contains('.')) {
            assert!(row.contains(&format!("`{}", setting.name)), "{}: {row}", setting.name);
        }
    }
}

fn pages() -> Vec<Page> {
    Layer::NAMES.iter().map(|name| Page::of(name).expect("a page")).collect()
}

fn text_of<'a>(page: &'a Page, title: &str) -> &'a str {
    let section = page.sections.iter().find(|section| section.title == title);
    section.map_or("", |section| section.text)
}

fn recipes(page: &Page) -> Vec<String> {
    let blocks = page.sections.iter().flat_map(|section| section.blocks());
    let recipe = |block| match block {
        Block::Code { kind: "yaml", lines } => Some(lines.join("\n") + "\n"),
        _ => None,
    };
    blocks.filter_map(recipe).collect()
}

fn plan(host: Host, recipe: &str) -> Plan {
    let (read, _, mistakes) = Recipe::read(recipe.as_bytes(), "page", Path::new(FOLDER));
    let read = read.unwrap_or_else(|| panic!("{recipe}{mistakes:?}"));
    let environment = vec![("PATH".into(), "/usr/bin".into())];
    read.plan(Rc::new(host), &Run { environment, ..Run::default() })
}

/// Whether something is at a layer of this name: `layers[2].uts.hostname`.
fn is_at(layer: &str, path: &isorecipe::yaml::Path) -> bool {
    path.segments().get(2) == Some(&Segment::Key(layer.to_owned()))
}

/// Every code that is drawn in a fixture, under the layer whose line it is drawn under.
fn codes_of_fixtures() -> BTreeMap<String, BTreeSet<String>> {
    let layer = regex(r"^  - (\w+)");
    let drawn = regex(r"^#?\s*\^+ (?:error|warning)\[(\S+)\]");
    let mut codes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in fs::read_dir(folder_of_tests().join("fixtures")).expect("fixtures") {
        let mut here = String::new();
        for line in read(&file.expect("a file").path()).lines() {
            if let Some(found) = layer.captures(line) {
                found[1].clone_into(&mut here);
            } else if let Some(found) = drawn.captures(line) {
                codes.entry(here.clone()).or_default().insert(found[1].to_owned());
            } else if !line.starts_with([' ', '#']) {
                here.clear();
            }
        }
    }
    codes
}

/// Every code that the steps of a layer give, for any fault on any of some machines, with the
/// recipes of its page and with those from which another layer was left out.
fn codes_of_steps(page: &Page) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for recipe in recipes(page).iter().flat_map(|recipe| with_less(recipe, page.layer)) {
        for host in machines() {
            let plan = plan(host, &recipe);
            let said = [&plan.refusals, &plan.leaks, &plan.warnings, &plan.prohibitions];
            let all = said.into_iter().flatten();
            let own = all.filter(|one| is_at(page.layer, one.path()));
            codes.extend(own.map(|one| one.code().to_owned()));
            for (index, step) in plan.steps.iter().enumerate() {
                if !is_at(page.layer, &step.origin) {
                    continue;
                }
                let before = plan.before(index);
                for fault in faults() {
                    let said = step.op.operation().explain(fault, &before, &Evidence::default());
                    codes.insert(said.code().to_owned());
                }
            }
        }
    }
    codes
}

/// Every call with every errno that some explanation knows.
fn faults() -> impl Iterator<Item = Fault> {
    use Errno::*;
    let errnos = [
        EPERM, ENOENT, EACCES, EINVAL, ENOSPC, ENOTDIR, EROFS, EOVERFLOW, EXDEV, EAGAIN, EIO,
        ENOTEMPTY, ENODEV,
    ];
    Call::ALL.iter().flat_map(move |&call| errnos.map(|errno| Fault { call, errno }))
}

/// The recipe, and the recipe without one of the other layers.
fn with_less(recipe: &str, layer: &str) -> Vec<String> {
    let lines: Vec<&str> = recipe.lines().collect();
    let is_other = |line: &&str| line.starts_with("  - ") && !line.contains(&format!("- {layer}"));
    let without = lines.iter().filter(|line| is_other(line)).map(|gone| {
        let rest = lines.iter().filter(|line| *line != gone);
        rest.flat_map(|line| [line, "\n"]).collect()
    });
    std::iter::once(recipe.to_owned()).chain(without).collect()
}

fn machines() -> Vec<Host> {
    let changed = |change: fn(&mut Host)| {
        let mut host = host("user");
        change(&mut host);
        host
    };
    vec![
        host("user"),
        host("root"),
        changed(|host| host.apparmor_restricts_userns = Some(true)),
        changed(|host| host.chrooted = Some(true)),
        changed(|host| {
            host.images.iter_mut().for_each(|tools| tools.fuse = FuseDevice::Missing);
        }),
    ]
}

fn codes(text: &str) -> BTreeSet<String> {
    let code = regex(r"`([a-z0-9_]+::[a-z0-9_]+)`");
    code.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// What is printed on a page as wide as can be.
fn printed(words: &[&str]) -> String {
    let run = isorecipe(["explain"]).args(words).env([("COLUMNS", "200")]).run(b"");
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
    run.stdout
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern")
}
