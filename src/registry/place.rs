//! Where sandboxes register: a directory that is one user's alone.
//!
//! `/tmp` is everybody's, so what stands there may have been put there by
//! somebody else: a directory that is not the user's, or that others may look
//! into, is not used.

use std::{
    ffi::{CStr, CString},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, openat},
    sys::stat::{FileStat, Mode, fstat},
    unistd::{UnlinkatFlags, unlinkat},
};

use crate::sys::directory;

/// Whose sandbox it is: who called isorecipe, or who called `sudo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id
    pub uid: u32,
    /// Group id
    pub gid: u32,
    /// Whether this process is root, and acts for them
    pub by_root: bool,
}

/// A directory of registrations, open.
pub(super) struct Place {
    directory: OwnedFd,
    /// For people
    pub path: PathBuf,
    /// Whose it is
    pub uid: u32,
}

/// Why a directory of registrations is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Something that is no directory stands there, or a symbolic link
    NoDirectory(PathBuf),
    /// It belongs to this user
    Foreign(PathBuf, u32),
    /// Others may look into it, or more; its permission bits
    Open(PathBuf, u32),
    /// The system said no
    Unreachable(PathBuf, Errno),
}

/// Longer than any registration, and too short to fill a memory.
const LONGEST: usize = 64 * 1024;
const OPEN_DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

impl Place {
    /// Where the owner's next sandbox registers, made if it is missing.
    pub fn to_register(owner: &Owner) -> Result<Self, Distrust> {
        let (parent, name) = home(owner);
        let path = parent.join(&name);
        let unreachable = |errno| Distrust::Unreachable(path.clone(), errno);
        let name = c_string(name.as_bytes());
        let parent = openat(AT_FDCWD, &parent, OPEN_DIRECTORY - OFlag::O_NOFOLLOW, Mode::empty())
            .map_err(unreachable)?;
        match directory::make(parent.as_fd(), &name, 0o700) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(unreachable(errno)),
        }
        Self::open(parent, &name, path, owner.uid)
    }

    /// One of the places where an owner's sandboxes may have registered;
    /// nothing if it is not there.
    pub fn to_read(path: &Path, uid: u32) -> Result<Option<Self>, Distrust> {
        let name = path.file_name().unwrap_or_default();
        let parent = path.parent().unwrap_or(Path::new("/"));
        let parent =
            match openat(AT_FDCWD, parent, OPEN_DIRECTORY - OFlag::O_NOFOLLOW, Mode::empty()) {
                Ok(parent) => parent,
                Err(Errno::ENOENT) => return Ok(None),
                Err(errno) => return Err(Distrust::Unreachable(path.to_owned(), errno)),
            };
        match Self::open(parent, &c_string(name.as_bytes()), path.to_owned(), uid) {
            Err(Distrust::Unreachable(_, Errno::ENOENT)) => Ok(None),
            other => other.map(Some),
        }
    }

    fn open(parent: OwnedFd, name: &CStr, path: PathBuf, uid: u32) -> Result<Self, Distrust> {
        let directory = match openat(parent, name, OPEN_DIRECTORY, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::ENOTDIR | Errno::ELOOP) => return Err(Distrust::NoDirectory(path)),
            // A private directory of somebody else's does not even open.
            Err(errno) => {
                return Err(foreign(&path, uid).unwrap_or(Distrust::Unreachable(path, errno)));
            }
        };
        let found =
            fstat(&directory).map_err(|errno| Distrust::Unreachable(path.clone(), errno))?;
        match found.st_mode & 0o777 {
            _ if found.st_uid != uid => Err(Distrust::Foreign(path, found.st_uid)),
            mode if mode & 0o077 != 0 => Err(Distrust::Open(path, mode)),
            _ => Ok(Self { directory, path, uid }),
        }
    }

    /// The names of what is in it.
    pub fn names(&self) -> Result<Vec<CString>, Errno> {
        let mut directory = Dir::openat(&self.directory, c".", OPEN_DIRECTORY, Mode::empty())?;
        let names = directory.iter().map(|entry| entry.map(|entry| entry.file_name().to_owned()));
        names.collect()
    }

    /// A new file that nobody else may read.
    pub fn create(&self, name: &CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        openat(&self.directory, name, flags | OFlag::O_CLOEXEC, Mode::from_bits_truncate(0o600))
    }

    /// A regular file of the owner's. What only looks like one is not waited for.
    pub fn open_file(&self, name: &CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = openat(&self.directory, name, flags | OFlag::O_CLOEXEC, Mode::empty())?;
        let found = fstat(&file)?;
        match is_regular(&found) && found.st_uid == self.uid {
            true => Ok(file),
            false => Err(Errno::EBADF),
        }
    }

    /// Gives a file the name of a registration.
    pub fn rename(&self, from: &CStr, to: &CStr) -> Result<(), Errno> {
        nix::fcntl::renameat(&self.directory, from, &self.directory, to)
    }

    /// Removes a file; one that is gone already is no problem.
    pub fn remove(&self, name: &CStr) {
        let _ = unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir);
    }
}

/// All of a file, unless it is longer than a registration can be.
pub(super) fn read(file: &OwnedFd) -> Option<Vec<u8>> {
    let mut bytes = vec![0; LONGEST];
    let mut length = 0;
    loop {
        let rest = bytes.get_mut(length..).filter(|rest| !rest.is_empty())?;
        match nix::unistd::read(file, rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(length);
    Some(bytes)
}

/// The parent directory, and the name in it.
fn home(owner: &Owner) -> (PathBuf, String) {
    match runtime_directories(owner).into_iter().next() {
        Some(directory) => (directory, "isorecipe".to_owned()),
        None => ("/tmp".into(), format!("isorecipe-{}", owner.uid)),
    }
}

/// Every place where an owner's sandboxes may have registered: another
/// session of theirs may have had another environment.
pub(super) fn homes(owner: &Owner) -> Vec<PathBuf> {
    let mut homes: Vec<PathBuf> =
        runtime_directories(owner).iter().map(|directory| directory.join("isorecipe")).collect();
    let customary = customary(owner.uid);
    if !homes.iter().any(|home| home.starts_with(&customary)) && belongs_to(&customary, owner.uid) {
        homes.push(customary.join("isorecipe"));
    }
    homes.push(format!("/tmp/isorecipe-{}", owner.uid).into());
    homes
}

/// The user's `XDG_RUNTIME_DIR`. `sudo` forgets it, or keeps that of root:
/// then it is where `pam_systemd(8)` puts it.
fn runtime_directories(owner: &Owner) -> Vec<PathBuf> {
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let guessed = owner.by_root.then(|| customary(owner.uid));
    let mut all: Vec<PathBuf> = named.into_iter().chain(guessed).collect();
    all.retain(|path| path.is_absolute() && belongs_to(path, owner.uid));
    all.dedup();
    all
}

fn customary(uid: u32) -> PathBuf {
    format!("/run/user/{uid}").into()
}

/// Everybody who may have a place, for root, who sees them all.
pub(super) fn everybody() -> Vec<u32> {
    let numbers = |directory: &str, prefix: &str| -> Vec<u32> {
        let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name());
        names.filter_map(|name| name.to_str()?.strip_prefix(prefix)?.parse().ok()).collect()
    };
    let mut all = numbers("/run/user", "");
    all.extend(numbers("/tmp", "isorecipe-"));
    all.sort_unstable();
    all.dedup();
    all
}

fn belongs_to(path: &Path, uid: u32) -> bool {
    nix::sys::stat::stat(path).is_ok_and(|found| is_directory(&found) && found.st_uid == uid)
}

fn foreign(path: &Path, uid: u32) -> Option<Distrust> {
    let found = nix::sys::stat::lstat(path).ok().filter(|found| found.st_uid != uid)?;
    Some(Distrust::Foreign(path.to_owned(), found.st_uid))
}

fn is_directory(found: &FileStat) -> bool {
    found.st_mode & libc::S_IFMT == libc::S_IFDIR
}

fn is_regular(found: &FileStat) -> bool {
    found.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// A name that comes from a path has no NUL.
fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_default()
}
