//! `isorecipe export`: a recipe in another tool's words.

use std::{ffi::OsString, path::PathBuf, rc::Rc};

use crate::{
    diagnostic::Diagnostic,
    export, host,
    plan::Plan,
    recipe::{Recipe, Run},
};

use super::{
    Output, PROBLEM_FOUND, RecipePath, WRONG_USAGE, environment, located,
    plan::{problems, recorded},
    print_bytes,
};

/// Print the same sandbox in another tool's words, as commands to read and run
///
/// A recipe that will not work gives a script that does not work either, and
/// the reason.
///
/// Exit status: 0 if it would work, 1 if not or if it cannot be said, 2 for
/// wrong usage.
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe export --to sh recipes/step3.yaml
  isorecipe export --to sh --comment recipes/step4-rootless.yaml > step4.sh
  sh step4.sh                                    for the user who exported it")]
pub(super) struct Export {
    /// The tool whose words are wanted
    #[arg(long, value_name = "TOOL")]
    to: Tool,
    /// Say which layer a line comes from
    #[arg(long)]
    comment: bool,
    /// Export for a recorded machine: a file that `isorecipe host` wrote
    #[arg(long, value_name = "FILE")]
    host: Option<PathBuf>,
    /// The recipe: a file, or `-` for standard input
    #[arg(value_name = "RECIPE")]
    recipe: RecipePath,
    /// What to run instead of the recipe's own command
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// The plan, and what came of saying it.
type Exported = (Plan, Result<export::Export, Vec<Diagnostic>>);

/// A link leads to another, but not often in a row.
const MOST_ROUNDS: usize = 16;

/// A tool that can make a sandbox.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Tool {
    /// A POSIX shell, with `unshare`, `mount` and their like
    Sh,
}

impl Export {
    pub(super) fn run(self, output: &Output) -> u8 {
        let Some((recipe, document)) = self.recipe.load_or_complain(output) else {
            return PROBLEM_FOUND;
        };
        let run = Run {
            command: self.command.clone(),
            environment: environment(),
            is_live: self.host.is_none(),
            ..Run::default()
        };
        let (plan, exported) = match &self.host {
            None => self.export_knowing(&recipe, &run),
            Some(file) => match recorded(file, &recipe) {
                Ok(host) => self.export(&recipe, &run, recipe.plan(Rc::new(host), &run)),
                Err(diagnostic) => {
                    output.complain(&[*diagnostic]);
                    return WRONG_USAGE;
                }
            },
        };
        let (code, remarks) = match exported {
            Ok(exported) => (print_bytes(&exported.text), exported.warnings),
            Err(refusals) => (PROBLEM_FOUND, refusals),
        };
        let all = problems(&document, &plan).into_iter().chain(remarks).collect();
        output.complain(&located(&document, all));
        if plan.works() { code } else { PROBLEM_FOUND }
    }

    fn export(&self, recipe: &Recipe, run: &Run, plan: Plan) -> Exported {
        let exported = match self.to {
            Tool::Sh => export::to_sh(recipe, run, &plan, self.comment),
        };
        (plan, exported)
    }

    /// Exports with every fact of this machine that is asked for on the way.
    fn export_knowing(&self, recipe: &Recipe, run: &Run) -> Exported {
        let mut host = host::Host::probe();
        let mut exported = self.export(recipe, run, recipe.plan_knowing(host.clone(), run));
        for _ in 0..MOST_ROUNDS {
            let asked = exported.0.take_asked();
            if asked.is_empty() {
                break;
            }
            host.paths.extend(asked.into_iter().map(|path| {
                let fact = host::Host::look_at(&path);
                (path, fact)
            }));
            exported = self.export(recipe, run, recipe.plan_knowing(host.clone(), run));
        }
        exported
    }
}
