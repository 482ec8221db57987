//! The place of an image, and the hidden directory beside it.
//!
//! ```text
//! rootfs.dat              the image
//! .rootfs.dat.isorecipe/  locked (flock(2)) by the one build at work
//!     state               what the image was made from
//!     new-4711/           the build at work, or what a killed one has left
//! ```
//!
//! The folder may belong to somebody else than who builds. So everything is
//! opened once, without following links, and used by descriptor. Through `sudo`
//! who builds is the user: nothing here is done with root's rights.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag, openat, renameat},
    sys::stat::{Mode, fstat, mkdirat},
    unistd::{UnlinkatFlags, fsync, geteuid, unlinkat},
};

use crate::sys::{
    KernelPath,
    descriptor::{self, Walk},
    directory::{self, Other},
    process,
};

use super::{Ends, Order, Stage, Stop, Watch, file_path, state::Seen, words, write};

/// Of what is being made.
const WORK: &str = "new-";
const STATE: &str = "state";
/// More than a million files have in their state.
const LARGEST_STATE: u64 = 1 << 28;

/// Where the image goes.
pub(super) struct Site {
    folder: OwnedFd,
    name: OsString,
    /// Where it is, links followed
    pub path: PathBuf,
}

/// The hidden directory, with nobody else at work in it.
pub(super) struct Locked {
    directory: Flock<OwnedFd>,
    folder: OwnedFd,
    name: OsString,
    target: OsString,
    path: PathBuf,
}

/// The directory of the build at work; it goes away with it.
pub(super) struct Work<'a> {
    pub directory: OwnedFd,
    pub path: PathBuf,
    name: OsString,
    locked: &'a Locked,
}

const OPEN_DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

impl Site {
    pub(super) fn find(order: &Order) -> Result<Site, Stop> {
        let file = order.folder.join(order.image.file.as_path());
        let (Some(above), Some(name)) = (file.parent(), file.file_name()) else {
            return Err(words::outside(&file).stop(&file_path()));
        };
        let cannot =
            |path: &Path, error: io::Error| words::no_folder_for(path, &error).stop(&file_path());
        let home = order.folder.canonicalize().map_err(|error| cannot(order.folder, error))?;
        let real = above.canonicalize().map_err(|error| cannot(above, error))?;
        let Ok(within) = real.strip_prefix(&home) else {
            return Err(words::outside(&file).stop(&file_path()));
        };
        let within = if within.as_os_str().is_empty() { Path::new(".") } else { within };
        let open = |at: Option<BorrowedFd>, path: &Path, walk| {
            descriptor::open_directory(at, KernelPath::new(path).as_c_str(), walk)
        };
        let folder = open(None, &home, Walk::Free)
            .and_then(|home| open(Some(home.as_fd()), within, Walk::Beneath))
            .and_then(|place| openat(place, ".", OPEN_DIRECTORY, Mode::empty()))
            .map_err(|errno| cannot(&real, errno.into()))?;
        Ok(Site { folder, name: name.to_owned(), path: real.join(name) })
    }

    /// What is there now.
    pub(super) fn look(&self) -> Option<Seen> {
        Seen::of(&self.path)
    }

    /// Makes the hidden directory and waits until no other build is at work.
    pub(super) fn lock(&self, watch: &mut dyn Watch) -> Result<Locked, Stop> {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(".isorecipe");
        let path = self.path.with_file_name(&name);
        let cannot = |errno: Errno| words::unwritable(&path, errno).stop(&file_path());
        loop {
            let directory = self.hidden(&name).map_err(cannot)?;
            self.check_keeper(&directory, &path)?;
            let directory = match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
                Ok(directory) => directory,
                Err((directory, Errno::EWOULDBLOCK)) => {
                    watch.show(Stage::Waiting, 0, None);
                    Flock::lock(directory, FlockArg::LockExclusive)
                        .map_err(|(_, errno)| cannot(errno))?
                }
                Err((_, errno)) => return Err(cannot(errno)),
            };
            // Who had it before may have taken it away.
            if fstat(&*directory).map_err(cannot)?.st_nlink > 0 {
                let folder = self.folder.try_clone().map_err(|error| cannot(errno(&error)))?;
                let target = self.name.clone();
                return Ok(Locked { directory, folder, name, target, path });
            }
        }
    }

    fn hidden(&self, name: &OsStr) -> Result<OwnedFd, Errno> {
        match mkdirat(&self.folder, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        openat(&self.folder, name, OPEN_DIRECTORY, Mode::empty())
    }

    /// What somebody else may write into would be believed.
    fn check_keeper(&self, directory: &OwnedFd, path: &Path) -> Result<(), Stop> {
        let status =
            fstat(directory).map_err(|errno| words::unwritable(path, errno).stop(&file_path()))?;
        let is_ours = status.st_uid == geteuid().as_raw();
        match is_ours && status.st_mode & 0o022 == 0 {
            true => Ok(()),
            false => Err(words::foreign_state(path).stop(&file_path())),
        }
    }
}

impl Locked {
    /// A directory for one build, in which nobody else can be.
    pub(super) fn work(&self) -> Result<Work<'_>, Stop> {
        let cannot = |errno| words::unwritable(&self.path, errno).stop(&file_path());
        let mut number = process::own_pid();
        let name = loop {
            let name = OsString::from(format!("{WORK}{number}"));
            match mkdirat(&*self.directory, name.as_os_str(), Mode::S_IRWXU) {
                Ok(()) => break name,
                // One that could not be taken away.
                Err(Errno::EEXIST) => number = number.wrapping_add(1),
                Err(errno) => return Err(cannot(errno)),
            }
        };
        let directory = openat(&*self.directory, name.as_os_str(), OPEN_DIRECTORY, Mode::empty())
            .map_err(cannot)?;
        // Who may rename it could have put another one there.
        let status = fstat(&directory).map_err(cannot)?;
        if status.st_uid != geteuid().as_raw() || status.st_mode & 0o7077 != 0 {
            return Err(words::foreign_state(&self.path).stop(&file_path()));
        }
        Ok(Work { directory, path: self.path.join(&name), name, locked: self })
    }

    /// Takes away what killed builds have left, and says what would not go.
    pub(super) fn remove_leftovers(&self) -> Vec<PathBuf> {
        let names = names_in(&self.directory).unwrap_or_default();
        let is_left = |name: &OsString| name.as_bytes().starts_with(WORK.as_bytes());
        let left = names.into_iter().filter(is_left);
        left.filter(|name| write::remove(self.directory.as_fd(), name).is_err())
            .map(|name| self.path.join(name))
            .collect()
    }

    /// The state as it was written, if there is one of a sane size.
    pub(super) fn read_state(&self) -> Option<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file = openat(&*self.directory, STATE, flags, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        File::from(file).take(LARGEST_STATE).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Writes the state, whole or not at all.
    pub(super) fn write_state(&self, work: &Work, bytes: &[u8]) -> Result<(), Errno> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = openat(&work.directory, STATE, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let mut file = File::from(file);
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| errno(&error))?;
        renameat(&work.directory, STATE, &*self.directory, STATE)?;
        fsync(&*self.directory)
    }

    /// Takes the state away, so that nothing at the target is believed to be ours.
    pub(super) fn forget_state(&self) {
        // One that stays claims an image that is not there.
        let _ = unlinkat(&*self.directory, STATE, UnlinkatFlags::NoRemoveDir);
    }

    /// Puts what was made in its place, with one rename; what was there
    /// before is then in the work directory.
    pub(super) fn publish(&self, work: &Work, made: &str, replaces: bool) -> Result<(), Errno> {
        let other = if replaces { Other::Exchanged } else { Other::Absent };
        let target = self.target.as_os_str();
        let from = (work.directory.as_fd(), made);
        match directory::rename(from, (self.folder.as_fd(), target), other) {
            // A filesystem that can do neither: for a moment there is no image.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                if replaces {
                    renameat(&self.folder, target, &work.directory, "old")?;
                }
                renameat(&work.directory, made, &self.folder, target)?;
            }
            other => other?,
        }
        fsync(&self.folder)
    }

    /// Where the image goes.
    pub(super) fn target_path(&self) -> PathBuf {
        self.path.with_file_name(&self.target)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // One with nothing to remember goes; one with a state is not empty.
        let _ = unlinkat(&self.folder, self.name.as_os_str(), UnlinkatFlags::RemoveDir);
    }
}

impl Work<'_> {
    /// Takes everything away; says whether something would not go.
    pub(super) fn clear(&self) -> Result<(), Errno> {
        match write::remove(self.locked.directory.as_fd(), &self.name) {
            Err(Errno::ENOENT) => Ok(()),
            other => other,
        }
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        // The next build says so, if it cannot be taken away.
        let _ = self.clear();
    }
}

fn names_in(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let own = openat(directory, ".", OPEN_DIRECTORY, Mode::empty())?;
    let mut list = nix::dir::Dir::from_fd(own)?;
    let mut names = Vec::new();
    for entry in list.iter() {
        names.push(OsString::from_vec(entry?.file_name().to_bytes().to_vec()));
    }
    Ok(names)
}

pub(super) fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
