//! `isorecipe plan`: what a recipe would do, before anything happens.

use std::{ffi::OsString, fs, path::PathBuf, rc::Rc};

use crate::{
    diagnostic::{Diagnostic, Refusal},
    host::Host,
    plan::{self, Authority, Line},
    recipe::{Document, Recipe, Run},
    sys,
    yaml::{self, spelled_out},
};

use super::{
    Choice, Output, PROBLEM_FOUND, RecipePath, WRONG_USAGE, environment, located, mend, print,
    report::{Report, listed, sentence},
};

/// Show what a recipe would do, step by step, and what the sandbox could do then
///
/// Exit status: 0 if it would work, 1 if not, 2 for wrong usage. With
/// `--against`: 0 if both sandboxes could do the same, 1 if not.
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe plan recipes/step3.yaml
  isorecipe plan --host host.json recipes/step3.yaml   for a machine that was recorded
  isorecipe plan --open recipes/shell.yaml             all that hostile code could still do
  isorecipe plan --fix box.yaml                        the layers in an order that works
  isorecipe plan new.yaml --against old.yaml           what a change allows, for review

BY is who takes a step: the child, which becomes the sandbox; the supervisor,
which stays on the host; or birth, the call that makes the child. LINE is the
line of the recipe that a step comes from. NEEDS is the capability that the
kernel asks for, over the host or over a user namespace of the recipe's own,
and NO a step that it will refuse.")]
pub(super) struct Plan {
    /// Plan for a recorded machine: a file that `isorecipe host` wrote
    #[arg(long, value_name = "FILE")]
    host: Option<PathBuf>,
    /// Print the recipe with its layers in an order that works, if order is all that is wrong
    #[arg(long, conflicts_with_all = ["against", "skip", "until"])]
    fix: bool,
    /// List everything that hostile code could still do, not only the first few of each kind
    #[arg(long, conflicts_with_all = ["against", "fix"])]
    open: bool,
    /// Print what the sandbox could do that the one of another recipe could not, and the other way round
    #[arg(long, value_name = "RECIPE")]
    against: Option<RecipePath>,
    #[command(flatten)]
    choice: Choice,
    /// The recipe: a file, or `-` for standard input
    #[arg(value_name = "RECIPE")]
    recipe: RecipePath,
    /// What to run instead of the recipe's own command
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Plan {
    pub(super) fn run(self, output: &Output) -> u8 {
        let Some((recipe, document)) = self.recipe.load_or_complain(output) else {
            return PROBLEM_FOUND;
        };
        let (host, run) = match self.circumstances(&recipe, &document) {
            Ok(found) => found,
            Err(diagnostic) => {
                output.complain(&[*diagnostic]);
                return WRONG_USAGE;
            }
        };
        let (mut plan, host) = recipe.plan_learning(host, &run);
        recipe.point_at_order(&mut plan, &Rc::new(host.clone()), &run);
        if self.fix {
            let planned = Planned { recipe: &recipe, document: &document, plan: &plan };
            return mend::mend(&planned, &host, &run, output);
        }
        if let Some(other) = &self.against {
            let authority = Authority::of(&plan, &recipe.folder);
            return self.compare(&authority, other, &host, output);
        }
        plan.beware(run.is_live);
        let mut report = Report::of(&self.recipe.name(), &recipe, &document, &plan);
        report.list_all_that_is_open(self.open);
        let printed = match (output.json, output.plain) {
            (true, _) => report.json(),
            (_, true) => report.sentences(),
            _ => report.text(super::width()),
        };
        let code = print(&printed);
        output.has_printed.set(true);
        let problems = problems(&document, &plan);
        if !output.json {
            output.complain(&problems);
        }
        if plan.works() { code } else { PROBLEM_FOUND }
    }

    /// The machine that is planned for, and what this run adds to the recipe.
    fn circumstances(
        &self,
        recipe: &Recipe,
        document: &Document,
    ) -> Result<(Host, Run), Box<Diagnostic>> {
        let course = recipe.course(&self.choice.wishes());
        let run = Run {
            command: self.command.clone(),
            environment: environment(),
            is_live: self.host.is_none(),
            course: course.map_err(|diagnostic| Box::new(document.locate(*diagnostic)))?,
            ..Run::default()
        };
        let host = match &self.host {
            None => Host::probe(),
            Some(file) => recorded(file, recipe)?,
        };
        Ok((host, run))
    }

    /// What one recipe allows and the other does not.
    fn compare(&self, new: &Authority, old: &RecipePath, host: &Host, output: &Output) -> u8 {
        let Some((recipe, document)) = old.load_or_complain(output) else {
            return PROBLEM_FOUND;
        };
        let run =
            Run { environment: environment(), is_live: self.host.is_none(), ..Run::default() };
        let (plan, _) = recipe.plan_learning(host.clone(), &run);
        output.complain(&located(&document, plan.refusals.clone()));
        let old_authority = Authority::of(&plan, &recipe.folder);
        let (more, less) = new.differences(&old_authority);
        let is_same = more.is_empty() && less.is_empty();
        let printed = match output.json {
            true => difference_in_json(&more, &less),
            false if is_same => "no difference: both sandboxes could do the same\n".to_owned(),
            false if output.plain => {
                let only = |name: String, lines: &[Line]| -> String {
                    let name = spelled_out(&name).into_owned();
                    lines.iter().map(|line| format!("Only {name}: {}\n", sentence(line))).collect()
                };
                format!("{}{}", only(old.name(), &less), only(self.recipe.name(), &more))
            }
            false => {
                let (new, old) = (self.recipe.name(), old.name());
                let head = format!("- {}\n+ {}\n\n", spelled_out(&old), spelled_out(&new));
                format!("{head}{}{}", listed("- ", &less), listed("+ ", &more))
            }
        };
        match (print(&printed), is_same) {
            (0, false) => PROBLEM_FOUND,
            (code, _) => code,
        }
    }
}

fn difference_in_json(more: &[Line], less: &[Line]) -> String {
    let list = |lines: &[Line]| -> Vec<serde_json::Value> {
        lines.iter().map(|(what, how)| serde_json::json!({ "what": what, "how": how })).collect()
    };
    format!("{}\n", serde_json::json!({ "more": list(more), "less": list(less) }))
}

/// A recipe, the text it was read from, and what it comes to.
pub(super) struct Planned<'a> {
    pub recipe: &'a Recipe,
    pub document: &'a Document,
    pub plan: &'a plan::Plan,
}

/// All there is to say about a plan, with its places.
pub(super) fn problems(document: &Document, plan: &plan::Plan) -> Vec<Diagnostic> {
    let against = plan.refusals.iter().chain(&plan.prohibitions).chain(&plan.leaks);
    let all = against.chain(&plan.warnings).chain(&plan.notes);
    located(document, all.cloned().collect())
}

/// A machine that was recorded; relative paths in it start in the recipe's folder.
pub(super) fn recorded(file: &PathBuf, recipe: &Recipe) -> Result<Host, Box<Diagnostic>> {
    let refuse = |why: String| {
        let message = format!("{} is not a recorded host", file.display());
        let help = "`isorecipe host > host.json` records one";
        Box::new(
            Refusal::new("host::unreadable", message).why(why).help(help).at(yaml::Path::root()),
        )
    };
    let text = fs::read(file).map_err(|error| refuse(sys::error_words(&error)))?;
    let mut host: Host =
        serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
    let paths = std::mem::take(&mut host.paths);
    host.paths = paths
        .into_iter()
        .map(|(path, fact)| (recipe.folder.join(path).components().collect(), fact))
        .collect();
    Ok(host)
}
