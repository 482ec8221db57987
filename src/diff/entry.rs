//! One file of a layer, held by a descriptor that neither reads nor follows.
//!
//! What is asked of it goes through `/proc/self/fd`, so that every answer is
//! about the same file, whoever renames what at the moment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStringExt, fs::OpenOptionsExt},
    },
    path::PathBuf,
};

use nix::{errno::Errno, sys::stat::fstat};

use crate::sys::{KernelPath, descriptor, handle::Handle};

use super::change::Facts;

/// An open file, with what its inode says.
pub struct Entry {
    place: OwnedFd,
    /// What its inode says
    pub facts: Facts,
    /// Which inode: device and number
    pub inode: (u64, u64),
    /// How many names it has
    pub names: u64,
    /// The numbers of a device, as one
    pub raw_device: u64,
}

impl Entry {
    /// What has this name in a directory; nothing where nothing has.
    pub fn open(directory: BorrowedFd, name: &KernelPath) -> Result<Option<Entry>, Errno> {
        match descriptor::open_entry(directory, name.as_c_str()) {
            Ok(place) => Entry::of(place).map(Some),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Looks at an open place.
    pub fn of(place: OwnedFd) -> Result<Entry, Errno> {
        let status = fstat(&place)?;
        let is_link = status.st_mode & libc::S_IFMT == libc::S_IFLNK;
        let target = match is_link {
            true => Some(PathBuf::from(nix::fcntl::readlinkat(&place, "")?)),
            false => None,
        };
        Ok(Entry {
            facts: Facts::of(&status, target),
            inode: (status.st_dev, status.st_ino),
            names: status.st_nlink,
            raw_device: status.st_rdev,
            place,
        })
    }

    /// For calls that take a descriptor.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.place.as_fd()
    }

    /// Opens a regular file to read. Never anything else: a FIFO would wait,
    /// and a device does what it likes when it is opened.
    pub fn open_file(&self) -> io::Result<File> {
        if !self.facts.is_file() {
            return Err(io::Error::from(Errno::EINVAL));
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        OpenOptions::new().read(true).custom_flags(flags).open(self.through_proc())
    }

    /// The names in a directory, one at a time.
    pub fn read_dir(&self) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
        let entries = std::fs::read_dir(self.through_proc())?;
        Ok(entries.map(|entry| entry.map(|entry| entry.file_name())))
    }

    /// The names of its extended attributes, as the filesystem has them.
    pub fn xattr_names(&self) -> io::Result<Vec<Vec<u8>>> {
        match xattr::list_deref(self.through_proc()) {
            Ok(names) => Ok(names.map(OsStringExt::into_vec).collect()),
            Err(error) if has_no_xattrs(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// One extended attribute (`xattr(7)`).
    pub fn xattr(&self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let name = OsString::from_vec(name.to_vec());
        match xattr::get_deref(self.through_proc(), name) {
            Err(error) if has_no_xattrs(&error) => Ok(None),
            answer => answer,
        }
    }

    /// Several at once, under names of their own.
    pub fn xattrs(
        &self,
        names: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> io::Result<BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
        names.iter().map(|(shown, stored)| Ok((shown.clone(), self.xattr(stored)?))).collect()
    }

    /// What an overlay would write down as the origin of a copy (`struct ovl_fb`),
    /// but for the filesystem's own id; nothing where the filesystem has no handles.
    pub fn handle(&self) -> Option<Vec<u8>> {
        let handle = Handle::of(self.as_fd()).ok()?;
        let kind = u8::try_from(handle.kind()).ok()?;
        Some([&[kind], handle.bytes()].concat())
    }

    fn through_proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.place.as_raw_fd()))
    }
}

/// Filesystems without extended attributes say so in this way.
fn has_no_xattrs(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EOPNOTSUPP)
}
