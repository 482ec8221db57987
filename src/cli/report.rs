//! A plan for people and for programs: its steps, and the sandbox at the end.

use std::path::Path;

use serde::Serialize;

use crate::{
    diagnostic::{Diagnostic, Record},
    model::{Answer, UserId, capability},
    plan::{Actor, Authority, LeftOpen, Line, Plan, Step, within},
    recipe::{Document, Recipe},
    yaml::spelled_out,
};

use super::plan::problems;

/// What `verify: true` adds to a plan.
const VERIFIED: &str =
    "All of it is compared with this plan before the command runs, and has to be as it says";

/// What `isorecipe plan` prints.
#[derive(Serialize)]
pub(super) struct Report {
    recipe: String,
    name: Option<String>,
    about: Option<String>,
    works: bool,
    steps: Vec<Row>,
    sandbox: Authority,
    open: LeftOpen,
    #[serde(skip)]
    lists_all: bool,
    /// Whether a run compares the sandbox with this plan
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    verify: bool,
    problems: Vec<Record>,
}

#[derive(Serialize)]
struct Row {
    step: usize,
    by: &'static str,
    what: String,
    path: String,
    line: Option<usize>,
    needs: Option<Needs>,
    /// There is nothing to do, as the layer allows
    #[serde(skip_serializing_if = "is_false")]
    skipped: bool,
    answer: &'static str,
    call: Option<&'static str>,
    errno: Option<String>,
}

#[derive(Serialize)]
struct Needs {
    capability: &'static str,
    over: &'static str,
    /// Whose user namespace owns that: the host's, or the recipe's own
    owner: &'static str,
    has: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_false(skipped: &bool) -> bool {
    !skipped
}

impl Report {
    pub(super) fn of(name: &str, recipe: &Recipe, document: &Document, plan: &Plan) -> Self {
        let folder = &recipe.folder;
        let problems: Vec<Diagnostic> = problems(document, plan);
        Self {
            recipe: name.to_owned(),
            name: recipe.name.clone(),
            about: recipe.about.clone(),
            works: plan.works(),
            steps: plan
                .steps
                .iter()
                .enumerate()
                .map(|(index, step)| Row::of(index, step, document, folder))
                .collect(),
            sandbox: Authority::of(plan, folder),
            open: LeftOpen::of(plan, recipe.clear_env),
            lists_all: false,
            verify: recipe.verify,
            problems: problems.iter().map(Record::from).collect(),
        }
    }

    /// Not only the first few of each kind.
    pub(super) fn list_all_that_is_open(&mut self, lists_all: bool) {
        self.lists_all = lists_all;
    }

    pub(super) fn json(&self) -> String {
        format!("{}\n", serde_json::to_string(self).unwrap_or_default())
    }

    pub(super) fn text(&self, width: usize) -> String {
        let mut text = self.head();
        text.push_str(&self.table(width));
        text.push_str(&format!("\nThe sandbox then\n{}", listed("  ", &self.sandbox.lines())));
        text.push_str(&self.left_open());
        if self.verify {
            text.push_str(&format!("\n{VERIFIED}.\n"));
        }
        text
    }

    /// What is open, below the line that would close it.
    fn left_open(&self) -> String {
        let mut text = format!("\nLeft open: {}\n", self.open.figure());
        if self.lists_all {
            for group in self.open.layers() {
                text.push_str(&format!("  {}\n", group.closed_by));
                for (name, tries) in &group.checks {
                    text.push_str(&format!("    {name:<16} {tries}\n"));
                }
            }
            return text;
        }
        let lengths = self.open.layers().iter().map(|group| group.closed_by.len());
        let longest = lengths.max().unwrap_or(0);
        for group in self.open.layers() {
            text.push_str(&format!("  {:<longest$}  {}\n", group.closed_by, group.in_brief()));
        }
        if self.open.is_long() {
            text.push_str("`plan --open` lists all of it.\n");
        }
        text
    }

    /// The same in sentences.
    fn open_sentences(&self) -> Vec<String> {
        let mut said = vec![format!("Left open: {}.", self.open.figure())];
        for group in self.open.layers() {
            let tries = match self.lists_all {
                true => group.checks.values().copied().map(str::to_owned).collect(),
                false => vec![group.in_brief()],
            };
            let sentence =
                |tries: String| format!("Without `{}`, it could {tries}.", group.closed_by);
            said.extend(tries.into_iter().map(sentence));
        }
        said
    }

    /// The same as plain sentences, one a line: for screen readers and logs.
    pub(super) fn sentences(&self) -> String {
        let works = if self.works { "works" } else { "does not work" };
        let head = format!("{}\nThis plan {works}.\n", self.head().trim_end());
        let steps = self.steps.iter().map(Row::sentence);
        let sandbox = self.sandbox.lines().iter().map(sentence).collect::<Vec<_>>();
        let verified = self.verify.then(|| format!("{VERIFIED}."));
        let lines = steps.chain(sandbox).chain(self.open_sentences()).chain(verified);
        let lines = lines.map(|line| format!("{line}\n"));
        std::iter::once(head).chain(lines).collect()
    }

    fn head(&self) -> String {
        let about = self.about.as_ref().map_or(String::new(), |about| format!(": {about}"));
        let name = self.name.as_ref().unwrap_or(&self.recipe);
        format!("{}\n\n", spelled_out(&format!("{name}{about}")))
    }

    fn table(&self, width: usize) -> String {
        let head = ["STEP", "BY", "LINE", "WHAT", "NEEDS"].map(str::to_owned);
        let rows: Vec<[String; 5]> =
            std::iter::once(head).chain(self.steps.iter().map(Row::cells)).collect();
        let widths = [0, 1, 2, 3].map(|column| {
            let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            // The last column goes below where there is no room for it.
            if column == 3 { longest.min(width.saturating_sub(30).max(40)) } else { longest }
        });
        let mut table = String::new();
        for [step, by, line, what, needs] in &rows {
            let [a, b, c, d] = widths;
            let row = format!("{step:>a$}  {by:<b$}  {line:>c$}  {what:<d$}  {needs}");
            table.push_str(row.trim_end());
            table.push('\n');
        }
        table
    }
}

impl Row {
    fn of(index: usize, step: &Step, document: &Document, folder: &Path) -> Self {
        let (answer, fault) = match step.answer {
            Answer::Yes => ("yes", None),
            Answer::No(fault) => ("no", Some(fault)),
            Answer::KernelDecides => ("the kernel decides", None),
        };
        Self {
            step: index + 1,
            by: match step.by {
                _ if step.at_birth => "birth",
                Actor::Supervisor => "supervisor",
                Actor::Child => "child",
            },
            what: within(folder, &step.op.to_string()),
            path: step.origin.to_string(),
            line: document.line(&step.origin),
            needs: step.needs.map(|need| Needs {
                capability: capability::name(need.capability),
                over: need.what,
                owner: if need.over == UserId::HOST { "host" } else { "own" },
                has: step.is_capable,
            }),
            skipped: step.is_idle,
            answer,
            call: fault.map(|fault| fault.call.name()),
            errno: fault.map(|fault| format!("{:?}", fault.errno)),
        }
    }

    fn sentence(&self) -> String {
        let by = match self.by {
            "birth" => "taken as the child is made".to_owned(),
            by => format!("taken by the {by}"),
        };
        let line = self.line.map_or(String::new(), |line| format!(", line {line}"));
        let what = spelled_out(&self.what);
        let mut sentence = format!("Step {}, {by}{line}: {what}.", self.step);
        if let Some(need) = &self.needs {
            let whose = if need.owner == "own" { "the recipe's own" } else { "the host's" };
            let has = if need.has { "has it" } else { "lacks it" };
            let capability = need.capability;
            sentence.push_str(&format!(
                " It needs {capability} over {whose} user namespace, and {has}."
            ));
        }
        if self.skipped {
            sentence.push_str(" It is skipped: there is nothing.");
        }
        if let ("no", Some(call), Some(errno)) = (self.answer, &self.call, &self.errno) {
            sentence.push_str(&format!(" The kernel will refuse it: {call} gives {errno}."));
        }
        sentence
    }

    fn cells(&self) -> [String; 5] {
        let needs = self.needs.as_ref().map_or(String::new(), |need| {
            let has = if need.has { "has it" } else { "lacks it" };
            format!("{} over {}: {has}", need.capability, need.owner)
        });
        let needs = match (self.answer, &self.call, &self.errno) {
            ("no", Some(call), Some(errno)) => format!("NO: {call} gives {errno}; {needs}"),
            _ if self.skipped => format!("skipped, there is nothing; {needs}"),
            _ => needs,
        };
        let line = self.line.map_or(String::new(), |line| line.to_string());
        [
            self.step.to_string(),
            self.by.to_owned(),
            line,
            // The recipe's words: none of them may act on the terminal, or look like another row.
            spelled_out(&self.what).into_owned(),
            needs.trim_end_matches("; ").to_owned(),
        ]
    }
}

/// A line of authority as a sentence.
pub(super) fn sentence((what, how): &Line) -> String {
    let beginning = match *what {
        "ids" => "The command has the ids",
        "holds" => "It holds",
        "hostname" => "The hostname is",
        "PID 1" => "PID 1 is",
        "root" => "The root is",
        "/proc" => "/proc is",
        "mount" => "There is a mount at",
        "calls" => "Its system calls are filtered:",
        "can read" => "It can read",
        "can write" => "It can write",
        "Landlock" => return format!("Landlock: {}.", spelled_out(how)),
        "shares" => "It shares with the host:",
        "ends" => "It ends",
        what => return format!("Its {what}: {}.", spelled_out(how)),
    };
    format!("{beginning} {}.", spelled_out(how))
}

/// Lines of authority in columns, after a mark.
pub(super) fn listed(mark: &str, lines: &[Line]) -> String {
    lines.iter().map(|(what, how)| format!("{mark}{what:<9}  {}\n", spelled_out(how))).collect()
}
