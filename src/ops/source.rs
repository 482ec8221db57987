//! Where a tree or file comes from that is to be seen at a second place:
//! `open_tree(2)`. Taken now, or held since before the root has changed.

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use crate::{
    diagnostic::{Refusal, typed},
    model::{Answer, Found, Held, Model, Slot, Thing},
    sys::{Call, Errno, Fault, KernelPath, device::Device, mount},
};

use super::{Operation, Stage, place, room, unexplained, way};

/// Where a bind takes its tree from.
pub enum Source {
    /// A path, walked now
    Path(KernelPath),
    /// A slot that an earlier step has filled, and the path it was
    Slot(Slot, KernelPath),
}

impl Source {
    /// What will be taken; `None` where there is nothing, and need not be.
    pub(super) fn find(&self, model: &Model, extent: Extent) -> Result<Option<Thing>, Answer> {
        match self {
            Source::Path(path) => {
                Ok(clonable(model, path.as_path(), extent)?.map(|found| found.thing))
            }
            Source::Slot(slot, _) => match model.held.get(slot) {
                None if extent.optional => Ok(None),
                held => held.map(|held| Some(held.thing.clone())).ok_or(Answer::KernelDecides),
            },
        }
    }

    /// Whether it is this device, and may be taken.
    pub(super) fn find_device(&self, model: &Model, device: Device) -> Result<(), Answer> {
        match self.find(model, Extent::WHOLE)? {
            Some(Thing::Device(found)) if found == device => {}
            // A recorded machine need not tell which device it is.
            Some(Thing::Unknown | Thing::Symlink(_) | Thing::Special) | None => {
                return Err(Answer::KernelDecides);
            }
            Some(Thing::Device(_) | Thing::Directory(_) | Thing::File(..)) => {
                return Err(Answer::No(Call::Device.gave(Errno::ENODEV)));
            }
        }
        Ok(())
    }

    /// Takes it, if it is this device.
    pub(super) fn take_device<'s>(
        &self,
        stage: &'s Stage,
        device: Device,
    ) -> Result<Taken<'s>, Fault> {
        let other = Call::Device.gave(Errno::ENODEV);
        let node = self.take(stage, Extent::WHOLE)?.ok_or(other)?;
        match device.is(&node) {
            Ok(true) => Ok(node),
            Ok(false) => Err(other),
            Err(errno) => Err(Call::Device.gave(errno)),
        }
    }

    /// Takes it, in the model.
    pub(super) fn take_held(&self, model: &mut Model, extent: Extent) -> Option<Held> {
        match self {
            Source::Path(path) => hold(model, path.as_path(), extent),
            Source::Slot(slot, _) => model.held.remove(slot),
        }
    }

    /// Takes it; `None` where there is nothing, and need not be.
    pub(super) fn take<'s>(
        &self,
        stage: &'s Stage,
        extent: Extent,
    ) -> Result<Option<Taken<'s>>, Fault> {
        match self {
            Source::Path(path) => Ok(extent.clone(path)?.map(Taken::Cloned)),
            Source::Slot(slot, _) => match stage.slot(*slot) {
                // It was not there to be held.
                Err(Errno::EBADF) if extent.optional => Ok(None),
                held => held.map(|held| Some(Taken::Held(held))).map_err(|e| Call::Bind.gave(e)),
            },
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Source::Path(path) | Source::Slot(_, path) => path.as_path(),
        }
    }
}

/// A detached copy of a tree.
pub(super) enum Taken<'s> {
    /// Made just now
    Cloned(OwnedFd),
    /// Made by an earlier step
    Held(BorrowedFd<'s>),
}

impl AsFd for Taken<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Taken::Cloned(tree) => tree.as_fd(),
            Taken::Held(tree) => *tree,
        }
    }
}

/// What of a tree is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// With the mounts below it
    pub recursive: bool,
    /// Where there is nothing, nothing is to be done
    pub optional: bool,
}

impl Extent {
    /// All of it, and it has to be there.
    pub const WHOLE: Self = Self { recursive: true, optional: false };

    /// A detached copy; `None` where there is nothing, and need not be.
    pub(super) fn clone(self, from: &KernelPath) -> Result<Option<OwnedFd>, Fault> {
        let cloned = match self.recursive {
            true => mount::clone_tree(from.as_c_str()),
            false => mount::clone_top(from.as_c_str()),
        };
        match cloned {
            Err(Errno::ENOENT) if self.optional => Ok(None),
            cloned => cloned.map(Some).map_err(|errno| Call::Bind.gave(errno)),
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.recursive { "" } else { ", without the mounts below" })?;
        f.write_str(if self.optional { ", if it is there" } else { "" })
    }
}

/// Whether a tree can be cloned, in the kernel's order (`open_detached_copy()`);
/// `None` where there is nothing, and need not be.
pub(super) fn clonable(
    model: &Model,
    from: &Path,
    extent: Extent,
) -> Result<Option<Found>, Answer> {
    let no = |errno| Answer::No(Call::Bind.gave(errno));
    if !model.may_mount() {
        return Err(no(Errno::EPERM));
    }
    let found = match model.walk(from) {
        Err(Errno::ENOENT) if extent.optional => return Ok(None),
        found => found.map_err(no)?,
    };
    model.may_hold_mounts().map_err(|objection| objection.to(Call::Bind))?;
    let may_clone = match extent.recursive {
        true => model.mounts.may_clone(&found.at),
        false => model.mounts.may_clone_top(&found.at),
    };
    match may_clone {
        Err(objection) => Err(objection.to(Call::Bind)),
        Ok(()) if found.thing == Thing::Unknown => Err(Answer::KernelDecides),
        Ok(()) => Ok(Some(found)),
    }
}

/// Clones a tree of the model, known to work or not.
pub(super) fn hold(model: &mut Model, from: &Path, extent: Extent) -> Option<Held> {
    let found = model.walk(from).ok()?;
    let tree = match extent.recursive {
        true => model.mounts.clone_tree(&found.at),
        false => model.mounts.clone_top(&found.at),
    };
    Some(Held { tree, thing: found.thing })
}

pub(super) fn source_refused(
    operation: &dyn Operation,
    from: &Path,
    fault: Fault,
    before: &Model,
) -> Refusal {
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
        Errno::EINVAL if hides_below(from, before) => Refusal::new(
            "bind::locked_below",
            format!("what is mounted below {shown} cannot be left out"),
        )
        .why("it came with a more privileged mount namespace, and may be there to hide something")
        .help("take `recursive: false` away"),
        errno => way::refused(from, errno, before)
            .or_else(|| room::refused(fault, before))
            .unwrap_or_else(|| unexplained(operation, fault)),
    }
}

/// Whether a tree may be copied whole only.
fn hides_below(from: &Path, before: &Model) -> bool {
    before.walk(from).is_ok_and(|found| {
        before.mounts.mount(found.at.mount).unbindable == Some(false)
            && before.mounts.has_locked_below(&found.at) == Some(true)
    })
}
