//! `isorecipe export`: a recipe in another tool's words.

use std::{ffi::OsString, path::PathBuf, rc::Rc};

use crate::{export, host, recipe::Run};

use super::{
    Output, PROBLEM_FOUND, RecipePath, WRONG_USAGE, environment, located,
    plan::{problems, recorded},
    print_bytes,
};

/// Print the same sandbox in another tool's words, as commands to read and run
///
/// A recipe that will not work gives a script that does not work either, and
/// the reason. Exit status: 0 if it would work, 1 if not or if it cannot be
/// said, 2 for wrong usage.
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
        let exported = match self.to {
            Tool::Sh => export::to_sh(&recipe, &run, &plan, self.comment),
        };
        let exported = match exported {
            Ok(exported) => exported,
            Err(refusals) => {
                output.complain(&located(&document, refusals));
                return PROBLEM_FOUND;
            }
        };
        let code = print_bytes(&exported.text);
        output.complain(&problems(&document, &plan));
        output.complain(&located(&document, exported.warnings));
        if plan.works() { code } else { PROBLEM_FOUND }
    }
}
