//! The tools that make filesystems: found, started, watched, and never left behind.

use std::{
    ffi::OsString,
    fs::File,
    io::{Read, Seek},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::{
        memfd::{MFdFlags, memfd_create},
        stat::Mode,
        statvfs::fstatvfs,
    },
};

use crate::{
    sys::{
        signal,
        tool::{RootInside, start},
    },
    yaml,
};

use super::{
    Ends, Guard, Stage, Stop,
    site::{Work, errno},
    words,
};

/// Where tools for root are, which an ordinary user's PATH leaves out.
const ALSO: &str = "/usr/local/sbin:/usr/sbin:/sbin";
/// How often the bar moves while a tool works.
const MILLISECONDS: u16 = 100;
/// Of what a tool says, its end.
const LONGEST_WORDS: u64 = 1 << 16;
/// A disk with less than this is full.
const NOTHING_LEFT: u64 = 1 << 20;

/// One of the tools, and the packages that have it.
#[derive(Clone, Copy)]
pub(super) struct Tool {
    pub name: &'static str,
    pub debian: &'static str,
    pub fedora: &'static str,
}

pub(super) const MKFS_XFS: Tool = Tool { name: "mkfs.xfs", debian: "xfsprogs", fedora: "xfsprogs" };
pub(super) const MKE2FS: Tool = Tool { name: "mke2fs", debian: "e2fsprogs", fedora: "e2fsprogs" };
pub(super) const MKSQUASHFS: Tool =
    Tool { name: "mksquashfs", debian: "squashfs-tools", fedora: "squashfs-tools" };
pub(super) const MKFS_EROFS: Tool =
    Tool { name: "mkfs.erofs", debian: "erofs-utils", fedora: "erofs-utils" };

/// A tool that ended badly.
pub(super) struct Failed {
    /// What it said, its last line first
    pub words: String,
    /// Whether there is no room where it worked
    pub is_full: bool,
    /// Whether there is no room in the image
    pub is_small: bool,
}

impl Tool {
    /// Along PATH, and where root's tools are.
    pub(super) fn find(self, search: &OsString, at: &yaml::Path) -> Result<PathBuf, Stop> {
        let mut paths = search.clone();
        paths.push(":");
        paths.push(ALSO);
        which::which_in(self.name, Some(paths), "/").map_err(|_| words::no_tool(self).stop(at))
    }
}

/// Runs a tool in the work directory to its end. With `as_root`, it is root of
/// a user namespace of its own, where the caller's files are root's.
pub(super) fn run(
    program: &PathBuf,
    arguments: &[OsString],
    time: i64,
    as_root: bool,
    work: &Work,
    guard: &mut Guard,
) -> Result<Result<(), Failed>, Stop> {
    let origin = yaml::Path::root().key("image").key("filesystem");
    let cannot = |error: std::io::Error| words::no_start(program, &error).stop(&origin);
    let said = said().map_err(|errno| cannot(errno.into()))?;
    let [output, errors] = [said.try_clone(), said.try_clone()];
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        // Zero is no time for it.
        .env("E2FSPROGS_FAKE_TIME", time.max(1).to_string())
        .stdin(Stdio::null())
        .stdout(output.map_err(cannot)?)
        .stderr(errors.map_err(cannot)?);
    let root = as_root.then(RootInside::of_caller);
    let child = start(&mut command, work.directory.as_raw_fd(), root).map_err(|error| {
        match error.raw_os_error().map(Errno::from_raw) {
            // What `unshare(2)` and the maps say; `execve(2)` says none of it.
            Some(Errno::EPERM | Errno::ENOSPC | Errno::EUSERS | Errno::EINVAL) if as_root => {
                words::no_user_namespace(&error).stop(&origin)
            }
            _ => cannot(error),
        }
    })?;
    let is_well = wait(child, guard)?.map_err(cannot)?;
    Ok(if is_well { Ok(()) } else { Err(Failed::of(said, work)) })
}

/// A file for what the tool says: no pipe that it could wait at, and on no
/// disk that could be full.
fn said() -> Result<File, Errno> {
    memfd_create(c"said", MFdFlags::MFD_CLOEXEC).map(File::from)
}

/// Waits for the end; kills the tool if the caller wants to end.
fn wait(mut child: Child, guard: &mut Guard) -> Result<std::io::Result<bool>, Stop> {
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return Ok(Ok(status.success())),
            Err(error) => return Ok(Err(error)),
        }
        if let Err(stop) = guard.look_up() {
            // It may have ended by itself meanwhile, which is as good.
            let _ = child.kill();
            let _ = child.wait();
            return Err(stop);
        }
        guard.show(Stage::Making, 0, None);
        // A wait that is cut short is no harm here.
        let _ = signal::poll_two(guard.signals.as_fd(), None, Some(MILLISECONDS));
    }
}

impl Failed {
    fn of(mut said: File, work: &Work) -> Failed {
        let mut text = Vec::new();
        // A tool that left no words is described by its end alone.
        let _ = said.rewind().and_then(|()| said.take(LONGEST_WORDS).read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text).into_owned();
        let is_full = text.contains("No space left on device") || !has_room(&work.directory);
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let words = lines.last().copied().unwrap_or("it said nothing").to_owned();
        let words = words.trim_end_matches('.').to_owned();
        // What `mke2fs -d` says of an image, not of the disk.
        let is_small = lines.iter().any(|line| line.contains("Could not allocate"));
        Failed { words, is_full: is_full && !is_small, is_small }
    }
}

/// Whether there is anything left where this directory is.
pub(super) fn has_room(directory: &OwnedFd) -> bool {
    let Ok(found) = fstatvfs(directory) else { return true };
    found.blocks_available() * found.fragment_size() >= NOTHING_LEFT
}

/// Makes the file of an image, empty, readable for others if all in it is.
pub(super) fn image_file(work: &Work, is_public: bool) -> Result<File, std::io::Error> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let mode = if is_public { 0o644 } else { 0o600 };
    let file = openat(&work.directory, "image", flags, Mode::from_bits_truncate(mode));
    file.map(File::from).map_err(std::io::Error::from)
}

/// The same file, after a tool that may have made it anew.
pub(super) fn made(work: &Work) -> Result<File, Errno> {
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(&work.directory, "image", flags, Mode::empty()).map(File::from)
}

/// Gets a file's content and length onto the disk.
pub(super) fn sync(file: &File) -> Result<(), Errno> {
    file.sync_all().map_err(|error| errno(&error))
}
