//! Writes a tree to a directory that nobody else can reach: the staging
//! directory of an image, or a filesystem that is mounted for us alone.
//!
//! Every name is made in an open directory and never walked to, so that
//! nothing is written through a link. Times, modes and owners come from the
//! recipe, not from whoever builds it when.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{FileExt as _, MetadataExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, copy_file_range, openat},
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, fchmod, futimens, mkdirat, mknodat, utimensat},
        time::TimeSpec,
    },
    unistd::{
        Gid, Uid, UnlinkatFlags, Whence, fchown, fchownat, ftruncate, linkat, lseek, symlinkat,
        unlinkat,
    },
};
use xattr::FileExt as _;

use super::{
    Guard, Stage, Stop, open,
    tree::{Kind, Node, Source},
};

/// As much as is copied between two looks at the clock.
const CHUNK: usize = 1 << 20;

/// What a tree is written with.
pub(super) struct Writer<'a, 'g> {
    /// Whose the files become; the writer's own without
    pub owner: Option<(u32, u32)>,
    /// Seconds since 1970, for every file
    pub time: i64,
    /// Bytes in all, for the bar
    pub total: u64,
    pub guard: &'a mut Guard<'g>,
    /// What turned out not to be readable
    pub unreadable: Vec<PathBuf>,
    done: u64,
    /// Where the first name of a file of several is, from the root
    first_names: HashMap<(u64, u64), PathBuf>,
}

/// What went wrong, where.
pub(super) enum Failure {
    /// Reading a file of this machine
    Reading(PathBuf, io::Error),
    /// Writing a file of the image
    Writing(PathBuf, Errno),
    Stopped(Stop),
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Failure::Stopped(stop)
    }
}

impl<'a, 'g> Writer<'a, 'g> {
    pub(super) fn new(guard: &'a mut Guard<'g>, time: i64, total: u64) -> Self {
        Self {
            owner: None,
            time,
            total,
            guard,
            unreadable: Vec::new(),
            done: 0,
            first_names: HashMap::new(),
        }
    }

    /// Writes what is in `tree` into the open directory `root`, and gives it its looks.
    pub(super) fn write(&mut self, root: BorrowedFd, tree: &Node) -> Result<(), Failure> {
        self.fill(root, root, tree, Path::new(""))
    }

    fn fill(
        &mut self,
        root: BorrowedFd,
        directory: BorrowedFd,
        node: &Node,
        here: &Path,
    ) -> Result<(), Failure> {
        for (name, node) in node.entries().into_iter().flatten() {
            self.guard.look_up()?;
            let path = here.join(name);
            self.one(root, directory, name, node, &path).map_err(|failure| failure.at(&path))?;
        }
        if let Some(source) = &node.source {
            copy_attributes(&source.path, directory);
        }
        self.finish(directory, node.mode).map_err(|errno| Failure::Writing(here.to_owned(), errno))
    }

    fn one(
        &mut self,
        root: BorrowedFd,
        directory: BorrowedFd,
        name: &OsStr,
        node: &Node,
        path: &Path,
    ) -> Result<(), Failure> {
        match (&node.kind, &node.source) {
            (Kind::Directory(_), _) => {
                mkdirat(directory, name, Mode::S_IRWXU)?;
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
                let own = openat(directory, name, flags | OFlag::O_CLOEXEC, Mode::empty())?;
                return self.fill(root, own.as_fd(), node, path);
            }
            (Kind::File, Some(source)) => {
                return self.file(root, directory, name, source, node.mode, path);
            }
            (Kind::File | Kind::Placeholder, _) => {
                let file = create(directory, name)?;
                return Ok(self.finish(file.as_fd(), node.mode)?);
            }
            (Kind::Symlink(target), _) => symlinkat(target.as_path(), directory, name)?,
            (Kind::Device(device), _) => {
                let kind = if device.is_block { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
                mknodat(directory, name, kind, mode(node.mode), device.number)?;
            }
            (Kind::Fifo, _) => mknodat(directory, name, SFlag::S_IFIFO, mode(node.mode), 0)?,
            (Kind::Socket, _) => mknodat(directory, name, SFlag::S_IFSOCK, mode(node.mode), 0)?,
        }
        Ok(self.finish_by_name(directory, name, node)?)
    }

    fn file(
        &mut self,
        root: BorrowedFd,
        directory: BorrowedFd,
        name: &OsStr,
        source: &Source,
        mode: u32,
        path: &Path,
    ) -> Result<(), Failure> {
        if let Some(first) = source.shared.and_then(|shared| self.first_names.get(&shared)) {
            linkat(root, first.as_path(), directory, name, AtFlags::empty())?;
            return Ok(());
        }
        if !source.is_readable {
            return Ok(());
        }
        let unread = |error| Failure::Reading(source.path.clone(), error);
        let from = match open::file(&source.path) {
            Ok(from) => from,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.unreadable.push(source.path.clone());
                return Ok(());
            }
            Err(error) => return Err(unread(error)),
        };
        let to = File::from(create(directory, name)?);
        self.content(&from, &to, &source.path)?;
        copy_attributes(&source.path, to.as_fd());
        self.finish(to.as_fd(), mode)?;
        if let Some(shared) = source.shared {
            self.first_names.insert(shared, path.to_owned());
        }
        Ok(())
    }

    /// Copies what a file has; its holes stay holes.
    fn content(&mut self, from: &File, to: &File, source: &Path) -> Result<(), Failure> {
        let unread = |error| Failure::Reading(source.to_owned(), error);
        let length = from.metadata().map_err(unread)?.size();
        if length == 0 {
            // A file of procfs has content and no length.
            return self.stream(from, to, source);
        }
        let length = length as i64;
        let mut at = 0;
        while at < length {
            let (start, end) = match lseek(from, at, Whence::SeekData) {
                Ok(start) => (start, lseek(from, start, Whence::SeekHole)?),
                Err(Errno::ENXIO) => break,
                // A filesystem without holes (`lseek(2)`).
                Err(_) => (at, length),
            };
            at = self.range(from, to, start..end, source)?;
            if at < end {
                // It has become shorter.
                return Ok(ftruncate(to, at)?);
            }
        }
        Ok(ftruncate(to, length)?)
    }

    /// Copies a range, in the kernel where it can; gives where it ended.
    fn range(
        &mut self,
        from: &File,
        to: &File,
        range: std::ops::Range<i64>,
        source: &Path,
    ) -> Result<i64, Failure> {
        let mut at = range.start;
        while at < range.end {
            let chunk = CHUNK.min((range.end - at) as usize);
            let (mut here, mut there) = (at, at);
            let copied = match copy_file_range(from, Some(&mut here), to, Some(&mut there), chunk) {
                // Two filesystems, or one that cannot (`copy_file_range(2)`).
                Err(Errno::EXDEV | Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                    copy_by_hand(from, to, at, chunk, source)?
                }
                // Files of sysfs have a length that is not true.
                Ok(0) => copy_by_hand(from, to, at, chunk, source)?,
                other => other?,
            };
            if copied == 0 {
                break;
            }
            at += copied as i64;
            self.count(copied)?;
        }
        Ok(at)
    }

    fn stream(&mut self, mut from: &File, mut to: &File, source: &Path) -> Result<(), Failure> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = from
                .read(&mut buffer)
                .map_err(|error| Failure::Reading(source.to_owned(), error))?;
            if read == 0 {
                return Ok(());
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            to.write_all(bytes).map_err(|error| Failure::from(errno(&error)))?;
            self.count(read)?;
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        self.done += bytes as u64;
        self.guard.show(Stage::Copying, self.done, Some(self.total));
        Ok(self.guard.look_up()?)
    }

    fn finish(&self, file: BorrowedFd, bits: u32) -> Result<(), Errno> {
        if let Some((uid, gid)) = self.owner {
            fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        fchmod(file, mode(bits))?;
        let time = TimeSpec::new(self.time, 0);
        futimens(file, &time, &time)
    }

    fn finish_by_name(&self, at: BorrowedFd, name: &OsStr, node: &Node) -> Result<(), Errno> {
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            fchownat(at, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        }
        if !matches!(node.kind, Kind::Symlink(_)) {
            // In a directory that only we can reach, the name is still what was made.
            let follow = nix::sys::stat::FchmodatFlags::FollowSymlink;
            nix::sys::stat::fchmodat(at, name, mode(node.mode), follow)?;
        }
        let time = TimeSpec::new(self.time, 0);
        utimensat(at, name, &time, &time, UtimensatFlags::NoFollowSymlink)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Failure::Writing(PathBuf::new(), errno)
    }
}

impl Failure {
    /// Says which file of the image it was, unless that is known already.
    fn at(self, path: &Path) -> Failure {
        match self {
            Failure::Writing(known, errno) if known.as_os_str().is_empty() => {
                Failure::Writing(path.to_owned(), errno)
            }
            other => other,
        }
    }
}

fn create(at: BorrowedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    openat(at, name, flags | OFlag::O_CLOEXEC, Mode::S_IRUSR | Mode::S_IWUSR)
}

fn copy_by_hand(
    from: &File,
    to: &File,
    at: i64,
    length: usize,
    source: &Path,
) -> Result<usize, Failure> {
    let mut buffer = vec![0; length];
    let read = from
        .read_at(&mut buffer, at as u64)
        .map_err(|error| Failure::Reading(source.to_owned(), error))?;
    let bytes = buffer.get(..read).unwrap_or_default();
    to.write_all_at(bytes, at as u64).map_err(|error| Failure::from(errno(&error)))?;
    Ok(read)
}

/// Whether an attribute is one that people set. Those of the system speak of
/// ids of this machine, and those of overlayfs would be obeyed.
pub(super) fn is_kept_attribute(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
}

/// Copies the attributes that people set.
fn copy_attributes(source: &Path, to: BorrowedFd) {
    let Ok(names) = xattr::list(source) else { return };
    let Ok(to) = to.try_clone_to_owned().map(File::from) else { return };
    for name in names {
        if !is_kept_attribute(&name) {
            continue;
        }
        // A filesystem that takes none is as good as one without.
        if let Ok(Some(value)) = xattr::get(source, &name) {
            let _ = to.set_xattr(&name, &value);
        }
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

fn mode(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits)
}

/// Takes away a file, or a directory with all that is in it, whatever its
/// permissions say to its owner.
pub(super) fn remove(at: BorrowedFd, name: &OsStr) -> Result<(), Errno> {
    match unlinkat(at, name, UnlinkatFlags::NoRemoveDir) {
        // What `unlink(2)` says to a directory.
        Err(Errno::EISDIR | Errno::EPERM) => {}
        other => return other,
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = match openat(at, name, flags, Mode::empty()) {
        Err(Errno::EACCES) => {
            let follow = nix::sys::stat::FchmodatFlags::FollowSymlink;
            nix::sys::stat::fchmodat(at, name, Mode::S_IRWXU, follow)?;
            openat(at, name, flags, Mode::empty())?
        }
        other => other?,
    };
    let mut list = nix::dir::Dir::from_fd(directory.try_clone().map_err(|error| errno(&error))?)?;
    let mut names = Vec::new();
    for entry in list.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(std::os::unix::ffi::OsStringExt::from_vec(name.to_vec()));
        }
    }
    if !names.is_empty() {
        // Who may not write into it may not take anything out of it.
        let _ = fchmod(&directory, Mode::S_IRWXU);
    }
    names.iter().try_for_each(|name: &std::ffi::OsString| remove(directory.as_fd(), name))?;
    unlinkat(at, name, UnlinkatFlags::RemoveDir)
}
