//! Directories: `mkdirat(2)`, `rmdir(2)`, `fchdir(2)`, and moving between them: `rename(2)`.

use std::{
    ffi::{CStr, OsStr},
    os::fd::{AsRawFd, BorrowedFd},
};

use nix::{NixPath, errno::Errno};

/// Makes a directory with exactly these permission bits, whatever the umask.
///
/// # Errors
/// As `mkdirat(2)`.
pub fn make(at: BorrowedFd, name: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: the name outlives the call; `umask` cannot fail, and no other
    // thread is there to see it changed.
    unsafe {
        let umask = libc::umask(0);
        let made = Errno::result(libc::mkdirat(at.as_raw_fd(), name.as_ptr(), mode));
        libc::umask(umask);
        made.map(drop)
    }
}

/// The same; whatever has the name already stays as it is.
///
/// # Errors
/// As `mkdirat(2)`.
pub fn make_or_find(at: BorrowedFd, name: &CStr, mode: u32) -> Result<(), Errno> {
    match make(at, name, mode) {
        Err(Errno::EEXIST) => Ok(()),
        made => made,
    }
}

/// What becomes of the one whose name another takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Other {
    /// It takes the name of that one
    Exchanged,
    /// There is none, or nothing is done
    Absent,
}

/// Renames, in one step for whoever looks.
///
/// By its number, since not every C library has the call.
///
/// # Errors
/// As `renameat2(2)`.
pub fn rename(
    (from, name): (BorrowedFd, &str),
    (to, new): (BorrowedFd, &OsStr),
    other: Other,
) -> Result<(), Errno> {
    let flags = match other {
        Other::Exchanged => libc::RENAME_EXCHANGE,
        Other::Absent => libc::RENAME_NOREPLACE,
    };
    let [from, to] = [from, to].map(|fd| libc::c_long::from(fd.as_raw_fd()));
    let renamed = name.with_nix_path(|name| {
        new.with_nix_path(|new| {
            let [name, new] = [name, new].map(|name| name.as_ptr() as libc::c_long);
            // SAFETY: both names outlive the call.
            unsafe { super::call(libc::SYS_renameat2, [from, name, to, new, flags.into()]) }
        })
    });
    renamed??.map(drop)
}

/// Removes an empty directory.
///
/// # Errors
/// As `rmdir(2)`.
pub fn remove(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path outlives the call.
    Errno::result(unsafe { libc::rmdir(path.as_ptr()) }).map(drop)
}

/// Makes an open directory the current one.
///
/// # Errors
/// As `fchdir(2)`.
pub fn enter(directory: BorrowedFd) -> Result<(), Errno> {
    // SAFETY: `fchdir` takes a number.
    Errno::result(unsafe { libc::fchdir(directory.as_raw_fd()) }).map(drop)
}

/// Makes a directory the current one.
///
/// # Errors
/// As `chdir(2)`.
pub fn enter_path(path: &CStr) -> Result<(), Errno> {
    nix::unistd::chdir(path)
}
