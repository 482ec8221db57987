//! A device of the host's at a place of the recipe's own: nobody but the
//! machine's root makes a node that can be opened, so the host's is bound.

use std::{fmt, os::fd::AsFd};

use crate::{
    diagnostic::{Refusal, typed},
    host::{Owner, Program},
    model::{Answer, Model, Thing},
    sys::{
        Call, Errno, Fault, descriptor,
        device::Device,
        entry,
        mount::{self, Flags},
    },
};

use super::{
    Evidence, Extent, Need, NewName, Operation, Source, Stage, place, source::source_refused,
    unexplained, yes,
};

/// A device at a new name.
pub struct PlaceDevice {
    /// The host's node
    pub from: Source,
    /// The device it has to be
    pub device: Device,
    /// Where
    pub at: NewName,
}

impl PlaceDevice {
    /// What a node does not let through: nothing is written to it but to the device.
    pub const FLAGS: Flags =
        Flags { read_only: false, no_suid: true, no_dev: false, no_exec: true };

    fn check(&self, model: &Model) -> Result<(), Answer> {
        self.from.find_device(model, self.device)?;
        self.at.check(model, Call::MakeFile)?;
        match model.may_mount() {
            true => Ok(()),
            false => Err(Answer::No(Call::MountSetattr.gave(Errno::EPERM))),
        }
    }
}

impl fmt::Display for PlaceDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bind the device {} on {}", self.from.path().display(), self.at.path.display())
    }
}

impl Operation for PlaceDevice {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        let owner = Owner { uid: model.process.uid, gid: model.process.gid, mode: 0o600 };
        self.at.take_effect(model, Thing::File(owner, Program::Unknown));
        let held = self.from.take_held(model, Extent::WHOLE);
        let (Some(held), Ok(target)) = (held, model.walk(&self.at.path)) else { return };
        model.mounts.restrict(held.tree, Self::FLAGS);
        model.mounts.attach_tree(held.tree, target.at);
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let node = self.from.take_device(stage, self.device)?;
        let directory = self.at.open(stage)?;
        let made = entry::make_file(directory.as_fd(), &self.at.name);
        drop(made.map_err(|errno| Call::MakeFile.gave(errno))?);
        mount::add_attributes(node.as_fd(), Self::FLAGS.attributes())
            .map_err(|errno| Call::MountSetattr.gave(errno))?;
        let place = descriptor::open_entry(directory.as_fd(), &self.at.name)
            .map_err(|errno| Call::OpenTarget.gave(errno))?;
        place::attach_to(stage, &node, place)?;
        place::is_as_asked(stage, &node, Self::FLAGS)
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        place::is_attached(stage, &self.at.whole)
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        if fault.errno == Errno::EPERM
            && let Some(refusal) = place::not_allowed(before)
        {
            return refusal;
        }
        let from = self.from.path();
        match (fault.call, fault.errno) {
            (Call::Bind, _) => source_refused(self, from, fault, before),
            (Call::Device, Errno::ENODEV) => {
                let message = format!("what is at {} is another device", from.display());
                let (Device { major, minor }, path) = (self.device, typed(from));
                Refusal::new("dev::another_device", message)
                    .why(format!("its number is not {major}:{minor}"))
                    .help(format!(
                        "`sudo mknod -m 666 {path} c {major} {minor}` makes it, where it is gone"
                    ))
            }
            _ => self.at.refused(fault).unwrap_or_else(|| unexplained(self, fault)),
        }
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        place::reaches_host(before).or_else(|| self.at.leak(before, Call::MakeFile))
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.mounts.owner, "the mount namespace"))
    }
}
