//! A plan: the flat list of steps that a recipe comes to, checked as it grows.
//!
//! Planning is one fold. Each step is simulated on the [`Model`] as it is
//! emitted, so the next layer sees the state it starts from. After a step that
//! the kernel would refuse, its intended effect is assumed and the fold goes
//! on: every mistake is found, and no mistake is reported twice.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    rc::Rc,
};

use crate::{
    diagnostic::{Diagnostic, Observed, Refusal},
    host::{Host, PathFact, SubordinateIds},
    model::{Answer, Filesystem, Model, Slot},
    ops::{Bind, Evidence, HoldSource, Need, Op, Source},
    sys::{Fault, KernelPath, Namespace},
    yaml,
};

mod merge;

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
    /// Whether it happens while the child is made, in one `clone3`
    pub at_birth: bool,
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
    /// Why it will not work, or must not
    pub refusals: Vec<Diagnostic>,
    /// What reaches out of the sandbox into the host
    pub leaks: Vec<Diagnostic>,
    /// What the reader should know
    pub warnings: Vec<Diagnostic>,
    /// The state at the start
    pub start: Model,
    /// The state at the end
    pub end: Model,
    /// How many descriptors are kept between steps
    pub slots: usize,
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

    /// A fault of a step, in words, with the place it comes from.
    pub fn explain(&self, step: usize, fault: Fault, seen: &Evidence) -> Option<Diagnostic> {
        let origin = self.steps.get(step)?;
        let before = self.before(step);
        let refusal = origin.op.operation().explain(fault, &before, seen);
        Some(observed(refusal, step, fault).at(origin.origin.clone()))
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

    /// Paths whose facts would make the plan surer.
    pub fn take_asked(&self) -> BTreeSet<PathBuf> {
        self.start.take_asked()
    }
}

fn observed(refusal: Refusal, step: usize, fault: Fault) -> Refusal {
    refusal.observed(Observed::new(step + 1, fault.call.name(), fault.errno as i32))
}

/// Takes the steps of one layer after the other.
pub struct Planner {
    plan: Plan,
    model: Model,
    layer: yaml::Path,
    field: Option<&'static str>,
    folder: PathBuf,
    is_live: bool,
    has_pivoted: bool,
    old_root: Option<(PathBuf, yaml::Path)>,
    held: Vec<(yaml::Path, Slot)>,
    known_codes: BTreeSet<String>,
}

impl Planner {
    /// A planner for this host; relative paths start in `folder`.
    pub fn new(host: Rc<Host>, folder: PathBuf, is_live: bool) -> Self {
        let model = Model::of(host);
        let plan = Plan {
            steps: Vec::new(),
            birth: Vec::new(),
            refusals: Vec::new(),
            leaks: Vec::new(),
            warnings: Vec::new(),
            start: model.clone(),
            end: model.clone(),
            slots: 0,
        };
        Self {
            plan,
            model,
            layer: yaml::Path::root(),
            field: None,
            folder,
            is_live,
            has_pivoted: false,
            old_root: None,
            held: Vec::new(),
            known_codes: BTreeSet::new(),
        }
    }

    /// The state before the next step.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The host that is planned for.
    pub fn host(&self) -> &Host {
        &self.model.host
    }

    /// From here on, steps come from this place of the recipe.
    pub fn enter(&mut self, layer: yaml::Path) {
        self.layer = layer;
        self.field = None;
    }

    /// The next step comes from this field of the layer.
    pub fn at(&mut self, field: &'static str) -> &mut Self {
        self.field = Some(field);
        self
    }

    fn origin(&mut self) -> yaml::Path {
        match self.field.take() {
            Some(field) => self.layer.key(field),
            None => self.layer.clone(),
        }
    }

    /// The child does this next.
    pub fn step(&mut self, op: impl Into<Op>) {
        self.push(Actor::Child, op.into());
    }

    /// The supervisor does this next, while the child waits.
    pub fn supervisor(&mut self, op: impl Into<Op>) {
        self.push(Actor::Supervisor, op.into());
    }

    fn push(&mut self, by: Actor, op: Op) {
        let origin = self.origin();
        let number = self.plan.steps.len();
        let operation = op.operation();
        let answer = operation.answer(&self.model);
        let needs = operation.needs(&self.model);
        let is_capable = needs.is_none_or(|need| match by {
            Actor::Child => self.model.capable(need.over, need.capability),
            Actor::Supervisor => self.model.supervisor_capable(need.over, need.capability),
        });
        if let Answer::No(fault) = answer {
            let refusal = operation.explain(fault, &self.model, &Evidence::default());
            self.report(observed(refusal, number, fault).at(origin.clone()));
        }
        if let Some(leak) = operation.leak(&self.model)
            && self.known_codes.insert(leak.code().to_owned())
        {
            self.plan.leaks.push(leak.at(origin.clone()));
        }
        let step = Step { by, op, origin, answer, needs, is_capable, at_birth: false };
        step.take_effect(&mut self.model);
        self.plan.steps.push(step);
    }

    /// The same cause is reported once, at its first place.
    fn report(&mut self, diagnostic: Diagnostic) {
        if self.known_codes.insert(diagnostic.code().to_owned()) {
            self.plan.refusals.push(diagnostic);
        }
    }

    /// This cannot or must not be done, whatever the kernel says.
    pub fn refuse(&mut self, refusal: Refusal) {
        let origin = self.origin();
        self.report(refusal.at(origin));
    }

    /// The reader should know this.
    pub fn warn(&mut self, refusal: Refusal) {
        let origin = self.origin();
        self.plan.warnings.push(refusal.at(origin).warning());
    }

    /// A slot for a descriptor.
    pub fn slot(&mut self) -> Slot {
        self.plan.slots += 1;
        self.plan.slots - 1
    }

    /// What a path of the recipe means at this point: before the pivot, a
    /// relative one starts in the recipe's folder; after it, at the new root.
    pub fn path(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), &self.host().caller.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ if self.has_pivoted => Path::new("/").join(path),
            _ => normal(&self.folder.join(path)),
        }
    }

    /// What a path of the recipe means as a source: always in the old tree.
    pub fn source_path(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), &self.host().caller.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => normal(&self.folder.join(path)),
        }
    }

    /// Whether a path lies in the folder of the recipe, links followed.
    pub fn is_in_folder(&self, path: &Path) -> bool {
        let real = |path: &Path| match self.is_live {
            true => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
            false => path.to_owned(),
        };
        real(path).starts_with(real(&self.folder))
    }

    /// Whether a path leads to something that the recipe itself has made.
    pub fn is_own(&self, path: &Path) -> bool {
        self.model.walk(path).is_ok_and(|found| {
            let (filesystem, _) = self.model.mounts.within(&found.at);
            !matches!(self.model.mounts.filesystem(filesystem).filesystem, Filesystem::Host(_))
        })
    }

    /// Whether a path leads to a directory that earlier layers have put there.
    pub fn is_made(&self, path: &Path) -> bool {
        self.model.walk(path).is_ok_and(|found| found.thing.is_directory() == Some(true))
    }

    /// Goes on as if there were a directory, after a refusal that says there is none.
    pub fn presume_directory(&mut self, path: &Path) {
        let root = self.model.mounts.root_position();
        self.model.presume_directory(&root, path);
    }

    /// The subordinate ids of whom the sandbox belongs to, asking if need be.
    pub fn subordinate_ids(&self) -> SubordinateIds {
        let host = self.host();
        match &host.subordinate {
            Some(known) => known.clone(),
            None if self.is_live => host.subordinate_ids(),
            None => SubordinateIds::default(),
        }
    }

    /// What stands at a path of the host, looking if need be and possible.
    pub fn look_at(&self, path: &Path) -> Option<PathFact> {
        match self.host().paths.get(path) {
            Some(fact) => Some(fact.clone()),
            None => self.is_live.then(|| Host::look_at(path)),
        }
    }

    /// Holds sources that layers after the pivot name, before the old tree goes.
    pub fn hold_sources(&mut self, sources: &[(yaml::Path, PathBuf)]) {
        for (origin, path) in sources {
            let slot = self.slot();
            let layer = std::mem::replace(&mut self.layer, origin.clone());
            let from = KernelPath::new(self.source_path(path));
            self.step(HoldSource { from, slot });
            self.layer = layer;
            self.held.push((origin.clone(), slot));
        }
    }

    /// Binds a source, which was held if the root has changed since.
    pub fn bind(&mut self, from: &Path, to: PathBuf, read_only: bool) {
        let path = KernelPath::new(self.source_path(from));
        let origin = self.layer.key("from");
        let held = self.held.iter().find(|(at, _)| *at == origin);
        let from = match held {
            Some(&(_, slot)) => Source::Slot(slot, path),
            None => Source::Path(path),
        };
        self.step(Bind { from, to: KernelPath::new(to), read_only });
    }

    /// The root is another from now on; the old one may be kept for a while.
    pub fn pivoted(&mut self, old: Option<PathBuf>) {
        self.has_pivoted = true;
        // A pivot that cannot work keeps nothing that would have to go.
        let works = !matches!(self.plan.steps.last(), Some(Step { answer: Answer::No(_), .. }));
        self.old_root = old.filter(|_| works).map(|old| (old, self.layer.key("old")));
    }

    /// Whether the root has changed.
    pub fn has_pivoted(&self) -> bool {
        self.has_pivoted
    }

    /// The old root that is still there, to be taken away.
    pub fn take_old_root(&mut self) -> Option<(PathBuf, yaml::Path)> {
        self.old_root.take()
    }

    /// The plan, with the namespaces merged that may be made at once.
    pub fn finish(mut self) -> Plan {
        self.plan.end = self.model;
        merge::merge(&mut self.plan);
        self.plan
    }
}

/// A path without `.`, as the kernel would walk it; `..` stays, for the sake of links.
fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}
