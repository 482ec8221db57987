//! A tree that is seen at a second place: `open_tree(2)`, `mount(2)` MS_BIND.

use std::{fmt, os::fd::AsFd};

use crate::{
    diagnostic::{Refusal, typed},
    model::{Answer, Model, Slot, Thing},
    sys::{
        Call, Errno, Fault, KernelPath,
        mount::{self, Flags},
    },
};

use super::{
    Evidence, Extent, Need, Operation, Source, Stage,
    place::{self, may_attach, target_refused},
    source::{clonable, hold, source_refused},
    unexplained, yes,
};

/// A detached copy of a tree, kept for after the pivot.
pub struct HoldSource {
    /// What to open
    pub from: KernelPath,
    /// Where to keep it
    pub slot: Slot,
    /// What of it
    pub extent: Extent,
}

impl fmt::Display for HoldSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hold {} for later{}", self.from.as_path().display(), self.extent)
    }
}

impl Operation for HoldSource {
    fn answer(&self, model: &Model) -> Answer {
        yes(clonable(model, self.from.as_path(), self.extent).map(drop))
    }

    fn effect(&self, model: &mut Model) {
        if let Some(held) = hold(model, self.from.as_path(), self.extent) {
            model.held.insert(self.slot, held);
        }
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        match self.extent.clone(&self.from)? {
            Some(tree) => stage.keep(self.slot, tree).map_err(|errno| Call::Bind.gave(errno)),
            None => Ok(()),
        }
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        source_refused(self, self.from.as_path(), fault, before)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.mounts.owner, "the mount namespace"))
    }

    fn is_idle(&self, before: &Model) -> bool {
        clonable(before, self.from.as_path(), self.extent) == Ok(None)
    }
}

/// A tree that is seen at a second place.
pub struct Bind {
    /// What
    pub from: Source,
    /// Where
    pub to: KernelPath,
    /// What of it
    pub extent: Extent,
    /// What it does not let through, mounts below included
    pub flags: Flags,
}

impl Bind {
    fn check(&self, model: &Model) -> Result<(), Answer> {
        let Some(thing) = self.from.find(model, self.extent)? else { return Ok(()) };
        let may_mount = model.may_mount();
        if !self.flags.is_empty() && !may_mount {
            return Err(Answer::No(Call::MountSetattr.gave(Errno::EPERM)));
        }
        let target = place::target(model, &self.to)?;
        if !may_mount && target.thing == Thing::Unknown {
            return Err(Answer::KernelDecides);
        }
        if !may_mount {
            return Err(Answer::No(Call::MoveMount.gave(Errno::EPERM)));
        }
        may_attach(model, thing.is_directory(), &target)
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bind {} on {}", self.from.path().display(), self.to.as_path().display())?;
        let flags = if self.flags.read_only { ", read-only" } else { "" };
        f.write_str(flags)?;
        let rest = Flags { read_only: false, ..self.flags };
        rest.names().try_for_each(|name| write!(f, ", {name}"))?;
        self.extent.fmt(f)
    }
}

impl Operation for Bind {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        let held = self.from.take_held(model, self.extent);
        let (Some(held), Ok(target)) = (held, model.walk(self.to.as_path())) else {
            return;
        };
        model.mounts.restrict(held.tree, self.flags);
        model.mounts.attach_tree(held.tree, target.at);
    }

    fn intend(&self, model: &mut Model) {
        place::presume_target(model, &self.to);
        self.effect(model);
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let Some(tree) = self.from.take(stage, self.extent)? else {
            return place::skip(stage, self);
        };
        if !self.flags.is_empty() {
            mount::add_attributes(tree.as_fd(), self.flags.attributes())
                .map_err(|errno| Call::MountSetattr.gave(errno))?;
        }
        place::attach(stage, &tree, &self.to)?;
        // As long as the mount is held: later it may be covered.
        place::is_as_asked(stage, &tree, self.flags)
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        match place::is_skipped(stage, self) {
            true => Ok(()),
            false => place::is_attached(stage, &self.to),
        }
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

    fn is_idle(&self, before: &Model) -> bool {
        self.from.find(before, self.extent) == Ok(None)
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
