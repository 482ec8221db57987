//! `isorecipe apply`: runs a command in the sandbox of a recipe.

use std::{ffi::OsString, rc::Rc};

use crate::{
    diagnostic::{Diagnostic, Refusal},
    exec::{self, Outcome},
    host::Host,
    ops::Evidence,
    plan::Plan,
    recipe::{Document, Recipe, Run},
    sys::{Call, Errno, Fault, process::Change},
    yaml,
};

use super::{
    COULD_NOT_START, Choice, Output, RecipePath, choice::Pauses, environment, located, pause,
    watch::Watch,
};

/// Run a command in the sandbox of a recipe
///
/// The exit status is the command's own; 125 if it could not be started, 126
/// if it may not be executed, 127 if it was not found, 128+N if signal N
/// killed it.
#[derive(clap::Args)]
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

/// What the caller allows although it looks wrong
#[derive(clap::Args)]
struct Permissions {
    /// Try even what the plan knows to fail, and explain what the kernel says
    #[arg(long)]
    unchecked: bool,
    /// Let a recipe change the host (its hostname, its mounts)
    #[arg(long)]
    allow_host_changes: bool,
}

impl Apply {
    pub(super) fn run(self, output: &Output) -> u8 {
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
        let run = Run { command: self.command, environment: environment(), is_live: true, course };
        let mut plan = recipe.plan(Rc::new(Host::at_hand()), &run);
        // Before saying no, everything is worth looking at.
        if self.permissions.forbid(&plan) {
            let (known, host) = recipe.plan_learning(Host::probe(), &run);
            plan = known;
            recipe.point_at_order(&mut plan, &Rc::new(host), &run);
        }
        output.complain(&located(&document, self.permissions.problems(&plan)));
        if self.permissions.forbid(&plan) {
            return stopped_status(&plan);
        }
        let watch = Watch::of(&plan, (&recipe, &self.recipe, &document), output);
        let outcome = exec::run(&mut plan, &watch);
        Ending { recipe: &recipe, document: &document, run: &run, plan: &plan, output }
            .report(outcome)
    }
}

impl Permissions {
    fn forbid(&self, plan: &Plan) -> bool {
        !plan.prohibitions.is_empty()
            || !self.unchecked && !plan.refusals.is_empty()
            || !self.allow_host_changes && !plan.leaks.is_empty()
    }

    /// What is to be said before anything happens. `--unchecked` lets the
    /// kernel say what it refuses; it lifts no prohibition.
    fn problems(&self, plan: &Plan) -> Vec<Diagnostic> {
        let refusals = plan.refusals.iter().filter(|_| !self.unchecked).cloned();
        let leaks = plan.leaks.iter().cloned().map(|leak| match self.allow_host_changes {
            true => leak.warning(),
            false => leak,
        });
        let prohibitions = plan.prohibitions.iter().cloned();
        refusals.chain(prohibitions).chain(leaks).chain(plan.warnings.iter().cloned()).collect()
    }
}

/// What is needed to say how it ended.
struct Ending<'a> {
    recipe: &'a Recipe,
    document: &'a Document,
    run: &'a Run,
    plan: &'a Plan,
    output: &'a Output,
}

impl Ending<'_> {
    fn report(&self, outcome: Outcome) -> u8 {
        match outcome {
            Outcome::Ended(change) => status(change),
            Outcome::Abandoned(signal) => {
                pause::say_abandoned(self.output);
                signal.map_or(COULD_NOT_START, killed)
            }
            Outcome::Refused { step, fault, evidence } => {
                let explained = self.explain(step, fault, &evidence);
                self.complain(explained);
                refusal_status(fault)
            }
            Outcome::Lost(change) => {
                self.complain(Some(lost(change)));
                COULD_NOT_START
            }
            Outcome::Stillborn(fault) => {
                self.complain(Some(stillborn(fault)));
                COULD_NOT_START
            }
        }
    }

    fn complain(&self, diagnostic: Option<Diagnostic>) {
        self.output.complain(&located(self.document, diagnostic.into_iter().collect()));
    }

    /// Explains with every fact there is: now they are worth looking for.
    fn explain(&self, step: usize, fault: Fault, evidence: &Evidence) -> Option<Diagnostic> {
        let (mut known, host) = self.recipe.plan_learning(Host::probe(), self.run);
        self.recipe.point_at_order(&mut known, &Rc::new(host), self.run);
        let is_same = known.steps.len() == self.plan.steps.len();
        let plan = if is_same { &known } else { self.plan };
        let explained = plan.explain(step, fault, evidence)?;
        // Foreseen with all facts, it may be known where the line belongs.
        let foreseen = plan.refusals.iter().find(|refusal| refusal.is_about_the_same(&explained));
        Some(foreseen.cloned().unwrap_or(explained))
    }
}

/// A command that cannot be found is the only refusal with a status of its own.
fn stopped_status(plan: &Plan) -> u8 {
    match plan.refusals.as_slice() {
        [only]
            if only.code() == "command::not_found"
                && plan.prohibitions.is_empty()
                && plan.leaks.is_empty() =>
        {
            127
        }
        _ => COULD_NOT_START,
    }
}

/// As the shell counts (`bash(1)`, "EXIT STATUS").
fn status(change: Change) -> u8 {
    match change {
        Change::Exited(status) => (status & 0xff) as u8,
        Change::Killed(signal) => killed(signal),
        Change::Stopped(_) | Change::None => COULD_NOT_START,
    }
}

fn killed(signal: i32) -> u8 {
    ((128 + signal) & 0xff) as u8
}

fn refusal_status(fault: Fault) -> u8 {
    match (fault.call, fault.errno) {
        (Call::Execve, Errno::ENOENT | Errno::ENOTDIR) => 127,
        (Call::Execve, _) => 126,
        _ => COULD_NOT_START,
    }
}

fn lost(change: Change) -> Diagnostic {
    let why = match change {
        Change::Killed(signal) => format!("signal {signal} killed it"),
        Change::Exited(status) => format!("it ended with status {status}"),
        Change::Stopped(_) | Change::None => "nothing more is known".to_owned(),
    };
    Refusal::new("sandbox::lost", "the sandbox ended before its command began")
        .why(why)
        .help("if nobody killed it, look for the kernel's reasons: `sudo dmesg | tail`")
        .at(yaml::Path::root())
}

fn stillborn(fault: Fault) -> Diagnostic {
    let why = format!("{} gave {:?}: {}", fault.call, fault.errno, fault.errno.desc());
    let refusal = Refusal::new("sandbox::not_born", "no process could be made for the sandbox");
    let help = match fault.errno {
        Errno::EMFILE => "see `ulimit -n`: it has to be 16 or more",
        Errno::ENFILE => "see `sysctl fs.file-max`",
        _ => "see `ulimit -u`, and the `pids.max` of the control group",
    };
    refusal.why(why).help(help).at(yaml::Path::root())
}
