//! A filesystem in a file: mounted by the supervisor, who may, and handed to
//! the child, which attaches it in its own namespaces.
//!
//! The mount is detached all the while, so the host never shows it, and the
//! kernel takes it away with its last user, whoever dies when.

use std::{ffi::CString, fmt, os::fd::AsFd};

use crate::{
    diagnostic::Refusal,
    host::ImageKind,
    model::{Answer, Filesystem, Held, Model, Slot, Thing, UserId, capability},
    sys::{
        Call, Errno, Fault, KernelPath, descriptor, loop_device,
        mount::{self, Configuration, attribute},
    },
};

use super::{Evidence, Need, Operation, Stage, place, program, unexplained, yes};

/// A detached mount of an image file, its ids translated for the child.
pub struct MountImage {
    /// The file
    pub file: KernelPath,
    /// What it holds
    pub kind: ImageKind,
    /// Where the mount is kept for the child
    pub slot: Slot,
    /// Whether the child has a user namespace to translate for
    pub map_ids: bool,
}

impl MountImage {
    fn check(&self, model: &Model) -> Result<(), Answer> {
        if !model.supervisor_capable(UserId::HOST, capability::SYS_ADMIN) {
            return Err(Answer::No(Call::Fsopen.gave(Errno::EPERM)));
        }
        Err(Answer::KernelDecides)
    }

    /// The filesystem's name in the kernel.
    pub fn filesystem(&self) -> &'static std::ffi::CStr {
        match self.kind {
            ImageKind::Xfs => c"xfs",
            ImageKind::Ext4 => c"ext4",
            ImageKind::Squashfs => c"squashfs",
            ImageKind::Erofs => c"erofs",
        }
    }

    /// Nothing is replayed or repaired: the file stays as it is.
    pub fn options(&self) -> &'static [&'static std::ffi::CStr] {
        match self.kind {
            // Two copies of an image have one UUID.
            ImageKind::Xfs => &[c"ro", c"norecovery", c"nouuid"],
            ImageKind::Ext4 => &[c"ro", c"noload"],
            ImageKind::Squashfs | ImageKind::Erofs => &[c"ro"],
        }
    }
}

impl fmt::Display for MountImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mount the {} image {}, detached",
            self.kind.name(),
            self.file.as_path().display()
        )
    }
}

impl Operation for MountImage {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        let filesystem = Filesystem::Image(self.file.as_path().to_owned());
        let instance = model.mounts.instance(filesystem, UserId::HOST);
        let tree = model.mounts.insert_detached(instance);
        model.held.insert(self.slot, Held { tree, thing: Thing::Directory(None) });
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        // First, since it asks for the right: without it, no loop device is taken.
        let configuration =
            Configuration::open(self.filesystem()).map_err(|errno| Call::Fsopen.gave(errno))?;
        let image = descriptor::open_to_read(self.file.as_c_str())
            .map_err(|errno| Call::Open.gave(errno))?;
        let device = loop_device::attach(&image).map_err(|errno| Call::Loop.gave(errno))?;
        let source = CString::new(format!("/dev/loop{}", device.number)).unwrap_or_default();
        let keep = |errno| {
            stage.keep_log(&configuration);
            Call::Fsconfig.gave(errno)
        };
        configuration.set(c"source", &source).map_err(keep)?;
        for option in self.options() {
            configuration.set_flag(option).map_err(keep)?;
        }
        configuration.create().map_err(keep)?;
        let attributes = attribute::READ_ONLY | attribute::NO_SUID | attribute::NO_DEV;
        let mount = configuration.mount(attributes).map_err(|errno| Call::Fsmount.gave(errno))?;
        if self.map_ids {
            let user = stage.open_own("ns/user").map_err(|errno| Call::Open.gave(errno))?;
            mount::map_ids(mount.as_fd(), user.as_fd())
                .map_err(|errno| Call::MountSetattr.gave(errno))?;
        }
        stage.keep(self.slot, mount).map_err(|errno| Call::Fsmount.gave(errno))
    }

    fn explain(&self, fault: Fault, before: &Model, seen: &Evidence) -> Refusal {
        let file = self.file.as_path().display();
        let kind = self.kind.name();
        let is_root_of_the_machine = before.supervisor_capable(UserId::HOST, capability::SYS_ADMIN)
            && before.host.initial_user_namespace != Some(false);
        let is_permission = matches!(fault.errno, Errno::EPERM | Errno::EACCES);
        if is_permission && fault.call != Call::Open && !is_root_of_the_machine {
            return Refusal::new(
                "image::needs_root",
                format!("only root can mount the {kind} image {file}"),
            )
            .why("the kernel reads the raw bytes of a filesystem for nobody else")
            .help(match self.kind.server() {
                Some(_) => "run it through `sudo`, or allow other ways: `via: [fuse, unpack]`",
                None => "run it through `sudo`, or take a directory as `lower`",
            });
        }
        match (fault.call, fault.errno) {
            (Call::Open, Errno::ENOENT) => program::image_missing(self.file.as_path()),
            (Call::Loop, Errno::ENOENT) => {
                Refusal::new("image::no_loop", "this machine has no loop devices")
                    .why("/dev/loop-control is not there")
                    .help("`sudo modprobe loop`")
            }
            (Call::Loop, Errno::EPERM | Errno::EACCES) => Refusal::new(
                "image::loop_denied",
                "loop devices may not be used here",
            )
            .why("/dev/loop-control cannot be opened, though you are root")
            .help("start the outer container with `--device /dev/loop-control` and privileges"),
            (Call::Fsopen, Errno::ENODEV) => {
                Refusal::new("image::unknown_filesystem", format!("this kernel cannot read {kind}"))
                    .why("the filesystem is not in /proc/filesystems")
                    .help(format!("`sudo modprobe {kind}`"))
            }
            (Call::MountSetattr, Errno::EINVAL) => Refusal::new(
                "image::no_id_map",
                format!("this kernel cannot translate the ids of {kind}"),
            )
            .why("files of root in the image would belong to nobody in the sandbox")
            .help("allow another way, `via: [fuse, unpack]`, or take an ext4 or xfs image"),
            (Call::Fsconfig, Errno::EINVAL | Errno::EIO | Errno::EUCLEAN) => Refusal::new(
                "image::damaged",
                format!("the kernel does not accept the {kind} image {file}"),
            )
            .why(kernels_words(fault, seen))
            .help(
                "check it with the filesystem's own tool, such as `xfs_repair -n` or `e2fsck -n`",
            ),
            _ => unexplained(self, fault),
        }
    }

    fn needs(&self, _: &Model) -> Option<Need> {
        Some(Need::admin(UserId::HOST, "the host"))
    }
}

/// What the filesystem said, or else the errno.
fn kernels_words(fault: Fault, seen: &Evidence) -> String {
    match seen.log.is_empty() {
        true => format!("{} gave {}", fault.call, fault.errno),
        false => format!("the kernel says: {}", seen.log),
    }
}

/// The supervisor's mount, attached where the child may see it.
pub struct AttachImage {
    /// Where it is kept
    pub slot: Slot,
    /// Where it goes
    pub at: KernelPath,
}

impl AttachImage {
    fn check(&self, model: &Model) -> Result<(), Answer> {
        if !model.may_mount() {
            return Err(Answer::No(Call::MoveMount.gave(Errno::EPERM)));
        }
        let target = place::target(model, &self.at)?;
        place::may_attach(model, Some(true), &target)
    }
}

impl fmt::Display for AttachImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attach the image on {}", self.at.as_path().display())
    }
}

impl Operation for AttachImage {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        let Ok(target) = model.walk(self.at.as_path()) else {
            return;
        };
        if let Some(tree) = model.held.get(&self.slot).map(|held| held.tree) {
            model.mounts.attach_tree(tree, target.at);
        }
    }

    fn intend(&self, model: &mut Model) {
        place::presume_target(model, &self.at);
        self.effect(model);
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let mount = stage.slot(self.slot).map_err(|errno| Call::MoveMount.gave(errno))?;
        place::attach(stage, mount, &self.at)
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
        place::target_refused(self.at.as_path(), fault, before)
            .or_else(|| place::onto_file(self.at.as_path(), before))
            .unwrap_or_else(|| unexplained(self, fault))
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        place::reaches_host_at(before, &self.at)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.mounts.owner, "the mount namespace"))
    }
}
