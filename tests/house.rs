//! The rules of the house that no compiler knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

/// The floors, from the top. A room may use the rooms on floors below its own.
const FLOORS: [&[&str]; 10] = [
    &["main", "lib"],
    &["cli"],
    &["build", "doctor", "exec", "explain", "export", "observe", "verify"],
    &["recipe"],
    &["layers"],
    &["plan"],
    &["ops"],
    &["model"],
    &["cache", "diff", "host", "diagnostic", "registry", "seccomp"],
    &["sys", "yaml"],
];

/// Rooms whose files stand side by side and do not know each other, and the files that all may use.
const SIDE_BY_SIDE: [(&str, &[&str]); 2] = [
    ("layers", &["forms", "lower", "need", "nodes", "span", "words"]),
    ("ops", &["idmap", "module", "name", "place", "program", "room", "source", "stage", "way"]),
];

/// Files that have outgrown the house. None may join them; who has shrunk moves out.
const OUTGROWN: [&str; 0] = [];
const LONGEST: usize = 400;

#[test]
fn a_room_uses_only_rooms_below() {
    let wrong: Vec<String> = sources().iter().flat_map(Source::looks_up_or_sideways).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tour_leads_through_every_room() {
    let tour = read("src/lib.rs");
    let rows = tour.lines().filter_map(|line| line.strip_prefix("//! | ")?.split(" | ").next());
    let name = regex("`([a-z]+)`");
    let rooms = |cell| name.captures_iter(cell).map(|found| found[1].to_owned()).collect();
    let shown: Vec<BTreeSet<String>> = rows.skip(1).map(rooms).collect();
    assert_eq!(shown, FLOORS.map(|floor| floor.iter().map(|&room| room.to_owned()).collect()));
    let all: BTreeSet<String> = sources().iter().map(|source| source.room().to_owned()).collect();
    assert_eq!(shown.into_iter().flatten().collect::<BTreeSet<_>>(), all);
}

#[test]
fn a_look_up_is_noticed() {
    let plan = Source::new(
        "src/plan/merge.rs",
        "use crate::{\n    host::Host,\n    recipe::{self, Run},\n};",
    );
    assert_eq!(plan.looks_up_or_sideways(), ["src/plan/merge.rs: plan uses recipe"]);
    let inline = Source::new("src/host.rs", "fn f() -> crate::model::Model {}");
    assert_eq!(inline.looks_up_or_sideways(), ["src/host.rs: host uses model"]);
    let parent = Source::new("src/host/probe.rs", "use super::super::cli;");
    assert_eq!(parent.looks_up_or_sideways(), ["src/host/probe.rs: host uses cli"]);
}

#[test]
fn a_look_to_the_side_is_noticed() {
    let host = Source::new("src/host.rs", "use crate::diagnostic::Refusal;");
    assert_eq!(host.looks_up_or_sideways(), ["src/host.rs: host uses diagnostic"]);
}

#[test]
fn layers_and_operations_do_not_know_each_other() {
    let wrong: Vec<String> = SIDE_BY_SIDE
        .iter()
        .flat_map(|(room, shared)| neighbours(&sources(), room, shared))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_neighbour_is_noticed() {
    let room = Source::new("src/layers.rs", "pub use pid::{Pid, Init};\npub use words::Name;");
    let by_name = Source::new("src/layers/uts.rs", "use super::{Init, Name};");
    let by_path = Source::new("src/layers/proc.rs", "use super::pid::Anything;");
    let found = neighbours(&[room, by_name, by_path], "layers", &["words"]);
    assert_eq!(found, ["src/layers/uts.rs uses pid", "src/layers/proc.rs uses pid"]);
}

#[test]
fn only_sys_is_unsafe() {
    assert_none("unsafe", |source| source.room() != "sys", r"\bunsafe\b");
}

#[test]
fn nothing_is_left_undone() {
    assert_none("undone", |_| true, r"\b(todo|unimplemented|dbg)!");
}

#[test]
fn nothing_panics_on_purpose() {
    assert_none("panics", |_| true, r"\.unwrap\(\)|\.expect\(|\bpanic!|\bunreachable!");
}

/// What may stand in a command as it is: numbers, and words of our own.
const OWN_WORDS: [&str; 14] = [
    "child", "debian", "fedora", "first", "helper", "kind", "knob", "last", "major", "minor",
    "option", "own", "pid", "tool",
];

/// `typed` is what `diagnostic::typed` gives: a word that a shell takes as it is.
#[test]
fn a_word_of_a_command_is_typed() {
    let wrong: Vec<String> = sources().iter().flat_map(untyped_words).collect();
    assert!(wrong.is_empty(), "quote it with `diagnostic::typed`: {}", wrong.join("\n"));
}

#[test]
fn an_untyped_word_is_noticed() {
    let wrong = |code: &str| untyped_words(&Source::new("src/x.rs", code)).len();
    assert_eq!(wrong(r#"format!("`ls -l {shown}` shows it")"#), 1);
    assert_eq!(wrong(r#"format!("`rm {}`: it is no directory", path.display())"#), 1);
    assert_eq!(wrong(r#"format!("`rm {}`: it is no directory", typed(path))"#), 0);
    assert_eq!(wrong(r#"format!("`sudo sysctl {knob}=1`, or `dir: {shown}`; `{name}`")"#), 0);
}

fn untyped_words(source: &Source) -> Vec<String> {
    let literal = regex(r#"(?s)b?'\\?"'|"((?:[^"\\]|\\.)*)""#);
    let command = regex(r"^[a-z0-9]+ [^:]*\{");
    let word = regex(r"\{([a-z_]*)\}");
    let mut wrong = Vec::new();
    for found in literal.captures_iter(&source.code) {
        let Some(text) = found.get(1) else { continue };
        let rest: String = source.code[text.end()..].chars().take(80).collect();
        let is_typed = ["typed(", "pid)", "tool.package"].iter().any(|own| rest.contains(own));
        let is_own = |name: &str| match name {
            "" => is_typed,
            name => name == "typed" || OWN_WORDS.contains(&name),
        };
        let commands = text.as_str().split('`').skip(1).step_by(2);
        for piece in commands.filter(|piece| command.is_match(piece)) {
            if word.captures_iter(piece).any(|found| !is_own(&found[1])) {
                wrong.push(format!("{}: {piece}", source.name));
            }
        }
    }
    wrong
}

#[test]
fn a_file_opens_with_a_door_sign() {
    let all = files_below("tests").into_iter().chain(files_below("src"));
    let without: Vec<_> =
        all.filter(|file| is_rust(file) && !read(file).starts_with("//! ")).collect();
    assert_eq!(without, Vec::<PathBuf>::new());
}

#[test]
fn a_file_is_no_longer_than_people_like_to_read() {
    let long = |source: &&Source| source.text.lines().count() > LONGEST;
    let long: BTreeSet<String> =
        sources().iter().filter(long).map(|source| source.name.clone()).collect();
    assert_eq!(long, OUTGROWN.map(str::to_owned).into());
}

#[test]
fn a_code_has_a_case() {
    let cases: String = files_below("tests")
        .iter()
        // How a diagnostic looks is shown with made-up ones there.
        .filter(|file| !file.ends_with("diagnostic.rs") && !file.ends_with("house.rs"))
        .filter(|file| {
            is_rust(file)
                || file.starts_with("tests/fixtures")
                || file.starts_with("tests/catalogue")
        })
        .map(read)
        .collect();
    let named = regex("[a-z0-9_]+::[a-z0-9_]+");
    let named: BTreeSet<&str> = named.find_iter(&cases).map(|found| found.as_str()).collect();
    let mut without = codes();
    without.retain(|code| !named.contains(code.as_str()));
    assert_eq!(without, BTreeSet::new());
}

#[test]
fn a_code_is_an_area_and_a_condition() {
    assert!(codes().contains("hostname::shared"), "the codes are found");
    let areas: BTreeSet<String> =
        (codes().iter()).filter_map(|code| Some(code.split_once("::")?.0.to_owned())).collect();
    let known = [
        "batch",
        "bind",
        "build",
        "capabilities",
        "command",
        "cwd",
        "dev",
        "diff",
        "dir",
        "domainname",
        "env",
        "export",
        "explain",
        "file",
        "fork",
        "host",
        "hostname",
        "identity",
        "image",
        "keys",
        "landlock",
        "layer",
        "limits",
        "lsm",
        "map",
        "mask",
        "mode",
        "mount",
        "mqueue",
        "name",
        "namespace",
        "net",
        "observe",
        "overlay",
        "path",
        "pid",
        "pivot_root",
        "proc",
        "read_only",
        "recipe",
        "report",
        "rlimits",
        "sandbox",
        "seccomp",
        "size",
        "step",
        "sysfs",
        "terminal",
        "time",
        "user",
        "verify",
        "word",
        "yaml",
    ];
    assert_eq!(areas, known.map(str::to_owned).into());
}

#[test]
fn a_recorded_host_is_planned_for() {
    let users: String =
        files_below("tests").iter().filter(|file| is_rust(file)).map(read).collect();
    let fixtures: String = files_below("tests/fixtures").iter().map(read).collect();
    for file in files_below("tests/hosts") {
        let name = file.file_stem().unwrap_or_default().display().to_string();
        let is_used =
            fixtures.contains(&format!("# host: {name}")) || users.contains(&format!("\"{name}\""));
        assert!(is_used, "nobody plans for {}", file.display());
    }
}

#[test]
fn a_fixture_is_read_by_the_harness() {
    assert!(read("tests/fixtures.rs").contains("join(\"fixtures\")"));
    let others: Vec<_> = files_below("tests/fixtures")
        .into_iter()
        .filter(|file| file.extension().is_none_or(|ending| ending != "yaml"))
        .collect();
    assert_eq!(others, Vec::<PathBuf>::new());
}

#[test]
fn a_recipe_is_in_the_readme() {
    let readme = read("README.md");
    for recipe in files_below("recipes") {
        let name = recipe.display().to_string();
        assert!(readme.contains(&name), "README.md says nothing of {name}");
    }
}

/// A file of `src`, without its tests and its comments.
struct Source {
    name: String,
    text: String,
    code: String,
}

impl Source {
    fn new(name: &str, text: &str) -> Source {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_comment = |line: &&str| line.trim_start().starts_with("//");
        Source {
            name: name.to_owned(),
            text: text.to_owned(),
            code: code.lines().filter(|line| !is_comment(line)).collect::<Vec<_>>().join("\n"),
        }
    }

    /// `plan` for `src/plan.rs` and for all below `src/plan/`.
    fn room(&self) -> &str {
        let path = self.name.strip_prefix("src/").unwrap_or(&self.name);
        path.split(['/', '.']).next().unwrap_or_default()
    }

    /// The file's own name, without the ending.
    fn stem(&self) -> &str {
        let name = self.name.rsplit('/').next().unwrap_or_default();
        name.strip_suffix(".rs").unwrap_or(name)
    }

    fn looks_up_or_sideways(&self) -> Vec<String> {
        let room = self.room();
        let own = floor(room);
        self.rooms_used()
            .into_iter()
            .filter(|used| used != room && floor(used) <= own)
            .map(|used| format!("{}: {room} uses {used}", self.name))
            .collect()
    }

    /// The rooms named after `crate::`, or after as many `super::` as lead to the root.
    fn rooms_used(&self) -> BTreeSet<String> {
        let depth = self.name.matches('/').count();
        let root = format!(r"\b(?:crate::|(?:super::){{{depth}}})");
        names_after(&self.code, &root)
            .into_iter()
            .filter(|name| FLOORS.iter().any(|floor| floor.contains(&name.as_str())))
            .collect()
    }
}

fn floor(room: &str) -> usize {
    let floor = FLOORS.iter().position(|floor| floor.contains(&room));
    floor.unwrap_or_else(|| panic!("`{room}` is on no floor: see `FLOORS`"))
}

/// The names that come directly behind a path, one by one or in braces.
fn names_after(code: &str, path: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for found in regex(path).find_iter(code) {
        let rest = &code[found.end()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(in_braces(group).iter().map(|part| first_name(part))),
            None => _ = names.insert(first_name(rest)),
        }
    }
    names
}

/// The parts of a group, up to its end, split at its own commas.
fn in_braces(group: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        parts.last_mut().expect("a part").push(c);
    }
    parts
}

fn first_name(path: &str) -> String {
    let is_name = |c: &char| c.is_alphanumeric() || *c == '_';
    path.trim_start().chars().take_while(is_name).collect()
}

/// Which files of a room use others that are not shared.
fn neighbours(sources: &[Source], room: &str, shared: &[&str]) -> Vec<String> {
    let front = sources.iter().find(|source| source.name == format!("src/{room}.rs"));
    let homes = homes(&front.expect("the room").code);
    let members =
        || sources.iter().filter(|source| source.name.starts_with(&format!("src/{room}/")));
    let mut modules: BTreeSet<&str> = members().map(Source::stem).collect();
    modules.extend(homes.values().map(String::as_str));
    let mut wrong = Vec::new();
    for source in members() {
        let used: BTreeSet<String> =
            names_after(&source.code, &format!(r"\bsuper::|\bcrate::{room}::"))
                .into_iter()
                .filter_map(|name| match homes.get(&name) {
                    Some(home) => Some(home.clone()),
                    None => modules.contains(name.as_str()).then_some(name),
                })
                .collect();
        // A file in a family's folder is of the family.
        let is_own = |used: &str| {
            used == source.stem() || source.name.starts_with(&format!("src/{room}/{used}/"))
        };
        let others = used.iter().filter(|used| !is_own(used) && !shared.contains(&used.as_str()));
        wrong.extend(others.map(|used| format!("{} uses {used}", source.name)));
    }
    wrong
}

/// Which module each name comes from that a room passes on.
fn homes(front: &str) -> BTreeMap<String, String> {
    let mut homes = BTreeMap::new();
    for found in regex(r"pub use (\w+)::(\{[^}]*\}|\w+)").captures_iter(front) {
        // A list over several lines ends with a comma.
        let names = in_braces(found[2].trim_start_matches('{'));
        let names = names.iter().filter(|name| !name.trim().is_empty());
        homes.extend(names.map(|name| (first_name(name), found[1].to_owned())));
    }
    homes
}

/// Every `area::condition` that is written in the code.
fn codes() -> BTreeSet<String> {
    let code = regex(r#""([a-z0-9_]+::[a-z0-9_]+)""#);
    let codes = |source: &Source| -> Vec<String> {
        code.captures_iter(&source.code).map(|found| found[1].to_owned()).collect()
    };
    sources().iter().flat_map(codes).collect()
}

#[track_caller]
fn assert_none(what: &str, is_meant: impl Fn(&Source) -> bool, pattern: &str) {
    let pattern = regex(pattern);
    let sources = sources();
    let found: Vec<String> = (sources.iter())
        .filter(|source| is_meant(source))
        .flat_map(|source| source.code.lines().map(move |line| (source, line)))
        .filter(|(_, line)| pattern.is_match(line))
        .map(|(source, line)| format!("{}: {what}: {}", source.name, line.trim()))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn sources() -> Vec<Source> {
    let mut files = files_below("src");
    files.retain(|file| is_rust(file));
    assert!(files.len() > 50, "the sources are found");
    (files.iter()).map(|file| Source::new(&file.display().to_string(), &read(file))).collect()
}

fn is_rust(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "rs")
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern")
}

/// The files below a folder of the checkout, by their path in it.
fn files_below(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(checkout().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            match entry.file_type().expect("a type").is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    files
}

fn read(file: impl AsRef<Path>) -> String {
    let path = checkout().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
