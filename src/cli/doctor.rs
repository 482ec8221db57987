//! `isorecipe doctor`: what this machine can do, tried, and what mends it.

use std::fmt::Write;

use serde::Serialize;

use crate::{
    diagnostic::{Diagnostic, Record, Severity},
    doctor::{self, Finding, Thing, Verdict},
    host::Host,
    recipe::Run,
};

use super::{
    Output, PROBLEM_FOUND, RecipePath, environment, located, plan::problems, print, width,
};

/// Try what this machine can do, and say what does not work, why, and what mends it
///
/// Each thing is tried in a child that ends at once. Name recipes, and each is
/// checked against what was found.
///
/// Exit status: 0 if the recipes can run here (without recipes: if everything
/// works that sandboxes are made of), 1 if not, 2 for wrong usage.
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe doctor                               this machine, for whoever you are
  isorecipe doctor recipes/*.yaml                which of these can run here
  isorecipe --json doctor | jq .things           for programs")]
pub(super) struct Doctor {
    /// Recipes to check
    #[arg(value_name = "RECIPE")]
    recipes: Vec<RecipePath>,
}

impl Doctor {
    pub(super) fn run(self, output: &Output) -> u8 {
        let host = Host::probe();
        let findings = doctor::examine(&host);
        let recipes: Vec<Checked> =
            self.recipes.iter().map(|path| Checked::new(path, &host, &findings, output)).collect();
        let is_fit = match recipes.is_empty() {
            true => doctor::is_fit(&findings),
            false => recipes.iter().all(|recipe| recipe.can_run),
        };
        let report = Report { findings: &findings, facts: doctor::facts(&host), recipes: &recipes };
        let printed = match (output.json, output.plain) {
            (true, _) => report.json(is_fit),
            (_, true) => report.sentences(),
            _ => report.table(width()),
        };
        let code = print(&printed);
        output.has_printed.set(true);
        if !output.json {
            for recipe in &recipes {
                output.complain(&recipe.problems);
            }
        }
        if is_fit { code } else { PROBLEM_FOUND }
    }
}

/// A recipe, and whether it can run here.
struct Checked {
    name: String,
    can_run: bool,
    problems: Vec<Diagnostic>,
}

impl Checked {
    fn new(path: &RecipePath, host: &Host, findings: &[Finding], output: &Output) -> Self {
        let name = path.name();
        let Some((recipe, document)) = path.load_or_complain(output) else {
            return Self { name, can_run: false, problems: Vec::new() };
        };
        let run = Run { environment: environment(), is_live: true, ..Run::default() };
        let plan = recipe.plan_knowing(host.clone(), &run);
        let mut problems = problems(&document, &plan);
        let lacking = doctor::lacking(&plan, findings);
        // What the plan says too it says better: it knows the recipe.
        let is_new =
            |found: &Diagnostic| !problems.iter().any(|known| known.code() == found.code());
        let lacking = lacking.into_iter().filter(is_new).collect();
        problems.splice(0..0, located(&document, lacking));
        let can_run = problems.iter().all(|problem| problem.severity() == Severity::Warning);
        Self { name, can_run, problems }
    }
}

/// What is printed.
struct Report<'a> {
    findings: &'a [Finding],
    facts: Vec<(&'static str, String)>,
    recipes: &'a [Checked],
}

#[derive(Serialize)]
struct Row {
    thing: &'static str,
    /// Nothing for what was not tried
    works: Option<bool>,
    /// Whether sandboxes in general are made of it
    basic: bool,
    /// Why it was not tried
    untried: Option<String>,
    problem: Option<Record>,
}

impl Row {
    fn of(finding: &Finding) -> Self {
        let Finding { thing, verdict } = finding;
        let (works, untried, problem) = match verdict {
            Verdict::Works => (Some(true), None, None),
            Verdict::No(why) => (Some(false), None, Some(Record::from(why.as_ref()))),
            other => (None, untried(other), None),
        };
        Self { thing: thing.name(), works, basic: thing.is_basic(), untried, problem }
    }
}

fn untried(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::StandsOn(on) => Some(format!("it stands on this: {}", on.name())),
        Verdict::Untried(why) => Some((*why).to_owned()),
        Verdict::Works | Verdict::No(_) => None,
    }
}

/// What is missed without a thing that is not basic.
fn price(thing: Thing) -> &'static str {
    match thing {
        Thing::SubordinateIds => "only `map: auto` needs it",
        Thing::Clone3 => "isorecipe makes namespaces one by one instead",
        Thing::Image => "only an image as `lower` needs it",
        Thing::IpcNamespace => "only `ipc` needs it",
        Thing::NetworkNamespace => "only `net` needs it",
        Thing::CgroupNamespace => "only `cgroup` needs it",
        Thing::TimeNamespace => "no layer needs it yet",
        _ => "",
    }
}

impl Report<'_> {
    fn json(&self, is_fit: bool) -> String {
        let things: Vec<Row> = self.findings.iter().map(Row::of).collect();
        let facts: serde_json::Map<String, serde_json::Value> =
            self.facts.iter().map(|(name, fact)| ((*name).into(), fact.as_str().into())).collect();
        let recipes: Vec<_> = self
            .recipes
            .iter()
            .map(|recipe| {
                let problems: Vec<Record> = recipe.problems.iter().map(Record::from).collect();
                serde_json::json!({
                    "recipe": recipe.name, "works": recipe.can_run, "problems": problems,
                })
            })
            .collect();
        let report = serde_json::json!({
            "works": is_fit, "things": things, "facts": facts, "recipes": recipes,
        });
        format!("{report}\n")
    }

    fn table(&self, width: usize) -> String {
        let mut text = String::from("WHAT                   WORKS  WHY NOT, AND WHAT MENDS IT\n");
        let indent = " ".repeat(30);
        let room = textwrap::Options::new(width.max(60)).subsequent_indent(&indent);
        for finding in self.findings {
            let (word, why) = words(finding);
            let head = format!("{:<21}  {word:<5}", finding.thing.name());
            let mut lines = why.iter();
            let first = lines.next().map_or(String::new(), |line| format!("  {line}"));
            let first = format!("{head}{first}");
            let _ = writeln!(text, "{}", textwrap::fill(first.trim_end(), &room));
            for line in lines {
                let line = format!("{indent}{line}");
                let _ = writeln!(text, "{}", textwrap::fill(&line, &room));
            }
        }
        text.push_str("\nThis machine\n");
        let indent = " ".repeat(20);
        let room = textwrap::Options::new(width.max(60)).subsequent_indent(&indent);
        for (name, fact) in &self.facts {
            let line = format!("  {name:<16}  {fact}");
            let _ = writeln!(text, "{}", textwrap::fill(&line, &room));
        }
        if !self.recipes.is_empty() {
            text.push_str("\nRecipes\n");
        }
        for recipe in self.recipes {
            let word = if recipe.can_run { "yes" } else { "no" };
            let _ = writeln!(text, "  {word:<3}  {}", crate::yaml::printable(&recipe.name));
        }
        text
    }

    fn sentences(&self) -> String {
        let mut text = String::new();
        for finding in self.findings {
            let (word, why) = words(finding);
            let _ = writeln!(text, "{}: {word}", finding.thing.name());
            for line in why {
                let _ = writeln!(text, "  {line}");
            }
        }
        for (name, fact) in &self.facts {
            let _ = writeln!(text, "{name}: {fact}");
        }
        for recipe in self.recipes {
            let word = if recipe.can_run { "can run here" } else { "cannot run here" };
            let _ = writeln!(text, "{}: {word}", crate::yaml::printable(&recipe.name));
        }
        text
    }
}

/// Yes, no or neither, and the sentences that belong to it.
fn words(finding: &Finding) -> (&'static str, Vec<String>) {
    let Finding { thing, verdict } = finding;
    match verdict {
        Verdict::Works => ("yes", Vec::new()),
        Verdict::No(why) => ("no", reasons(*thing, why)),
        other => ("-", untried(other).into_iter().collect()),
    }
}

fn reasons(thing: Thing, why: &Diagnostic) -> Vec<String> {
    let asked = why.observed().map_or(String::new(), |observed| {
        let errno = observed.errno_name().unwrap_or_else(|| observed.errno().to_string());
        format!(" ({}: {errno})", observed.call())
    });
    let mut lines = vec![format!("{} [{}]", why.message(), why.code())];
    lines.push(format!("why: {}{asked}", why.why()));
    lines.push(format!("help: {}", why.help()));
    if !price(thing).is_empty() {
        lines.push(price(thing).to_owned());
    }
    lines
}
