//! An xfs, which nothing but the kernel can fill: mounted detached, so that no
//! mount namespace ever shows it, and written to through its descriptor.
//! Mount and loop device go with the descriptors, whoever dies when.
//!
//! Through `sudo` only the mounting is root's. The ids of the mount are then
//! translated: what the user makes in it is root's in the image, and nothing is
//! read or written with root's rights.

use std::{
    ffi::CString,
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, OFlag, fallocate, openat},
    sys::stat::{Mode, SFlag, fstat},
    unistd::{Whence, lseek, syncfs},
};

use crate::{
    sys::{
        Call, Fault,
        ids::Lowered,
        loop_device,
        mount::{self, Configuration, attribute},
        namespace,
    },
    yaml,
};

use super::{
    Ends, Guard, Stage, Stop, file_path,
    make::{Job, Need},
    site::{Work, errno},
    tool,
    tree::Tree,
    words,
    write::Failure,
};

pub(super) fn make(
    job: &Job,
    tree: &Tree,
    need: &Need,
    program: &PathBuf,
    work: &Work,
    guard: &mut Guard,
) -> Result<Vec<PathBuf>, Stop> {
    let unwritten = |errno| job.unwritten(&job.locked.target_path(), errno, work);
    let size = job.size(need);
    let file = tool::image_file(work, need.is_public).map_err(|error| unwritten(errno(&error)))?;
    // A disk that is too small says so now, and not to the filesystem inside.
    match fallocate(&file, FallocateFlags::empty(), 0, size as i64) {
        // A filesystem that cannot promise (`fallocate(2)`).
        Err(Errno::EOPNOTSUPP) => file.set_len(size).map_err(|error| unwritten(errno(&error)))?,
        other => other.map_err(unwritten)?,
    }
    let arguments = ["-q", "-f", "image"].map(Into::into);
    tool::run(program, &arguments, job.epoch, false, work, guard)?
        .map_err(|failed| job.failed(failed, need, work))?;
    let unreadable = fill(job, tree, need, &file, guard)?;
    guard.show(Stage::Syncing, 0, None);
    tool::sync(&file).map_err(unwritten)?;
    // The free space goes back to the disk, where it can.
    let _ = release(&file, size as i64);
    tool::sync(&file).map_err(unwritten)?;
    Ok(unreadable)
}

fn fill(
    job: &Job,
    tree: &Tree,
    need: &Need,
    file: &File,
    guard: &mut Guard,
) -> Result<Vec<PathBuf>, Stop> {
    let at = yaml::Path::root().key("image").key("filesystem");
    let root = match job.order.lowered {
        None => mounted(file, None),
        Some(lowered) => mounted_for(file, lowered),
    };
    let root = root.map_err(|fault| words::no_mount(fault).stop(&at))?;
    let owner = job.order.lowered.is_none().then_some((0, 0));
    let written = job.write(&root, tree, need, guard, owner);
    let synced = written.and_then(|unreadable| {
        guard.show(Stage::Syncing, 0, None);
        syncfs(&root).map_err(|errno| Failure::Writing(PathBuf::from("/"), errno))?;
        Ok(unreadable)
    });
    // The last user of the mount, and with it of the device: the kernel writes
    // the log and lets go of the file before this returns.
    drop(root);
    synced.map_err(|failure| match failure {
        Failure::Stopped(stop) => stop,
        Failure::Reading(path, error) => {
            words::unread(&path, &error).stop(&yaml::Path::root().key("image"))
        }
        // The disk has given all it has to give: it is the image that is full.
        Failure::Writing(_, Errno::ENOSPC) => job.too_small(job.size(need), need),
        Failure::Writing(path, errno) => words::unwritten(&path, errno).stop(&file_path()),
    })
}

/// As [`mounted`], by root for the user, who has no way back to root afterwards.
fn mounted_for(file: &File, lowered: &Lowered) -> Result<OwnedFd, Fault> {
    let status = fstat(file).map_err(|errno| Call::Loop.gave(errno))?;
    let is_file =
        SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG;
    // Whoever else has it could write to it while it is mounted.
    if !is_file || status.st_uid != lowered.uid() || status.st_nlink != 1 {
        return Err(Call::Loop.gave(Errno::ESTALE));
    }
    let setresuid = |errno| Call::Setresuid.gave(errno);
    let root = lowered.as_root(|| {
        let ids = namespace::of_root_being(lowered.uid(), lowered.gid())?;
        mounted(file, Some(ids.as_fd()))
    });
    lowered.for_good().map_err(setresuid)?;
    root.map_err(setresuid)?
}

/// The root directory of the new filesystem, whose mount lives as long as it
/// is open; with `ids` translated through this user namespace.
fn mounted(file: &File, ids: Option<BorrowedFd>) -> Result<OwnedFd, Fault> {
    let device =
        loop_device::attach_writable(file.as_fd()).map_err(|errno| Call::Loop.gave(errno))?;
    let source = CString::new(format!("/dev/loop{}", device.number)).unwrap_or_default();
    let xfs = Configuration::open(c"xfs").map_err(|errno| Call::Fsopen.gave(errno))?;
    let configure = xfs.set(c"source", &source).and_then(|()| xfs.create());
    configure.map_err(|errno| Call::Fsconfig.gave(errno))?;
    let mount = xfs
        .mount(attribute::NO_DEV | attribute::NO_SUID | attribute::NO_EXEC)
        .map_err(|errno| Call::Fsmount.gave(errno))?;
    if let Some(ids) = ids {
        mount::map_ids(mount.as_fd(), ids).map_err(|errno| Call::MountSetattr.gave(errno))?;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(&mount, ".", flags, Mode::empty()).map_err(|errno| Call::Open.gave(errno))
}

/// Gives back what was promised for the file and never written to (`lseek(2)`).
fn release(file: &File, size: i64) -> Result<(), Errno> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let mut at = 0;
    while at < size {
        let hole = lseek(file, at, Whence::SeekHole)?;
        at = match lseek(file, hole, Whence::SeekData) {
            Err(Errno::ENXIO) => size,
            other => other?,
        };
        if hole < at {
            fallocate(file, flags, hole, at - hole)?;
        }
    }
    Ok(())
}
