//! Names in a directory that is held open: files, links (`openat(2)`,
//! `symlinkat(2)`). Nothing is ever followed, and nothing that is there changes.

use std::{
    ffi::CStr,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::stat::{self, Mode},
};

use super::descriptor::own;

/// A new file that only its maker can read, open to be written.
///
/// # Errors
/// As `openat(2)` with `O_CREAT | O_EXCL | O_NOFOLLOW`.
pub fn make_file(at: BorrowedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = libc::O_WRONLY
        | libc::O_CREAT
        | libc::O_EXCL
        | libc::O_NOFOLLOW
        | libc::O_CLOEXEC
        | libc::O_NOCTTY;
    let mode: libc::c_uint = 0o600;
    // SAFETY: the name outlives the call.
    let fd = Errno::result(unsafe { libc::openat(at.as_raw_fd(), name.as_ptr(), flags, mode) })?;
    Ok(own(libc::c_long::from(fd)))
}

/// Writes all the bytes, in as many calls as it takes.
///
/// # Errors
/// As `write(2)`.
pub fn write_all(file: BorrowedFd, bytes: &[u8]) -> Result<(), Errno> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(file, rest) {
            Ok(0) => return Err(Errno::EIO),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Gives a file exactly these permission bits, whatever the umask.
///
/// # Errors
/// As `fchmod(2)`.
pub fn set_mode(file: BorrowedFd, mode: u32) -> Result<(), Errno> {
    stat::fchmod(file, Mode::from_bits_truncate(mode))
}

/// A new named pipe for its maker alone, open to be read (`fifo(7)`): nobody is waited for.
///
/// # Errors
/// As `mknodat(2)` and `openat(2)`.
pub fn make_pipe(at: BorrowedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: the name outlives both calls.
    let fd = unsafe {
        Errno::result(libc::mkfifoat(at.as_raw_fd(), name.as_ptr(), 0o600))?;
        Errno::result(libc::openat(at.as_raw_fd(), name.as_ptr(), flags))
    }?;
    Ok(own(libc::c_long::from(fd)))
}

/// Whether a regular file has this many bytes and these permission bits.
///
/// # Errors
/// As `fstat(2)`.
pub fn is_file_of(place: BorrowedFd, size: usize, mode: u32) -> Result<(bool, bool), Errno> {
    let found = stat::fstat(place)?;
    let is_file = found.st_mode & libc::S_IFMT == libc::S_IFREG;
    let has_size = u64::try_from(found.st_size).is_ok_and(|found| found == size as u64);
    Ok((is_file && has_size, found.st_mode & 0o7777 == mode))
}

/// A symbolic link.
///
/// # Errors
/// As `symlinkat(2)`.
pub fn make_link(to: &CStr, at: BorrowedFd, name: &CStr) -> Result<(), Errno> {
    nix::unistd::symlinkat(to, at, name)
}

/// Whether a symbolic link leads there.
///
/// # Errors
/// As `readlinkat(2)`; `EINVAL` for what is no link.
pub fn leads_to(at: BorrowedFd, name: &CStr, to: &CStr) -> Result<bool, Errno> {
    let mut found = [0_u8; 4096];
    // SAFETY: the name ends in NUL, and the buffer has as many bytes as told.
    let length = Errno::result(unsafe {
        libc::readlinkat(at.as_raw_fd(), name.as_ptr(), found.as_mut_ptr().cast(), found.len())
    })?;
    Ok(found.get(..length.unsigned_abs()) == Some(to.to_bytes()))
}
