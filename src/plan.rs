//! A plan: the flat list of steps that a recipe comes to, checked as it grows.
//!
//! Planning is one fold. Each step is simulated on the [`Model`] as it is
//! emitted, so the next layer sees the state it starts from. After a step that
//! the kernel would refuse, its intended effect is assumed and the fold goes
//! on: every mistake is found, and no mistake is reported twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    diagnostic::{Diagnostic, Observed, Refusal},
    model::{Answer, Filesystem, FilesystemId, Model, MountId},
    ops::{self, Evidence, Execute, Extent, Need, Op},
    registry::Overlay,
    sys::{Fault, Namespace},
    yaml,
};

mod authority;
mod injection;
mod merge;
pub mod open;
mod planner;
mod terminal;

pub use authority::{Authority, Line};
pub use injection::{Injected, Injection};
pub use open::LeftOpen;
pub use planner::Planner;
pub use terminal::Terminal;

/// Who takes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The process that stays on the host
    Supervisor,
    /// The process that becomes the sandbox
    Child,
}

/// One step of a plan.
pub struct Step {
    /// Who takes it
    pub by: Actor,
    /// What it does
    pub op: Op,
    /// The place in the recipe it comes from
    pub origin: yaml::Path,
    /// What the model says to it
    pub answer: Answer,
    /// The capability it asks for, if any
    pub needs: Option<Need>,
    /// Whether who takes it has that capability
    pub is_capable: bool,
    /// Whether it finds nothing to do, as its layer allows
    pub is_idle: bool,
    /// Whether it happens while the child is made, in one `clone3`
    pub at_birth: bool,
}

/// What a layer needs of the old tree, even after a pivot.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The place in the layer that names it
    pub within: yaml::Path,
    /// The path in the old tree
    pub path: PathBuf,
    /// What of it
    pub extent: Extent,
}

impl Step {
    /// Changes the state as the step does, or was meant to.
    fn take_effect(&self, model: &mut Model) {
        match self.answer {
            Answer::No(_) => self.op.operation().intend(model),
            _ => self.op.operation().effect(model),
        }
    }
}

/// The steps of a recipe on a host, and what is to be said about them.
pub struct Plan {
    /// In order
    pub steps: Vec<Step>,
    /// The namespaces that the child is born into
    pub birth: Vec<Namespace>,
    /// Why the kernel will refuse it
    pub refusals: Vec<Diagnostic>,
    /// Why it must not be tried at all, whatever the kernel says
    pub prohibitions: Vec<Diagnostic>,
    /// What reaches out of the sandbox into the host
    pub leaks: Vec<Diagnostic>,
    /// What the reader should know
    pub warnings: Vec<Diagnostic>,
    /// What only the reader of the plan wants to know
    pub notes: Vec<Diagnostic>,
    /// The state at the start
    pub start: Model,
    /// The state at the end
    pub end: Model,
    /// How many descriptors are kept between steps
    pub slots: usize,
    /// Where the run waits for whoever watches, in order
    pub pauses: Vec<Pause>,
    /// What the recipe itself can have made
    pub made: Option<MadeByRecipe>,
    /// Which terminal the command has, if there is one
    pub terminal: Terminal,
    /// What the supervisor limits while the command runs
    pub watched: Watched,
    /// The step that is answered in the kernel's place
    pub injection: Option<Injection>,
}

/// What no step of the kernel's limits: the supervisor looks on, and ends the command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// How long the command may take, from its beginning
    pub time: Option<Duration>,
    /// How many bytes the command may print; its streams then go through the supervisor
    pub output: Option<u64>,
    /// What was to be limited, and is not, in words
    pub unlimited: Vec<String>,
}

impl Watched {
    /// Whether the supervisor has to stay awake for a limit.
    pub fn is_limited(&self) -> bool {
        self.time.is_some() || self.output.is_some()
    }

    /// The shorter of two times counts.
    pub fn limit_time(&mut self, time: Option<Duration>) {
        self.time = [self.time, time].into_iter().flatten().min();
    }
}

/// A wait between two layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Pause {
    /// The step it comes before
    pub before: usize,
    /// The layer that is done
    pub done: Option<yaml::Path>,
    /// The layer that comes next; without one, the command
    pub next: Option<yaml::Path>,
}

impl Pause {
    /// The name of the layer that is done.
    pub fn done_layer(&self) -> Option<&str> {
        match self.done.as_ref()?.segments().last()? {
            yaml::Segment::Key(name) => Some(name),
            yaml::Segment::Index(_) => None,
        }
    }
}

/// A file that `isorecipe build` makes, and the command that does.
#[derive(Clone, Debug)]
pub struct MadeByRecipe {
    /// The image, or the directory
    pub file: PathBuf,
    /// What to type
    pub command: String,
}

/// Where what is missing can be made, says how.
fn tell_how_to_make(refusal: Refusal, made: Option<&MadeByRecipe>) -> Refusal {
    match made {
        Some(made) if refusal.lacked_file() == Some(made.file.as_path()) => {
            refusal.help(format!("`{}` makes it", made.command))
        }
        _ => refusal,
    }
}

impl Plan {
    /// The state before a step.
    pub fn before(&self, step: usize) -> Model {
        let mut model = self.start.clone();
        for step in self.steps.iter().take(step) {
            step.take_effect(&mut model);
        }
        model
    }

    /// Which step has put each mount where it can be reached at the end.
    pub fn mounted_by(&self) -> BTreeMap<MountId, usize> {
        let ids = |model: &Model| -> BTreeSet<MountId> {
            model.mounts.attached_below_root().into_iter().map(|(_, id)| id).collect()
        };
        let mut model = self.start.clone();
        let (mut before, mut found) = (ids(&model), BTreeMap::new());
        for (index, step) in self.steps.iter().enumerate() {
            step.take_effect(&mut model);
            let after = ids(&model);
            found.extend(after.difference(&before).map(|id| (*id, index)));
            before = after;
        }
        found.retain(|id, _| before.contains(id));
        found
    }

    /// A fault of a step, in words, with the place it comes from.
    pub fn explain(&self, step: usize, fault: Fault, seen: &Evidence) -> Option<Diagnostic> {
        let origin = self.steps.get(step)?;
        let before = self.before(step);
        let refusal = ops::explain(origin.op.operation(), fault, &before, seen);
        let refusal = tell_how_to_make(refusal, self.made.as_ref());
        Some(observed(refusal, step, fault).at(origin.origin.clone()))
    }

    /// The wait before a step, if there is one.
    pub fn pause_before(&self, step: usize) -> Option<&Pause> {
        self.pauses.iter().find(|pause| pause.before == step)
    }

    /// Whether nothing speaks against it.
    pub fn works(&self) -> bool {
        self.refusals.is_empty() && self.prohibitions.is_empty() && self.leaks.is_empty()
    }

    /// The first step that the model is sure to be refused.
    pub fn first_no(&self) -> Option<(usize, Fault)> {
        self.steps.iter().enumerate().find_map(|(index, step)| match step.answer {
            Answer::No(fault) => Some((index, fault)),
            _ => None,
        })
    }

    /// Takes every namespace one by one again, so that it is seen which fails.
    pub fn unmerge(&mut self) {
        self.birth.clear();
        for step in &mut self.steps {
            step.at_birth = false;
        }
    }

    /// Executes the same program with other words, if it is the same; all that the
    /// plan says of it then stays as it is.
    pub fn execute_alike(&mut self, execute: &mut Execute) -> bool {
        match self.steps.last_mut().map(|step| &mut step.op) {
            Some(Op::Execute(own)) if own.is_of_same_program(execute) => {
                std::mem::swap(own, execute);
                true
            }
            _ => false,
        }
    }

    /// The overlays that the sandbox sees at the end, by the host's paths.
    pub fn overlays(&self) -> Vec<Overlay> {
        let mounts = &self.end.mounts;
        let on_host = |(filesystem, path): &(FilesystemId, PathBuf)| match &mounts
            .filesystem(*filesystem)
            .filesystem
        {
            Filesystem::Host(base) => Some(base.join(path)),
            Filesystem::Image(file) => Some(file.clone()),
            _ => None,
        };
        let visible = mounts.visible().into_iter().filter(|(_, mount)| mount.own);
        visible
            .filter_map(|(at, mount)| match &mounts.filesystem(mount.filesystem).filesystem {
                Filesystem::Overlay { layers } => {
                    let (upper, lower) = layers.split_first()?;
                    let lower = lower.iter().filter_map(on_host).collect();
                    Some(Overlay { at, upper: on_host(upper), lower })
                }
                _ => None,
            })
            .collect()
    }

    /// Paths whose facts would make the plan surer.
    pub fn take_asked(&self) -> BTreeSet<PathBuf> {
        self.start.take_asked()
    }
}

fn observed(refusal: Refusal, step: usize, fault: Fault) -> Refusal {
    refusal.observed(Observed::new(step + 1, fault.call.name(), fault.errno as i32))
}

/// A text with the recipe's folder as `.`, so that a plan reads the same everywhere.
pub fn within(folder: &Path, text: &str) -> String {
    match folder.to_str() {
        Some(folder) if folder != "/" => text.replace(folder, "."),
        _ => text.to_owned(),
    }
}
