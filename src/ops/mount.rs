//! Mounting, binding, detaching and propagation: `mount_namespaces(7)`.

use std::{fmt, path::Path};

use crate::{
    diagnostic::Refusal,
    host::Owner,
    model::{Answer, Filesystem, Model, Objection, Thing},
    sys::{
        Call, Errno, Fault, KernelPath, Propagation, look,
        mount::{self, Configuration, attribute},
    },
};

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
    /// `tmpfs(5)`, with the permission bits of its root
    Tmpfs {
        /// Permission bits
        mode: u32,
    },
}

/// A new filesystem on a place.
pub struct MountNew {
    /// What
    pub kind: MountKind,
    /// Where
    pub at: KernelPath,
    options: Vec<(std::ffi::CString, std::ffi::CString)>,
}

impl MountNew {
    /// A fresh procfs.
    pub fn proc(at: impl AsRef<Path>) -> Self {
        Self { kind: MountKind::Proc, at: KernelPath::new(at), options: Vec::new() }
    }

    /// An empty tmpfs with a root of this mode, no larger than `size` bytes if given.
    pub fn tmpfs(at: impl AsRef<Path>, mode: u32, size: Option<u64>) -> Self {
        let text = |text: String| std::ffi::CString::new(text).unwrap_or_default();
        let mut options = vec![(c"mode".to_owned(), text(format!("{mode:o}")))];
        if let Some(size) = size {
            options.push((c"size".to_owned(), text(size.to_string())));
        }
        Self { kind: MountKind::Tmpfs { mode }, at: KernelPath::new(at), options }
    }

    /// Whether it is a fresh procfs, and no tmpfs.
    pub fn is_proc(&self) -> bool {
        matches!(self.kind, MountKind::Proc)
    }

    /// The filesystem's own settings, as `fsconfig(2)` takes them.
    pub fn options(&self) -> &[(std::ffi::CString, std::ffi::CString)] {
        &self.options
    }

    fn name(&self) -> &'static std::ffi::CStr {
        match self.kind {
            MountKind::Proc => c"proc",
            MountKind::Tmpfs { .. } => c"tmpfs",
        }
    }

    fn attributes(&self) -> u64 {
        match self.kind {
            MountKind::Proc => attribute::NO_SUID | attribute::NO_DEV | attribute::NO_EXEC,
            MountKind::Tmpfs { .. } => attribute::NO_SUID | attribute::NO_DEV,
        }
    }

    fn check(&self, model: &Model) -> Result<(), Answer> {
        if !model.may_mount() {
            return Err(Answer::No(Call::Fsopen.gave(Errno::EPERM)));
        }
        if self.kind == MountKind::Proc {
            if !model.administers(model.pid.owner) {
                return Err(Answer::No(Call::Fsconfig.gave(Errno::EPERM)));
            }
            model.may_reveal_proc().map_err(|no| no.to(Call::Fsmount))?;
        }
        model.may_hold_mounts().map_err(|no| no.to(Call::Fsmount))?;
        let target = place::target(model, &self.at)?;
        may_attach(model, Some(true), &target)
    }
}

impl fmt::Display for MountNew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mount {} on {}", self.name().to_string_lossy(), self.at.as_path().display())
    }
}

impl Operation for MountNew {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        let filesystem = match self.kind {
            MountKind::Proc => Filesystem::Proc,
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
        let mount = model.mounts.attach(target.at, instance);
        if self.kind == MountKind::Proc {
            model.mounts.forbid_programs(mount);
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
        place::attach(stage, &mount, &self.at)
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
        match (self.kind, fault.call, fault.errno) {
            (MountKind::Proc, Call::Fsconfig, Errno::EPERM) if !before.pid.own => {
                Refusal::new("proc::needs_pid", "a fresh /proc shows a PID namespace of its own")
                    .why("no PID namespace yet")
                    .help("put a `pid` layer before it")
                    .wants("pid")
            }
            (MountKind::Proc, Call::Fsconfig, Errno::EPERM) => Refusal::new(
                "proc::foreign_pid",
                "the PID namespace belongs to another user namespace",
            )
            .why("the `pid` layer stands before the `user` layer")
            .help("put the `pid` layer after `user`")
            .wants("user"),
            (MountKind::Proc, Call::Fsmount, Errno::EPERM) if before.has_proc() => {
                Refusal::new("proc::masked", "the kernel gives no fresh /proc beside a masked one")
                    .why(covered(&before.host.masks_of_proc()))
                    .help(
                        "start the outer container with an unmasked /proc (docker: `--security-opt \
                 systempaths=unconfined`, podman: `--security-opt unmask=ALL`), or bind the one \
                 there is: `bind: {from: /proc, to: /proc, read_only: true}`",
                    )
            }
            (MountKind::Proc, Call::Fsmount, Errno::EPERM) => Refusal::new(
                "proc::none_left",
                "the kernel gives a fresh /proc only beside another",
            )
            .why("the old root went away, and its /proc with it")
            .help(
                "put `proc` before `pivot_root`, or keep the old root: `pivot_root: {old: .old}`",
            ),
            (_, Call::MoveMount, Errno::EINVAL) => place::onto_file(self.at.as_path(), before)
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

/// Which parts are covered, where that is known.
fn covered(masks: &[&Path]) -> String {
    let what = "parts of the /proc outside are covered";
    let names: Vec<_> = masks.iter().take(3).map(|mask| mask.display().to_string()).collect();
    match masks.len() {
        0 => what.to_owned(),
        1..=3 => format!("{what}: {}", names.join(", ")),
        count => format!("{what}: {} and {} more", names.join(", "), count - names.len()),
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

/// A mount that goes away, at the latest with its last user (`umount -l`).
pub struct DetachMount {
    /// Where it is
    pub at: KernelPath,
}

impl DetachMount {
    fn check(&self, model: &Model) -> Result<(), Answer> {
        let no = |errno| Answer::No(Call::Umount.gave(errno));
        let found = model.walk(self.at.as_path()).map_err(no)?;
        if !model.may_mount() {
            return Err(no(Errno::EPERM));
        }
        let mount = model.mounts.mount(found.at.mount);
        if found.thing == Thing::Unknown {
            return Err(Objection::Unknown.to(Call::Umount));
        }
        if !found.at.path.as_os_str().is_empty() {
            return Err(no(Errno::EINVAL));
        }
        match mount.locked {
            Some(true) => return Err(no(Errno::EINVAL)),
            Some(false) => {}
            None => return Err(Answer::KernelDecides),
        }
        match model.is_kept_from_mounting() {
            true => Err(no(Errno::EPERM)),
            false => Ok(()),
        }
    }
}

impl fmt::Display for DetachMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "detach {}", self.at.as_path().display())
    }
}

impl Operation for DetachMount {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        // What was mounted there before comes to light, and goes as well.
        while let Ok(found) = model.walk(self.at.as_path())
            && found.at.path.as_os_str().is_empty()
            && found.at.mount != model.mounts.root
            && model.mounts.mount(found.at.mount).locked != Some(true)
        {
            model.mounts.detach(found.at.mount);
        }
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        mount::detach_all(self.at.as_c_str()).map_err(|errno| Call::Umount.gave(errno))
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        place::not_allowed(before).unwrap_or_else(|| unexplained(self, fault))
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        place::reaches_host(before)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.mounts.owner, "the mount namespace"))
    }
}
