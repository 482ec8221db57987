//! Mounting, binding, detaching and propagation: `mount_namespaces(7)`.

use std::{fmt, path::Path};

use crate::{
    diagnostic::Refusal,
    host::Owner,
    model::{Answer, Filesystem, Model, Slot},
    sys::{
        Call, Errno, Fault, KernelPath, Propagation, look,
        mount::{self, Configuration, Flags, attribute},
    },
};

mod fresh;

use fresh::Fresh;

use super::{
    Evidence, Need, Operation, Stage,
    place::{self, may_attach, target_refused},
    unexplained, yes,
};

/// A filesystem that a user namespace may mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// `proc(5)`
    Proc,
    /// `pts(4)`: terminals of its own
    Pts,
    /// `sysfs(5)`
    Sysfs,
    /// `mq_overview(7)`, "Mounting the message queue filesystem"
    Mqueue,
    /// `tmpfs(5)`, with the permission bits of its root
    Tmpfs {
        /// Permission bits
        mode: u32,
    },
}

impl MountKind {
    fn fresh(self) -> Option<Fresh> {
        match self {
            Self::Proc => Some(Fresh::Proc),
            Self::Sysfs => Some(Fresh::Sysfs),
            Self::Mqueue => Some(Fresh::Mqueue),
            Self::Pts | Self::Tmpfs { .. } => None,
        }
    }
}

/// A new filesystem on a place.
pub struct MountNew {
    /// What
    pub kind: MountKind,
    /// Where
    pub at: KernelPath,
    /// Where to keep it, for a later step that makes something in it
    pub slot: Option<Slot>,
    /// Nothing can be written through it
    pub read_only: bool,
    options: Vec<(std::ffi::CString, std::ffi::CString)>,
}

impl MountNew {
    /// A fresh procfs.
    pub fn proc(at: impl AsRef<Path>) -> Self {
        Self::plain(MountKind::Proc, at)
    }

    /// A fresh sysfs.
    pub fn sysfs(at: impl AsRef<Path>, read_only: bool) -> Self {
        Self { read_only, ..Self::plain(MountKind::Sysfs, at) }
    }

    /// The message queues of the IPC namespace.
    pub fn mqueue(at: impl AsRef<Path>) -> Self {
        Self::plain(MountKind::Mqueue, at)
    }

    /// Terminals of its own; they belong to the group `tty`, which is 5, if it
    /// has a number there.
    pub fn pts(at: impl AsRef<Path>, has_tty_group: bool) -> Self {
        let mut options = vec![
            (c"mode".to_owned(), c"620".to_owned()),
            (c"ptmxmode".to_owned(), c"666".to_owned()),
        ];
        if has_tty_group {
            options.push((c"gid".to_owned(), c"5".to_owned()));
        }
        Self { options, ..Self::plain(MountKind::Pts, at) }
    }

    fn plain(kind: MountKind, at: impl AsRef<Path>) -> Self {
        Self { kind, at: KernelPath::new(at), slot: None, read_only: false, options: Vec::new() }
    }

    /// An empty tmpfs with a root of this mode, no larger than `size` bytes if given.
    pub fn tmpfs(at: impl AsRef<Path>, mode: u32, size: Option<u64>) -> Self {
        let text = |text: String| std::ffi::CString::new(text).unwrap_or_default();
        let mut options = vec![(c"mode".to_owned(), text(format!("{mode:o}")))];
        if let Some(size) = size {
            options.push((c"size".to_owned(), text(size.to_string())));
        }
        Self { options, ..Self::plain(MountKind::Tmpfs { mode }, at) }
    }

    /// Whether it is a fresh procfs.
    pub fn is_proc(&self) -> bool {
        matches!(self.kind, MountKind::Proc)
    }

    /// The filesystem's own settings, as `fsconfig(2)` takes them.
    pub fn options(&self) -> &[(std::ffi::CString, std::ffi::CString)] {
        &self.options
    }

    /// The filesystem's name.
    pub fn name(&self) -> &'static std::ffi::CStr {
        match self.kind {
            MountKind::Proc => c"proc",
            MountKind::Pts => c"devpts",
            MountKind::Sysfs => c"sysfs",
            MountKind::Mqueue => c"mqueue",
            MountKind::Tmpfs { .. } => c"tmpfs",
        }
    }

    /// What its mount does not let through, as [`attribute`] counts.
    pub fn attributes(&self) -> u64 {
        let kind = match self.kind {
            MountKind::Pts => attribute::NO_SUID | attribute::NO_EXEC,
            MountKind::Tmpfs { .. } => attribute::NO_SUID | attribute::NO_DEV,
            _ => attribute::NO_SUID | attribute::NO_DEV | attribute::NO_EXEC,
        };
        if self.read_only { kind | attribute::READ_ONLY } else { kind }
    }

    fn check(&self, model: &Model) -> Result<(), Answer> {
        if !model.may_mount() {
            return Err(Answer::No(Call::Fsopen.gave(Errno::EPERM)));
        }
        if let Some(fresh) = self.kind.fresh() {
            fresh::check(fresh, self.read_only, model)?;
        }
        model.may_hold_mounts().map_err(|no| no.to(Call::Fsmount))?;
        let target = place::target(model, &self.at)?;
        may_attach(model, Some(true), &target)
    }
}

impl fmt::Display for MountNew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mount {} on {}", self.name().to_string_lossy(), self.at.as_path().display())?;
        f.write_str(if self.read_only { ", read-only" } else { "" })
    }
}

impl Operation for MountNew {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        let filesystem = match self.kind {
            MountKind::Proc => Filesystem::Proc,
            MountKind::Pts => Filesystem::Pts,
            MountKind::Sysfs => Filesystem::Sysfs,
            MountKind::Mqueue => Filesystem::Mqueue,
            MountKind::Tmpfs { mode } => {
                let Model { process, .. } = &*model;
                Filesystem::Tmpfs(Owner { uid: process.uid, gid: process.gid, mode })
            }
        };
        let Ok(target) = model.walk(self.at.as_path()) else {
            return;
        };
        let user = model.process.user;
        let instance = model.mounts.instance(filesystem, user);
        let is_small = self.options.iter().any(|(key, _)| key.as_c_str() == c"size");
        if let Some(instance) = model.mounts.filesystem_mut(instance) {
            instance.is_small = is_small;
        }
        let mount = model.mounts.attach(target.at, instance);
        if !matches!(self.kind, MountKind::Tmpfs { .. }) {
            model.mounts.forbid_programs(mount);
        }
        if self.read_only {
            model.mounts.restrict(mount, Flags::READ_ONLY);
        }
        if let Some(fresh) = self.kind.fresh().filter(|_| self.read_only) {
            fresh::pass_lock_on(fresh, mount, model);
        }
    }

    fn intend(&self, model: &mut Model) {
        place::presume_target(model, &self.at);
        self.effect(model);
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let configuration =
            Configuration::open(self.name()).map_err(|errno| Call::Fsopen.gave(errno))?;
        let keep = |errno| {
            stage.keep_log(&configuration);
            Call::Fsconfig.gave(errno)
        };
        // What `mount` shows in the place of a device.
        configuration.set(c"source", self.name()).map_err(keep)?;
        for (key, value) in &self.options {
            configuration.set(key, value).map_err(keep)?;
        }
        configuration.create().map_err(keep)?;
        let mount =
            configuration.mount(self.attributes()).map_err(|errno| Call::Fsmount.gave(errno))?;
        place::attach(stage, &mount, &self.at)?;
        place::keep_ground(stage, self.slot, mount)
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        place::is_attached(stage, &self.at)
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        if fault.errno == Errno::EPERM
            && let Some(refusal) = place::not_allowed(before)
        {
            return refusal;
        }
        if let Some(refusal) = target_refused(self.at.as_path(), fault, before) {
            return refusal.field("at");
        }
        let fresh = self.kind.fresh();
        if let Some(refusal) = fresh.and_then(|fresh| fresh::refused(fresh, fault, before)) {
            return refusal;
        }
        match (fault.call, fault.errno) {
            (Call::MoveMount, Errno::EINVAL) => place::onto_file(self.at.as_path(), before)
                .unwrap_or_else(|| unexplained(self, fault)),
            _ => unexplained(self, fault),
        }
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        place::reaches_host_at(before, &self.at)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.mounts.owner, "the mount namespace"))
    }
}

/// How mount events travel from now on, for every mount.
pub struct SetPropagation(pub Propagation);

impl fmt::Display for SetPropagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Propagation::Private => "private",
            Propagation::Slave => "a slave of the host's",
            Propagation::Shared => "shared",
        };
        write!(f, "make every mount {kind}")
    }
}

impl Operation for SetPropagation {
    fn answer(&self, model: &Model) -> Answer {
        if let Some(errno) = model.host.denies(Call::Mount) {
            return Answer::No(Call::Mount.gave(errno));
        }
        match (model.may_mount(), model.process.chrooted) {
            _ if model.is_kept_from_mounting() => Answer::No(Call::Mount.gave(Errno::EPERM)),
            (false, _) => Answer::No(Call::Mount.gave(Errno::EPERM)),
            // `/` has to be a mount.
            (true, Some(true)) => Answer::No(Call::Mount.gave(Errno::EINVAL)),
            (true, _) => Answer::Yes,
        }
    }

    fn effect(&self, model: &mut Model) {
        model.mounts.propagate(self.0);
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        mount::propagate_all(self.0).map_err(|errno| Call::Mount.gave(errno))
    }

    /// The kernel changes every mount at once or none: the root tells for all.
    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let is =
            look::propagation_of_root(stage.proc).map_err(|errno| Call::Statmount.gave(errno))?;
        match is {
            // Without a master, the slave of nobody is private.
            Propagation::Private if self.0 == Propagation::Slave => Ok(()),
            is if is == self.0 => Ok(()),
            Propagation::Private => Err(stage.lie(Call::Mount, b"private")),
            Propagation::Slave => Err(stage.lie(Call::Mount, b"slave")),
            Propagation::Shared => Err(stage.lie(Call::Mount, b"shared")),
        }
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        if let Some(refusal) = place::not_allowed(before) {
            return refusal;
        }
        match (fault.errno, before.process.chrooted) {
            (Errno::EINVAL, Some(true)) => {
                Refusal::new("mount::chrooted", "propagation cannot be set inside a chroot")
                    .why("isorecipe was started in a root directory that is no mount")
                    .help("start isorecipe outside the chroot")
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
}
