//! What can be said of one path: what was there, what is there, what differs.

use std::{
    ffi::OsString,
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use nix::{errno::Errno, sys::stat::FileStat};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::layers::Part;

/// One path that a run changed, as it is called inside the overlay.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Relative to the root of the overlay
    #[serde(serialize_with = "path")]
    pub path: PathBuf,
    /// What happened to it
    #[serde(flatten)]
    pub kind: Kind,
    /// What was there
    pub before: Option<Box<Facts>>,
    /// What is there
    pub after: Option<Box<Facts>>,
    /// What the two do not have in common
    pub differs: Vec<Difference>,
    /// Another name of the same file
    #[serde(serialize_with = "some_path", skip_serializing_if = "Option::is_none")]
    pub link_to: Option<PathBuf>,
    /// Where a file's bytes were
    #[serde(skip)]
    pub(super) before_at: Option<Box<Part>>,
    /// Where they are, if not in the upper
    #[serde(skip)]
    pub(super) after_at: Option<Box<Part>>,
}

/// What happened to a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Kind {
    /// Nothing was there
    Added,
    /// Nothing is there any more; of a directory, everything in it went with it
    Deleted,
    /// Something else is there, or the same with other properties
    Modified,
    /// It was elsewhere; of a directory, everything in it came with it
    Renamed {
        /// Where it was
        #[serde(serialize_with = "path")]
        from: PathBuf,
    },
    /// The lower is not at hand, and the marks do not tell
    AddedOrModified,
}

impl Change {
    pub(super) fn new(path: PathBuf, kind: Kind) -> Change {
        let (differs, link_to, before_at, after_at) = (Vec::new(), None, None, None);
        Change { path, kind, before: None, after: None, differs, link_to, before_at, after_at }
    }

    /// Bytes of memory that it takes, nearly.
    pub(super) fn weight(&self) -> usize {
        size_of::<Change>() + size_of::<Facts>() + 2 * self.path.as_os_str().len()
    }
}

impl Kind {
    /// The letter of a list of changes.
    pub fn letter(&self) -> char {
        match self {
            Kind::Added => 'A',
            Kind::Deleted => 'D',
            Kind::Modified => 'M',
            Kind::Renamed { .. } => 'R',
            Kind::AddedOrModified => '?',
        }
    }
}

/// One thing that differs between before and after.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// A file became a directory, and the like
    Type,
    /// The bytes of a file
    Content,
    /// Nobody knows whether the bytes differ: they cannot be read, or the lower is not at hand
    ContentUnknown,
    /// The number of bytes
    Size,
    /// Where a symbolic link leads
    Target,
    /// The numbers of a device
    Device,
    /// Permission bits, set-user-ID and the like
    Mode,
    /// The user it belongs to
    Owner,
    /// The group it belongs to
    Group,
    /// The time of the last change; never of a directory
    Mtime,
    /// Extended attributes, by name
    Xattrs(Vec<String>),
}

impl Difference {
    /// Whether it is another thing now, and not the same with other properties.
    pub(super) fn is_of_substance(&self) -> bool {
        use Difference::{Content, ContentUnknown, Device, Size, Target, Type};
        matches!(self, Type | Content | ContentUnknown | Size | Target | Device)
    }
}

/// What is known of a file from its inode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// File, directory, and so on
    #[serde(rename = "type")]
    pub file_type: FileType,
    /// Permission bits with set-user-ID, set-group-ID and sticky bit
    #[serde(serialize_with = "octal")]
    pub mode: u32,
    /// The user it belongs to, as the host counts
    pub uid: u32,
    /// The group it belongs to, as the host counts
    pub gid: u32,
    /// In bytes
    pub size: u64,
    /// Space it takes on its filesystem, in bytes
    pub allocated: u64,
    /// Seconds and nanoseconds since 1970
    pub mtime: (i64, i64),
    /// Of a device
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// Of a symbolic link
    #[serde(serialize_with = "some_path", skip_serializing_if = "Option::is_none")]
    pub target: Option<PathBuf>,
}

/// The numbers of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Which driver
    pub major: u64,
    /// Which of its devices
    pub minor: u64,
}

/// What kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum FileType {
    File,
    Directory,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Fifo,
    Socket,
}

impl Facts {
    pub(super) fn of(status: &FileStat, target: Option<PathBuf>) -> Self {
        let file_type = match status.st_mode & libc::S_IFMT {
            libc::S_IFDIR => FileType::Directory,
            libc::S_IFLNK => FileType::Symlink,
            libc::S_IFCHR => FileType::CharacterDevice,
            libc::S_IFBLK => FileType::BlockDevice,
            libc::S_IFIFO => FileType::Fifo,
            libc::S_IFSOCK => FileType::Socket,
            _ => FileType::File,
        };
        let is_device = matches!(file_type, FileType::CharacterDevice | FileType::BlockDevice);
        Self {
            file_type,
            mode: status.st_mode & 0o7777,
            uid: status.st_uid,
            gid: status.st_gid,
            size: status.st_size.unsigned_abs(),
            allocated: status.st_blocks.unsigned_abs() * 512,
            mtime: (status.st_mtime, status.st_mtime_nsec),
            device: is_device.then(|| Device {
                major: nix::sys::stat::major(status.st_rdev),
                minor: nix::sys::stat::minor(status.st_rdev),
            }),
            target,
        }
    }

    /// Whether it has bytes of its own.
    pub fn is_file(&self) -> bool {
        self.file_type == FileType::File
    }

    /// Whether it holds other files.
    pub fn is_directory(&self) -> bool {
        self.file_type == FileType::Directory
    }

    /// Whether less space is taken than there are bytes.
    pub fn is_sparse(&self) -> bool {
        self.is_file() && self.allocated < self.size / 2
    }

    /// What differs, but for contents and extended attributes.
    pub(super) fn compare(&self, after: &Facts) -> Vec<Difference> {
        if self.file_type != after.file_type {
            return vec![Difference::Type];
        }
        // A directory has other bytes and another time whenever something in it has changed.
        let is_directory = self.is_directory();
        // Nobody can set the permission bits of a symbolic link.
        let has_mode = self.file_type != FileType::Symlink;
        [
            (Difference::Size, !is_directory && has_mode && self.size != after.size),
            (Difference::Target, self.target != after.target),
            (Difference::Device, self.device != after.device),
            (Difference::Mode, has_mode && self.mode != after.mode),
            (Difference::Owner, self.uid != after.uid),
            (Difference::Group, self.gid != after.gid),
            (Difference::Mtime, !is_directory && self.mtime != after.mtime),
        ]
        .into_iter()
        .filter_map(|(difference, differs)| differs.then_some(difference))
        .collect()
    }
}

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Where: relative to the overlay, or the path of a layer that was given
    pub path: PathBuf,
    /// Why
    pub reason: Reason,
}

/// Why something could not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The upper itself
    Upper(Errno),
    /// A lower itself
    Lower(Errno),
    /// There is no `/proc` to look through
    NoProc,
    /// The kernel said no
    Errno(Errno),
    /// A mount covers it in this tree, and not in the overlay
    MountedOver,
    /// Somebody changed the tree at this moment
    Changing,
    /// The path is four times longer than the kernel takes at once
    TooDeep,
    /// Whether the directory hides what was below it is written where only root can read it
    MarksHidden,
    /// A redirect of overlayfs that leads nowhere
    Redirect,
    /// So much was deleted that it was not looked for elsewhere
    ManyRenames,
    /// There are more changes than fit in memory; the rest is not shown
    ManyChanges,
}

impl From<Errno> for Reason {
    fn from(errno: Errno) -> Reason {
        Reason::Errno(errno)
    }
}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Reason {
        Reason::Errno(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }
}

/// Text where it is text; otherwise its bytes.
fn path<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    if let Some(text) = path.to_str() {
        return to.serialize_str(text);
    }
    let mut map = to.serialize_map(Some(1))?;
    map.serialize_entry("bytes", path.as_os_str().as_bytes())?;
    map.end()
}

fn some_path<S: Serializer>(some: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    match some {
        Some(some) => path(some, to),
        None => to.serialize_none(),
    }
}

fn octal<S: Serializer>(mode: &u32, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{mode:04o}"))
}

/// A link's target or a mark, as the kernel gave it.
pub(super) fn from_bytes(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}
