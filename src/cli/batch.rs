//! `isorecipe batch`: many commands, each in a sandbox of its own, of one recipe.
//!
//! The recipe is read and planned once. A crew of processes, forked from this
//! one behind that, each with one thread, makes one sandbox after the other: by
//! the same executor as `apply`, so that each is as much apart. Lines go to whoever
//! is idle; what comes back is a line each, put in order here.

use std::{cell::RefCell, os::unix::net::UnixStream, thread, time::Duration};

use clap::{CommandFactory, error::ErrorKind};

use crate::{
    diagnostic::{Diagnostic, Refusal},
    layers::{Size, Span},
    plan::Plan,
    recipe::{Document, Recipe, Run},
    sys::{Call, descriptor},
    yaml,
};

use super::{
    Arguments, COULD_NOT_START, Output, PROBLEM_FOUND, RecipePath,
    ending::{killed, stillborn},
    environment, located, mishap,
    permissions::Permissions,
};

mod crew;
mod input;
mod job;
mod maker;
mod results;
mod shift;

use crew::Crew;
use maker::Maker;
use results::Results;
use shift::{End, Shift};

/// Run many commands, each in a fresh sandbox of one recipe
///
/// Standard input has one command a line: words as a shell reads them, with
/// quotes, backslashes and comments, and nothing expanded; or a JSON object with
/// `args`, `env` and `stdin`, all of which may be left out. Standard output gets
/// one JSON object for each: the number of its line, what `apply --report` says
/// of a run, and what the command printed.
///
/// The exit status is 0 if every command ran, however it ended; 1 if one could
/// not be started; 125 if the recipe cannot work, and then nothing runs; 128+N
/// after signal N, which ends all of them.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Try:
  printf 'id -u\\nhostname\\n' | isorecipe batch recipes/step3.yaml
  isorecipe batch --jobs 8 --timeout 10s recipes/agent.yaml < commands.jsonl

A line of JSON:
  {\"args\": [\"python3\", \"-\"], \"env\": {\"LANG\": \"C\"}, \"stdin\": \"print(1)\"}")]
pub(super) struct Batch {
    /// How many sandboxes there are at a time; as many as processors if left out
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    jobs: Option<u16>,
    /// Give each result as soon as it is there, instead of in the order of the lines
    #[arg(long)]
    unordered: bool,
    /// End each command when it has run so long, as in 500ms, 1.5s, 10m
    #[arg(long, value_name = "DURATION", value_parser = Span::read)]
    timeout: Option<Span>,
    /// How much of a command's standard output, and of its standard error, a result has
    #[arg(long, value_name = "SIZE", default_value = "64K", value_parser = Size::read)]
    keep: Size,
    /// Compare each sandbox with the plan before its command runs, and give what was found
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    permissions: Permissions,
    /// The recipe: a file
    #[arg(value_name = "RECIPE")]
    recipe: RecipePath,
}

impl Batch {
    pub(super) fn run(self, output: &Output) -> u8 {
        descriptor::fill_standard_streams();
        mishap::prepare(output);
        if self.recipe.0.as_os_str() == "-" {
            let message = "the commands come from standard input, so the recipe has to be a file";
            let _ = Arguments::command().error(ErrorKind::ValueValidation, message).print();
            return COULD_NOT_START;
        }
        let Some((recipe, document)) = self.recipe.load_or_complain(output) else {
            return COULD_NOT_START;
        };
        let run = Run { environment: environment(), is_live: true, ..Run::default() };
        let verifies = self.verify || recipe.verify;
        let plan = self.permissions.plan(&recipe, &run, verifies);
        output.complain(&located(&document, self.problems(&plan)));
        if self.permissions.forbid_any_command(&plan) {
            return COULD_NOT_START;
        }
        let known = if self.permissions.forbid(&plan) { Vec::new() } else { vec![plan] };
        let maker = self.maker(&recipe, &document, run, known);
        // Each member has its own copy of what is prepared here.
        let maker = RefCell::new(Some(maker));
        let work =
            |line: UnixStream| maker.take().map_or(COULD_NOT_START, |maker| maker.serve(line));
        self.end(self.shift(&work), output)
    }

    fn maker<'a>(
        &'a self,
        recipe: &'a Recipe,
        document: &'a Document,
        run: Run,
        plans: Vec<Plan>,
    ) -> Maker<'a> {
        Maker {
            recipe,
            document,
            path: &self.recipe,
            permissions: &self.permissions,
            verifies: self.verify || recipe.verify,
            attests: self.verify,
            keep: usize::try_from(self.keep.0).unwrap_or(usize::MAX),
            time: self.timeout.map(|span| span.0),
            run,
            plans: plans.into(),
            output: Output::keeping(),
        }
    }

    fn shift(&self, work: &dyn Fn(UnixStream) -> u8) -> End {
        let processors = || thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.map_or_else(processors, usize::from);
        match Crew::hire(jobs, work) {
            Err(errno) => End::NoCrew(errno),
            Ok((crew, signals)) => Shift::new(crew, signals, Results::new(!self.unordered)).run(),
        }
    }

    /// What is to be said before anything runs: of the recipe, and not of the command it has itself.
    fn problems(&self, plan: &Plan) -> Vec<Diagnostic> {
        let all = self.permissions.problems(plan);
        let mut all: Vec<_> = match self.permissions.forbid_any_command(plan) {
            true => all,
            false => all.into_iter().filter(|one| one.observed().is_none()).collect(),
        };
        if plan.overlays().iter().any(|overlay| overlay.upper.is_some()) {
            all.push(one_upper().at(yaml::Path::root().key("layers")).warning());
        }
        all
    }

    fn end(&self, end: End, output: &Output) -> u8 {
        let complain = |diagnostic: Diagnostic| output.complain(&[diagnostic]);
        match end {
            End::Done { all_ran: true } => 0,
            End::Done { all_ran: false } => PROBLEM_FOUND,
            End::Stopped(signal) => killed(signal),
            End::NoCrew(errno) => {
                complain(stillborn(Call::Fork.gave(errno)));
                COULD_NOT_START
            }
            End::Unreadable(errno) => {
                complain(unreadable(errno.desc()).at(yaml::Path::root()));
                PROBLEM_FOUND
            }
            End::Unwritable(errno) => {
                complain(unwritable(errno.desc()).at(yaml::Path::root()));
                PROBLEM_FOUND
            }
        }
    }
}

/// As long as a result is waited for that has to come first, so many others wait with it.
const AHEAD: usize = 4;
/// How long commands have to end by themselves after a signal.
const GRACE: Duration = Duration::from_secs(1);

fn one_upper() -> Refusal {
    Refusal::new("batch::one_upper", "all sandboxes of this batch have one `upper`")
        .why("what one leaves there the next one finds, and what two at a time make of it overlayfs leaves open")
        .help("leave `upper` and `work` out: then changes go to memory, and with the sandbox")
}

fn unreadable(why: &str) -> Refusal {
    Refusal::new("batch::unreadable", "standard input cannot be read any further")
        .why(why)
        .help("give a file with one command a line: `isorecipe batch RECIPE < commands`")
}

fn unwritable(why: &str) -> Refusal {
    Refusal::new("batch::unwritable", "the results cannot be written")
        .why(why)
        .help("write them where there is room: `df .` shows it")
}
