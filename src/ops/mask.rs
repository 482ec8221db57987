//! A place with nothing to see in it: `/dev/null` over a file, an empty
//! directory over a directory.
//!
//! Whoever covers a file with a node of the sandbox's own `/dev` covers it with
//! what the sandbox chooses: a link there leads the kernel to bind something of
//! the host. So the node is the host's, held by descriptor, and is looked at
//! before it is used.

use std::{
    fmt,
    os::fd::{AsFd, OwnedFd},
};

use crate::{
    diagnostic::Refusal,
    host::Owner,
    model::{Answer, Filesystem, Held, Model, Thing},
    sys::{
        Call, Errno, Fault, KernelPath,
        descriptor::{self, Walk},
        device::{self, Device},
        mount::{self, Configuration, Flags},
    },
};

use super::{
    Evidence, Extent, Need, Operation, Source, Stage,
    place::{self, target_refused},
    source::source_refused,
    unexplained, yes,
};

/// Permission bits of the empty directory: there is nothing to see, and nothing to be made.
const MODE: u32 = 0o555;

/// A place with nothing to see in it.
pub struct Mask {
    /// Which
    pub at: KernelPath,
    /// The host's `/dev/null`
    pub null: Source,
    /// Where there is nothing, nothing is to be done
    pub optional: bool,
}

impl Mask {
    /// Of the node: nothing but reading nothing, and writing to nowhere.
    pub const NODE: Flags = Flags { read_only: true, no_suid: true, no_dev: false, no_exec: true };
    /// Of the directory
    const EMPTY: Flags = Flags { no_dev: true, ..Self::NODE };

    fn check(&self, model: &Model) -> Result<(), Answer> {
        let Some(target) = place::optional_target(model, &self.at, self.optional)? else {
            return Ok(());
        };
        match target.thing.is_directory() {
            None => Err(Answer::KernelDecides),
            Some(true) if !model.may_mount() => Err(Answer::No(Call::Fsopen.gave(Errno::EPERM))),
            Some(true) => model.may_hold_mounts().map_err(|no| no.to(Call::Fsmount)),
            Some(false) => self.check_node(model),
        }
    }

    fn check_node(&self, model: &Model) -> Result<(), Answer> {
        match self.null.find(model, Extent::WHOLE)? {
            Some(Thing::Device(Device::NULL)) => {}
            Some(Thing::Unknown | Thing::Symlink(_)) | None => return Err(Answer::KernelDecides),
            // A recorded machine need not tell which device it is.
            Some(Thing::Special) => return Err(Answer::KernelDecides),
            Some(Thing::Device(_) | Thing::Directory(_) | Thing::File(..)) => {
                return Err(Answer::No(Call::Device.gave(Errno::ENODEV)));
            }
        }
        match model.may_mount() {
            true => Ok(()),
            false => Err(Answer::No(Call::MountSetattr.gave(Errno::EPERM))),
        }
    }

    /// Puts a cover over the place.
    fn cover(stage: &Stage, cover: impl AsFd, place: &OwnedFd, flags: Flags) -> Result<(), Fault> {
        place::attach_to(stage, &cover, place)?;
        place::is_as_asked(stage, cover, flags)
    }
}

/// A directory with nothing in it, for good.
fn empty(stage: &Stage) -> Result<OwnedFd, Fault> {
    let configuration = Configuration::open(c"tmpfs").map_err(|errno| Call::Fsopen.gave(errno))?;
    let keep = |errno| {
        stage.keep_log(&configuration);
        Call::Fsconfig.gave(errno)
    };
    configuration.set(c"source", c"tmpfs").map_err(keep)?;
    configuration.set(c"mode", c"555").map_err(keep)?;
    configuration.create().map_err(keep)?;
    configuration.mount(Mask::EMPTY.attributes()).map_err(|errno| Call::Fsmount.gave(errno))
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cover {} with nothing", self.at.as_path().display())?;
        f.write_str(if self.optional { ", if it is there" } else { "" })
    }
}

impl Operation for Mask {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        let Ok(target) = model.walk(self.at.as_path()) else { return };
        let held = match target.thing.is_directory() {
            Some(false) => self.null.take_held(model, Extent::WHOLE),
            _ => {
                let owner = Owner { uid: model.process.uid, gid: model.process.gid, mode: MODE };
                let user = model.process.user;
                let empty = model.mounts.instance(Filesystem::Tmpfs(owner), user);
                let tree = model.mounts.insert_detached(empty);
                Some(Held { tree, thing: Thing::Directory(Some(owner)) })
            }
        };
        let Some(held) = held else { return };
        model.mounts.restrict(held.tree, Self::NODE);
        model.mounts.attach_tree(held.tree, target.at);
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let place = match descriptor::open_place(None, self.at.as_c_str(), Walk::Free) {
            Err(Errno::ENOENT) if self.optional => return place::skip(stage, self),
            found => found.map_err(|errno| Call::OpenTarget.gave(errno))?,
        };
        if device::is_directory(&place).map_err(|errno| Call::Device.gave(errno))? {
            return Self::cover(stage, empty(stage)?, &place, Self::EMPTY);
        }
        let gone = Call::Device.gave(Errno::ENODEV);
        let node = self.null.take(stage, Extent::WHOLE)?.ok_or(gone)?;
        if !Device::NULL.is(&node).map_err(|errno| Call::Device.gave(errno))? {
            return Err(gone);
        }
        mount::add_attributes(node.as_fd(), Self::NODE.attributes())
            .map_err(|errno| Call::MountSetattr.gave(errno))?;
        Self::cover(stage, node, &place, Self::NODE)
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        match place::is_skipped(stage, self) {
            true => Ok(()),
            false => place::is_attached(stage, &self.at),
        }
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        if fault.errno == Errno::EPERM
            && let Some(refusal) = place::not_allowed(before)
        {
            return refusal;
        }
        if let Some(refusal) = target_refused(self.at.as_path(), fault, before) {
            return match fault.errno {
                Errno::ENOENT => refusal
                    .help("take the line away, or add `optional: true` if it need not be there"),
                _ => refusal,
            };
        }
        match (fault.call, fault.errno) {
            (Call::Bind, _) => source_refused(self, self.null.path(), fault, before),
            (Call::Device, Errno::ENODEV) => {
                Refusal::new("mask::not_null", "what is at /dev/null is not the null device")
                    .why("a file is covered with it, so that nothing is read there")
                    .help("`sudo mknod -m 666 /dev/null c 1 3` makes it, where it is gone")
            }
            _ => unexplained(self, fault),
        }
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        place::reaches_host_at(before, &self.at)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.mounts.owner, "the mount namespace"))
    }

    fn is_idle(&self, before: &Model) -> bool {
        place::optional_target(before, &self.at, self.optional) == Ok(None)
    }
}
