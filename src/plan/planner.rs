//! The fold: takes the steps of one layer after the other, each simulated on
//! the model as it comes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
    rc::Rc,
};

use crate::{
    diagnostic::Refusal,
    host::Host,
    model::{Answer, Filesystem, FilesystemId, Model, Slot, Thing},
    ops::{self, Evidence, Op},
    sys::Errno,
    yaml,
};

use super::{
    Actor, MadeByRecipe, Pause, Plan, Step, Wanted, Watched, merge, observed, tell_how_to_make,
};

mod facts;
mod protection;
mod sources;

/// Takes the steps of one layer after the other.
pub struct Planner {
    plan: Plan,
    model: Model,
    layer: yaml::Path,
    /// Where the next step comes from, if not from the layer as a whole
    place: Option<yaml::Path>,
    folder: PathBuf,
    layers: Vec<yaml::Path>,
    left_out: Vec<yaml::Path>,
    is_live: bool,
    has_pivoted: bool,
    old_root: Option<(PathBuf, yaml::Path)>,
    held: Vec<(yaml::Path, Slot)>,
    /// The step that has made each filesystem of the recipe's own
    grounds: BTreeMap<FilesystemId, usize>,
    /// The state in which the held sources were found
    old_tree: Option<Model>,
    said: BTreeSet<(String, String)>,
    /// Whether `no_new_privs` is wanted, and no step has set it yet
    wants_no_new_privs: bool,
    /// Where the first filter of system calls stands
    filter: Option<yaml::Path>,
}

impl Planner {
    /// A planner for this host; relative paths start in `folder`.
    ///
    /// `layers` are the places of all layers, so that one which stands too late
    /// can be pointed at.
    pub fn new(host: Rc<Host>, folder: PathBuf, layers: Vec<yaml::Path>, is_live: bool) -> Self {
        let model = Model::of(host);
        let plan = Plan {
            steps: Vec::new(),
            birth: Vec::new(),
            refusals: Vec::new(),
            prohibitions: Vec::new(),
            leaks: Vec::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
            start: model.clone(),
            end: model.clone(),
            slots: 0,
            pauses: Vec::new(),
            terminal: super::Terminal::default(),
            watched: Watched::default(),
            injection: None,
            made: None,
        };
        Self {
            plan,
            model,
            layer: yaml::Path::root(),
            place: None,
            folder,
            layers,
            left_out: Vec::new(),
            is_live,
            has_pivoted: false,
            old_root: None,
            held: Vec::new(),
            grounds: BTreeMap::new(),
            old_tree: None,
            said: BTreeSet::new(),
            wants_no_new_privs: true,
            filter: None,
        }
    }

    /// Tells what `isorecipe build` makes of the same recipe.
    pub fn makes(&mut self, made: MadeByRecipe) {
        self.plan.made = Some(made);
    }

    /// These layers stand in the recipe, and the run does not take them.
    pub fn leaves_out(&mut self, layers: Vec<yaml::Path>) {
        self.left_out = layers;
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
        self.place = None;
    }

    /// The next step comes from this field of the layer.
    pub fn at(&mut self, field: &'static str) -> &mut Self {
        self.place = Some(self.layer.key(field));
        self
    }

    /// The next step comes from this place within the layer.
    pub fn at_place(&mut self, within: impl FnOnce(&yaml::Path) -> yaml::Path) -> &mut Self {
        self.place = Some(within(&self.layer));
        self
    }

    fn origin(&mut self) -> yaml::Path {
        self.place.take().unwrap_or_else(|| self.layer.clone())
    }

    /// The child does this next.
    pub fn step(&mut self, op: impl Into<Op>) {
        self.push(Actor::Child, op.into());
    }

    /// The child does this next, after a step that will not work: what is wrong
    /// with it may follow from that, and is not reported.
    pub fn following_step(&mut self, op: impl Into<Op>) {
        let refused = self.refused();
        self.step(op);
        self.plan.refusals.truncate(refused);
    }

    /// The supervisor does this next, while the child waits.
    pub fn supervisor(&mut self, op: impl Into<Op>) {
        self.push(Actor::Supervisor, op.into());
    }

    fn push(&mut self, by: Actor, op: Op) {
        let origin = self.origin();
        let number = self.plan.steps.len();
        let answer = self.held_back(&op).unwrap_or_else(|| op.answer(&self.model));
        let operation = op.operation();
        let needs = operation.needs(&self.model);
        let is_capable = needs.is_none_or(|need| match by {
            Actor::Child => self.model.capable(need.over, need.capability),
            Actor::Supervisor => self.model.supervisor_capable(need.over, need.capability),
        });
        if let Answer::No(fault) = answer {
            let refusal = ops::explain(operation, fault, &self.model, &Evidence::default());
            let refusal = tell_how_to_make(refusal, self.plan.made.as_ref());
            let refusal = self.point_at_late_layer(refusal);
            if self.is_new(&refusal) {
                self.plan.refusals.push(observed(refusal, number, fault).at(origin.clone()));
            }
        }
        if let Some(leak) = operation.leak(&self.model)
            && self.is_new(&leak)
        {
            self.plan.leaks.push(leak.at(origin.clone()));
        }
        let is_idle = operation.is_idle(&self.model);
        let step = Step { by, op, origin, answer, needs, is_capable, is_idle, at_birth: false };
        let newest = self.model.mounts.newest_filesystem();
        step.take_effect(&mut self.model);
        // It need not be what is found there: over the root stands what nobody walks to.
        let made = self.model.mounts.newest_filesystem().filter(|made| Some(*made) != newest);
        if let Some(made) = made.filter(|_| step.op.makes_ground()) {
            self.grounds.insert(made, number);
        }
        self.plan.steps.push(step);
    }

    /// Where a missing layer is not missing but stands too late, says so.
    fn point_at_late_layer(&self, refusal: Refusal) -> Refusal {
        let Some(wanted) = refusal.wanted_layer() else { return refusal };
        let is_it = |layer: &&yaml::Path| {
            layer.segments().last() == Some(&yaml::Segment::Key(wanted.to_owned()))
        };
        if let Some(left_out) = self.left_out.iter().find(is_it) {
            let help = format!("take `--skip {wanted}` away");
            return refusal.help(help).also(left_out.clone(), "this is left out");
        }
        let here = self.layers.iter().position(|layer| *layer == self.layer).unwrap_or(0);
        match self.layers.iter().skip(here + 1).find(is_it) {
            None => refusal,
            Some(late) => refusal
                .help(format!("move the `{wanted}` layer above it"))
                .also(late.clone(), "this belongs before it"),
        }
    }

    /// The run waits here, between these two layers.
    pub fn pause(&mut self, done: Option<yaml::Path>, next: Option<yaml::Path>) {
        // Under a filter there may be no call to wait with.
        if self.model.process.held_back().is_some() {
            return;
        }
        self.plan.pauses.push(Pause { before: self.plan.steps.len(), done, next });
    }

    /// How many steps so far will not work.
    pub fn refused(&self) -> usize {
        self.plan.refusals.len()
    }

    /// The same cause is reported once, at its first place.
    fn is_new(&mut self, refusal: &Refusal) -> bool {
        // Of some causes one is all: with it mended, the others are gone.
        let message = if refusal.is_once() { "" } else { refusal.message() };
        self.said.insert((refusal.code().to_owned(), message.to_owned()))
    }

    /// This must not be done, or cannot be, whatever the kernel says.
    pub fn refuse(&mut self, refusal: Refusal) {
        let origin = self.origin();
        let refusal = self.point_at_late_layer(refusal);
        let refusal = tell_how_to_make(refusal, self.plan.made.as_ref());
        if self.is_new(&refusal) {
            self.plan.prohibitions.push(refusal.at(origin));
        }
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

    /// Whether a source leads to what the recipe has made, or into the folder of
    /// the recipe. It is named in the tree that was there before a pivot.
    pub fn is_recipes_source(&self, path: &Path) -> bool {
        self.is_recipes_in(self.old_tree.as_ref().unwrap_or(&self.model), path)
    }

    /// The same for a place in the tree as it is at this point.
    pub fn is_recipes_place(&self, path: &Path) -> bool {
        self.is_recipes_in(&self.model, path)
    }

    /// What is mounted by then may lead elsewhere than the same path does now,
    /// through a link in an overlay or through `..`; so only the model can
    /// tell, and where it cannot, the answer is no.
    fn is_recipes_in(&self, model: &Model, path: &Path) -> bool {
        if !model.mounts.visible().iter().any(|(_, mount)| mount.own) {
            return self.is_in_folder(path);
        }
        // Of what is not there, the last that is decides.
        let Some(found) = path.ancestors().find_map(|part| model.walk(part).ok()) else {
            return false;
        };
        let (filesystem, within) = model.mounts.within(&found.at);
        match &model.mounts.filesystem(filesystem).filesystem {
            // Of a recorded machine, what is not known does not refuse.
            _ if found.thing == Thing::Unknown => !self.is_live && self.is_in_folder(path),
            Filesystem::Host(base) => self.is_in_folder(&base.join(within)),
            _ => true,
        }
    }

    /// Whether a path lies in the folder of the recipe, links followed.
    pub fn is_in_folder(&self, path: &Path) -> bool {
        if !self.is_live {
            return !has_parent_component(path) && path.starts_with(&self.folder);
        }
        match (real(path), self.folder.canonicalize()) {
            (Some(path), Ok(folder)) => path.starts_with(folder),
            _ => false,
        }
    }

    /// Whether the caller's home lies in a directory, which is not the root of everything.
    pub fn is_above_home(&self, path: &Path) -> bool {
        let real = self.is_live.then(|| path.canonicalize().ok()).flatten();
        let path = real.as_deref().unwrap_or(path);
        let home = self.host().caller.home.as_ref();
        path.parent().is_some() && home.is_some_and(|home| home.starts_with(path))
    }

    /// Whether a path leads to something that the recipe itself has made.
    pub fn is_own(&self, path: &Path) -> bool {
        self.model.walk(path).is_ok_and(|found| {
            let (filesystem, _) = self.model.mounts.within(&found.at);
            !matches!(self.model.mounts.filesystem(filesystem).filesystem, Filesystem::Host(_))
        })
    }

    /// Whether something is at a path already.
    pub fn is_made_already(&self, path: &Path) -> bool {
        self.model.walk(path).is_ok()
    }

    /// Whether a path leads to a directory that earlier layers have put there.
    pub fn is_made(&self, path: &Path) -> bool {
        self.model.walk(path).is_ok_and(|found| found.thing.is_directory() == Some(true))
    }

    /// Whether nothing is there, and nothing else is wrong with the way.
    pub fn is_missing(&self, path: &Path) -> bool {
        !self.is_made(path)
            && !matches!(self.model.walk(path), Err(Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP))
    }

    /// Goes on as if there were a directory, after a refusal that says there is none.
    pub fn presume_directory(&mut self, path: &Path) {
        let root = self.model.mounts.root_position();
        self.model.presume_directory(&root, path);
    }

    /// The root is another from now on; the old one may be kept for a while.
    pub fn pivoted(&mut self, old: Option<PathBuf>) {
        self.has_pivoted = true;
        // A pivot that cannot work keeps nothing that would have to go.
        let here = |step: &&Step| step.origin.segments().starts_with(self.layer.segments());
        let mut own = self.plan.steps.iter().rev().take_while(here);
        let works = !own.any(|step| matches!(step.answer, Answer::No(_)));
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

/// A path with its links followed, as far as it exists; what is to be made
/// below must not lead up again.
fn real(path: &Path) -> Option<PathBuf> {
    if let Ok(path) = path.canonicalize() {
        return Some(path);
    }
    let (above, name) = (path.parent()?, path.file_name()?);
    (!has_parent_component(path)).then(|| real(above).map(|above| above.join(name)))?
}

fn has_parent_component(path: &Path) -> bool {
    path.components().any(|component| component == Component::ParentDir)
}

/// A path without `.`, as the kernel would walk it; `..` stays, for the sake of links.
fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}
