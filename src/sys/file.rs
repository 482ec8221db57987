//! What a file may do for who executes it, and what a caller may do with it:
//! `capabilities(7)`, `access(2)`, `statx(2)`.

use std::{ffi::CStr, mem::MaybeUninit};

use nix::errno::Errno;

/// `struct vfs_ns_cap_data` is no longer than this.
const LONGEST: usize = 24;
/// `statx(2)`: the path is the root of a mount.
const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;

/// The capabilities that a program file gives (its permitted set), one bit
/// each; none for a file without the attribute.
///
/// # Errors
/// As `getxattr(2)`, except that there is no attribute.
pub fn capabilities(path: &CStr) -> Result<u64, Errno> {
    let mut data = [0_u8; LONGEST];
    // SAFETY: both names end in NUL, and the buffer has as many bytes as told.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            c"security.capability".as_ptr(),
            data.as_mut_ptr().cast(),
            data.len(),
        )
    };
    match Errno::result(length) {
        Ok(_) => {}
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => return Ok(0),
        Err(errno) => return Err(errno),
    }
    // A head, then permitted and inheritable, low halves before high ones.
    let half = |at: usize| {
        let bytes = data.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        u64::from(bytes.map_or(0, u32::from_le_bytes))
    };
    Ok(half(4) | half(12) << 32)
}

/// Whether the mount that a file lies on ignores set-user-ID bits and file
/// capabilities (`MS_NOSUID`).
///
/// # Errors
/// As `statvfs(3)`.
pub fn is_on_nosuid(path: &CStr) -> Result<bool, Errno> {
    let found = nix::sys::statvfs::statvfs(path)?;
    Ok(found.flags().contains(nix::sys::statvfs::FsFlags::ST_NOSUID))
}

/// Whether the caller may read and write a file, by its effective ids
/// (`AT_EACCESS`).
///
/// # Errors
/// As `faccessat(2)`.
pub fn may_write(path: &CStr) -> Result<(), Errno> {
    let wanted = libc::R_OK | libc::W_OK;
    // SAFETY: the path outlives the call.
    Errno::result(unsafe {
        libc::faccessat(libc::AT_FDCWD, path.as_ptr(), wanted, libc::AT_EACCESS)
    })
    .map(drop)
}

/// Whether a path is the root of a mount, where the kernel tells (Linux 5.8).
pub fn is_mount_root(path: &CStr) -> Option<bool> {
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: path and buffer outlive the call.
    let status = unsafe {
        libc::statx(libc::AT_FDCWD, path.as_ptr(), 0, libc::STATX_BASIC_STATS, found.as_mut_ptr())
    };
    Errno::result(status).ok()?;
    // SAFETY: an all-zero structure is a valid one, and the kernel has filled it.
    let found = unsafe { found.assume_init() };
    let is_told = found.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT != 0;
    is_told.then_some(found.stx_attributes & STATX_ATTR_MOUNT_ROOT != 0)
}
