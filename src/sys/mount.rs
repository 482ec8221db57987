//! Mounting by descriptor: `fsopen(2)`, `open_tree(2)`, `move_mount(2)`,
//! `mount_setattr(2)`, `pivot_root(2)`.
//!
//! A mount is made detached and attached last, so that no path is walked twice
//! and nothing half made is ever visible.

use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    ptr,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags},
    sys::statvfs::FsFlags,
};

use super::{call, descriptor::own};

mod flags;

pub use flags::{Flags, attribute};

/// Nobody mounts more on one place and means it.
const MOST_ON_ONE_PLACE: usize = 1000;

const FSOPEN_CLOEXEC: libc::c_long = 1;
const FSMOUNT_CLOEXEC: libc::c_long = 1;
const FSCONFIG_SET_FLAG: libc::c_long = 0;
const FSCONFIG_SET_STRING: libc::c_long = 1;
const FSCONFIG_SET_FD: libc::c_long = 5;
const FSCONFIG_CMD_CREATE: libc::c_long = 6;
const OPEN_TREE_CLONE: libc::c_long = 1;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_long = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_long = 0x40;

/// A filesystem being configured (`fsopen(2)`).
pub struct Configuration(OwnedFd);

impl Configuration {
    /// Starts configuring a filesystem of this type.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN` over the mount namespace, `ENODEV` for
    /// a type that this kernel lacks.
    pub fn open(filesystem: &CStr) -> Result<Self, Errno> {
        // SAFETY: the name outlives the call.
        let fd = unsafe {
            call(libc::SYS_fsopen, [filesystem.as_ptr() as libc::c_long, FSOPEN_CLOEXEC, 0, 0, 0])
        }?;
        Ok(Self(own(fd)))
    }

    /// Sets an option that has a value.
    ///
    /// # Errors
    /// `EINVAL` for an unknown option, a bad value, or one of 256 bytes and more.
    pub fn set(&self, key: &CStr, value: &CStr) -> Result<(), Errno> {
        self.configure(FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr(), 0)
    }

    /// Sets an option that has none.
    ///
    /// # Errors
    /// `EINVAL` for an unknown option.
    pub fn set_flag(&self, key: &CStr) -> Result<(), Errno> {
        self.configure(FSCONFIG_SET_FLAG, key.as_ptr(), ptr::null(), 0)
    }

    /// Sets an option to an open place (overlayfs: Linux 6.13).
    ///
    /// # Errors
    /// `EINVAL` where the filesystem takes no descriptors; `EOPNOTSUPP` before
    /// Linux 6.5, which configures overlayfs as `mount(2)` does.
    pub fn set_place(&self, key: &CStr, place: BorrowedFd) -> Result<(), Errno> {
        self.configure(FSCONFIG_SET_FD, key.as_ptr(), ptr::null(), place.as_raw_fd())
    }

    /// Makes the filesystem as configured.
    ///
    /// # Errors
    /// As the filesystem says; see [`Configuration::log`].
    pub fn create(&self) -> Result<(), Errno> {
        self.configure(FSCONFIG_CMD_CREATE, ptr::null(), ptr::null(), 0)
    }

    /// A detached mount of what [`Configuration::create`] made.
    ///
    /// # Errors
    /// `EPERM` where the kernel will not show a fresh instance beside a masked
    /// one (`mount_too_revealing`).
    pub fn mount(&self, attributes: u64) -> Result<OwnedFd, Errno> {
        let fd = libc::c_long::from(self.0.as_raw_fd());
        // SAFETY: `fsmount` takes numbers.
        let mount = unsafe {
            call(libc::SYS_fsmount, [fd, FSMOUNT_CLOEXEC, attributes as libc::c_long, 0, 0])
        }?;
        Ok(own(mount))
    }

    /// What the filesystem itself has to say about the last error: the next
    /// message of its log, or nothing.
    pub fn log<'a>(&self, into: &'a mut [u8]) -> &'a [u8] {
        let read = nix::unistd::read(&self.0, into).unwrap_or(0);
        into.get(..read).unwrap_or_default()
    }

    fn configure(
        &self,
        command: libc::c_long,
        key: *const libc::c_char,
        value: *const libc::c_char,
        aux: RawFd,
    ) -> Result<(), Errno> {
        let fd = libc::c_long::from(self.0.as_raw_fd());
        let aux = libc::c_long::from(aux);
        // SAFETY: key and value are null or end in NUL, and outlive the call.
        unsafe {
            call(libc::SYS_fsconfig, [fd, command, key as libc::c_long, value as libc::c_long, aux])
        }
        .map(drop)
    }
}

/// A detached copy of the mounts at `path` and below.
///
/// # Errors
/// As `open_tree(2)` with `OPEN_TREE_CLONE | AT_RECURSIVE`.
pub fn clone_tree(path: &CStr) -> Result<OwnedFd, Errno> {
    clone(path, libc::AT_RECURSIVE)
}

/// A detached copy of the mount at `path`, without those below.
///
/// # Errors
/// As `open_tree(2)` with `OPEN_TREE_CLONE`; `EINVAL` where a mount below is
/// there to hide something.
pub fn clone_top(path: &CStr) -> Result<OwnedFd, Errno> {
    clone(path, 0)
}

/// A detached mount of an open file of the kernel's own, such as a namespace.
///
/// # Errors
/// As `open_tree(2)` with `OPEN_TREE_CLONE`.
pub fn clone_file(file: BorrowedFd) -> Result<OwnedFd, Errno> {
    clone_at(file.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

fn clone(path: &CStr, how: libc::c_int) -> Result<OwnedFd, Errno> {
    clone_at(libc::AT_FDCWD, path, how)
}

fn clone_at(at: RawFd, path: &CStr, how: libc::c_int) -> Result<OwnedFd, Errno> {
    let flags = OPEN_TREE_CLONE | libc::c_long::from(libc::O_CLOEXEC) | libc::c_long::from(how);
    let at = libc::c_long::from(at);
    // SAFETY: the path outlives the call.
    let fd =
        unsafe { call(libc::SYS_open_tree, [at, path.as_ptr() as libc::c_long, flags, 0, 0]) }?;
    Ok(own(fd))
}

/// Attaches (or moves) the mount `from` onto the place `to`.
///
/// # Errors
/// As `move_mount(2)`.
pub fn attach(from: BorrowedFd, to: BorrowedFd) -> Result<(), Errno> {
    let empty = c"".as_ptr() as libc::c_long;
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    // SAFETY: the empty path is a literal.
    unsafe {
        call(
            libc::SYS_move_mount,
            [libc::c_long::from(from), empty, libc::c_long::from(to), empty, flags],
        )
    }
    .map(drop)
}

/// `struct mount_attr`
#[repr(C)]
#[derive(Default)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Adds attributes to a mount and to every mount below it.
///
/// # Errors
/// As `mount_setattr(2)`.
pub fn add_attributes(mount: BorrowedFd, attributes: u64) -> Result<(), Errno> {
    set_attributes(mount, &MountAttributes { set: attributes, ..MountAttributes::default() })
}

/// Takes an attribute from a mount, and from that mount only.
///
/// # Errors
/// As `mount_setattr(2)`; `EPERM` for one that a more privileged namespace has set.
pub fn clear_attributes(mount: BorrowedFd, attributes: u64) -> Result<(), Errno> {
    let attributes = MountAttributes { clear: attributes, ..MountAttributes::default() };
    change_attributes(mount, &attributes, 0)
}

/// Translates the ids of a detached mount through a user namespace.
///
/// # Errors
/// As `mount_setattr(2)`; `EINVAL` where the filesystem cannot.
pub fn map_ids(mount: BorrowedFd, user_namespace: BorrowedFd) -> Result<(), Errno> {
    set_attributes(
        mount,
        &MountAttributes {
            set: attribute::IDMAP,
            user_namespace: user_namespace.as_raw_fd() as u64,
            ..MountAttributes::default()
        },
    )
}

fn set_attributes(mount: BorrowedFd, attributes: &MountAttributes) -> Result<(), Errno> {
    change_attributes(mount, attributes, libc::AT_RECURSIVE)
}

fn change_attributes(
    mount: BorrowedFd,
    attributes: &MountAttributes,
    how: libc::c_int,
) -> Result<(), Errno> {
    let flags = libc::c_long::from(libc::AT_EMPTY_PATH | how);
    let empty = c"".as_ptr() as libc::c_long;
    // SAFETY: path and structure outlive the call.
    unsafe {
        call(
            libc::SYS_mount_setattr,
            [
                libc::c_long::from(mount.as_raw_fd()),
                empty,
                flags,
                ptr::from_ref(attributes) as libc::c_long,
                size_of::<MountAttributes>() as libc::c_long,
            ],
        )
    }
    .map(drop)
}

/// How mount events travel (`mount_namespaces(7)`, "Shared subtrees").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Nothing travels
    Private,
    /// In, never out
    Slave,
    /// In and out
    Shared,
}

/// Sets the propagation of every mount.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` over the mount namespace.
pub fn propagate_all(propagation: Propagation) -> Result<(), Errno> {
    let kind = match propagation {
        Propagation::Private => MsFlags::MS_PRIVATE,
        Propagation::Slave => MsFlags::MS_SLAVE,
        Propagation::Shared => MsFlags::MS_SHARED,
    };
    let none: Option<&CStr> = None;
    nix::mount::mount(none, c"/", none, MsFlags::MS_REC | kind, none)
}

/// Makes the current directory the root, the old root stacked on top of it.
///
/// # Errors
/// As `pivot_root(2)`.
pub fn pivot_to_current_directory() -> Result<(), Errno> {
    nix::unistd::pivot_root(c".", c".")
}

/// Detaches the mount at `path`; whoever still uses it keeps it for as long.
///
/// # Errors
/// As `umount2(2)` with `MNT_DETACH | UMOUNT_NOFOLLOW`.
pub fn detach(path: &CStr) -> Result<(), Errno> {
    nix::mount::umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
}

/// As [`detach`], with all that was mounted on the same place before it.
///
/// # Errors
/// As `umount2(2)`, for the first.
pub fn detach_all(path: &CStr) -> Result<(), Errno> {
    detach(path)?;
    for _ in 0..MOST_ON_ONE_PLACE {
        match detach(path) {
            Ok(()) => {}
            // Nothing is mounted there any more.
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EBUSY)
}

/// Detaches all that is mounted over the root, which is the current directory:
/// an old root, and what was mounted over that.
///
/// # Errors
/// As `umount2(2)` and `statx(2)`.
pub fn uncover_root() -> Result<(), Errno> {
    let root = id_of(c".")?;
    for _ in 0..MOST_ON_ONE_PLACE {
        // Up from the root leads to what stands topmost on it (`path_resolution(7)`).
        if id_of(c"..")? == root {
            return Ok(());
        }
        detach(c".")?;
    }
    Err(Errno::EBUSY)
}

/// The number of the mount that a path leads to.
fn id_of(path: &CStr) -> Result<u64, Errno> {
    // SAFETY: all zeros is a `struct statx`.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_NO_AUTOMOUNT;
    // SAFETY: path and structure outlive the call.
    Errno::result(unsafe {
        libc::statx(libc::AT_FDCWD, path.as_ptr(), flags, libc::STATX_MNT_ID, &raw mut found)
    })?;
    Ok(found.stx_mnt_id)
}

/// Whether a mount turned out read-only (`statfs(2)`).
///
/// # Errors
/// As `fstatfs(2)`.
pub fn is_read_only(mount: impl AsFd) -> Result<bool, Errno> {
    has_flags(mount, Flags::READ_ONLY)
}

/// Whether a mount turned out with these flags, at least (`statfs(2)`).
///
/// # Errors
/// As `fstatfs(2)`.
pub fn has_flags(mount: impl AsFd, flags: Flags) -> Result<bool, Errno> {
    let found = nix::sys::statvfs::fstatvfs(mount)?.flags();
    let wanted = [
        (flags.read_only, FsFlags::ST_RDONLY),
        (flags.no_suid, FsFlags::ST_NOSUID),
        (flags.no_dev, FsFlags::ST_NODEV),
        (flags.no_exec, FsFlags::ST_NOEXEC),
    ];
    Ok(wanted.into_iter().all(|(is_wanted, flag)| !is_wanted || found.contains(flag)))
}

/// Whether this is a real procfs (`statfs(2)`).
pub fn is_proc(place: impl AsFd) -> bool {
    nix::sys::statfs::fstatfs(place)
        .is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC)
}
