//! Mounts that are there already and let less through from now on:
//! `mount_setattr(2)`.

use std::{
    fmt,
    os::fd::{AsFd, OwnedFd},
};

use crate::{
    diagnostic::{Refusal, typed},
    model::{Answer, Found, Model, Thing},
    sys::{
        Call, Errno, Fault, KernelPath,
        descriptor::{self, Walk},
        mount::{self, Flags},
    },
};

use super::{
    Evidence, Need, Operation, Stage,
    place::{self, target_refused},
    unexplained, yes,
};

/// What is mounted on a place gets flags, and so do all mounts below it. None
/// is taken away, so it does not matter which of them are locked.
pub struct Restrict {
    /// Where it is mounted
    pub at: KernelPath,
    /// What it does not let through
    pub flags: Flags,
    /// Where there is nothing, nothing is to be done
    pub optional: bool,
}

impl Restrict {
    fn open(&self) -> Result<OwnedFd, Errno> {
        descriptor::open_place(None, self.at.as_c_str(), Walk::Free)
    }

    /// What is there; `None` where there is nothing, and need not be.
    fn find(&self, model: &Model) -> Result<Option<Found>, Answer> {
        place::optional_target(model, &self.at, self.optional)
    }

    /// The kernel's order: the right to mount, then the place (`do_mount_setattr()`).
    fn check(&self, model: &Model) -> Result<(), Answer> {
        let Some(found) = self.find(model)? else { return Ok(()) };
        let no = |errno| Err(Answer::No(Call::MountSetattr.gave(errno)));
        if !model.may_mount() && found.thing != Thing::Unknown {
            return no(Errno::EPERM);
        }
        if found.thing == Thing::Unknown {
            return Err(Answer::KernelDecides);
        }
        match is_mount(&found, model) {
            true => Ok(()),
            false => no(Errno::EINVAL),
        }
    }
}

/// Whether a place is the root of a mount.
fn is_mount(found: &Found, model: &Model) -> bool {
    let is_jail = found.at == model.mounts.root_position() && model.process.chrooted == Some(true);
    found.at.path.as_os_str().is_empty() && !is_jail
}

impl fmt::Display for Restrict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make {} read-only, with the mounts below", self.at.as_path().display())?;
        f.write_str(if self.optional { ", if it is there" } else { "" })
    }
}

impl Operation for Restrict {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        if let Ok(Some(found)) = self.find(model) {
            model.restrict(found.at.mount, self.flags);
        }
    }

    /// What was to be a mount is none; the one it lies on stays as it is.
    fn intend(&self, _: &mut Model) {}

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let place = match self.open() {
            Err(Errno::ENOENT) if self.optional => return place::skip(stage, self),
            found => found.map_err(|errno| Call::OpenTarget.gave(errno))?,
        };
        mount::add_attributes(place.as_fd(), self.flags.attributes())
            .map_err(|errno| Call::MountSetattr.gave(errno))
    }

    /// The kernel changes every mount below or none: the first tells for all.
    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        if place::is_skipped(stage, self) {
            return Ok(());
        }
        let place = self.open().map_err(|errno| Call::OpenTarget.gave(errno))?;
        place::is_as_asked(stage, place, self.flags)
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        if fault.errno == Errno::EPERM
            && let Some(refusal) = place::not_allowed(before)
        {
            return refusal;
        }
        let shown = self.at.as_path().display();
        if let Some(refusal) = target_refused(self.at.as_path(), fault, before) {
            return match fault.errno {
                Errno::ENOENT => refusal.help("name what is there, or add `optional: true`"),
                _ => refusal,
            };
        }
        match (fault.call, fault.errno) {
            (Call::MountSetattr, Errno::EINVAL) => {
                let path = typed(self.at.as_path());
                Refusal::new("read_only::not_a_mount", format!("nothing is mounted on {shown}"))
                    .why("only what is mounted can be made read-only")
                    .help(format!("`bind: {{from: {path}, to: {path}, read_only: true}}`"))
            }
            _ => unexplained(self, fault),
        }
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        place::reaches_host(before)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.mounts.owner, "the mount namespace"))
    }

    fn is_idle(&self, before: &Model) -> bool {
        self.find(before) == Ok(None)
    }
}
