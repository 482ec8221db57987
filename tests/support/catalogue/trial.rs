//! One situation, made for one person: planned, refused by the kernel, and mended with the remedy that was printed.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;

use super::{
    row::{Person, Row},
    shell,
};
use crate::{
    json_schema,
    machine::{Desk, Who, own_uid},
};

/// What every diagnostic of `--json` is.
const SCHEMA: &str = include_str!("../../../schemas/diagnostic.schema.json");

/// What came of it.
pub struct Trial {
    pub id: String,
    pub person: Person,
    /// Whether the plan has foreseen it
    pub is_foreseen: bool,
    /// What the kernel said
    pub fault: Option<String>,
    pub remedy: Done,
    mistakes: Vec<String>,
}

/// What became of the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Works,
    /// It leads to the next question
    Leads,
    NotApplied,
    /// Nothing was wrong
    None,
}

impl Trial {
    pub fn wrong(&self) -> Option<String> {
        (!self.mistakes.is_empty())
            .then(|| format!("{} as {:?}: {}", self.id, self.person, self.mistakes.join("\n    ")))
    }
}

/// Tries them all, some at a time.
pub fn of_all(rows: &[Row]) -> Vec<Trial> {
    let wanted = std::env::var("CATALOGUE").unwrap_or_default();
    let is_wanted = |row: &&Row| row.id.starts_with(&wanted);
    let here =
        |row: &Row, person: &Person| own_uid() == 0 || *person == Person::User && !row.needs_root;
    let cases: Vec<(&Row, Person)> = rows
        .iter()
        .filter(is_wanted)
        .flat_map(|row| row.people.iter().map(move |person| (row, *person)))
        .filter(|(row, person)| here(row, person))
        .collect();
    let desks = Desks::new();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((row, person)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let trial = Try::new(row, *person, &desks).run();
                    found.lock().expect("a result").push(trial);
                }
            });
        }
    });
    let mut found = found.into_inner().expect("the results");
    let place = |trial: &Trial| {
        let at =
            cases.iter().position(|(row, person)| row.id == trial.id && *person == trial.person);
        at.unwrap_or(usize::MAX)
    };
    found.sort_by_key(place);
    found
}

struct Desks {
    root: Option<Desk>,
    user: Desk,
}

impl Desks {
    fn new() -> Self {
        let root = (own_uid() == 0).then(|| desk(Who::Root));
        Self { root, user: desk(Who::ordinary()) }
    }

    fn of(&self, person: Person) -> &Desk {
        match (person, &self.root) {
            (Person::Root, Some(desk)) => desk,
            _ => &self.user,
        }
    }
}

/// A desk with the tools of the scripts.
fn desk(who: Who) -> Desk {
    let desk = Desk::of(who);
    desk.make_dir("tools");
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/catalogue/tools");
    let copy = Command::new("cp").arg("-r").arg(tools).arg(desk.folder()).status();
    assert!(copy.expect("cp").success());
    let open = Command::new("chmod").args(["-R", "a+rX"]).arg(desk.path("tools")).status();
    assert!(open.expect("chmod").success());
    desk
}

struct Try<'a> {
    row: &'a Row,
    person: Person,
    desk: &'a Desk,
    /// Its folder
    name: String,
    mistakes: Vec<String>,
}

/// What one run of isorecipe printed.
struct Said {
    status: i32,
    problems: Vec<Value>,
    text: String,
}

impl Said {
    fn errors(&self) -> Vec<&Value> {
        self.problems.iter().filter(|problem| problem["severity"] == "error").collect()
    }

    fn codes(&self) -> Vec<&str> {
        self.errors().iter().filter_map(|problem| problem["code"].as_str()).collect()
    }
}

impl<'a> Try<'a> {
    fn new(row: &'a Row, person: Person, desks: &'a Desks) -> Self {
        let name = row.id.replace('/', "-");
        Self { row, person, desk: desks.of(person), name, mistakes: Vec::new() }
    }

    fn run(mut self) -> Trial {
        self.desk.make_dir(&self.name);
        self.write_recipe(&self.row.recipe);
        let mut shell =
            shell::of(self.row, self.person, self.desk, &self.name).spawn().expect("unshare, bash");
        let mut lines = BufReader::new(shell.stdout.take().expect("a pipe")).lines();
        let mut answer = shell.stdin.take().expect("a pipe");
        let has_tried = lines.by_ref().map_while(Result::ok).any(|line| line == "tried");
        let mut trial = Trial {
            id: self.row.id.clone(),
            person: self.person,
            is_foreseen: false,
            fault: None,
            remedy: Done::None,
            mistakes: Vec::new(),
        };
        if has_tried {
            let plan = self.said("plan");
            let apply = self.said("apply");
            self.judge(&plan, &apply, &mut trial);
            if let Some(problem) = apply.errors().first() {
                trial.remedy = self.prepare_remedy(problem);
            }
            if matches!(trial.remedy, Done::Works | Done::Leads) {
                writeln!(answer, "go").expect("a shell that waits");
                let _ = lines.by_ref().map_while(Result::ok).last();
                let after = self.said("after");
                self.judge_remedy(&after);
            }
        } else {
            self.mistakes.push("it could not be set up".to_owned());
        }
        drop(answer);
        let ended = shell.wait_with_output().expect("an end");
        if !self.mistakes.is_empty() {
            self.mistakes.push(String::from_utf8_lossy(&ended.stderr).trim().to_owned());
        }
        let folder = self.desk.path(&self.name);
        let _ = Command::new("rm").arg("-rf").arg(folder).status();
        trial.mistakes = self.mistakes;
        trial
    }

    fn write_recipe(&self, recipe: &str) {
        let command = match recipe.lines().any(|line| line.starts_with("command:")) {
            true => "",
            false => "command: [\"true\"]\n",
        };
        let text = self.filled(&format!("isorecipe: 1\n{recipe}{command}"));
        self.desk.write(&format!("{}/r.yaml", self.name), &text);
    }

    fn said(&self, what: &str) -> Said {
        let read = |end: &str| {
            let file = self.desk.path(&format!("{}/{what}.{end}", self.name));
            fs::read_to_string(file).unwrap_or_default()
        };
        let (out, err) = (read("out"), read("err"));
        let lines = |text: &str| -> Vec<Value> {
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        let mut problems: Vec<Value> = lines(&err);
        for printed in lines(&out) {
            problems.extend(printed["problems"].as_array().cloned().unwrap_or_default());
        }
        let schema: Value = serde_json::from_str(SCHEMA).expect("a schema");
        for problem in &problems {
            json_schema::check(&schema, problem).expect("as the schema says");
        }
        let status = read("status").trim().parse().unwrap_or(-1);
        let other = err.lines().filter(|line| !line.starts_with('{'));
        let shown = problems.iter().map(in_short).chain(other.map(str::to_owned));
        let text = format!("{status}: {}", shown.collect::<Vec<_>>().join("\n      "));
        Said { status, problems, text }
    }

    fn judge(&mut self, plan: &Said, apply: &Said, trial: &mut Trial) {
        let row = self.row;
        if row.code == "ok" {
            for said in [plan, apply] {
                if said.status != 0 {
                    self.mistakes.push(format!("is refused: {}", said.text));
                }
            }
            return;
        }
        let code = row.code.as_str();
        trial.is_foreseen = plan.codes() == [code];
        if !trial.is_foreseen && plan.status != 0 {
            self.mistakes.push(format!("the plan says {:?}: {}", plan.codes(), plan.text));
        }
        if apply.codes() != [code] {
            self.mistakes.push(format!("apply says {:?}: {}", apply.codes(), apply.text));
            return;
        }
        if apply.status != row.status {
            self.mistakes.push(format!("apply exits with {}", apply.status));
        }
        let text =
            |problem: &Value, key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        for problem in [apply.errors()].concat() {
            let words = format!("{}; {}", text(problem, "message"), text(problem, "why"));
            let wanted = row.says.iter().map(|said| self.filled(said));
            let missing: Vec<String> = wanted.filter(|said| !words.contains(said)).collect();
            if !missing.is_empty() {
                self.mistakes.push(format!("{missing:?} is not in: {words}"));
            }
            let call = text(problem, "call");
            let errno = text(problem, "errno_name");
            trial.fault = (!call.is_empty()).then(|| format!("{call} {errno}"));
        }
        if trial.fault != row.fault {
            self.mistakes.push(format!("the kernel said {:?}", trial.fault));
        }
    }

    /// What is different for each who tries it.
    fn filled(&self, text: &str) -> String {
        let folder = self.desk.path(&self.name).display().to_string();
        let text = text.replace("NEWROOT", NEW_ROOT).replace("LONGNAME", &"a".repeat(256));
        let text = text.replace("BOX", "{user: {map: root}}, mount");
        text.replace("FOLDER", &folder).replace("UID", &self.desk.who.uid().to_string())
    }

    /// Does to the recipe what the remedy says, and writes the script that does the rest.
    fn prepare_remedy(&mut self, problem: &Value) -> Done {
        let row = self.row;
        let remedy = &row.remedy;
        let help = problem["help"].as_str().unwrap_or_default().to_owned();
        let typed: Vec<&str> = help.split('`').skip(1).step_by(2).collect();
        let wanted = remedy.says.iter().map(|said| self.filled(said));
        let missing: Vec<String> = wanted.filter(|said| !help.contains(said)).collect();
        if !missing.is_empty() {
            self.mistakes.push(format!("{missing:?} is not in the remedy: {help}"));
        }
        let changed = match (&remedy.recipe, &remedy.change) {
            (Some(recipe), _) => Some(recipe.clone()),
            (None, Some((from, to))) => {
                assert!(row.recipe.contains(from.as_str()), "{}: no `{from}`", row.id);
                Some(row.recipe.replace(from.as_str(), to))
            }
            (None, None) => None,
        };
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let word = |index: usize| quoted(typed.get(index).copied().unwrap_or_default());
        let script = remedy.script.clone().unwrap_or_default();
        let shown = changed.clone().unwrap_or_default() + &script;
        let is_said = script.contains("$typed")
            || !remedy.says.is_empty()
            || typed.iter().any(|typed| squeezed(&shown).contains(&squeezed(typed)));
        if let Some(why) = &remedy.not_applied {
            assert!(!why.is_empty() && changed.is_none() && script.is_empty(), "{}", row.id);
            return Done::NotApplied;
        }
        if !is_said {
            self.mistakes.push(format!("nothing of this was done: {help}"));
        }
        if let Some(recipe) = &changed {
            self.write_recipe(recipe);
        }
        let prefix = remedy.prefix.as_ref().map(|words| format!("prefix='{words}'\n"));
        let text = format!(
            "typed={}\ntyped2={}\n{}{script}\n",
            word(0),
            word(1),
            prefix.unwrap_or_default()
        );
        self.desk.write(&format!("{}/remedy", self.name), &text);
        if remedy.then.is_some() { Done::Leads } else { Done::Works }
    }

    fn judge_remedy(&mut self, after: &Said) {
        let codes = after.codes();
        let is_right = match &self.row.remedy.then {
            Some(then) => codes == [then.as_str()] && *then != self.row.code,
            None => codes.is_empty() && after.status == 0,
        };
        if !is_right {
            self.mistakes.push(format!("after the remedy {codes:?}: {}", after.text));
        }
    }
}

/// A tree with the host's programs on a tmpfs at `new`.
const NEW_ROOT: &str = "{tmpfs: new}, {dir: new/usr}, {dir: new/lib}, {dir: new/lib64}, \
    {bind: {from: /usr, to: new/usr, read_only: true}}, \
    {bind: {from: /lib, to: new/lib, read_only: true}}, \
    {bind: {from: /lib64, to: new/lib64, read_only: true}}";

fn in_short(problem: &Value) -> String {
    ["code", "message", "why", "help", "call", "errno_name"]
        .map(|key| problem[key].as_str().unwrap_or("-"))
        .join(" | ")
}

/// Without what means nothing in YAML.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}
