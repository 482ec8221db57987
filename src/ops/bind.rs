//! A tree that is seen at a second place: `open_tree(2)`, `mount(2)` MS_BIND.

use std::{fmt, os::fd::AsFd, path::Path};

use crate::{
    diagnostic::{Refusal, typed},
    model::{Answer, Found, Held, Model, Slot, Thing},
    sys::{
        Call, Errno, Fault, KernelPath,
        mount::{self, attribute},
    },
};

use super::{
    Evidence, Need, Operation, Stage,
    place::{self, attach, may_attach, target_refused},
    room, unexplained, way, yes,
};

/// Where a bind takes its tree from.
pub enum Source {
    /// A path, walked now
    Path(KernelPath),
    /// A slot that an earlier step has filled, and the path it was
    Slot(Slot, KernelPath),
}

impl Source {
    fn path(&self) -> &Path {
        match self {
            Source::Path(path) | Source::Slot(_, path) => path.as_path(),
        }
    }
}

/// A detached copy of a tree, kept for after the pivot.
pub struct HoldSource {
    /// What to open
    pub from: KernelPath,
    /// Where to keep it
    pub slot: Slot,
}

/// Whether a tree can be cloned, in the kernel's order (`open_detached_copy()`).
fn clonable(model: &Model, from: &Path) -> Result<Found, Answer> {
    let no = |errno| Answer::No(Call::Bind.gave(errno));
    if !model.may_mount() {
        return Err(no(Errno::EPERM));
    }
    let found = model.walk(from).map_err(no)?;
    model.may_hold_mounts().map_err(|objection| objection.to(Call::Bind))?;
    match model.mounts.may_clone(&found.at) {
        Err(objection) => Err(objection.to(Call::Bind)),
        Ok(()) if found.thing == Thing::Unknown => Err(Answer::KernelDecides),
        Ok(()) => Ok(found),
    }
}

/// Clones a tree of the model, known to work or not.
fn hold(model: &mut Model, from: &Path) -> Option<Held> {
    let found = model.walk(from).ok()?;
    let tree = model.mounts.clone_tree(&found.at);
    Some(Held { tree, thing: found.thing })
}

fn source_refused(operation: &dyn Operation, from: &Path, fault: Fault, before: &Model) -> Refusal {
    let shown = from.display();
    match fault.errno {
        Errno::EPERM if !before.may_mount() => {
            place::not_allowed(before).unwrap_or_else(|| unexplained(operation, fault))
        }
        Errno::ENOENT => {
            let refusal = Refusal::new("bind::no_source", format!("there is no {shown} to bind"))
                .why(way::first_missing(from, before));
            match way::missing_end_of_link(from, before) {
                Some(_) => refusal
                    .help(format!("`readlink -f {}` shows what has to be there", typed(from))),
                None => refusal.help("relative paths start in the folder of the recipe"),
            }
        }
        Errno::ENOTDIR => {
            Refusal::new("bind::source_below_file", format!("{shown} leads through a file"))
                .why(way::file_on_the_way(from, before))
                .help("name a path whose parents are directories")
        }
        Errno::EACCES => {
            Refusal::new("bind::source_hidden", format!("you may not search the way to {shown}"))
                .why(way::closed_on_the_way(from, before))
                .help(format!("`namei -l {}` shows which", typed(from)))
        }
        errno => way::refused(from, errno, before)
            .or_else(|| room::refused(fault, before))
            .unwrap_or_else(|| unexplained(operation, fault)),
    }
}

impl fmt::Display for HoldSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hold {} for later", self.from.as_path().display())
    }
}

impl Operation for HoldSource {
    fn answer(&self, model: &Model) -> Answer {
        yes(clonable(model, self.from.as_path()).map(drop))
    }

    fn effect(&self, model: &mut Model) {
        if let Some(held) = hold(model, self.from.as_path()) {
            model.held.insert(self.slot, held);
        }
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let tree =
            mount::clone_tree(self.from.as_c_str()).map_err(|errno| Call::Bind.gave(errno))?;
        stage.keep(self.slot, tree).map_err(|errno| Call::Bind.gave(errno))
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        source_refused(self, self.from.as_path(), fault, before)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.mounts.owner, "the mount namespace"))
    }
}

/// A tree that is seen at a second place.
pub struct Bind {
    /// What
    pub from: Source,
    /// Where
    pub to: KernelPath,
    /// Nothing can be written through it, mounts below included
    pub read_only: bool,
}

impl Bind {
    fn held(&self, model: &Model) -> Result<Option<bool>, Answer> {
        match &self.from {
            Source::Path(path) => Ok(clonable(model, path.as_path())?.thing.is_directory()),
            Source::Slot(slot, _) => {
                let held = model.held.get(slot).ok_or(Answer::KernelDecides)?;
                Ok(held.thing.is_directory())
            }
        }
    }

    fn check(&self, model: &Model) -> Result<(), Answer> {
        let is_directory = self.held(model)?;
        let may_mount = model.may_mount();
        if self.read_only && !may_mount {
            return Err(Answer::No(Call::MountSetattr.gave(Errno::EPERM)));
        }
        let target = place::target(model, &self.to)?;
        if !may_mount && target.thing == Thing::Unknown {
            return Err(Answer::KernelDecides);
        }
        if !may_mount {
            return Err(Answer::No(Call::MoveMount.gave(Errno::EPERM)));
        }
        may_attach(is_directory, &target)
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.read_only { ", read-only" } else { "" };
        write!(f, "bind {} on {}{how}", self.from.path().display(), self.to.as_path().display())
    }
}

impl Operation for Bind {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        let held = match &self.from {
            Source::Path(path) => hold(model, path.as_path()),
            Source::Slot(slot, _) => model.held.remove(slot),
        };
        let (Some(held), Ok(target)) = (held, model.walk(self.to.as_path())) else {
            return;
        };
        if self.read_only {
            model.mounts.make_read_only(held.tree);
        }
        model.mounts.attach_tree(held.tree, target.at);
    }

    fn intend(&self, model: &mut Model) {
        place::presume_target(model, &self.to);
        self.effect(model);
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let clone = |path: &KernelPath| {
            mount::clone_tree(path.as_c_str()).map_err(|errno| Call::Bind.gave(errno))
        };
        let cloned;
        let tree = match &self.from {
            Source::Path(path) => {
                cloned = clone(path)?;
                cloned.as_fd()
            }
            Source::Slot(slot, _) => stage.slot(*slot).map_err(|errno| Call::Bind.gave(errno))?,
        };
        if self.read_only {
            mount::add_attributes(tree, attribute::READ_ONLY)
                .map_err(|errno| Call::MountSetattr.gave(errno))?;
        }
        attach(tree, &self.to)?;
        read_back(tree, self.read_only)
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        let from = self.from.path();
        if fault.errno == Errno::EPERM
            && let Some(refusal) = place::not_allowed(before)
        {
            return refusal;
        }
        if fault.call == Call::Bind {
            return source_refused(self, from, fault, before).field("from");
        }
        if let Some(refusal) = target_refused(self.to.as_path(), fault, before) {
            let refusal = match (fault.errno, self.is_directory(before)) {
                (Errno::ENOENT, Some(false)) => refusal.help(format!(
                    "a file covers a file: `touch {}` first",
                    typed(self.to.as_path())
                )),
                _ => refusal,
            };
            return refusal.field("to");
        }
        match (fault.call, fault.errno) {
            (Call::MoveMount, Errno::EINVAL) if self.is_mismatch(before) => {
                let (from, to) = (from.display(), self.to.as_path().display());
                Refusal::new("bind::mismatch", format!("{from} and {to} are not of one kind"))
                    .why(match self.is_directory(before) {
                        Some(true) => format!("{from} is a directory, and {to} is none"),
                        _ => format!("{to} is a directory, and {from} is none"),
                    })
                    .help("bind a directory on a directory, or a file on a file")
            }
            _ => unexplained(self, fault),
        }
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        place::reaches_host_at(before, &self.to)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.mounts.owner, "the mount namespace"))
    }
}

impl Bind {
    /// What is bound: a directory, or a file; `None`: not known.
    fn is_directory(&self, before: &Model) -> Option<bool> {
        match &self.from {
            Source::Path(path) => before.walk(path.as_path()).ok()?.thing.is_directory(),
            Source::Slot(slot, _) => before.held.get(slot)?.thing.is_directory(),
        }
    }

    fn is_mismatch(&self, before: &Model) -> bool {
        let to = before.walk(self.to.as_path()).ok().and_then(|found| found.thing.is_directory());
        matches!((self.is_directory(before), to), (Some(from), Some(to)) if from != to)
    }
}

/// Read-only is what fails silently most often (rows S1 and S2 of the
/// catalogue): look instead of believing.
fn read_back(mount: impl AsFd, read_only: bool) -> Result<(), Fault> {
    if !read_only {
        return Ok(());
    }
    match mount::is_read_only(mount) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Call::ReadOnly.gave(Errno::EROFS)),
        Err(errno) => Err(Call::ReadOnly.gave(errno)),
    }
}
