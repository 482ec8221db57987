//! `isorecipe plan`: what a recipe would do, before anything happens.

use std::{ffi::OsString, fs, path::PathBuf, rc::Rc};

use crate::{
    diagnostic::{Diagnostic, Refusal},
    host,
    recipe::{Document, Recipe, Run},
    yaml,
};

use super::{
    Output, PROBLEM_FOUND, RecipePath, WRONG_USAGE, environment, located, print, report::Report,
};

/// Show what a recipe would do, step by step, and what the sandbox could do then
///
/// Exit status: 0 if it would work, 1 if not, 2 for wrong usage.
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe plan recipes/step3.yaml
  isorecipe plan --host host.json recipes/step3.yaml   for a machine that was recorded

BY is who takes a step: the child, which becomes the sandbox; the supervisor,
which stays on the host; or birth, the call that makes the child. LINE is the
line of the recipe that a step comes from. NEEDS is the capability that the
kernel asks for, and NO a step that it will refuse.")]
pub(super) struct Plan {
    /// Plan for a recorded machine: a file that `isorecipe host` wrote
    #[arg(long, value_name = "FILE")]
    host: Option<PathBuf>,
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
        let run =
            Run { command: self.command, environment: environment(), is_live: self.host.is_none() };
        let plan = match &self.host {
            None => recipe.plan_knowing(host::Host::probe(), &run),
            Some(file) => match recorded(file, &recipe) {
                Ok(host) => recipe.plan(Rc::new(host), &run),
                Err(diagnostic) => {
                    output.complain(&[*diagnostic]);
                    return WRONG_USAGE;
                }
            },
        };
        let report = Report::of(&self.recipe.name(), &recipe, &document, &plan);
        let printed = match output.json {
            true => report.json(),
            false => report.text(super::width()),
        };
        let code = print(&printed);
        output.has_printed.set(true);
        let problems = problems(&document, &plan);
        if !output.json {
            output.complain(&problems);
        }
        if plan.works() { code } else { PROBLEM_FOUND }
    }
}

/// All there is to say about a plan, with its places.
pub(super) fn problems(document: &Document, plan: &crate::plan::Plan) -> Vec<Diagnostic> {
    let against = plan.refusals.iter().chain(&plan.prohibitions).chain(&plan.leaks);
    let all = against.chain(&plan.warnings);
    located(document, all.cloned().collect())
}

/// A machine that was recorded; relative paths in it start in the recipe's folder.
pub(super) fn recorded(file: &PathBuf, recipe: &Recipe) -> Result<host::Host, Box<Diagnostic>> {
    let refuse = |why: String| {
        let message = format!("{} is not a recorded host", file.display());
        let help = "`isorecipe host > host.json` records one";
        Box::new(
            Refusal::new("host::unreadable", message).why(why).help(help).at(yaml::Path::root()),
        )
    };
    let text = fs::read(file).map_err(|error| refuse(error.to_string()))?;
    let mut host: host::Host =
        serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
    let paths = std::mem::take(&mut host.paths);
    host.paths = paths
        .into_iter()
        .map(|(path, fact)| (recipe.folder.join(path).components().collect(), fact))
        .collect();
    Ok(host)
}
