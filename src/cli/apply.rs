//! `isorecipe apply`: runs a command in the sandbox of a recipe.

use std::{ffi::OsString, path::PathBuf, time::Instant};

use clap::{CommandFactory, error::ErrorKind};

use crate::{
    exec,
    layers::Span,
    plan::{Injection, Plan},
    recipe::Run,
};

use super::{
    Arguments, COULD_NOT_START, Choice, Output, RecipePath,
    choice::Pauses,
    ending::{Account, Ending, Ledger},
    environment,
    inspection::Inspection,
    located, mishap,
    permissions::{Permissions, stopped_status},
    watch::Watch,
};

/// Run a command in the sandbox of a recipe
///
/// The exit status is the command's own; 124 if its time was up, 125 if it
/// could not be started, 126 if it may not be executed, 127 if it was not
/// found, 128+N if signal N killed it.
#[derive(clap::Args, Debug, Default)]
#[command(after_help = "\
Try:
  isorecipe apply recipes/step2.yaml -- hostname          the sandbox's own name
  isorecipe apply recipes/step3.yaml                      a shell; leave it with `exit`
  isorecipe apply --unchecked recipes/step2-no-uts.yaml   let the kernel refuse it
  isorecipe apply --step recipes/step3.yaml               layer by layer, at your pace
  isorecipe apply --skip uts recipes/step2.yaml           what goes wrong without it")]
pub(super) struct Apply {
    #[command(flatten)]
    permissions: Permissions,
    /// Write to a file, as JSON, how it ended: phase, step, exit, signal, duration, usage
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// End the command when it has run so long, as in 500ms, 1.5s, 10m; the exit status is then 124
    #[arg(long, value_name = "DURATION", value_parser = Span::read)]
    timeout: Option<Span>,
    /// Compare the whole sandbox with the plan before its command runs, and say line by line what was found
    #[arg(long)]
    verify: bool,
    /// Answer a step in the kernel's place: STEP:ERRNO, or STEP:lie for a yes to nothing
    #[arg(long, hide = true, value_name = "STEP:ERRNO")]
    inject: Option<Injection>,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    pauses: Pauses,
    /// The recipe: a file, or `-` for standard input
    #[arg(value_name = "RECIPE")]
    recipe: RecipePath,
    /// What to run instead of the recipe's own command
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Apply {
    /// Reads `apply RECIPE`, `apply RECIPE -- COMMAND…` and `apply RECIPE COMMAND…`
    /// as clap would: nothing there can be an option of ours. Anything else is clap's.
    pub(super) fn plainly(words: &[OsString]) -> Option<Self> {
        let is_option = |word: &OsString| word.as_encoded_bytes().starts_with(b"-");
        let (recipe, rest) = match words {
            [apply, recipe, rest @ ..] if apply == "apply" && !is_option(recipe) => (recipe, rest),
            _ => return None,
        };
        let command = match rest {
            [dashes, command @ ..] if dashes == "--" => command,
            [first, ..] if is_option(first) => return None,
            command => command,
        };
        Some(Self {
            recipe: RecipePath::from(recipe.clone()),
            command: command.to_vec(),
            ..Self::default()
        })
    }

    pub(super) fn run(self, output: &Output) -> u8 {
        mishap::prepare(output);
        let Some((recipe, document)) = self.recipe.load_or_complain(output) else {
            return COULD_NOT_START;
        };
        let wishes = self.pauses.add_to(self.choice.wishes());
        let course = match recipe.course(&wishes) {
            Ok(course) => course,
            Err(diagnostic) => {
                output.complain(&located(&document, vec![*diagnostic]));
                return COULD_NOT_START;
            }
        };
        let ledger = match self.report.as_deref().map(Ledger::open).transpose() {
            Ok(ledger) => ledger,
            Err(diagnostic) => {
                output.complain(&[*diagnostic]);
                return COULD_NOT_START;
            }
        };
        let run = Run {
            command: self.command,
            environment: environment(),
            is_live: true,
            course,
            ..Run::default()
        };
        let verifies = self.verify || recipe.verify;
        let mut plan = self.permissions.plan(&recipe, &run, verifies);
        let problems = located(&document, self.permissions.problems(&plan));
        output.complain(&problems);
        if self.permissions.forbid(&plan) {
            let status = stopped_status(&plan);
            if let Some(ledger) = ledger {
                ledger.keep(&Account::of_plan(status, &problems), output);
            }
            return status;
        }
        if self.inject.is_some_and(|injection| injection.step >= plan.steps.len()) {
            return no_such_step(&plan);
        }
        plan.injection = self.inject;
        plan.watched.limit_time(self.timeout.map(|span| span.0));
        let inspection = verifies.then(|| Inspection::new(&document, output, self.verify));
        let watch = Watch::of(&plan, (&recipe, &self.recipe, &document), output);
        let watch = watch.inspecting(inspection);
        output.complain(&located(&document, watch.warnings()));
        let begin = Instant::now();
        let outcome = exec::run(&mut plan, &watch);
        let ending = Ending {
            recipe: &recipe,
            document: &document,
            run: &run,
            plan: &plan,
            output,
            inspection: watch.inspection(),
        };
        let account = ending.report(outcome, begin.elapsed());
        if let Some(ledger) = ledger {
            ledger.keep(&account, output);
        }
        account.status
    }
}

fn no_such_step(plan: &Plan) -> u8 {
    let message = format!("--inject: the last step of this plan is {}", plan.steps.len());
    let _ = Arguments::command().error(ErrorKind::ValueValidation, message).print();
    COULD_NOT_START
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{super::Command, *};

    #[test]
    fn what_is_read_without_clap_is_read_as_clap_does() {
        let some = ["box.yaml", "--", "true", "-x", "--plain", "--skip", "a", "-", ""];
        let mut seen = 0;
        for length in 0..=4_u32 {
            for number in 0..9_usize.pow(length) {
                let word = |at| some[number / 9_usize.pow(at) % 9].into();
                let mut words: Vec<OsString> = vec!["apply".into()];
                words.extend((0..length).map(word));
                let Some(plainly) = Apply::plainly(&words) else { continue };
                let all = std::iter::once("isorecipe".into()).chain(words.clone());
                let by_clap = match Arguments::try_parse_from(all).map(|all| all.command) {
                    Ok(Command::Apply(apply)) => apply,
                    _ => panic!("clap reads {words:?} in another way"),
                };
                let shown = |apply: &Apply| format!("{apply:?}");
                assert_eq!(shown(&plainly), shown(&by_clap), "{words:?}");
                seen += 1;
            }
        }
        assert!(seen > 1000, "{seen}");
    }
}
