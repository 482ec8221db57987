//! A filesystem in a file, read by a program of the user's: FUSE (`fuse(4)`).
//!
//! The program mounts in the user namespace of the sandbox and in a mount
//! namespace of its own, where everything is read-only and nothing but its
//! mount is writable. That mount is copied, handed to the child like one that
//! root made, and taken away from the program: so it hangs in the sandbox
//! alone, and the program has nothing left to do when the sandbox is gone.
//! It stays outside the sandbox's PID namespace, and dies with the supervisor.

use std::{
    ffi::OsString,
    fmt, fs,
    io::{Read, Seek},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use crate::{
    diagnostic::Refusal,
    host::{FuseDevice, ImageKind, ImageTools, Invoker, Tool},
    model::{Answer, Filesystem, Held, Model, Slot, Thing, capability as number},
    sys::{
        Call, Errno, Fault, KernelPath, capability, descriptor,
        mount::{self, attribute},
        namespace::{self, Side},
        process, signal, socket, wait,
    },
};

use super::{
    Evidence, Operation, Stage,
    program::{self, PLACE, Program, Started},
    unexplained, yes,
};

/// A detached mount of an image file that a program serves.
pub struct ServeImage {
    /// The file
    pub file: KernelPath,
    /// What it holds
    pub kind: ImageKind,
    /// What serves it
    pub tool: Tool,
    /// Where the mount is kept for the child
    pub slot: Slot,
    /// Where the program is kept, so that it can be ended
    pub program: Slot,
    /// Whether the child has a user namespace of its own
    pub has_user: bool,
    /// The user and group id inside, where there is only one of each: all files are theirs
    pub ids: Option<(u32, u32)>,
    /// Whom the program runs as, if not the caller
    pub user: Option<Invoker>,
    /// What is known of the machine
    pub tools: Option<ImageTools>,
}

impl ServeImage {
    fn check(&self) -> Result<(), Answer> {
        let no = |call: Call, errno| Err(Answer::No(call.gave(errno)));
        let Some(tools) = &self.tools else {
            return Err(Answer::KernelDecides);
        };
        match tools.fuse {
            FuseDevice::Opens => {}
            FuseDevice::Missing => return no(Call::OpenFuse, Errno::ENOENT),
            FuseDevice::Closed(_) => return no(Call::OpenFuse, Errno::EACCES),
            FuseDevice::Broken(errno) => return no(Call::OpenFuse, Errno::from_raw(errno)),
        }
        match tools.place(&self.tool) {
            None => no(Call::Program, Errno::ENOENT),
            Some(_) => Err(Answer::KernelDecides),
        }
    }

    fn place(&self) -> PathBuf {
        let known = self.tools.as_ref().and_then(|tools| tools.place(&self.tool));
        known.cloned().unwrap_or_else(|| self.tool.name.into())
    }

    /// Which program, told what it has to know.
    fn program(&self, image: &OwnedFd) -> Program {
        let place = self.place();
        let mut options = "ro,nosuid,nodev,allow_other,default_permissions".to_owned();
        // Its own options are `suid` and `dev`; and the kernel asks who may what.
        if self.kind == ImageKind::Ext4 {
            options.push_str(",no_default_opts,fakeroot");
        }
        // The faster one of the two that may serve squashfs knows no ids.
        if let Some((uid, gid)) = self.ids.filter(|_| !place.ends_with("squashfuse_ll")) {
            options.push_str(&format!(",uid={uid},gid={gid}"));
        }
        let place_of_mount = PLACE.to_string_lossy().into_owned().into();
        let words: [OsString; 5] =
            ["-f".into(), "-o".into(), options.into(), program::name_of(image), place_of_mount];
        Program::new(&place, words)
    }

    fn served(
        &self,
        stage: &Stage,
        started: &Started,
        user: Option<BorrowedFd>,
    ) -> Result<OwnedFd, Fault> {
        wait_for_mount(stage, started)?;
        let mounts = stage.open_of(started.pid, "ns/mnt").map_err(|e| Call::OpenTarget.gave(e))?;
        fetch(user, mounts.as_fd())
    }
}

impl fmt::Display for ServeImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, tool) = (self.kind.name(), self.tool.name);
        write!(f, "serve the {kind} image {} with {tool}, detached", self.file.as_path().display())
    }
}

impl Operation for ServeImage {
    fn answer(&self, _: &Model) -> Answer {
        yes(self.check())
    }

    fn effect(&self, model: &mut Model) {
        let filesystem = Filesystem::Image(self.file.as_path().to_owned());
        let instance = model.mounts.instance(filesystem, model.process.user);
        let tree = model.mounts.insert_detached(instance);
        model.held.insert(self.slot, Held { tree, thing: Thing::Directory(None) });
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let image = descriptor::open_to_read(self.file.as_c_str())
            .map_err(|errno| Call::Open.gave(errno))?;
        let user = self.has_user.then(|| stage.open_own("ns/user")).transpose();
        let user = user.map_err(|errno| Call::OpenTarget.gave(errno))?;
        let user = user.as_ref().map(AsFd::as_fd);
        let whom = self.user.as_ref().filter(|_| self.has_user);
        let started =
            self.program(&image).start(image.as_fd(), whom, [user, None], || stand_apart(user))?;
        let kept = self.served(stage, &started, user).and_then(|tree| {
            stage.keep(self.slot, tree).map_err(|errno| Call::Fsmount.gave(errno))
        });
        if let Err(fault) = kept {
            started.end();
            stage.keep_words(started.words().as_bytes());
            return Err(fault);
        }
        stage.keep(self.program, started.handle).map_err(|errno| Call::Fsmount.gave(errno))
    }

    fn explain(&self, fault: Fault, before: &Model, seen: &Evidence) -> Refusal {
        let file = self.file.as_path();
        let tool = self.tool.name;
        let known = before.host.images.as_ref().or(self.tools.as_ref()).map(|tools| tools.fuse);
        if let Some(device) = known
            && let Some(refusal) = no_device(device)
        {
            return refusal;
        }
        match (fault.call, fault.errno) {
            (Call::Program, Errno::ENOENT) => program::is_missing(&self.tool, file),
            (Call::Program, Errno::EINTR) => program::interrupted(),
            (Call::Program, Errno::EIO) => {
                let message = format!("`{tool}` does not serve the image {}", file.display());
                let refusal = Refusal::new("image::not_served", message).help(format!(
                    "check the image with the filesystem's own tool, or try another way: `via: [{}]`",
                    "unpack"
                ));
                match seen.log.is_empty() {
                    true => refusal.why("it ended without a word"),
                    false => refusal.why(format!("it says: {}", seen.log)),
                }
            }
            _ => program::unopened(file, fault).unwrap_or_else(|| unexplained(self, fault)),
        }
    }
}

/// Why nothing can be served on this machine.
fn no_device(device: FuseDevice) -> Option<Refusal> {
    match device {
        FuseDevice::Opens => None,
        FuseDevice::Missing => Some(
            Refusal::new("image::no_fuse", "this machine has no /dev/fuse")
                .why("the kernel's part of FUSE is not loaded")
                .help("`sudo modprobe fuse`, or another way: `via: [unpack]`"),
        ),
        FuseDevice::Closed(owner) => Some(
            Refusal::new("image::fuse_closed", "you may not open /dev/fuse")
                .why(format!(
                    "it belongs to user {} and group {}, and its mode is 0{:o}",
                    owner.uid, owner.gid, owner.mode
                ))
                .help(match owner.lets_everybody() {
                    true => "a container takes `--device /dev/fuse`; another way: `via: [unpack]`",
                    false => "`sudo chmod 666 /dev/fuse`, or another way: `via: [unpack]`",
                }),
        ),
        FuseDevice::Broken(errno) => Some(
            Refusal::new("image::no_fuse", "/dev/fuse does not work here")
                .why(format!("opening it gave {}", Errno::from_raw(errno)))
                .help("`sudo modprobe fuse`, or another way: `via: [unpack]`"),
        ),
    }
}

/// In the process that becomes the program: apart, with the one right that mounting takes.
fn stand_apart(user: Option<BorrowedFd>) -> Result<(), Fault> {
    program::stand_apart(user, None)?;
    capability::keep_only(1 << number::SYS_ADMIN).map_err(|errno| Call::Prctl.gave(errno))
}

/// Waits until the program has mounted; `EIO` if it ends instead, `EINTR` if
/// somebody wants isorecipe to stop.
fn wait_for_mount(stage: &Stage, started: &Started) -> Result<(), Fault> {
    let poll = |errno| Call::Poll.gave(errno);
    let mut mounts =
        stage.open_of(started.pid, "mountinfo").map(fs::File::from).map_err(|_| gone())?;
    let stop = signal::wish_to_stop().map_err(poll)?;
    loop {
        let mut text = Vec::new();
        mounts.rewind().and_then(|()| mounts.read_to_end(&mut text)).map_err(|_| gone())?;
        if has_mounted(&text) {
            return Ok(());
        }
        match wait::for_any(started.handle.as_fd(), stop.as_fd(), Some(mounts.as_fd())) {
            Ok([true, _, _]) => return Err(gone()),
            Ok([_, true, _]) => return Err(Call::Program.gave(Errno::EINTR)),
            Ok(_) => {}
            Err(errno) => return Err(poll(errno)),
        }
    }
}

fn gone() -> Fault {
    Call::Program.gave(Errno::EIO)
}

/// Whether FUSE is mounted on the place (`proc_pid_mountinfo(5)`).
fn has_mounted(mountinfo: &[u8]) -> bool {
    String::from_utf8_lossy(mountinfo).lines().any(|line| {
        let (mount, filesystem) = line.split_once(" - ").unwrap_or_default();
        mount.split(' ').nth(4).map(str::as_bytes) == Some(PLACE.to_bytes())
            && filesystem.starts_with("fuse")
    })
}

/// A process that goes where the program is, copies its mount, and takes it away from there.
fn fetch(user: Option<BorrowedFd>, mounts: BorrowedFd) -> Result<OwnedFd, Fault> {
    let (ours, theirs) = socket::pair().map_err(|errno| Call::Socketpair.gave(errno))?;
    match namespace::fork().map_err(|errno| Call::Fork.gave(errno))? {
        Side::Child => {
            match copy(user, mounts) {
                Ok(tree) => drop(socket::send(theirs.as_fd(), &[0], Some(tree.as_fd()))),
                Err(fault) => program::report(theirs.as_fd(), fault),
            }
            process::exit(0)
        }
        Side::Parent(pid) => {
            drop(theirs);
            let tree = program::heard(ours.as_fd());
            if let Ok(handle) = process::open(pid) {
                // It has nothing to wait for.
                let _ = process::wait_for(handle.as_fd());
            }
            tree?.ok_or_else(gone)
        }
    }
}

fn copy(user: Option<BorrowedFd>, mounts: BorrowedFd) -> Result<OwnedFd, Fault> {
    process::become_undumpable().map_err(|errno| Call::Prctl.gave(errno))?;
    for namespace in user.into_iter().chain([mounts]) {
        namespace::enter(namespace).map_err(|errno| Call::Setns.gave(errno))?;
    }
    let tree = mount::clone_tree(PLACE).map_err(|errno| Call::Bind.gave(errno))?;
    let attributes = attribute::READ_ONLY | attribute::NO_SUID | attribute::NO_DEV;
    mount::add_attributes(tree.as_fd(), attributes)
        .map_err(|errno| Call::MountSetattr.gave(errno))?;
    mount::detach(PLACE).map_err(|errno| Call::Umount.gave(errno))?;
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fuse_at_the_place_is_the_mount() {
        let line = |at: &str, kind: &str| format!("43 42 0:41 / {at} ro - {kind} image ro\n");
        assert!(has_mounted(line("/proc/driver", "fuse.squashfuse").as_bytes()));
        assert!(!has_mounted(line("/proc/driver", "tmpfs").as_bytes()));
        assert!(!has_mounted(line("/home/driver", "fuse.squashfuse").as_bytes()));
    }
}
