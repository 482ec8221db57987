//! An xfs, which nothing but the kernel can fill: mounted detached, so that no
//! mount namespace ever shows it, and written to through its descriptor.
//! Mount and loop device go with the descriptors, whoever dies when.

use std::{ffi::CString, fs::File, os::fd::AsFd, path::PathBuf};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, OFlag, fallocate, openat},
    sys::stat::Mode,
    unistd::syncfs,
};

use crate::{
    sys::{
        Call, Fault,
        loop_device::{self, LoopDevice},
        mount::{self, Configuration, attribute},
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
    let (device, root) = mounted(file).map_err(|fault| words::no_mount(fault).stop(&at))?;
    let written = job.write(&root, tree, need, guard, Some((0, 0)));
    let synced = written.and_then(|unreadable| {
        guard.show(Stage::Syncing, 0, None);
        // The free space goes back to the disk, where it can.
        let _ = mount::trim(&root);
        syncfs(&root).map_err(|errno| Failure::Writing(PathBuf::from("/"), errno))?;
        Ok(unreadable)
    });
    // The last user of the mount, and of the device: the kernel writes the log
    // and lets go of the file before these return.
    drop(root);
    drop(device);
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

/// The root directory of the new filesystem, whose mount lives as long as it is open.
fn mounted(file: &File) -> Result<(LoopDevice, std::os::fd::OwnedFd), Fault> {
    let device =
        loop_device::attach_writable(file.as_fd()).map_err(|errno| Call::Loop.gave(errno))?;
    let source = CString::new(format!("/dev/loop{}", device.number)).unwrap_or_default();
    let xfs = Configuration::open(c"xfs").map_err(|errno| Call::Fsopen.gave(errno))?;
    let configure = xfs.set(c"source", &source).and_then(|()| xfs.create());
    configure.map_err(|errno| Call::Fsconfig.gave(errno))?;
    let mount = xfs
        .mount(attribute::NO_DEV | attribute::NO_SUID | attribute::NO_EXEC)
        .map_err(|errno| Call::Fsmount.gave(errno))?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = openat(&mount, ".", flags, Mode::empty());
    Ok((device, root.map_err(|errno| Call::Open.gave(errno))?))
}
